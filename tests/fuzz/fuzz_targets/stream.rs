//! What a body hands out, in whatever pieces it arrives: every frame is whole blocks, and all
//! of them together tell each event once and in order, or count it in a gap.
#![no_main]

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use libfuzzer_sys::fuzz_target;
use tornadose::test::{Decoder, Message};
use tornadose::{EventBody, EventSource, LastEventId, Permit, QueueStore, Retention, Start};
use tornadose_fuzz::{Input, dechunked, normalised, runtime};

fuzz_target!(|bytes: &[u8]| run(&mut Input::new(bytes)));

struct Client {
    body: EventBody,
    decoder: Decoder,
    /// What came, as it came.
    frames: Vec<Bytes>,
    blocks: Vec<Message>,
    /// The number of the last event that it has, or was told that it missed.
    told: usize,
}

fn run(input: &mut Input<'_>) {
    let runtime = runtime();
    let retention = Retention::new().events(1 + input.below(8));
    let store = QueueStore::builder().retention(retention).build();
    let mut source = EventSource::new(store.clone()).start(Start::Oldest);
    if input.flag() {
        source = source.retry(Duration::from_millis(input.number()));
    }
    let mut client = Client {
        body: source.grant(Permit::new(), None).into_body(),
        decoder: Decoder::default(),
        frames: Vec::new(),
        blocks: Vec::new(),
        told: 0,
    };
    let mut submitted = Vec::new();
    while !input.is_empty() {
        match input.below(6) {
            0..=2 => {
                let event = input.event();
                let said = (event.event_name().to_string(), normalised(event.data()));
                let id = store
                    .submit(event)
                    .expect("an open store")
                    .id()
                    .expect("an id");
                submitted.push((said.0, said.1, id.to_string()));
            }
            3 => drop(runtime.block_on(async { client.poll(input) })),
            4 => runtime.block_on(tokio::time::advance(Duration::from_secs(
                input.byte().into(),
            ))),
            // It is cut off and comes back, if it has an id to come back with.
            _ => {
                client.account(&submitted);
                let last = client.decoder.last_event_id();
                if !last.is_empty() {
                    let last = LastEventId::parse(last.as_bytes());
                    client.body = source.grant(Permit::new(), Some(last)).into_body();
                    client.decoder = Decoder::default();
                    client.frames.clear();
                }
            }
        }
    }
    store.close();
    while runtime.block_on(async { client.poll(input) }) {}
    client.account(&submitted);
    assert_eq!(client.told, submitted.len(), "all is accounted for");
    client.chunks();
}

impl Client {
    /// Whether there was a frame.
    fn poll(&mut self, input: &mut Input<'_>) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Some(frame)) = Pin::new(&mut self.body).poll_frame(&mut cx) else {
            return false;
        };
        let Ok(frame) = frame.expect("it never fails").into_data() else {
            panic!("it has no trailers");
        };
        assert!(frame.ends_with(b"\n\n"), "{frame:?}");
        let mut rest = &frame[..];
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.len().min(1 + input.below(256)));
            self.blocks.extend(self.decoder.feed(piece));
            rest = behind;
        }
        self.frames.push(frame);
        true
    }

    /// Received and missed are what was submitted.
    fn account(&mut self, submitted: &[(String, String, String)]) {
        for block in self.blocks.drain(..) {
            if block.name == "gap" {
                let gap: serde_json::Value = serde_json::from_str(&block.data).expect("JSON");
                let missed = gap["missed"].as_str().expect("a number as text");
                let missed: usize = missed.parse().expect("a number");
                assert!(missed > 0, "a gap in which nothing is missing");
                self.told += missed;
                assert_eq!(submitted[self.told - 1].2, block.last_event_id);
            } else {
                let said = (block.name, block.data, block.last_event_id);
                assert_eq!(said, submitted[self.told]);
                self.told += 1;
            }
        }
    }

    /// The same frames as chunks of HTTP/1.1.
    fn chunks(&self) {
        let (whole, pieces) = tornadose::fuzzing::chunks(&self.frames);
        assert_eq!(pieces.concat(), whole);
        let (body, behind) = dechunked(&whole).expect("chunks");
        assert_eq!(body, self.frames.concat());
        assert_eq!(behind, b"");
    }
}
