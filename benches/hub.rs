//! A hub of many topics: what a submit costs beside how many others, what waking one of
//! many costs, and what coming back to several topics at once costs. None of it may
//! depend on what there is besides.
//!
//! `cargo bench --bench hub`

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tornadose::{
    Event, Hub, Pattern, Policy, Position, Retention, Start, Subscribe, Subscription, Topic, Topics,
};

const EVENT: &str = "an event of a hundred bytes, which is what the fan-out figures of this crate are measured with......";

fn names(topics: usize) -> Vec<Topic> {
    let names = (0..topics).map(|n| format!("rooms/{n}").parse());
    names.collect::<Result<_, _>>().expect("topics")
}

fn submit(hub: &Hub, topic: &Topic) -> Position {
    let event = Event::new(black_box(EVENT)).topic(topic.clone());
    hub.submit(event).expect("taken").id().expect("in memory")
}

/// A hub in which each of these topics has an event.
fn hub(policy: Policy, topics: &[Topic]) -> Hub {
    let hub = Hub::builder().default_policy(policy).build();
    topics.iter().for_each(|topic| {
        submit(&hub, topic);
    });
    hub
}

/// Submitting to one of so many topics, any of them.
fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("hub/submit");
    for topics in [1, 1_000, 1_000_000] {
        let names = names(topics);
        for (policy, name) in [
            (Policy::latest(), "latest"),
            (Policy::queue(Retention::new().events(4)), "queue"),
        ] {
            let hub = hub(policy, &names);
            let mut random = fastrand::Rng::with_seed(7);
            group.bench_function(BenchmarkId::new(name, topics), |b| {
                b.iter(|| submit(&hub, &names[random.usize(..topics)]));
            });
        }
    }
}

#[derive(Default)]
struct Woken(AtomicU64);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Takes what there is, and waits.
fn take(subscription: &mut Subscription, waker: &Waker) -> usize {
    let mut cx = Context::from_waker(waker);
    let mut taken = 0;
    while subscription.poll_recv(&mut cx).is_ready() {
        taken += 1;
    }
    taken
}

/// Each of so many topics has one subscriber: submitting to one, and the one taking it.
fn wake_one(c: &mut Criterion) {
    let mut group = c.benchmark_group("hub/wake_one");
    for topics in [1, 100_000] {
        let names = names(topics);
        let hub = Hub::new();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut subscriptions: Vec<_> = names
            .iter()
            .map(|topic| hub.subscribe(Subscribe::from(Start::Live).topics(topic.clone())))
            .collect();
        for subscription in &mut subscriptions {
            take(subscription, &waker);
        }
        let mut random = fastrand::Rng::with_seed(7);
        group.bench_function(BenchmarkId::from_parameter(topics), |b| {
            b.iter(|| {
                let at = random.usize(..topics);
                let before = woken.0.load(Ordering::Relaxed);
                submit(&hub, &names[at]);
                assert_eq!(woken.0.load(Ordering::Relaxed), before + 1);
                assert_eq!(take(&mut subscriptions[at], &waker), 1);
            });
        });
    }
}

/// Coming back to 64 topics, of as many or of 1,024, with an id from anywhere in the log,
/// and having the first event in hand.
fn resume(c: &mut Criterion) {
    let mut group = c.benchmark_group("hub/resume");
    let waker = Waker::noop();
    for (events, topics) in [(1_000, 64), (1_000_000, 64), (1_000_000, 1_024)] {
        let names = names(topics);
        let policy = Policy::queue(Retention::new().events(events).bytes(1 << 30));
        let hub = Hub::builder().default_policy(policy).build();
        let ids: Vec<_> = (0..events)
            .map(|n| submit(&hub, &names[n % topics]))
            .collect();
        let mut random = fastrand::Rng::with_seed(7);
        let wanted: Topics = names.iter().step_by(topics / 64).cloned().collect();
        let first = |after: Position, topics: Topics| {
            let subscribe = Subscribe::default().after(after).topics(topics);
            let mut subscription = hub.subscribe(subscribe);
            let mut cx = Context::from_waker(waker);
            assert!(subscription.poll_recv(&mut cx).is_ready());
        };
        let id = format!("{events}_of_{topics}");
        group.bench_function(BenchmarkId::new("names", &id), |b| {
            b.iter(|| first(ids[random.usize(..events - topics)], wanted.clone()));
        });
        let pattern: Pattern = "rooms/+".parse().expect("a pattern");
        group.bench_function(BenchmarkId::new("pattern", &id), |b| {
            b.iter(|| first(ids[random.usize(..events - topics)], pattern.clone().into()));
        });
    }
}

/// Reading all of 10,000 events of so many topics, from the first on.
fn catch_up(c: &mut Criterion) {
    let mut group = c.benchmark_group("hub/catch_up");
    group.sample_size(10);
    for topics in [1, 64] {
        let names = names(topics);
        let policy = Policy::queue(Retention::new());
        let hub = Hub::builder().default_policy(policy).build();
        (0..10_000).for_each(|n| {
            submit(&hub, &names[n % topics]);
        });
        let wanted: Topics = names.into_iter().collect();
        group.bench_function(BenchmarkId::new("names", topics), |b| {
            b.iter(|| {
                let subscribe = Subscribe::from(Start::Oldest).topics(wanted.clone());
                assert_eq!(take(&mut hub.subscribe(subscribe), Waker::noop()), 10_000);
            });
        });
    }
}

/// Submitting to one of so many topics, and the one who reads all of them by name taking
/// it.
fn keep_up(c: &mut Criterion) {
    let mut group = c.benchmark_group("hub/keep_up");
    for topics in [1, 8, 64] {
        let names = names(topics);
        let hub = hub(Policy::queue(Retention::new().events(4)), &names);
        let wanted: Topics = names.iter().cloned().collect();
        let mut subscription = hub.subscribe(Subscribe::from(Start::Live).topics(wanted));
        let mut random = fastrand::Rng::with_seed(7);
        group.bench_function(BenchmarkId::new("names", topics), |b| {
            b.iter(|| {
                submit(&hub, &names[random.usize(..topics)]);
                assert_eq!(take(&mut subscription, Waker::noop()), 1);
            });
        });
    }
}

/// Who comes to a pattern of so many latest values takes all of them.
fn newcomer(c: &mut Criterion) {
    let mut group = c.benchmark_group("hub/newcomer");
    group.sample_size(10);
    for topics in [100, 10_000] {
        let hub = hub(Policy::latest(), &names(topics));
        let pattern: Pattern = "#".parse().expect("a pattern");
        group.bench_function(BenchmarkId::from_parameter(topics), |b| {
            b.iter(|| {
                let subscribe = Subscribe::from(Start::Live).topics(pattern.clone());
                assert_eq!(take(&mut hub.subscribe(subscribe), Waker::noop()), topics);
            });
        });
    }
}

criterion_group!(
    benches, append, wake_one, resume, catch_up, keep_up, newcomer
);
criterion_main!(benches);
