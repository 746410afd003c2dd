//! What other programs `PUBLISH`.

use std::time::Duration;

use tornadose::backplane::{Content, Redis};

use crate::server::{Server, until};
use crate::words::*;

fn relaying(server: &Server) -> Redis {
    let price = "value/+".parse().expect("a pattern");
    let rooms = "rooms/7".parse().expect("a pattern");
    server.redis().relay("sse:", price).relay("", rooms)
}

/// Publishes until somebody listens.
async fn publish(server: &Server, channel: &str, text: &str) {
    let mut client = server.client();
    until("a subscriber", || {
        client.ask(&["PUBLISH", channel, text]).text() != "0"
    })
    .await;
}

async fn stored(server: &Server, count: usize) -> Vec<(String, String)> {
    until("stored", || server.stream(KEY).len() >= count).await;
    let stream = server.stream(KEY).into_iter();
    stream
        .map(|(_, fields)| (fields[1].clone(), fields[5].clone()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_appended_once() {
    let server = Server::start();
    let nodes = [relaying(&server), relaying(&server), relaying(&server)];
    let mut readings = Vec::new();
    for node in &nodes {
        readings.push(open(node).await);
    }
    publish(&server, "sse:value/a", "0").await;
    let mut client = server.client();
    for n in 1..1000 {
        assert_eq!(
            client
                .ask(&["PUBLISH", "sse:value/a", &n.to_string()])
                .text(),
            "1",
            "{n}"
        );
    }
    // Nobody's: another prefix, no topic, not matched, no text.
    for channel in [
        "value/a",
        "sse:value/a/b",
        "sse:other",
        "rooms/8",
        "sse:value/#",
    ] {
        client.ask(&["PUBLISH", channel, "x"]);
    }
    client
        .try_ask_bytes(&[b"PUBLISH", b"sse:value/a", b"\xff"])
        .expect("an answer");
    client.ask(&["PUBLISH", "rooms/7", "last\r\n"]);
    let stored = stored(&server, 1001).await;
    let values = (0..1000).map(|n| ("value/a".to_owned(), n.to_string()));
    assert!(
        stored
            .into_iter()
            .eq(values.chain([("rooms/7".to_owned(), "last\r\n".to_owned())]))
    );
    // It is the newest value, and has a tag, as what a node submits.
    let values = readings[0].latest().await.expect("values");
    assert_eq!(data(&values), ["999"]);
    assert!(matches!(&values[0].content, Content::Event(topic, _) if topic.as_str() == "value/a"));
    assert_eq!(all(&mut readings[1]).await.len(), 1001);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_one_goes_on() {
    let mut server = Server::durable();
    let one = relaying(&server);
    let _reading = open(&one).await;
    publish(&server, "rooms/7", "a").await;
    stored(&server, 1).await;
    let two = relaying(&server);
    let _other = open(&two).await;
    drop(one);
    // As soon as the lease has run out.
    until("nobody", || {
        server.ask(&["PUBLISH", "rooms/7", "lost"]).text() == "0"
    })
    .await;
    publish(&server, "rooms/7", "b").await;
    until("stored", || {
        server
            .stream(KEY)
            .iter()
            .any(|(_, fields)| fields[5] == "b")
    })
    .await;
    // The server comes back, and so do they.
    server.kill();
    server.again();
    tokio::time::sleep(Duration::from_millis(100)).await;
    publish(&server, "rooms/7", "c").await;
    until("stored", || {
        server
            .stream(KEY)
            .iter()
            .any(|(_, fields)| fields[5] == "c")
    })
    .await;
    let texts: Vec<_> = server
        .stream(KEY)
        .into_iter()
        .map(|(_, fields)| fields[5].clone())
        .collect();
    let found: Vec<_> = texts.iter().filter(|text| *text != "lost").collect();
    assert_eq!(found, ["a", "b", "c"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_lease_is_over_appends_nothing() {
    let server = Server::start();
    let node = relaying(&server);
    let _reading = open(&node).await;
    publish(&server, "rooms/7", "a").await;
    stored(&server, 1).await;
    server.ask(&["SET", "{tornadose}:relay", "somebody else", "PX", "60000"]);
    server.ask(&["PUBLISH", "rooms/7", "b"]);
    until("it has noticed", || {
        server.ask(&["PUBLISH", "rooms/7", "c"]).text() == "0"
    })
    .await;
    assert_eq!(server.stream(KEY).len(), 1);
    server.ask(&["DEL", "{tornadose}:relay"]);
    publish(&server, "rooms/7", "d").await;
    assert_eq!(stored(&server, 2).await[1].1, "d");
}
