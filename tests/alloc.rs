//! What a submit allocates: the same however many wait for it.

use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use allocation_counter::measure;
use tornadose::{
    DataStore, Event, EventName, Hub, Pattern, Policy, QueueStore, Retention, Start, Store,
    Subscribe, Subscription, Topic,
};

struct Nobody;

impl Wake for Nobody {
    fn wake(self: Arc<Self>) {}
}

/// Reads until there is nothing more, and leaves `waker` behind.
fn park(subscription: &mut Subscription, waker: &Waker) {
    while subscription
        .poll_recv(&mut Context::from_waker(waker))
        .is_ready()
    {}
}

fn event() -> Event {
    Event::new("21.5").name(EventName::from_static("temperature"))
}

/// How often a submit allocates while so many wait for it, each time again.
fn allocations(store: &dyn Store, waiting: usize) -> u64 {
    let waker = Waker::from(Arc::new(Nobody));
    let mut subscriptions: Vec<_> = (0..waiting)
        .map(|_| store.subscribe(Start::Live.into()))
        .collect();
    let mut submit = || {
        subscriptions
            .iter_mut()
            .for_each(|subscription| park(subscription, &waker));
        let event = event();
        measure(|| {
            store.submit(event).expect("taken");
        })
        .count_total
    };
    // Lists grow until they fit; after that nothing does.
    (0..100).for_each(|_| {
        submit();
    });
    let first = submit();
    assert!((0..100).all(|_| submit() == first), "always the same");
    first
}

#[test]
fn the_number_of_allocations_of_a_submit_does_not_depend_on_who_waits() {
    let queue = || {
        QueueStore::builder()
            .retention(Retention::new().events(16))
            .build()
    };
    for (name, counts) in [
        (
            "QueueStore",
            [0, 1, 1000].map(|waiting| allocations(&queue(), waiting)),
        ),
        (
            "DataStore",
            [0, 1, 1000].map(|waiting| allocations(&DataStore::new(), waiting)),
        ),
    ] {
        let [none, one, thousand] = counts;
        println!("{name}: {one} allocations for each submit");
        assert_eq!((none, thousand), (one, one), "{name}");
        assert!(one <= 2, "{name}: {one}");
    }
}

const TOPICS: usize = 10_000;

fn topic(number: usize) -> Topic {
    format!("rooms/{number:05}").parse().expect("a topic")
}

/// What each of many takes that this makes, in bytes; of those that it makes for all it
/// counts a part.
fn bytes_of_each<T>(make: impl FnOnce() -> T) -> usize {
    let mut made = None;
    let taken = measure(|| made = Some(make()));
    taken.bytes_current as usize / TOPICS
}

/// An event is counted apart, as a store of one topic has it, and so is the name.
#[test]
fn a_topic_takes_little_beside_its_events() {
    let topics: Vec<_> = (0..TOPICS).map(topic).collect();
    let alone = bytes_of_each(|| {
        let store = QueueStore::builder()
            .retention(Retention::new().events(TOPICS))
            .build();
        for _ in 0..TOPICS {
            store.submit(event()).expect("taken");
        }
        store
    });
    for (name, policy) in [("latest", Policy::latest()), ("queue", Policy::default())] {
        let hub = Hub::builder().default_policy(policy).build();
        let taken = bytes_of_each(|| {
            for topic in &topics {
                let event = event().topic(topic.clone());
                hub.submit(event).expect("taken");
            }
        });
        println!("{name}: {taken} bytes for a topic of one event, which takes {alone} of them");
        assert!(taken <= 256 + alone, "{name}: {taken}, {alone}");
    }
}

#[test]
fn a_subscription_takes_little() {
    let topics: Vec<_> = (0..TOPICS).map(topic).collect();
    let pattern: Pattern = "rooms/+".parse().expect("a pattern");
    let hub = Hub::builder().default_policy(Policy::latest()).build();
    for topic in &topics {
        hub.submit(event().topic(topic.clone())).expect("taken");
    }
    let live = || Subscribe::from(Start::Live);
    let waker = Waker::from(Arc::new(Nobody));
    let by_name = bytes_of_each(|| {
        let all = topics.iter().map(|topic| {
            let mut subscription = hub.subscribe(live().topics(topic.clone()));
            park(&mut subscription, &waker);
            subscription
        });
        all.collect::<Vec<_>>()
    });
    let head = hub.latest().expect("there are events");
    let by_pattern = bytes_of_each(|| {
        let all = (0..TOPICS).map(|_| {
            let mut subscription = hub.subscribe(live().after(head).topics(pattern.clone()));
            park(&mut subscription, &waker);
            subscription
        });
        all.collect::<Vec<_>>()
    });
    println!("{by_name} bytes for the only subscription to a topic, {by_pattern} by a pattern");
    assert!(by_name <= 1024, "{by_name}");
    assert!(by_pattern <= 1024, "{by_pattern}");
}

#[test]
fn a_reader_that_keeps_up_allocates_nothing() {
    let store = QueueStore::builder()
        .retention(Retention::new().events(16))
        .build();
    let waker = Waker::from(Arc::new(Nobody));
    let mut subscription = store.subscribe(Start::Live);
    let mut read = || {
        park(&mut subscription, &waker);
        store.submit(event()).expect("taken");
        measure(|| park(&mut subscription, &waker)).count_total
    };
    (0..100).for_each(|_| {
        read();
    });
    assert!((0..100).all(|_| read() == 0));
}

#[test]
fn a_subscription_that_is_gone_leaves_nothing_behind() {
    let (queue, data) = (QueueStore::new(), DataStore::new());
    for store in [&queue as &dyn Store, &data] {
        let waker = Waker::from(Arc::new(Nobody));
        let come_and_go = || {
            for _ in 0..1000 {
                park(&mut store.subscribe(Start::Live.into()), &waker);
            }
        };
        come_and_go();
        let left = measure(come_and_go);
        assert_eq!((left.count_current, left.bytes_current), (0, 0));
    }
}
