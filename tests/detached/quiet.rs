//! Signs of life, which a feed gives for all of its streams.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use tornadose::{Event, EventSource, Hub, Permit, QueueStore, Topics};

use crate::servers::{events_by_axum, listener};
use crate::transcript::Listening;
use crate::vocabulary::{SECOND, eventually, submit};

const INTERVAL: Duration = Duration::from_millis(100);

/// How many comments there may be in this time, the first of a stream included.
fn most(elapsed: Duration) -> usize {
    2 + elapsed.div_duration_f64(INTERVAL) as usize
}

#[tokio::test]
async fn quiet_streams_get_comments_and_those_who_join_later_too() {
    let store = QueueStore::new();
    let events = EventSource::new(store.clone()).keep_alive(INTERVAL);
    let server = events_by_axum(listener(), &events);
    let mut clients = Vec::new();
    for _ in 0..6 {
        let begun = Instant::now();
        clients.push((begun, Listening::open(&server, None).await));
        // In the midst of an interval.
        sleep(INTERVAL.mul_f64(0.7)).await;
    }
    assert_eq!(events.detached_streams(), 6);
    for (begun, client) in &mut clients {
        while begun.elapsed() < 10 * INTERVAL {
            let read = tokio::time::timeout(20 * INTERVAL, client.read(4096)).await;
            assert!(read.expect("a sign of life").expect("no reset") > 0);
        }
    }
    let ended = Instant::now();
    store.close();
    for (begun, client) in clients {
        let told = client.read_to_end().await.without_farewell();
        let most = most(ended - begun);
        assert!(
            (4..=most).contains(&told.comments),
            "{} of {most}",
            told.comments
        );
    }
}

#[tokio::test]
async fn streams_that_are_not_quiet_get_none() {
    let store = QueueStore::new();
    let events = EventSource::new(store.clone()).keep_alive(10 * INTERVAL);
    let server = events_by_axum(listener(), &events);
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Listening::open(&server, None).await);
    }
    eventually(SECOND, "all leave", || events.detached_streams() == 20).await;
    let begun = Instant::now();
    let (mut longest, mut before) = (Duration::ZERO, begun);
    while begun.elapsed() < 15 * INTERVAL {
        submit(&store, "x");
        sleep(Duration::from_millis(2)).await;
        longest = longest.max(before.elapsed());
        before = Instant::now();
    }
    store.close();
    for client in clients {
        let told = client.read_to_end().await.without_farewell();
        // The first one, unless this machine slept.
        assert!(
            told.comments == 1 || longest >= INTERVAL,
            "{}",
            told.comments
        );
    }
}

#[tokio::test]
async fn streams_of_a_hub_get_signs_of_life_that_move_their_id() {
    let hub = Hub::new();
    let topic = || Topics::new().topic("a".parse().expect("a topic"));
    let events = EventSource::new(hub.clone())
        .keep_alive(INTERVAL)
        .permit(move |_| Ok(Permit::new().topics(topic())));
    let server = events_by_axum(listener(), &events);
    let mut client = Listening::open(&server, None).await;
    eventually(SECOND, "it leaves", || events.detached_streams() == 1).await;
    // Not for it, but it is further by them.
    let event = Event::new("no").topic("b".parse().expect("a topic"));
    let id = hub.submit(event).expect("small").id().expect("in memory");
    client.until(&format!("id: {id}\n\n")).await;
}

/// Streams with other terms have another feed, and nobody gets the comments of others.
#[tokio::test]
async fn a_store_with_two_handlers_keeps_their_intervals_apart() {
    let store = QueueStore::new();
    let often = EventSource::new(store.clone()).keep_alive(INTERVAL / 4);
    let never = EventSource::new(store.clone()).without_keep_alive();
    let (first, second) = (
        events_by_axum(listener(), &often),
        events_by_axum(listener(), &never),
    );
    let mut told = Listening::open(&first, None).await;
    let silent = Listening::open(&second, None).await;
    eventually(SECOND, "both leave", || {
        (often.detached_streams(), never.detached_streams()) == (1, 1)
    })
    .await;
    told.until(":\n\n\r\n3\r\n:\n\n\r\n3\r\n:\n\n").await;
    submit(&store, "x");
    store.close();
    let silent = silent.read_to_end().await.without_farewell();
    assert_eq!((silent.comments, silent.events()), (1, vec!["x"]));
    assert_eq!(told.read_to_end().await.without_farewell().events(), ["x"]);
}
