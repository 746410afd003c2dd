//! What no proper client sends: each is closed with its code, and nobody else notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use allocation_counter::measure;
use tokio::io::DuplexStream;
use tokio::runtime::Builder;
use tokio::time::{Instant, advance};
use tornadose::{QueueStore, WebSocketSubscriber};

use crate::client::Client;
use crate::raw::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, Raw, TEXT, closing, frame, head};
use crate::vocabulary::{SECOND, store_and_socket, submit};

const TOO_BIG: (u16, &str) = (1009, "message too big");
const FRAGMENTS: (u16, &str) = (1008, "too many fragments");
const PINGS: (u16, &str) = (1008, "too many pings");

/// A handler, two clients of it, and how many messages were handed over.
struct Scene {
    store: QueueStore,
    socket: WebSocketSubscriber,
    heard: Arc<AtomicUsize>,
    good: Client<DuplexStream>,
    bad: Raw<DuplexStream>,
}

impl Scene {
    async fn new() -> Self {
        let (store, socket) = store_and_socket();
        let heard = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&heard);
        let socket = socket.on_message(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let mut good = Client::in_memory(&socket).await;
        let mut bad = Raw::in_memory(&socket, 1 << 20).await;
        good.text().await;
        bad.text().await;
        Self {
            store,
            socket,
            heard,
            good,
            bad,
        }
    }

    /// That the bad one is closed with this code and without anybody being told, is let
    /// go of at once, and that the good one still listens.
    async fn is_closed(&mut self, code: u16) -> String {
        let (found, reason) = self.bad.closed().await;
        assert_eq!(found, code, "{reason}");
        assert_eq!(self.heard.load(Ordering::SeqCst), 0);
        assert_eq!((self.store.subscribers(), self.socket.streams()), (1, 1));
        submit(&self.store, "next");
        assert_eq!(self.good.data(1).await, ["next"]);
        reason
    }
}

/// That these bytes are answered with this close, at once, and that the connection
/// ends when the client has answered it.
async fn assert_closed(bytes: &[u8], (code, reason): (u16, &str)) {
    let begun = Instant::now();
    let mut scene = Scene::new().await;
    scene.bad.send(bytes).await;
    assert_eq!(scene.is_closed(code).await, reason);
    scene.bad.send_as_far_as_it_goes(&closing(code)).await;
    scene.bad.ended().await;
    assert_eq!(
        begun.elapsed(),
        Duration::ZERO,
        "it need not wait for anything"
    );
}

/// That these bytes break the protocol in this way, whatever is said to it.
async fn assert_broken(bytes: &[u8], code: u16) {
    let mut scene = Scene::new().await;
    scene.bad.send(bytes).await;
    scene.is_closed(code).await;
    // No answer is waited for from who does not keep to the rules.
    let begun = Instant::now();
    scene.bad.ended().await;
    assert_eq!(begun.elapsed(), Duration::ZERO, "{bytes:x?}");
}

#[tokio::test(start_paused = true)]
async fn a_length_is_enough_to_be_refused() {
    for len in [65_537, 65_536 + 125, 1 << 20, 1 << 32, 1 << 63, u64::MAX] {
        for first in [TEXT, BINARY, FIN | TEXT, FIN | BINARY] {
            assert_closed(&head(first, len), TOO_BIG).await;
        }
    }
    // With a payload that never ends behind it.
    let bytes = [head(FIN | TEXT, u64::MAX), vec![b'x'; 300_000]].concat();
    assert_closed(&bytes, TOO_BIG).await;
}

#[tokio::test(start_paused = true)]
async fn fragments_are_summed_up() {
    let half = frame(BINARY, &[0; 32 << 10]);
    for rest in [
        head(CONTINUATION, (32 << 10) + 1),
        head(FIN | CONTINUATION, (32 << 10) + 1),
        head(FIN | CONTINUATION, u64::MAX),
        [frame(CONTINUATION, &[0; 32 << 10]), head(CONTINUATION, 1)].concat(),
        [frame(PING, b""), head(CONTINUATION, 40_000)].concat(),
    ] {
        let mut scene = Scene::new().await;
        scene.bad.send(&half).await;
        scene.bad.send(&rest).await;
        if rest.starts_with(&[PING]) {
            assert_eq!(scene.bad.frame().await.first, PONG);
        }
        assert_eq!(scene.is_closed(1009).await, TOO_BIG.1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_broken_byte_by_byte_is_broken() {
    let mut fragments = frame(TEXT, b"");
    for _ in 0..128 {
        fragments.extend(frame(CONTINUATION, b""));
    }
    let sum = [frame(TEXT, &[b'x'; 200]), head(CONTINUATION, 65_400)].concat();
    for (bytes, code) in [
        (head(FIN | TEXT, u64::MAX), 1009),
        (head(FIN | TEXT, 65_537), 1009),
        (sum, 1009),
        (fragments, 1008),
        (frame(PONG, b"").repeat(101), 1008),
        (b"\x81\x01x".to_vec(), 1002),
    ] {
        let mut scene = Scene::new().await;
        for byte in bytes {
            scene.bad.send_as_far_as_it_goes(&[byte]).await;
            tokio::task::yield_now().await;
        }
        scene.is_closed(code).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_length_stands_in_its_shortest_form() {
    for bytes in [
        &b"\x81\xfe\0\x05\0\0\0\0hello"[..],
        b"\x81\xff\0\0\0\0\0\0\0\x05\0\0\0\0hello",
        b"\x81\xff\0\0\0\0\0\0\x01\0\0\0\0\0",
        b"\x89\xfe\0\x01\0\0\0\0x",
    ] {
        assert_broken(bytes, 1002).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_limit_is_as_it_is_set() {
    for limit in [0, 1, 125, 126, 70_000] {
        let (_, socket) = store_and_socket();
        let socket = socket
            .max_message_bytes(limit)
            .on_message(|received| received.reply("heard"));
        let mut client = Raw::in_memory(&socket, 1 << 20).await;
        client.text().await;
        client.send(&frame(FIN | TEXT, &vec![b'x'; limit])).await;
        assert_eq!(client.text().await, "heard", "{limit}");
        client.send(&head(FIN | TEXT, limit as u64 + 1)).await;
        assert_eq!(client.closed().await.0, 1009, "{limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_129th_fragment_is_one_too_many() {
    for payload in [&b""[..], b"x"] {
        let mut fragments = frame(TEXT, payload);
        for _ in 1..128 {
            fragments.extend(frame(CONTINUATION, payload));
        }
        for last in [CONTINUATION, FIN | CONTINUATION] {
            let bytes = [fragments.clone(), frame(last, payload)].concat();
            assert_closed(&bytes, FRAGMENTS).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_pings_is_closed_and_a_steady_stream_of_them_is_not() {
    for first in [PING, PONG] {
        let mut scene = Scene::new().await;
        for _ in 0..3 {
            let hundred = frame(first, b"").repeat(100);
            scene.bad.send(&hundred).await;
            if first == PING {
                for _ in 0..100 {
                    assert_eq!(scene.bad.frame().await.first, PONG);
                }
            }
            tokio::task::yield_now().await;
            advance(SECOND).await;
        }
        scene.bad.send(&frame(first, b"").repeat(101)).await;
        if first == PING {
            for _ in 0..100 {
                assert_eq!(scene.bad.frame().await.first, PONG);
            }
        }
        assert_eq!(scene.is_closed(1008).await, PINGS.1);
    }
}

#[tokio::test(start_paused = true)]
async fn frames_that_are_not_masked_are_refused() {
    assert_broken(b"\x81\x01x", 1002).await;
    assert_broken(b"\x89\x00", 1002).await;
    assert_broken(b"\x82\x7e\xff\xff", 1002).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_reserved_is_refused() {
    for bit in [0x40, 0x20, 0x10, 0x70] {
        assert_broken(&frame(FIN | bit | TEXT, b"x"), 1002).await;
        assert_broken(&frame(FIN | bit | 0x09, b""), 1002).await;
    }
    for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        assert_broken(&frame(FIN | opcode, b"x"), 1002).await;
    }
}

#[tokio::test(start_paused = true)]
async fn fragments_that_do_not_fit_together_are_refused() {
    assert_broken(&frame(CONTINUATION, b"x"), 1002).await;
    assert_broken(&frame(FIN | CONTINUATION, b"x"), 1002).await;
    let twice = [frame(TEXT, b"x"), frame(FIN | TEXT, b"y")].concat();
    assert_broken(&twice, 1002).await;
    let mixed = [frame(TEXT, b"x"), frame(BINARY, b"y")].concat();
    assert_broken(&mixed, 1002).await;
}

#[tokio::test(start_paused = true)]
async fn control_frames_are_whole_and_short() {
    for opcode in [0x08, 0x09, 0x0a] {
        assert_broken(&frame(opcode, b""), 1002).await;
        assert_broken(&frame(FIN | opcode, &[b'x'; 126]), 1002).await;
        assert_broken(&head(FIN | opcode, 65_536), 1002).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_has_a_code_that_may_be_sent() {
    assert_broken(&frame(CLOSE, b"x"), 1002).await;
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
        let mut scene = Scene::new().await;
        scene.bad.send(&closing(code)).await;
        scene.is_closed(1002).await;
    }
    assert_broken(&frame(CLOSE, b"\x03\xe8\xff"), 1007).await;
}

#[tokio::test(start_paused = true)]
async fn a_text_is_utf_8() {
    for text in [
        &b"\xff"[..],
        b"x\xc3",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
    ] {
        assert_broken(&frame(FIN | TEXT, text), 1007).await;
        let split = [frame(TEXT, text), frame(FIN | CONTINUATION, b"")].concat();
        assert_broken(&split, 1007).await;
    }
    let split = [frame(TEXT, b"\xc3"), frame(FIN | CONTINUATION, b"x")].concat();
    assert_broken(&split, 1007).await;
}

#[tokio::test(start_paused = true)]
async fn what_comes_before_it_is_still_heard_and_what_comes_after_it_is_not() {
    let mut scene = Scene::new().await;
    let bytes = [
        frame(FIN | TEXT, b"before"),
        head(FIN | TEXT, 1 << 40),
        frame(FIN | TEXT, b"after"),
    ];
    scene.bad.send(&bytes.concat()).await;
    assert_eq!(scene.bad.closed().await.0, 1009);
    scene.bad.send(&frame(FIN | TEXT, b"after")).await;
    submit(&scene.store, "next");
    assert_eq!(scene.good.data(1).await, ["next"]);
    assert_eq!(scene.heard.load(Ordering::SeqCst), 1);
}

#[test]
fn a_length_that_is_refused_is_not_allocated() {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut scene = runtime.block_on(Scene::new());
    let allocated = measure(|| {
        runtime.block_on(async {
            scene.bad.send(&head(FIN | TEXT, 1 << 40)).await;
            scene.bad.closed().await;
        });
    });
    assert!(allocated.bytes_total < 64 << 10, "{allocated:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_read_gets_the_close_behind_what_was_begun() {
    let (store, socket) = store_and_socket();
    let mut client = Raw::in_memory(&socket, 256).await;
    client.text().await;
    submit(&store, "x".repeat(1000));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    client.send(&head(FIN | TEXT, 1 << 40)).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!((store.subscribers(), socket.streams()), (0, 0));
    assert!(client.text().await.len() > 1000);
    assert_eq!(client.closed().await, (1009, TOO_BIG.1.to_owned()));
    client.ended().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_goes_on_sending_is_read_on_so_that_its_close_is_not_taken_away() {
    let half = [frame(TEXT, b"x\xc3"), frame(FIN | CONTINUATION, b"")].concat();
    for bytes in [half, head(FIN | TEXT, 1 << 40), frame(CONTINUATION, b"x")] {
        let mut scene = Scene::new().await;
        scene.bad.send(&bytes).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
            scene.bad.send(&frame(FIN | TEXT, &[b'x'; 10_000])).await;
        }
        scene.bad.closed().await;
        scene.bad.ended().await;
        assert_eq!(scene.heard.load(Ordering::SeqCst), 0);
    }
}
