//! Other programs, which append with a plain `XADD`, and do what they like.

use tornadose::Position;
use tornadose::backplane::{Content, Record};

use crate::server::Server;
use crate::words::*;

fn xadd(server: &Server, fields: &[&str]) -> String {
    let words: Vec<_> = ["XADD", KEY, "*"].iter().chain(fields).copied().collect();
    server.ask(&words).text()
}

fn position(records: &[Record], at: usize) -> Position {
    records[at].position
}

#[tokio::test]
async fn a_plain_xadd_gets_the_next_offset() {
    let server = Server::start();
    let redis = server.redis();
    let mut reading = open(&redis).await;
    let ours = append(&redis, &["a"]).await[0];
    let theirs = xadd(&server, &["topic", "a", "data", "b"]);
    assert!(theirs.ends_with("-2"), "{theirs}");
    assert_eq!(append(&redis, &["c"]).await[0].offset(), 3);
    xadd(
        &server,
        &[
            "topic", "rooms/ü", "data", "d", "event", "tick", "retry", "5000", "more", "!",
        ],
    );
    let records = all(&mut reading).await;
    assert_eq!(data(&records), ["a", "b", "c", "d"]);
    assert_eq!(offsets(&records), [1, 2, 3, 4]);
    assert_eq!(position(&records, 0), ours);
    let Content::Event(topic, event) = &records[3].content else {
        panic!("no event")
    };
    assert_eq!(
        (topic.as_str(), event.event_name().as_str()),
        ("rooms/ü", "tick")
    );
    // Its tag is that of its content, whoever reads it.
    let again = all(&mut open(&server.redis()).await).await;
    assert_eq!(position(&again, 1), position(&records, 1));
}

#[tokio::test]
async fn the_clock_does_not_matter() {
    let server = Server::start();
    let redis = server.redis();
    let first = append(&redis, &["a"]).await[0];
    // What a clock that has gone wrong, or runs a million years, would give.
    for clock in ["1-1", "1763000000000-0", "9999999999999999999-1"] {
        let mut client = server.client();
        let answer = client.try_ask(&["XADD", KEY, clock, "topic", "a", "data", "x"]);
        assert!(answer.expect("an answer").flat().contains("smaller"));
    }
    assert!(append(&redis, &["b"]).await[0] > first);
}

#[tokio::test]
async fn a_stream_that_others_have_begun_becomes_ours() {
    for by_reading in [true, false] {
        let server = Server::start();
        let redis = server.redis();
        for n in 0..1500 {
            xadd(&server, &["topic", "a", "data", &n.to_string()]);
        }
        let mut reading = if by_reading {
            open(&redis).await
        } else {
            assert_eq!(append(&redis, &["ours"]).await[0].offset(), 1501);
            open(&redis).await
        };
        let records = all(&mut reading).await;
        let expected = (0..1500)
            .map(|n| n.to_string())
            .chain((!by_reading).then(|| "ours".to_owned()));
        assert!(data(&records).into_iter().eq(expected));
        assert!(offsets(&records).into_iter().eq(1..=records.len() as u64));
        let next = xadd(&server, &["topic", "a", "data", "x"]);
        assert!(next.ends_with(&format!("-{}", records.len() + 1)), "{next}");
        assert_eq!(server.ask(&["EXISTS", "{tornadose}:aside"]).text(), "0");
    }
}

#[tokio::test]
async fn of_a_long_stream_as_many_are_kept_as_of_ours() {
    let server = Server::start();
    let redis = server.redis().max_events(300);
    for n in 0..1000 {
        xadd(&server, &["topic", "a", "data", &n.to_string()]);
    }
    let records = all(&mut open(&redis).await).await;
    assert!(
        data(&records)
            .into_iter()
            .eq((700..1000).map(|n| n.to_string()))
    );
    assert!(offsets(&records).into_iter().eq(1..=300));
}

#[tokio::test]
async fn an_entry_that_is_no_event_is_corrupt() {
    let server = Server::start();
    let redis = server.redis().max_event_bytes(1000);
    let mut reading = open(&redis).await;
    let mut client = server.client();
    let long = "x".repeat(1001);
    let many: Vec<String> = (0..5000).map(|n| n.to_string()).collect();
    let many: Vec<&[u8]> = many.iter().map(|word| word.as_bytes()).collect();
    let entries: [(&[&[u8]], &str); 10] = [
        (&[b"x", b"y"], "Corrupt(None)"),
        (&[b"topic", b"a#", b"data", b"x"], "Corrupt(None)"),
        (&[b"topic", b"\xff", b"data", b"x"], "Corrupt(None)"),
        (&[b"topic", b"a"], "Corrupt(Some(\"a\"))"),
        (
            &[b"topic", b"a", b"data", b"\xc3\x28"],
            "Corrupt(Some(\"a\"))",
        ),
        (
            &[b"topic", b"a", b"data", b"x", b"event", b"gap"],
            "Corrupt(Some(\"a\"))",
        ),
        (
            &[b"topic", b"a", b"data", b"x", b"event", b"a\nid: 7"],
            "Corrupt(Some(\"a\"))",
        ),
        (
            &[b"topic", b"a", b"data", long.as_bytes()],
            "Corrupt(Some(\"a\"))",
        ),
        (&many, "Corrupt(None)"),
        (&[b"topic", b"a", b"data", b"x"], "x"),
    ];
    let mut expected = Vec::new();
    for (fields, content) in entries {
        let words: Vec<&[u8]> = [&b"XADD"[..], KEY.as_bytes(), b"*"]
            .into_iter()
            .chain(fields.iter().copied())
            .collect();
        client.try_ask_bytes(&words).expect("an answer").text();
        expected.push(content);
    }
    let records = all(&mut reading).await;
    assert_eq!(data(&records), expected);
    assert!(offsets(&records).into_iter().eq(1..=10));
    // Also where they have to be moved, the longest one without what it held.
    let server = Server::start();
    let redis = server.redis().max_event_bytes(1000);
    let mut client = server.client();
    for (fields, _) in entries {
        let words: Vec<&[u8]> = [&b"XADD"[..], KEY.as_bytes(), b"*"]
            .into_iter()
            .chain(fields.iter().copied())
            .collect();
        client.try_ask_bytes(&words).expect("an answer").text();
    }
    assert_eq!(data(&all(&mut open(&redis).await).await), expected);
}

#[tokio::test]
async fn values_of_others_are_kept_by_who_reads_them() {
    let server = Server::start();
    let redis = server.redis().max_events(100);
    let mut reading = open(&redis).await;
    for n in 0..3 {
        xadd(&server, &["topic", "value/a", "data", &format!("a{n}")]);
    }
    xadd(&server, &["topic", "value/b", "data", "b"]);
    xadd(&server, &["topic", "other", "data", "c"]);
    assert_eq!(all(&mut reading).await.len(), 5);
    // Whoever comes by later, or reads it again, does not bring back an older one.
    redis_append(&redis, "value/b", "ours").await;
    assert_eq!(all(&mut open(&server.redis()).await).await.len(), 6);
    append(&redis, &vec!["x"; 500]).await;
    let mut values = reading.latest().await.expect("values");
    values.sort_by_key(|record| record.position.offset());
    assert_eq!(data(&values), ["a2", "ours"]);
    assert_eq!(offsets(&values), [3, 6]);
    assert!(reading.window().await.expect("a window").oldest > 6);
}

async fn redis_append(redis: &tornadose::backplane::Redis, topic: &str, data: &str) {
    use tornadose::backplane::Backplane;
    assert!(redis.append(&[value(topic, data)]).await[0].is_ok());
}

#[tokio::test]
async fn values_of_others_are_kept_also_past_many_digits() {
    // 9 is before 10, as a number and not as a text.
    let server = Server::start();
    let redis = server.redis();
    let mut reading = open(&redis).await;
    for n in 1..=12 {
        xadd(&server, &["topic", "value/a", "data", &n.to_string()]);
        let records = reading.read(n, 1).await.expect("records");
        assert_eq!(offsets(&records), [n]);
        assert_eq!(
            data(&reading.latest().await.expect("values")),
            [n.to_string()]
        );
    }
    // An older one that is read again is not the newest one.
    assert_eq!(reading.read(9, 1).await.expect("records").len(), 1);
    assert_eq!(data(&reading.latest().await.expect("values")), ["12"]);
}

#[tokio::test]
async fn what_a_server_that_is_full_does_not_keep_is_still_read() {
    let server = Server::start();
    let redis = server.redis();
    let mut reading = open(&redis).await;
    xadd(&server, &["topic", "value/a", "data", "x"]);
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(data(&reading.read(1, MOST).await.expect("records")), ["x"]);
}
