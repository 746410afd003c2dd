//! Proper clients of a WebSocket: each message is handed over and answered once, in order and
//! whole, whatever its fragments; each ping has its pong; and each event of the topics that
//! the client has by then arrives as JSON that says what was submitted.
#![no_main]

#[path = "../socket.rs"]
mod socket;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use socket::{Step, talk};
use tornadose::{Control, Event, EventSource, Hub, Permit, Topic, Topics};
use tornadose_fuzz::{Frame, Input, frames};

fuzz_target!(|bytes: &[u8]| run(&mut Input::new(bytes)));

const TOPICS: [&str; 3] = ["a", "a/b", "c"];

/// More control frames in a second are too many.
const STEPS: usize = 99;

enum Expected {
    Frame(Frame),
    /// The topic and the event.
    Event(&'static str, Event),
}

fn run(input: &mut Input<'_>) {
    let hub = Hub::new();
    let events =
        EventSource::new(hub.clone()).permit(|_| Ok(Permit::new().control(&Control::new())));
    let socket =
        events
            .websocket()
            .on_message(|received| match (received.text(), received.control()) {
                (Some(text), Some(control)) => {
                    let topics = |name: &str| Topics::from(Topic::new(name).expect("a topic"));
                    match text.split_at_checked(1) {
                        Some(("+", name)) if TOPICS.contains(&name) => control.add(topics(name)),
                        Some(("-", name)) if TOPICS.contains(&name) => control.remove(topics(name)),
                        _ => received.reply(text),
                    }
                }
                _ => received.reply_bytes(received.bytes().to_vec()),
            });

    let room = 1 + input.below(256);
    let (mut steps, mut expected) = (Vec::new(), Vec::new());
    let mut is_to = [false; TOPICS.len()];
    while !input.is_empty() && steps.len() < STEPS {
        match input.below(6) {
            kind @ 0..=2 => {
                let (opcode, payload, reply) = match kind {
                    0 => {
                        let text = format!("={}", input.text());
                        (1, text.clone().into_bytes(), Some(Frame::Text(text)))
                    }
                    1 => {
                        let bytes = input.part().to_vec();
                        (2, bytes.clone(), Some(Frame::Binary(bytes)))
                    }
                    _ => {
                        let (at, adds) = (input.below(TOPICS.len()), input.flag());
                        is_to[at] = adds;
                        let text = format!("{}{}", if adds { "+" } else { "-" }, TOPICS[at]);
                        (1, text.into_bytes(), None)
                    }
                };
                let (frames, has_ping) = message(input, opcode, &payload);
                // It is answered before the message is whole.
                let pong = has_ping.then(|| Frame::Pong(b"?".to_vec()));
                expected.extend(pong.into_iter().chain(reply).map(Expected::Frame));
                steps.push(Step::Send(frames));
            }
            3 => {
                let ping = input.part();
                let ping = &ping[..ping.len().min(125)];
                expected.push(Expected::Frame(Frame::Pong(ping.to_vec())));
                steps.push(Step::Send(frame(0x89, input.number() as u32, ping)));
            }
            4 => {
                let pong = input.part();
                steps.push(Step::Send(frame(0x8a, 0, &pong[..pong.len().min(125)])));
            }
            _ => {
                let at = input.below(TOPICS.len());
                let mut event = input.event();
                if input.flag() && is_value(event.data()) {
                    event = Event::from_json(event.data()).expect("JSON");
                }
                if is_to[at] {
                    expected.push(Expected::Event(TOPICS[at], event.clone()));
                }
                let topic = Topic::new(TOPICS[at]).expect("a topic");
                let hub = hub.clone();
                steps.push(Step::Do(Box::new(move || {
                    hub.submit(event.topic(topic)).expect("an open hub");
                })));
            }
        }
    }
    steps.push(Step::Send(frame(0x88, 0, &1000_u16.to_be_bytes())));
    expected.push(Expected::Frame(Frame::Close(Some(1000), String::new())));
    judge(&frames(&talk(&socket, room, steps), false), expected);
}

/// A message in fragments, and whether there is a ping between them.
fn message(input: &mut Input<'_>, opcode: u8, payload: &[u8]) -> (Vec<u8>, bool) {
    let parts = 1 + input.below(8);
    let mask = input.number() as u32;
    let has_ping = parts > 1 && input.flag();
    let (mut frames, mut rest) = (Vec::new(), payload);
    for part in 1..=parts {
        let is_last = part == parts;
        let len = if is_last {
            rest.len()
        } else {
            input.below(256).min(rest.len())
        };
        let (payload, behind) = rest.split_at(len);
        rest = behind;
        let first = if part == 1 { opcode } else { 0 };
        frames.extend(frame(
            if is_last { 0x80 | first } else { first },
            mask,
            payload,
        ));
        if part == 1 && has_ping {
            frames.extend(frame(0x89, mask, b"?"));
        }
    }
    (frames, has_ping)
}

/// A client's frame.
fn frame(first: u8, mask: u32, payload: &[u8]) -> Vec<u8> {
    let mask = mask.to_be_bytes();
    let mut frame = vec![first];
    match u8::try_from(payload.len()) {
        Ok(len @ ..=125) => frame.push(0x80 | len),
        _ => {
            frame.push(0x80 | 126);
            frame.extend((payload.len() as u16).to_be_bytes());
        }
    }
    frame.extend(mask);
    let masked = payload.iter().zip(mask.iter().cycle());
    frame.extend(masked.map(|(byte, mask)| byte ^ mask));
    frame
}

/// Whether it is JSON that can be compared, also inside of a message.
fn is_value(text: &str) -> bool {
    serde_json::from_str::<Value>(&format!("[{text}]")).is_ok()
        && serde_json::from_str::<Value>(text).is_ok()
}

fn judge(found: &[Frame], expected: Vec<Expected>) {
    let (open, found) = found.split_first().expect("a first message");
    let Frame::Text(open) = open else {
        panic!("{open:?}")
    };
    let open: Value = serde_json::from_str(open).expect("JSON");
    assert_eq!(open["event"], "open");
    let mut last = open["id"].as_str().map(str::to_owned);
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        let (topic, event) = match expected {
            Expected::Frame(expected) => {
                assert_eq!(*found, expected);
                continue;
            }
            Expected::Event(topic, event) => (topic, event),
        };
        let Frame::Text(text) = found else {
            panic!("{found:?}")
        };
        let told: Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(told["topic"], topic);
        assert_eq!(told["event"], event.event_name().as_str());
        assert_eq!(told["prev"].as_str().map(str::to_owned), last);
        last = told["id"].as_str().map(str::to_owned);
        assert!(last.is_some());
        if event.is_json() {
            let value = serde_json::from_str::<Value>(event.data());
            assert_eq!(told["data"], value.expect("JSON"));
        } else {
            assert_eq!(told["data"], event.data());
        }
    }
}
