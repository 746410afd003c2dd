//! The checker of histories, on histories of a few lines: of each promise one that breaks
//! it and nothing else, and what is right.

#[path = "support/history/mod.rs"]
mod history;

use history::{
    Connection, Ended, Filter, History, Id, Kind, Log, Outcome, Promise, Sample, Start, Stored,
    Submit, Transport,
};

const EPOCH: &str = "AAAAAAAAAAA";
const OTHER: &str = "-BBBBBBBBBA";

fn id(offset: u64) -> Id {
    Id::new(EPOCH, offset)
}

/// A log of these topics, one event each, all acknowledged one after the other.
fn log(topics: &[&str]) -> History {
    let mut history = History {
        logs: vec![Log {
            epoch: EPOCH.into(),
            events: Vec::new(),
            lost: Vec::new(),
            is_last: true,
        }],
        live_by: Some(1_000_000),
        ..History::default()
    };
    for (before, topic) in topics.iter().enumerate() {
        let offset = before as u64 + 1;
        history.submits.push(Submit {
            uid: format!("e{offset}"),
            topic: (*topic).into(),
            name: "message".into(),
            data: format!("e{offset}|a\r\nb"),
            invoked: 10 * offset,
            outcome: Outcome::Ok(10 * offset + 1, id(offset)),
        });
        history.logs[0].events.push(Stored {
            id: id(offset),
            topic: (*topic).into(),
            data: format!("e{offset}|a\r\nb"),
        });
    }
    history
}

/// A log without topics, of so many events.
fn plain(events: usize) -> History {
    log(&vec![""; events])
}

fn filter(topics: &[&str]) -> Filter {
    match topics {
        [] => Filter::All,
        topics => Filter::Topics(topics.iter().map(|topic| (*topic).to_owned()).collect()),
    }
}

/// The next connection of client 1, which is told this.
fn client(requested: Option<String>, topics: &[&str], blocks: &[String]) -> Connection {
    // Who brings nothing begins with what comes next.
    let opened = if requested.is_some() { 500 } else { 0 };
    Connection {
        chain: 1,
        node: "node".into(),
        transport: Transport::Sse,
        requested,
        start: Start::Live,
        filter: filter(topics),
        opened,
        granted: None,
        revoked: None,
        status: Some(200),
        received: blocks
            .iter()
            .map(|block| (1000, block.clone().into_bytes()))
            .collect(),
        ended: Ended::Open,
        closed: 2000,
        stays: false,
    }
}

fn event(offset: u64) -> String {
    format!("id: {}\ndata: e{offset}|a\ndata: b\n\n", id(offset))
}

fn bookmark(offset: u64) -> String {
    format!("id: {}\n\n", id(offset))
}

fn gap(reason: &str, missed: Option<u64>, resume: u64) -> String {
    gap_of(EPOCH, reason, missed, resume)
}

fn gap_of(epoch: &str, reason: &str, missed: Option<u64>, resume: u64) -> String {
    let missed = missed.map_or(String::new(), |missed| format!("\"missed\":\"{missed}\","));
    format!(
        "event: gap\nid: {epoch}-{resume}\ndata: {{\"reason\":\"{reason}\",{missed}\"resume\":\"{epoch}-{resume}\"}}\n\n"
    )
}

/// The promises that are broken, each once.
fn broken(history: &History) -> Vec<Promise> {
    let verdict = history.judge();
    let mut promises: Vec<_> = verdict.violations.iter().map(|of| of.promise).collect();
    promises.sort_unstable();
    promises.dedup();
    promises
}

/// What a plain log of so many events finds of one client.
fn told(events: usize, requested: Option<String>, blocks: &[String]) -> Vec<Promise> {
    let mut history = plain(events);
    history.connections.push(client(requested, &[], blocks));
    broken(&history)
}

fn all(offsets: std::ops::RangeInclusive<u64>) -> Vec<String> {
    offsets.map(event).collect()
}

#[test]
fn what_is_right_is_found_right() {
    assert_eq!(told(5, None, &[]), []);
    assert_eq!(told(5, None, &all(1..=5)), []);
    assert_eq!(told(5, None, &all(3..=5)), []);
    assert_eq!(told(5, Some(id(2).to_string()), &all(3..=5)), []);
    let evicted = [gap("evicted", Some(2), 3), event(4), event(5)];
    assert_eq!(told(5, Some(id(1).to_string()), &evicted), []);
    let slow = [event(1), gap("slow", Some(3), 4), bookmark(4), event(5)];
    assert_eq!(told(5, None, &slow), []);
    let counted = plain(5).judge();
    assert_eq!((counted.deliveries, counted.gaps), (0, 0));
}

#[test]
fn deliveries_and_gaps_are_counted() {
    let mut history = plain(5);
    let blocks = [event(1), gap("slow", Some(3), 4), event(5)];
    history.connections.push(client(None, &[], &blocks));
    let verdict = history.judge();
    assert_eq!((verdict.deliveries, verdict.gaps), (2, 1));
}

#[test]
fn ordered() {
    let blocks = [event(2), event(3), event(1)];
    assert_eq!(told(3, None, &blocks), [Promise::Ordered]);
}

#[test]
fn unique() {
    let blocks = [event(1), event(2), event(2)];
    assert_eq!(told(3, None, &blocks), [Promise::Unique]);
    // Over two connections.
    let mut history = plain(3);
    history.connections.push(client(None, &[], &all(1..=2)));
    let back = client(Some(id(2).to_string()), &[], &all(2..=3));
    history.connections.push(back);
    assert_eq!(broken(&history), [Promise::Unique]);
}

#[test]
fn reliable() {
    assert_eq!(
        told(4, None, &[event(1), event(2), event(4)]),
        [Promise::Reliable]
    );
    // The position at which it began counts.
    assert_eq!(told(4, None, &[bookmark(1), event(3)]), [Promise::Reliable]);
}

#[test]
fn reliable_over_a_websocket() {
    let message = |offset: u64, prev: u64| {
        let text = format!(
            "{{\"id\":\"{}\",\"prev\":\"{}\",\"event\":\"message\",\"data\":\"e{offset}|a\\r\\nb\"}}",
            id(offset),
            id(prev)
        );
        // A byte at a time.
        let len = u8::try_from(text.len()).expect("a short one");
        let frame = [&[0x81, 126, 0, len], text.as_bytes()].concat();
        frame
            .into_iter()
            .map(|byte| (1000, vec![byte]))
            .collect::<Vec<_>>()
    };
    let of = |messages: &[Vec<(u64, Vec<u8>)>]| {
        let mut history = plain(3);
        let mut client = client(None, &[], &[]);
        client.transport = Transport::WebSocket;
        client.status = Some(101);
        client.received = messages.concat();
        history.connections.push(client);
        broken(&history)
    };
    assert_eq!(of(&[message(1, 0), message(2, 1), message(3, 2)]), []);
    assert_eq!(
        of(&[message(1, 0), message(2, 0), message(3, 2)]),
        [Promise::Reliable]
    );
    assert_eq!(of(&[message(1, 0), message(3, 1)]), [Promise::Reliable]);
}

#[test]
fn resumable() {
    let after = |offset: u64| Some(id(offset).to_string());
    assert_eq!(told(4, after(1), &[event(3)]), [Promise::Resumable]);
    assert_eq!(told(4, after(3), &[event(3)]), [Promise::Resumable]);
    // An id that this log has not given.
    for blocks in [vec![event(3)], vec![bookmark(9)]] {
        assert_eq!(told(4, after(9), &blocks), [Promise::Resumable]);
    }
    assert_eq!(told(4, after(9), &[gap("ahead", None, 2), event(3)]), []);
    // What follows then is all that is kept, and nothing of that is left out.
    let mut history = plain(4);
    let ahead = [gap("ahead", None, 2), event(3), event(4)];
    history.connections.push(client(after(9), &[], &ahead));
    history.rules.keeps = Some(2);
    assert_eq!(broken(&history), []);
    history.rules.keeps = Some(3);
    assert_eq!(broken(&history), [Promise::Resumable]);
    let ahead = [gap("ahead", None, 1), event(3)];
    assert_eq!(told(4, after(9), &ahead), [Promise::Reliable]);
    // Without an id what there was before is not asked for.
    let mut history = plain(4);
    let mut late = client(None, &[], &all(2..=4));
    late.opened = 25;
    history.connections.push(late);
    assert_eq!(broken(&history), [Promise::Resumable]);
    history.connections[0].opened = 20;
    assert_eq!(broken(&history), []);
    // An id of another log, and what is none.
    let other = Some(format!("{OTHER}-2"));
    assert_eq!(told(4, other.clone(), &[event(3)]), [Promise::Resumable]);
    let right = [gap("epoch", None, 2), event(3)];
    assert_eq!(told(4, other, &right), []);
    let none = || Some("17".to_owned());
    assert_eq!(told(4, none(), &[event(3)]), [Promise::Resumable]);
    let right = [gap("malformed", None, 2), event(3)];
    assert_eq!(told(4, none(), &right), []);
}

#[test]
fn honest() {
    let after = |offset: u64| Some(id(offset).to_string());
    // Nothing is missing, too much, too little, not a number of what is not known.
    for blocks in [
        vec![gap("evicted", Some(1), 1), event(2)],
        vec![gap("evicted", Some(3), 3), event(4)],
        vec![gap("evicted", Some(1), 3), event(4)],
        vec![gap("evicted", None, 3), event(4)],
        vec![gap("ahead", None, 1), event(2)],
        vec![gap("malformed", None, 1), event(2)],
        vec![gap("epoch", None, 1), event(2)],
        vec![gap("weather", None, 1), event(2)],
    ] {
        assert_eq!(told(4, after(1), &blocks), [Promise::Honest], "{blocks:?}");
    }
    // Nobody has brought anything, or something else.
    for reason in ["ahead", "malformed", "epoch", "diverged"] {
        let blocks = [gap(reason, None, 1), event(2)];
        assert_eq!(told(4, None, &blocks), [Promise::Honest], "{reason}");
    }
    for reason in ["ahead", "epoch", "diverged"] {
        let blocks = [gap(reason, None, 1), event(2)];
        let none = Some("17".to_owned());
        assert_eq!(told(4, none, &blocks), [Promise::Honest], "{reason}");
    }
    let mut history = plain(4);
    let blocks = [gap("evicted", Some(2), 3), event(4)];
    history.connections.push(client(after(1), &[], &blocks));
    history.rules.keeps = Some(1);
    assert_eq!(broken(&history), []);
    // What is still kept is not missing.
    history.rules.keeps = Some(2);
    assert_eq!(broken(&history), [Promise::Honest]);
}

#[test]
fn honest_of_many_topics() {
    let history = |blocks: &[String]| {
        let mut history = log(&["a", "b", "a", "b", "c", "a", "b"]);
        let client = client(Some(id(0).to_string()), &["a", "b"], blocks);
        history.connections.push(client);
        broken(&history)
    };
    // Each topic is told where its last lost event stood.
    let right = [
        gap("evicted", Some(2), 3),
        gap("evicted", Some(2), 4),
        event(6),
        event(7),
    ];
    assert_eq!(history(&right), []);
    // Or together, if there is no event between.
    let of_both = |missed| [gap("evicted", Some(missed), 4), event(6), event(7)];
    assert_eq!(history(&of_both(4)), []);
    assert_eq!(history(&of_both(3)), [Promise::Honest]);
    assert_eq!(history(&of_both(5)), [Promise::Honest]);
    // The number of the last of them alone.
    assert_eq!(history(&of_both(2)), [Promise::Honest]);
    let of_one = [gap("evicted", Some(2), 3), event(6), event(7)];
    assert_eq!(history(&of_one), [Promise::Reliable]);
    let of_none = [gap("evicted", Some(1), 5)];
    assert_eq!(history(&of_none), [Promise::Honest]);
    // A gap of one topic is no reason to go without what is kept of another.
    let mut history = log(&["b", "a", "a", "a"]);
    let blocks = [gap("evicted", Some(1), 2), event(3), event(4)];
    let client = client(Some(id(0).to_string()), &["a", "b"], &blocks);
    history.connections.push(client);
    assert_eq!(broken(&history), []);
    history.rules.keeps = Some(1);
    assert_eq!(broken(&history), [Promise::Honest]);
}

#[test]
fn acknowledged() {
    // Acknowledged and not there, there twice, refused and there, never submitted.
    let mut history = plain(3);
    history.logs[0].events.pop();
    assert_eq!(broken(&history), [Promise::Acknowledged]);

    let mut history = plain(3);
    let again = history.logs[0].events[2].clone();
    let again = Stored { id: id(4), ..again };
    history.logs[0].events.push(again);
    assert_eq!(broken(&history), [Promise::Acknowledged]);

    let mut history = plain(3);
    history.submits[1].outcome = Outcome::Refused;
    assert_eq!(broken(&history), [Promise::Acknowledged]);
    history.submits[1].outcome = Outcome::Unknown;
    assert_eq!(broken(&history), []);

    let mut history = plain(3);
    history.submits.pop();
    assert_eq!(broken(&history), [Promise::Acknowledged]);

    // What a fault has taken away again was there.
    let mut history = plain(3);
    let lost = history.logs[0].events.pop().expect("an event");
    history.logs[0].lost.push(lost);
    assert_eq!(broken(&history), []);
}

#[test]
fn real_time() {
    let mut history = plain(3);
    history.submits[0].invoked = 100;
    assert_eq!(broken(&history), [Promise::RealTime]);
    // At the same time there is no order.
    let mut history = plain(3);
    history.submits[0].invoked = 21;
    assert_eq!(broken(&history), []);
}

#[test]
fn permitted() {
    let topics = ["a", "b/c", "a"];
    let of = |wants: &[&str], blocks: &[String], revoked| {
        let mut history = log(&topics);
        let mut client = client(None, wants, blocks);
        client.revoked = revoked;
        history.connections.push(client);
        broken(&history)
    };
    let both = all(1..=3);
    assert_eq!(of(&["a"], &both, None), [Promise::Permitted]);
    assert_eq!(of(&["b/+", "a"], &both, None), []);
    assert_eq!(of(&["#"], &both, None), []);
    assert_eq!(of(&["b/+/#"], &[event(2)], None), []);
    assert_eq!(of(&["+"], &[event(2)], None), [Promise::Permitted]);
    // Submitted after it was taken back; what was before may be on its way.
    assert_eq!(of(&["#"], &both, Some(25)), [Promise::Permitted]);
    assert_eq!(of(&["#"], &both, Some(30)), []);
}

#[test]
fn live() {
    let of = |change: fn(&mut Connection), blocks: &[String]| {
        let mut history = plain(3);
        let mut client = client(None, &[], blocks);
        client.stays = true;
        change(&mut client);
        history.connections.push(client);
        broken(&history)
    };
    assert_eq!(of(|_| {}, &all(1..=3)), []);
    assert_eq!(of(|_| {}, &[bookmark(3)]), []);
    assert_eq!(of(|_| {}, &all(1..=2)), [Promise::Live]);
    assert_eq!(of(|_| {}, &[]), [Promise::Live]);
    assert_eq!(
        of(|of| of.ended = Ended::Left, &all(1..=3)),
        [Promise::Live]
    );
    // Too late.
    let late = |of: &mut Connection| of.received[2].0 = 1_000_001;
    assert_eq!(of(late, &all(1..=3)), [Promise::Live]);
}

#[test]
fn bytes() {
    let block = |text: &str| format!("id: {}\n{text}\n\n", id(1));
    for (text, right) in [
        ("data: e1|a\ndata: b", true),
        ("data: e1|a", false),
        ("data: e1|ab", false),
        ("data: e1|a\ndata: b\ndata:", false),
        ("event: tick\ndata: e1|a\ndata: b", false),
        ("data: e2|a\ndata: b", false),
        ("data: e9|a\ndata: b", false),
    ] {
        let found = told(2, None, &[block(text)]);
        let expected = if right { vec![] } else { vec![Promise::Bytes] };
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn bookmarks() {
    // Behind it comes what stands before it, or it has not been told yet.
    assert_eq!(
        told(4, None, &[bookmark(3), event(2)]),
        [Promise::Bookmarks]
    );
    assert_eq!(
        told(4, None, &[event(1), bookmark(3)]),
        [Promise::Bookmarks]
    );
    assert_eq!(told(4, None, &[event(1), event(2), bookmark(2)]), []);
    let mut history = log(&["a", "b", "b", "a"]);
    let blocks = [event(1), bookmark(3), event(4)];
    history.connections.push(client(None, &["a"], &blocks));
    assert_eq!(broken(&history), []);
}

#[test]
fn bounded() {
    let mut history = plain(1);
    let sample = |is| Sample {
        at: 1,
        what: "streams".into(),
        is,
        most: 2,
    };
    history.samples = vec![sample(0), sample(2)];
    assert_eq!(broken(&history), []);
    history.samples.push(sample(3));
    assert_eq!(broken(&history), [Promise::Bounded]);
}

#[test]
fn ends_well() {
    let of = |blocks: &[String]| {
        let mut history = plain(1);
        let mut client = client(None, &[], blocks);
        client.ended = Ended::Cleanly;
        history.connections.push(client);
        broken(&history)
    };
    assert_eq!(of(&[event(1), "retry: 100\n\n".into()]), []);
    assert_eq!(
        of(&["retry: 100\n\n".into(), event(1)]),
        [Promise::EndsWell]
    );
    assert_eq!(of(&[event(1)]), [Promise::EndsWell]);
}

#[test]
fn the_newest_value_alone_counts() {
    let of = |blocks: &[String]| {
        let mut history = plain(4);
        history.rules.kind = Kind::Latest;
        let mut client = client(None, &[], blocks);
        client.stays = true;
        history.connections.push(client);
        broken(&history)
    };
    assert_eq!(of(&[event(1), event(4)]), []);
    assert_eq!(of(&[event(4)]), []);
    assert_eq!(of(&[event(1), event(3)]), [Promise::Live]);
    assert_eq!(of(&[event(3), event(1), event(4)]), [Promise::Ordered]);
    assert_eq!(of(&[event(4), event(4)]), [Promise::Unique]);
    let told_a_gap = [event(1), gap("slow", Some(2), 3), event(4)];
    assert_eq!(of(&told_a_gap), [Promise::Honest]);
    // In one log with others.
    let mut history = log(&["v", "a", "v", "a", "v"]);
    history.rules.latest = vec!["v/#".into()];
    let blocks = [event(1), event(2), event(4), event(5)];
    history.connections.push(client(None, &["#"], &blocks));
    assert_eq!(broken(&history), []);
}

/// A log elsewhere: its third event was lost, and another one has its place.
fn forked(blocks: &[String]) -> Vec<Promise> {
    let mut history = plain(4);
    history.rules.kind = Kind::Elsewhere;
    let mut lost = history.logs[0].events[2].clone();
    let mut submit = history.submits[2].clone();
    (submit.uid, submit.data) = ("lost".into(), "lost|".into());
    lost.data = submit.data.clone();
    lost.id.tag = "AAAAAA".into();
    submit.outcome = Outcome::Ok(31, lost.id.clone());
    history.submits.push(submit);
    history.logs[0].lost.push(lost);
    let mut client = client(None, &[], blocks);
    client.stays = true;
    history.connections.push(client);
    broken(&history)
}

#[test]
fn what_an_engine_loses_is_told() {
    let lost = || format!("id: {}-AAAAAA\ndata: lost|\n\n", id(3));
    let head = || [event(1), event(2), lost()];
    let with = |more: &[String]| forked(&[&head()[..], more].concat());
    assert_eq!(with(&[gap("diverged", None, 2), event(3), event(4)]), []);
    assert_eq!(with(&[event(4)]), [Promise::Reliable]);
    assert_eq!(with(&[]), [Promise::Live]);
    let twice = [gap("diverged", None, 2), event(3), event(4), event(4)];
    assert_eq!(with(&twice), [Promise::Unique]);
}

#[test]
fn the_same_history_has_the_same_fingerprint_whatever_its_epoch() {
    let of = |epoch: &str, last: &str| {
        let mut history = plain(1);
        history.logs[0].epoch = epoch.into();
        let text = format!("id: {epoch}-1\ndata: {last}\n\n");
        history.submits[0].outcome = Outcome::Ok(11, Id::new(epoch, 1));
        let requested = Some(format!("{epoch}-0"));
        history.connections.push(client(requested, &[], &[text]));
        history.fingerprint()
    };
    assert_eq!(of(EPOCH, "a"), of(OTHER, "a"));
    assert_ne!(of(EPOCH, "a"), of(EPOCH, "b"));
}

/// Who begins with what is new and is told a newest value before has nothing to do with what
/// stands between.
#[test]
fn a_value_that_stands_before_what_is_new() {
    let of = |blocks: &[String]| {
        let mut history = log(&["v/1", "t", "t", "t", "t"]);
        history.rules.latest = vec!["v/#".into()];
        history.connections.push(client(None, &["#"], blocks));
        let requested = Some(Id::new(OTHER, 7).to_string());
        let gap = gap_of(EPOCH, "epoch", None, 0);
        let back = [&[gap], blocks].concat();
        history.connections.push(Connection {
            chain: 2,
            ..client(requested, &["#"], &back)
        });
        broken(&history)
    };
    assert_eq!(of(&[event(1), bookmark(3), event(4), event(5)]), []);
    assert_eq!(of(&[event(1), event(4), event(5)]), []);
    assert_eq!(of(&[event(1), bookmark(3), event(5)]), [Promise::Reliable]);
    assert_eq!(of(&[event(1), event(3), event(5)]), [Promise::Reliable]);
}

/// Who is cut off before it is told of a loss is told when it is back, of what is behind its
/// id, and where the last of it stood.
#[test]
fn a_loss_that_is_told_to_who_is_back() {
    let of = |blocks: &[String]| {
        let mut history = log(&["a", "b", "a", "b", "a", "b"]);
        let before = [bookmark(0), event(1), event(3)];
        history.connections.push(client(None, &["#"], &before));
        let requested = Some(id(3).to_string());
        history.connections.push(client(requested, &["#"], blocks));
        broken(&history)
    };
    let lost = || gap("evicted", Some(1), 4);
    assert_eq!(of(&[bookmark(3), lost(), event(5), event(6)]), []);
    assert_eq!(of(&[lost(), event(5), event(6)]), []);
    assert_eq!(of(&[bookmark(3), event(5), event(6)]), [Promise::Reliable]);
    assert_eq!(of(&[event(5), bookmark(6)]), [Promise::Bookmarks]);
}

/// Who has nothing but a newest value, which is the end, is at the end.
#[test]
fn a_value_that_is_the_end() {
    let of = |topics: &[&str]| {
        let mut history = log(topics);
        history.rules.latest = vec!["v/#".into()];
        let requested = Some(Id::new(OTHER, 7).to_string());
        let blocks = [gap_of(EPOCH, "epoch", None, 1), event(2)];
        history.connections.push(Connection {
            stays: true,
            ..client(requested, &["#"], &blocks)
        });
        broken(&history)
    };
    assert_eq!(of(&["t", "v/1"]), []);
    assert_eq!(of(&["t", "v/1", "t"]), [Promise::Live]);
}
