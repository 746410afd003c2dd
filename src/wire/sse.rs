//! `text/event-stream`, written so that nothing in an event can become syntax.
//!
//! A block is `id`, `event`, `retry`, `data` in this order, each line ended by one
//! LF, the block ended by one more:
//!
//! ```text
//! id: WUFZSxsBWn0-42
//! event: tick
//! retry: 3000
//! data: first line
//! data: second line
//!
//! ```
//!
//! - `field: value` with its space, always, so that a leading space of the value
//!   survives (a parser removes exactly one).
//! - one `data:` line for each line of the data, one for empty data: a block
//!   without any is not dispatched.
//! - `id` on every event: some parsers do not carry it over as the standard says.
//! - `event: message` is left out; it is the default.
//! - never a BOM: the first bytes of a stream are a comment, so a U+FEFF in data
//!   is never the first character.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use memchr::memchr2;

use crate::event::Event;
use crate::gap::Gap;
use crate::planted::planted;
use crate::position::{Epoch, Position, Tag};
use crate::wire::json;

/// The comment that opens a stream and keeps it alive.
pub(crate) const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// Room for the longest `id: <epoch>-<offset>\n`.
const ID_LINE: usize = "id: ".len() + Epoch::LEN + "-".len() + MAX_DIGITS + "\n".len();
const MAX_DIGITS: usize = 20;

/// Room for the tag of a log that has them.
const TAG: usize = "-".len() + Tag::LEN;

/// An event written out but for its id, which it gets from the log.
///
/// The block stands behind [`ID_LINE`] free bytes, or with a [`TAG`], so that the id can be written
/// in front of it, under the log's lock, without moving or allocating anything.
#[derive(Debug)]
pub(crate) struct Encoded {
    block: Vec<u8>,
    /// The free bytes.
    room: usize,
    name: Span,
    data: Span,
    /// Data of several lines, which does not stand in the block in one piece.
    lines: Option<Arc<str>>,
    is_json: bool,
}

/// A part of the block: where it starts behind the id line, and its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: usize,
    len: usize,
}

impl Span {
    pub(crate) fn of(self, block: &[u8], id_line: usize) -> &str {
        let start = id_line + self.start;
        let part = block.get(start..start + self.len).unwrap_or_default();
        // Spans are cut at the ends of whole strings.
        str::from_utf8(part).unwrap_or_default()
    }

    pub(crate) fn is_empty(self) -> bool {
        self.len == 0
    }
}

pub(crate) fn encode(event: &Event) -> Encoded {
    encode_behind(event, ID_LINE)
}

/// For a position that has a tag.
pub(crate) fn encode_tagged(event: &Event) -> Encoded {
    encode_behind(event, ID_LINE + TAG)
}

fn encode_behind(event: &Event, room: usize) -> Encoded {
    let mut block = Vec::with_capacity(room + block_len(event));
    block.resize(room, 0);

    let mut name = Span::default();
    if !event.event_name().is_message() {
        name = field(&mut block, room, "event", event.event_name().as_str());
    }
    if let Some(retry) = event.retry_after() {
        retry_line(&mut block, retry);
    }
    let mut data = Span::default();
    let mut count = 0;
    let is_left_out = planted("empty-data-dropped") && event.data().is_empty();
    for line in lines(event.data()).filter(|_| !is_left_out) {
        data = field(&mut block, room, "data", line);
        count += 1;
    }
    block.push(b'\n');

    Encoded {
        block,
        room,
        name,
        data,
        lines: (count > 1).then(|| event.data().into()),
        is_json: event.is_json(),
    }
}

impl Encoded {
    /// The bytes that a log keeps for it.
    pub(crate) fn weight(&self) -> usize {
        self.block.capacity() + self.lines.as_ref().map_or(0, |lines| lines.len())
    }

    /// Where the name (empty: none) and the data (if it is one line) stand.
    pub(crate) fn spans(&self) -> (Span, Span) {
        (self.name, self.data)
    }

    pub(crate) fn is_json(&self) -> bool {
        self.is_json
    }

    /// Writes the id in front. Returns the whole block, the length of its id line,
    /// behind which the spans count, and the data of several lines.
    pub(crate) fn stamp(mut self, position: Position) -> (Bytes, usize, Option<Arc<str>>) {
        let mut start = self.room;
        let mut prepend = |part: &[u8]| {
            start = start.saturating_sub(part.len());
            if let Some(gap) = self.block.get_mut(start..start + part.len()) {
                gap.copy_from_slice(part);
            }
        };
        prepend(b"\n");
        if let Some(tag) = position.tag() {
            prepend(&tag.text());
            prepend(b"-");
        }
        let mut offset = position.offset();
        loop {
            prepend(&[b'0' + (offset % 10) as u8]);
            offset /= 10;
            if offset == 0 {
                break;
            }
        }
        prepend(b"-");
        prepend(&position.epoch().text());
        prepend(b"id: ");
        let block = Bytes::from(self.block).slice(start..);
        (block, self.room - start, self.lines)
    }
}

/// The first bytes of a stream: a comment, so that the head leaves at once and
/// `onopen` fires; then, if given, the reconnection time and the position at
/// which the stream begins, so that a client that is cut off before its first
/// event comes back with an id (a block without data sets it without being
/// dispatched).
pub(crate) fn preamble(retry: Option<Duration>, bookmark: Option<Position>) -> Bytes {
    if retry.is_none() && bookmark.is_none() {
        return COMMENT;
    }
    let mut block = COMMENT.to_vec();
    if let Some(position) = bookmark {
        field(&mut block, 0, "id", &position.to_string());
    }
    if let Some(retry) = retry {
        retry_line(&mut block, retry);
    }
    block.push(b'\n');
    block.into()
}

/// The position that a client goes on from: it keeps the id and dispatches nothing.
pub(crate) fn bookmark(position: Position) -> Bytes {
    format!("id: {position}\n\n").into()
}

/// The last bytes of a stream that is ended by us.
pub(crate) fn farewell(retry: Duration) -> Bytes {
    let mut block = Vec::with_capacity(32);
    retry_line(&mut block, retry);
    block.push(b'\n');
    block.into()
}

/// A gap as an event.
pub(crate) fn gap(gap: &Gap) -> Bytes {
    let json = json::gap(gap);
    let mut block = Vec::with_capacity(json.len() + 64);
    field(&mut block, 0, "event", "gap");
    field(&mut block, 0, "id", &gap.resume.to_string());
    field(&mut block, 0, "data", &json);
    block.push(b'\n');
    block.into()
}

/// Where the value stands behind so many free bytes.
fn field(block: &mut Vec<u8>, room: usize, name: &str, value: &str) -> Span {
    block.extend_from_slice(name.as_bytes());
    block.extend_from_slice(b": ");
    let start = block.len().saturating_sub(room);
    block.extend_from_slice(value.as_bytes());
    block.push(b'\n');
    Span {
        start,
        len: value.len(),
    }
}

fn retry_line(block: &mut Vec<u8>, retry: Duration) {
    field(block, 0, "retry", &retry.as_millis().to_string());
}

fn block_len(event: &Event) -> usize {
    let name = match event.event_name() {
        name if name.is_message() => 0,
        name => "event: \n".len() + name.as_str().len(),
    };
    let retry = event.retry_after().map_or(0, |_| "retry: 3600000\n".len());
    let data: usize = lines(event.data())
        .map(|line| "data: \n".len() + line.len())
        .sum();
    name + retry + data + "\n".len()
}

/// The lines of a text: CR, LF and CRLF each end one. Text without any is one
/// line; text that ends with a break has an empty last line.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let cr = if planted("cr-in-data") { b'\n' } else { b'\r' };
        let Some(at) = memchr2(cr, b'\n', text.as_bytes()) else {
            rest = None;
            return Some(text);
        };
        let (line, tail) = text.split_at(at);
        rest = tail.strip_prefix("\r\n").or_else(|| tail.get(1..));
        Some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Entry;
    use crate::event::EventName;

    fn written(event: impl Into<Event>) -> String {
        let entry = Entry::new(Position::new(Epoch::zero(), 7), &event.into());
        String::from_utf8(entry.sse().to_vec()).expect("UTF-8")
    }

    #[test]
    fn the_bytes_are_exact() {
        assert_eq!(written("hello"), "id: AAAAAAAAAAA-7\ndata: hello\n\n");
        assert_eq!(written(""), "id: AAAAAAAAAAA-7\ndata: \n\n");
        assert_eq!(written(" x"), "id: AAAAAAAAAAA-7\ndata:  x\n\n");
        assert_eq!(
            written("a\nb\rc\r\nd"),
            "id: AAAAAAAAAAA-7\ndata: a\ndata: b\ndata: c\ndata: d\n\n"
        );
        assert_eq!(written("\n"), "id: AAAAAAAAAAA-7\ndata: \ndata: \n\n");
        assert_eq!(
            written("\n\r"),
            "id: AAAAAAAAAAA-7\ndata: \ndata: \ndata: \n\n"
        );
        let event = Event::new("1").name(EventName::from_static("tick"));
        assert_eq!(
            written(event.retry(Duration::ZERO)),
            "id: AAAAAAAAAAA-7\nevent: tick\nretry: 100\ndata: 1\n\n"
        );
        assert_eq!(
            written(Event::new("1").retry(Duration::MAX)),
            "id: AAAAAAAAAAA-7\nretry: 3600000\ndata: 1\n\n"
        );
        assert_eq!(
            written(Event::new("1").name(EventName::MESSAGE)),
            written("1")
        );
    }

    #[test]
    fn a_block_is_allocated_once() {
        for data in ["", "x", "a\nb", "a\r\nb\r\n", "\r\r\r"] {
            let event = Event::new(data).name(EventName::from_static("n"));
            assert_eq!(
                encode(&event).block.len(),
                encode(&event).block.capacity(),
                "{data:?}"
            );
        }
    }

    #[test]
    fn the_longest_id_fits() {
        let last = Position::new(Epoch::zero(), u64::MAX);
        let entry = Entry::new(last, &Event::new("x"));
        assert_eq!(
            &entry.sse()[..],
            format!("id: {last}\ndata: x\n\n").as_bytes()
        );
        assert_eq!((entry.data(), entry.name()), ("x", "message"));
    }

    #[test]
    fn a_tag_stands_in_the_id() {
        let last = Position::new(Epoch::zero(), u64::MAX).with_tag(Some(Tag(u32::MAX)));
        let event = Event::new("x").name(EventName::from_static("n"));
        let entry = Entry::new(last, &event);
        let expected = "id: AAAAAAAAAAA-18446744073709551615-_____w\nevent: n\ndata: x\n\n";
        assert_eq!(&entry.sse()[..], expected.as_bytes());
        assert_eq!((entry.data(), entry.name()), ("x", "n"));
        assert_eq!(
            encode_tagged(&event).block.len(),
            encode_tagged(&event).block.capacity()
        );
    }

    #[test]
    fn an_entry_reads_its_own_bytes() {
        for (name, data) in [
            ("a", "x"),
            ("tick", ""),
            ("message", " y "),
            ("ü", "1\n2\r\n3\r"),
        ] {
            let event = Event::new(data).name(EventName::new(name).expect("a name"));
            for offset in [1, 10, 12345] {
                let event = event.clone().retry(Duration::from_secs(5));
                let entry = Entry::new(Position::new(Epoch::zero(), offset), &event);
                assert_eq!((entry.name(), entry.data()), (name, data));
            }
        }
    }

    #[test]
    fn control_blocks_are_exact() {
        let position = Position::new(Epoch::zero(), 3);
        assert_eq!(preamble(None, None), ":\n\n");
        assert_eq!(preamble(None, Some(position)), ":\n\nid: AAAAAAAAAAA-3\n\n");
        assert_eq!(
            preamble(Some(Duration::from_secs(2)), Some(position)),
            ":\n\nid: AAAAAAAAAAA-3\nretry: 2000\n\n"
        );
        assert_eq!(farewell(Duration::from_millis(2500)), "retry: 2500\n\n");
        let told = Gap::new(
            crate::GapReason::Evicted,
            Some(17),
            Some(position),
            Position::new(Epoch::zero(), 20),
        );
        assert_eq!(
            gap(&told),
            "event: gap\nid: AAAAAAAAAAA-20\ndata: {\"reason\":\"evicted\",\"missed\":\"17\",\
             \"from\":\"AAAAAAAAAAA-3\",\"resume\":\"AAAAAAAAAAA-20\"}\n\n"
        );
        let told = Gap::new(crate::GapReason::Malformed, None, None, position);
        assert_eq!(
            gap(&told),
            "event: gap\nid: AAAAAAAAAAA-3\ndata: {\"reason\":\"malformed\",\"resume\":\"AAAAAAAAAAA-3\"}\n\n"
        );
    }
}
