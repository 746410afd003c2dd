//! What is stored is read: in order, exactly, by everybody.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use tornadose::backplane::{AppendError, Backplane, Content, Window};
use tornadose::{Event, EventName};

use crate::server::Server;
use crate::*;

/// Data that has something odd about it.
const DATA: [&str; 9] = [
    "",
    " leading",
    "two\nlines",
    "\r\n",
    "a\0b",
    "\u{feff}bom",
    "data: x\n\nid: 7",
    "ünïcödé 🦀",
    "\u{7f}\u{85}\u{2028}",
];

const TOPICS: [&str; 8] = [
    "plain",
    "rooms/7/messages",
    "dots.and spaces/*/>",
    "100%/%2E",
    "räume/🦀",
    "$JS/API/-latest",
    "a\u{a0}b/\u{fffd}",
    "now/räume/1.5",
];

#[tokio::test]
async fn an_empty_log_is_empty() {
    let server = Server::start();
    let engine = engine(&server);
    let mut reading = open(&engine).await;
    let Window { oldest, next, .. } = window(&mut *reading).await;
    assert_eq!((oldest, next), (1, 1));
    assert!(reading.read(1, 100).await.expect("a server").is_empty());
    assert!(reading.read(1, 1).await.expect("a server").is_empty());
    assert!(reading.read(77, 100).await.expect("a server").is_empty());
    assert!(reading.latest().await.expect("a server").is_empty());
    let patience = Duration::from_millis(50);
    assert!(
        reading
            .wait(1, 100, patience)
            .await
            .expect("a server")
            .is_empty()
    );
    assert!(reading.read(1, 0).await.expect("a server").is_empty());
    assert!(engine.append(&[]).await.is_empty());
}

#[tokio::test]
async fn everything_odd_is_read_back_as_it_was() {
    let server = Server::start();
    let engine = engine(&server);
    let names = [
        "message",
        "a name",
        " %20 ",
        "\u{1}\t",
        "größe",
        "Nats-Msg-Id: x",
    ];
    let mut appends = Vec::new();
    for (number, name) in TOPICS.iter().cycle().take(72).enumerate() {
        let mut event = Event::new(DATA[number % DATA.len()]);
        if number % 2 == 1 {
            event = event.name(EventName::new(names[number % names.len()]).expect("a name"));
        }
        if number % 3 == 1 {
            event = event.retry(Duration::from_millis(100 + number as u64));
        }
        appends.push(append(name, event));
    }
    appends.push(append(
        "plain",
        Event::from_json("{\"a\":\n [1.50, \"ü\"]}").expect("JSON"),
    ));
    let answers = engine.append(&appends).await;
    let positions: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.expect("stored"))
        .collect();

    let mut reading = open(&engine).await;
    let records = all(&mut *reading, 1).await;
    assert_eq!(records.len(), appends.len());
    for ((record, append), (at, position)) in
        records.iter().zip(&appends).zip((1..).zip(&positions))
    {
        assert_eq!(record.position, *position, "with its tag");
        assert_eq!(record.position.offset(), at);
        assert!(record.age.expect("it is known") < PATIENCE);
        match &record.content {
            Content::Event(topic, event) => {
                assert_eq!((topic, event), (&append.topic, &append.event));
            }
            other => panic!("{other:?}"),
        }
    }
    let texts: Vec<_> = positions.iter().map(Position::to_string).collect();
    // A tag is the last six characters, and may hold a dash.
    let tags: HashSet<_> = texts.iter().map(|text| &text[text.len() - 6..]).collect();
    assert_eq!(tags.len(), positions.len());

    // One by one, and by somebody else, it is the same.
    let other = crate::engine(&server);
    let mut other = open(&other).await;
    for record in &records {
        let alone = other
            .read(record.position.offset(), 1)
            .await
            .expect("a server");
        assert_eq!(alone.len(), 1);
        assert_eq!(alone[0].position, record.position);
        assert_eq!(told(&alone[0]), told(record));
    }
}

#[tokio::test]
async fn a_waiting_reader_is_told_in_order() {
    let server = Server::start();
    let engine = engine(&server);
    let mut reading = open(&engine).await;
    let writing = async {
        for batch in 0..20 {
            let events: Vec<_> = (0..batch)
                .map(|n| append("news", format!("{batch}.{n}")))
                .collect();
            for answer in engine.append(&events).await {
                answer.expect("stored");
            }
        }
    };
    let (records, ()) = tokio::join!(come(&mut *reading, 1, 190), writing);
    let expected: Vec<_> = (0..20)
        .flat_map(|batch| (0..batch).map(move |n| format!("{batch}.{n}")))
        .zip(1..)
        .map(|(data, at)| (at, "news".to_owned(), data))
        .collect();
    assert_eq!(records.iter().map(told).collect::<Vec<_>>(), expected);
    let patience = Duration::from_millis(20);
    assert!(
        reading
            .wait(191, 10, patience)
            .await
            .expect("a server")
            .is_empty()
    );
    // A look at its place does not disturb what comes.
    let place = reading.read(190, 1).await.expect("a server");
    assert_eq!(offsets(&place), [190]);
    store(&engine, "news", "more").await;
    assert_eq!(offsets(&come(&mut *reading, 191, 1).await), [191]);
}

#[tokio::test]
async fn many_are_read_in_pieces_and_from_anywhere() {
    let server = Server::start();
    let engine = engine(&server);
    let data = "x".repeat(100);
    for _ in 0..5 {
        let events = vec![append("news", data.as_str()); 1000];
        assert!(engine.append(&events).await.iter().all(Result::is_ok));
    }
    let mut reading = open(&engine).await;
    let expected: Vec<u64> = (1..=5000).collect();
    assert_eq!(offsets(&all(&mut *reading, 1).await), expected);
    for from in [1, 2, 999, 4096, 4999, 5000] {
        let some = reading.read(from, 7).await.expect("a server");
        let end = (from + 7).min(5001);
        assert_eq!(offsets(&some), (from..end).collect::<Vec<_>>());
    }
    assert_eq!(offsets(&all(&mut *reading, 2500).await), expected[2499..]);
    assert!(reading.read(5001, 100).await.expect("a server").is_empty());

    // Large ones come some mebibytes at a time.
    let large = "y".repeat(700_000);
    for _ in 0..12 {
        store(&engine, "news", large.as_str()).await;
    }
    let some = reading.read(5001, 1024).await.expect("a server");
    assert!((1..12).contains(&some.len()), "{}", some.len());
    assert_eq!(
        offsets(&all(&mut *reading, 5001).await),
        (5001..=5012).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn two_who_store_share_one_order() {
    let server = Server::start();
    let (one, two) = (engine(&server), engine(&server));
    let write = async |engine: &Nats, who: &str| {
        let mut positions = Vec::new();
        for batch in 0..30 {
            let events: Vec<_> = (0..10)
                .map(|n| append("news", format!("{who}{}", batch * 10 + n)))
                .collect();
            for answer in engine.append(&events).await {
                positions.push(answer.expect("stored").offset());
            }
        }
        assert!(positions.is_sorted_by(|a, b| a < b));
    };
    let (mut first, mut second) = (open(&one).await, open(&two).await);
    let (a, b, (), ()) = tokio::join!(
        come(&mut *first, 1, 600),
        come(&mut *second, 1, 600),
        write(&one, "a"),
        write(&two, "b"),
    );
    let a: Vec<_> = a
        .iter()
        .map(|record| (record.position, told(record)))
        .collect();
    let b: Vec<_> = b
        .iter()
        .map(|record| (record.position, told(record)))
        .collect();
    assert_eq!(a, b);
    for who in ["a", "b"] {
        let of = a
            .iter()
            .map(|(_, (_, _, data))| data)
            .filter(|data| data.starts_with(who));
        let expected: Vec<_> = (0..300).map(|n| format!("{who}{n}")).collect();
        assert_eq!(of.cloned().collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn a_key_is_stored_once() {
    let server = Server::start();
    let (one, two) = (engine(&server), engine(&server));
    let keyed = |key: &str, data: &str| append("news", Event::new(data).once(key));
    let first = one
        .append(&[keyed("a b", "1"), keyed("a%20b", "2"), keyed("", "3")])
        .await;
    let first: Vec<_> = first
        .into_iter()
        .map(|answer| answer.expect("stored"))
        .collect();
    assert_eq!(
        first.iter().map(|p| p.offset()).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    // Within a batch, over batches, and by somebody else: the first position, with its tag.
    let again = two
        .append(&[
            keyed("", "x"),
            keyed("a b", "x"),
            keyed("c", "4"),
            keyed("c", "x"),
            append("news", "5"),
        ])
        .await;
    let again: Vec<_> = again
        .into_iter()
        .map(|answer| answer.expect("stored"))
        .collect();
    assert_eq!(again[..2], [first[2], first[0]]);
    assert_eq!(again[2], again[3]);
    assert_eq!(again[4].offset(), 5);
    let mut reading = open(&one).await;
    let data: Vec<_> = all(&mut *reading, 1)
        .await
        .iter()
        .map(|record| told(record).2)
        .collect();
    assert_eq!(data, ["1", "2", "3", "4", "5"]);

    // What is gone is still answered with its place.
    server.peer().call("STREAM.PURGE.tornadose", "");
    let gone = two.append(&[keyed("c", "x")]).await;
    assert_eq!(gone[0].as_ref().map(|p| p.offset()), Ok(4));
    assert_eq!(window(&mut *reading).await.next, 6);
}

#[tokio::test]
async fn a_key_is_forgotten_after_its_window() {
    let server = Server::start();
    let engine = engine(&server).once_for(Duration::from_millis(300));
    let keyed = || append("news", Event::new("x").once("key"));
    let first = engine.append(&[keyed()]).await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let again = engine.append(&[keyed()]).await;
        if again != first {
            assert_eq!(again[0].as_ref().map(|p| p.offset()), Ok(2));
            break;
        }
        assert!(Instant::now() < deadline);
    }
}

#[tokio::test]
async fn the_newest_of_a_topic_outlives_the_log() {
    let server = Server::start();
    let engine = engine(&server).max_events(10);
    let mut events = Vec::new();
    for round in 0..5 {
        for number in 0..40 {
            events.push(append(&format!("now/{number}"), format!("{round}")));
        }
        events.push(append("news", "x"));
    }
    for answer in engine.append(&events).await {
        answer.expect("stored");
    }
    let last = engine.append(&vec![append("news", "y"); 20]).await;
    assert_eq!(last[19].as_ref().map(|p| p.offset()), Ok(225));
    let mut reading = open(&engine).await;
    let Window { oldest, next, .. } = window(&mut *reading).await;
    assert_eq!((oldest, next), (216, 226));
    let newest = reading.latest().await.expect("a server");
    let newest: BTreeMap<_, _> = newest
        .iter()
        .map(|record| {
            let (at, topic, data) = told(record);
            (at, (topic, data))
        })
        .collect();
    let expected: BTreeMap<_, _> = (0..40)
        .map(|number| {
            (
                4 * 41 + number + 1,
                (format!("now/{number}"), "4".to_owned()),
            )
        })
        .collect();
    assert_eq!(newest, expected);

    // With the tag that it was stored with, in a process that comes later.
    let position = store(&engine, "now/7", "new").await;
    for answer in engine.append(&vec![append("news", "y"); 20]).await {
        answer.expect("stored");
    }
    let later = crate::engine(&server);
    let newest = open(&later).await.latest().await.expect("a server");
    assert_eq!(newest.len(), 40);
    let seven = newest
        .iter()
        .find(|record| told(record).1 == "now/7")
        .expect("kept");
    assert_eq!((seven.position, told(seven).2.as_str()), (position, "new"));

    // Topics that are no latest-value topics to this one are none.
    let mut other = later.open(&Latest::of([])).await.expect("a server");
    assert!(other.latest().await.expect("a server").is_empty());
}

#[tokio::test]
async fn what_is_refused_is_not_stored_and_the_others_are() {
    let server = Server::with("max_payload: 10000");
    let engine = engine(&server);
    let large = "x".repeat(20_000);
    let answers = engine
        .append(&[
            append("news", "1"),
            append("news", large.as_str()),
            append("news", "2"),
        ])
        .await;
    assert_eq!(answers[0].as_ref().map(|p| p.offset()), Ok(1));
    assert_eq!(
        answers[1],
        Err(AppendError::Refused("larger than the server takes".into()))
    );
    assert_eq!(answers[2].as_ref().map(|p| p.offset()), Ok(2));

    // A stream that is full and does not make room.
    let full = crate::engine(&server).stream("full").expect("a name");
    let config = r#"{"name":"full","subjects":["full.>","full-latest.>"],"max_msgs":2,
        "discard":"new","storage":"file","retention":"limits"}"#;
    let made = server.peer().call("STREAM.CREATE.full", config);
    assert!(made["error"].is_null(), "{made}");
    let answers = full.append(&vec![append("news", "x"); 4]).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 2);
    assert_eq!(
        answers[3],
        Err(AppendError::Refused("maximum messages exceeded".into()))
    );

    // A message that the stream itself finds too large.
    let small = crate::engine(&server).stream("small").expect("a name");
    let config = r#"{"name":"small","subjects":["small.>","small-latest.>"],"max_msg_size":200,
        "storage":"file","retention":"limits"}"#;
    server.peer().call("STREAM.CREATE.small", config);
    let large = "x".repeat(300);
    let answers = small
        .append(&[append("news", large.as_str()), append("news", "x")])
        .await;
    assert!(
        matches!(&answers[0], Err(AppendError::Refused(_))),
        "{answers:?}"
    );
    assert_eq!(answers[1].as_ref().map(|p| p.offset()), Ok(1));
}

#[tokio::test]
async fn what_the_stream_lets_go_of_is_gone() {
    let server = Server::start();
    let engine = engine(&server).max_events(100);
    let mut reading = open(&engine).await;
    assert!(
        engine
            .append(&vec![append("news", "x"); 50])
            .await
            .iter()
            .all(Result::is_ok)
    );
    assert_eq!(reading.read(1, 10).await.expect("a server").len(), 10);
    assert!(
        engine
            .append(&vec![append("news", "x"); 250])
            .await
            .iter()
            .all(Result::is_ok)
    );
    // Trimmed below the place of the reader: what comes next tells by its number.
    let records = all(&mut *reading, 201).await;
    assert_eq!(offsets(&records), (201..=300).collect::<Vec<_>>());
    let Window {
        oldest,
        next,
        epoch,
        ..
    } = window(&mut *reading).await;
    assert_eq!((oldest, next), (201, 301));

    // A hole inside is a hole, at the end as well.
    let mut peer = server.peer();
    for seq in [250, 251, 300] {
        let deleted = peer.call("STREAM.MSG.DELETE.tornadose", &format!("{{\"seq\":{seq}}}"));
        assert_eq!(deleted["success"], true, "{deleted}");
    }
    let records = all(&mut *reading, 245).await;
    let expected: Vec<_> = (245..300).filter(|at| ![250, 251].contains(at)).collect();
    assert_eq!(offsets(&records), expected);
    assert_eq!(
        offsets(&reading.read(250, 1).await.expect("a server")),
        [252]
    );
    assert!(reading.read(300, 10).await.expect("a server").is_empty());
    let patience = Duration::from_millis(100);
    assert!(
        reading
            .wait(300, 10, patience)
            .await
            .expect("a server")
            .is_empty()
    );
    assert_eq!(window(&mut *reading).await.next, 301);

    peer.call("STREAM.PURGE.tornadose", "");
    assert_eq!(window(&mut *reading).await, Window::new(epoch, 301, 301));
    assert!(reading.read(245, 10).await.expect("a server").is_empty());
    store(&engine, "news", "x").await;
    assert_eq!(offsets(&come(&mut *reading, 301, 1).await), [301]);
}

#[tokio::test]
async fn a_limit_of_age_or_bytes_holds() {
    let server = Server::start();
    let engine = engine(&server)
        .max_age(Duration::from_millis(500))
        .max_bytes(100_000);
    assert!(
        engine
            .append(&vec![append("news", "x".repeat(1000)); 200])
            .await
            .iter()
            .all(Result::is_ok)
    );
    let mut reading = open(&engine).await;
    let Window { oldest, next, .. } = window(&mut *reading).await;
    assert!(oldest > 100 && next == 201, "{oldest} {next}");
    let deadline = Instant::now() + PATIENCE;
    while window(&mut *reading).await.oldest < 201 {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let config = &server.peer().call("STREAM.INFO.tornadose", "")["config"];
    assert_eq!(config["max_age"], 500_000_000);
    assert_eq!(config["duplicate_window"], 500_000_000);
}
