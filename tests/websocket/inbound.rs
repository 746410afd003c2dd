//! What clients send, and what is replied to it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;
use tornadose::{EventSource, Permit, QueueStore, WebSocketSubscriber};

use crate::client::Client;
use crate::raw::{BINARY, CONTINUATION, FIN, PING, PONG, Raw, TEXT, frame};
use crate::server::Server;
use crate::vocabulary::{
    PATIENCE, end_of, eventually, field, message, opened, store_and_socket, submit, until_left,
    within,
};

const LIMIT: usize = 64 << 10;

/// What was handed over: the key, whether it was a text, and the bytes.
type Heard = Arc<Mutex<Vec<(Option<String>, bool, Vec<u8>)>>>;

/// Listens and replies nothing.
fn listening(socket: WebSocketSubscriber) -> (Heard, WebSocketSubscriber) {
    let heard = Heard::default();
    let list = Arc::clone(&heard);
    let socket = socket.on_message(move |received| {
        let key = received.key().map(str::to_owned);
        if let Some(text) = received.text() {
            assert_eq!(text.as_bytes(), received.bytes());
        }
        let bytes = received.bytes().to_vec();
        let is_text = received.text().is_some();
        list.lock().expect("no panic").push((key, is_text, bytes));
    });
    (heard, socket)
}

async fn until_heard(heard: &Heard, count: usize) -> Vec<(Option<String>, bool, Vec<u8>)> {
    eventually("everything is heard", || {
        heard.lock().expect("no panic").len() >= count
    })
    .await;
    heard.lock().expect("no panic").clone()
}

/// Answers every message twice, and tells it to everybody.
fn chat(store: &QueueStore) -> WebSocketSubscriber {
    let rooms = store.clone();
    WebSocketSubscriber::new(store.clone()).on_message(move |received| {
        let text = received.text().unwrap_or("bytes").to_owned();
        received.reply(format!("got {text}"));
        received.reply_bytes(received.bytes().to_vec());
        rooms.submit(text).expect("open");
    })
}

#[tokio::test]
async fn texts_and_bytes_are_handed_over_in_order_with_the_key() {
    let (store, _) = store_and_socket();
    let events = EventSource::new(store.clone()).permit(|head| {
        let user = head.query("user");
        Ok(user.map_or(Permit::new(), |user| Permit::new().key(user)))
    });
    let (heard, socket) = listening(events.websocket());
    let server = Server::start(&socket);
    let sent = [
        (true, "".as_bytes()),
        (false, b""),
        (true, "x\0é🦀".as_bytes()),
        (false, b"\xff\0\xfe"),
        (true, &[b'x'; 126]),
        (false, &[0; LIMIT - 1]),
        (true, &[b'y'; LIMIT]),
        (false, &[1; LIMIT]),
    ];
    for target in ["/socket?user=ann", "/socket"] {
        heard.lock().expect("no panic").clear();
        let mut client = Client::get(&server, target, &[]).await;
        let key = target.contains("ann").then(|| "ann".to_owned());
        for (is_text, bytes) in sent {
            client
                .send(match is_text {
                    true => Message::text(str::from_utf8(bytes).expect("UTF-8")),
                    false => Message::binary(bytes),
                })
                .await;
        }
        let expected = sent.map(|(is_text, bytes)| (key.clone(), is_text, bytes.to_vec()));
        assert!(until_heard(&heard, sent.len()).await == expected);
        client.text().await;
        client.close().await;
    }
    until_left(&store, &socket).await;
}

#[tokio::test]
async fn fragments_are_put_together_whatever_stands_between_them() {
    let (store, socket) = store_and_socket();
    let (heard, socket) = listening(socket);
    let server = Server::start(&socket);
    let mut client = Raw::open(&server).await;
    client.text().await;
    // A character is cut in two, and a ping comes in between.
    let pieces = [
        frame(TEXT, b"\xf0\x9f"),
        frame(PING, b"between"),
        frame(CONTINUATION, b""),
        frame(CONTINUATION, b"\xa6\x80"),
        frame(PONG, b""),
        frame(FIN | CONTINUATION, b"!"),
        frame(BINARY, b""),
        frame(FIN | CONTINUATION, b""),
    ];
    for byte in pieces.concat() {
        client.send(&[byte]).await;
    }
    assert_eq!(client.frame().await.payload, b"between");
    let mut longest = frame(BINARY, &[0; 512]);
    for _ in 1..127 {
        longest.extend(frame(CONTINUATION, &[0; 512]));
    }
    longest.extend(frame(FIN, &[0; 512]));
    client.send(&longest).await;
    let expected = [
        (None, true, "🦀!".as_bytes().to_vec()),
        (None, false, Vec::new()),
        (None, false, vec![0; LIMIT]),
    ];
    assert!(until_heard(&heard, 3).await == expected);
    assert_eq!(store.subscribers(), 1);
}

#[tokio::test]
async fn without_a_listener_messages_are_read_and_dropped() {
    let (store, socket) = store_and_socket();
    let server = Server::start(&socket);
    let mut client = Client::open(&server).await;
    client.text().await;
    for n in 0..50 {
        client.say(&"x".repeat(LIMIT)).await;
        submit(&store, n.to_string());
        assert_eq!(client.data(1).await, [n.to_string()]);
    }
    assert_eq!(store.subscribers(), 1);
}

#[tokio::test]
async fn replies_stand_before_the_events_that_follow_and_concern_nobody_else() {
    let store = QueueStore::new();
    let server = Server::start(&chat(&store));
    let (mut ann, mut bob) = (Client::open(&server).await, Client::open(&server).await);
    let mut prev = end_of(&store);
    assert_eq!(ann.text().await, opened(prev));
    assert_eq!(bob.text().await, opened(prev));
    for n in 0..100 {
        let text = format!("message {n}");
        let bytes = text.as_bytes().to_vec();
        ann.say(&text).await;
        assert_eq!(ann.text().await, format!("got {text}"));
        assert_eq!(ann.next().await, Message::binary(bytes));
        let event = ann.text().await;
        let id = end_of(&store);
        assert_eq!(event, message(id, prev, &text));
        assert_eq!(bob.text().await, event);
        prev = id;
    }
}

#[tokio::test]
async fn replies_keep_the_order_of_what_they_answer() {
    let store = QueueStore::new();
    let server = Server::start(&chat(&store));
    let mut client = Client::open(&server).await;
    client.text().await;
    // More than may wait unsent at a time.
    for n in 0..200 {
        client.say(&n.to_string()).await;
    }
    let (mut replies, mut bytes, mut events) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..600 {
        match client.next().await {
            Message::Binary(reply) => bytes.push(String::from_utf8(reply.to_vec()).expect("UTF-8")),
            Message::Text(text) => match text.strip_prefix("got ") {
                Some(reply) => replies.push(reply.to_owned()),
                None => {
                    let data = field(&text, "data").expect("an event");
                    assert!(replies.contains(&data), "the reply stands first");
                    events.push(data);
                }
            },
            other => panic!("{other:?}"),
        }
    }
    let expected: Vec<_> = (0..200).map(|n| n.to_string()).collect();
    assert_eq!(
        (&replies, &bytes, &events),
        (&expected, &expected, &expected)
    );
}

#[tokio::test(start_paused = true)]
async fn no_reply_lands_inside_an_event_that_is_half_sent() {
    let store = QueueStore::new();
    let socket = WebSocketSubscriber::new(store.clone()).on_message(|received| {
        received.reply("reply");
    });
    let mut client = Raw::in_memory(&socket, 256).await;
    client.text().await;
    let (begin, long) = (end_of(&store), "x".repeat(1000));
    let id = submit(&store, long.as_str());
    // It is begun, and then both are read.
    for bytes in [frame(FIN | TEXT, b"?"), frame(PING, b"p")] {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        client.send(&bytes).await;
    }
    assert_eq!(client.text().await, message(id, begin, &long));
    assert_eq!(client.text().await, "reply");
    assert_eq!(client.frame().await.first, PONG);
}

#[tokio::test]
async fn a_reply_may_be_longer_than_what_a_client_may_send() {
    let (_, socket) = store_and_socket();
    let socket = socket.max_message_bytes(10).on_message(|received| {
        received.reply("é".repeat(1 << 20));
        received.reply("");
    });
    let server = Server::start(&socket);
    let mut client = Client::open(&server).await;
    client.text().await;
    client.say("0123456789").await;
    assert!(client.text().await == "é".repeat(1 << 20));
    assert_eq!(client.text().await, "");
}

#[tokio::test]
async fn what_is_sent_by_who_is_gone_already_is_not_replied_to() {
    let store = QueueStore::new();
    let socket = EventSource::new(store.clone())
        .permit(|_| Ok(Permit::new().key("ann")))
        .websocket();
    let (heard, socket) = listening(socket);
    let server = Server::start(&socket);
    let mut client = Raw::open(&server).await;
    client.text().await;
    socket.revoke("ann");
    client.send(&frame(FIN | TEXT, b"too late")).await;
    assert_eq!(client.closed().await.0, 1008);
    client.send(&frame(FIN | TEXT, b"later still")).await;
    client.send(&crate::raw::closing(1008)).await;
    client.ended().await;
    assert!(heard.lock().expect("no panic").is_empty());
}

#[tokio::test]
async fn what_was_received_is_never_printed() {
    let (_, socket) = store_and_socket();
    let server = Server::start(&socket.on_message(|received| {
        let shown = format!("{received:?}");
        received.reply(shown);
    }));
    let mut client = Client::open(&server).await;
    client.text().await;
    client.say("secret-7").await;
    let shown = client.text().await;
    assert!(
        !shown.contains("secret") && shown.contains("len: 8"),
        "{shown}"
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_talks_without_end_lets_everybody_else_run() {
    const MESSAGES: usize = 20_000;
    let (_, socket) = store_and_socket();
    let heard = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&heard);
    let socket = socket.on_message(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
    });
    let mut client = Raw::in_memory(&socket, 1 << 20).await;
    client.text().await;
    client.send(&frame(FIN | TEXT, b"").repeat(MESSAGES)).await;
    let (mut before, mut most) = (0, 0);
    while before < MESSAGES {
        tokio::task::yield_now().await;
        let now = heard.load(Ordering::SeqCst);
        most = most.max(now - before);
        before = now;
    }
    assert!(most <= 256, "{most} messages at once");
}

#[tokio::test]
async fn one_that_talks_without_end_still_gets_its_events() {
    let (store, socket) = store_and_socket();
    let server = Server::start(&socket);
    let Client(client) = Client::open(&server).await;
    let (mut speaking, mut listening) = client.split();
    let talk =
        tokio::spawn(async move { while speaking.send(Message::text("and")).await.is_ok() {} });
    listening.next().await.expect("open").expect("open");
    for n in 1..=50 {
        submit(&store, n.to_string());
        let next = within(PATIENCE, "an event", listening.next()).await;
        let next = next.expect("an event").expect("no reset");
        let text = next.to_text().expect("a text");
        assert_eq!(field(text, "data"), Some(n.to_string()));
    }
    talk.abort();
}

#[tokio::test]
async fn a_listener_that_panics_ends_that_connection_and_no_other() {
    let (store, socket) = store_and_socket();
    let socket = socket.on_message(|received| {
        assert_eq!(
            received.text(),
            Some("good"),
            "this panic is part of the test"
        );
        received.reply("good");
    });
    let server = Server::start(&socket);
    let (mut good, mut bad) = (Client::open(&server).await, Raw::open(&server).await);
    good.text().await;
    bad.text().await;
    bad.send(&frame(FIN | TEXT, b"bad")).await;
    bad.ended().await;
    assert_eq!((store.subscribers(), socket.streams()), (1, 1));
    good.say("good").await;
    assert_eq!(good.text().await, "good");
}
