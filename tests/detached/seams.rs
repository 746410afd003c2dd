//! Streams that leave while there is much to send: nothing shows where they did.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::task::JoinSet;
use tornadose::{Event, EventSource, Hub, Permit, Policy, QueueStore, Retention, Topics};

use crate::servers::{events_by_axum, listener};
use crate::transcript::Listening;
use crate::vocabulary::{SECOND, eventually, submit};

const CLIENTS: usize = 200;

/// Threads that publish again and again until they are told to stop.
fn publishers(threads: u64, publish: impl Fn(u64) + Clone + Send + 'static) -> impl FnOnce() {
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..threads)
        .map(|thread| {
            let (stop, publish) = (Arc::clone(&stop), publish.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    publish(thread);
                    thread::sleep(Duration::from_micros(100));
                }
            })
        })
        .collect();
    move || {
        stop.store(true, Ordering::Relaxed);
        threads
            .into_iter()
            .for_each(|thread| thread.join().expect("no panic"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_busy_log_see_no_seam() {
    let store = QueueStore::builder()
        .retention(Retention::new().events(1_000_000).bytes(1 << 30))
        .build();
    let events = EventSource::new(store.clone());
    let server = events_by_axum(listener(), &events);
    submit(&store, "first");
    let publishing = store.clone();
    let stop = publishers(2, move |thread| {
        submit(&publishing, format!("of {thread}"));
    });
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        // Every other one returns with the id of an event that is still there.
        let latest = store.latest().expect("there are events");
        let after = (n % 2 == 1).then(|| {
            let offset = 1 + fastrand::u64(0..latest.offset());
            let epoch = latest.to_string();
            let (epoch, _) = epoch.rsplit_once('-').expect("an id");
            format!("{epoch}-{offset}").parse().expect("an id")
        });
        let client = Listening::open(&server, after).await;
        clients.spawn(async move { (after, client.read_to_end().await.without_farewell()) });
    }
    eventually(20 * SECOND, "all leave", || {
        events.detached_streams() == CLIENTS
    })
    .await;
    stop();
    let last = submit(&store, "last").offset();
    store.close();
    for (after, told) in clients.join_all().await {
        let judged = told.judge();
        let from = judged.from.expect("a place");
        if let Some(after) = after {
            assert_eq!(from, after.offset());
        }
        assert_eq!((judged.to, judged.missed), (Some(last), 0));
        assert_eq!(judged.received, last - from);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_busy_hub_see_no_seam_in_any_topic() {
    const TOPICS: u64 = 4;
    let retention = Retention::new().events(1_000_000).bytes(1 << 30);
    let hub = Hub::builder()
        .default_policy(Policy::queue(retention))
        .build();
    let granted = || {
        let topics = Topics::new().topic("t/0".parse().expect("a topic"));
        let topics = topics.topic("t/1".parse().expect("a topic"));
        topics.pattern("t/2/#".parse().expect("a pattern"))
    };
    let events = EventSource::new(hub.clone()).permit(move |_| Ok(Permit::new().topics(granted())));
    let server = events_by_axum(listener(), &events);
    let counts = Arc::new(std::sync::Mutex::new([0u64; TOPICS as usize]));
    let (publishing, counting) = (hub.clone(), Arc::clone(&counts));
    let stop = publishers(2, move |_| {
        // Under the lock, so that the numbers are in the order of the hub.
        let mut counts = counting.lock().expect("no panic");
        let topic = fastrand::usize(..counts.len());
        counts[topic] += 1;
        let event = Event::new(format!("{topic} {}", counts[topic]));
        let name = match topic {
            2 => "t/2/x".to_owned(),
            _ => format!("t/{topic}"),
        };
        let submitted = publishing.submit(event.topic(name.parse().expect("a topic")));
        drop(submitted.expect("small"));
    });
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS / 2 {
        let after = (n % 2 == 1).then(|| hub.latest()).flatten();
        let client = Listening::open(&server, after).await;
        clients.spawn(async move { client.read_to_end().await.without_farewell() });
    }
    eventually(20 * SECOND, "all leave", || {
        events.detached_streams() == CLIENTS / 2
    })
    .await;
    stop();
    for topic in ["t/0", "t/1", "t/2/x"] {
        let last = Event::new("last").topic(topic.parse().expect("a topic"));
        drop(hub.submit(last).expect("small"));
    }
    hub.close();
    let counts = *counts.lock().expect("no panic");
    for told in clients.join_all().await {
        let mut next = [None; TOPICS as usize];
        let mut lasts = 0;
        for block in told.blocks.iter().filter(|block| block.contains("data: ")) {
            let data = crate::vocabulary::data(block);
            let Some((topic, n)) = data.split_once(' ') else {
                lasts += 1;
                continue;
            };
            let topic: usize = topic.parse().expect("a number");
            let n: u64 = n.parse().expect("a number");
            assert_ne!(topic, 3, "nobody has asked for it");
            assert!(next[topic].is_none_or(|next| next == n), "{data}: a seam");
            next[topic] = Some(n + 1);
        }
        assert_eq!(lasts, 3);
        for topic in 0..3 {
            assert!(next[topic].is_none_or(|next| next == counts[topic] + 1));
        }
    }
}

/// Bursts that the retention cannot hold: whoever falls out is told how many it missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bursts_are_received_or_told_as_missed() {
    const THREADS: u64 = 4;
    const EACH: u64 = 2500;
    for retained in [100, 1_000_000] {
        let store = QueueStore::builder()
            .retention(Retention::new().events(retained))
            .build();
        let events = EventSource::new(store.clone()).without_keep_alive();
        let server = events_by_axum(listener(), &events);
        let mut clients = JoinSet::new();
        for _ in 0..300 {
            let client = Listening::open(&server, None).await;
            clients.spawn(async move { client.read_to_end().await.without_farewell() });
        }
        eventually(20 * SECOND, "all leave", || {
            events.detached_streams() == 300
        })
        .await;
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let store = store.clone();
                thread::spawn(move || {
                    for n in 0..EACH {
                        submit(&store, format!("{thread} {n}"));
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
        store.close();
        for told in clients.join_all().await {
            let judged = told.judge();
            assert_eq!(judged.from, Some(0));
            assert_eq!(judged.received + judged.missed, THREADS * EACH);
            assert_eq!(judged.to, Some(THREADS * EACH));
            if retained > 10_000 {
                assert_eq!(judged.missed, 0);
            }
        }
        assert_eq!(store.subscribers(), 0);
    }
}
