//! Pings, and what counts as a sign of life. In memory, on a clock that stands still.

use std::time::Duration;

use futures_util::poll;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, advance, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::client::Client;
use crate::raw::{BINARY, CLOSE, Frame, PING, PONG, Raw, TEXT, closing, frame, head};
use crate::vocabulary::{SECOND, end_of, message, opened, store_and_socket, submit, until_left};

const ROOM: usize = 64 << 10;

fn ping() -> Frame {
    Frame {
        first: PING,
        payload: Vec::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_client_is_pinged_after_the_interval_and_stays_as_long_as_it_answers() {
    let (store, socket) = store_and_socket();
    for (socket, interval) in [
        (socket.clone(), 15 * SECOND),
        (socket.clone().ping(SECOND), SECOND),
        (socket.clone().ping(Duration::ZERO), SECOND / 1000),
    ] {
        let mut client = Raw::in_memory(&socket, ROOM).await;
        client.text().await;
        let mut begun = Instant::now();
        for _ in 0..5 {
            assert_eq!(client.frame().await, ping());
            assert_eq!(begun.elapsed(), interval);
            client.send(&frame(PONG, b"")).await;
            begun = Instant::now();
        }
    }
    until_left(&store, &socket).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_means_well_stays_for_ever() {
    let (store, socket) = store_and_socket();
    let mut client = Client::in_memory(&socket).await;
    client.text().await;
    // A browser answers pings by itself, whatever its page does.
    let begun = Instant::now();
    while begun.elapsed() < 60 * 60 * SECOND {
        assert!(matches!(client.next().await, Message::Ping(_)));
    }
    assert_eq!((store.subscribers(), socket.streams()), (1, 1));
    submit(&store, "x");
    assert_eq!(client.data(1).await, ["x"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_silent_for_two_intervals_is_dropped() {
    let (store, socket) = store_and_socket();
    let socket = socket.ping(5 * SECOND);
    let mut client = Raw::in_memory(&socket, ROOM).await;
    client.text().await;
    let begun = Instant::now();
    assert_eq!(client.frame().await, ping());
    assert_eq!(store.subscribers(), 1);
    // Without a close: nobody is there who would read it.
    client.ended().await;
    assert_eq!(begun.elapsed(), 10 * SECOND);
    assert_eq!((store.subscribers(), socket.streams()), (0, 0));
}

/// It answers no ping, because the ping stands behind what it has not read yet.
#[tokio::test(start_paused = true)]
async fn a_client_that_reads_on_slowly_is_alive() {
    let (store, socket) = store_and_socket();
    let socket = socket.ping(SECOND);
    let mut client = Raw::in_memory(&socket, 1 << 10).await;
    let begin = end_of(&store);
    client.text().await;
    let long = "x".repeat(40 << 10);
    let id = submit(&store, long.clone());
    let whole = message(id, begin, &long);
    let begun = Instant::now();
    let mut read = 0;
    while read < whole.len() {
        sleep(SECOND).await;
        let mut some = [0; 1 << 10];
        let len = client.io.read(&mut some).await.expect("an open connection");
        assert_ne!(len, 0, "{read} of {}", whole.len());
        read += len;
    }
    assert!(begun.elapsed() > 20 * SECOND);
    assert_eq!(store.subscribers(), 1);
}

#[tokio::test(start_paused = true)]
async fn events_are_no_sign_of_life_of_who_gets_them() {
    let (store, socket) = store_and_socket();
    let socket = socket.ping(5 * SECOND);
    let mut client = Raw::in_memory(&socket, ROOM).await;
    client.text().await;
    let begun = Instant::now();
    while store.subscribers() > 0 {
        submit(&store, "x");
        sleep(SECOND / 10).await;
    }
    assert!(begun.elapsed() <= 10 * SECOND + SECOND / 5);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_even_read_is_dropped_as_well() {
    let (store, socket) = store_and_socket();
    let socket = socket.ping(5 * SECOND);
    // Room for the head of the answer, not for the events.
    let client = Raw::in_memory(&socket, 256).await;
    for _ in 0..100 {
        submit(&store, "x".repeat(100));
    }
    let begun = Instant::now();
    until_left(&store, &socket).await;
    assert!(begun.elapsed() <= 10 * SECOND + SECOND / 100);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn any_byte_is_a_sign_of_life() {
    let (store, socket) = store_and_socket();
    let socket = socket.ping(5 * SECOND);
    let mut client = Raw::in_memory(&socket, ROOM).await;
    client.text().await;
    // One frame, a byte in 4 s, and then whole ones of all kinds.
    for byte in frame(0x80 | TEXT, &[b'x'; 20]) {
        advance(4 * SECOND).await;
        client.send(&[byte]).await;
        tokio::task::yield_now().await;
    }
    for bytes in [
        frame(0x80 | TEXT, b""),
        frame(0x80 | BINARY, b"x"),
        frame(PONG, b"unasked"),
        frame(TEXT, b"no end"),
    ] {
        sleep(4 * SECOND).await;
        client.send(&bytes).await;
    }
    // The clock ran on for long enough: there was no ping before.
    let begun = Instant::now();
    assert_eq!(client.frame().await, ping());
    assert_eq!(begun.elapsed(), 5 * SECOND);
    // A byte after the ping is as good as a pong.
    sleep(4 * SECOND).await;
    client.send(&head(0x80, 3)[..1]).await;
    let begun = Instant::now();
    assert_eq!(client.frame().await, ping());
    assert_eq!(begun.elapsed(), 5 * SECOND);
    client.ended().await;
    assert_eq!(begun.elapsed(), 10 * SECOND);
    assert_eq!(store.subscribers(), 0);
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_without_the_clock_moving_and_in_their_order() {
    let (store, socket) = store_and_socket();
    let mut client = Raw::in_memory(&socket, ROOM).await;
    client.text().await;
    let begun = Instant::now();
    for payload in [&b""[..], b"x", b"\0\xff\xfe", &[7; 125]] {
        client.send(&frame(PING, payload)).await;
        let expected = Frame {
            first: PONG,
            payload: payload.to_vec(),
        };
        assert_eq!(client.frame().await, expected);
    }
    let many: Vec<_> = (0..10u8).flat_map(|n| frame(PING, &[n])).collect();
    client.send(&many).await;
    for n in 0..10 {
        let expected = Frame {
            first: PONG,
            payload: vec![n],
        };
        assert_eq!(client.frame().await, expected);
    }
    let prev = crate::vocabulary::end_of(&store);
    let id = submit(&store, "x");
    assert_eq!(client.text().await, message(id, prev, "x"));
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_ping_in_the_middle_of_a_message_is_answered_at_once() {
    let (_, socket) = store_and_socket();
    let mut client = Raw::in_memory(&socket, ROOM).await;
    client.text().await;
    let begun = Instant::now();
    client.send(&frame(TEXT, b"half")).await;
    client.send(&frame(PING, b"p")).await;
    assert_eq!(client.frame().await.first, PONG);
    client.send(&frame(0x80, b"half")).await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_close_is_answered_at_once_with_its_code_and_the_connection_ends() {
    for (close, answer) in [
        (frame(CLOSE, b""), &b""[..]),
        (closing(1000), b"\x03\xe8"),
        (closing(1001), b"\x03\xe9"),
        (closing(3000), b"\x0b\xb8"),
        (closing(4999), b"\x13\x87"),
        (frame(CLOSE, b"\x03\xe8bye"), b"\x03\xe8"),
    ] {
        let (store, socket) = store_and_socket();
        let mut client = Raw::in_memory(&socket, ROOM).await;
        client.text().await;
        let begun = Instant::now();
        client.send(&close).await;
        let answered = client.frame().await;
        assert_eq!(answered.first, CLOSE);
        assert!(answered.payload.starts_with(answer), "{answered:?}");
        // Nobody is subscribed any more, whether the client hangs up or not.
        assert_eq!((store.subscribers(), socket.streams()), (0, 0));
        submit(&store, "too late");
        client.ended().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_answer_a_close_is_waited_for_5_seconds() {
    let (store, socket) = store_and_socket();
    let mut silent = Raw::in_memory(&socket, ROOM).await;
    let mut chatty = Raw::in_memory(&socket, ROOM).await;
    silent.text().await;
    chatty.text().await;
    let begun = Instant::now();
    store.close();
    assert_eq!(silent.closed().await.0, 1001);
    assert_eq!(chatty.closed().await.0, 1001);
    assert_eq!((store.subscribers(), socket.streams()), (0, 0));
    // Whatever it says instead of an answer changes nothing.
    while begun.elapsed() < 5 * SECOND {
        assert!(poll!(Box::pin(silent.ended())).is_pending());
        let said = frame(0x80 | TEXT, b"but");
        let _ = timeout(SECOND, chatty.io.write_all(&said)).await;
        sleep(SECOND / 10).await;
    }
    silent.ended().await;
    assert!(begun.elapsed() < 5 * SECOND + SECOND / 2);
}

#[tokio::test(start_paused = true)]
async fn who_answers_a_close_is_let_go_at_once() {
    let (store, socket) = store_and_socket();
    let mut client = Raw::in_memory(&socket, ROOM).await;
    assert_eq!(
        client.text().await,
        opened(crate::vocabulary::end_of(&store))
    );
    store.close();
    let begun = Instant::now();
    client.closed().await;
    client.send(&closing(1001)).await;
    client.ended().await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
}
