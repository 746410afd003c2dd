//! Clients that read slowly or not at all.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use tornadose::{EventSource, QueueStore, Retention};

use crate::servers::{events_by_axum, listener, tight};
use crate::transcript::Listening;
use crate::vocabulary::{
    SECOND, alone, eventually, most_resident, resident, submit, until_subscribers,
};

#[tokio::test]
async fn who_stops_reading_is_told_its_gap_and_disturbs_nobody() {
    const EVENTS: u64 = 3000;
    let store = QueueStore::builder()
        .retention(Retention::new().events(50))
        .build();
    let events = EventSource::new(store.clone()).without_keep_alive();
    let server = events_by_axum(tight(), &events);
    let mut stalled = Vec::new();
    for _ in 0..5 {
        stalled.push(Listening::open_tight(&server).await);
    }
    let mut healthy = Listening::open(&server, None).await;
    eventually(SECOND, "all leave", || events.detached_streams() == 6).await;
    for n in 1..=EVENTS {
        submit(&store, format!("{n} {}.", "x".repeat(3000)));
        if n % 20 == 0 {
            healthy.until(&format!("data: {n} ")).await;
        }
    }
    assert_eq!(events.detached_streams(), 6);
    store.close();
    let judged = healthy.read_to_end().await.without_farewell().judge();
    assert_eq!((judged.received, judged.missed), (EVENTS, 0));
    for client in stalled {
        let judged = client.read_to_end().await.without_farewell().judge();
        assert_eq!(judged.from, Some(0));
        assert_eq!(judged.received + judged.missed, EVENTS);
        assert!(judged.received < EVENTS / 2, "it did not stall: {judged:?}");
        assert!(judged.gaps >= 1);
    }
}

#[test]
fn many_stalled_clients_cost_no_more_than_their_buffers() {
    const NAME: &str = "slow::many_stalled_clients_cost_no_more_than_their_buffers";
    const STALLED: usize = 100;
    alone(NAME, async {
        let store = QueueStore::builder()
            .retention(Retention::new().bytes(1 << 20))
            .build();
        let events = EventSource::new(store.clone()).without_keep_alive();
        let send_buffer = (16 << 10).try_into().expect("not 0");
        let server = events_by_axum(listener().send_buffer(send_buffer), &events);
        let mut stalled = Vec::new();
        for _ in 0..STALLED {
            stalled.push(Listening::open_tight(&server).await);
        }
        let mut healthy = Listening::open(&server, None).await;
        eventually(5 * SECOND, "all leave", || {
            events.detached_streams() == STALLED + 1
        })
        .await;
        submit(&store, "first");
        healthy.until("data: first").await;
        let before = resident();
        for n in 0..3000 {
            submit(&store, format!("{n} {}.", "x".repeat(10_000)));
            if n % 20 == 19 {
                healthy.until(&format!("data: {n} ")).await;
                healthy.forget();
            }
        }
        let grown = most_resident().saturating_sub(before);
        println!(
            "30 MB past {STALLED} stalled clients: {} KiB more",
            grown >> 10
        );
        // The retention, and for each of them less than two pages of 16 KiB and an event.
        assert!(grown <= (8 << 20) + STALLED * (48 << 10), "{grown}");
        assert_eq!(events.detached_streams(), STALLED + 1);
    });
}

#[tokio::test]
async fn who_takes_nothing_for_too_long_is_reset_and_who_trickles_is_kept() {
    let stall = Duration::from_millis(600);
    let store = QueueStore::builder()
        .retention(Retention::new().events(20_000).bytes(1 << 30))
        .build();
    let events = EventSource::new(store.clone()).without_keep_alive();
    let server = events_by_axum(tight().stall_timeout(stall), &events);
    let stalled = Listening::open_tight(&server).await;
    let mut trickling = Listening::open_tight(&server).await;
    let quiet = Listening::open(&server, None).await;
    eventually(SECOND, "all leave", || events.detached_streams() == 3).await;
    // Too little for anybody to be full: nobody has stalled.
    submit(&store, "small");
    sleep(2 * stall).await;
    assert_eq!(events.detached_streams(), 3);

    for n in 0..2000 {
        submit(&store, format!("{n} {}.", "x".repeat(1000)));
    }
    let reader = tokio::spawn(quiet.read_to_end());
    let begun = Instant::now();
    let mut was_three = Duration::ZERO;
    while begun.elapsed() < 3 * stall {
        trickling.read(16 << 10).await.expect("it is kept");
        if events.detached_streams() == 3 {
            was_three = begun.elapsed();
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert!(was_three >= stall.mul_f64(0.8), "{was_three:?}");
    assert_eq!(events.detached_streams(), 2);
    assert!(stalled.ends_by_reset().await);
    store.close();
    for told in [
        trickling.read_to_end().await,
        reader.await.expect("no panic"),
    ] {
        let judged = told.without_farewell().judge();
        assert_eq!((judged.received, judged.missed), (2001, 0));
    }
}

#[tokio::test]
async fn who_takes_less_than_it_has_to_is_reset() {
    let stall = Duration::from_millis(300);
    let store = QueueStore::builder()
        .retention(Retention::new().events(20_000).bytes(1 << 30))
        .build();
    let events = EventSource::new(store.clone()).without_keep_alive();
    let least = (100 << 20).try_into().expect("not 0");
    let listener = tight().stall_timeout(stall).least_drain(least);
    let server = events_by_axum(listener, &events);
    let mut trickling = Listening::open_tight(&server).await;
    eventually(SECOND, "it leaves", || events.detached_streams() == 1).await;
    let begun = Instant::now();
    for n in 0..4000 {
        submit(&store, format!("{n} {}.", "x".repeat(1000)));
    }
    while begun.elapsed() < 10 * stall && events.detached_streams() == 1 {
        if trickling.read(16 << 10).await.is_err() {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert!(begun.elapsed() >= stall);
    until_subscribers(SECOND, || store.subscribers(), 0).await;
}

/// A slow but steady reader with the large buffers that a system gives by itself: its
/// socket says only now and then that there is room.
#[tokio::test]
async fn who_reads_little_from_a_large_buffer_is_kept() {
    let stall = Duration::from_millis(300);
    let store = QueueStore::builder()
        .retention(Retention::new().events(20_000).bytes(1 << 30))
        .build();
    let events = EventSource::new(store.clone()).without_keep_alive();
    let buffer = (2 << 20).try_into().expect("not 0");
    let listener = listener().send_buffer(buffer).stall_timeout(stall);
    let server = events_by_axum(listener, &events);
    let mut steady = Listening::open_tight(&server).await;
    eventually(SECOND, "it leaves", || events.detached_streams() == 1).await;
    let publishing = store.clone();
    let publisher = std::thread::spawn(move || {
        for n in 0..20_000 {
            submit(&publishing, format!("{n} {}.", "x".repeat(1000)));
        }
    });
    let begun = Instant::now();
    while begun.elapsed() < 5 * stall {
        steady.read(64 << 10).await.expect("it is kept");
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(events.detached_streams(), 1);
    publisher.join().expect("no panic");
    store.close();
    let judged = steady.read_to_end().await.without_farewell().judge();
    assert_eq!((judged.received, judged.missed), (20_000, 0));
}

/// Whatever a socket takes of what there is, and however it comes, the rest follows, without
/// a keep-alive that would push it.
#[tokio::test]
async fn a_pause_at_any_place_loses_nothing() {
    let store = QueueStore::builder()
        .retention(Retention::new().events(1_000_000).bytes(1 << 30))
        .build();
    let events = EventSource::new(store.clone()).without_keep_alive();
    let server = events_by_axum(tight(), &events);
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(Listening::open_tight(&server).await);
    }
    eventually(SECOND, "all leave", || events.detached_streams() == 10).await;
    let mut count = 0;
    for round in 0..18u64 {
        // Blocks of 64 bytes to 16 KiB, whose ends are often those of a page.
        let length = 1 << (6 + round % 9);
        for _ in 0..(400_000 / length) {
            submit(&store, "y".repeat(length));
            count += 1;
        }
        for client in &mut clients {
            // Until there is nothing more for now.
            while tokio::time::timeout(Duration::from_millis(2), client.read(1 << 20))
                .await
                .is_ok()
            {}
        }
    }
    let last = submit(&store, "last").offset();
    assert_eq!(last, count + 1);
    for client in &mut clients {
        client.until("data: last").await;
    }
    store.close();
    for client in clients {
        let judged = client.read_to_end().await.without_farewell().judge();
        assert_eq!((judged.received, judged.missed), (last, 0));
    }
}
