//! What a browser makes of an event stream: WHATWG HTML, 9.2.5 and 9.2.6, written
//! down step by step and without any of the crate's own code.

/// An event as a page gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dispatched {
    pub(crate) name: String,
    pub(crate) data: String,
    pub(crate) last_event_id: String,
}

impl Dispatched {
    pub(crate) fn new(
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

/// Takes a stream in pieces of any size. What stands behind the last blank line is
/// never dispatched.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
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
    reconnection_time: Option<u64>,
}

impl Decoder {
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Dispatched> {
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

    /// What a browser sends as `Last-Event-ID` if the stream is cut now.
    pub(crate) fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// The last `retry`, in milliseconds.
    pub(crate) fn reconnection_time(&self) -> Option<u64> {
        self.reconnection_time
    }

    fn end_line(&mut self, line: &[u8]) -> Option<Dispatched> {
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
                    self.reconnection_time = Some(time);
                }
            }
            _ => {}
        }
    }

    fn dispatch(&mut self) -> Option<Dispatched> {
        self.last_event_id.clone_from(&self.id);
        let event = std::mem::take(&mut self.event);
        let mut data = std::mem::take(&mut self.data);
        // Every `data` line has left an LF; the last of them is not part of the data.
        data.pop()?;
        let name = if event.is_empty() { "message" } else { &event };
        Some(Dispatched::new(name, data, self.id.as_str()))
    }
}

/// A whole stream at once.
pub(crate) fn decode(stream: &[u8]) -> Vec<Dispatched> {
    Decoder::default().feed(stream)
}

/// A whole stream in pieces of this size.
pub(crate) fn decode_in_pieces(stream: &[u8], size: usize) -> Vec<Dispatched> {
    let mut decoder = Decoder::default();
    let pieces = stream.chunks(size.max(1));
    pieces.flat_map(|piece| decoder.feed(piece)).collect()
}

/// Data as a browser sees it: CR, LF and CRLF are one LF each.
pub(crate) fn normalised(data: &str) -> String {
    data.replace("\r\n", "\n").replace('\r', "\n")
}
