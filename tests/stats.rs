//! The figures of a store: what they are, and the laws that hold between them.

mod support;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio_test::task;
use tornadose::{
    Control, DataStore, Delivery, Event, Hub, LastEventId, Overflow, Pattern, Permit, Policy,
    QueueStore, Retention, Start, Stats, Subscribe, Subscription, Topic, Topics,
};

use support::reader::{Reader, heard, reader};

fn queue(events: usize) -> QueueStore {
    QueueStore::builder()
        .retention(Retention::new().events(events))
        .build()
}

fn topic(name: &str) -> Topic {
    name.parse().expect("a topic")
}

fn pattern(text: &str) -> Pattern {
    text.parse().expect("a pattern")
}

fn tell(hub: &Hub, name: &str, data: &str) {
    hub.submit(Event::new(data).topic(topic(name)))
        .expect("taken");
}

/// Reads so many, or all that there are.
fn read(reader: &mut Reader, most: usize) -> usize {
    (0..most)
        .take_while(|_| reader.poll_next().is_ready())
        .count()
}

/// What the buckets hold that hold anything.
fn lags(stats: &Stats) -> Vec<(Option<u64>, u64)> {
    let buckets = stats.lag.buckets();
    buckets.filter(|(_, count)| *count > 0).collect()
}

fn stragglers(stats: &Stats) -> Vec<(Option<&str>, u64)> {
    let slowest = stats.slowest.iter();
    slowest
        .map(|slow| (slow.name.as_deref(), slow.behind))
        .collect()
}

/// Of a store in which every subscription, also those that are gone, began with the first
/// event and `left` is what those who are gone had not read.
fn assert_laws(stats: &Stats, subscriptions: u64, left: u64) {
    assert_eq!(
        stats.submitted,
        stats.retained as u64 + stats.evicted + stats.replaced,
        "{stats:?}"
    );
    let skipped = stats.skipped.expect("known of a store of one topic");
    assert_eq!(
        stats.delivered + skipped + stats.missed + stats.lag.sum() + left,
        stats.submitted * subscriptions,
        "{stats:?}"
    );
    assert_eq!(stats.lag.count(), stats.subscribers as u64);
}

#[test]
fn a_store_that_nobody_has_used_has_nothing_to_tell() {
    for stats in [
        QueueStore::new().stats(),
        DataStore::new().stats(),
        Hub::new().stats(),
    ] {
        assert_eq!(
            (stats.submitted, stats.retained, stats.retained_bytes),
            (0, 0, 0)
        );
        assert_eq!((stats.evicted, stats.replaced, stats.delivered), (0, 0, 0));
        assert_eq!((stats.gaps, stats.missed, stats.subscribers), (0, 0, 0));
        assert_eq!((stats.store, stats.topic.clone()), (None, None));
        assert_eq!((lags(&stats), stragglers(&stats)), (vec![], vec![]));
        assert_eq!((stats.lag.sum(), stats.lag.max()), (0, 0));
    }
    assert_eq!(
        DataStore::builder().name("a").build().stats().store,
        Some("a")
    );
    assert_eq!(
        QueueStore::builder().name("b").build().stats().store,
        Some("b")
    );
    assert_eq!(Hub::builder().name("c").build().stats().store, Some("c"));
}

#[test]
fn a_queue_tells_who_is_behind_and_by_how_much() {
    let store = queue(8);
    let named = |name: &str| reader(store.subscribe(Subscribe::from(Start::Live).name(name)));
    let (mut quick, mut slow, mut lost) = (named("quick"), named("slow"), named("lost"));
    let nobody = reader(store.subscribe(Start::Live));
    for event in 0..10 {
        store.submit(event.to_string()).expect("taken");
        read(&mut quick, usize::MAX);
    }
    // What was evicted is told first, and is no event.
    assert_eq!(read(&mut slow, 4), 4);
    let stats = store.stats();
    assert_eq!((stats.submitted, stats.retained, stats.evicted), (10, 8, 2));
    assert_eq!(stats.retained_bytes, 8 * (stats.retained_bytes / 8));
    assert_eq!((stats.delivered, stats.gaps, stats.missed), (10 + 3, 1, 2));
    assert_eq!(lags(&stats), [(Some(0), 1), (Some(8), 1), (Some(16), 2)]);
    assert_eq!(
        stragglers(&stats),
        [(Some("lost"), 10), (None, 10), (Some("slow"), 5)]
    );
    assert_eq!((stats.lag.sum(), stats.lag.max()), (25, 10));
    assert_laws(&stats, 4, 0);

    drop(nobody);
    assert_eq!(heard(&mut lost)[0], "gap slow 2");
    drop(lost);
    let stats = store.stats();
    assert_eq!((stats.subscribers, stats.gaps, stats.missed), (2, 2, 4));
    assert_laws(&stats, 4, 10);
    store.close();
    assert_eq!(heard(&mut slow).len(), 6);
    assert_laws(&store.stats(), 4, 10);
    assert_eq!(stragglers(&store.stats()), []);
}

#[test]
fn joined_events_are_counted_one_by_one() {
    let store = queue(1000);
    let source = tornadose::EventSource::new(store.clone()).without_keep_alive();
    let mut body = task::spawn(source.grant(Permit::new(), None).into_body());
    let events = |body: &mut task::Spawn<tornadose::EventBody>| {
        let mut events = 0;
        while let std::task::Poll::Ready(Some(Ok(bytes))) = body.poll_next() {
            events += memchr::memmem::find_iter(&bytes, b"data: ").count() as u64;
        }
        events
    };
    assert_eq!(events(&mut body), 0);
    // More than a page.
    for _ in 0..500 {
        store.submit("x".repeat(100)).expect("taken");
    }
    assert_eq!(store.stats().lag.sum(), 500);
    assert_eq!(events(&mut body), 500);
    assert_eq!((store.stats().delivered, store.stats().lag.sum()), (500, 0));
}

#[test]
fn a_gap_at_the_beginning_is_counted_when_it_is_told() {
    let store = queue(2);
    let first = store.submit("0").expect("taken").id().expect("in memory");
    for event in 1..5 {
        store.submit(event.to_string()).expect("taken");
    }
    let mut back = reader(store.subscribe(Subscribe::from(Start::Live).after(first)));
    let mut strange =
        reader(store.subscribe(Subscribe::from(Start::Live).after(LastEventId::parse(b"?"))));
    let never = store.subscribe(Subscribe::from(Start::Live).after(first));
    assert_eq!((store.stats().gaps, store.stats().missed), (0, 0));
    assert_eq!(heard(&mut back), ["gap evicted 2", "3", "4"]);
    assert_eq!(heard(&mut strange), ["gap malformed ?"]);
    drop(never);
    let stats = store.stats();
    assert_eq!((stats.gaps, stats.missed, stats.uncounted), (2, 2, 1));
    assert_eq!((stats.delivered, stats.subscribers), (2, 2));
}

#[test]
fn who_is_sent_away_is_counted_once() {
    let store = QueueStore::builder()
        .retention(Retention::new().events(1))
        .overflow(Overflow::Disconnect)
        .build();
    let mut slow = reader(store.subscribe(Start::Live));
    for event in ["1", "2"] {
        store.submit(event).expect("taken");
    }
    assert_eq!(heard(&mut slow), ["end Slow"]);
    assert_eq!(heard(&mut slow), ["end Slow"]);
    let stats = store.stats();
    assert_eq!((stats.disconnected, stats.gaps, stats.missed), (1, 0, 0));
    assert_laws(&stats, 1, 0);
}

#[test]
fn a_store_that_waits_counts_as_others_do() {
    let store = QueueStore::builder()
        .retention(Retention::new().events(2))
        .overflow(Overflow::Wait {
            stall: Duration::from_secs(60),
        })
        .build();
    let mut slow = reader(store.subscribe(Start::Live));
    for event in ["1", "2", "3"] {
        store.submit(event).expect("taken");
    }
    let stats = store.stats();
    assert_eq!((stats.retained, stats.evicted, stats.lag.sum()), (3, 0, 3));
    assert_laws(&stats, 1, 0);
    assert_eq!(heard(&mut slow), ["1", "2", "3"]);
    let stats = store.stats();
    assert_eq!((stats.retained, stats.evicted, stats.delivered), (2, 1, 3));
    assert_laws(&stats, 1, 0);
}

#[test]
fn a_latest_value_is_replaced_and_skipped() {
    let store = DataStore::new();
    let (mut quick, mut slow) = (
        reader(store.subscribe(Start::Live)),
        reader(store.subscribe(Start::Live)),
    );
    for event in 0..5 {
        store.submit(event.to_string()).expect("taken");
        assert_eq!(heard(&mut quick), [event.to_string()]);
    }
    let stats = store.stats();
    assert_eq!((stats.submitted, stats.replaced, stats.evicted), (5, 4, 0));
    assert_eq!((stats.delivered, stats.skipped), (5, Some(0)));
    assert_laws(&stats, 2, 0);
    assert_eq!(heard(&mut slow), ["4"]);
    let stats = store.stats();
    assert_eq!((stats.delivered, stats.skipped), (6, Some(4)));
    assert_eq!((stats.gaps, stats.missed), (0, 0));
    assert_laws(&stats, 2, 0);
    drop((quick, slow));
    assert_laws(&store.stats(), 2, 0);
}

#[test]
fn what_is_no_news_is_not_counted() {
    let store = DataStore::builder().only_changes(true).build();
    for event in ["a", "a", "b"] {
        store.submit(event).expect("taken");
    }
    assert_eq!(store.stats().submitted, 2);
}

#[test]
fn a_subscription_that_conflates_skips() {
    let store = queue(3);
    let conflating = || reader(store.subscribe(Subscribe::from(Start::Live).conflate()));
    let (mut one, mut other) = (conflating(), conflating());
    for event in ["1", "2"] {
        store.submit(event).expect("taken");
    }
    assert_eq!(heard(&mut one), ["2"]);
    for event in ["3", "4", "5"] {
        store.submit(event).expect("taken");
    }
    // It has been overtaken by the retention, and is not told.
    assert_eq!(heard(&mut other), ["5"]);
    let stats = store.stats();
    assert_eq!(
        (stats.delivered, stats.skipped, stats.gaps),
        (2, Some(1 + 4), 0)
    );
    assert_eq!(stats.lag.sum(), 3);
    assert_laws(&stats, 2, 0);
}

/// Whatever else goes on, no snapshot shows a figure that does not fit the others.
#[test]
fn every_snapshot_fits_together() {
    const READERS: u64 = 3;
    let store = queue(16);
    let subscriptions: Vec<_> = (0..READERS).map(|_| store.subscribe(Start::Live)).collect();
    thread::scope(|scope| {
        let submits = scope.spawn(|| {
            for event in 0..3000 {
                store.submit(event.to_string()).expect("taken");
            }
        });
        let reads = subscriptions.into_iter().map(|mut subscription| {
            scope.spawn(move || {
                while tokio_test::block_on(subscription.recv()).is_some() {}
                subscription
            })
        });
        let reads: Vec<_> = reads.collect();
        while !submits.is_finished() {
            assert_laws(&store.stats(), READERS, 0);
        }
        store.close();
        let read: Vec<_> = reads
            .into_iter()
            .map(|read| read.join().expect("no panic"))
            .collect();
        let stats = store.stats();
        assert_eq!(stats.lag.sum(), 0);
        assert_laws(&stats, READERS, 0);
        drop(read);
        assert_laws(&store.stats(), READERS, 0);
    });
}

#[test]
fn who_comes_and_goes_is_counted_and_leaves_nothing_else() {
    let store = queue(4);
    let mut left = 0;
    for round in 0..100 {
        let mut all: Vec<_> = (0..5)
            .map(|_| reader(store.subscribe(Start::Oldest)))
            .collect();
        let held = store.stats().retained;
        store.submit(round.to_string()).expect("taken");
        left += read(&mut all[round % 5], usize::MAX) as u64;
        assert_eq!(store.stats().subscribers, 5);
        assert!(left >= held as u64);
    }
    let stats = store.stats();
    assert_eq!((stats.subscribers, stats.lag.count()), (0, 0));
    // Of each round one has read all that it was told of; a gap where that was too much.
    assert_eq!(stats.delivered + stats.gaps, left);
}

// Many topics

fn by_name(hub: &Hub, names: &[&str], start: Start) -> Reader {
    let topics: Topics = names.iter().map(|name| topic(name)).collect();
    reader(hub.subscribe(Subscribe::from(start).topics(topics)))
}

fn by_pattern(hub: &Hub, text: &str, start: Start) -> Reader {
    reader(hub.subscribe(Subscribe::from(start).topics(pattern(text))))
}

fn of(hub: &Hub, name: &str) -> Stats {
    hub.stats_of(&topic(name)).expect("there is such a topic")
}

#[test]
fn a_topic_has_figures_of_its_own() {
    let hub = Hub::builder()
        .default_policy(Policy::queue(Retention::new().events(3)))
        .build();
    let mut both = by_name(&hub, &["a", "b"], Start::Live);
    let mut slow = by_name(&hub, &["a"], Start::Live);
    for event in 0..5 {
        tell(&hub, "a", &event.to_string());
    }
    tell(&hub, "b", "b");
    let (a, b) = (of(&hub, "a"), of(&hub, "b"));
    assert_eq!(
        (a.submitted, a.retained, a.evicted, a.replaced),
        (5, 3, 2, 0)
    );
    assert_eq!((a.subscribers, a.lag.sum(), a.lag.max()), (2, 6, 3));
    assert_eq!(
        (b.submitted, b.retained, b.subscribers, b.lag.sum()),
        (1, 1, 1, 1)
    );
    assert_eq!(a.topic.as_ref().map(Topic::as_str), Some("a"));

    assert_eq!(heard(&mut both), ["gap slow 2", "2", "3", "4", "b"]);
    assert_eq!(heard(&mut slow), ["gap slow 2", "2", "3", "4"]);
    let (a, b, all) = (of(&hub, "a"), of(&hub, "b"), hub.stats());
    assert_eq!((a.delivered, a.gaps, a.missed, a.lag.sum()), (6, 2, 4, 0));
    assert_eq!((b.delivered, b.gaps, b.missed, b.lag.sum()), (1, 0, 0, 0));
    assert_eq!((all.submitted, all.retained, all.evicted), (6, 4, 2));
    assert_eq!((all.delivered, all.gaps, all.missed), (7, 2, 4));
    assert_eq!((all.lag.sum(), all.subscribers, all.skipped), (0, 2, None));
    assert!(hub.stats_of(&topic("c")).is_none());
}

/// By name and by a pattern, from the beginning: what each of them was given, was told that
/// it missed and has still before it is what was submitted.
#[test]
fn what_is_submitted_to_topics_is_delivered_missed_or_ahead() {
    // One of them waits, and is over its bound in the end, but never full.
    let waits = Policy::queue(Retention::new().events(10)).overflow(Overflow::Wait {
        stall: Duration::from_secs(60),
    });
    let hub = Hub::builder().policy(pattern("x/2"), waits).build();
    let names = ["x/1", "x/2", "x/3"];
    let mut readers = [
        by_name(&hub, &names, Start::Oldest),
        by_name(&hub, &names, Start::Oldest),
        by_pattern(&hub, "x/+", Start::Oldest),
        by_pattern(&hub, "#", Start::Oldest),
    ];
    for round in 0..60 {
        tell(&hub, names[round % 3], "x");
        tell(&hub, "x/1", "y");
        let at = round % 4;
        read(&mut readers[at], round % 7);
        let all = hub.stats();
        assert_eq!(
            all.delivered + all.missed + all.lag.sum(),
            all.submitted * 4
        );
        let mut sum = (0, 0, 0);
        for name in names.into_iter().take(round + 1) {
            let stats = of(&hub, name);
            assert_eq!(
                stats.delivered + stats.missed + stats.lag.sum(),
                stats.submitted * 4,
                "{name}"
            );
            sum.0 += stats.submitted;
            sum.1 += stats.delivered;
            sum.2 += stats.lag.sum();
        }
        assert_eq!(sum, (all.submitted, all.delivered, all.lag.sum()));
    }
}

#[test]
fn a_topic_that_waits_counts_as_others_do() {
    let (minute, nothing) = (Duration::from_secs(60), Duration::ZERO);
    for (stall, submitted, heard_of) in [
        (minute, 3, &["1", "2", "3"][..]),
        // The fourth goes on without who holds it up.
        (nothing, 4, &["gap slow 2", "3", "4"][..]),
    ] {
        let queue = Policy::queue(Retention::new().events(2));
        let hub = Hub::builder().default_policy(queue.overflow(Overflow::Wait { stall }));
        let hub = hub.build();
        let mut slow = by_name(&hub, &["a"], Start::Live);
        for n in 1..=submitted {
            tell(&hub, "a", &n.to_string());
        }
        let left = submitted - 2;
        let (retained, gone) = if stall.is_zero() { (2, left) } else { (3, 0) };
        for stats in [hub.stats(), of(&hub, "a")] {
            assert_eq!((stats.retained, stats.evicted), (retained, gone));
            assert_eq!((stats.lag.sum(), stats.delivered), (retained as u64, 0));
        }
        let told = heard(&mut slow);
        assert_eq!(told, heard_of);
        for stats in [hub.stats(), of(&hub, "a")] {
            assert_eq!((stats.retained, stats.evicted), (2, left));
            assert_eq!((stats.gaps, stats.missed), (gone / 2, gone));
            assert_eq!((stats.lag.sum(), stats.delivered), (0, submitted - gone));
        }
    }
}

/// The newest of a pattern are kept together, older ones are looked for in the topics: both
/// are ahead of a newcomer that begins with the oldest.
#[test]
fn a_newcomer_by_a_pattern_has_before_it_what_is_held() {
    let hub = Hub::builder()
        .policy(pattern("v/#"), Policy::latest())
        .build();
    for event in 0..10 {
        tell(&hub, ["v/1", "v/2", "q/1", "q/2"][event % 4], "x");
    }
    for (start, ahead) in [(Start::Oldest, 4 + 2), (Start::Live, 2)] {
        let mut newcomer = by_pattern(&hub, "#", start);
        assert_eq!(hub.stats().lag.sum(), ahead, "{start:?}");
        assert_eq!(
            of(&hub, "q/1").lag.sum() + of(&hub, "q/2").lag.sum(),
            ahead - 2
        );
        assert_eq!(of(&hub, "v/1").lag.sum() + of(&hub, "v/2").lag.sum(), 2);
        assert_eq!(read(&mut newcomer, usize::MAX) as u64, ahead);
        assert_eq!(hub.stats().lag.sum(), 0);
        tell(&hub, "new", "x");
        assert_eq!(hub.stats().lag.sum(), 1);
        assert_eq!(read(&mut newcomer, usize::MAX), 1);
    }
}

#[test]
fn a_quiet_reader_is_not_behind_because_others_are_told_things() {
    let hub = Hub::new();
    let mut quiet = by_name(&hub, &["quiet"], Start::Live);
    let mut pattern = by_pattern(&hub, "quiet/+", Start::Live);
    assert_eq!((read(&mut quiet, 1), read(&mut pattern, 1)), (0, 0));
    for _ in 0..10 {
        tell(&hub, "loud", "x");
    }
    let stats = hub.stats();
    assert_eq!((stats.lag.sum(), stats.subscribers), (0, 2));
    assert_eq!(stragglers(&stats), []);
    assert_eq!(of(&hub, "loud").subscribers, 0);
}

#[test]
fn who_reads_a_topic_in_two_ways_is_one_reader_of_it() {
    let hub = Hub::new();
    let topics = Topics::new().topic(topic("a/b")).pattern(pattern("a/+"));
    let subscribe = Subscribe::from(Start::Live).topics(topics).name("ann");
    let mut twice = reader(hub.subscribe(subscribe));
    tell(&hub, "a/b", "1");
    let stats = of(&hub, "a/b");
    assert_eq!((stats.subscribers, stats.lag.sum()), (1, 1));
    assert_eq!(stragglers(&stats), [(Some("ann"), 1)]);
    assert_eq!(heard(&mut twice), ["1"]);
    assert_eq!((of(&hub, "a/b").delivered, hub.stats().delivered), (1, 1));
}

fn controlled(hub: &Hub, control: &Control, topics: impl Into<Topics>) -> Reader {
    let subscribe = Subscribe::from(Start::Live).topics(topics).control(control);
    reader(hub.subscribe(subscribe))
}

#[test]
fn topics_that_are_added_and_removed_are_counted() {
    let hub = Hub::builder()
        .policy(pattern("price/#"), Policy::latest())
        .build();
    let control = Control::new();
    let mut live = controlled(&hub, &control, topic("a"));
    for (name, data) in [("a", "a1"), ("b", "b1"), ("c/1", "c1"), ("price/x", "p1")] {
        tell(&hub, name, data);
    }
    control.add(topic("b"));
    control.add(topic("price/x"));
    control.add(pattern("c/+"));
    // Not noticed yet.
    assert_eq!((hub.stats().lag.sum(), of(&hub, "b").subscribers), (1, 0));
    assert_eq!(read(&mut live, 1), 1);
    // Noticed, and what was there before is not ahead of it: neither of the queue, nor by
    // the pattern.
    for name in ["a", "b", "c/1", "price/x"] {
        assert_eq!(of(&hub, name).subscribers, 1, "{name}");
    }
    assert_eq!((of(&hub, "b").lag.sum(), of(&hub, "c/1").lag.sum()), (0, 0));
    let rest = heard(&mut live);
    assert!(rest.len() == 1 && hub.stats().delivered == 2, "{rest:?}");
    assert_eq!(
        (of(&hub, "a").delivered, of(&hub, "price/x").delivered),
        (1, 1)
    );

    for (name, data) in [("b", "b2"), ("c/1", "c2"), ("c/2", "c3"), ("price/x", "p2")] {
        tell(&hub, name, data);
    }
    assert_eq!((hub.stats().lag.sum(), of(&hub, "c/2").lag.sum()), (4, 1));
    control.remove(topic("a"));
    control.remove(pattern("c/+"));
    assert_eq!(heard(&mut live), ["b2", "p2"]);
    assert_eq!((hub.stats().lag.sum(), hub.stats().delivered), (0, 4));
    assert_eq!(
        (of(&hub, "c/1").subscribers, of(&hub, "a").subscribers),
        (0, 0)
    );
    assert_eq!((of(&hub, "c/1").delivered, of(&hub, "b").delivered), (0, 1));
    tell(&hub, "a", "a2");
    assert_eq!(hub.stats().lag.sum(), 0);
}

#[test]
fn the_busiest_topics_are_told_and_no_more_than_asked_for() {
    let hub = Hub::builder().name("h").build();
    let mut reads = by_pattern(&hub, "t/+", Start::Live);
    for number in 0..20 {
        for _ in 0..number {
            tell(&hub, &format!("t/{number:02}"), "x");
        }
    }
    let told = |most: usize| {
        let stats = hub.topic_stats(most).into_iter();
        let told = stats.map(|stats| {
            let topic = stats.topic.expect("of a topic");
            assert_eq!((stats.store, stats.subscribers), (Some("h"), 1));
            assert_eq!(stats.delivered + stats.lag.sum(), stats.submitted);
            (topic.to_string(), stats.submitted)
        });
        told.collect::<Vec<_>>()
    };
    assert_eq!(told(0), []);
    assert_eq!(told(2), [("t/19".into(), 19), ("t/18".into(), 18)]);
    assert_eq!(told(1000).len(), 19);
    read(&mut reads, 7);
    assert_eq!(told(19).len(), 19);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_forgotten_stays_in_the_sum() {
    let age = Duration::from_secs(10);
    let hub = Hub::builder()
        .policy(pattern("v/#"), Policy::latest().age(age))
        .default_policy(Policy::default().age(age))
        .build();
    let mut v = by_name(&hub, &["v/1"], Start::Live);
    for (name, data) in [("v/1", "1"), ("v/1", "2"), ("q", "3"), ("q", "4")] {
        tell(&hub, name, data);
    }
    assert_eq!(heard(&mut v), ["2"]);
    drop(v);
    tokio::time::advance(age).await;
    for _ in 0..4 {
        tell(&hub, "other", "x");
    }
    assert_eq!(hub.topics(), 1);
    assert!(hub.stats_of(&topic("q")).is_none());
    let stats = hub.stats();
    assert_eq!((stats.submitted, stats.retained), (8, 4));
    // Of the latest value what fell to its age is counted with what was replaced.
    assert_eq!((stats.evicted, stats.replaced), (2, 2));
    assert_eq!((stats.delivered, stats.subscribers), (1, 0));
    tell(&hub, "q", "5");
    assert_eq!((of(&hub, "q").submitted, of(&hub, "q").evicted), (1, 0));
}

#[test]
fn a_gap_of_several_topics_is_one_for_the_hub_and_one_for_each() {
    let hub = Hub::builder()
        .default_policy(Policy::queue(Retention::new().events(1)))
        .build();
    let mut slow = by_name(&hub, &["a", "b"], Start::Live);
    for name in ["a", "b", "a", "b"] {
        tell(&hub, name, name);
    }
    assert_eq!(heard(&mut slow), ["gap slow 2", "a", "b"]);
    let (a, b, all) = (of(&hub, "a"), of(&hub, "b"), hub.stats());
    assert_eq!((a.gaps, a.missed, b.gaps, b.missed), (1, 1, 1, 1));
    assert_eq!((all.gaps, all.missed, all.delivered), (1, 2, 2));
}

/// As a queue does, with many threads at it.
#[test]
fn every_snapshot_of_a_hub_fits_together() {
    const READERS: u64 = 3;
    let hub = Hub::builder()
        .default_policy(Policy::queue(Retention::new().events(100_000)))
        .build();
    let hub = Arc::new(hub);
    tell(&hub, "a", "0");
    let subscriptions: Vec<Subscription> = (0..READERS)
        .map(|_| hub.subscribe(Subscribe::from(Start::Oldest).topics(topic("a"))))
        .collect();
    thread::scope(|scope| {
        let submits = scope.spawn(|| {
            for event in 1..2000 {
                tell(&hub, "a", &event.to_string());
            }
        });
        let reads = subscriptions.into_iter().map(|mut subscription| {
            scope.spawn(move || {
                let mut events = 0;
                while let Some(Delivery::Event(_)) = tokio_test::block_on(subscription.recv()) {
                    events += 1;
                }
                (events, subscription)
            })
        });
        let reads: Vec<_> = reads.collect();
        while !submits.is_finished() {
            for stats in [hub.stats(), of(&hub, "a")] {
                assert_eq!(
                    stats.delivered + stats.lag.sum(),
                    stats.submitted * READERS,
                    "{stats:?}"
                );
            }
        }
        hub.close();
        for read in reads {
            assert_eq!(read.join().expect("no panic").0, 2000);
        }
        assert_eq!(hub.stats().delivered, 2000 * READERS);
    });
}
