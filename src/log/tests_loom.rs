//! Every interleaving of append, park, wake and drop, small enough to try them all.
//!
//! `RUSTFLAGS="--cfg tornadose_loom" cargo test --release --lib loom`

use std::future::poll_fn;
use std::mem;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use loom::future::block_on;
use loom::thread;

use super::topics::{Policies, Policy, Reader, TopicLog};
use super::{
    Config, Cursor, End, Found, Lag, Latch, Log, Notice, Overflow, Retention, Start, Submitted,
};
use crate::event::Event;
use crate::subscription::Subscribe;
use crate::topic::{Topic, Topics};

/// Bounded, because thousands of schedules with three preemptions find what millions
/// with more do not; `LOOM_MAX_PREEMPTIONS` sets another bound.
fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(Some(3));
    model.check(check);
}

fn log(events: usize, lag: Lag) -> Arc<Log> {
    Arc::new(Log::new(Config {
        retention: Retention::new().events(events),
        lag,
        max_event_bytes: 1024,
        name: None,
    }))
}

const WAIT: Lag = Lag::Overflow(Overflow::Wait {
    stall: Duration::from_secs(3600),
});

fn submit(log: &Arc<Log>, data: &str) -> Submitted {
    let position = log.append(data.into()).expect("open and small");
    Submitted::when_room(position, log)
}

/// Reads until the log closes: the data, and how many were told as missed.
fn read_all(log: &Log, mut cursor: Cursor) -> (Vec<String>, u64) {
    let (mut received, mut missed) = (Vec::new(), 0);
    loop {
        match block_on(poll_fn(|cx| log.poll_event(cx, &mut cursor))) {
            Found::Events(entry) => received.push(entry.data().to_owned()),
            Found::Gap(gap) => missed += gap.missed.expect("a live gap is counted"),
            Found::End(end) => {
                assert_eq!(end, End::Closed);
                log.unsubscribe(&mut cursor);
                return (received, missed);
            }
        }
    }
}

#[test]
fn loom_what_is_submitted_is_received_or_missed() {
    model(|| {
        let log = log(1, Lag::Overflow(Overflow::DropOldest));
        let (cursor, _) = log.subscribe(&Start::Live.into());
        let publisher = {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                submit(&log, "1");
                submit(&log, "2");
                log.close();
            })
        };
        let (received, missed) = read_all(&log, cursor);
        publisher.join().expect("no panic");
        assert_eq!(received.len() as u64 + missed, 2);
        assert_eq!(received.last().map(String::as_str), Some("2"));
    });
}

/// By the event alone: nothing else happens that would wake it.
#[test]
fn loom_who_waits_is_woken_by_an_event() {
    model(|| {
        let log = log(8, Lag::Overflow(Overflow::DropOldest));
        let (mut cursor, _) = log.subscribe(&Start::Live.into());
        let publisher = {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                submit(&log, "1");
            })
        };
        let found = block_on(poll_fn(|cx| log.poll_event(cx, &mut cursor)));
        assert!(matches!(found, Found::Events(_)));
        log.unsubscribe(&mut cursor);
        publisher.join().expect("no panic");
    });
}

/// Who is polled for no reason does not park again while it is parked, and is woken all the
/// same; also where a wake-up comes late, for an event that has been read by then.
#[test]
fn loom_who_asks_again_while_it_is_quiet_is_woken() {
    model(|| {
        let log = log(8, Lag::Overflow(Overflow::DropOldest));
        let (mut cursor, _) = log.subscribe(&Start::Live.into());
        let publisher = {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                submit(&log, "1");
                log.close();
            })
        };
        let mut received = 0;
        loop {
            let (mut asks_again, mut was_pending) = (true, false);
            let found = block_on(poll_fn(|cx| {
                if was_pending && log.is_parked(&cursor) {
                    return Poll::Pending;
                }
                let found = log.poll_event(cx, &mut cursor);
                was_pending = found.is_pending();
                if was_pending && mem::take(&mut asks_again) {
                    cx.waker().wake_by_ref();
                }
                found
            }));
            match found {
                Found::Events(_) => received += 1,
                Found::Gap(_) => panic!("nothing is lost"),
                Found::End(_) => break,
            }
        }
        log.unsubscribe(&mut cursor);
        publisher.join().expect("no panic");
        assert_eq!(received, 1);
    });
}

#[test]
fn loom_two_readers_see_one_order_of_two_publishers() {
    model(|| {
        let log = log(8, Lag::Overflow(Overflow::DropOldest));
        let (mine, _) = log.subscribe(&Start::Live.into());
        let publishers: Vec<_> = ["a", "b"]
            .into_iter()
            .map(|data| {
                let log = Arc::clone(&log);
                thread::spawn(move || drop(submit(&log, data)))
            })
            .collect();
        for publisher in publishers {
            publisher.join().expect("no panic");
        }
        let (late, _) = log.subscribe(&Start::Oldest.into());
        log.close();
        let (mine, late) = (read_all(&log, mine), read_all(&log, late));
        assert_eq!((mine.0.len(), mine.1), (2, 0));
        assert_eq!(mine, late);
    });
}

#[test]
fn loom_a_latest_value_is_never_stale_in_the_end() {
    model(|| {
        let log = log(1, Lag::Conflate);
        let (cursor, _) = log.subscribe(&Start::Live.into());
        let publisher = {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                submit(&log, "1");
                submit(&log, "2");
                log.close();
            })
        };
        let (received, missed) = read_all(&log, cursor);
        publisher.join().expect("no panic");
        assert_eq!(missed, 0);
        assert_eq!(received.last().map(String::as_str), Some("2"));
    });
}

/// A subscriber is dropped in the middle of whatever it was doing; the other one
/// is not disturbed.
#[test]
fn loom_a_reader_that_leaves_disturbs_nobody() {
    model(|| {
        let log = log(8, Lag::Overflow(Overflow::DropOldest));
        let (cursor, _) = log.subscribe(&Start::Live.into());
        let leaving = {
            let log = Arc::clone(&log);
            let (mut cursor, _) = log.subscribe(&Start::Live.into());
            thread::spawn(move || {
                block_on(poll_fn(|cx| {
                    let _ = log.poll_event(cx, &mut cursor);
                    std::task::Poll::Ready(())
                }));
                log.unsubscribe(&mut cursor);
            })
        };
        let publisher = {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                submit(&log, "1");
                log.close();
            })
        };
        assert_eq!(read_all(&log, cursor), (vec!["1".to_owned()], 0));
        leaving.join().expect("no panic");
        publisher.join().expect("no panic");
        assert_eq!(log.subscriptions(), 0);
    });
}

/// The submitter waits for the reader, the reader for the submitter: neither may
/// sleep for ever, and nothing is lost.
#[test]
fn loom_who_waits_for_room_is_woken() {
    model(|| {
        let log = log(1, WAIT);
        let (cursor, _) = log.subscribe(&Start::Live.into());
        let publisher = {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                for data in ["1", "2"] {
                    block_on(submit(&log, data)).expect("room in the end");
                }
                log.close();
            })
        };
        let (received, missed) = read_all(&log, cursor);
        publisher.join().expect("no panic");
        assert_eq!((received.len(), missed), (2, 0));
    });
}

#[test]
fn loom_a_submitter_is_not_held_up_by_a_reader_that_leaves() {
    model(|| {
        let log = log(1, WAIT);
        let (mut cursor, _) = log.subscribe(&Start::Live.into());
        submit(&log, "1");
        let waiting = submit(&log, "2");
        let reader = {
            let log = Arc::clone(&log);
            thread::spawn(move || log.unsubscribe(&mut cursor))
        };
        block_on(waiting).expect("room in the end");
        reader.join().expect("no panic");
    });
}

/// Who looks while others submit and read sees no event counted twice, and none not at all.
#[test]
fn loom_a_snapshot_fits_together() {
    model(|| {
        let log = log(1, Lag::Overflow(Overflow::DropOldest));
        let (mut cursor, _) = log.subscribe(&Start::Live.into());
        let publisher = {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                submit(&log, "1");
                submit(&log, "2");
            })
        };
        let reader = {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                for _ in 0..2 {
                    block_on(poll_fn(|cx| {
                        let _ = log.poll_event(cx, &mut cursor);
                        std::task::Poll::Ready(())
                    }));
                }
                cursor
            })
        };
        let check = || {
            let stats = log.stats();
            let served = stats.delivered + stats.missed + stats.lag.sum();
            assert_eq!(served, stats.submitted, "{stats:?}");
            assert_eq!(stats.subscribers, 1);
        };
        check();
        publisher.join().expect("no panic");
        let mut cursor = reader.join().expect("no panic");
        let ahead = log.stats().lag.sum();
        check();
        log.unsubscribe(&mut cursor);
        let stats = log.stats();
        assert_eq!(stats.delivered + stats.missed, 2 - ahead);
        assert_eq!((stats.subscribers, stats.lag.count()), (0, 0));
    });
}

/// Of two who come and go at once both are counted.
#[test]
fn loom_who_comes_and_goes_is_counted() {
    model(|| {
        let log = log(8, Lag::Overflow(Overflow::DropOldest));
        submit(&log, "1");
        let come_and_go = |log: Arc<Log>| {
            move || {
                let (mut cursor, _) = log.subscribe(&Start::Oldest.into());
                block_on(poll_fn(|cx| {
                    assert!(log.poll_event(cx, &mut cursor).is_ready());
                    std::task::Poll::Ready(())
                }));
                log.unsubscribe(&mut cursor);
            }
        };
        let other = thread::spawn(come_and_go(Arc::clone(&log)));
        come_and_go(Arc::clone(&log))();
        other.join().expect("no panic");
        assert_eq!((log.stats().delivered, log.subscriptions()), (2, 0));
    });
}

#[test]
fn loom_a_latch_wakes_who_waits() {
    model(|| {
        let latch = Arc::new(Latch::new());
        let setter = {
            let latch = Arc::clone(&latch);
            thread::spawn(move || latch.set())
        };
        let mut notice = Notice::of(&latch);
        block_on(poll_fn(|cx| notice.poll_set(cx)));
        drop(notice);
        setter.join().expect("no panic");
    });
}

// Many topics

fn topic_log() -> Arc<TopicLog> {
    Arc::new(TopicLog::new(Policies::default(), 1024, None))
}

fn topics(names: &[&str]) -> Subscribe {
    let pattern = |name: &str| name.parse().expect("a pattern");
    let topics = names.iter().fold(Topics::new(), |topics, name| {
        if name.contains('+') {
            topics.pattern(pattern(name))
        } else {
            topics.topic(name.parse().expect("a topic"))
        }
    });
    Subscribe::from(Start::Live).topics(topics)
}

fn submit_to(log: &TopicLog, name: &str) {
    let topic: Topic = name.parse().expect("a topic");
    log.append(Event::new(name).topic(topic)).expect("taken");
}

/// Reads so many events, then leaves.
fn read_topics(log: &TopicLog, mut reader: Reader, events: usize) -> Vec<String> {
    let read = (0..events).map(
        |_| match block_on(poll_fn(|cx| log.poll_event(cx, &mut reader))) {
            Found::Events(entry) => entry.data().to_owned(),
            other => panic!("{other:?}"),
        },
    );
    let read = read.collect();
    log.unsubscribe(&mut reader);
    read
}

/// Nothing but the append can wake the reader: if that is lost, it sleeps for ever.
#[test]
fn loom_a_reader_of_a_topic_is_woken_by_it() {
    model(|| {
        let log = topic_log();
        let (reader, _) = log.subscribe(&topics(&["a"]));
        let publisher = {
            let log = Arc::clone(&log);
            thread::spawn(move || submit_to(&log, "a"))
        };
        assert_eq!(read_topics(&log, reader, 1), ["a"]);
        publisher.join().expect("no panic");
        assert_eq!(log.subscriptions(), 0);
    });
}

#[test]
fn loom_a_reader_of_two_topics_is_woken_by_each() {
    model(|| {
        let log = topic_log();
        let (reader, _) = log.subscribe(&topics(&["a", "b"]));
        let publishers = ["a", "b"].map(|name| {
            let log = Arc::clone(&log);
            thread::spawn(move || submit_to(&log, name))
        });
        let mut read = read_topics(&log, reader, 2);
        read.sort_unstable();
        assert_eq!(read, ["a", "b"]);
        for publisher in publishers {
            publisher.join().expect("no panic");
        }
    });
}

/// A pattern that is read for the first time, while the first topic that it matches is
/// made.
#[test]
fn loom_a_reader_by_a_pattern_is_woken_by_a_new_topic() {
    model(|| {
        let log = topic_log();
        let (reader, _) = log.subscribe(&topics(&["a/+"]));
        let publisher = {
            let log = Arc::clone(&log);
            thread::spawn(move || submit_to(&log, "a/1"))
        };
        assert_eq!(read_topics(&log, reader, 1), ["a/1"]);
        publisher.join().expect("no panic");
    });
}

/// Somebody comes and leaves, with whom a topic that holds nothing is made and forgotten,
/// while somebody else submits to it: who stays is woken, and what was taken is there.
#[test]
fn loom_a_topic_that_is_forgotten_loses_no_event() {
    model(|| {
        let log = topic_log();
        let leaving = {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                let (mut reader, _) = log.subscribe(&topics(&["a/1"]));
                block_on(poll_fn(|cx| {
                    let _ = log.poll_event(cx, &mut reader);
                    std::task::Poll::Ready(())
                }));
                log.unsubscribe(&mut reader);
            })
        };
        let (reader, _) = log.subscribe(&topics(&["a/+"]));
        let publisher = {
            let log = Arc::clone(&log);
            thread::spawn(move || submit_to(&log, "a/1"))
        };
        assert_eq!(read_topics(&log, reader, 1), ["a/1"]);
        publisher.join().expect("no panic");
        leaving.join().expect("no panic");
        let topic: Topic = "a/1".parse().expect("a topic");
        assert_eq!((log.subscriptions(), log.topics()), (0, 1));
        assert_eq!(log.readers(&topic), 0);
        assert!(log.latest(&topic).is_some());
    });
}

/// Of two who are of one crowd, one leaves while both are woken.
#[test]
fn loom_who_leaves_a_topic_disturbs_nobody_in_it() {
    model(|| {
        let log = topic_log();
        let (reader, _) = log.subscribe(&topics(&["a"]));
        let (mut leaving, _) = log.subscribe(&topics(&["a", "b"]));
        let leaving = {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                block_on(poll_fn(|cx| {
                    let _ = log.poll_event(cx, &mut leaving);
                    std::task::Poll::Ready(())
                }));
                log.unsubscribe(&mut leaving);
            })
        };
        let publisher = {
            let log = Arc::clone(&log);
            thread::spawn(move || submit_to(&log, "a"))
        };
        assert_eq!(read_topics(&log, reader, 1), ["a"]);
        leaving.join().expect("no panic");
        publisher.join().expect("no panic");
        assert_eq!((log.subscriptions(), log.topics()), (0, 1));
    });
}

// Topics that wait for their readers

/// Topics that hold one event.
fn log_that_waits(stall: Duration) -> Arc<TopicLog> {
    let queue = Policy::queue(Retention::new().events(1));
    let policies = Policies {
        default: queue.overflow(Overflow::Wait { stall }),
        ..Policies::default()
    };
    Arc::new(TopicLog::new(policies, 1024, None))
}

const LONG: Duration = Duration::from_secs(3600);

fn submit_in(log: &Arc<TopicLog>, name: &str) -> Submitted {
    let topic: Topic = name.parse().expect("a topic");
    let taken = log.append(Event::new(name).topic(topic));
    Submitted::in_topic(taken.expect("not full"), log)
}

/// Reads until the log closes: how many events, and how many were told as missed.
fn read_to_the_end(log: &TopicLog, mut reader: Reader) -> (u64, u64) {
    let (mut received, mut missed) = (0, 0);
    loop {
        match block_on(poll_fn(|cx| log.poll_event(cx, &mut reader))) {
            Found::Events(_) => received += 1,
            Found::Gap(gap) => missed += gap.missed.expect("a topic by name is counted"),
            Found::End(end) => {
                assert_eq!(end, End::Closed);
                log.unsubscribe(&mut reader);
                return (received, missed);
            }
        }
    }
}

/// The submitter waits for the reader, the reader for the submitter: neither may sleep for
/// ever, and nothing is lost.
#[test]
fn loom_who_waits_for_room_in_a_topic_is_woken() {
    for names in [&["a/1"][..], &["a/+"]] {
        model(move || {
            let log = log_that_waits(LONG);
            let (reader, _) = log.subscribe(&topics(names));
            let publisher = {
                let log = Arc::clone(&log);
                thread::spawn(move || {
                    for _ in 0..2 {
                        block_on(submit_in(&log, "a/1")).expect("room in the end");
                    }
                    log.close();
                })
            };
            assert_eq!(read_to_the_end(&log, reader), (2, 0));
            publisher.join().expect("no panic");
        });
    }
}

#[test]
fn loom_who_waits_for_room_in_a_topic_is_not_held_up_by_a_reader_that_leaves() {
    model(|| {
        let log = log_that_waits(LONG);
        let (mut reader, _) = log.subscribe(&topics(&["a/1", "a/+"]));
        submit_in(&log, "a/1");
        let waiting = submit_in(&log, "a/1");
        let reader = {
            let log = Arc::clone(&log);
            thread::spawn(move || log.unsubscribe(&mut reader))
        };
        block_on(waiting).expect("room in the end");
        reader.join().expect("no panic");
        assert_eq!(log.subscriptions(), 0);
    });
}

/// Two topics with a submitter each; who reads both frees each of them.
#[test]
fn loom_who_waits_for_room_in_two_topics_is_woken_in_each() {
    model(|| {
        let log = log_that_waits(LONG);
        let (reader, _) = log.subscribe(&topics(&["a", "b"]));
        let waiting = ["a", "b"].map(|name| {
            submit_in(&log, name);
            submit_in(&log, name)
        });
        let waiting = waiting.map(|waiting| {
            thread::spawn(move || block_on(waiting).map(drop).expect("room in the end"))
        });
        assert_eq!(read_topics(&log, reader, 2).len(), 2);
        for waiting in waiting {
            waiting.join().expect("no panic");
        }
    });
}

/// Who looks while a reader is counted where it stands sees no event counted twice, and
/// none not at all.
#[test]
fn loom_a_snapshot_of_a_topic_that_waits_fits_together() {
    model(|| {
        let log = log_that_waits(LONG);
        let (mut reader, _) = log.subscribe(&topics(&["a"]));
        submit_in(&log, "a");
        let publisher = {
            let log = Arc::clone(&log);
            thread::spawn(move || drop(submit_in(&log, "a")))
        };
        let reads = {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                block_on(poll_fn(|cx| {
                    assert!(log.poll_event(cx, &mut reader).is_ready());
                    std::task::Poll::Ready(())
                }));
                reader
            })
        };
        let topic = "a".parse().expect("a topic");
        let check = || {
            for stats in [log.stats(), log.stats_of(&topic).expect("it is there")] {
                let served = stats.delivered + stats.missed + stats.lag.sum();
                assert_eq!(served, stats.submitted, "{stats:?}");
            }
        };
        check();
        publisher.join().expect("no panic");
        let mut reader = reads.join().expect("no panic");
        check();
        assert_eq!((log.stats().delivered, log.stats().retained), (1, 1));
        log.unsubscribe(&mut reader);
    });
}

/// A reader that has stalled already reads while the topic goes on without it.
#[test]
fn loom_who_stalls_is_told_what_it_missed() {
    model(|| {
        let log = log_that_waits(Duration::ZERO);
        let (reader, _) = log.subscribe(&topics(&["a"]));
        let publisher = {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                for _ in 0..2 {
                    block_on(submit_in(&log, "a")).expect("nobody is waited for");
                }
                log.close();
            })
        };
        let (received, missed) = read_to_the_end(&log, reader);
        assert_eq!(received + missed, 2);
        assert!(received > 0);
        publisher.join().expect("no panic");
    });
}
