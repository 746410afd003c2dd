//! The hub: many topics, one order.

use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt;
use http::{Request, StatusCode};
use tokio_test::task::spawn;
use tokio_test::{assert_pending, assert_ready};
use tornadose::{
    Control, Delivery, End, Event, EventBody, EventSource, GapReason, Hub, LastEventId, Overflow,
    Permit, Policy, Position, Refusal, Retention, Shutdown, Start, SubmitError, Subscribe,
    Subscription, Topic, Topics,
};

fn topic(name: &str) -> Topic {
    name.parse().expect("a topic")
}

/// Topics, and patterns where there is a wildcard.
fn topics(names: &[&str]) -> Topics {
    names.iter().fold(Topics::new(), |topics, name| {
        if name.contains(['+', '#']) {
            topics.pattern(name.parse().expect("a pattern"))
        } else {
            topics.topic(topic(name))
        }
    })
}

fn submit(hub: &Hub, name: &str, data: &str) -> Position {
    let event = Event::new(data).topic(topic(name));
    hub.submit(event).expect("taken").id().expect("in memory")
}

fn read(hub: &Hub, start: Start, names: &[&str]) -> Subscription {
    hub.subscribe(Subscribe::from(start).topics(topics(names)))
}

fn read_after(hub: &Hub, id: impl Into<LastEventId>, names: &[&str]) -> Subscription {
    hub.subscribe(Subscribe::default().after(id).topics(topics(names)))
}

/// All that there is now: events by their data, gaps by reason and ends.
fn now(subscription: &mut Subscription) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let mut next = spawn(subscription.recv());
        match next.poll() {
            Poll::Ready(Some(Delivery::Event(event))) => {
                all.push(event.data().to_owned());
            }
            Poll::Ready(Some(Delivery::Gap(gap))) => {
                let from = gap
                    .from
                    .map_or("?".to_owned(), |from| from.offset().to_string());
                let missed = gap
                    .missed
                    .map_or(String::new(), |missed| format!(" ({missed})"));
                all.push(format!(
                    "{} {from}..{}{missed}",
                    gap.reason,
                    gap.resume.offset()
                ));
            }
            Poll::Ready(Some(_)) => unreachable!(),
            Poll::Ready(None) => all.push("end".to_owned()),
            Poll::Pending => return all,
        }
        if all.last().is_some_and(|last| last == "end") {
            return all;
        }
    }
}

fn keeping(events: usize) -> Hub {
    let policy = Policy::queue(Retention::new().events(events));
    Hub::builder()
        .policy("price/#".parse().expect("a pattern"), Policy::latest())
        .default_policy(policy)
        .build()
}

#[test]
fn who_reads_a_topic_gets_it_and_no_other() {
    let hub = Hub::new();
    let mut both = read(&hub, Start::Live, &["a", "b"]);
    let mut one = read(&hub, Start::Live, &["a"]);
    let mut none = read(&hub, Start::Live, &[]);
    for (name, data) in [("a", "1"), ("b", "2"), ("c", "3"), ("a", "4")] {
        submit(&hub, name, data);
    }
    assert_eq!(now(&mut both), ["1", "2", "4"]);
    assert_eq!(now(&mut one), ["1", "4"]);
    assert!(now(&mut none).is_empty());
}

#[test]
fn only_those_are_woken_who_read_the_topic() {
    let hub = Hub::new();
    let mut a = read(&hub, Start::Live, &["a", "c"]);
    let mut b = read(&hub, Start::Live, &["b/+"]);
    let (mut a, mut b) = (spawn(a.recv()), spawn(b.recv()));
    assert_pending!(a.poll());
    assert_pending!(b.poll());
    submit(&hub, "b", "x");
    assert!(!a.is_woken() && !b.is_woken());
    submit(&hub, "b/1", "y");
    assert!(!a.is_woken() && b.is_woken());
    let event = assert_ready!(b.poll()).expect("an event");
    let event = event.event().expect("an event");
    assert_eq!((event.data(), event.topic()), ("y", Some(&topic("b/1"))));
    submit(&hub, "c", "z");
    assert!(a.is_woken());
    assert_ready!(a.poll());
}

#[test]
fn one_position_resumes_all_topics() {
    let hub = Hub::new();
    let ids: Vec<_> = [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4"), ("b", "5")]
        .map(|(name, data)| submit(&hub, name, data))
        .into();
    assert_eq!(now(&mut read_after(&hub, ids[1], &["a", "b"])), ["3", "5"]);
    assert_eq!(
        now(&mut read_after(&hub, ids[0], &["#"])),
        ["2", "3", "4", "5"]
    );
    // The id of an event that it was not to have.
    assert_eq!(now(&mut read_after(&hub, ids[3], &["a", "b"])), ["5"]);
    assert!(now(&mut read_after(&hub, ids[4], &["a", "b"])).is_empty());
}

/// A pattern keeps its newest 4,096 events by themselves.
#[test]
fn there_is_no_seam_where_the_newest_events_of_a_pattern_begin() {
    const ALL: usize = 5000;
    let hub = keeping(ALL);
    let _keeps = read(&hub, Start::Live, &["#"]);
    let ids: Vec<_> = (0..ALL)
        .map(|n| submit(&hub, ["a", "b"][n % 2], &n.to_string()))
        .collect();
    let begins = ALL - 4096;
    for at in [
        0,
        begins - 3,
        begins - 2,
        begins - 1,
        begins,
        begins + 1,
        ALL - 2,
    ] {
        let expected: Vec<_> = (at + 1..ALL).map(|n| n.to_string()).collect();
        let told = now(&mut read_after(&hub, ids[at], &["#"]));
        assert!(told == expected, "{at}: {:?}", told.first());
    }
}

#[test]
fn what_is_lost_is_told_where_the_last_of_it_stood() {
    let hub = keeping(2);
    let first = submit(&hub, "a", "1");
    for (name, data) in [("b", "2"), ("a", "3"), ("a", "4"), ("b", "5"), ("a", "6")] {
        submit(&hub, name, data);
    }
    // Of a: 1 and 3 are gone; of b nothing is.
    let mut back = read_after(&hub, first, &["a", "b"]);
    assert_eq!(now(&mut back), ["2", "evicted 2..3", "4", "5", "6"]);
    assert_eq!(now(&mut read_after(&hub, first, &["b"])), ["2", "5"]);
    assert_eq!(
        now(&mut read_after(&hub, first, &["#"])),
        ["2", "evicted 2..3", "4", "5", "6"]
    );
    // No gap for who begins.
    assert_eq!(
        now(&mut read(&hub, Start::Oldest, &["a", "b"])),
        ["2", "4", "5", "6"]
    );
    assert_eq!(
        now(&mut read(&hub, Start::Last(1), &["a", "b"])),
        ["5", "6"]
    );
}

#[test]
fn who_is_slow_is_told_or_sent_away() {
    let strict = Policy::queue(Retention::new().events(2)).overflow(Overflow::Disconnect);
    let hub = Hub::builder()
        .policy("strict".parse().expect("a pattern"), strict)
        .default_policy(Policy::queue(Retention::new().events(2)))
        .build();
    let mut slow = read(&hub, Start::Live, &["a", "b"]);
    let mut gone = read(&hub, Start::Live, &["b", "strict"]);
    for n in 1..=4 {
        submit(&hub, "a", &format!("a{n}"));
        submit(&hub, "strict", &format!("s{n}"));
    }
    submit(&hub, "b", "b");
    assert_eq!(now(&mut slow), ["slow 0..3 (2)", "a3", "a4", "b"]);
    assert_eq!(now(&mut gone), ["end"]);
    assert_eq!(gone.end(), Some(End::Slow));
}

/// Of each topic, received and missed add up to submitted.
#[test]
fn what_is_missed_of_topics_by_name_is_counted() {
    let hub = keeping(3);
    let mut reader = read(&hub, Start::Live, &["a", "b"]);
    let (mut submitted, mut received, mut missed) = (0, 0, 0);
    for round in 1..=60_u64 {
        for n in 0..(round * 7) % 23 {
            submit(&hub, ["a", "b", "c"][(round + n) as usize % 3], "x");
            submitted += u64::from((round + n) % 3 != 2);
        }
        for heard in now(&mut reader) {
            match heard.split_once(" (") {
                None => received += 1,
                Some((_, count)) => {
                    missed += count.trim_end_matches(')').parse::<u64>().expect("a count");
                }
            }
        }
        assert_eq!(received + missed, submitted, "{round}");
    }
    assert!(missed > 100, "{missed}");
    // Who comes back before anything is gone is told how many, too.
    let at = reader.position().expect("a position");
    let mut back = read_after(&hub, at, &["a", "b"]);
    for _ in 0..5 {
        submit(&hub, "a", "x");
    }
    assert_eq!(
        now(&mut back)[0].split_once(" (").map(|(_, n)| n),
        Some("2)")
    );
}

#[test]
fn the_latest_value_comes_first_and_in_order() {
    let hub = keeping(10);
    submit(&hub, "price/b", "b1");
    submit(&hub, "price/a", "a1");
    submit(&hub, "room", "old");
    submit(&hub, "price/b", "b2");
    let mut reader = read(&hub, Start::Live, &["price/a", "price/b", "room"]);
    assert_eq!(now(&mut reader), ["a1", "b2"]);
    for n in 3..=9 {
        submit(&hub, "price/b", &format!("b{n}"));
        submit(&hub, "room", &n.to_string());
    }
    let at = reader.position().expect("a position");
    let expected = ["3", "4", "5", "6", "7", "8", "b9", "9"];
    assert_eq!(now(&mut reader), expected);
    assert_eq!(
        now(&mut read_after(&hub, at, &["price/+", "room"])),
        expected
    );
    let mut wide = read(&hub, Start::Live, &["#"]);
    assert_eq!(now(&mut wide), ["a1", "b9"]);
    submit(&hub, "new", "n");
    assert_eq!(now(&mut wide), ["n"]);
}

#[test]
fn several_events_become_visible_at_once() {
    let hub = Hub::new();
    let event = |name: &str| Event::new(name).topic(topic(name));
    let taken = hub.submit_all(["a", "b", "a"].map(event)).expect("taken");
    assert_eq!(
        taken
            .iter()
            .map(|taken| taken.id().expect("in memory").offset())
            .collect::<Vec<_>>(),
        [1, 2, 3]
    );

    let events = [event("a"), Event::new("lost"), event("b")];
    let error = hub
        .submit_all(events.clone())
        .expect_err("one has no topic");
    assert!(matches!(error.error(), SubmitError::NoTopic(_)));
    assert_eq!(error.index(), 1);
    assert_eq!(error.into_events(), events);
    assert_eq!(hub.latest().map(Position::offset), Some(3));
}

#[tokio::test(start_paused = true)]
async fn an_idle_topic_is_forgotten_and_its_loss_is_not() {
    let minute = Duration::from_secs(60);
    let hub = Hub::builder()
        .default_policy(Policy::default().age(minute))
        .policy("keep".parse().expect("a pattern"), Policy::default())
        .build();
    let before = submit(&hub, "keep", "0");
    submit(&hub, "a", "1");
    let between = submit(&hub, "keep", "2");
    tokio::time::advance(2 * minute).await;
    for _ in 0..4 {
        submit(&hub, "keep", "tick");
    }
    assert_eq!(hub.topics(), 1);
    for names in [&["a"][..], &["+"]] {
        let mut told = now(&mut read_after(&hub, before, names));
        told.retain(|what| !["2", "tick"].contains(&what.as_str()));
        assert_eq!(told, ["evicted 1..2"], "{names:?}");
        let mut told = now(&mut read_after(&hub, between, names));
        told.retain(|what| what != "tick");
        assert!(told.is_empty(), "{names:?}: {told:?}");
    }
    // Nor is anything told of a topic that never was.
    assert!(now(&mut read_after(&hub, before, &["never"])).is_empty());
}

#[test]
fn closing_ends_everybody_behind_what_was_submitted() {
    let hub = Hub::new();
    let mut reader = read(&hub, Start::Live, &["a", "b/#"]);
    submit(&hub, "b/c", "1");
    hub.close();
    assert_eq!(now(&mut reader), ["1", "end"]);
    let refused = hub.submit(Event::new("x").topic(topic("a")));
    assert!(matches!(refused, Err(SubmitError::Closed(_))));
}

#[test]
fn who_leaves_leaves_nothing_behind() {
    let hub = Hub::new();
    let reader = read(&hub, Start::Live, &["a", "b", "a/#"]);
    submit(&hub, "a/1", "x");
    assert_eq!((hub.subscribers(), hub.topics()), (1, 3));
    assert_eq!(hub.subscribers_of(&topic("a")), 2);
    drop(reader);
    assert_eq!((hub.subscribers(), hub.topics()), (0, 1));
    assert_eq!(hub.subscribers_of(&topic("a")), 0);
}

#[test]
fn ids_that_cannot_be_judged_are_told() {
    let hub = Hub::new();
    let other = submit(&Hub::new(), "a", "x");
    submit(&hub, "a", "1");
    assert_eq!(now(&mut read_after(&hub, other, &["a"])), ["epoch 1..1"]);
    let malformed = LastEventId::parse(b"?");
    assert_eq!(
        now(&mut read_after(&hub, malformed, &["a"])),
        ["malformed ?..1"]
    );
    assert_eq!(GapReason::Epoch.as_str(), "epoch");
}

#[test]
fn who_conflates_gets_the_newest_of_each_topic_and_no_gap() {
    let hub = keeping(2);
    let subscribe = Subscribe::from(Start::Live)
        .topics(topics(&["a", "b"]))
        .conflate();
    let mut reader = hub.subscribe(subscribe);
    submit(&hub, "a", "a1");
    assert_eq!(now(&mut reader), ["a1"]);
    for n in 2..=9 {
        submit(&hub, "b", &format!("b{n}"));
        submit(&hub, "a", &format!("a{n}"));
    }
    assert_eq!(now(&mut reader), ["b9", "a9"]);
    let patterns = Subscribe::from(Start::Oldest)
        .topics(topics(&["#"]))
        .conflate();
    assert_eq!(now(&mut hub.subscribe(patterns)), ["b9", "a9"]);
}

#[tokio::test(start_paused = true)]
async fn who_has_an_interval_gets_the_last_value_when_it_is_over() {
    let hub = Hub::new();
    let second = Duration::from_secs(1);
    let subscribe = Subscribe::from(Start::Live).topics(topics(&["a"]));
    let mut reader = hub.subscribe(subscribe.conflate().min_interval(second));
    submit(&hub, "a", "1");
    assert_eq!(now(&mut reader), ["1"]);
    for n in 2..=5 {
        submit(&hub, "a", &n.to_string());
        assert!(now(&mut reader).is_empty());
        tokio::time::advance(second / 5).await;
    }
    let begun = tokio::time::Instant::now();
    let last = tokio::time::timeout(second, reader.recv()).await;
    let last = last.expect("in time").expect("an event");
    assert_eq!(last.event().map(|event| event.data()), Some("5"));
    // Within a tick of the clock.
    assert!(begun.elapsed() <= second / 5 + Duration::from_millis(2));
    assert!(now(&mut reader).is_empty());
}

#[test]
fn presence_is_exact_and_in_the_order() {
    let hub = Hub::builder()
        .presence("rooms/+".parse().expect("a pattern"))
        .build();
    let mut watcher = read(&hub, Start::Live, &["presence/rooms/7", "rooms/7"]);
    let named = |name: &str| {
        let subscribe = Subscribe::from(Start::Live).topics(topics(&["rooms/7", "other"]));
        hub.subscribe(subscribe.name(name))
    };
    let ann = named("ann");
    submit(&hub, "rooms/7", "hello");
    let bob = named("b\"ob");
    drop(ann);
    drop(read(&hub, Start::Live, &["rooms/+"]));
    drop(bob);
    assert_eq!(
        now(&mut watcher),
        [
            // Its own.
            r#"{"topic":"rooms/7","count":1}"#,
            r#"{"topic":"rooms/7","name":"ann","count":2}"#,
            "hello",
            r#"{"topic":"rooms/7","name":"b\"ob","count":3}"#,
            r#"{"topic":"rooms/7","name":"ann","count":2}"#,
            r#"{"topic":"rooms/7","name":"b\"ob","count":1}"#,
        ]
    );
    assert!(hub.get(&topic("presence/other")).is_none());
}

#[test]
fn topics_are_added_and_removed_while_a_subscription_lives() {
    let hub = keeping(10);
    submit(&hub, "price/oil", "80");
    submit(&hub, "b", "old");
    let control = Control::new();
    let subscribe = Subscribe::from(Start::Live).topics(topics(&["a"]));
    let mut reader = hub.subscribe(subscribe.control(&control));
    submit(&hub, "a", "1");
    assert_eq!(now(&mut reader), ["1"]);

    let mut waiting = spawn(reader.recv());
    assert_pending!(waiting.poll());
    control.add(topics(&["b", "price/oil", "c/#"]));
    assert!(waiting.is_woken());
    // The current value stands outside the order; what the queue held before does not come.
    let current = assert_ready!(waiting.poll()).expect("an event");
    let current = current.event().expect("an event");
    assert_eq!(current.sse(), "data: 80\n\n");
    drop(waiting);
    for (name, data) in [("b", "2"), ("c/1", "3"), ("price/oil", "81"), ("a", "4")] {
        submit(&hub, name, data);
    }
    assert_eq!(now(&mut reader), ["2", "3", "81", "4"]);

    control.remove(topics(&["b", "c/#"]));
    for (name, data) in [("b", "5"), ("c/1", "6"), ("a", "7")] {
        submit(&hub, name, data);
    }
    assert_eq!(now(&mut reader), ["7"]);
    assert_eq!(hub.subscribers_of(&topic("b")), 0);
    drop(reader);
    assert_eq!(hub.subscribers_of(&topic("price/oil")), 0);
}

#[test]
fn what_is_read_already_does_not_come_again_when_it_is_added_in_another_way() {
    let hub = keeping(10);
    submit(&hub, "price/oil", "80");
    submit(&hub, "price/gas", "5");
    for (first, then) in [("price/oil", "price/#"), ("price/#", "price/oil")] {
        let control = Control::new();
        let subscribe = Subscribe::from(Start::Live).topics(topics(&[first]));
        let mut reader = hub.subscribe(subscribe.control(&control));
        let mut all = now(&mut reader);
        control.add(topics(&[then]));
        all.extend(now(&mut reader));
        assert_eq!(all, ["80", "5"], "{first} {then}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_client_is_told_where_it_is() {
    let hub = keeping(2);
    let hour = Duration::from_secs(3600);
    let events = EventSource::new(hub.clone()).max_age(hour).permit(|_| {
        let topics = topics(&["quiet", "price/+"]);
        Ok(Permit::new().topics(topics))
    });
    submit(&hub, "price/a", "1");
    submit(&hub, "busy", "x");
    let request = http::Request::get("/").body(()).expect("a request");
    let mut body = spawn(events.respond(&request).into_body());
    let mut next = || match body.poll_next() {
        Poll::Ready(Some(Ok(bytes))) => {
            let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
            Some(text)
        }
        Poll::Ready(_) => panic!("it goes on"),
        Poll::Pending => None,
    };
    // Where it begins: before the value.
    assert!(next().expect("a preamble").ends_with("-0\n\n"));
    assert!(next().expect("the value").ends_with("-1\ndata: 1\n\n"));
    // Behind what was replayed it learns that it is further than that.
    assert!(next().expect("a bookmark").ends_with("-2\n\n"));
    assert_eq!(next(), None);
    for n in 0..10 {
        submit(&hub, "busy", &n.to_string());
    }
    assert_eq!(next(), None);
    tokio::time::advance(Duration::from_secs(15)).await;
    assert!(next().expect("a bookmark").ends_with("-12\n\n"));
    tokio::time::advance(Duration::from_secs(15)).await;
    assert_eq!(next().as_deref(), Some(":\n\n"));
}

#[test]
fn a_shutdown_ends_the_streams_of_quiet_topics_at_once() {
    let hub = keeping(2);
    let shutdown = Shutdown::new();
    let events = EventSource::new(hub.clone())
        .shutdown(&shutdown)
        .permit(|_| Ok(Permit::new().topics(topics(&["quiet", "more/#"]))));
    let request = http::Request::get("/").body(()).expect("a request");
    let mut body = spawn(events.respond(&request).into_body());
    assert_ready!(body.poll_next());
    assert_pending!(body.poll_next());
    submit(&hub, "more/1", "x");
    submit(&hub, "busy", "x");
    shutdown.begin();
    assert!(body.is_woken());
    let mut rest = String::new();
    while let Some(Ok(bytes)) = assert_ready!(body.poll_next()) {
        rest += str::from_utf8(&bytes).expect("UTF-8");
    }
    assert!(rest.contains("-1\ndata: x\n\nretry: "), "{rest}");
    assert_eq!(hub.subscribers(), 0);
}

/// The data of all events that a stream sends now.
fn sent(body: &mut EventBody) -> Vec<String> {
    let mut text = String::new();
    while let Poll::Ready(Some(Ok(bytes))) = spawn(body.next()).poll() {
        text.push_str(std::str::from_utf8(&bytes).expect("UTF-8"));
    }
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(str::to_owned).collect()
}

/// What is joined for one is not for another who begins elsewhere, although there are as
/// many events, from the same one to the same one.
#[test]
fn two_who_begin_differently_are_sent_what_is_theirs() {
    let hub = Hub::new();
    let begin = |last| {
        let source = EventSource::new(hub.clone())
            .start(Start::Last(last))
            .permit(|_| Ok(Permit::new().topics(topics(&["t/+"]))));
        source.respond(&Request::new(())).into_body()
    };
    for (name, data) in [("t/3", "1"), ("t/1", "2"), ("t/2", "3"), ("t/2", "4")] {
        submit(&hub, name, data);
    }
    let mut early = begin(1);
    for data in ["5", "6"] {
        submit(&hub, "t/1", data);
    }
    assert_eq!(sent(&mut early), ["1", "2", "4", "5", "6"]);
    assert_eq!(sent(&mut begin(2)), ["1", "3", "4", "5", "6"]);
}

#[test]
fn a_gap_of_one_topic_does_not_save_who_is_too_slow_in_another() {
    let strict = Policy::queue(Retention::new().events(1)).overflow(Overflow::Disconnect);
    let hub = Hub::builder()
        .policy("strict".parse().expect("a pattern"), strict)
        .default_policy(Policy::queue(Retention::new().events(1)))
        .build();
    let mut slow = read(&hub, Start::Live, &["a", "strict"]);
    for (name, data) in [("a", "1"), ("strict", "2"), ("a", "3"), ("strict", "4")] {
        submit(&hub, name, data);
    }
    assert_eq!(now(&mut slow), ["slow 0..1 (1)", "end"]);
    assert_eq!(slow.end(), Some(End::Slow));
}

/// Ages of seconds: of `short/#` 10, of `a` 60, of all others none.
fn ageing() -> Hub {
    let second = Duration::from_secs(1);
    let queue = Policy::default();
    Hub::builder()
        .policy(
            "short/#".parse().expect("a pattern"),
            queue.age(10 * second),
        )
        .policy(
            "strict/#".parse().expect("a pattern"),
            queue.age(10 * second).overflow(Overflow::Disconnect),
        )
        .policy("a".parse().expect("a pattern"), queue.age(60 * second))
        .build()
}

async fn advance(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

/// Each submit looks at two topics.
fn sweep(hub: &Hub) {
    (0..4).for_each(|_| {
        submit(hub, "tick", "tick");
    });
}

fn without_ticks(subscription: &mut Subscription) -> Vec<String> {
    let mut all = now(subscription);
    all.retain(|what| what != "tick");
    all
}

#[tokio::test(start_paused = true)]
async fn who_was_to_have_what_a_forgotten_topic_held_is_told() {
    let hub = ageing();
    submit(&hub, "short/1", "1");
    submit(&hub, "short/1", "2");
    let mut oldest = read(&hub, Start::Oldest, &["short/+"]);
    let mut live = read(&hub, Start::Live, &["short/+"]);
    advance(10).await;
    sweep(&hub);
    assert_eq!(hub.topics(), 1);
    assert_eq!(now(&mut oldest), ["evicted 0..2"]);
    assert!(now(&mut live).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_loss_is_told_before_what_follows_it_in_a_topic_that_was_forgotten_between() {
    let hub = ageing();
    let mut slow = read(&hub, Start::Live, &["#"]);
    submit(&hub, "a", "1");
    advance(60).await;
    sweep(&hub);
    assert_eq!(hub.topics(), 1);
    // In the place that it had.
    submit(&hub, "other", "6");
    submit(&hub, "a", "7");
    submit(&hub, "short/1", "8");
    advance(10).await;
    sweep(&hub);
    assert_eq!(hub.topics(), 3);
    let told = without_ticks(&mut slow);
    assert_eq!(told, ["slow 0..1", "6", "7", "slow 7..8"]);
}

#[tokio::test(start_paused = true)]
async fn who_is_too_slow_is_sent_away_although_the_topic_is_forgotten() {
    let hub = ageing();
    let mut slow = read(&hub, Start::Live, &["strict/+"]);
    submit(&hub, "strict/1", "1");
    advance(10).await;
    sweep(&hub);
    assert_eq!(hub.topics(), 1);
    assert_eq!(now(&mut slow), ["end"]);
    assert_eq!(slow.end(), Some(End::Slow));
}

#[tokio::test(start_paused = true)]
async fn a_topic_in_the_place_of_another_does_not_begin_where_that_did() {
    let hub = ageing();
    submit(&hub, "a", "1");
    submit(&hub, "short/b", "2");
    advance(10).await;
    sweep(&hub);
    // It is to have the first event, which grows too old, but not the second.
    let mut last = read(&hub, Start::Last(1), &["#"]);
    advance(50).await;
    sweep(&hub);
    assert_eq!(hub.topics(), 1);
    submit(&hub, "short/b", "11");
    assert_eq!(without_ticks(&mut last), ["evicted 0..1", "11"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_not_there() {
    let hub = ageing();
    submit(&hub, "a", "1");
    assert!(hub.get(&topic("a")).is_some());
    advance(60).await;
    assert!(hub.get(&topic("a")).is_none());
}

// Isolation

/// A topic is a text, compared byte by byte: however it is written, who asks gets what
/// the hook has allowed, under the one name that it has, or nothing.
#[test]
fn no_way_of_writing_a_topic_reaches_another() {
    const ALLOWED: [&str; 3] = ["rooms/7", "caf\u{e9}", "a b"];
    let hub = Hub::new();
    let source = EventSource::new(hub.clone()).permit(|head| {
        let mut topics = Topics::new();
        for text in head.queries("topic") {
            let topic: Topic = text.parse().map_err(|_| Refusal::NOT_FOUND)?;
            if !ALLOWED.contains(&topic.as_str()) {
                return Err(Refusal::FORBIDDEN);
            }
            topics = topics.topic(topic);
        }
        Ok(Permit::new().topics(topics).start(Start::Oldest))
    });
    // Whatever these might be taken for is there.
    for name in [
        "rooms/7",
        "rooms/8",
        "rooms",
        "ROOMS/7",
        "secret",
        "rooms/7/secret",
        "rooms%2F7",
        "rooms/./7",
        "rooms/../secret",
        "cafe\u{301}",
        "caf\u{e9}",
        "a b",
        "a%20b",
        "a%2Bb",
        ".",
        "..",
    ] {
        submit(&hub, name, name);
    }
    let ask = |query: &str| {
        let request = Request::builder().uri(format!("/events?{query}"));
        let response = source.respond(&request.body(()).expect("a request"));
        let status = response.status();
        if status != StatusCode::OK {
            return (status.as_u16(), Vec::new());
        }
        (200, sent(&mut response.into_body()))
    };
    for (query, reached) in [
        // The same name, written in other ways that a query has.
        ("topic=rooms/7", "rooms/7"),
        ("topic=rooms%2F7", "rooms/7"),
        ("topic=rooms%2f7", "rooms/7"),
        ("topic=%72ooms/%37", "rooms/7"),
        ("topic=caf%C3%A9", "caf\u{e9}"),
        ("topic=caf%c3%a9", "caf\u{e9}"),
        ("topic=a+b", "a b"),
        ("topic=a%20b", "a b"),
        ("topic=rooms/7&topic=rooms/7", "rooms/7"),
        ("x=rooms/8&topic=rooms/7", "rooms/7"),
    ] {
        assert_eq!(ask(query), (200, vec![reached.to_owned()]), "{query}");
    }
    assert_eq!(ask("topic=rooms/7&topic=a+b").1, ["rooms/7", "a b"]);
    for nothing in [
        "",
        "TOPIC=rooms/7",
        "topic[]=rooms/7",
        "%74opic=rooms/7",
        "x=rooms/7",
    ] {
        assert_eq!(ask(nothing), (200, Vec::new()), "{nothing}");
    }
    let long = format!("topic={}", "x".repeat(256));
    let deep = format!("topic={}", ["x"; 17].join("/"));
    let padded = format!("topic=rooms/7{}", "%20".repeat(300));
    for (query, status) in [
        // Not UTF-8: overlong, a lone byte, a surrogate.
        ("topic=rooms%C0%AF7", 403),
        ("topic=caf%E9", 403),
        ("topic=rooms/7%ED%A0%80", 403),
        // Encoded twice.
        ("topic=rooms%252F7", 403),
        ("topic=%2572ooms/7", 403),
        ("topic=a%2520b", 403),
        // Dots.
        ("topic=rooms/./7", 403),
        ("topic=rooms/../secret", 403),
        ("topic=x/../rooms/7", 403),
        ("topic=%2e%2e", 403),
        ("topic=./rooms/7", 403),
        // Levels that are empty.
        ("topic=", 404),
        ("topic", 404),
        ("topic=/", 404),
        ("topic=/rooms/7", 404),
        ("topic=rooms/7/", 404),
        ("topic=rooms//7", 404),
        ("topic=rooms%2F%2F7", 404),
        // Case, and what looks like a slash.
        ("topic=ROOMS/7", 403),
        ("topic=Rooms/7", 403),
        ("topic=rooms%5C7", 403),
        ("topic=rooms%E2%88%957", 403),
        ("topic=rooms%EF%BC%8F7", 403),
        // Control characters.
        ("topic=rooms/7%00", 404),
        ("topic=%00rooms/7", 404),
        ("topic=rooms/7%0A", 404),
        ("topic=rooms/7%0D%0Adata:%20x", 404),
        ("topic=rooms/7%C2%85", 404),
        // The same text in another form: decomposed, with what cannot be seen, in full
        // width, right to left.
        ("topic=cafe%CC%81", 403),
        ("topic=rooms/7%E2%80%8B", 403),
        ("topic=rooms/%EF%BC%97", 403),
        ("topic=%E2%80%AErooms/7", 403),
        // No encoding at all.
        ("topic=rooms%2", 403),
        ("topic=rooms/7%", 403),
        ("topic=rooms/7%zz", 403),
        // Wildcards are no text of a topic.
        ("topic=%2B/7", 404),
        ("topic=rooms/%2B", 404),
        ("topic=%23", 404),
        ("topic=rooms/%23", 404),
        ("topic=a%2Bb", 404),
        ("topic=+", 403),
        ("topic=rooms/+", 403),
        // Spaces.
        ("topic=+rooms/7", 403),
        ("topic=rooms/7%20", 403),
        // Too much.
        (&*long, 404),
        (&*deep, 404),
        (&*padded, 404),
        // One of several.
        ("topic=rooms/7&topic=secret", 403),
        ("topic=rooms/7&topic=rooms//7", 404),
        ("topic=secret&topic=rooms/7", 403),
        ("topic=rooms/7,secret", 403),
        ("topic=rooms/7;topic=secret", 403),
    ] {
        assert_eq!(ask(query), (status, Vec::new()), "{query}");
    }
    assert_eq!(hub.subscribers(), 0);
}

/// However fast more is submitted: what there was when the shutdown began is sent, and then
/// the stream ends.
#[tokio::test]
async fn a_shutdown_ends_the_stream_of_a_busy_hub() {
    let (hub, shutdown) = (Hub::new(), Shutdown::new());
    let events = EventSource::new(hub.clone()).shutdown(&shutdown);
    let events = events.permit(|_| Ok(Permit::new().topics(topics(&["a"]))));
    let mut body = events.respond(&Request::new(())).into_body();
    submit(&hub, "a", "1");
    shutdown.begin();
    let mut text = String::new();
    for n in 2..20 {
        submit(&hub, "a", &n.to_string());
        match body.next().await {
            Some(Ok(bytes)) => text.push_str(str::from_utf8(&bytes).expect("text")),
            None => break,
        }
    }
    assert!(text.contains("data: 2\n\n"), "{text}");
    assert!(!text.contains("data: 10\n"), "{text}");
    assert!(text.contains("retry: "), "{text}");
    assert!(body.next().await.is_none());
}

/// What was about to be sent of an addition that is taken back is not, but for what is read
/// in another way.
#[test]
fn current_values_of_what_is_removed_again_do_not_come() {
    let latest = Policy::latest();
    let hub = Hub::builder().default_policy(latest).build();
    for name in ["p/1", "p/2", "q/1"] {
        submit(&hub, name, name);
    }
    let control = Control::new();
    let mut subscription = hub.subscribe(Subscribe::default().control(&control));
    control.add(topics(&["p/+"]));
    control.add(topics(&["q/+"]));
    let mut all = Vec::new();
    let mut next = spawn(subscription.recv());
    if let Poll::Ready(Some(Delivery::Event(event))) = next.poll() {
        all.push(event.data().to_owned());
    }
    drop(next);
    control.remove(topics(&["p/+", "q/1"]));
    all.extend(now(&mut subscription));
    all.sort();
    // One of all three was taken before; of what was left `q/1` is still read by its pattern.
    assert!(all.contains(&"q/1".to_owned()), "{all:?}");
    assert!(all.len() <= 2, "{all:?}");
}
