//! An event as the file keeps it.
//!
//! ```text
//! crc32 │ version │ tag │ time │ flags │ retry │ topic len │ name len │ topic │ name │ data
//!     4 │       1 │   4 │    8 │     1 │     4 │         2 │        4 │
//! ```
//!
//! Numbers are little-endian. The checksum also covers the epoch of the log and the offset,
//! so a record that a damaged index shows in another place, or in another log, is corrupt
//! there.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::backplane::{Append, AppendError, Content, Record};
use crate::event::{Event, EventName};
use crate::log::Retention;
use crate::position::Position;
use crate::topic::Topic;

const VERSION: u8 = 1;
/// What is known only when the event gets its place.
const STAMP: usize = 4 + 1 + 4 + 8;
const IS_JSON: u8 = 1;
const MAX_KEY: usize = 512;

/// An event that has no place yet, encoded.
pub(super) struct Draft {
    pub(super) topic: Topic,
    pub(super) is_latest: bool,
    pub(super) key: Option<Arc<str>>,
    bytes: Vec<u8>,
}

impl Draft {
    pub(super) fn of(append: &Append) -> Result<Self, AppendError> {
        let (topic, event) = (append.topic.as_str(), &append.event);
        let name = match event.event_name() {
            name if name.is_message() => "",
            name => name.as_str(),
        };
        let (Ok(topic_len), Ok(name_len)) = (u16::try_from(topic.len()), u32::try_from(name.len()))
        else {
            return Err(refused("the name of the event is too long"));
        };
        // An event holds it between 100 ms and an hour.
        let retry = event.retry_after().map_or(0, |retry| retry.as_millis());
        let retry = u32::try_from(retry).unwrap_or(u32::MAX);

        let rest = 1 + 4 + 2 + 4 + topic.len() + name.len() + event.data().len();
        let mut bytes = Vec::with_capacity(STAMP + rest);
        bytes.resize(STAMP, 0);
        bytes.push(if event.is_json() { IS_JSON } else { 0 });
        bytes.extend(retry.to_le_bytes());
        bytes.extend(topic_len.to_le_bytes());
        bytes.extend(name_len.to_le_bytes());
        for text in [topic, name, event.data()] {
            bytes.extend(text.as_bytes());
        }
        Ok(Self {
            topic: append.topic.clone(),
            is_latest: append.is_latest,
            key: event.once_key().map(Arc::from),
            bytes,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() + self.key.as_ref().map_or(0, |key| key.len())
    }

    /// Refuses what is larger than a log that keeps so many bytes.
    pub(super) fn fits(&self, bytes: usize) -> Result<(), AppendError> {
        let size = self.bytes.len().saturating_add(Retention::BYTES_PER_EVENT);
        let key = self.key.as_ref().map_or(0, |key| key.len());
        if size > bytes {
            Err(refused("the event is larger than what the log keeps"))
        } else if key > MAX_KEY {
            Err(refused("the key of the event is longer than 512 bytes"))
        } else {
            Ok(())
        }
    }

    /// The record, in its place.
    pub(super) fn stamp(mut self, epoch: u64, offset: u64, tag: u32, time: u64) -> Vec<u8> {
        let (tag, time) = (tag.to_le_bytes(), time.to_le_bytes());
        if let Some((stamp, rest)) = self.bytes.split_first_chunk_mut::<STAMP>() {
            let crc = checksum(epoch, offset, &[&[VERSION], &tag, &time, rest]);
            let crc = crc.to_le_bytes();
            let fields = crc.iter().chain(&[VERSION]).chain(&tag).chain(&time);
            stamp
                .iter_mut()
                .zip(fields)
                .for_each(|(to, from)| *to = *from);
        }
        self.bytes
    }
}

/// A record that is whole, taken apart.
pub(super) struct Whole<'a> {
    tag: u32,
    pub(super) time: u64,
    version: u8,
    rest: &'a [u8],
}

impl<'a> Whole<'a> {
    /// Nothing if the bytes are not what was written in this place.
    pub(super) fn of(epoch: u64, offset: u64, bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        let crc = u32::from_le_bytes(take(&mut rest)?);
        if crc != checksum(epoch, offset, &[rest]) {
            return None;
        }
        let [version] = take(&mut rest)?;
        Some(Self {
            version,
            tag: u32::from_le_bytes(take(&mut rest)?),
            time: u64::from_le_bytes(take(&mut rest)?),
            rest,
        })
    }

    pub(super) fn tag(&self) -> u32 {
        self.tag
    }

    pub(super) fn topic(&self) -> Option<Topic> {
        self.parts()?.topic().ok()
    }

    fn parts(&self) -> Option<Parts<'a>> {
        if self.version != VERSION {
            return None;
        }
        let mut rest = self.rest;
        let [flags] = take(&mut rest)?;
        let retry = u32::from_le_bytes(take(&mut rest)?);
        let topic_len = u16::from_le_bytes(take(&mut rest)?);
        let name_len = u32::from_le_bytes(take(&mut rest)?);
        let text = std::str::from_utf8(rest).ok()?;
        let (topic, text) = text.split_at_checked(topic_len.into())?;
        let (name, data) = text.split_at_checked(usize::try_from(name_len).ok()?)?;
        Some(Parts {
            flags,
            retry,
            topic,
            name,
            data,
        })
    }
}

struct Parts<'a> {
    flags: u8,
    retry: u32,
    topic: &'a str,
    name: &'a str,
    data: &'a str,
}

impl Parts<'_> {
    fn topic(&self) -> Result<Topic, crate::InvalidTopic> {
        Topic::new(self.topic)
    }

    fn content(&self) -> Content {
        let Ok(topic) = self.topic() else {
            return Content::Corrupt(None);
        };
        let mut event = if self.flags & IS_JSON != 0 {
            Event::of_json(self.data.to_owned())
        } else {
            Event::new(self.data)
        };
        if !self.name.is_empty() {
            match EventName::new(self.name) {
                Ok(name) => event = event.name(name),
                Err(_) => return Content::Corrupt(Some(topic)),
            }
        }
        if self.retry != 0 {
            event = event.retry(Duration::from_millis(self.retry.into()));
        }
        Content::Event(topic, event)
    }
}

/// What stands in this place, whatever that is.
pub(super) fn read(epoch: u64, offset: u64, bytes: &[u8], now: u64) -> Record {
    let Some(whole) = Whole::of(epoch, offset, bytes) else {
        let position = Position::tagged(epoch, offset, doubtful_tag(bytes));
        return Record::new(position, Content::Corrupt(None));
    };
    let content = whole
        .parts()
        .map_or(Content::Corrupt(None), |parts| parts.content());
    let age = Duration::from_millis(now.saturating_sub(whole.time));
    Record::new(Position::tagged(epoch, offset, whole.tag), content).age(age)
}

/// The tag of a record that is not whole: as good as any, if only it is always the same.
fn doubtful_tag(bytes: &[u8]) -> u32 {
    let tag = bytes.get(5..9).and_then(|tag| tag.try_into().ok());
    u32::from_le_bytes(tag.unwrap_or_default())
}

/// The checksum of what stands at this place of this log.
pub(super) fn checksum(epoch: u64, offset: u64, parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&epoch.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

/// The next bytes, if there are so many.
pub(super) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

/// The wall clock, in milliseconds.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn refused(why: impl Into<Arc<str>>) -> AppendError {
    AppendError::Refused(why.into())
}
