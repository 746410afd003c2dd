//! What a browser makes of an event stream: WHATWG HTML, 9.2.5 and 9.2.6, written
//! down step by step and without any of the crate's own code.

use std::time::Duration;

/// An event as a page gets it: a `MessageEvent`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Message {
    /// Its `type`: the value of `event`, or `message`.
    pub name: String,
    /// The values of its `data` lines, joined by LF.
    pub data: String,
    /// The id of this event, or that of an earlier one if it has none; empty without any.
    pub last_event_id: String,
}

impl Message {
    /// A message, to compare with.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        data: impl Into<String>,
        last_event_id: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            data: data.into(),
            last_event_id: last_event_id.into(),
        }
    }
}

/// Reads a stream as a browser does, in pieces of any size.
///
/// Lines end in LF, CR or CRLF; one byte order mark at the beginning is not seen, nor is what
/// is not UTF-8 anything but U+FFFD. An `id` with a NUL is not one, a `retry` is digits alone,
/// and what stands behind the last blank line is never dispatched. It keeps the line and the
/// event that have not ended, however long they are.
///
/// ```
/// use tornadose::test::{Decoder, Message};
///
/// let mut decoder = Decoder::default();
/// assert_eq!(decoder.feed(b"id: 7\r\ndata: hel"), []);
/// assert_eq!(decoder.feed(b"lo\r\n\r\ndata: not ye"), [Message::new("message", "hello", "7")]);
/// assert_eq!(decoder.last_event_id(), "7");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    /// The bytes of the line that has not ended yet. Lines end in ASCII, so a line
    /// is decoded as a whole, however its characters were cut.
    line: Vec<u8>,
    /// Whether the first line, and with it a byte order mark, is behind us.
    begun: bool,
    /// An LF right after a CR belongs to it.
    after_cr: bool,
    event: String,
    data: String,
    id: String,
    last_event_id: String,
    reconnection_time: Option<Duration>,
}

impl Decoder {
    /// Of the connection after one that ended with this id. It is carried over, as Chromium
    /// does: an event without an id has it. By the letter of the standard the first blank line
    /// of the new stream would forget it.
    #[must_use]
    pub fn after(last_event_id: impl Into<String>) -> Self {
        let id = last_event_id.into();
        Self {
            last_event_id: id.clone(),
            id,
            ..Self::default()
        }
    }

    /// What is dispatched by these bytes, in order.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Message> {
        let mut dispatched = Vec::new();
        for &byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\r' | b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    dispatched.extend(self.end_line(&line));
                }
                _ => self.line.push(byte),
            }
        }
        dispatched
    }

    /// What a browser sends as `Last-Event-ID` if the stream is cut now; if it is empty, nothing.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// The last `retry` of this stream.
    #[must_use]
    pub fn reconnection_time(&self) -> Option<Duration> {
        self.reconnection_time
    }

    fn end_line(&mut self, line: &[u8]) -> Option<Message> {
        let line = match std::mem::replace(&mut self.begun, true) {
            false => line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line),
            true => line,
        };
        let line = String::from_utf8_lossy(line);
        if line.is_empty() {
            return self.dispatch();
        }
        match line.split_once(':') {
            Some(("", _)) => {}
            Some((field, value)) => self.field(field, value.strip_prefix(' ').unwrap_or(value)),
            None => self.field(&line, ""),
        }
        None
    }

    fn field(&mut self, field: &str, value: &str) {
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                if let Ok(time) = value.parse() {
                    self.reconnection_time = Some(Duration::from_millis(time));
                }
            }
            _ => {}
        }
    }

    fn dispatch(&mut self) -> Option<Message> {
        self.last_event_id.clone_from(&self.id);
        let event = std::mem::take(&mut self.event);
        let mut data = std::mem::take(&mut self.data);
        // Every `data` line has left an LF; the last of them is not part of the data.
        data.pop()?;
        let name = if event.is_empty() { "message" } else { &event };
        Some(Message::new(name, data, self.id.as_str()))
    }
}

/// What is dispatched by a whole stream.
#[must_use]
pub fn decode(stream: &[u8]) -> Vec<Message> {
    Decoder::default().feed(stream)
}

/// Data as a browser sees it: CR, LF and CRLF are one LF each.
#[must_use]
pub fn normalised(data: &str) -> String {
    data.replace("\r\n", "\n").replace('\r', "\n")
}
