//! What the stores promise: first what every store promises, a user's own included,
//! then what each of ours adds.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio_test::task::{Spawn, spawn};
use tornadose::{
    DataStore, Delivery, End, Event, EventName, GapReason, LastEventId, Overflow, Position,
    QueueStore, Retention, Start, Store, SubmitError, Submitted, Subscribe, Subscriber,
    Subscription,
};

use support::clock::Clock;
use support::position::{foreign, place};
use support::reader::{Reader, deliveries, heard, in_words, reader, waits};
use support::store::{Handmade, Keeps, Named, Subject};

const SECOND: Duration = Duration::from_secs(1);

/// A waker that counts, and of which one can count the clones.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Bell {
    fn new() -> Arc<Self> {
        Arc::default()
    }

    fn rung(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    fn poll(self: &Arc<Self>, subscription: &mut Subscription) -> Poll<Option<Delivery>> {
        let waker = Waker::from(Arc::clone(self));
        subscription.poll_recv(&mut Context::from_waker(&waker))
    }

    /// Whether somebody else holds it.
    fn is_held(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1
    }
}

/// What the next of `subscription` is, in words.
fn next(subscription: &mut Subscription) -> String {
    match spawn(subscription.recv()).poll() {
        Poll::Ready(Some(delivery)) => in_words(&delivery),
        Poll::Ready(None) => String::from("end"),
        Poll::Pending => String::from("nothing"),
    }
}

/// What must not take long does not hang the tests either.
fn in_time<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || send.send(run()));
    receive.recv_timeout(60 * SECOND).expect("in time")
}

/// The same for a future. The clock is paused and jumps once nobody can go on.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(86_400 * SECOND, future)
        .await
        .expect("in time")
}

// What every store promises

fn queue() -> Subject {
    let (close, subscribers) = (QueueStore::close, QueueStore::subscribers);
    Subject::new(QueueStore::new(), Keeps::Everything, close, subscribers)
}

fn queue_that_waits() -> Subject {
    let store = QueueStore::builder()
        .overflow(Overflow::Wait { stall: 30 * SECOND })
        .build();
    let (close, subscribers) = (QueueStore::close, QueueStore::subscribers);
    Subject::new(store, Keeps::Everything, close, subscribers)
}

fn queue_in_an_arc() -> Subject {
    queue().behind(|store| store)
}

fn data() -> Subject {
    let (close, subscribers) = (DataStore::close, DataStore::subscribers);
    Subject::new(DataStore::new(), Keeps::Latest, close, subscribers)
}

fn data_in_a_box() -> Subject {
    data().behind(|store| Box::new(store) as Box<dyn Store>)
}

fn around_a_queue() -> Subject {
    let close = |store: &Named| store.0.close();
    let subscribers = |store: &Named| store.0.subscribers();
    Subject::new(Named::default(), Keeps::Everything, close, subscribers)
}

fn handmade() -> Subject {
    let (close, subscribers) = (Handmade::close, Handmade::subscribers);
    Subject::new(Handmade::new(), Keeps::Everything, close, subscribers)
}

macro_rules! every_store {
    ($($store:ident),+ $(,)?) => {$(
        every_promise! { $store:
            takes_events_from_any_thread_without_a_runtime,
            tells_all_readers_one_order,
            begins_with_what_it_keeps_or_with_what_comes,
            wakes_a_reader_exactly_when_there_is_news,
            wakes_the_waker_of_the_last_poll,
            loses_nothing_when_a_recv_is_dropped,
            lets_readers_finish_when_it_is_closed,
            wakes_who_waits_when_it_is_closed,
            hands_back_what_is_submitted_after_it_was_closed,
            serves_who_comes_after_it_was_closed,
            counts_its_subscribers,
            keeps_no_waker_of_a_subscription_that_is_gone,
            wakes_who_stays_in_whatever_order_others_leave,
            lets_a_waker_do_with_it_whatever_it_wants,
            is_ready_at_once_for_who_submits_without_readers,
        }
    )+};
}

macro_rules! every_promise {
    ($store:ident: $($promise:ident),+ $(,)?) => {
        mod $store {
            $(
                #[test]
                fn $promise() {
                    super::$promise(&super::$store());
                }
            )+

            #[test]
            fn is_closed_with_its_last_handle() {
                super::is_closed_with_its_last_handle(super::$store());
            }
        }
    };
}

every_store!(
    queue,
    queue_that_waits,
    queue_in_an_arc,
    data,
    data_in_a_box,
    around_a_queue,
    handmade,
);

fn takes_events_from_any_thread_without_a_runtime(subject: &Subject) {
    let (threads, each) = (4, 50);
    let mut from_the_start = reader(subject.subscribe(Start::Oldest));
    let store = &*subject.store;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                for n in 0..each {
                    let event = Event::new(format!("{thread} {n}"));
                    store.submit(event).expect("taken");
                }
            });
        }
    });
    let last = subject.submit("last").id().expect("in memory");
    assert_eq!(last.offset(), threads * each + 1);

    let heard = deliveries(&mut from_the_start);
    let entries: Vec<_> = heard.iter().filter_map(Delivery::event).collect();
    assert_eq!(entries.last().map(|entry| entry.id()), Some(last));
    match subject.keeps {
        Keeps::Latest => assert_eq!(entries.len(), 1),
        Keeps::Everything => {
            let offsets = entries.iter().map(|entry| entry.id().offset());
            assert!(offsets.eq(1..=last.offset()), "one after the other");
            for thread in 0..threads {
                let own = format!("{thread} ");
                let numbers = entries
                    .iter()
                    .filter_map(|entry| entry.data().strip_prefix(&own));
                assert!(
                    numbers.eq((0..each).map(|n| n.to_string())),
                    "in its own order"
                );
            }
        }
    }
}

fn tells_all_readers_one_order(subject: &Subject) {
    let mut eager = reader(subject.subscribe(Start::Live));
    let mut lazy = reader(subject.subscribe(Start::Live));
    let mut told = Vec::new();
    for n in 0..100 {
        subject.submit(&n.to_string());
        told.extend(heard(&mut eager));
    }
    assert!(
        told.iter()
            .map(String::as_str)
            .eq((0..100).map(|n| n.to_string()))
    );
    let told: Vec<_> = told.iter().map(String::as_str).collect();
    assert_eq!(heard(&mut lazy), subject.left_of(&told));
}

fn begins_with_what_it_keeps_or_with_what_comes(subject: &Subject) {
    let mut before = reader(subject.subscribe(Start::Oldest));
    assert!(waits(&mut before));
    let first = subject.submit("a").id().expect("in memory");
    subject.submit("b");

    let everything = ["a", "b"];
    let left = subject.left_of(&everything);
    assert_eq!(heard(&mut before), left);
    assert_eq!(heard(&mut reader(subject.subscribe(Start::Oldest))), left);
    assert_eq!(heard(&mut reader(subject.subscribe(Start::Last(1)))), ["b"]);
    let resumed = subject.store.subscribe(Subscribe::default().after(first));
    assert_eq!(heard(&mut reader(resumed)), ["b"]);

    let mut live = reader(subject.subscribe(Start::Live));
    match subject.keeps {
        Keeps::Everything => assert!(waits(&mut live)),
        Keeps::Latest => assert_eq!(heard(&mut live), ["b"]),
    }
    subject.submit("c");
    assert_eq!(heard(&mut live), ["c"]);
}

fn wakes_a_reader_exactly_when_there_is_news(subject: &Subject) {
    let (one, other) = (Bell::new(), Bell::new());
    let mut always_waits = subject.subscribe(Start::Live);
    let mut seldom_waits = subject.subscribe(Start::Live);
    for round in 0..20_usize {
        assert!(one.poll(&mut always_waits).is_pending());
        if round % 2 == 0 {
            while other.poll(&mut seldom_waits).is_ready() {}
        }
        assert_eq!((one.rung(), other.rung()), (round, round.div_ceil(2)));
        subject.submit("x");
        assert_eq!((one.rung(), other.rung()), (round + 1, round / 2 + 1));
        assert!(one.poll(&mut always_waits).is_ready());
    }
}

fn wakes_the_waker_of_the_last_poll(subject: &Subject) {
    let (first, last) = (Bell::new(), Bell::new());
    let mut subscription = subject.subscribe(Start::Live);
    assert!(first.poll(&mut subscription).is_pending());
    assert!(last.poll(&mut subscription).is_pending());
    assert!(!first.is_held());
    subject.submit("x");
    assert_eq!((first.rung(), last.rung()), (0, 1));
    assert!(!last.is_held());
    subject.submit("y");
    assert_eq!(last.rung(), 1, "who does not wait is not woken");
}

fn loses_nothing_when_a_recv_is_dropped(subject: &Subject) {
    let mut subscription = subject.subscribe(Start::Live);
    for data in ["a", "b", "c"] {
        let mut dropped_while_it_waits = spawn(subscription.recv());
        assert!(dropped_while_it_waits.poll().is_pending());
        drop(dropped_while_it_waits);
        subject.submit(data);
        let never_polled = subscription.recv();
        drop(never_polled);
        assert_eq!(next(&mut subscription), data);
        assert_eq!(next(&mut subscription), "nothing");
    }
}

fn lets_readers_finish_when_it_is_closed(subject: &Subject) {
    let mut behind = reader(subject.subscribe(Start::Live));
    let everything = ["a", "b", "c"];
    for data in everything {
        subject.submit(data);
    }
    subject.close();
    subject.close();
    assert_eq!(behind.end(), None);
    assert_eq!(
        heard(&mut behind),
        [subject.left_of(&everything), &["end Closed"]].concat()
    );
    for _ in 0..3 {
        assert!(matches!(behind.poll_next(), Poll::Ready(None)));
    }
    assert_eq!(behind.end(), Some(End::Closed));
}

fn wakes_who_waits_when_it_is_closed(subject: &Subject) {
    let mut waiting = reader(subject.subscribe(Start::Live));
    assert!(waits(&mut waiting));
    subject.close();
    assert!(waiting.is_woken());
    assert_eq!(heard(&mut waiting), ["end Closed"]);
}

fn hands_back_what_is_submitted_after_it_was_closed(subject: &Subject) {
    subject.submit("a");
    subject.close();
    let event = Event::new("b")
        .name(EventName::from_static("late"))
        .retry(SECOND);
    let refused = subject.store.submit(event.clone()).expect_err("closed");
    assert_eq!(refused, SubmitError::Closed(event.clone()));
    assert_eq!(refused.into_event(), event);
    let mut late = reader(subject.subscribe(Start::Oldest));
    assert_eq!(heard(&mut late), ["a", "end Closed"]);
}

fn serves_who_comes_after_it_was_closed(subject: &Subject) {
    let first = subject.submit("a").id().expect("in memory");
    let last = subject.submit("b").id().expect("in memory");
    subject.close();
    let after = |id: Position| reader(subject.store.subscribe(Subscribe::default().after(id)));
    assert_eq!(heard(&mut after(first)), ["b", "end Closed"]);
    assert_eq!(heard(&mut after(last)), ["end Closed"]);
}

fn is_closed_with_its_last_handle(subject: Subject) {
    subject.submit("a");
    let mut behind = reader(subject.subscribe(Start::Oldest));
    let mut waiting = reader(subject.subscribe(Start::Oldest));
    assert_eq!(heard(&mut waiting), ["a"]);
    drop(subject);
    assert!(waiting.is_woken());
    assert_eq!(heard(&mut waiting), ["end Closed"]);
    assert_eq!(heard(&mut behind), ["a", "end Closed"]);
}

fn counts_its_subscribers(subject: &Subject) {
    assert_eq!(subject.subscribers(), 0);
    let one = subject.subscribe(Start::Live);
    let mut other = reader(subject.subscribe(Start::Oldest));
    assert_eq!(subject.subscribers(), 2);
    drop(one);
    assert_eq!(subject.subscribers(), 1);
    subject.close();
    assert_eq!(heard(&mut other), ["end Closed"]);
    drop(other);
    assert_eq!(subject.subscribers(), 0);
}

fn keeps_no_waker_of_a_subscription_that_is_gone(subject: &Subject) {
    let mut others: Vec<_> = (0..20)
        .map(|_| reader(subject.subscribe(Start::Live)))
        .collect();
    let bell = Bell::new();
    for _ in 0..20 {
        let mut subscription = subject.subscribe(Start::Live);
        assert!(bell.poll(&mut subscription).is_pending());
        assert!(bell.is_held());
        assert!(others.iter_mut().all(waits));
        drop(subscription);
        assert!(!bell.is_held());
    }
    subject.submit("x");
    assert_eq!(bell.rung(), 0);
    assert!(others.iter().all(Spawn::is_woken));
}

fn wakes_who_stays_in_whatever_order_others_leave(subject: &Subject) {
    let mut all: Vec<_> = (0..100)
        .map(|_| {
            let (bell, mut subscription) = (Bell::new(), subject.subscribe(Start::Live));
            assert!(bell.poll(&mut subscription).is_pending());
            (bell, Some(subscription))
        })
        .collect();
    for leaves in (0..60).map(|n| n * 37 % 100) {
        all[leaves].1 = None;
        for (bell, subscription) in &all {
            assert_eq!(bell.is_held(), subscription.is_some());
        }
    }
    for (bell, subscription) in all.iter_mut().step_by(3) {
        if let Some(subscription) = subscription {
            assert!(bell.poll(subscription).is_pending());
        }
    }
    subject.submit("x");
    for (bell, subscription) in &all {
        assert_eq!(bell.rung(), usize::from(subscription.is_some()));
        assert!(!bell.is_held());
    }
}

fn lets_a_waker_do_with_it_whatever_it_wants(subject: &Subject) {
    /// Does something when it is woken, once.
    struct Acts(Mutex<Option<Box<dyn FnOnce() + Send>>>);
    impl Wake for Acts {
        fn wake(self: Arc<Self>) {
            let act = self.0.lock().expect("no panic").take();
            if let Some(act) = act {
                act();
            }
        }
    }

    let store = Arc::clone(&subject.store);
    let other = Arc::new(Mutex::new(Some(subject.subscribe(Start::Live))));
    let bell = Bell::new();
    let parked = other
        .lock()
        .expect("no panic")
        .as_mut()
        .map(|other| bell.poll(other));
    assert!(matches!(parked, Some(Poll::Pending)));
    let act = {
        let other = Arc::clone(&other);
        move || {
            store
                .submit(Event::new("submitted by a waker"))
                .expect("taken");
            drop(store.subscribe(Start::Oldest.into()));
            drop(other.lock().expect("no panic").take());
        }
    };
    let waker = Waker::from(Arc::new(Acts(Mutex::new(Some(Box::new(act))))));
    let mut subscription = subject.subscribe(Start::Live);
    assert!(
        subscription
            .poll_recv(&mut Context::from_waker(&waker))
            .is_pending()
    );

    subject.submit("x");
    assert_eq!(subject.subscribers(), 1);
    assert!(!bell.is_held());
    let everything = ["x", "submitted by a waker"];
    assert_eq!(
        heard(&mut reader(subscription)),
        subject.left_of(&everything)
    );
}

fn is_ready_at_once_for_who_submits_without_readers(subject: &Subject) {
    let submitted = subject.submit("x");
    let id = submitted.id().expect("in memory");
    assert!(submitted.is_ready());
    assert_eq!(submitted.wait(), Ok(id));
    let mut awaited = spawn(subject.submit("y"));
    assert!(matches!(awaited.poll(), Poll::Ready(Ok(id)) if id.offset() == 2));
}

// Overflow: who is slower than the retention

fn keeping(events: usize) -> QueueStore {
    overflowing(events, Overflow::DropOldest)
}

fn overflowing(events: usize, overflow: Overflow) -> QueueStore {
    QueueStore::builder()
        .retention(Retention::new().events(events))
        .overflow(overflow)
        .build()
}

/// Submits the numbers of a range.
fn submit(store: &QueueStore, numbers: std::ops::RangeInclusive<u64>) {
    for n in numbers {
        store.submit(n.to_string()).expect("taken");
    }
}

fn oldest(store: &QueueStore) -> Reader {
    reader(store.subscribe(Start::Oldest))
}

fn live(store: &QueueStore) -> Reader {
    reader(store.subscribe(Start::Live))
}

fn after(store: &QueueStore, id: impl Into<LastEventId>) -> Reader {
    reader(store.subscribe(Subscribe::default().after(id)))
}

#[test]
fn a_slow_reader_is_told_exactly_what_it_missed_and_goes_on() {
    let store = keeping(3);
    let mut slow = live(&store);
    submit(&store, 1..=2);
    assert_eq!(heard(&mut slow), ["1", "2"]);
    submit(&store, 3..=12);
    let told = deliveries(&mut slow);
    let gap = told[0].gap().expect("a gap");
    let known = store.latest().expect("an event");
    assert_eq!((gap.reason, gap.missed), (GapReason::Slow, Some(7)));
    assert_eq!(
        (gap.from, gap.resume),
        (Some(place(known, 2)), place(known, 9))
    );
    let rest: Vec<_> = told[1..].iter().map(in_words).collect();
    assert_eq!(rest, ["10", "11", "12"]);

    submit(&store, 13..=15);
    assert_eq!(heard(&mut slow), ["13", "14", "15"], "three fit");
    submit(&store, 16..=19);
    assert_eq!(heard(&mut slow), ["gap slow 1", "17", "18", "19"]);
}

#[test]
fn a_reader_that_is_overtaken_while_it_reads_gets_its_gap_where_it_stands() {
    let store = keeping(3);
    submit(&store, 1..=3);
    let mut subscription = store.subscribe(Start::Oldest);
    assert_eq!(next(&mut subscription), "1");
    submit(&store, 4..=4);
    assert_eq!(next(&mut subscription), "2");
    submit(&store, 5..=9);
    assert_eq!(next(&mut subscription), "gap slow 4");
    assert_eq!(
        subscription.position(),
        Some(place(store.latest().expect("an event"), 6))
    );
    submit(&store, 10..=10);
    assert_eq!(next(&mut subscription), "gap slow 1");
    assert_eq!(next(&mut subscription), "8");
}

#[test]
fn a_reader_that_waits_is_never_overtaken_by_one_event() {
    let store = keeping(1);
    let mut quick = live(&store);
    for n in 1..=100 {
        submit(&store, n..=n);
        assert_eq!(heard(&mut quick), [n.to_string()]);
    }
}

#[test]
fn a_gap_that_is_still_to_be_told_when_the_store_is_closed_is_told() {
    let store = keeping(2);
    let mut slow = live(&store);
    submit(&store, 1..=5);
    store.close();
    assert_eq!(heard(&mut slow), ["gap slow 3", "4", "5", "end Closed"]);
}

#[test]
fn a_store_that_disconnects_ends_a_slow_reader_where_it_is() {
    let store = overflowing(3, Overflow::Disconnect);
    let (mut slow, mut quick) = (live(&store), live(&store));
    submit(&store, 1..=3);
    assert_eq!(heard(&mut quick), ["1", "2", "3"]);
    assert!(matches!(slow.poll_next(), Poll::Ready(Some(_))));
    let at = slow.position().expect("a position");
    assert_eq!(at.offset(), 1);

    submit(&store, 4..=6);
    assert_eq!(heard(&mut quick), ["4", "5", "6"]);
    assert_eq!(heard(&mut slow), ["end Slow"]);
    submit(&store, 7..=7);
    assert_eq!(heard(&mut slow), ["end Slow"]);
    assert_eq!((slow.end(), slow.position()), (Some(End::Slow), Some(at)));
    assert_eq!(
        heard(&mut after(&store, at)),
        ["gap evicted 3", "5", "6", "7"]
    );
}

#[test]
fn a_store_that_disconnects_leaves_alone_who_is_only_just_in_time() {
    let store = overflowing(3, Overflow::Disconnect);
    let mut in_time = live(&store);
    submit(&store, 1..=3);
    store.close();
    assert_eq!(heard(&mut in_time), ["1", "2", "3", "end Closed"]);
}

// Overflow: a store that waits

fn waiting(events: usize) -> QueueStore {
    overflowing(events, Overflow::Wait { stall: 30 * SECOND })
}

fn submitting(store: &QueueStore, data: &str) -> Spawn<Submitted> {
    spawn(store.submit(data).expect("taken"))
}

/// A reader of a full store, which has read nothing, and the last submit.
fn held_up(store: &QueueStore) -> (Reader, Spawn<Submitted>) {
    let slow = live(store);
    submit(store, 1..=2);
    let mut submitted = submitting(store, "3");
    assert!(!submitted.is_ready());
    assert!(submitted.poll().is_pending());
    (slow, submitted)
}

#[test]
fn a_submit_is_pending_until_the_slowest_reader_moves() {
    let store = waiting(2);
    let mut quick = live(&store);
    let (mut slow, mut submitted) = held_up(&store);
    assert_eq!(heard(&mut quick), ["1", "2", "3"]);
    assert!(!submitted.is_woken() && submitted.poll().is_pending());

    assert!(slow.poll_next().is_ready());
    assert!(submitted.is_woken() && submitted.is_ready());
    let id = store.latest().expect("an event");
    assert_eq!(submitted.poll(), Poll::Ready(Ok(id)));
    assert_eq!(heard(&mut slow), ["2", "3"]);
}

#[test]
fn a_submit_that_fits_is_ready_at_once() {
    let store = waiting(2);
    let _slow = live(&store);
    for data in ["1", "2"] {
        let mut submitted = submitting(&store, data);
        assert!(submitted.is_ready() && submitted.poll().is_ready());
    }
}

#[test]
fn every_pending_submit_resolves_when_the_slowest_reader_leaves() {
    let store = waiting(2);
    let (slow, mut third) = held_up(&store);
    let mut fourth = submitting(&store, "4");
    assert!(fourth.poll().is_pending());
    drop(slow);
    for submitted in [&mut third, &mut fourth] {
        assert!(submitted.is_woken());
        assert!(submitted.poll().is_ready());
    }
}

#[test]
fn every_pending_submit_resolves_when_the_store_is_closed() {
    let store = waiting(2);
    let (mut slow, mut submitted) = held_up(&store);
    store.close();
    assert!(submitted.is_woken());
    assert!(submitted.poll().is_ready());
    assert_eq!(heard(&mut slow), ["1", "2", "3", "end Closed"]);
}

#[test]
fn a_pending_submit_that_is_dropped_takes_nothing_back_and_keeps_no_waker() {
    let store = waiting(2);
    let (mut slow, submitted) = held_up(&store);
    drop(submitted);
    let bell = Bell::new();
    let mut submitted = Box::pin(store.submit("4").expect("taken"));
    let waker = Waker::from(Arc::clone(&bell));
    let poll = std::future::Future::poll(submitted.as_mut(), &mut Context::from_waker(&waker));
    drop(waker);
    assert!(poll.is_pending() && bell.is_held());
    drop(submitted);
    assert!(!bell.is_held());
    assert_eq!(heard(&mut slow), ["1", "2", "3", "4"]);
}

#[test]
fn a_submit_beyond_twice_the_retention_is_handed_back() {
    let store = waiting(2);
    let mut slow = live(&store);
    submit(&store, 1..=4);
    let event = Event::new("5").retry(SECOND);
    let refused = store.submit(event.clone()).expect_err("full");
    assert_eq!(refused, SubmitError::Full(event));

    assert!(slow.poll_next().is_ready());
    submit(&store, 5..=5);
    assert!(matches!(store.submit("6"), Err(SubmitError::Full(_))));
    assert_eq!(heard(&mut slow), ["2", "3", "4", "5"]);
    submit(&store, 6..=6);
    assert_eq!(heard(&mut slow), ["6"]);
}

#[test]
fn a_store_that_waits_keeps_for_latecomers_what_its_retention_says() {
    let store = waiting(2);
    submit(&store, 1..=10);
    assert_eq!(heard(&mut oldest(&store)), ["9", "10"]);
    let mut quick = live(&store);
    submit(&store, 11..=12);
    assert_eq!(heard(&mut quick), ["11", "12"]);
    assert_eq!(heard(&mut oldest(&store)), ["11", "12"]);
}

#[test]
fn a_latecomer_holds_up_what_it_has_not_read_like_everybody_else() {
    let store = waiting(2);
    submit(&store, 1..=2);
    let mut late = oldest(&store);
    let mut third = submitting(&store, "3");
    assert!(third.poll().is_pending());
    assert_eq!(heard(&mut late), ["1", "2", "3"]);
    assert!(third.poll().is_ready());
}

#[test]
fn nobody_waits_for_who_conflates() {
    let store = waiting(2);
    let mut latest = reader(store.subscribe(Subscribe::from(Start::Oldest).conflate()));
    for n in 1..=9 {
        assert!(store.submit(n.to_string()).expect("taken").is_ready());
    }
    assert_eq!(heard(&mut latest), ["9"]);
    let (slow, submitted) = held_up(&store);
    assert_eq!(heard(&mut latest), ["3"]);
    drop(latest);
    assert!(!submitted.is_ready());
    drop(slow);
    assert!(submitted.is_ready());
}

#[test]
fn a_reader_that_stalls_is_left_behind_and_gets_its_gap() {
    let (clock, store) = (Clock::paused(), waiting(2));
    let (mut slow, mut submitted) = clock.at_once(|| held_up(&store));
    clock.advance(29 * SECOND);
    clock.at_once(|| {
        assert!(!submitted.is_woken());
        assert!(submitted.poll().is_pending());
    });
    clock.advance(SECOND);
    clock.at_once(|| {
        assert!(submitted.is_woken());
        assert!(submitted.poll().is_ready());
        assert_eq!(heard(&mut slow), ["gap slow 1", "2", "3"]);
    });
}

#[test]
fn a_stall_that_has_run_out_makes_room_though_nobody_awaits_it() {
    let (clock, store) = (Clock::paused(), waiting(2));
    let mut slow = clock.at_once(|| live(&store));
    clock.at_once(|| submit(&store, 1..=4));
    clock.advance(29 * SECOND);
    clock.at_once(|| assert!(matches!(store.submit("5"), Err(SubmitError::Full(_)))));
    clock.advance(SECOND);
    clock.at_once(|| {
        submit(&store, 5..=5);
        assert_eq!(heard(&mut slow), ["gap slow 3", "4", "5"]);
    });
}

#[test]
fn a_reader_that_reads_now_and_then_does_not_stall() {
    let (clock, store) = (Clock::paused(), waiting(2));
    let mut slow = clock.at_once(|| live(&store).into_inner());
    clock.at_once(|| submit(&store, 1..=4));
    for n in 1..=50 {
        clock.advance(29 * SECOND);
        clock.at_once(|| {
            assert_eq!(next(&mut slow), n.to_string());
            submit(&store, n + 4..=n + 4);
        });
    }
}

#[tokio::test(start_paused = true)]
async fn an_awaited_submit_resolves_at_the_pace_of_the_reader() {
    let store = waiting(2);
    let mut subscription = store.subscribe(Start::Live);
    let submitter = {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0..1000 {
                store
                    .submit(n.to_string())
                    .expect("taken")
                    .await
                    .expect("kept");
            }
        })
    };
    for n in 0..1000 {
        let delivery = soon(subscription.recv()).await.expect("open");
        assert_eq!(in_words(&delivery), n.to_string());
        let ahead = store.latest().expect("an event").offset() - (n + 1);
        assert!(ahead <= 3, "{ahead}");
    }
    soon(submitter).await.expect("no panic");
}

#[test]
fn a_plain_thread_waits_for_the_slowest_reader() {
    let store = waiting(2);
    let mut slow = live(&store);
    let submitter = std::thread::spawn(move || {
        for n in 1..=1000 {
            let submitted = store.submit(n.to_string()).expect("never full");
            submitted.wait().expect("kept");
        }
    });
    let told = in_time(move || {
        let mut told = Vec::new();
        while slow.end().is_none() {
            told.extend(deliveries(&mut slow).iter().map(in_words));
            std::thread::yield_now();
        }
        told
    });
    assert!(told.into_iter().eq((1..=1000).map(|n| n.to_string())));
    submitter.join().expect("no panic");
}

#[test]
fn a_plain_thread_waits_no_longer_than_the_stall() {
    let stall = Duration::from_millis(5);
    let store = overflowing(1, Overflow::Wait { stall });
    let mut slow = live(&store);
    submit(&store, 1..=1);
    let second = store.submit("2").expect("taken");
    let id = second.id().expect("in memory");
    assert_eq!(in_time(|| second.wait()), Ok(id));
    assert_eq!(heard(&mut slow), ["gap slow 1", "2"]);
}

// Retention

#[test]
fn the_retention_counts_events() {
    for events in [1, 2, 7, 100] {
        let store = keeping(events);
        submit(&store, 1..=50);
        let kept = (51 - 50.min(events as u64))..=50;
        assert!(
            heard(&mut oldest(&store))
                .into_iter()
                .eq(kept.map(|n| n.to_string()))
        );
    }
}

#[test]
fn the_retention_keeps_at_least_one_event() {
    let store = keeping(0);
    submit(&store, 1..=3);
    assert_eq!(heard(&mut oldest(&store)), ["3"]);
}

#[test]
fn the_retention_counts_bytes_as_it_says() {
    let bound = 10_000;
    let store = QueueStore::builder()
        .retention(Retention::new().bytes(bound))
        .build();
    for n in 0..100 {
        store.submit(format!("{n:500}")).expect("taken");
    }
    let kept = deliveries(&mut oldest(&store));
    let counted: usize = kept
        .iter()
        .filter_map(Delivery::event)
        .map(|entry| entry.sse().len() + Retention::BYTES_PER_EVENT)
        .sum();
    assert!(counted <= bound, "{counted}");
    assert!(counted > bound - 2 * (counted / kept.len()), "{counted}");

    store.submit("x".repeat(9_500)).expect("taken");
    assert_eq!(
        deliveries(&mut oldest(&store)).len(),
        1,
        "one large one for all of them"
    );
}

#[test]
fn a_store_that_waits_holds_at_most_twice_its_bytes() {
    let store = QueueStore::builder()
        .retention(Retention::new().bytes(1000))
        .overflow(Overflow::Wait { stall: 30 * SECOND })
        .build();
    let mut slow = live(&store);
    while store.submit("x".repeat(800)).is_ok() {}
    let held: usize = deliveries(&mut slow)
        .iter()
        .filter_map(Delivery::event)
        .map(|entry| entry.sse().len() + Retention::BYTES_PER_EVENT)
        .sum();
    assert!(held <= 2000, "{held}");
}

#[test]
fn what_is_too_old_is_sent_to_nobody() {
    let clock = Clock::paused();
    let store = QueueStore::builder()
        .retention(Retention::new().age(10 * SECOND))
        .build();
    let mut slow = clock.at_once(|| live(&store));
    let first = clock.at_once(|| {
        let first = store.submit("1").expect("taken").id().expect("in memory");
        submit(&store, 2..=2);
        first
    });
    clock.advance(6 * SECOND);
    clock.at_once(|| submit(&store, 3..=3));
    clock.advance(4 * SECOND - Duration::from_nanos(1));
    clock.at_once(|| assert_eq!(heard(&mut oldest(&store)), ["1", "2", "3"]));
    clock.advance(Duration::from_nanos(1));
    clock.at_once(|| {
        assert_eq!(heard(&mut oldest(&store)), ["3"]);
        assert_eq!(heard(&mut reader(store.subscribe(Start::Last(3)))), ["3"]);
        assert_eq!(heard(&mut after(&store, first)), ["gap evicted 1", "3"]);
        assert_eq!(heard(&mut after(&store, place(first, 2))), ["3"]);
        assert_eq!(heard(&mut slow), ["gap slow 2", "3"]);
    });
    clock.advance(6 * SECOND);
    clock.at_once(|| {
        assert_eq!(store.latest(), Some(place(first, 3)));
        assert_eq!(heard(&mut oldest(&store)), [""; 0]);
        let mut late = after(&store, first);
        assert_eq!(heard(&mut late), ["gap evicted 2"]);
        submit(&store, 4..=4);
        assert_eq!(heard(&mut late), ["4"]);
        assert_eq!(heard(&mut slow), ["4"]);
    });
}

#[test]
fn a_store_that_waits_holds_what_is_too_old_for_who_is_connected() {
    let clock = Clock::paused();
    let store = QueueStore::builder()
        .retention(Retention::new().age(10 * SECOND))
        .overflow(Overflow::Wait {
            stall: 3600 * SECOND,
        })
        .build();
    let mut slow = clock.at_once(|| live(&store));
    clock.at_once(|| submit(&store, 1..=2));
    clock.advance(60 * SECOND);
    clock.at_once(|| {
        submit(&store, 3..=3);
        assert_eq!(heard(&mut oldest(&store)), ["3"]);
        assert_eq!(heard(&mut slow), ["1", "2", "3"]);
    });
}

#[test]
fn whichever_bound_is_reached_first_decides() {
    let clock = Clock::paused();
    let retention = Retention::new().events(3).age(10 * SECOND);
    let store = QueueStore::builder().retention(retention).build();
    clock.at_once(|| submit(&store, 1..=5));
    clock.at_once(|| assert_eq!(heard(&mut oldest(&store)), ["3", "4", "5"]));
    clock.advance(5 * SECOND);
    clock.at_once(|| submit(&store, 6..=6));
    clock.advance(5 * SECOND);
    clock.at_once(|| assert_eq!(heard(&mut oldest(&store)), ["6"]));
}

#[test]
fn a_subscription_begins_where_it_asks_to() {
    let kept = ["5", "6", "7", "8", "9"];
    for (start, left) in [
        (Start::default(), 0),
        (Start::Live, 0),
        (Start::Oldest, 5),
        (Start::Last(0), 0),
        (Start::Last(1), 1),
        (Start::Last(4), 4),
        (Start::Last(5), 5),
        (Start::Last(6), 5),
        (Start::Last(u64::MAX), 5),
    ] {
        let store = keeping(5);
        submit(&store, 1..=9);
        let mut subscription = reader(store.subscribe(start));
        assert_eq!(heard(&mut subscription), kept[5 - left..], "{start:?}");
        submit(&store, 10..=10);
        assert_eq!(heard(&mut subscription), ["10"], "{start:?}");
    }
}

#[test]
fn a_position_tells_how_far_a_subscription_is() {
    let store = keeping(3);
    let mut subscription = store.subscribe(Start::Live);
    let offset = |subscription: &Subscription| subscription.position().expect("one").offset();
    assert_eq!(offset(&subscription), 0);
    submit(&store, 1..=5);
    assert_eq!(offset(&subscription), 0);
    assert_eq!(next(&mut subscription), "gap slow 2");
    assert_eq!(offset(&subscription), 2);
    assert_eq!(next(&mut subscription), "3");
    assert_eq!(offset(&subscription), 3);
    assert_eq!(offset(&store.subscribe(Start::Live)), 5);
    assert_eq!(offset(&store.subscribe(Start::Oldest)), 2);
    let handmade = Subscription::from_stream(futures_util::stream::empty());
    assert_eq!(handmade.position(), None);
}

#[test]
fn a_position_does_not_pass_a_gap_that_was_not_told() {
    let store = keeping(2);
    let first = store.submit("1").expect("taken").id().expect("in memory");
    submit(&store, 2..=9);
    let mut returned = store.subscribe(Subscribe::default().after(first));
    assert_eq!(returned.position(), Some(first));
    assert_eq!(next(&mut returned), "gap evicted 6");
    assert_eq!(returned.position(), Some(place(first, 7)));
}

// The latest value

fn value(store: &DataStore) -> Option<String> {
    store.get().map(|entry| entry.data().to_owned())
}

fn watch(store: &DataStore, subscribe: impl Into<Subscribe>) -> Reader {
    reader(store.subscribe(subscribe))
}

#[test]
fn a_first_value_counts_like_any_other() {
    let store = DataStore::with_initial("0").expect("taken");
    assert_eq!(value(&store).as_deref(), Some("0"));
    let mut subscription = watch(&store, Start::Live);
    assert_eq!(heard(&mut subscription), ["0"]);
    assert!(waits(&mut subscription));
}

#[test]
fn a_store_without_a_value_has_nothing_to_begin_with() {
    let store = DataStore::new();
    assert_eq!(value(&store), None);
    let mut subscription = watch(&store, Start::Oldest);
    assert!(waits(&mut subscription));
    store.submit("1").expect("taken");
    assert_eq!(heard(&mut subscription), ["1"]);
    assert_eq!(value(&store).as_deref(), Some("1"));
}

#[test]
fn the_value_can_still_be_got_when_the_store_is_closed() {
    let store = DataStore::with_initial("0").expect("taken");
    store.close();
    assert!(store.is_closed());
    assert!(store.submit("1").is_err());
    assert_eq!(value(&store).as_deref(), Some("0"));
}

#[test]
fn every_start_is_the_current_value() {
    let store = DataStore::new();
    for n in 0..5 {
        store.submit(n.to_string()).expect("taken");
    }
    for start in [Start::Live, Start::Oldest, Start::Last(0), Start::Last(3)] {
        assert_eq!(heard(&mut watch(&store, start)), ["4"], "{start:?}");
    }
}

#[test]
fn who_has_the_current_value_hears_only_of_the_next() {
    let store = DataStore::new();
    store.submit("1").expect("taken");
    let current = store.submit("2").expect("taken").id().expect("in memory");
    let mut returned = watch(&store, Subscribe::default().after(current));
    assert!(waits(&mut returned));
    store.submit("3").expect("taken");
    assert!(returned.is_woken());
    assert_eq!(heard(&mut returned), ["3"]);
}

#[test]
fn who_has_another_value_or_none_gets_the_current_one_without_a_gap() {
    let store = DataStore::new();
    for n in 1..=5 {
        store.submit(n.to_string()).expect("taken");
    }
    let known = store.get().expect("a value").id();
    for id in [
        LastEventId::At(place(known, 0)),
        LastEventId::At(place(known, 1)),
        LastEventId::At(place(known, 4)),
        LastEventId::At(place(known, 6)),
        LastEventId::At(place(known, u64::MAX)),
        LastEventId::At(foreign(5)),
        LastEventId::At(foreign(0)),
        LastEventId::Malformed,
    ] {
        let mut returned = watch(&store, Subscribe::default().after(id));
        assert_eq!(heard(&mut returned), ["5"], "{id:?}");
        store.get().expect("a value");
    }
}

#[test]
fn an_id_of_an_empty_store_waits_for_the_first_value() {
    let store = DataStore::new();
    for id in [LastEventId::At(foreign(3)), LastEventId::Malformed] {
        assert!(waits(&mut watch(&store, Subscribe::default().after(id))));
    }
}

#[test]
fn a_slow_reader_skips_to_the_last_value_and_is_told_nothing() {
    let store = DataStore::new();
    let mut slow = watch(&store, Start::Live);
    for n in 1..=1000 {
        store.submit(n.to_string()).expect("taken");
        if n % 300 == 0 {
            assert_eq!(heard(&mut slow), [n.to_string()]);
        }
    }
    assert_eq!(heard(&mut slow), ["1000"]);
    assert!(waits(&mut slow));
}

#[test]
fn what_does_not_change_the_value_is_no_news_if_one_asks_for_that() {
    let store = DataStore::builder().only_changes(true).build();
    let first = store.submit("1").expect("taken").id().expect("in memory");
    let mut subscription = watch(&store, Start::Live);
    assert_eq!(heard(&mut subscription), ["1"]);
    assert!(waits(&mut subscription));

    let tick = EventName::from_static("tick");
    assert_eq!(
        store.submit("1").expect("taken").id().expect("in memory"),
        first
    );
    assert_eq!(
        store
            .submit(Event::new("1").retry(SECOND))
            .expect("taken")
            .id(),
        Some(first)
    );
    assert!(!subscription.is_woken());

    for event in [
        Event::new("1").name(tick.clone()),
        Event::new("2").name(tick),
        Event::new("2"),
        Event::new(""),
        Event::new("a\nb"),
        Event::new("a\rb"),
    ] {
        let data = event.data().to_owned();
        assert!(
            store
                .submit(event.clone())
                .expect("taken")
                .id()
                .expect("in memory")
                > first
        );
        assert!(subscription.is_woken());
        assert_eq!(heard(&mut subscription), [data]);
        store.submit(event).expect("taken");
        assert!(waits(&mut subscription));
    }
    store.close();
    assert!(
        store.submit("a\rb").is_err(),
        "closed is closed, news or not"
    );
}

#[test]
fn by_default_every_submit_is_news() {
    let store = DataStore::with_initial("1").expect("taken");
    let mut subscription = watch(&store, Start::Live);
    for _ in 0..3 {
        assert_eq!(heard(&mut subscription), ["1"]);
        store.submit("1").expect("taken");
    }
}

#[test]
fn an_entry_is_the_event_and_its_place() {
    let store = DataStore::new();
    let event = Event::new("a\r\nb")
        .name(EventName::from_static("note"))
        .retry(SECOND);
    let id = store.submit(event).expect("taken").id().expect("in memory");
    let entry = store.get().expect("a value");
    assert_eq!(
        (entry.id(), entry.name(), entry.data()),
        (id, "note", "a\r\nb")
    );
    assert_eq!(id.offset(), 1);
    let mut subscription = watch(&store, Start::Live);
    let told = deliveries(&mut subscription);
    let same = told[0].event().expect("an event");
    assert_eq!(same.sse(), entry.sse());
    assert_eq!(
        same.sse().as_ptr(),
        entry.sse().as_ptr(),
        "shared, not copied"
    );
}

// Subscribers

/// Takes what it is told until one of them is the word that it cannot bear.
#[derive(Clone, Default)]
struct Diary {
    told: Arc<Mutex<Vec<String>>>,
    cannot_bear: Option<&'static str>,
}

impl Diary {
    fn refusing(word: &'static str) -> Self {
        Self {
            cannot_bear: Some(word),
            ..Self::default()
        }
    }

    fn write(&self, word: String) -> Result<(), String> {
        if self.cannot_bear == Some(&*word) {
            return Err(word);
        }
        self.told.lock().expect("no panic").push(word);
        Ok(())
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().expect("no panic").clone()
    }
}

impl Subscriber for Diary {
    type Error = String;

    async fn deliver(&mut self, delivery: Delivery) -> Result<(), String> {
        tokio::task::yield_now().await;
        self.write(in_words(&delivery))
    }

    async fn end(&mut self, end: End) -> Result<(), String> {
        self.write(format!("end {end:?}"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_is_fed_everything_and_the_end() {
    let store = keeping(3);
    let mut subscription = store.subscribe(Start::Live);
    submit(&store, 1..=5);
    store.close();
    let mut diary = Diary::default();
    soon(subscription.feed(&mut diary)).await.expect("no error");
    drop(subscription);
    assert_eq!(diary.told(), ["gap slow 2", "3", "4", "5", "end Closed"]);
    assert_eq!(store.subscribers(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_is_told_why_it_was_disconnected() {
    let store = overflowing(3, Overflow::Disconnect);
    let mut subscription = store.subscribe(Start::Live);
    submit(&store, 1..=5);
    let mut diary = Diary::default();
    soon(subscription.feed(&mut diary)).await.expect("no error");
    assert_eq!(diary.told(), ["end Slow"]);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_subscriber_stops_it_and_no_other_and_it_can_go_on() {
    let store = keeping(10);
    let brave = Diary::default();
    let fed = tokio::spawn({
        let (mut subscription, mut brave) = (store.subscribe(Start::Live), brave.clone());
        async move { subscription.feed(&mut brave).await }
    });
    let mut timid = Diary::refusing("2");
    let mut subscription = store.subscribe(Start::Live);
    submit(&store, 1..=3);
    let error = soon(subscription.feed(&mut timid)).await;
    assert_eq!(error, Err("2".to_owned()));
    assert_eq!(timid.told(), ["1"]);

    submit(&store, 4..=4);
    store.close();
    assert!(soon(fed).await.expect("no panic").is_ok());
    assert_eq!(brave.told(), ["1", "2", "3", "4", "end Closed"]);
    assert_eq!(soon(subscription.feed(&mut timid)).await, Ok(()));
    assert_eq!(timid.told(), ["1", "3", "4", "end Closed"]);
}

#[tokio::test(start_paused = true)]
async fn an_error_at_the_end_is_an_error_too() {
    let store = keeping(10);
    let mut subscription = store.subscribe(Start::Live);
    store.close();
    let mut diary = Diary::refusing("end Closed");
    assert_eq!(
        soon(subscription.feed(&mut diary)).await,
        Err("end Closed".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_does_not_care_for_the_end_need_not() {
    struct Deaf;
    impl Subscriber for Deaf {
        type Error = std::convert::Infallible;
        async fn deliver(&mut self, _: Delivery) -> Result<(), Self::Error> {
            Ok(())
        }
    }
    let store = keeping(10);
    submit(&store, 1..=3);
    let mut subscription = store.subscribe(Start::Oldest);
    store.close();
    assert!(soon(subscription.feed(&mut Deaf)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_always_finds_something_lets_others_run() {
    let store = keeping(10_000);
    submit(&store, 1..=10_000);
    let mut subscription = store.subscribe(Start::Oldest);
    let greedy = tokio::spawn(async move {
        let mut heard = 0;
        while heard < 10_000 {
            subscription.recv().await;
            heard += 1;
        }
    });
    tokio::task::yield_now().await;
    assert!(!greedy.is_finished(), "it was interrupted");
    soon(greedy).await.expect("no panic");
}
