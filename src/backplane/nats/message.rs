//! An event as a message of NATS, and a message as a record.

use std::str;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::HeaderMap;
use bytes::Bytes;

use super::text;
use crate::backplane::{Append, Content, Record};
use crate::event::{Event, EventName};
use crate::position::Position;
use crate::topic::Topic;

const NAME: &str = "Event";
const RETRY: &str = "Retry";
const TYPE: &str = "Content-Type";
const JSON: &str = "application/json";
const TAG: &str = "Tornadose-Tag";
const KEY: &str = "Nats-Msg-Id";

/// The headers of an event.
pub(super) fn headers(append: &Append, tag: u32) -> HeaderMap {
    let event = &append.event;
    let mut headers = HeaderMap::new();
    headers.insert(TAG, format!("{tag:08x}"));
    if !event.event_name().is_message() {
        headers.insert(NAME, text::header(event.event_name().as_str()));
    }
    if let Some(retry) = event.retry_after() {
        headers.insert(RETRY, retry.as_millis().to_string());
    }
    if event.is_json() {
        headers.insert(TYPE, JSON);
    }
    if let Some(key) = event.once_key() {
        headers.insert(KEY, text::header(key));
    }
    headers
}

/// A message as it is stored.
pub(super) struct Stored {
    pub(super) seq: u64,
    /// When it was stored, in nanoseconds since 1970.
    pub(super) nanos: u64,
    pub(super) subject: String,
    /// `None` if they are no headers.
    pub(super) fields: Option<Fields>,
    pub(super) data: Bytes,
}

impl Stored {
    /// Whether the client takes it when it is delivered.
    pub(super) fn is_deliverable(&self) -> bool {
        self.fields.is_some() && !self.subject.contains(char::REPLACEMENT_CHARACTER)
    }

    /// What it costs to hold it, in bytes.
    pub(super) fn size(&self) -> usize {
        self.subject.len() + self.data.len() + 128
    }

    /// What tells it from another message that had the same number: what its publisher gave
    /// it, or else the moment at which it was stored.
    pub(super) fn tag(&self) -> u32 {
        let given = self
            .fields
            .as_ref()
            .and_then(|fields| fields.tag.as_deref());
        given
            .filter(|tag| tag.len() == 8 && tag.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|tag| u32::from_str_radix(tag, 16).ok())
            .unwrap_or_else(|| text::upper(text::mix(self.nanos)))
    }

    pub(super) fn record(self, epoch: u64, prefix: &str) -> Record {
        let position = Position::tagged(epoch, self.seq, self.tag());
        let stored = UNIX_EPOCH + Duration::from_nanos(self.nanos);
        let age = SystemTime::now().duration_since(stored).unwrap_or_default();
        let content = match text::topic(prefix, &self.subject) {
            Some(topic) => match self.event() {
                Some(event) => Content::Event(topic, event),
                None => Content::Corrupt(Some(topic)),
            },
            None => Content::Corrupt(None),
        };
        Record::new(position, content).age(age)
    }

    /// Its topic, if it has one.
    pub(super) fn topic(&self, prefix: &str) -> Option<Topic> {
        text::topic(prefix, &self.subject)
    }

    fn event(self) -> Option<Event> {
        let fields = self.fields?;
        let data = str::from_utf8(&self.data).ok()?;
        let mut event = match fields.kind {
            Some(kind) if kind.eq_ignore_ascii_case(JSON) => {
                // It is sent as it is, so it has to be what it says that it is.
                serde_json::from_str::<serde::de::IgnoredAny>(data).ok()?;
                Event::of_json(data.to_owned())
            }
            _ => Event::new(data),
        };
        if let Some(name) = fields.name {
            event = event.name(EventName::new(text::decode(&name)?).ok()?);
        }
        if let Some(retry) = fields.retry {
            event = event.retry(Duration::from_millis(retry.parse().ok()?));
        }
        Some(event)
    }
}

/// The headers that say something to us.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    name: Option<String>,
    retry: Option<String>,
    kind: Option<String>,
    tag: Option<String>,
}

impl Fields {
    pub(super) fn new(headers: Option<&HeaderMap>) -> Self {
        let get = |name| Some(headers?.get(name)?.as_str().to_owned());
        Self {
            name: get(NAME),
            retry: get(RETRY),
            kind: get(TYPE),
            tag: get(TAG),
        }
    }

    /// Those that stand in these bytes, read as the client reads those of what is delivered;
    /// `None` where it would give up.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Self::default();
        let mut lines = str::from_utf8(bytes).ok()?.lines().peekable();
        let status = lines.next()?.strip_prefix("NATS/1.0")?.trim();
        let status = status.split(' ').next().unwrap_or_default();
        let is_status = |code: &[u8]| matches!(code, [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9']);
        if !status.is_empty() && !is_status(status.as_bytes()) {
            return None;
        }
        while let Some(line) = lines.next() {
            if line.is_empty() {
                continue;
            }
            let (name, value) = line.split_once(':')?;
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
                return None;
            }
            let mut value = value.trim_start().to_owned();
            while let Some(more) = lines.next_if(|line| line.starts_with(char::is_whitespace)) {
                value.push_str(more);
            }
            value.truncate(value.trim_end().len());
            let field = match name {
                NAME => &mut fields.name,
                RETRY => &mut fields.retry,
                TYPE => &mut fields.kind,
                TAG => &mut fields.tag,
                _ => continue,
            };
            field.get_or_insert(value);
        }
        Some(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(header: &str, data: &[u8]) -> Stored {
        Stored {
            seq: 7,
            nanos: 1,
            subject: "log.news".to_owned(),
            fields: Fields::read(header.as_bytes()),
            data: Bytes::copy_from_slice(data),
        }
    }

    fn event(header: &str, data: &[u8]) -> Option<Event> {
        match stored(header, data).record(1, "log").content {
            Content::Event(topic, event) => {
                assert_eq!(topic.as_str(), "news");
                Some(event)
            }
            Content::Corrupt(Some(topic)) => {
                assert_eq!(topic.as_str(), "news");
                None
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_others_write_is_read() {
        let tick = EventName::from_static("a tick");
        for (header, data, expected) in [
            ("NATS/1.0\r\n\r\n", "", Event::new("")),
            (
                "NATS/1.0\r\nEvent: a tick\r\n\r\n",
                "x",
                Event::new("x").name(tick.clone()),
            ),
            (
                "NATS/1.0\r\nEvent:   a%20tick  \r\n\r\n",
                "x",
                Event::new("x").name(tick.clone()),
            ),
            (
                "NATS/1.0\r\nEvent: a\r\n tick\r\n\r\n",
                "x",
                Event::new("x").name(tick),
            ),
            (
                "NATS/1.0\r\nevent: error\r\nX: y\r\n\r\n",
                "x",
                Event::new("x"),
            ),
            ("NATS/1.0 503 odd\r\n\r\n", "x", Event::new("x")),
            (
                "NATS/1.0\r\nRetry: 1500\r\nRetry: x\r\n\r\n",
                "x",
                Event::new("x").retry(Duration::from_millis(1500)),
            ),
            (
                "NATS/1.0\r\nContent-Type: application/JSON\r\n\r\n",
                "{\"a\": [1]}",
                Event::of_json("{\"a\": [1]}".to_owned()),
            ),
            (
                "NATS/1.0\r\nContent-Type: text/plain\r\n\r\n",
                "{",
                Event::new("{"),
            ),
        ] {
            assert_eq!(event(header, data.as_bytes()), Some(expected), "{header:?}");
        }
    }

    #[test]
    fn what_is_no_event_is_corrupt() {
        for (header, data) in [
            ("NATS/1.0\r\n\r\n", &b"\xff"[..]),
            ("NATS/1.0\r\nEvent: error\r\n\r\n", b"x"),
            ("NATS/1.0\r\nEvent:\r\n\r\n", b"x"),
            ("NATS/1.0\r\nEvent: 100%\r\n\r\n", b"x"),
            ("NATS/1.0\r\nEvent: a%0Ab\r\n\r\n", b"x"),
            ("NATS/1.0\r\nEvent: %FF\r\n\r\n", b"x"),
            ("NATS/1.0\r\nRetry: soon\r\n\r\n", b"x"),
            ("NATS/1.0\r\nRetry: -1\r\n\r\n", b"x"),
            ("NATS/1.0\r\nContent-Type: application/json\r\n\r\n", b"{"),
            ("NATS/1.0\r\nContent-Type: application/json\r\n\r\n", b"1 2"),
            ("NATS/1.0\r\nContent-Type: application/json\r\n\r\n", b""),
            ("HTTP/1.1\r\n\r\n", b"x"),
            ("NATS/1.0 x\r\n\r\n", b"x"),
            ("NATS/1.0\r\nno colon\r\n\r\n", b"x"),
            ("NATS/1.0\r\nnot a name: x\r\n\r\n", b"x"),
            ("", b"x"),
        ] {
            assert_eq!(event(header, data), None, "{header:?} {data:?}");
        }
    }

    #[test]
    fn a_tag_is_given_or_made_of_the_time() {
        let tag = |header: &str| stored(header, b"").tag();
        let made = tag("NATS/1.0\r\n\r\n");
        assert_eq!(
            tag("NATS/1.0\r\nTornadose-Tag: 00fFee01\r\n\r\n"),
            0x00ff_ee01
        );
        for odd in ["", "1", "+0ffee01", "zzzzzzzz", "00ffee012"] {
            assert_eq!(
                tag(&format!("NATS/1.0\r\nTornadose-Tag: {odd}\r\n\r\n")),
                made
            );
        }
        let later = Stored {
            nanos: 2,
            ..stored("NATS/1.0\r\n\r\n", b"")
        };
        assert_ne!(later.tag(), made);
    }

    #[test]
    fn an_event_is_written_and_read_back() {
        let event = Event::new("line\r\nline\n\0\u{feff}")
            .name(EventName::new(" a %41 \t\u{85}").expect("a name"))
            .retry(Duration::from_millis(2500))
            .once("key\r\n");
        let append = Append {
            topic: Topic::new("news").expect("a topic"),
            event: event.clone(),
            is_latest: false,
        };
        let headers = headers(&append, 9);
        let stored = Stored {
            fields: Some(Fields::new(Some(&headers))),
            data: Bytes::from(event.data().to_owned()),
            ..stored("", b"")
        };
        assert_eq!(stored.tag(), 9);
        let read = stored.event().expect("an event");
        assert_eq!(read.once("key\r\n"), event);
        assert_eq!(headers.get(KEY).map(|key| key.as_str()), Some("key%0D%0A"));
    }
}
