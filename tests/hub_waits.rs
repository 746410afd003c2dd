//! Topics of a hub that wait for their slowest reader: what a store that waits promises
//! (`tests/stores.rs`), and that one topic holds back no other.

mod support;

use std::time::Duration;

use tokio_test::task::{Spawn, spawn};
use tornadose::{
    Control, Event, Hub, Overflow, Pattern, Policy, Position, Retention, Start, SubmitError,
    Submitted, Subscribe, Topic, Topics,
};

use support::clock::Clock;
use support::position::place;
use support::reader::{Reader, heard, reader};

const SECOND: Duration = Duration::from_secs(1);

fn topic(name: &str) -> Topic {
    name.parse().expect("a topic")
}

fn pattern(text: &str) -> Pattern {
    text.parse().expect("a pattern")
}

/// Topics, and patterns where there is a wildcard.
fn to(names: &[&str]) -> Topics {
    names.iter().fold(Topics::new(), |topics, name| {
        if name.contains(['+', '#']) {
            topics.pattern(pattern(name))
        } else {
            topics.topic(topic(name))
        }
    })
}

fn wait() -> Overflow {
    Overflow::Wait { stall: 30 * SECOND }
}

/// Topics `w/...` hold two events and wait, all others hold two.
fn hub() -> Hub {
    let queue = Policy::queue(Retention::new().events(2));
    Hub::builder()
        .policy(pattern("w/#"), queue.overflow(wait()))
        .default_policy(queue)
        .build()
}

fn event(name: &str, data: &(impl ToString + ?Sized)) -> Event {
    Event::new(data.to_string()).topic(topic(name))
}

/// Submits the numbers of a range.
fn submit(hub: &Hub, name: &str, numbers: std::ops::RangeInclusive<u64>) {
    for n in numbers {
        hub.submit(event(name, &n)).expect("taken");
    }
}

fn submitting(hub: &Hub, name: &str, data: &str) -> Spawn<Submitted> {
    spawn(hub.submit(event(name, data)).expect("taken"))
}

fn read(hub: &Hub, start: Start, names: &[&str]) -> Reader {
    reader(hub.subscribe(Subscribe::from(start).topics(to(names))))
}

fn live(hub: &Hub, names: &[&str]) -> Reader {
    read(hub, Start::Live, names)
}

fn after(hub: &Hub, id: Position, names: &[&str]) -> Reader {
    reader(hub.subscribe(Subscribe::default().after(id).topics(to(names))))
}

/// A reader of `w/1`, which is full, and that has read nothing; and the last submit.
fn held_up(hub: &Hub, names: &[&str]) -> (Reader, Spawn<Submitted>) {
    let slow = live(hub, names);
    submit(hub, "w/1", 1..=2);
    let mut submitted = submitting(hub, "w/1", "3");
    assert!(!submitted.is_ready());
    assert!(submitted.poll().is_pending());
    (slow, submitted)
}

fn is_full(hub: &Hub, name: &str) -> bool {
    let event = event(name, "one too many");
    match hub.submit(event.clone()) {
        Err(error) => {
            assert_eq!(error, SubmitError::Full(event));
            true
        }
        Ok(_) => false,
    }
}

/// The ways to read `w/1`.
const WAYS: [&[&str]; 5] = [
    &["w/1"],
    &["w/+"],
    &["#", "w/1"],
    &["w/1", "a", "w/2", "w/#"],
    &["w/1", "w/+", "a/+"],
];

#[test]
fn a_submit_is_pending_until_the_slowest_reader_moves() {
    for names in WAYS {
        let hub = hub();
        let mut quick = live(&hub, names);
        let (mut slow, mut submitted) = held_up(&hub, names);
        assert_eq!(heard(&mut quick), ["1", "2", "3"]);
        assert!(!submitted.is_woken() && submitted.poll().is_pending());

        assert!(slow.poll_next().is_ready());
        assert!(submitted.is_woken() && submitted.is_ready());
        assert!(submitted.poll().is_ready());
        assert_eq!(heard(&mut slow), ["2", "3"]);
    }
}

#[test]
fn every_pending_submit_resolves_when_the_slowest_reader_leaves() {
    for names in WAYS {
        let hub = hub();
        let (slow, mut third) = held_up(&hub, names);
        let mut fourth = submitting(&hub, "w/1", "4");
        assert!(fourth.poll().is_pending());
        drop(slow);
        for submitted in [&mut third, &mut fourth] {
            assert!(submitted.is_woken());
            assert!(submitted.poll().is_ready());
        }
    }
}

#[test]
fn a_topic_holds_back_no_other() {
    let hub = hub();
    let (mut slow, _third) = held_up(&hub, &["w/#", "a"]);
    for name in ["w/2", "a", "b"] {
        let mut submitted = submitting(&hub, name, name);
        assert!(submitted.is_ready() && submitted.poll().is_ready());
    }
    submit(&hub, "a", 4..=5);
    submit(&hub, "w/1", 4..=4);
    assert!(is_full(&hub, "w/1") && !is_full(&hub, "b"));
    assert_eq!(
        heard(&mut slow),
        ["1", "2", "3", "w/2", "gap slow 1", "4", "5", "4"]
    );
}

#[test]
fn a_topic_that_nobody_reads_waits_for_nobody() {
    let hub = hub();
    let mut other = live(&hub, &["w/2", "a/+", "none/#"]);
    for n in 1..=10 {
        assert!(hub.submit(event("w/1", &n)).expect("taken").is_ready());
    }
    let many = (11..=20).map(|n| event("w/1", &n));
    let taken = hub.submit_all(many).expect("taken");
    assert!(taken.iter().all(Submitted::is_ready));
    assert_eq!(
        heard(&mut read(&hub, Start::Oldest, &["w/1"])),
        ["19", "20"]
    );
    assert!(heard(&mut other).is_empty());
}

#[test]
fn every_pending_submit_resolves_when_the_hub_is_closed() {
    let hub = hub();
    let (mut slow, mut submitted) = held_up(&hub, &["w/1"]);
    hub.close();
    assert!(submitted.is_woken() && submitted.is_ready());
    assert!(submitted.poll().is_ready());
    assert_eq!(heard(&mut slow), ["1", "2", "3", "end Closed"]);
}

#[test]
fn a_submit_beyond_twice_the_retention_is_handed_back() {
    let hub = hub();
    let mut slow = live(&hub, &["w/+"]);
    submit(&hub, "w/1", 1..=4);
    assert!(is_full(&hub, "w/1"));
    assert!(slow.poll_next().is_ready());
    submit(&hub, "w/1", 5..=5);
    assert!(is_full(&hub, "w/1"));
    assert_eq!(heard(&mut slow), ["2", "3", "4", "5"]);
    submit(&hub, "w/1", 6..=6);
    assert_eq!(heard(&mut slow), ["6"]);
}

#[test]
fn a_topic_that_waits_holds_at_most_twice_its_bytes() {
    let queue = Policy::queue(Retention::new().bytes(1000));
    let hub = Hub::builder()
        .default_policy(queue.overflow(wait()))
        .build();
    let mut slow = live(&hub, &["a"]);
    let large = "x".repeat(800);
    submit(&hub, "a", 1..=1);
    hub.submit(event("a", &large)).expect("taken");
    assert!(matches!(
        hub.submit(event("a", &large)),
        Err(SubmitError::Full(_))
    ));
    assert_eq!(heard(&mut slow), ["1", &large]);
}

#[test]
fn several_events_are_taken_by_full_topics_whole_or_not_at_all() {
    let hub = hub();
    let mut slow = live(&hub, &["w/1", "w/+"]);
    submit(&hub, "w/1", 1..=2);
    let events: Vec<_> = [("a", 1), ("w/1", 3), ("w/2", 4), ("w/1", 4), ("w/1", 5)]
        .map(|(name, n)| event(name, &n))
        .into();
    let refused = hub.submit_all(events.clone()).expect_err("full");
    assert!(matches!(refused.error(), SubmitError::Full(_)));
    assert_eq!(
        (refused.index(), refused.into_events()),
        (4, events.clone())
    );
    assert_eq!(hub.latest().map(Position::offset), Some(2));

    let taken = hub.submit_all(events[..4].to_vec()).expect("taken");
    let mut taken: Vec<_> = taken.into_iter().map(spawn).collect();
    let is_pending: Vec<_> = taken.iter_mut().map(|t| t.poll().is_pending()).collect();
    assert_eq!(is_pending, [false, true, false, true]);
    assert_eq!(heard(&mut slow), ["1", "2", "3", "4", "4"]);
    for at in [1, 3] {
        assert!(taken[at].is_woken() && taken[at].poll().is_ready());
    }
    // Of a topic that is not there yet, and then of one that somebody has read wholly.
    let many = |name| (1..=5).map(move |n| event(name, &n));
    for name in ["w/3", "w/1"] {
        assert_eq!(hub.submit_all(many(name)).expect_err("full").index(), 4);
        hub.submit_all(many(name).take(4)).expect("taken");
        assert_eq!(heard(&mut slow), ["1", "2", "3", "4"]);
    }
    assert_eq!(hub.topics(), 4);
}

#[test]
fn a_latecomer_holds_up_what_it_has_not_read_like_everybody_else() {
    for names in WAYS {
        let hub = hub();
        submit(&hub, "w/1", 1..=2);
        let mut late = read(&hub, Start::Oldest, names);
        let mut last = read(&hub, Start::Last(1), names);
        let mut third = submitting(&hub, "w/1", "3");
        assert!(third.poll().is_pending());
        assert_eq!(heard(&mut late), ["1", "2", "3"]);
        assert!(third.poll().is_ready());
        submit(&hub, "w/1", 4..=5);
        assert!(is_full(&hub, "w/1"));
        assert_eq!(heard(&mut last), ["2", "3", "4", "5"]);
        assert_eq!(heard(&mut late), ["4", "5"]);
    }
}

/// Although the gap of what it has missed before is still to be told.
#[test]
fn who_comes_back_too_late_loses_no_more_than_it_had_lost() {
    for names in WAYS {
        let hub = hub();
        let first = hub
            .submit(event("w/1", &1))
            .expect("taken")
            .id()
            .expect("in memory");
        submit(&hub, "w/1", 2..=4);
        let mut back = after(&hub, first, names);
        submit(&hub, "w/1", 5..=6);
        assert!(is_full(&hub, "w/1"));
        let heard = heard(&mut back);
        assert!(heard[0].starts_with("gap evicted"), "{heard:?}");
        assert_eq!(heard[1..], ["3", "4", "5", "6"]);
        submit(&hub, "w/1", 7..=10);
        assert!(is_full(&hub, "w/1"));
        drop(back);
        assert!(!is_full(&hub, "w/1"));
    }
}

#[test]
fn who_has_read_nothing_since_is_held_for_where_it_comes_back() {
    let hub = hub();
    let first = hub
        .submit(event("w/1", &1))
        .expect("taken")
        .id()
        .expect("in memory");
    submit(&hub, "w/1", 2..=2);
    let mut back = after(&hub, first, &["w/+"]);
    submit(&hub, "w/1", 3..=5);
    assert!(is_full(&hub, "w/1"));
    assert_eq!(heard(&mut back), ["2", "3", "4", "5"]);
}

#[test]
fn a_reader_that_stalls_is_left_behind_and_gets_its_gap() {
    for names in WAYS {
        let (clock, hub) = (Clock::paused(), hub());
        let (mut slow, mut submitted) = clock.at_once(|| held_up(&hub, names));
        clock.advance(29 * SECOND);
        clock.at_once(|| {
            assert!(!submitted.is_woken());
            assert!(submitted.poll().is_pending());
        });
        clock.advance(SECOND);
        clock.at_once(|| {
            assert!(submitted.is_woken());
            assert!(submitted.poll().is_ready());
            // It goes on without it.
            for n in 4..=9 {
                assert!(hub.submit(event("w/1", &n)).expect("taken").is_ready());
            }
            let told = heard(&mut slow);
            assert!(told[0].starts_with("gap slow"), "{told:?}");
            assert_eq!(told[1..], ["8", "9"]);
            // It is waited for again.
            submit(&hub, "w/1", 10..=13);
            assert!(is_full(&hub, "w/1"));
            assert_eq!(heard(&mut slow), ["10", "11", "12", "13"]);
        });
    }
}

#[test]
fn who_is_left_behind_and_leaves_takes_nobody_with_it() {
    let (clock, hub) = (Clock::paused(), hub());
    let (slow, _submitted) = clock.at_once(|| held_up(&hub, &["w/+", "w/1"]));
    clock.advance(30 * SECOND);
    clock.at_once(|| {
        submit(&hub, "w/1", 4..=5);
        let mut other = read(&hub, Start::Oldest, &["w/1"]);
        drop(slow);
        submit(&hub, "w/1", 6..=7);
        assert!(is_full(&hub, "w/1"));
        assert_eq!(heard(&mut other), ["4", "5", "6", "7"]);
    });
}

#[test]
fn a_stall_that_has_run_out_makes_room_though_nobody_awaits_it() {
    let (clock, hub) = (Clock::paused(), hub());
    let mut slow = clock.at_once(|| live(&hub, &["w/1"]));
    clock.at_once(|| submit(&hub, "w/1", 1..=4));
    clock.advance(29 * SECOND);
    clock.at_once(|| assert!(is_full(&hub, "w/1")));
    clock.advance(SECOND);
    clock.at_once(|| {
        let four = (5..=8).map(|n| event("w/1", &n));
        hub.submit_all(four).expect("taken");
        assert_eq!(heard(&mut slow), ["gap slow 6", "7", "8"]);
    });
}

#[test]
fn a_reader_that_reads_now_and_then_does_not_stall() {
    let (clock, hub) = (Clock::paused(), hub());
    let mut slow = clock.at_once(|| live(&hub, &["w/+"]));
    clock.at_once(|| submit(&hub, "w/1", 1..=4));
    for n in 1..=50 {
        clock.advance(29 * SECOND);
        clock.at_once(|| {
            let next = slow.poll_next();
            let data = |next| support::reader::in_words(&next);
            assert_eq!(
                next.map(|next| next.map(data)),
                std::task::Poll::Ready(Some(n.to_string()))
            );
            submit(&hub, "w/1", n + 4..=n + 4);
        });
    }
}

#[tokio::test(start_paused = true)]
async fn an_awaited_submit_resolves_at_the_pace_of_the_reader() {
    let hub = hub();
    let mut subscription = hub.subscribe(Subscribe::from(Start::Live).topics(to(&["w/+"])));
    let submitter = {
        let hub = hub.clone();
        tokio::spawn(async move {
            for n in 0..1000 {
                let name = ["w/1", "w/2"][n % 2];
                hub.submit(event(name, &n))
                    .expect("taken")
                    .await
                    .expect("kept");
            }
        })
    };
    for n in 0..1000 {
        let delivery = subscription.recv().await.expect("open");
        assert_eq!(support::reader::in_words(&delivery), n.to_string());
        let ahead = hub.latest().expect("an event").offset() - (n + 1);
        assert!(ahead <= 5, "{ahead}");
    }
    submitter.await.expect("no panic");
}

#[test]
fn nobody_waits_for_who_conflates() {
    for names in WAYS {
        let hub = hub();
        let subscribe = Subscribe::from(Start::Live).topics(to(names)).conflate();
        let mut latest = reader(hub.subscribe(subscribe));
        for n in 1..=9 {
            assert!(hub.submit(event("w/1", &n)).expect("taken").is_ready());
        }
        assert_eq!(heard(&mut latest), ["9"]);
    }
}

#[test]
fn who_takes_a_page_at_a_time_frees_all_of_it() {
    use http_body::Body;
    let hub = hub();
    let permit = tornadose::Permit::new().topics(to(&["w/+", "a"]));
    let events = tornadose::EventSource::new(hub.clone()).permit(move |_| Ok(permit.clone()));
    let request = http::Request::get("/").body(()).expect("a request");
    let mut body = Box::pin(events.respond(&request).into_body());
    let mut next = || {
        let mut next = spawn(std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)));
        next.poll().is_ready()
    };
    while next() {}
    submit(&hub, "w/1", 1..=4);
    submit(&hub, "w/2", 1..=3);
    submit(&hub, "a", 1..=1);
    assert!(is_full(&hub, "w/1"));
    assert!(next());
    assert!(!next());
    submit(&hub, "w/1", 1..=4);
    submit(&hub, "w/2", 1..=4);
    assert!(is_full(&hub, "w/1") && is_full(&hub, "w/2"));
    drop(body);
    assert!(!is_full(&hub, "w/1") && !is_full(&hub, "w/2"));
}

#[test]
fn what_is_added_is_waited_for_and_what_is_removed_is_not() {
    let (hub, control) = (hub(), Control::new());
    submit(&hub, "w/1", 1..=2);
    let mut slow = reader(hub.subscribe(Subscribe::from(Start::Live).control(&control)));
    assert!(slow.poll_next().is_pending());
    control.add(to(&["w/1"]));
    assert!(slow.poll_next().is_pending());
    submit(&hub, "w/1", 3..=5);
    let mut submitted = submitting(&hub, "w/1", "6");
    assert!(submitted.poll().is_pending() && is_full(&hub, "w/1"));
    // By the pattern it wants what comes from here on.
    control.add(to(&["w/+"]));
    assert!(slow.poll_next().is_ready());
    assert!(submitted.poll().is_pending());
    control.remove(to(&["w/1"]));
    submit(&hub, "w/1", 7..=7);
    assert_eq!(heard(&mut slow), ["7"]);
    assert!(submitted.is_woken() && submitted.poll().is_ready());
    submit(&hub, "w/1", 8..=9);
    let mut submitted = submitting(&hub, "w/1", "10");
    assert!(submitted.poll().is_pending());
    control.remove(to(&["w/+"]));
    assert!(slow.poll_next().is_pending());
    assert!(submitted.is_woken() && submitted.poll().is_ready());
    assert!(!is_full(&hub, "w/1"));
}

#[test]
fn who_was_sent_away_is_not_waited_for() {
    let queue = Policy::queue(Retention::new().events(2));
    let hub = Hub::builder()
        .policy(pattern("w/#"), queue.overflow(wait()))
        .default_policy(queue.overflow(Overflow::Disconnect))
        .build();
    let mut slow = live(&hub, &["a", "w/1"]);
    submit(&hub, "a", 1..=3);
    submit(&hub, "w/1", 1..=4);
    assert!(is_full(&hub, "w/1"));
    assert_eq!(heard(&mut slow), ["end Slow"]);
    assert!(!is_full(&hub, "w/1"));
    drop(slow);
    submit(&hub, "w/1", 1..=4);
}

#[test]
fn presence_is_told_in_any_case() {
    let queue = Policy::queue(Retention::new().events(2));
    let hub = Hub::builder()
        .presence(pattern("#"))
        .default_policy(queue.overflow(wait()))
        .build();
    let mut watcher = live(&hub, &["presence/a"]);
    let readers: Vec<_> = (0..3).map(|_| live(&hub, &["a"])).collect();
    let mut submitted = submitting(&hub, "presence/a", "x");
    assert!(submitted.poll().is_pending() && is_full(&hub, "presence/a"));
    drop(readers);
    let told = heard(&mut watcher);
    assert_eq!((told.len(), told[0].as_str()), (3, "gap slow 5"));
    assert!(submitted.is_woken() && submitted.poll().is_ready());
    assert!(told[2].contains("\"count\":0"));
}

#[test]
fn a_topic_that_waits_holds_what_is_too_old_for_who_is_connected() {
    let clock = Clock::paused();
    let queue = Policy::queue(Retention::new()).age(10 * SECOND);
    let stall = 3600 * SECOND;
    let hub = Hub::builder()
        .default_policy(queue.overflow(Overflow::Wait { stall }))
        .build();
    let names = [&["w/1"][..], &["w/+"]];
    let mut slow = clock.at_once(|| names.map(|names| live(&hub, names)));
    clock.at_once(|| submit(&hub, "w/1", 1..=2));
    clock.advance(60 * SECOND);
    clock.at_once(|| {
        submit(&hub, "w/1", 3..=3);
        for names in names {
            assert_eq!(heard(&mut read(&hub, Start::Oldest, names)), ["3"]);
        }
        for slow in &mut slow {
            assert_eq!(heard(slow), ["1", "2", "3"]);
        }
    });
    clock.advance(60 * SECOND);
    clock.at_once(|| {
        let first = place(hub.latest().expect("an event"), 1);
        for names in names {
            let told = heard(&mut after(&hub, first, names));
            assert_eq!(told.len(), 1);
            assert!(told[0].starts_with("gap evicted"), "{told:?}");
        }
    });
}

#[test]
fn a_topic_that_is_forgotten_is_waited_for_when_it_is_there_again() {
    let clock = Clock::paused();
    let queue = Policy::queue(Retention::new().events(2)).age(SECOND);
    let hub = Hub::builder()
        .default_policy(queue.overflow(wait()))
        .build();
    let mut slow = clock.at_once(|| live(&hub, &["w/+"]));
    clock.at_once(|| {
        submit(&hub, "w/1", 1..=2);
        assert_eq!(heard(&mut slow), ["1", "2"]);
    });
    clock.advance(2 * SECOND);
    clock.at_once(|| {
        (0..4).for_each(|n| submit(&hub, "a", n..=n));
        assert_eq!(hub.topics(), 1);
        submit(&hub, "w/1", 3..=6);
        assert!(is_full(&hub, "w/1"));
        assert_eq!(heard(&mut slow), ["3", "4", "5", "6"]);
    });
}
