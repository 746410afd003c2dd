//! Any bytes behind a handshake: the server takes no more memory than it is told to, hands
//! over no message that is too long, and sends whole frames, a close with a code at the end.
#![no_main]

#[path = "../socket.rs"]
mod socket;

use std::sync::{Arc, Mutex};

use libfuzzer_sys::fuzz_target;
use socket::{Step, talk};
use tornadose::{EventSource, QueueStore};
use tornadose_fuzz::{Frame, Input, frames};

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let (limit, fragments) = (input.below(256), 1 + input.below(16));
    let (size, room) = (1 + input.below(256), 1 + input.below(256));
    let bytes = input.rest();
    let size = size.max(bytes.len() / 32);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&heard);
    let socket = EventSource::new(QueueStore::new())
        .websocket()
        .max_message_bytes(limit)
        .max_fragments(fragments)
        .on_message(move |received| {
            assert!(received.bytes().len() <= limit);
            received.reply_bytes(received.bytes().to_vec());
            list.lock()
                .expect("no panic")
                .push(received.bytes().to_vec());
        });
    let mut sent = Vec::new();
    let cost = allocation_counter::measure(|| {
        sent = talk(
            &socket,
            room,
            bytes.chunks(size).map(|piece| Step::Send(piece.to_vec())),
        );
    });
    assert!(cost.bytes_max < 256 << 10, "{cost:?}");
    assert_eq!(socket.streams(), 0);

    let mut echoes = heard.lock().expect("no panic").clone().into_iter();
    let frames = frames(&sent, true);
    assert!(matches!(&frames[0], Frame::Text(open) if open.contains(r#""event":"open""#)));
    for frame in &frames[1..] {
        match frame {
            Frame::Binary(reply) => assert_eq!(Some(reply), echoes.next().as_ref()),
            Frame::Text(text) => panic!("nothing was submitted: {text}"),
            Frame::Close(Some(code), _) => {
                // Its own, or the answer to the client's (RFC 6455, 7.4).
                assert!(
                    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999),
                    "{code}"
                );
            }
            Frame::Close(None, _) | Frame::Ping | Frame::Pong(_) => {}
        }
    }
});
