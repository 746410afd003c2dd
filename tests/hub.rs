//! The hub: many topics, one order.

use std::time::Duration;

use tokio_test::task::spawn;
use tokio_test::{assert_pending, assert_ready};
use tornadose::{
    Control, Delivery, End, Event, EventSource, GapReason, Hub, LastEventId, Permit, Policy,
    Position, Retention, Shutdown, Start, SubmitError, Subscribe, Subscription, Topic, Topics,
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
    hub.submit(event).expect("taken").id()
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
            std::task::Poll::Ready(Some(Delivery::Event(event))) => {
                all.push(event.data().to_owned());
            }
            std::task::Poll::Ready(Some(Delivery::Gap(gap))) => {
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
            std::task::Poll::Ready(Some(_)) => unreachable!(),
            std::task::Poll::Ready(None) => all.push("end".to_owned()),
            std::task::Poll::Pending => return all,
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
    let strict = Policy::queue(Retention::new().events(2)).disconnect_slow();
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
    let ids = hub.submit_all(["a", "b", "a"].map(event)).expect("taken");
    assert_eq!(
        ids.iter().map(|id| id.offset()).collect::<Vec<_>>(),
        [1, 2, 3]
    );

    let events = [event("a"), Event::new("lost"), event("b")];
    let error = hub
        .submit_all(events.clone())
        .expect_err("one has no topic");
    assert!(matches!(error.error(), SubmitError::NoTopic(_)));
    assert_eq!(error.at(), 1);
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
    assert_eq!(now(&mut read_after(&hub, other, &["a"])), ["epoch ?..1"]);
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
    let last = reader.recv().await.expect("an event");
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
        std::task::Poll::Ready(Some(Ok(bytes))) => {
            let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
            Some(text)
        }
        std::task::Poll::Ready(_) => panic!("it goes on"),
        std::task::Poll::Pending => None,
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
