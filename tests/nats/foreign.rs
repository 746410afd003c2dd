//! What others write into the stream, and streams that others have made.

use std::time::Duration;

use tornadose::backplane::{AppendError, Backplane, Content};
use tornadose::{Event, EventName};

use crate::server::Server;
use crate::*;

#[tokio::test]
async fn a_plain_publish_is_an_event() {
    let server = Server::start();
    let engine = engine(&server);
    let mut reading = open(&engine).await;
    let mut peer = server.peer();
    peer.publish(b"tornadose.rooms.7", None, b"hello");
    let headers = b"NATS/1.0\r\nEvent: a%20tick\r\nretry: 1\r\nRetry: 1500\r\nX-Other: y\r\n\r\n";
    peer.publish("tornadose.räume.1%2E5".as_bytes(), Some(headers), b"");
    let json = b"NATS/1.0\r\nContent-Type: application/json\r\n\r\n";
    peer.publish(b"tornadose-latest.now.1", Some(json), b"[1]");
    let ack = peer.request(
        "tornadose.rooms.7",
        Some(b"NATS/1.0\r\nNats-Msg-Id: k\r\n\r\n"),
        b"acked",
    );
    assert_eq!(ack["seq"], 4);

    let records = come(&mut *reading, 1, 4).await;
    let events: Vec<_> = records
        .iter()
        .map(|record| match &record.content {
            Content::Event(topic, event) => (topic.as_str(), event.clone()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        events,
        [
            ("rooms/7", Event::new("hello")),
            (
                "räume/1.5",
                Event::new("")
                    .name(EventName::from_static("a tick"))
                    .retry(Duration::from_millis(1500))
            ),
            ("now/1", Event::from_json("[1]").expect("JSON")),
            ("rooms/7", Event::new("acked")),
        ]
    );
    // Everybody makes the same tag of it, in every way of reading.
    let mut other = open(&crate::engine(&server)).await;
    for record in &records {
        let alone = other
            .read(record.position.offset(), 1)
            .await
            .expect("a server");
        assert_eq!(alone[0].position, record.position);
    }
    let newest = other.latest().await.expect("a server");
    assert_eq!(newest.len(), 1);
    assert_eq!(newest[0].position, records[2].position);
    // And of what has its key.
    let again = engine
        .append(&[append("rooms/7", Event::new("x").once("k"))])
        .await;
    assert_eq!(again, [Ok(records[3].position)]);
}

#[tokio::test]
async fn what_is_no_event_is_corrupt_and_nothing_else_is() {
    let server = Server::start();
    let engine = engine(&server);
    let mut reading = open(&engine).await;
    let mut peer = server.peer();
    peer.publish(b"tornadose.a", None, b"\xff");
    peer.publish(b"tornadose.a/b", None, b"x");
    peer.publish(b"tornadose.+", None, b"x");
    peer.publish(b"tornadose.%41", None, b"x");
    peer.publish(
        b"tornadose.a",
        Some(b"NATS/1.0\r\nEvent: gap\r\n\r\n"),
        b"x",
    );
    peer.publish(
        b"tornadose.a",
        Some(b"NATS/1.0\r\nRetry: soon\r\n\r\n"),
        b"x",
    );
    peer.publish(
        b"tornadose.a",
        Some(b"NATS/1.0\r\nContent-Type: application/json\r\n\r\n"),
        b"{",
    );
    peer.publish(
        b"tornadose.a",
        Some(b"NATS/1.0 408 Request Timeout\r\n\r\n"),
        b"x",
    );
    peer.publish(b"tornadose.a", None, b"good");
    let expected = [
        (1, "a", "corrupt"),
        (2, "", "corrupt"),
        (3, "", "corrupt"),
        (4, "", "corrupt"),
        (5, "a", "corrupt"),
        (6, "a", "corrupt"),
        (7, "a", "corrupt"),
        (8, "a", "x"),
        (9, "a", "good"),
    ];
    let expected = expected.map(|(at, topic, data)| (at, topic.to_owned(), data.to_owned()));
    let records = come(&mut *reading, 1, 9).await;
    assert_eq!(records.iter().map(told).collect::<Vec<_>>(), expected);
}

/// Messages that the client gives up its connection for.
#[tokio::test]
async fn what_the_client_cannot_take_is_passed() {
    let server = Server::start();
    let engine = engine(&server);
    let mut reading = open(&engine).await;
    let mut peer = server.peer();
    let poison: [&[u8]; 4] = [
        b"NATS/1.0\r\nEvent: \xff\xfe\r\n\r\n",
        b"NATS/1.0\r\nno colon\r\n\r\n",
        b"NATS/1.0\r\nnot a name: x\r\n\r\n",
        b"NATS/1.0 odd\r\n\r\n",
    ];
    let mut expected = Vec::new();
    for round in 0..40 {
        let data = format!("{round}");
        peer.publish(b"tornadose.a", None, data.as_bytes());
        expected.push(("a", data));
        if round % 10 == 5 {
            peer.publish(b"tornadose.a", Some(poison[round / 10]), b"x");
            expected.push(("a", "corrupt".to_owned()));
        }
        if round == 20 {
            peer.publish(b"tornadose.a.\xff", None, b"x");
            expected.push(("", "corrupt".to_owned()));
            peer.publish(b"tornadose-latest.now.1", Some(poison[0]), b"x");
            expected.push(("now/1", "corrupt".to_owned()));
        }
    }
    let expected: Vec<_> = (1..)
        .zip(expected)
        .map(|(at, (topic, data))| (at, topic.to_owned(), data))
        .collect();

    // As the hub does: who has failed is opened anew, and goes on.
    let mut read = Vec::new();
    let mut failures = 0;
    let deadline = Instant::now() + PATIENCE;
    while read.len() < expected.len() {
        assert!(Instant::now() < deadline, "{:?}", read.last());
        match reading
            .wait(read.len() as u64 + 1, 1024, Duration::from_millis(100))
            .await
        {
            Ok(records) => read.extend(records),
            Err(error) => {
                failures += 1;
                assert!(failures < 10, "{error}");
                reading = open(&engine).await;
            }
        }
    }
    assert_eq!(read.iter().map(told).collect::<Vec<_>>(), expected);
    assert_eq!(failures, 1, "one is enough for all that are near");
    // It is known now: nothing fails when all is read again.
    let again = all(&mut *open(&engine).await, 1).await;
    assert_eq!(again.iter().map(told).collect::<Vec<_>>(), expected);

    // In the copy of the newest as well.
    let mut newest = open(&engine).await.latest().await;
    for _ in 0..3 {
        if newest.is_ok() {
            break;
        }
        newest = open(&engine).await.latest().await;
    }
    let newest = newest.expect("a server");
    assert_eq!(
        newest
            .iter()
            .map(|record| told(record).2)
            .collect::<Vec<_>>(),
        ["corrupt"]
    );

    // And where it comes while somebody waits.
    let mut reading = open(&engine).await;
    let from = expected.len() as u64 + 1;
    let patience = Duration::from_millis(50);
    assert!(
        reading
            .wait(from, 10, patience)
            .await
            .expect("a server")
            .is_empty()
    );
    peer.publish(b"tornadose.a", Some(poison[0]), b"x");
    peer.publish(b"tornadose.a", None, b"behind");
    let mut read = Vec::new();
    while read.len() < 2 {
        assert!(Instant::now() < deadline, "{:?}", read.last());
        match reading.wait(from + read.len() as u64, 1024, PATIENCE).await {
            Ok(records) => read.extend(records),
            Err(_) => reading = open(&engine).await,
        }
    }
    assert_eq!(
        read.iter().map(|record| told(record).2).collect::<Vec<_>>(),
        ["corrupt", "behind"]
    );
}

#[tokio::test]
async fn a_stream_that_is_no_log_is_refused() {
    let server = Server::start();
    for (name, config, why) in [
        (
            "other",
            r#""subjects":["other.>"]"#,
            "the stream does not have the subjects of the log",
        ),
        (
            "few",
            r#""subjects":["few.>","few-latest.>"],"max_msgs_per_subject":1"#,
            "the stream limits what is kept of each subject",
        ),
        (
            "queue",
            r#""subjects":["queue.>","queue-latest.>"],"retention":"workqueue""#,
            "the stream is a queue of work, not a log",
        ),
        (
            "mute",
            r#""subjects":["mute.>","mute-latest.>"],"no_ack":true"#,
            "the stream does not acknowledge",
        ),
    ] {
        let config = format!(r#"{{"name":"{name}","storage":"file",{config}}}"#);
        let made = server
            .peer()
            .call(&format!("STREAM.CREATE.{name}"), &config);
        assert!(made["error"].is_null(), "{made}");
        let engine = engine(&server).stream(name).expect("a name");
        let error = engine.open(&latest()).await.err().expect("refused");
        assert_eq!(error.to_string(), format!("nats: {why}"));
        let answers = engine.append(&[append("news", "x")]).await;
        assert_eq!(answers, [Err(AppendError::Refused(why.into()))]);
        assert_eq!(
            server.peer().call(&format!("STREAM.INFO.{name}"), "")["state"]["messages"],
            0
        );
    }
    // One that takes the subjects away.
    let made = server.peer().call(
        "STREAM.CREATE.taken",
        r#"{"name":"taken","subjects":["mine.>"],"storage":"file"}"#,
    );
    assert!(made["error"].is_null(), "{made}");
    let engine = engine(&server).stream("mine").expect("a name");
    let error = engine.open(&latest()).await.err().expect("refused");
    assert_eq!(
        error.to_string(),
        "nats: subjects overlap with an existing stream"
    );
}

#[tokio::test]
async fn a_stream_that_somebody_made_is_used_as_it_is() {
    let server = Server::start();
    let config =
        r#"{"name":"mine","subjects":["a.b.>","a.b-latest.>"],"storage":"memory","max_msgs":3}"#;
    server.peer().call("STREAM.CREATE.mine", config);
    let engine = engine(&server)
        .stream("mine")
        .expect("a name")
        .prefix("a.b")
        .expect("a prefix")
        .max_events(50);
    assert!(
        engine
            .append(&vec![append("news", "x"); 10])
            .await
            .iter()
            .all(Result::is_ok)
    );
    let mut reading = open(&engine).await;
    assert_eq!(window(&mut *reading).await.oldest, 8);
    server.peer().publish(b"a.b.news", None, b"y");
    assert_eq!(
        told(&come(&mut *reading, 11, 1).await[0]),
        (11, "news".to_owned(), "y".to_owned())
    );
}
