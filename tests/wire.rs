//! What is written for an event, to the byte, and what two parsers make of it: our
//! own decoder, which `tests/kit` holds to what browsers do, and the crate `sseer`,
//! which knows nothing of us.

mod support;

use std::borrow::Cow;
use std::convert::Infallible;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use proptest::prelude::*;
use serde_json::Value;
use tornadose::test::{Decoder, Message, decode, normalised};
use tornadose::{
    DataStore, Entry, Event, EventName, EventSource, InvalidName, LastEventId, Permit, Position,
    QueueStore, Retention, Start, SubmitError,
};

use support::position::place;

const MIB: usize = 1 << 20;

/// The event as a store keeps it.
fn written(event: impl Into<Event>) -> Entry {
    let store = DataStore::with_initial(event).expect("not too large");
    store.get().expect("the value")
}

/// What is written for an event, without the id line that stands in front.
fn block(event: impl Into<Event>) -> String {
    let entry = written(event);
    let block = String::from_utf8(entry.sse().to_vec()).expect("UTF-8");
    let id_line = format!("id: {}\n", entry.id());
    block.strip_prefix(&id_line).expect("the id").to_owned()
}

/// What a page gets of an event; exactly one, from both parsers.
fn arrives(event: impl Into<Event>) -> Message {
    let entry = written(event);
    let stream = entry.sse();
    let by_decoder = decode(stream);
    assert_eq!(by_decoder, decode_independently(stream, stream.len()));
    let [one] = <[_; 1]>::try_from(by_decoder).expect("exactly one event");
    assert_eq!(one.last_event_id, entry.id().to_string());
    one
}

/// A whole stream in pieces of this size.
fn decode_in_pieces(stream: &[u8], size: usize) -> Vec<Message> {
    let mut decoder = Decoder::default();
    let pieces = stream.chunks(size.max(1));
    pieces.flat_map(|piece| decoder.feed(piece)).collect()
}

/// A whole stream, in pieces, through the parser that is not ours.
fn decode_independently(stream: &[u8], size: usize) -> Vec<Message> {
    let pieces = stream
        .chunks(size.max(1))
        .map(|piece| Ok::<_, Infallible>(Bytes::copy_from_slice(piece)));
    sseer::EventStream::new(stream::iter(pieces))
        .map(|event| event.expect("a valid stream"))
        .map(|event| Message::new(&*event.event, &*event.data, &*event.id))
        .collect::<Vec<_>>()
        .now_or_never()
        .expect("all of it is there")
}

/// The bytes of a body as far as they are there now.
fn sent(response: http::Response<tornadose::EventBody>) -> Vec<u8> {
    let mut body = tokio_test::task::spawn(response.into_body());
    let mut bytes = Vec::new();
    while let Poll::Ready(Some(Ok(frame))) = body.poll_next() {
        bytes.extend_from_slice(&frame);
    }
    bytes
}

// Values that could become syntax

/// What becomes of a value in one of the places of a block where a value stands.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// A page gets this.
    Arrives(&'static str),
    /// No name of an event can be made of it.
    NoName(InvalidName),
    /// No id can be made of it, and a user cannot give an event its id anyway.
    NoId,
    /// There is no function that takes it.
    NoWay,
}

use Fate::{Arrives, NoId, NoName, NoWay};

/// A value, and its fate as data, as a name, as an id and as a comment.
type Row = (&'static str, [Fate; 4]);

const EMPTY: Fate = NoName(InvalidName::Empty);
const CONTROL: Fate = NoName(InvalidName::Control);

#[rustfmt::skip]
const AWKWARD: [Row; 11] = [
    ("",                  [Arrives(""),                  EMPTY,            NoId, NoWay]),
    (" ",                 [Arrives(" "),                 Arrives(" "),     NoId, NoWay]),
    (" x ",               [Arrives(" x "),               Arrives(" x "),   NoId, NoWay]),
    ("\tx\t",             [Arrives("\tx\t"),             Arrives("\tx\t"), NoId, NoWay]),
    ("a\nb",              [Arrives("a\nb"),              CONTROL,          NoId, NoWay]),
    ("a\rb",              [Arrives("a\nb"),              CONTROL,          NoId, NoWay]),
    ("a\r\nb",            [Arrives("a\nb"),              CONTROL,          NoId, NoWay]),
    ("a\n\nb",            [Arrives("a\n\nb"),            CONTROL,          NoId, NoWay]),
    ("a\0b",              [Arrives("a\0b"),              CONTROL,          NoId, NoWay]),
    ("\u{feff}x",         [Arrives("\u{feff}x"),         Arrives("\u{feff}x"), NoId, NoWay]),
    ("id: 1\nevent: x",   [Arrives("id: 1\nevent: x"),   CONTROL,          NoId, NoWay]),
];

#[test]
fn an_awkward_value_arrives_whole_or_is_refused_wherever_it_is_put() {
    let mut cases = 0;
    for (value, fates) in AWKWARD {
        for (place, fate) in ["data", "name", "id", "comment"].into_iter().zip(fates) {
            cases += 1;
            match (place, fate) {
                ("data", Arrives(data)) => {
                    let arrived = arrives(value);
                    assert_eq!((&*arrived.name, &*arrived.data), ("message", data));
                }
                ("name", Arrives(name)) => {
                    let event = Event::new("x").name(EventName::new(value).expect("a name"));
                    let arrived = arrives(event);
                    assert_eq!((&*arrived.name, &*arrived.data), (name, "x"));
                }
                ("name", NoName(fault)) => assert_eq!(EventName::new(value), Err(fault)),
                ("id", NoId) => {
                    assert!(value.parse::<Position>().is_err(), "{value:?}");
                    let id = LastEventId::parse(value.as_bytes());
                    assert_eq!(id, LastEventId::Malformed, "{value:?}");
                }
                ("comment", NoWay) => {}
                _ => panic!("{value:?} as {place} cannot be {fate:?}"),
            }
        }
    }
    assert_eq!(cases, 44);
}

#[test]
fn awkward_data_is_written_to_the_byte() {
    for (data, lines) in [
        ("", "data: \n"),
        (" ", "data:  \n"),
        (" x ", "data:  x \n"),
        ("\tx\t", "data: \tx\t\n"),
        ("\n", "data: \ndata: \n"),
        ("\r", "data: \ndata: \n"),
        ("\r\n", "data: \ndata: \n"),
        ("\n\r", "data: \ndata: \ndata: \n"),
        ("\n\n", "data: \ndata: \ndata: \n"),
        ("\r\r\n", "data: \ndata: \ndata: \n"),
        ("a\n", "data: a\ndata: \n"),
        ("\na", "data: \ndata: a\n"),
        ("a\r\n b", "data: a\ndata:  b\n"),
        ("\0", "data: \0\n"),
        ("\u{feff}", "data: \u{feff}\n"),
        ("\u{feff}\u{feff}x", "data: \u{feff}\u{feff}x\n"),
        (":", "data: :\n"),
        (": comment", "data: : comment\n"),
        ("data", "data: data\n"),
        ("data: x", "data: data: x\n"),
        ("id: 1\nevent: x", "data: id: 1\ndata: event: x\n"),
        (
            "x\n\ndata: injected\n\n",
            "data: x\ndata: \ndata: data: injected\ndata: \ndata: \n",
        ),
        (
            "retry: 0\r\rretry: 0",
            "data: retry: 0\ndata: \ndata: retry: 0\n",
        ),
    ] {
        assert_eq!(block(data), format!("{lines}\n"), "{data:?}");
        assert_eq!(arrives(data).data, normalised(data), "{data:?}");
        assert_eq!(written(data).data(), data);
    }
}

#[test]
fn fields_stand_in_one_order() {
    let event = Event::new("1\n2")
        .retry(Duration::from_secs(3))
        .name(EventName::from_static("tick"));
    assert_eq!(
        block(event),
        "event: tick\nretry: 3000\ndata: 1\ndata: 2\n\n"
    );
}

#[test]
fn the_default_name_is_not_written() {
    for event in [
        Event::new("x"),
        Event::new("x").name(EventName::MESSAGE),
        Event::new("x").name(EventName::from_static("message")),
        Event::new("x").name(EventName::new("message").expect("a name")),
    ] {
        assert_eq!(event.event_name().as_str(), "message");
        assert_eq!(block(event.clone()), "data: x\n\n");
        assert_eq!(written(event).name(), "message");
    }
}

#[test]
fn data_that_begins_with_a_byte_order_mark_survives_as_the_first_of_a_stream() {
    let store = QueueStore::new();
    store.submit("\u{feff}first").expect("taken");
    let source = EventSource::new(store).start(Start::Oldest);
    let stream = sent(source.grant(Permit::new(), None));
    assert!(stream.starts_with(b":\n\n"), "a comment comes first");
    assert_eq!(decode(&stream)[0].data, "\u{feff}first");
    assert_eq!(decode_independently(&stream, 1)[0].data, "\u{feff}first");
}

// Sizes and characters

#[test]
fn data_of_every_length_arrives_up_to_the_limit() {
    for len in [0, 1, 127, 128, 129, 65_536, MIB] {
        let data = "x".repeat(len);
        assert!(arrives(&data).data == data, "{len}");
    }
}

#[test]
fn the_limit_does_not_count_the_default_name_which_is_not_written() {
    let store = DataStore::new();
    assert!(store.submit("x".repeat(MIB)).is_ok());
    assert!(store.submit("x".repeat(MIB + 1)).is_err());
}

#[test]
fn a_line_break_at_every_byte_is_no_harm_up_to_the_limit() {
    for (line_break, len) in [("\n", MIB), ("\r", 65_536), ("\r\n", 65_536)] {
        let data = line_break.repeat(len / line_break.len());
        assert!(arrives(&data).data == normalised(&data), "{line_break:?}");
    }
}

#[test]
fn an_event_above_the_limit_is_handed_back_as_it_was() {
    let event = Event::new("x".repeat(MIB + 1))
        .name(EventName::from_static("tick"))
        .retry(Duration::from_secs(7));
    let data = DataStore::with_initial("before").expect("taken");
    let queue = QueueStore::new();
    let before = queue
        .submit("before")
        .expect("taken")
        .id()
        .expect("in memory");

    for refused in [
        data.submit(event.clone()).expect_err("too large"),
        queue.submit(event.clone()).expect_err("too large"),
    ] {
        let SubmitError::TooLarge { size, limit, .. } = refused else {
            panic!("{refused}");
        };
        assert_eq!((size, limit), (MIB + 1 + "tick".len(), MIB));
        assert_eq!(refused.into_event(), event);
    }
    assert_eq!(data.get().expect("the value").data(), "before");
    assert_eq!(queue.latest(), Some(before));
}

#[test]
fn the_limit_counts_data_and_name_and_can_be_set() {
    let named = |len: usize| Event::new("x".repeat(len)).name(EventName::from_static("tick"));
    let data = DataStore::builder().max_event_bytes(100).build();
    let queue = QueueStore::builder().max_event_bytes(100).build();
    assert!(data.submit(named(96)).is_ok());
    assert!(queue.submit(named(96)).is_ok());
    assert!(data.submit(named(97)).is_err());
    assert!(queue.submit(named(97)).is_err());
}

#[test]
fn an_event_that_the_retention_could_never_hold_is_handed_back() {
    let store = QueueStore::builder()
        .retention(Retention::new().bytes(1000))
        .build();
    let event = Event::new("x".repeat(1000));
    let refused = store.submit(event.clone()).expect_err("too large");
    assert!(
        matches!(refused, SubmitError::TooLarge { limit: 1000, .. }),
        "{refused}"
    );
    assert_eq!(refused.into_event(), event);
    assert!(store.submit("small").is_ok());
}

#[test]
fn every_kind_of_character_arrives() {
    for text in [
        "a",
        "é",
        "€",
        "豆腐",
        "😀",
        "\u{10ffff}",
        "\u{85}",
        "a\u{2028}b\u{2029}c",
        "\u{b}\u{c}\u{1c}\u{1d}\u{1e}",
        "\u{fffe}\u{ffff}\u{fdd0}\u{1fffe}",
        "\u{202e}abc\u{202c}\u{2066}\u{2069}\u{200f}",
        "\u{1b}[31m\u{7f}",
        "e\u{301}",
        "\u{fffd}",
    ] {
        assert_eq!(arrives(text).data, text);
        let name = EventName::new(text).expect("a name");
        assert_eq!(arrives(Event::new("x").name(name)).name, text);
    }
}

#[test]
fn bytes_become_data_only_if_they_are_utf_8() {
    let event = Event::from_utf8("€".as_bytes()).expect("UTF-8");
    assert_eq!(event.data(), "€");
    for bytes in [
        &b"\xff"[..],
        b"a\xc3",
        b"\xed\xa0\x80",
        b"\xc0\x80",
        b"\xf4\x90\x80\x80",
    ] {
        let refused = Event::from_utf8(bytes).expect_err("not UTF-8");
        assert!(std::error::Error::source(&refused).is_some());
        assert_eq!(refused.into_bytes(), bytes);
    }
}

#[test]
fn every_kind_of_text_becomes_an_event() {
    let text = String::from("x");
    for event in [
        Event::from("x"),
        Event::from(&text),
        Event::from(text.clone()),
        Event::from(text.clone().into_boxed_str()),
        Event::from(Cow::Borrowed("x")),
        Event::from(Cow::<str>::Owned(text.clone())),
        Event::from(Arc::<str>::from("x")),
        Event::from('x'),
    ] {
        assert_eq!(event, Event::new("x"));
        assert_eq!(event.into_data(), "x");
    }
}

#[cfg(feature = "json")]
#[test]
fn json_is_one_line_and_arrives_as_the_same_value() {
    let value = serde_json::json!({
        "lines": "a\r\nb\n\nc", "look-alike": "\n\nevent: error\ndata: x", "nul": "\0",
        "number": 1.5, "nested": [null, true, {"ü": "\u{2028}"}],
    });
    let event = Event::json(&value).expect("JSON");
    assert_eq!(
        block(event.clone()).lines().count(),
        2,
        "one line and the blank one"
    );
    let arrived: Value = serde_json::from_str(&arrives(event).data).expect("JSON");
    assert_eq!(arrived, value);
}

#[cfg(feature = "json")]
#[test]
fn what_json_cannot_say_is_an_error() {
    let no_text_keys = std::collections::BTreeMap::from([((1, 2), 3)]);
    let refused = Event::json(&no_text_keys).expect_err("keys must be text");
    assert!(std::error::Error::source(&refused).is_some());
}

// Names

const TICK: EventName = EventName::from_static("tick");

#[test]
fn a_name_can_be_a_constant() {
    assert_eq!(TICK.as_str(), "tick");
    assert_eq!(TICK, EventName::new("tick").expect("a name"));
    assert_eq!(arrives(Event::new("x").name(TICK)).name, "tick");
}

#[test]
fn reserved_names_are_refused_to_the_byte() {
    for name in ["error", "open", "gap"] {
        for refused in [
            EventName::new(name),
            name.parse(),
            EventName::try_from(name),
        ] {
            assert_eq!(refused, Err(InvalidName::Reserved), "{name}");
        }
    }
    for name in [
        "Error", "OPEN", "errors", "gap ", " gap", "gaps", "message", "close",
    ] {
        assert_eq!(EventName::new(name).expect("a name").as_str(), name);
    }
}

#[test]
fn a_name_with_a_control_character_is_refused_wherever_it_stands() {
    for name in [
        "\n",
        "\r",
        "\0",
        "a\n",
        "\na",
        "a\r\nb",
        "x\0",
        "error\n",
        "tick\n\ndata: x",
    ] {
        assert_eq!(EventName::new(name), Err(InvalidName::Control), "{name:?}");
    }
}

#[test]
fn a_bad_literal_panics() {
    for name in ["", "a\nb", "\r", "\0", "error", "open", "gap"] {
        assert!(
            catch_unwind(|| EventName::from_static(name)).is_err(),
            "{name:?}"
        );
    }
}

// Reconnection times

#[test]
fn a_reconnection_time_is_held_within_its_bounds_and_sent_in_whole_milliseconds() {
    let (millisecond, hour) = (Duration::from_millis(1), Duration::from_secs(3600));
    for (retry, written) in [
        (Duration::ZERO, 100),
        (99 * millisecond, 100),
        (100 * millisecond, 100),
        (Duration::from_micros(100_900), 100),
        (101 * millisecond, 101),
        (Duration::from_secs(3), 3000),
        (hour, 3_600_000),
        (hour + millisecond, 3_600_000),
        (Duration::MAX, 3_600_000),
    ] {
        let event = Event::new("x").retry(retry);
        assert_eq!(
            block(event.clone()),
            format!("retry: {written}\ndata: x\n\n")
        );
        let told = event.retry_after().expect("a time");
        assert!((Event::MIN_RETRY..=Event::MAX_RETRY).contains(&told));

        let mut decoder = Decoder::default();
        decoder.feed(self::written(event).sse());
        let told = Duration::from_millis(written);
        assert_eq!(decoder.reconnection_time(), Some(told));
    }
    assert_eq!(Event::new("x").retry_after(), None);
}

// Everything else

/// Text in which syntax is more frequent than text.
fn awkward_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => proptest::sample::select(vec![
            "\r", "\n", "\r\n", "\n\n", "\r\r", "\n\r", ":", " ", ": ", "\u{feff}", "\0", "\t",
            "data: x", "\ndata: x", "data", "id: 1", "\nid: 1\n", "id", "event: error",
            "\nevent: error\n\n", "retry: 0", "\nretry: 0\n", ":\n\n", "\u{85}", "\u{2028}",
            "é", "😀",
        ]).prop_map(str::to_owned),
        2 => any::<String>(),
        1 => any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// Any event that can be made, and its name.
fn any_event() -> impl Strategy<Value = Event> {
    let name = awkward_text().prop_map(|name| EventName::new(name).ok());
    let retry = proptest::option::of(any::<u64>().prop_map(Duration::from_millis));
    (awkward_text(), name, retry).prop_map(|(data, name, retry)| {
        let event = Event::new(data).name(name.unwrap_or_default());
        match retry {
            Some(retry) => event.retry(retry),
            None => event,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_event_is_one_block_that_two_parsers_read_back(
        events in proptest::collection::vec(any_event(), 1..4),
        size in 1usize..64,
    ) {
        let store = QueueStore::new();
        let mut expected = Vec::new();
        for event in &events {
            let id = store.submit(event.clone()).expect("taken").id().expect("in memory");
            let name = event.event_name().as_str();
            expected.push(Message::new(name, normalised(event.data()), id.to_string()));
        }

        let stream = sent(EventSource::new(store).start(Start::Oldest).grant(Permit::new(), None));
        prop_assert!(!stream.contains(&b'\r'));
        let nuls = |text: &[u8]| text.iter().filter(|byte| **byte == 0).count();
        let given: usize = events.iter().map(|event| nuls(event.data().as_bytes())).sum();
        prop_assert_eq!(nuls(&stream), given);

        prop_assert_eq!(&decode_in_pieces(&stream, size), &expected);
        prop_assert_eq!(&decode_independently(&stream, size), &expected);
    }

    #[test]
    fn an_entry_shows_what_was_submitted_and_ends_with_its_only_blank_line(event in any_event()) {
        let entry = written(event.clone());
        prop_assert_eq!(entry.data(), event.data());
        prop_assert_eq!(entry.name(), event.event_name().as_str());
        let block = str::from_utf8(entry.sse()).expect("UTF-8");
        prop_assert_eq!(block.find("\n\n"), Some(block.len() - 2));
        prop_assert!(block.starts_with("id: "), "{}", block);
    }

    #[test]
    fn a_cut_block_is_no_event_and_moves_no_id(event in any_event()) {
        let entry = written(event);
        for cut in 0..entry.sse().len() {
            let mut decoder = Decoder::default();
            prop_assert_eq!(decoder.feed(&entry.sse()[..cut]), []);
            prop_assert_eq!(decoder.last_event_id(), "");
        }
    }

    #[test]
    fn a_name_is_taken_exactly_if_it_is_not_empty_harmless_and_free(name in awkward_text()) {
        let fault = match &*name {
            "" => Some(InvalidName::Empty),
            name if name.contains(['\r', '\n', '\0']) => Some(InvalidName::Control),
            "error" | "open" | "gap" => Some(InvalidName::Reserved),
            _ => None,
        };
        prop_assert_eq!(EventName::new(name).err(), fault);
    }

    #[test]
    fn an_id_is_read_only_as_it_was_written(text in "[A-Za-z0-9_-]{11}-[0-9]{1,21}|\\PC*") {
        if let Ok(position) = text.parse::<Position>() {
            prop_assert_eq!(position.to_string(), text);
        }
    }
}

// Gaps

#[test]
fn a_gap_is_an_event_that_a_page_can_listen_for() {
    let store = QueueStore::builder()
        .retention(Retention::new().events(1))
        .build();
    let first = store.submit("1").expect("taken").id().expect("in memory");
    store.submit("2").expect("taken");
    let third = store.submit("3").expect("taken").id().expect("in memory");
    let before_third = place(first, 2);

    let stream = sent(EventSource::new(store.clone()).grant(Permit::new(), Some(first.into())));
    let told = format!(
        "event: gap\nid: {before_third}\ndata: {{\"reason\":\"evicted\",\"missed\":\"1\",\
         \"from\":\"{first}\",\"resume\":\"{before_third}\"}}\n\n"
    );
    assert_eq!(
        String::from_utf8_lossy(&stream),
        format!(":\n\n{told}id: {third}\ndata: 3\n\n")
    );

    let stream = sent(EventSource::new(store).grant(Permit::new(), Some(LastEventId::Malformed)));
    let gap = &decode(&stream)[0];
    assert_eq!(
        (&*gap.name, &*gap.last_event_id),
        ("gap", &*third.to_string())
    );
    let told: Value = serde_json::from_str(&gap.data).expect("JSON");
    assert_eq!(
        told,
        serde_json::json!({"reason": "malformed", "resume": third.to_string()})
    );
}
