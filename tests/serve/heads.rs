//! Requests that take their time to come.

use std::time::{Duration, Instant};

use crate::peers::assert_between;
use crate::serving::{EVENTS, End, PING, Serving};
use crate::vocabulary::{SECOND, submit};

const HEADER: Duration = Duration::from_millis(600);

const TRICKLE: Duration = Duration::from_millis(20);

async fn impatient() -> Serving {
    Serving::start(|server| server.header_timeout(HEADER)).await
}

#[tokio::test]
async fn a_part_of_a_head_and_nothing_more_is_closed_in_time() {
    let serving = impatient().await;
    let mut good = serving.asked(EVENTS).await;
    let parts = (0..EVENTS.len()).step_by(7).map(|n| &EVENTS[..n]);
    // The beginning of HTTP/2, and all of it, without a request.
    let prefaces = ["PRI * HTTP/2.0\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"];
    let mut waiting = Vec::new();
    for part in parts.chain(prefaces) {
        let mut peer = serving.connect().await;
        peer.send(part).await;
        let begun = Instant::now();
        waiting.push(tokio::spawn(async move {
            peer.end().await;
            (begun.elapsed(), peer)
        }));
    }
    for waiting in waiting {
        let (took, _) = waiting.await.expect("no panic");
        assert_between(took, HEADER.mul_f64(0.8), HEADER + 2 * SECOND);
    }
    submit(&serving.store, "still here");
    good.until("data: still here\n").await;
}

#[tokio::test]
async fn a_head_that_trickles_has_no_more_time_than_one_that_stops() {
    let serving = impatient().await;
    for line in ["x", "x: y\r\n"] {
        let mut peer = serving.connect().await;
        peer.send("GET /ping HTTP/1.1\r\nhost: localhost\r\n").await;
        let took = peer.trickle(line, TRICKLE).await;
        assert_between(took, HEADER.mul_f64(0.8), HEADER + 2 * SECOND);
        assert_eq!(peer.received, b"", "no answer");
    }
}

#[tokio::test]
async fn the_second_head_has_the_time_of_the_first_from_its_own_first_byte() {
    let serving = impatient().await;
    let mut peer = serving.asked(PING).await;
    peer.until("pong").await;
    // Longer than a head may take: it is idle.
    peer.assert_waits(HEADER + HEADER / 2).await;
    peer.send(PING).await;
    peer.until("pong").await;
    let took = peer.trickle("x", TRICKLE).await;
    assert_between(took, HEADER.mul_f64(0.8), HEADER + 2 * SECOND);
}

#[tokio::test]
async fn who_asks_nothing_more_is_closed_when_it_has_been_idle() {
    let idle = Duration::from_millis(600);
    let serving = Serving::start(|server| server.idle_timeout(idle)).await;
    let mut peer = serving.connect().await;
    for _ in 0..3 {
        peer.send(PING).await;
        peer.until("pong").await;
        peer.assert_waits(idle / 2).await;
    }
    let begun = Instant::now();
    assert_eq!(peer.end().await, End::Closed);
    assert_between(begun.elapsed(), idle / 4, idle + 2 * SECOND);

    // What is open is not idle.
    let mut stream = serving.asked(EVENTS).await;
    let mut waiting = serving.connect().await;
    waiting.send(&PING.replace("ping", "wait")).await;
    tokio::time::sleep(3 * idle).await;
    serving.go.notify_one();
    assert!(waiting.head().await.starts_with("HTTP/1.1 200 "));
    submit(&serving.store, "late");
    stream.until("data: late\n").await;
}

#[tokio::test]
async fn a_body_that_trickles_is_answered_with_408() {
    let body = Duration::from_millis(600);
    let serving = Serving::start(|server| server.body_timeout(body)).await;
    let post = |lines| format!("POST /say HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n\r\n");
    for (lines, byte) in [
        ("content-length: 100000", "x"),
        ("transfer-encoding: chunked", "1\r\nx\r\n"),
    ] {
        let mut peer = serving.connect().await;
        peer.send(&post(lines)).await;
        let took = peer.trickle(byte, TRICKLE).await;
        assert_between(took, body.mul_f64(0.8), body + 2 * SECOND);
        let answer = String::from_utf8(peer.received).expect("ASCII");
        assert!(
            answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
            "{answer}"
        );
    }
    let mut peer = serving.asked(&(post("content-length: 5") + "hello")).await;
    peer.until("5").await;
    // A stream may be asked for with a body, and stays.
    let mut stream = serving
        .asked("GET /events HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\n")
        .await;
    tokio::time::sleep(2 * body).await;
    submit(&serving.store, "late");
    stream.until("data: late\n").await;
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let serving = Serving::start(|server| server).await;
    for head in [
        format!("x: {}\r\n", "y".repeat(17 << 10)),
        "x: y\r\n".repeat(101),
    ] {
        let request = format!("GET /ping HTTP/1.1\r\nhost: localhost\r\n{head}\r\n");
        let mut peer = serving.connect().await;
        peer.send(&request).await;
        let head = peer.head().await;
        assert!(head.starts_with("HTTP/1.1 431 "), "{head}");
    }
    let most = format!("x: {}\r\n", "y".repeat(15 << 10));
    let request = format!("GET /ping HTTP/1.1\r\nhost: localhost\r\n{most}\r\n");
    serving.asked(&request).await.until("pong").await;
}
