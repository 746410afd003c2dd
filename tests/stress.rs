//! Many threads at once, again and again: nothing is lost, repeated or reordered, and
//! nobody is left behind with an old value.

mod support;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::time::timeout;
use tornadose::{
    DataStore, Delivery, EventBody, EventSource, Overflow, Permit, Position, QueueStore, Retention,
    Start, SubmitError, Submitted, Subscription,
};

use support::position::place;

const PRODUCERS: u64 = 4;
const EACH: u64 = 25_000;
const ALL: u64 = PRODUCERS * EACH;
const SUBSCRIBERS: usize = 50;

/// What nothing here should take.
const TOO_LONG: Duration = Duration::from_secs(120);

/// An event as its place and its data.
type Told = (Position, String);

/// Reads to the end; every event is the successor of the one before.
async fn read(mut subscription: Subscription, mut tell: impl FnMut(Told)) {
    let mut count = 0;
    while let Some(delivery) = subscription.recv().await {
        let Delivery::Event(entry) = delivery else {
            panic!("{delivery:?} after {count} events");
        };
        count += 1;
        assert_eq!(entry.id().offset(), count, "the successor");
        tell((entry.id(), entry.data().to_owned()));
    }
}

async fn read_all(subscription: Subscription) -> Vec<Told> {
    let mut all = Vec::new();
    read(subscription, |told| all.push(told)).await;
    all
}

/// All that a subscriber was told in one number, which is the same for two that were
/// told the same in the same order.
async fn read_digest(subscription: Subscription) -> u64 {
    let mut digest = DefaultHasher::new();
    read(subscription, |told| told.hash(&mut digest)).await;
    digest.finish()
}

async fn read_body(body: EventBody) -> String {
    let frames = body.map(|frame| frame.expect("a body never fails"));
    let bytes = frames.collect::<Vec<_>>().await.concat();
    String::from_utf8(bytes).expect("UTF-8")
}

/// Each producer's events, among those of the others, in its own order.
fn assert_own_order(told: &[Told]) {
    let mut next = [0; PRODUCERS as usize];
    for (_, data) in told {
        let (producer, n) = data.split_once(' ').expect("two numbers");
        let next = &mut next[producer.parse::<usize>().expect("a number")];
        assert_eq!(n, next.to_string());
        *next += 1;
    }
    assert_eq!(next, [EACH; PRODUCERS as usize]);
}

/// Four threads submit, fifty subscribers listen, then the store is closed.
async fn everybody_hears_the_same(store: QueueStore, settle: fn(Result<Submitted, SubmitError>)) {
    let begun = Instant::now();
    let source = EventSource::new(store.clone()).without_keep_alive();
    let bodies: Vec<_> = (0..5)
        .map(|_| tokio::spawn(read_body(source.grant(Permit::new(), None).into_body())))
        .collect();
    let first = tokio::spawn(read_all(store.subscribe(Start::Live)));
    let others: Vec<_> = (bodies.len() + 1..SUBSCRIBERS)
        .map(|_| store.subscribe(Start::Live))
        .map(|subscription| tokio::spawn(read_digest(subscription)))
        .collect();
    assert_eq!(store.subscribers(), SUBSCRIBERS);

    let producers: Vec<_> = (0..PRODUCERS)
        .map(|producer| {
            let store = store.clone();
            thread::spawn(move || {
                (0..EACH).for_each(|n| settle(store.submit(format!("{producer} {n}"))));
            })
        })
        .collect();
    tokio::task::spawn_blocking(|| {
        for producer in producers {
            producer.join().expect("every submit was taken");
        }
    })
    .await
    .expect("no panic");
    store.close();

    let told = first.await.expect("no panic");
    assert_eq!(told.len() as u64, ALL);
    assert_own_order(&told);
    let beginning = format!(":\n\nid: {}\n\n", place(told[0].0, 0));
    let blocks = told
        .iter()
        .map(|(id, data)| format!("id: {id}\ndata: {data}\n\n"));
    let stream: String = std::iter::once(beginning).chain(blocks).collect();
    for body in bodies {
        let body = body.await.expect("no panic");
        let farewell = body.strip_prefix(&stream).expect("the same as everybody");
        assert!(farewell.starts_with("retry: "), "{farewell}");
    }
    let mut digest = DefaultHasher::new();
    told.iter().for_each(|told| told.hash(&mut digest));
    for other in others {
        assert_eq!(other.await.expect("no panic"), digest.finish());
    }
    assert_eq!(store.subscribers(), 0);
    println!("{ALL} events to {SUBSCRIBERS} in {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_keeps_everything_loses_nothing() {
    let retention = Retention::new().events(ALL as usize).bytes(1 << 30);
    let store = QueueStore::builder().retention(retention).build();
    let all = everybody_hears_the_same(store, |submitted| {
        submitted.expect("taken");
    });
    timeout(TOO_LONG, all).await.expect("in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_queue_that_waits_loses_nothing() {
    let stall = Duration::from_secs(600);
    let store = QueueStore::builder()
        .retention(Retention::new().events(256))
        .overflow(Overflow::Wait { stall })
        .build();
    let all = everybody_hears_the_same(store, |submitted| {
        submitted.expect("never full").wait().expect("kept");
    });
    timeout(TOO_LONG, all).await.expect("in time");
}

#[test]
fn a_value_that_is_set_while_another_is_delivered_is_delivered() {
    const ROUNDS: u64 = 100_000;
    let begun = Instant::now();
    let store = DataStore::new();
    let seen = [AtomicU64::new(0), AtomicU64::new(0)];
    thread::scope(|scope| {
        for seen in &seen {
            let mut subscription = store.subscribe(Start::Live);
            scope.spawn(move || {
                tokio_test::block_on(async {
                    let mut last = 0;
                    while let Some(delivery) = subscription.recv().await {
                        let version = delivery.event().expect("no gap").id().offset();
                        assert!(version > last, "{version} after {last}");
                        last = version;
                        seen.store(version, Ordering::Release);
                    }
                    assert_eq!(last, 2 * ROUNDS);
                });
            });
        }
        for round in 1..=ROUNDS {
            store.submit("first").expect("taken");
            let last = store
                .submit("last")
                .expect("taken")
                .id()
                .expect("in memory")
                .offset();
            assert_eq!(last, 2 * round);
            for seen in &seen {
                while seen.load(Ordering::Acquire) != last {
                    assert!(begun.elapsed() < TOO_LONG, "a reader stays at an old value");
                    thread::yield_now();
                }
            }
        }
        store.close();
    });
    println!("{ROUNDS} rounds in {:?}", begun.elapsed());
}
