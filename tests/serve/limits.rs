//! How many connections there may be.

use std::time::Duration;

use tornadose::Server;

use crate::serving::{EVENTS, HANDSHAKE, PING, Serving};
use crate::vocabulary::{SECOND, submit, until_subscribers};

fn at_most(connections: u32) -> impl Fn(Server) -> Server {
    move |server| server.max_connections(connections)
}

const WHILE: Duration = Duration::from_millis(300);

#[tokio::test]
async fn at_the_limit_who_comes_waits_until_somebody_leaves() {
    let serving = Serving::start(at_most(2)).await;
    let stream = serving.asked(EVENTS).await;
    let mut idle = serving.asked(PING).await;
    idle.until("pong").await;
    let mut next = serving.connect().await;
    next.send(PING).await;
    let mut after = serving.connect().await;
    after.send(EVENTS).await;
    next.assert_waits(WHILE).await;
    // Who is there is served.
    idle.send(PING).await;
    idle.until("pong").await;

    drop(stream);
    next.until("pong").await;
    after.assert_waits(WHILE).await;
    drop(idle);
    assert!(after.head().await.starts_with("HTTP/1.1 200 "));
    submit(&serving.store, "x");
    after.until("data: x\n").await;
}

/// Asks for a stream where there is room for one, and lets it go.
async fn one_holds_its_slot(serving: &Serving, request: &str) {
    for _ in 0..3 {
        let stream = serving.asked(request).await;
        until_subscribers(SECOND, || serving.store.subscribers(), 1).await;
        let mut next = serving.connect().await;
        next.send(PING).await;
        next.assert_waits(WHILE).await;
        drop(stream);
        next.until("pong").await;
        until_subscribers(SECOND, || serving.store.subscribers(), 0).await;
    }
}

#[tokio::test]
async fn a_websocket_is_a_connection_to_its_end() {
    one_holds_its_slot(&Serving::start(at_most(1)).await, HANDSHAKE).await;
}

#[cfg(feature = "detached")]
#[tokio::test]
async fn a_stream_that_has_left_is_a_connection_to_its_end() {
    let serving = Serving::start(|server| at_most(1)(server).detached()).await;
    let stream = serving.asked(EVENTS).await;
    let left = || serving.events.detached_streams() == 1;
    crate::vocabulary::eventually(SECOND, "it leaves", left).await;
    drop(stream);
    one_holds_its_slot(&serving, EVENTS).await;
}

#[tokio::test]
async fn a_shutdown_begins_at_the_limit_too() {
    let serving = Serving::start(at_most(1)).await;
    let mut stream = serving.asked(EVENTS).await;
    serving.shutdown.begin();
    stream.until("retry: ").await;
    serving.ended().await.expect("everybody has left");
}
