//! The decoder, against what browsers do.

use std::time::Duration;

use serde::Deserialize;
use tornadose::test::{Decoder, Message, decode, normalised};

/// A stream, and what a browser made of it.
#[derive(Deserialize)]
struct Vector {
    name: String,
    wire_hex: String,
    /// The names beside `message` that the browser listened to.
    types: Vec<String>,
    /// Name, data, `lastEventId`.
    events: Vec<(String, String, String)>,
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("../vectors/decode.json")).expect("the vectors")
}

impl Vector {
    fn wire(&self) -> Vec<u8> {
        let digits = self.wire_hex.as_bytes().chunks(2);
        let text = digits.map(|pair| std::str::from_utf8(pair).expect("ASCII"));
        text.map(|hex| u8::from_str_radix(hex, 16).expect("hex"))
            .collect()
    }

    fn assert_heard(&self, mut heard: Vec<Message>, how: std::fmt::Arguments<'_>) {
        heard.retain(|event| event.name == "message" || self.types.contains(&event.name));
        let events = self.events.iter();
        let expected: Vec<_> = events
            .map(|(name, data, id)| Message::new(name, data, id))
            .collect();
        assert_eq!(heard, expected, "{} {how}", self.name);
    }
}

#[test]
fn a_stream_means_the_same_however_it_is_cut() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 45);
    for vector in vectors {
        let wire = vector.wire();
        vector.assert_heard(decode(&wire), format_args!("at once"));
        for size in [1, 2, 3, 5, 7, 64] {
            let mut decoder = Decoder::default();
            let pieces = wire.chunks(size);
            let heard = pieces.flat_map(|piece| decoder.feed(piece)).collect();
            vector.assert_heard(heard, format_args!("in pieces of {size}"));
        }
        // In two, at every byte; of a long one, of its beginning and its end.
        let begin = wire.len().min(if wire.len() < 1 << 16 { 512 } else { 32 });
        let end = wire.len().saturating_sub(32);
        for at in (0..=begin).chain(end..=wire.len()) {
            let (one, two) = wire.split_at(at);
            let mut decoder = Decoder::default();
            let mut heard = decoder.feed(one);
            heard.extend(decoder.feed(b""));
            heard.extend(decoder.feed(two));
            vector.assert_heard(heard, format_args!("cut at {at}"));
        }
    }
}

#[test]
fn an_id_is_carried_to_the_next_stream_until_there_is_another() {
    let mut decoder = Decoder::after("7");
    assert_eq!(decoder.last_event_id(), "7");
    assert_eq!(
        decoder.feed(b":\n\ndata: x\n\n"),
        [Message::new("message", "x", "7")]
    );
    assert_eq!(decoder.last_event_id(), "7");
    // An id with a NUL is none; an empty one is.
    decoder.feed(b"id: 8\0\n\n");
    assert_eq!(decoder.last_event_id(), "7");
    decoder.feed(b"id\n\n");
    assert_eq!(decoder.last_event_id(), "");
}

#[test]
fn an_id_counts_from_the_blank_line_on() {
    let mut decoder = Decoder::default();
    decoder.feed(b"id: 1\ndata: x\n");
    assert_eq!(decoder.last_event_id(), "");
    decoder.feed(b"\nid: 2\n");
    assert_eq!(decoder.last_event_id(), "1");
    decoder.feed(b"\n");
    assert_eq!(decoder.last_event_id(), "2");
}

#[test]
fn a_time_is_digits_alone() {
    for (stream, time) in [
        (&b"retry: 3000\n"[..], Some(3000)),
        (b"retry:007\n", Some(7)),
        (b"retry: 1\nretry: 2x\n", Some(1)),
        (b"retry\n", None),
        (b"retry: -1\n", None),
        (b"retry: 1.5\n", None),
        (b"retry:  1\n", None),
        (b"retry: 99999999999999999999999\n", None),
    ] {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.feed(stream), []);
        let time = time.map(Duration::from_millis);
        assert_eq!(decoder.reconnection_time(), time, "{stream:?}");
    }
}

#[test]
fn a_time_is_that_of_its_line_even_if_its_block_breaks_off() {
    let mut decoder = Decoder::default();
    decoder.feed(b"retry: 250\nid: 1\ndata: x\n");
    assert_eq!(
        decoder.reconnection_time(),
        Some(Duration::from_millis(250))
    );
    assert_eq!(decoder.last_event_id(), "");
}

#[test]
fn line_breaks_of_data_are_those_of_a_page() {
    let data = "a\rb\nc\r\nd\n\re";
    assert_eq!(normalised(data), "a\nb\nc\nd\n\ne");
}
