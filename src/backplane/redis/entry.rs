//! What stands in an entry of the stream.
//!
//! | field | what it is | |
//! |---|---|---|
//! | `topic` | the topic | needed |
//! | `data` | the data, UTF-8 | needed |
//! | `event` | the name, if it is not `message` | |
//! | `retry` | the reconnection time in milliseconds | |
//! | `json` | `1`: the data is JSON | |
//! | `tag` | eight hexadecimal digits that tell the event from every other one | set by us |
//! | `at` | when it was appended, milliseconds since 1970 | set by us |
//!
//! Of a field that stands there twice the first one counts. Other fields are nobody's
//! business.

use std::borrow::Cow;
use std::time::Duration;

use crate::backplane::{Append, Content, Record};
use crate::event::{Event, EventName};
use crate::position::Position;
use crate::topic::Topic;

/// What an event is written as, in the order that the scripts rely on: topic, tag.
pub(super) fn fields(append: &Append, tag: u32) -> Vec<(&'static str, Cow<'_, str>)> {
    let event = &append.event;
    let mut fields = vec![
        ("topic", append.topic.as_str().into()),
        ("tag", format!("{tag:08x}").into()),
        ("data", event.data().into()),
    ];
    if !event.event_name().is_message() {
        fields.push(("event", event.event_name().as_str().into()));
    }
    if let Some(retry) = event.retry_after() {
        fields.push(("retry", retry.as_millis().to_string().into()));
    }
    if event.is_json() {
        fields.push(("json", "1".into()));
    }
    fields
}

/// An entry as it was read.
pub(super) struct Entry {
    epoch: u64,
    offset: u64,
    /// Names and values in turn.
    fields: Vec<Vec<u8>>,
}

impl Entry {
    pub(super) fn new(id: &str, fields: Vec<Vec<u8>>) -> Option<Self> {
        let (epoch, offset) = parse(id)?;
        Some(Self {
            epoch,
            offset,
            fields,
        })
    }

    /// What a script has kept: the id, then each name and value as `<length>:<bytes>,`.
    pub(super) fn of_kept(kept: &[u8]) -> Option<Self> {
        let end = kept.iter().position(|byte| *byte == b' ')?;
        let (id, mut rest) = kept.split_at_checked(end)?;
        rest = rest.get(1..)?;
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let colon = rest.iter().position(|byte| *byte == b':')?;
            let len: usize = number(rest.get(..colon)?)?;
            rest = rest.get(colon.checked_add(1)?..)?;
            let (field, behind) = rest.split_at_checked(len)?;
            fields.push(field.to_vec());
            rest = behind.strip_prefix(b",")?;
        }
        Self::new(std::str::from_utf8(id).ok()?, fields)
    }

    pub(super) fn id(&self) -> String {
        format!("{}-{}", self.epoch, self.offset)
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn size(&self) -> usize {
        self.fields.iter().map(Vec::len).sum()
    }

    /// Whether another program has appended it.
    pub(super) fn is_foreign(&self) -> bool {
        self.tag().is_none()
    }

    /// `now`: what the clock of the server says, in milliseconds.
    pub(super) fn into_record(self, max_bytes: usize, now: Option<u64>) -> Record {
        let tag = self.tag().unwrap_or_else(|| self.digest());
        let position = Position::tagged(self.epoch, self.offset, tag);
        let at = self.field("at").and_then(number::<u64>);
        let record = Record::new(position, self.content(max_bytes));
        match now.zip(at) {
            Some((now, at)) => record.age(Duration::from_millis(now.saturating_sub(at))),
            None => record,
        }
    }

    fn content(&self, max_bytes: usize) -> Content {
        let topic = self.field("topic").and_then(|topic| {
            let topic = std::str::from_utf8(topic).ok()?;
            Topic::new(topic).ok()
        });
        let Some(topic) = topic else {
            return Content::Corrupt(None);
        };
        match self.event(max_bytes) {
            Some(event) => Content::Event(topic, event),
            None => Content::Corrupt(Some(topic)),
        }
    }

    fn event(&self, max_bytes: usize) -> Option<Event> {
        if self.size() > max_bytes {
            return None;
        }
        let data = std::str::from_utf8(self.field("data")?).ok()?;
        let mut event = match self.field("json") {
            Some(b"1") => of_json(data)?,
            _ => Event::new(data),
        };
        if let Some(name) = self.field("event") {
            event = event.name(EventName::new(std::str::from_utf8(name).ok()?).ok()?);
        }
        if let Some(retry) = self.field("retry") {
            event = event.retry(Duration::from_millis(number(retry)?));
        }
        Some(event)
    }

    fn field(&self, wanted: &str) -> Option<&[u8]> {
        let mut pairs = self.fields.chunks_exact(2);
        pairs.find_map(|pair| match pair {
            [name, value] if name == wanted.as_bytes() => Some(&**value),
            _ => None,
        })
    }

    fn tag(&self) -> Option<u32> {
        let tag = self.field("tag").filter(|tag| tag.len() == 8)?;
        if !tag.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        u32::from_str_radix(std::str::from_utf8(tag).ok()?, 16).ok()
    }

    /// The same in every process: FNV-1a of all names and values with their lengths.
    fn digest(&self) -> u32 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut add = |byte: u8| {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        };
        for field in &self.fields {
            (field.len() as u64)
                .to_le_bytes()
                .into_iter()
                .for_each(&mut add);
            field.iter().copied().for_each(&mut add);
        }
        ((hash >> 32) as u32 ^ hash as u32).max(1)
    }
}

/// Whoever writes into the stream says that it is JSON, and it goes into the messages of
/// WebSockets as it is. So it is looked at.
#[cfg(feature = "json")]
fn of_json(data: &str) -> Option<Event> {
    Event::from_json(data).ok()
}

/// Without a parser it can only be text.
#[cfg(not(feature = "json"))]
#[allow(clippy::unnecessary_wraps, reason = "with a parser it may fail")]
fn of_json(data: &str) -> Option<Event> {
    Some(Event::new(data))
}

/// `<epoch>-<offset>`; a time is no epoch.
pub(super) fn parse(id: &str) -> Option<(u64, u64)> {
    let (epoch, offset) = id.split_once('-')?;
    let epoch = epoch.parse().ok().filter(|epoch| *epoch >= FIRST_EPOCH)?;
    Some((epoch, offset.parse().ok()?))
}

/// The least number of 20 digits. Some three hundred million years before the clock would
/// come to it.
pub(super) const FIRST_EPOCH: u64 = 10_000_000_000_000_000_000;

fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    // A sign is no digit.
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| is_number)?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "17000000000000000000-7";

    fn entry(fields: &[&[u8]]) -> Entry {
        let fields = fields.iter().map(|field| field.to_vec()).collect();
        Entry::new(ID, fields).expect("an entry")
    }

    fn content(fields: &[&[u8]]) -> String {
        match entry(fields).into_record(100, None).content {
            Content::Event(topic, event) => format!(
                "{topic}: {} {:?} {:?} {}",
                event.event_name(),
                event.data(),
                event.retry_after(),
                event.is_json()
            ),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let append = |event| Append {
            topic: "a/b".parse().expect("a topic"),
            event,
            is_latest: false,
        };
        let events = [
            Event::new(""),
            Event::new("a\r\nb\0ü"),
            Event::new("x").name(EventName::from_static("tick")),
            Event::new("x").retry(Duration::from_secs(2)),
        ];
        for event in events {
            let append = append(event);
            let flat: Vec<Vec<u8>> = fields(&append, 0xab)
                .into_iter()
                .flat_map(|(name, value)| [name.as_bytes().to_vec(), value.as_bytes().to_vec()])
                .collect();
            let record = Entry::new(ID, flat)
                .expect("an entry")
                .into_record(100, None);
            let Content::Event(topic, event) = record.content else {
                panic!("{record:?}")
            };
            assert_eq!((topic, event), (append.topic, append.event));
            let position = Position::tagged(17_000_000_000_000_000_000, 7, 0xab);
            assert_eq!(record.position, position);
        }
    }

    #[test]
    fn what_is_malformed_is_corrupt() {
        let whole: [&[u8]; 4] = [b"topic", b"a", b"data", b"x"];
        assert_eq!(content(&whole), "a: message \"x\" None false");
        let with = |more: [&'static [u8]; 2]| {
            let fields: Vec<&[u8]> = whole.iter().copied().chain(more).collect();
            content(&fields)
        };
        assert_eq!(with([b"event", b"tick"]), "a: tick \"x\" None false");
        assert_eq!(with([b"retry", b"5"]), "a: message \"x\" Some(100ms) false");
        assert_eq!(with([b"other", b"5"]), "a: message \"x\" None false");
        assert_eq!(with([b"topic", b"b"]), "a: message \"x\" None false");
        assert_eq!(with([b"json", b"0"]), "a: message \"x\" None false");
        let corrupt = "Corrupt(Some(\"a\"))";
        for bad in [&b"open"[..], b"error", b"gap", b"", b"a\nb", b"\xff"] {
            assert_eq!(with([b"event", bad]), corrupt, "{bad:?}");
        }
        for bad in [&b""[..], b"-1", b"+1", b"1e3", b"99999999999999999999"] {
            assert_eq!(with([b"retry", bad]), corrupt, "{bad:?}");
        }
        assert_eq!(with([b"event", &[b'x'; 101]]), corrupt);
        assert_eq!(content(&[b"topic", b"a"]), corrupt);
        assert_eq!(content(&[b"topic", b"a", b"data", b"\xff"]), corrupt);
        assert_eq!(content(&[b"topic", b"a", b"data"]), corrupt);
        let nobody = "Corrupt(None)";
        for bad in [&b""[..], b"a//b", b"#", b"\xff", &[b'x'; 256]] {
            assert_eq!(content(&[b"topic", bad, b"data", b"x"]), nobody, "{bad:?}");
        }
        assert_eq!(content(&[b"data", b"x"]), nobody);
        assert_eq!(content(&[]), nobody);
    }

    #[cfg(feature = "json")]
    #[test]
    fn json_is_looked_at() {
        let json = |data| content(&[b"topic", b"a", b"data", data, b"json", b"1"]);
        assert_eq!(json(b"[1]"), "a: message \"[1]\" None true");
        for bad in [&b""[..], b"}", b"1,\"x\":2", b"{\"a\":1}}"] {
            assert_eq!(json(bad), "Corrupt(Some(\"a\"))", "{bad:?}");
        }
    }

    #[test]
    fn a_tag_is_given_or_made_of_the_content() {
        let tag = |fields: &[&[u8]]| entry(fields).into_record(100, None).position.tag();
        let of = |tag| Position::tagged(0, 0, tag).tag();
        assert_eq!(tag(&[b"tag", b"0000000A"]), of(10));
        let made = tag(&[b"tag", b"+000000A"]);
        assert_ne!(made, of(10));
        assert_eq!(made, tag(&[b"tag", b"+000000A"]));
        // The lengths count: the same bytes, parted differently.
        assert_ne!(tag(&[b"ab", b"c"]), tag(&[b"a", b"bc"]));
    }

    #[test]
    fn the_age_is_that_of_the_servers_clock() {
        let age = |at, now| entry(&[b"at", at]).into_record(100, now).age;
        assert_eq!(age(b"1000", Some(1500)), Some(Duration::from_millis(500)));
        assert_eq!(age(b"1000", Some(500)), Some(Duration::ZERO));
        assert_eq!(age(b"x", Some(500)), None);
        assert_eq!(age(b"1000", None), None);
    }

    #[test]
    fn what_is_kept_is_read() {
        let kept = |kept: &[u8]| Entry::of_kept(kept).map(|entry| entry.fields);
        let fields = |fields: &[&str]| Some(fields.iter().map(|f| f.as_bytes().to_vec()).collect());
        assert_eq!(
            kept(b"17000000000000000000-7 5:topic,1:a,"),
            fields(&["topic", "a"])
        );
        assert_eq!(
            kept(b"17000000000000000000-7 0:,2::,,"),
            fields(&["", ":,"])
        );
        for bad in [
            &b""[..],
            b"17000000000000000000-7",
            b"17000000000000000000-7 5:topic",
            b"17000000000000000000-7 5:top,",
            b"17000000000000000000-7 -1:a,",
            b"17000000000000000000-7 99999999999999999999:a,",
            b"1700000000000-7 1:a,",
            b" 1:a,",
        ] {
            assert_eq!(kept(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_time_is_no_epoch() {
        assert_eq!(parse("10000000000000000000-0"), Some((FIRST_EPOCH, 0)));
        for bad in [
            "9999999999999999999-1",
            "1700000000000-1",
            "",
            "-",
            "18446744073709551616-1",
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
