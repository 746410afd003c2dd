//! Events that are stored once, and newest values.

use std::time::Duration;

use tornadose::backplane::Backplane;

use crate::server::Server;
use crate::words::*;

#[tokio::test]
async fn what_is_sent_again_is_stored_once() {
    let server = Server::start();
    let redis = server.redis();
    // Also within a batch, and whatever the second one says.
    let answers = redis
        .append(&[
            once("a", "1"),
            event("b"),
            once("c", "1"),
            once("d", "2 \0ü"),
        ])
        .await;
    assert_eq!(answers[0], answers[2]);
    assert_eq!(answers[3].as_ref().expect("stored").offset(), 3);
    // Also by another process.
    let other = server.redis();
    assert_eq!(other.append(&[once("a", "1")]).await[0], answers[0]);
    assert_eq!(other.append(&[once("d", "2 \0ü")]).await[0], answers[3]);
    assert_eq!(server.stream(KEY).len(), 3);
    let mut reading = open(&redis).await;
    assert_eq!(Ok(all(&mut reading).await[0].position), answers[0]);
}

#[tokio::test]
async fn it_is_remembered_for_a_time() {
    let server = Server::start();
    let redis = server.redis().once_for(Duration::from_millis(100));
    let first = redis
        .append(&[once("a", "1")])
        .await
        .remove(0)
        .expect("stored");
    tokio::time::sleep(2 * MOMENT).await;
    let second = redis
        .append(&[once("a", "1")])
        .await
        .remove(0)
        .expect("stored");
    assert_eq!((first.offset(), second.offset()), (1, 2));
    let ttl: i64 = {
        let redis = server.redis();
        redis
            .append(&[once("b", "2")])
            .await
            .remove(0)
            .expect("stored");
        server
            .ask(&["PTTL", "{tornadose}:once:2"])
            .text()
            .parse()
            .expect("a number")
    };
    assert!((110_000..=120_000).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn what_was_stored_in_a_log_that_is_gone_is_stored_anew() {
    let server = Server::start();
    let redis = server.redis();
    let first = redis
        .append(&[once("a", "1")])
        .await
        .remove(0)
        .expect("stored");
    server.ask(&["DEL", KEY]);
    let second = redis
        .append(&[once("a", "1")])
        .await
        .remove(0)
        .expect("stored");
    assert_ne!(epoch(first), epoch(second));
    assert_eq!(redis.append(&[once("a", "1")]).await, [Ok(second)]);
    assert_eq!(server.stream(KEY).len(), 1);
    // The log is another one, with as many events.
    server.ask(&["DEL", KEY]);
    append(&redis, &["b"]).await;
    assert_eq!(
        redis.append(&[once("a", "1")]).await[0]
            .as_ref()
            .expect("stored")
            .offset(),
        2
    );
}

#[tokio::test]
async fn the_newest_value_outlives_the_log() {
    let server = Server::start();
    let redis = server.redis().max_events(1);
    for n in 0..10 {
        let events = [
            value("value/a", format!("a{n}")),
            value("value/ü", format!("b{n}\0")),
        ];
        assert!(redis.append(&events).await.iter().all(Result::is_ok));
    }
    let texts = vec!["x"; 1000];
    append(&redis, &texts).await;
    let mut reading = open(&redis).await;
    assert!(reading.window().await.expect("a window").oldest > 20);
    let mut values = reading.latest().await.expect("values");
    values.sort_by_key(|record| record.position.offset());
    assert_eq!(data(&values), ["a9", "b9\0"]);
    assert_eq!(offsets(&values), [19, 20]);
    assert!(values.iter().all(|record| record.age.is_some()));
    // What is sent again is no newer value.
    let answer = redis
        .append(&[Append::new(topic("value/a"), Event::new("c").once("k")).latest()])
        .await;
    assert!(redis.append(&[value("value/a", "d")]).await[0].is_ok());
    let again = redis
        .append(&[Append::new(topic("value/a"), Event::new("c").once("k")).latest()])
        .await;
    assert_eq!(answer, again);
    let mut values = data(&reading.latest().await.expect("values"));
    values.sort();
    assert_eq!(values, ["b9\0", "d"]);
}

use tornadose::Event;
use tornadose::backplane::Append;

#[tokio::test]
async fn ten_thousand_values_are_read() {
    let server = Server::start();
    let redis = server.redis();
    let mut reading = open(&redis).await;
    for n in 0..10 {
        let events: Vec<_> = (0..1000)
            .map(|m| value(&format!("value/{}", n * 1000 + m), "x"))
            .collect();
        assert!(redis.append(&events).await.iter().all(Result::is_ok));
    }
    let values = reading.latest().await.expect("values");
    let mut found = offsets(&values);
    found.sort_unstable();
    assert!(found.into_iter().eq(1..=10_000));
    // With the log they are gone.
    server.ask(&["DEL", KEY]);
    assert!(reading.window().await.is_ok());
    assert!(reading.latest().await.expect("values").is_empty());
    assert_eq!(server.ask(&["EXISTS", "{tornadose}:latest"]).text(), "0");
}

#[tokio::test]
async fn what_is_kept_of_another_log_or_malformed_is_no_value() {
    let server = Server::start();
    let redis = server.redis();
    let mut reading = open(&redis).await;
    append(&redis, &["a"]).await;
    for (topic, kept) in [
        (
            "value/a",
            "17000000000000000000-1 5:topic,7:value/a,4:data,1:x,",
        ),
        ("value/b", "nonsense"),
        ("value/c", ""),
    ] {
        server.ask(&["HSET", "{tornadose}:latest", topic, kept]);
    }
    assert!(reading.latest().await.expect("values").is_empty());
    server.ask(&["DEL", "{tornadose}:latest"]);
    server.ask(&["SET", "{tornadose}:latest", "x"]);
    assert!(reading.latest().await.is_err());
    // The event is stored, and that is what is answered.
    assert!(redis.append(&[value("value/a", "b")]).await[0].is_ok());
    assert_eq!(data(&all(&mut reading).await), ["a", "b"]);
}
