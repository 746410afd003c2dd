//! Where an event stands: [`Position`], whose text form is the SSE `id`.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;

use crate::error::InvalidPosition;

/// A place in a log: the log's epoch and the event's offset in it.
///
/// Printed, it is the id of the event: `<epoch>-<offset>`, at most 32 bytes of
/// `[A-Za-z0-9_-]`. The epoch is 64 random bits made with the log, so that ids of
/// a log that is gone (a restart) are never taken for ids of its successor.
/// Offsets count from 1 without a hole; offset 0 is the place before the first
/// event. There is no clock in an id.
///
/// Where the log is kept by something that may lose its end and go on without it, two
/// events may have had the same offset. So an event of such a log also has a tag, which
/// tells them apart: `<epoch>-<offset>-<tag>`, at most 39 bytes.
///
/// Positions of one log are ordered; positions of two logs compare as `None`, and so do
/// those of two events that had the same offset.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    epoch: Epoch,
    offset: u64,
    tag: Option<Tag>,
}

impl Position {
    pub(crate) fn new(epoch: Epoch, offset: u64) -> Self {
        Self {
            epoch,
            offset,
            tag: None,
        }
    }

    /// A position in a log that is kept [elsewhere](crate::backplane): the identity of the
    /// log, the number of the event, and what tells it from another event that had the
    /// same number, of which 0 is the same as 1.
    #[must_use]
    pub fn tagged(epoch: u64, offset: u64, tag: u32) -> Self {
        Self {
            epoch: Epoch(epoch),
            offset,
            tag: Some(Tag(tag.max(1))),
        }
    }

    pub(crate) fn with_tag(self, tag: Option<Tag>) -> Self {
        Self { tag, ..self }
    }

    pub(crate) fn tag(self) -> Option<Tag> {
        self.tag
    }

    /// The number of the event in its log, counted from 1; 0 stands before them all.
    #[must_use]
    pub fn offset(self) -> u64 {
        self.offset
    }

    /// The place just before this event.
    #[cfg(feature = "websocket")]
    pub(crate) fn before(self) -> Self {
        Self::new(self.epoch, self.offset.saturating_sub(1))
    }

    pub(crate) fn epoch(self) -> Epoch {
        self.epoch
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.offset)?;
        match self.tag {
            Some(tag) => write!(f, "-{tag}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let ordering = self.offset.cmp(&other.offset);
        let is_one_log = self.epoch == other.epoch && (ordering.is_ne() || self.tag == other.tag);
        is_one_log.then_some(ordering)
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    /// Reads exactly what [`Display`](fmt::Display) writes: no sign, no leading
    /// zero, no space.
    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let (epoch, rest) = text
            .as_bytes()
            .split_first_chunk::<{ Epoch::LEN }>()
            .ok_or(InvalidPosition)?;
        let (dash, digits) = rest.split_first().ok_or(InvalidPosition)?;
        if *dash != b'-' {
            return Err(InvalidPosition);
        }
        let mut digits = digits.splitn(2, |byte| *byte == b'-');
        let offset = digits
            .next()
            .and_then(parse_offset)
            .ok_or(InvalidPosition)?;
        let tag = match digits.next() {
            Some(tag) => Some(Tag::parse(tag).ok_or(InvalidPosition)?),
            None => None,
        };
        Ok(Self {
            epoch: Epoch::parse(epoch).ok_or(InvalidPosition)?,
            offset,
            tag,
        })
    }
}

fn parse_offset(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || (digits.len() > 1 && digits.starts_with(b"0")) {
        return None;
    }
    digits.iter().try_fold(0u64, |offset, digit| {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        offset.checked_mul(10)?.checked_add(digit.into())
    })
}

/// The identity of one log: 64 random bits, 11 characters of base64url.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Epoch(u64);

const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Epoch {
    pub(crate) const LEN: usize = 11;

    pub(crate) fn random() -> Self {
        // A system without a source of randomness still gets a number that no
        // other log of this process has.
        Self(getrandom::u64().unwrap_or_else(|_| RandomState::new().hash_one(())))
    }

    #[cfg(feature = "backplane")]
    pub(crate) fn of(number: u64) -> Self {
        Self(number)
    }

    #[cfg(feature = "backplane")]
    pub(crate) fn number(self) -> u64 {
        self.0
    }

    #[cfg(test)]
    pub(crate) const fn zero() -> Self {
        Self(0)
    }

    pub(crate) fn text(self) -> [u8; Self::LEN] {
        // 64 bits are 10 digits of 6 bits, then one of which only the upper 4 count.
        std::array::from_fn(|i| {
            let six = if i < 10 {
                self.0 >> (58 - 6 * i)
            } else {
                self.0 << 2
            };
            digit(six)
        })
    }

    fn parse(text: &[u8; Self::LEN]) -> Option<Self> {
        let [head @ .., last] = text;
        let bits = head
            .iter()
            .try_fold(0u64, |bits, byte| Some(bits << 6 | value(*byte)?))?;
        let last = value(*last)?;
        (last & 0b11 == 0).then_some(Self(bits << 4 | last >> 2))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text()
            .iter()
            .try_for_each(|byte| fmt::Write::write_char(f, char::from(*byte)))
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What tells two events apart that had the same offset: 32 bits, 6 characters of
/// base64url.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tag(pub(crate) u32);

impl Tag {
    pub(crate) const LEN: usize = 6;

    pub(crate) fn text(self) -> [u8; Self::LEN] {
        let bits = u64::from(self.0) << 4;
        std::array::from_fn(|i| digit(bits >> (30 - 6 * i)))
    }

    fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != Self::LEN {
            return None;
        }
        let bits = text
            .iter()
            .try_fold(0u64, |bits, byte| Some(bits << 6 | value(*byte)?))?;
        let tag = u32::try_from(bits >> 4).ok()?;
        (bits & 0b1111 == 0).then_some(Self(tag))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text()
            .iter()
            .try_for_each(|byte| fmt::Write::write_char(f, char::from(*byte)))
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[allow(clippy::indexing_slicing, reason = "six bits index 64 characters")]
fn digit(six: u64) -> u8 {
    BASE64URL[(six & 63) as usize]
}

fn value(byte: u8) -> Option<u64> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    };
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u64, offset: u64) -> Position {
        Position::new(Epoch(epoch), offset)
    }

    #[test]
    fn the_text_form_is_exact() {
        assert_eq!(at(0, 0).to_string(), "AAAAAAAAAAA-0");
        assert_eq!(
            at(u64::MAX, u64::MAX).to_string(),
            "__________8-18446744073709551615"
        );
        assert_eq!(at(1, 7).to_string(), "AAAAAAAAAAE-7");
        assert_eq!(at(62 << 58, 1).to_string(), "-AAAAAAAAAA-1");
    }

    #[test]
    fn what_is_printed_is_read_back() {
        for epoch in [
            0,
            1,
            15,
            16,
            u64::MAX,
            u64::MAX - 1,
            0x0123_4567_89ab_cdef,
            1 << 63,
        ] {
            for offset in [0, 1, 9, 10, 1 << 53, u64::MAX - 1, u64::MAX] {
                let position = at(epoch, offset);
                assert_eq!(position.to_string().parse(), Ok(position));
            }
        }
    }

    #[test]
    fn a_tag_is_exact_and_read_back() {
        let tagged = |tag| at(1, 7).with_tag(Some(Tag(tag)));
        assert_eq!(tagged(0).to_string(), "AAAAAAAAAAE-7-AAAAAA");
        assert_eq!(tagged(u32::MAX).to_string(), "AAAAAAAAAAE-7-_____w");
        assert_eq!(tagged(1).to_string(), "AAAAAAAAAAE-7-AAAAAQ");
        for tag in [0, 1, 63, 64, 0x0123_4567, 1 << 31, u32::MAX] {
            assert_eq!(tagged(tag).to_string().parse(), Ok(tagged(tag)));
        }
        assert_eq!(tagged(1).partial_cmp(&tagged(2)), None);
        assert_eq!(tagged(1).partial_cmp(&at(1, 7)), None);
        assert!(tagged(1) < at(1, 8).with_tag(Some(Tag(0))));
    }

    #[test]
    fn nothing_else_is_read() {
        let malformed = [
            "",
            "-",
            "--",
            "1",
            "AAAAAAAAAAA",
            "AAAAAAAAAAA-",
            "AAAAAAAAAA-1",
            "AAAAAAAAAAAA-1",
            "AAAAAAAAAAA-00",
            "AAAAAAAAAAA-01",
            "AAAAAAAAAAA-+1",
            "AAAAAAAAAAA--1",
            "AAAAAAAAAAA-1e3",
            "AAAAAAAAAAA-0x1",
            "AAAAAAAAAAA- 1",
            "AAAAAAAAAAA-1 ",
            " AAAAAAAAAAA-1",
            "AAAAAAAAAAA-1\n",
            "AAAAAAAAAAA-1\0",
            "AAAAAAAAAAA-18446744073709551616",
            "AAAAAAAAAAA-1-2",
            "AAAAAAAAAAA-1-",
            "AAAAAAAAAAA-1-AAAAA",
            "AAAAAAAAAAA-1-AAAAAAA",
            "AAAAAAAAAAA-1-AAAAAB",
            "AAAAAAAAAAA-1-AAAAA=",
            "AAAAAAAAAAA-1-AAAAAA-",
            "AAAAAAAAAAA--AAAAAA",
            "AAAAAAAAAAA_1",
            "AAAAAAAAAA=-1",
            "AAAAAAAAAAB-1",
            "AAAAAAAAAAA-１",
            "AAAAAAAAAA+-1",
            "AAAAAAAAAAé-1",
        ];
        for text in malformed {
            assert_eq!(text.parse::<Position>(), Err(InvalidPosition), "{text:?}");
        }
    }

    #[test]
    fn positions_of_two_logs_have_no_order() {
        assert!(at(1, 1) < at(1, 2));
        assert_eq!(at(1, 1).partial_cmp(&at(2, 2)), None);
    }

    #[test]
    fn it_is_printed_as_the_id_that_it_is() {
        let position = Position::tagged(7, 42, 9);
        assert_eq!(format!("{position:?}"), position.to_string());
        assert_eq!(
            format!("{:?}", position.epoch()),
            position.epoch().to_string()
        );
    }

    #[test]
    fn epochs_differ() {
        let epochs: std::collections::HashSet<_> = (0..1000).map(|_| Epoch::random()).collect();
        assert_eq!(epochs.len(), 1000);
    }
}
