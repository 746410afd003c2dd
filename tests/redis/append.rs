//! Appending: numbers, order, batches, refusals.

use std::time::{Duration, Instant};

use tornadose::backplane::{Append, AppendError, Backplane, Content};
use tornadose::{Event, EventName, Position};

use crate::server::Server;
use crate::words::*;

#[tokio::test]
async fn offsets_count_from_one() {
    let server = Server::start();
    let redis = server.redis();
    let positions = append(&redis, &["a", "b", "c"]).await;
    assert_eq!(
        positions
            .iter()
            .map(|position| position.offset())
            .collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert!(positions.is_sorted_by(|a, b| a < b), "one log");
    let tags: std::collections::HashSet<_> = positions.iter().map(ToString::to_string).collect();
    assert_eq!(tags.len(), 3);
    assert_eq!(append(&redis, &["d"]).await[0].offset(), 4);
    // Nothing was opened: the log was made by who appended first.
    let stream = server.stream(KEY);
    assert_eq!(stream.len(), 4);
    for (n, (id, fields)) in stream.iter().enumerate() {
        let (epoch, offset) = id.split_once('-').expect("an id");
        assert!(epoch.len() == 20 && offset == (n + 1).to_string(), "{id}");
        assert_eq!(fields[..3], ["topic", "a", "tag"]);
        assert_eq!(fields[4..7], ["data", ["a", "b", "c", "d"][n], "at"]);
    }
}

#[tokio::test]
async fn what_is_answered_is_what_is_read() {
    let server = Server::start();
    let redis = server.redis();
    let events = [
        Event::new(""),
        Event::new("a\r\nb\0 ü\u{feff}"),
        Event::new("x".repeat(1 << 20)),
        Event::new("x").name(EventName::from_static("a: b")),
        Event::new("x").retry(Duration::from_secs(7)),
        Event::new("message").name(EventName::MESSAGE),
    ];
    let appends: Vec<_> = events
        .iter()
        .map(|event| Append::new(topic("rooms/ü/…"), event.clone()))
        .collect();
    let positions = redis.append(&appends).await;
    let mut reading = open(&redis).await;
    let records = all(&mut reading).await;
    assert_eq!(records.len(), events.len());
    for ((record, position), event) in records.into_iter().zip(positions).zip(events) {
        assert_eq!(Ok(record.position), position);
        let Content::Event(topic, read) = record.content else {
            panic!("no event")
        };
        assert_eq!((topic.as_str(), read), ("rooms/ü/…", event));
        assert!(record.age.expect("an age") < Duration::from_secs(60));
    }
}

#[tokio::test]
async fn a_batch_is_stored_in_its_order() {
    let server = Server::start();
    let redis = server.redis();
    assert!(redis.append(&[]).await.is_empty());
    let texts: Vec<_> = (0..1024)
        .map(|n| format!("{n} {}", "x".repeat(900)))
        .collect();
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    // Large enough for several calls, also after the script has been forgotten between.
    for round in 0..3 {
        let positions = append(&redis, &texts).await;
        let first = positions[0].offset();
        assert_eq!(first, round * 1024 + 1);
        assert!(
            positions
                .iter()
                .map(|position| position.offset())
                .eq(first..first + 1024)
        );
        server.ask(&["SCRIPT", "FLUSH"]);
    }
    let mut reading = open(&redis).await;
    let records = all(&mut reading).await;
    assert!(
        data(&records)
            .iter()
            .zip(texts.iter().cycle())
            .all(|(read, text)| read == text)
    );
    assert_eq!(records.len(), 3 * 1024);
}

#[tokio::test]
async fn two_who_append_share_one_order() {
    let server = Server::start();
    let (one, two) = (server.redis(), server.redis());
    let by = async |redis: &tornadose::backplane::Redis, who: &str| {
        let mut positions = Vec::new();
        for n in 0..50 {
            let events: Vec<_> = (0..10)
                .map(|m| event(format!("{who}{}", n * 10 + m)))
                .collect();
            positions.extend(redis.append(&events).await);
        }
        positions
    };
    let (ones, twos) = tokio::join!(by(&one, "one "), by(&two, "two "));
    for positions in [&ones, &twos] {
        let offsets: Vec<_> = positions
            .iter()
            .map(|p| p.as_ref().expect("stored").offset())
            .collect();
        assert!(offsets.is_sorted());
    }
    let mut all: Vec<_> = ones
        .into_iter()
        .chain(twos)
        .map(|p| p.expect("stored").offset())
        .collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(1..=1000));
}

#[tokio::test]
async fn who_is_not_there_stores_nothing() {
    let mut server = Server::durable();
    let redis = server.redis();
    append(&redis, &["a"]).await;
    server.kill();
    // The connection has been lost while nothing was under way: that is certain.
    tokio::time::sleep(MOMENT).await;
    for _ in 0..3 {
        let answers = redis.append(&[event("b"), event("c")]).await;
        assert_eq!(
            answers,
            [Err(AppendError::Unavailable), Err(AppendError::Unavailable)]
        );
    }
    server.again();
    assert_eq!(append(&redis, &["d"]).await[0].offset(), 2);
    // Started anew while nobody was looking: not even an error.
    server.kill();
    server.again();
    tokio::time::sleep(MOMENT).await;
    assert_eq!(append(&redis, &["e"]).await[0].offset(), 3);
}

#[tokio::test]
async fn who_does_not_answer_leaves_it_unknown() {
    let server = Server::start();
    let redis = server.redis().timeout(Duration::from_millis(300));
    append(&redis, &["a"]).await;
    let mut client = server.client();
    let sleeper = std::thread::spawn(move || client.ask(&["DEBUG", "SLEEP", "4"]));
    tokio::time::sleep(MOMENT).await;
    let begin = Instant::now();
    let answers = redis.append(&[event("b"), event("c")]).await;
    assert_eq!(
        answers,
        [Err(AppendError::Unknown), Err(AppendError::Unknown)]
    );
    // A connection is accepted by the system, and then nobody greets.
    let answers = redis.append(&[event("d")]).await;
    assert_eq!(answers, [Err(AppendError::Unavailable)]);
    assert!(
        begin.elapsed() < Duration::from_secs(3),
        "{:?}",
        begin.elapsed()
    );
    sleeper.join().expect("it slept");
    let last = append_at_last(&redis, "e").await;
    // What is unknown was stored, or not; what was unavailable was not.
    let stored: Vec<_> = server
        .stream(KEY)
        .into_iter()
        .map(|(_, fields)| fields[5].clone())
        .collect();
    assert_eq!(
        stored.first().zip(stored.last()),
        Some((&"a".to_owned(), &"e".to_owned()))
    );
    assert!(!stored.contains(&"d".to_owned()), "{stored:?}");
    assert_eq!(last.offset(), stored.len() as u64);
}

#[tokio::test]
async fn a_full_server_refuses() {
    let server = Server::start();
    let redis = server.redis();
    append(&redis, &["a"]).await;
    server.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = Err(AppendError::Refused("it is out of memory (OOM)".into()));
    assert_eq!(
        redis.append(&[event("b"), value("value/x", "c")]).await,
        [refused.clone(), refused.clone()]
    );
    // It can still be read, also where the log would have to be made.
    let mut reading = open(&redis).await;
    assert_eq!(data(&all(&mut reading).await), ["a"]);
    assert!(reading.latest().await.expect("values").is_empty());
    server.ask(&["DEL", KEY]);
    assert_eq!(redis.append(&[event("b")]).await, [refused]);
    let error = redis
        .open(&latest())
        .await
        .map(|_| ())
        .expect_err("no room");
    assert_eq!(error.to_string(), "redis: it is out of memory (OOM)");
    server.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(append(&redis, &["b"]).await[0].offset(), 1);
}

#[tokio::test]
async fn a_key_that_is_no_stream_is_left_alone() {
    let server = Server::start();
    let redis = server.redis();
    server.ask(&["SET", KEY, "mine"]);
    let what = "a key of the log holds something else (WRONGTYPE)";
    assert_eq!(
        redis.append(&[event("a")]).await,
        [Err(AppendError::Refused(what.into()))]
    );
    let error = redis
        .open(&latest())
        .await
        .map(|_| ())
        .expect_err("no stream");
    assert_eq!(error.to_string(), format!("redis: {what}"));
    assert_eq!(server.ask(&["GET", KEY]).text(), "mine");
    server.ask(&["DEL", KEY]);
    let mut reading = open(&redis).await;
    server.ask(&["DEL", KEY]);
    server.ask(&["SET", KEY, "mine"]);
    assert!(reading.window().await.is_err());
    assert!(reading.read(1, 1).await.is_err());
    assert!(reading.wait(1, 1, MOMENT).await.is_err());
}

#[tokio::test]
async fn who_may_not_is_refused_without_a_secret() {
    let server = Server::with(&["--requirepass", "hunter2"]);
    let url = |credentials: &str| format!("redis://{credentials}@127.0.0.1:{}", server.port);
    let redis =
        |credentials: &str| tornadose::backplane::Redis::new(&url(credentials)).expect("a URL");
    let good = redis(":hunter2");
    append(&good, &["a"]).await;
    let mut client = server.client();
    client.ask(&["AUTH", "hunter2"]);
    client.ask(&[
        "ACL",
        "SETUSER",
        "reader",
        "on",
        ">hunter3",
        "~*",
        "+@read",
        "+@connection",
        "+ping",
    ]);
    client.ask(&[
        "ACL",
        "SETUSER",
        "node",
        "on",
        ">hunter4",
        "~tornadose",
        "~{tornadose}:*",
        "+@connection",
        "+evalsha",
        "+eval",
        "+xadd",
        "+xdel",
        "+xrange",
        "+xread",
        "+xinfo",
        "+xtrim",
        "+get",
        "+set",
        "+pexpire",
        "+hset",
        "+hget",
        "+hscan",
        "+del",
        "+exists",
        "+rename",
        "+time",
        "+role",
    ]);
    for (bad, why) in [
        (":hunter5", "it does not accept the credentials (WRONGPASS)"),
        ("reader:hunter3", "the user lacks a permission (NOPERM)"),
    ] {
        let bad = redis(bad);
        assert_eq!(
            bad.append(&[event("b")]).await,
            [Err(AppendError::Refused(why.into()))]
        );
        let error = bad.open(&latest()).await.map(|_| ()).expect_err("refused");
        assert_eq!(error.to_string(), format!("redis: {why}"));
        assert!(!format!("{bad:?}{error:?}").contains("hunter"));
    }
    let error = redis("").append(&[event("b")]).await;
    assert!(
        matches!(&error[0], Err(AppendError::Refused(why)) if why.contains("credentials")),
        "{error:?}"
    );
    // What the documentation says that is needed is enough.
    let node = redis("node:hunter4");
    let mut reading = open(&node).await;
    append(&node, &["b"]).await;
    assert!(
        node.append(&[once("c", "k"), once("c", "k"), value("value/a", "d")])
            .await
            .iter()
            .all(Result::is_ok)
    );
    client.ask(&["XADD", KEY, "*", "topic", "value/b", "data", "e"]);
    assert_eq!(data(&all(&mut reading).await), ["a", "b", "c", "d", "e"]);
    assert_eq!(reading.latest().await.expect("values").len(), 2);
    client.ask(&["DEL", KEY]);
    client.ask(&["XADD", KEY, "*", "topic", "a", "data", "f"]);
    reading.window().await.expect("moved");
    assert_eq!(data(&all(&mut reading).await), ["f"]);
    // And so to relay, and to wait for replicas, of which there are none.
    client.ask(&[
        "ACL",
        "SETUSER",
        "node",
        "+psubscribe",
        "+wait",
        "resetchannels",
        "&sse:*",
    ]);
    let relay = redis("node:hunter4").relay("sse:", "#".parse().expect("a pattern"));
    let _reading = open(&relay).await;
    crate::server::until("a subscriber", || {
        client.ask(&["PUBLISH", "sse:a", "g"]).text() != "0"
    })
    .await;
    crate::server::until("stored", || client.ask(&["XLEN", KEY]).text() == "2").await;
    let waits = redis("node:hunter4").replicas(1).timeout(MOMENT);
    assert_eq!(
        waits.append(&[event("h")]).await,
        [Err(AppendError::Unknown)]
    );
    client.ask(&["ACL", "SETUSER", "node", "-role"]);
    assert!(redis("node:hunter4").open(&latest()).await.is_ok());
}

#[tokio::test]
async fn what_is_not_saved_is_refused() {
    let server = Server::start();
    let redis = server.redis();
    append(&redis, &["a"]).await;
    server.ask(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let answers = redis.append(&[event("b")]).await;
    assert_eq!(
        answers,
        [Err(AppendError::Refused(
            "it has too few replicas (NOREPLICAS)".into()
        ))]
    );
    server.ask(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    assert_eq!(append(&redis, &["c"]).await[0].offset(), 2);
}

#[tokio::test]
async fn so_many_are_kept() {
    let server = Server::start();
    let redis = server.redis().max_events(500);
    let texts: Vec<_> = (1..=2000).map(|n| n.to_string()).collect();
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    append(&redis, &texts).await;
    let mut reading = open(&redis).await;
    let window = reading.window().await.expect("a window");
    assert_eq!(window.next, 2001);
    let kept = window.next - window.oldest;
    assert!((500..=700).contains(&kept), "{kept}");
    let records = all(&mut reading).await;
    assert!(offsets(&records).into_iter().eq(window.oldest..2001));
}

#[tokio::test]
async fn logs_with_other_keys_are_other_logs() {
    let server = Server::start();
    let redis = |key: &str| server.redis().key(key).expect("a key");
    let (one, two) = (redis("one"), redis("{two}:log"));
    let a = append(&one, &["a"]).await[0];
    let b = append(&two, &["b"]).await[0];
    assert_ne!(epoch(a), epoch(b));
    assert_eq!((a.offset(), b.offset()), (1, 1));
    let _: Vec<Result<Position, _>> = two.append(&[value("value/x", "c"), once("d", "k")]).await;
    let mut keys: Vec<_> = server
        .ask(&["KEYS", "*"])
        .list()
        .into_iter()
        .map(|key| key.text())
        .collect();
    keys.sort();
    assert_eq!(
        keys,
        ["one", "{two}:log", "{two}:log:latest", "{two}:log:once:k"]
    );
}
