//! What is written in an entry of Redis, a message of NATS or a record of a file is read
//! back; whatever else stands there is an event that could have been written, or is corrupt.
#![no_main]

use std::collections::HashMap;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tornadose::backplane::{Append, Content, Record};
use tornadose::fuzzing::{durable, nats, redis};
use tornadose::{Event, EventName, Topic};
use tornadose_fuzz::Input;

const ID: &str = "17000000000000000000-7";
const PREFIX: &str = "log";

/// Names that mean something, and values that are nearly right.
const NAMES: [&str; 7] = ["topic", "data", "event", "retry", "json", "tag", "at"];
const VALUES: [&str; 12] = [
    "a/b", "", "x", "{}", "error", "a\nb", "0", "1", "+5", "-1", "1e3", "0000000a",
];

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    match input.below(7) {
        0 => append(&mut input),
        1 => {
            let (limit, mut fields) = (input.below(256), Vec::new());
            while !input.is_empty() {
                let known = match fields.len() % 2 {
                    0 => NAMES.get(input.below(2 * NAMES.len())),
                    _ => VALUES.get(input.below(2 * VALUES.len())),
                };
                fields.push(
                    known.map_or_else(|| input.part().to_vec(), |text| text.as_bytes().into()),
                );
            }
            let expected = expected(&fields, limit);
            let record = redis::read(ID, fields, limit, Some(input.number()));
            let record = record.expect("a good id");
            assert_eq!(
                judge(&record),
                expected.as_ref().map(|(topic, event)| (topic, event))
            );
        }
        2 => {
            if let Some(record) = redis::read_kept(input.rest(), 256) {
                judge(&record);
            }
        }
        3 => {
            let (subject, headers) = (input.text(), input.part());
            let data = input.rest().to_vec();
            judge(&nats::read(subject, headers, data.into(), PREFIX));
        }
        4 => {
            if let Some(record) = nats::read_answer(input.rest(), PREFIX) {
                judge(&record);
            }
        }
        5 => time(&mut input),
        _ => {
            let (epoch, offset) = (input.number(), input.number());
            let mut bytes = input.rest().to_vec();
            let now = bytes.len() as u64;
            // Once as it is, once with the checksum that is right for it.
            judge(&durable::read(epoch, offset, &bytes, now));
            if let Some((crc, rest)) = bytes.split_first_chunk_mut() {
                *crc = checksum(epoch, offset, rest);
                let record = durable::read(epoch, offset, &bytes, now);
                // What has the right checksum was written by us: it is JSON if it says so.
                if !says_json(&record) {
                    judge(&record);
                }
            }
        }
    }
});

/// What the documentation says that these fields are.
fn expected(fields: &[Vec<u8>], limit: usize) -> Option<(Topic, Event)> {
    let mut named = HashMap::new();
    for pair in fields.chunks_exact(2) {
        named.entry(&*pair[0]).or_insert(&*pair[1]);
    }
    let text = |name: &[u8]| named.get(name).map(|text| str::from_utf8(text).ok());
    let topic = Topic::new(text(b"topic")??).ok()?;
    let data = text(b"data")??;
    let mut event = match named.get(&b"json"[..]).copied() {
        Some(b"1") => Event::from_json(data).ok()?,
        _ => Event::new(data),
    };
    if let Some(name) = text(b"event") {
        event = event.name(EventName::new(name?).ok()?);
    }
    if let Some(retry) = text(b"retry") {
        let retry = retry.filter(|retry| !retry.starts_with('+'))?;
        event = event.retry(Duration::from_millis(retry.parse().ok()?));
    }
    let size: usize = fields.iter().map(Vec::len).sum();
    (size <= limit).then_some((topic, event))
}

/// An event that was submitted is what all of them read back.
fn append(input: &mut Input<'_>) {
    let Ok(topic) = Topic::new(input.text()) else {
        return;
    };
    let (is_latest, tag) = (input.flag(), input.number() as u32);
    let mut event = input.event();
    if let (true, Ok(json)) = (input.flag(), Event::from_json(event.data())) {
        event = json;
    }
    let mut append = Append::new(topic, event);
    if is_latest {
        append = append.latest();
    }
    every(&append, tag);
}

fn every(append: &Append, tag: u32) {
    let is_it = |record: Record| match record.content {
        Content::Event(topic, event) => {
            assert_eq!((&topic, &event), (&append.topic, &append.event));
            assert_eq!(event.is_json(), append.event.is_json());
            let id = record.position.to_string();
            assert!(id.len() <= 39 && id.parse() == Ok(record.position));
            let tagged = tornadose::Position::tagged(1, 7, tag).to_string();
            assert_eq!(id[id.len() - 6..], tagged[tagged.len() - 6..]);
        }
        other => panic!("{other:?}"),
    };
    let fields = redis::written(append, tag);
    let kept = fields
        .iter()
        .fold(format!("{ID} ").into_bytes(), |mut kept, field| {
            kept.extend(
                format!("{}:", field.len())
                    .bytes()
                    .chain(field.iter().copied())
                    .chain(*b","),
            );
            kept
        });
    is_it(redis::read(ID, fields, usize::MAX, None).expect("an entry"));
    is_it(redis::read_kept(&kept, usize::MAX).expect("an entry"));
    let (subject, headers) = nats::written(append, tag, PREFIX);
    let data = append.event.data().to_owned();
    is_it(nats::read(subject, &headers, data.into(), PREFIX));
    let record = durable::written(append, 1, 7, tag, 0);
    is_it(durable::read(1, 7, &record, 0));
}

/// What is read as an event could have been submitted.
fn judge(record: &Record) -> Option<(&Topic, &Event)> {
    let Content::Event(topic, event) = &record.content else {
        assert!(matches!(record.content, Content::Corrupt(_)));
        return None;
    };
    every(&Append::new(topic.clone(), event.clone()), 9);
    Some((topic, event))
}

fn says_json(record: &Record) -> bool {
    matches!(&record.content, Content::Event(_, event) if event.is_json())
}

/// Any text may stand there; and a time of the calendar is counted day by day.
fn time(input: &mut Input<'_>) {
    let text = input.text();
    if nats::nanos(&text).is_some() {
        assert!(text.is_ascii() && text.ends_with('Z') && text.contains('T'));
    }
    let (year, month) = (1970 + input.number() % 531, input.below(12));
    let days = |year: u64| {
        let divides = |by| year.is_multiple_of(by);
        let is_leap = divides(4) && (!divides(100) || divides(400));
        [
            31,
            28 + u64::from(is_leap),
            31,
            30,
            31,
            30,
            31,
            31,
            30,
            31,
            30,
            31,
        ]
    };
    let day = input.number() % days(year)[month];
    let (second, nanos) = (input.number() % 86_400, input.number() % 1_000_000_000);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    let text = format!(
        "{year}-{:02}-{:02}T{hour:02}:{minute:02}:{:02}.{nanos:09}Z",
        month + 1,
        day + 1,
        second % 60
    );
    let before: u64 = (1970..year).flat_map(days).sum();
    let days: u64 = before + days(year)[..month].iter().sum::<u64>() + day;
    let expected = (days * 86_400 + second) * 1_000_000_000 + nanos;
    assert_eq!(nats::nanos(&text), Some(expected), "{text}");
}

/// CRC-32 of the place and of what stands there.
fn checksum(epoch: u64, offset: u64, rest: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&epoch.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(rest);
    hasher.finalize().to_le_bytes()
}
