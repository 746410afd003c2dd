//! Clients that do not take what waits for them.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::serving::{EVENTS, End, HANDSHAKE, LARGE, PATIENCE, PING, Peer, Serving, leaving};
use crate::vocabulary::{SECOND, eventually, submit, until_subscribers, within};

const STALL: Duration = Duration::from_millis(800);

async fn tight(serving: &Serving, request: &str) -> Peer {
    let mut peer = serving.connect_tight().await;
    peer.send(request).await;
    peer.head().await;
    peer
}

/// Takes a byte now and then, which is next to nothing, for longer than it is let. What had
/// come by then can still be read, and then it says how it has ended.
async fn sips_until_it_is_reset(mut peer: Peer) {
    let begun = Instant::now();
    while begun.elapsed() < 2 * STALL + SECOND && peer.sip(1).await.is_ok() {
        sleep(STALL / 8).await;
    }
    assert_eq!(peer.end().await, End::Reset);
    assert!(peer.received.len() < 4 << 20, "it had all");
}

#[tokio::test]
async fn who_takes_next_to_nothing_is_reset_and_nobody_else_is() {
    for is_detached in [false, cfg!(feature = "detached")] {
        let serving = Serving::start(|server| {
            let server = server.stall_timeout(STALL);
            if is_detached { leaving(server) } else { server }
        })
        .await;
        let streams = [tight(&serving, EVENTS).await, tight(&serving, EVENTS).await];
        let sockets = [
            tight(&serving, HANDSHAKE).await,
            tight(&serving, HANDSHAKE).await,
        ];
        let mut good = serving.asked(EVENTS).await;
        until_subscribers(SECOND, || serving.store.subscribers(), 5).await;
        // Too little for anybody to be full: nobody has stalled.
        submit(&serving.store, "small");
        sleep(2 * STALL).await;
        assert_eq!(serving.store.subscribers(), 5);

        serving.flood(2000);
        submit(&serving.store, "last");
        let begun = Instant::now();
        good.until("data: last\n").await;
        eventually(2 * STALL + 3 * SECOND, "all are reset", || {
            serving.store.subscribers() == 1
        })
        .await;
        assert!(begun.elapsed() >= STALL.mul_f64(0.8));
        for mut peer in streams.into_iter().chain(sockets) {
            assert_eq!(peer.end().await, End::Reset);
        }
        submit(&serving.store, "later");
        good.until("data: later\n").await;
    }
}

#[tokio::test]
async fn one_byte_at_a_time_is_next_to_nothing() {
    let serving = Serving::start(|server| server.stall_timeout(STALL)).await;
    let stream = tight(&serving, EVENTS).await;
    let socket = tight(&serving, HANDSHAKE).await;
    let download = tight(&serving, &PING.replace("ping", "large")).await;
    until_subscribers(SECOND, || serving.store.subscribers(), 2).await;
    serving.flood(2000);
    let all = [stream, socket, download].map(|peer| tokio::spawn(sips_until_it_is_reset(peer)));
    for peer in all {
        peer.await.expect("no panic");
    }
    assert_eq!(serving.store.subscribers(), 0);
}

#[tokio::test]
async fn who_takes_less_than_it_has_to_is_reset() {
    let least = 64 << 20;
    let serving = Serving::start(|server| server.stall_timeout(STALL).least_drain(least)).await;
    let mut slow = tight(&serving, EVENTS).await;
    serving.flood(20_000);
    let begun = Instant::now();
    let end = within(PATIENCE, "a reset", async {
        loop {
            match slow.sip(512).await {
                Ok(_) => sleep(Duration::from_millis(20)).await,
                Err(end) => return end,
            }
        }
    });
    assert_eq!(end.await, End::Reset);
    assert!(begun.elapsed() >= STALL.mul_f64(0.8));
}

/// An answer that is given in one piece is over for the application long before the client
/// has it, and that is neither idle nor stalled.
#[tokio::test]
async fn a_long_answer_to_a_slow_client_arrives() {
    // Long enough for a machine that is busy with something else, and far less than it takes.
    let idle = Duration::from_millis(1500);
    let serving = Serving::start(|server| server.idle_timeout(idle).stall_timeout(2 * idle)).await;
    let mut peer = serving.asked(&PING.replace("ping", "large")).await;
    let mut left = LARGE - peer.received.len();
    let begun = Instant::now();
    while left > 0 {
        let read = within(PATIENCE, "more", peer.sip(1 << 20)).await;
        left -= read.expect("it is not cut off");
        sleep(Duration::from_millis(50)).await;
    }
    assert!(begun.elapsed() > 2 * idle, "{:?}", begun.elapsed());
    peer.send(PING).await;
    peer.until("pong").await;
}
