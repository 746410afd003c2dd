//! What is written in an event stream: what a browser makes of it (WHATWG HTML, 9.2.5 and
//! 9.2.6), and what in it no browser makes anything of.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::mem;
use std::time::Duration;

/// As many events are remembered, and counted beyond.
const REMEMBERED: usize = 20_000;

/// Beyond it, line buffers of common clients give up.
const LARGE: usize = 64 << 10;

/// Takes a stream in pieces of any size.
#[derive(Debug, Default)]
pub(crate) struct Text {
    pub(crate) events: u64,
    pub(crate) comments: u64,
    /// The first of them.
    pub(crate) remembered: Vec<Event>,
    pub(crate) faults: Faults,
    /// What a browser would send if the stream were cut now.
    pub(crate) last_event_id: Vec<u8>,
    line: Vec<u8>,
    begun: bool,
    after_cr: bool,
    block: Block,
}

/// An event that a page gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) at: Duration,
    /// The id that stands in the event itself.
    pub(crate) id: Option<Vec<u8>>,
    /// It tells that others are gone, as this crate does.
    pub(crate) is_gap: bool,
    /// Two that are equal have the same.
    pub(crate) digest: u64,
}

/// What was found that does nothing, or not what was meant; how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) bom: u32,
    pub(crate) unknown_fields: u32,
    pub(crate) without_data: u32,
    pub(crate) ids_with_nul: u32,
    pub(crate) bad_retries: u32,
    pub(crate) least_retry: Option<u64>,
    pub(crate) not_utf8: u32,
    pub(crate) largest: usize,
}

impl Faults {
    pub(crate) fn is_large(&self) -> bool {
        self.largest > LARGE
    }
}

#[derive(Debug, Default)]
struct Block {
    has_fields: bool,
    has_data: bool,
    has_name: bool,
    data: Vec<u8>,
    name: Vec<u8>,
    id: Option<Vec<u8>>,
    bytes: usize,
}

impl Text {
    pub(crate) fn feed(&mut self, bytes: &[u8], at: Duration) {
        for &byte in bytes {
            let after_cr = mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\r' | b'\n' => {
                    let line = mem::take(&mut self.line);
                    self.end_line(&line, at);
                }
                _ => self.line.push(byte),
            }
        }
    }

    /// Whether it stands in the middle of an event or a line.
    pub(crate) fn is_cut(&self) -> bool {
        !self.line.is_empty() || self.block.has_fields
    }

    /// Whether lines with data have come that no blank line has ended, and no half line.
    pub(crate) fn awaits_blank_line(&self) -> bool {
        self.line.is_empty() && self.block.has_data
    }

    fn end_line(&mut self, line: &[u8], at: Duration) {
        const BOM: &[u8] = b"\xef\xbb\xbf";
        let begun = mem::replace(&mut self.begun, true);
        let line = match line.strip_prefix(BOM) {
            Some(rest) => {
                self.faults.bom += 1;
                if begun { line } else { rest }
            }
            None => line,
        };
        if str::from_utf8(line).is_err() {
            self.faults.not_utf8 += 1;
        }
        self.block.bytes = self.block.bytes.saturating_add(line.len());
        self.faults.largest = self.faults.largest.max(self.block.bytes);
        if line.is_empty() {
            return self.dispatch(at);
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (field, value) = match colon.and_then(|colon| line.split_at_checked(colon)) {
            Some((field, value)) => (field, value.get(1..).unwrap_or_default()),
            None => (line, &[][..]),
        };
        if field.is_empty() {
            self.comments += 1;
            return;
        }
        self.field(field, value.strip_prefix(b" ").unwrap_or(value));
    }

    fn field(&mut self, field: &[u8], value: &[u8]) {
        let block = &mut self.block;
        block.has_fields = true;
        match field {
            b"data" => {
                block.has_data = true;
                block.data.extend_from_slice(value);
                block.data.push(b'\n');
            }
            b"event" => {
                block.has_name = true;
                value.clone_into(&mut block.name);
            }
            b"id" if value.contains(&0) => self.faults.ids_with_nul += 1,
            b"id" => block.id = Some(value.to_vec()),
            b"retry" => {
                let digits = value.iter().all(u8::is_ascii_digit);
                let number = str::from_utf8(value)
                    .ok()
                    .and_then(|text| text.parse().ok());
                match number.filter(|_| digits) {
                    Some(time) => {
                        let least = self
                            .faults
                            .least_retry
                            .map_or(time, |least| least.min(time));
                        self.faults.least_retry = Some(least);
                    }
                    None => self.faults.bad_retries += 1,
                }
            }
            _ => self.faults.unknown_fields += 1,
        }
    }

    fn dispatch(&mut self, at: Duration) {
        let block = mem::take(&mut self.block);
        if let Some(id) = &block.id {
            self.last_event_id.clone_from(id);
        }
        if !block.has_data {
            self.faults.without_data += u32::from(block.has_name);
            return;
        }
        self.events += 1;
        if self.remembered.len() < REMEMBERED {
            let mut digest = DefaultHasher::new();
            (&block.name, &block.data, &block.id).hash(&mut digest);
            self.remembered.push(Event {
                at,
                is_gap: block.name == b"gap",
                id: block.id.filter(|id| !id.is_empty()),
                digest: digest.finish(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stream: &[u8]) -> Text {
        let mut text = Text::default();
        text.feed(stream, Duration::ZERO);
        text
    }

    #[test]
    fn it_makes_no_difference_how_a_stream_is_cut() {
        let stream =
            "\u{feff}: hi\n\nid: 1\ndata: ü\r\ndata\r\revent: a\nretry: 5\n\nid\ndata:x\n\n"
                .as_bytes();
        let whole = read(stream);
        assert_eq!((whole.events, whole.comments), (2, 1));
        assert_eq!(whole.last_event_id, b"");
        for size in 1..stream.len() {
            let mut pieces = Text::default();
            for piece in stream.chunks(size) {
                pieces.feed(piece, Duration::ZERO);
            }
            assert_eq!(pieces.remembered, whole.remembered, "{size}");
            assert_eq!(pieces.faults, whole.faults, "{size}");
            assert!(!pieces.is_cut());
        }
        assert_eq!(
            whole.faults,
            Faults {
                bom: 1,
                without_data: 1,
                least_retry: Some(5),
                largest: 17,
                ..Faults::default()
            }
        );
    }

    #[test]
    fn ids_are_remembered_as_browsers_do() {
        let text = read(b"id: 1\ndata: a\n\ndata: b\n\nid: 2\n\nid: 3\0\ndata: c\n\n");
        let ids: Vec<_> = text
            .remembered
            .iter()
            .map(|event| event.id.as_deref())
            .collect();
        assert_eq!(ids, [Some(&b"1"[..]), None, None]);
        assert_eq!(text.last_event_id, b"2");
        assert_eq!(text.faults.ids_with_nul, 1);
    }

    #[test]
    fn what_no_browser_understands_is_counted() {
        let text = read(b"{\"a\": 1}\n\nretry: soon\nretry:\nretry: 7\nretry: 3\n\ndata: \xff\n\n\xef\xbb\xbfdata: x\n\n");
        assert_eq!(text.events, 1);
        assert_eq!(
            text.faults,
            Faults {
                bom: 1,
                unknown_fields: 2,
                bad_retries: 2,
                least_retry: Some(3),
                not_utf8: 1,
                largest: 33,
                ..Faults::default()
            }
        );
    }

    #[test]
    fn what_is_open_is_known() {
        for (stream, is_cut, awaits) in [
            (&b""[..], false, false),
            (b":\n", false, false),
            (b":", true, false),
            (b"id: 1\n", true, false),
            (b"data: 1\n", true, true),
            (b"data: 1\nda", true, false),
            (b"data: 1\n\n", false, false),
        ] {
            let text = read(stream);
            assert_eq!(
                (text.is_cut(), text.awaits_blank_line()),
                (is_cut, awaits),
                "{stream:?}"
            );
        }
    }
}
