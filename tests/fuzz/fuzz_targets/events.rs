//! Any event is written as exactly one block, of which a browser makes that event, and as
//! one message of a WebSocket, which is that event as JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tornadose::test::{Decoder, Message};
use tornadose::{Entry, Event, Position};
use tornadose_fuzz::{Input, normalised};

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let at = match input.flag() {
        true => Position::tagged(input.number(), input.number(), input.number() as u32),
        false => format!("{}{}", "AAAAAAAAAAA-", input.number())
            .parse()
            .expect("an id"),
    };
    let event = input.event();
    let entry = Entry::new(at, &event);
    let name = event.event_name().as_str();
    assert_eq!(
        (entry.id(), entry.name(), entry.data()),
        (at, name, event.data())
    );

    let block = entry.sse();
    assert!(block.ends_with(b"\n\n"));
    assert_eq!(block.windows(2).filter(|pair| pair == b"\n\n").count(), 1);
    assert!(!block.contains(&b'\r'));
    let mut decoder = Decoder::default();
    // As in every stream of ours, something stands before it.
    let before = decoder.feed(b":\n\n");
    assert_eq!(before, []);
    let expected = Message::new(name, normalised(event.data()), at.to_string());
    assert_eq!(decoder.feed(block), [expected]);

    json(event.data());
});

/// What is taken as JSON is JSON.
fn json(text: &str) {
    let is_json = serde_json::from_str::<serde_json::Value>(text).is_ok();
    match Event::from_json(text) {
        // Numbers beyond those of a computer are JSON, too.
        Ok(event) => assert!(event.is_json() && event.data() == text),
        Err(_) => assert!(!is_json),
    }
}
