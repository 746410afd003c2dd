//! What the bytes of a connection say, read without the library.

use serde_json::Value;

use super::record::{Id, Transport};
use tornadose::test::Decoder;

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Event {
        id: Option<Id>,
        /// The id of what was told before it, if that is told.
        prev: Option<Id>,
        /// If that is told.
        topic: Option<String>,
        name: String,
        data: String,
    },
    Gap {
        id: Option<Id>,
        reason: String,
        missed: Option<u64>,
        from: Option<Id>,
        resume: Option<Id>,
    },
    /// A position without an event, also that at which it begins.
    Bookmark(Id),
    /// A WebSocket is there, without a position.
    Opened,
    /// When to come back, in milliseconds.
    Retry(u64),
    Ping(Vec<u8>),
    /// The code and the reason.
    Close(u16, String),
    /// What makes no sense.
    Garbage(String),
}

impl Told {
    /// The id that the client has after it.
    pub(crate) fn id(&self) -> Option<&Id> {
        match self {
            Self::Event { id, .. } | Self::Gap { id, .. } => id.as_ref(),
            Self::Bookmark(id) => Some(id),
            _ => None,
        }
    }

    /// In one line.
    pub(crate) fn short(&self) -> String {
        match self {
            Self::Event { id, data, .. } => {
                let id = id.as_ref().map(Id::to_string).unwrap_or_default();
                let data: String = data.chars().take(24).collect();
                format!("{id} {data:?}")
            }
            other => format!("{other:?}"),
        }
    }
}

/// Takes the bytes of a connection in pieces of any size.
#[derive(Debug)]
pub(crate) enum Decoding {
    Sse(Sse),
    WebSocket(Frames),
}

impl Decoding {
    pub(crate) fn of(transport: Transport) -> Self {
        match transport {
            Transport::Sse => Self::Sse(Sse::default()),
            Transport::WebSocket => Self::WebSocket(Frames::default()),
        }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Told> {
        match self {
            Self::Sse(sse) => sse.feed(bytes),
            Self::WebSocket(frames) => frames.feed(bytes),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Sse {
    decoder: Decoder,
    known: String,
    /// What there is of a line.
    line: Vec<u8>,
}

impl Sse {
    fn feed(&mut self, bytes: &[u8]) -> Vec<Told> {
        let mut all = Vec::new();
        // Line by line, because a block without data is seen by what it leaves behind.
        for line in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let dispatched = self.decoder.feed(line).pop();
            let is_known = self.decoder.last_event_id() == self.known;
            if !is_known {
                self.decoder.last_event_id().clone_into(&mut self.known);
            }
            // The decoder does not tell one time from the same again.
            self.line.extend_from_slice(line);
            if line.ends_with(b"\n") || line.ends_with(b"\r") {
                let line = std::mem::take(&mut self.line);
                if line.starts_with(b"retry:") {
                    let time = self.decoder.reconnection_time();
                    all.extend(time.map(|time| Told::Retry(time.as_millis() as u64)));
                }
            }
            let id = Id::parse(&self.known);
            match (dispatched, id) {
                (Some(event), id) if event.name == "gap" => {
                    all.push(match serde_json::from_str(&event.data) {
                        Ok(gap) => told_gap(&gap, id),
                        Err(error) => Told::Garbage(error.to_string()),
                    });
                }
                (Some(event), id) => all.push(Told::Event {
                    // An event without an id of its own leaves that of the one before.
                    id: id.filter(|_| !is_known),
                    prev: None,
                    topic: None,
                    name: event.name,
                    data: event.data,
                }),
                (None, Some(id)) if !is_known => all.push(Told::Bookmark(id)),
                (None, None) if !is_known => {
                    all.push(Told::Garbage(format!("the id {:?}", self.known)));
                }
                (None, _) => {}
            }
        }
        all
    }
}

/// Frames of a server: RFC 6455, 5.2.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
    /// What has come of a message in fragments.
    text: Option<Vec<u8>>,
}

impl Frames {
    fn feed(&mut self, bytes: &[u8]) -> Vec<Told> {
        self.bytes.extend_from_slice(bytes);
        let mut all = Vec::new();
        let mut begin = 0;
        while let Some((len, first, payload)) = frame(&self.bytes[begin..]) {
            let payload = payload.to_vec();
            begin += len;
            if first & 0x70 != 0 {
                all.push(Told::Garbage("reserved bits".into()));
            }
            match (first & 0x80 != 0, first & 0x0f) {
                (true, 1) if self.text.is_none() => all.push(message(&payload)),
                (false, 1) if self.text.is_none() => self.text = Some(payload),
                (is_last, 0) if self.text.is_some() => {
                    let mut text = self.text.take().unwrap_or_default();
                    text.extend_from_slice(&payload);
                    match is_last {
                        true => all.push(message(&text)),
                        false => self.text = Some(text),
                    }
                }
                (true, 8) => all.push(close(&payload)),
                (true, 9) => all.push(Told::Ping(payload)),
                (true, 10) => {}
                (_, opcode) => all.push(Told::Garbage(format!("a frame of kind {opcode}"))),
            }
        }
        self.bytes.drain(..begin);
        all
    }
}

/// The length of the first frame, its first byte, and what it carries; if it is all there.
fn frame(bytes: &[u8]) -> Option<(usize, u8, &[u8])> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    let (len, rest) = match second & 0x7f {
        126 => {
            let (len, rest) = rest.split_first_chunk()?;
            (u64::from(u16::from_be_bytes(*len)), rest)
        }
        127 => {
            let (len, rest) = rest.split_first_chunk()?;
            (u64::from_be_bytes(*len), rest)
        }
        len => (u64::from(len), rest),
    };
    // Masked it is none of a server's.
    if second & 0x80 != 0 {
        return Some((bytes.len(), 0xff, &[]));
    }
    let payload = rest.get(..usize::try_from(len).ok()?)?;
    let head = bytes.len() - rest.len();
    Some((head + payload.len(), first, payload))
}

fn close(payload: &[u8]) -> Told {
    match payload.split_first_chunk() {
        Some((code, reason)) => {
            let reason = String::from_utf8_lossy(reason).into_owned();
            Told::Close(u16::from_be_bytes(*code), reason)
        }
        None => Told::Close(1005, String::new()),
    }
}

fn message(text: &[u8]) -> Told {
    let message: Value = match serde_json::from_slice(text) {
        Ok(message) => message,
        Err(error) => return Told::Garbage(error.to_string()),
    };
    let id = id_in(&message, "id");
    match (message["event"].as_str(), id) {
        (Some("gap"), id) => told_gap(&message["data"], id),
        (Some("open"), Some(id)) | (None, Some(id)) => Told::Bookmark(id),
        (Some("open"), None) => Told::Opened,
        (Some(name), id) => Told::Event {
            id,
            prev: id_in(&message, "prev"),
            topic: message["topic"].as_str().map(str::to_owned),
            name: name.to_owned(),
            data: match &message["data"] {
                Value::String(data) => data.clone(),
                other => other.to_string(),
            },
        },
        (None, None) => Told::Garbage(message.to_string()),
    }
}

fn told_gap(gap: &Value, id: Option<Id>) -> Told {
    let Some(reason) = gap["reason"].as_str() else {
        return Told::Garbage(format!("a gap without a reason: {gap}"));
    };
    let missed: Option<u64> = gap["missed"].as_str().and_then(|text| text.parse().ok());
    let is_absent = |field: &str| gap[field].is_null();
    let is_read = (missed.is_some() || is_absent("missed"))
        && ["from", "resume"]
            .into_iter()
            .all(|field| is_absent(field) || id_in(gap, field).is_some());
    if !is_read {
        return Told::Garbage(format!("a gap that cannot be read: {gap}"));
    }
    Told::Gap {
        id,
        reason: reason.to_owned(),
        missed,
        from: id_in(gap, "from"),
        resume: id_in(gap, "resume"),
    }
}

fn id_in(value: &Value, field: &str) -> Option<Id> {
    value[field].as_str().and_then(Id::parse)
}
