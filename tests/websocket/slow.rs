//! Clients that do not read: they cost what fits their connection, and are told what
//! they missed.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncWrite, DuplexStream};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tornadose::{
    DataStore, EventSource, Overflow, Permit, QueueStore, Retention, WebSocketSubscriber,
};

use crate::client::Client;
use crate::raw::{FIN, PING, PONG, Raw, TEXT, frame};
use crate::server::Server;
use crate::vocabulary::{
    PATIENCE, end_of, message, moved, parsed, store_and_socket, submit, until_left, within,
};

const EVENT: usize = 10 << 10;

fn numbered(n: u64) -> String {
    let mut data = format!("{n} ");
    data.extend(std::iter::repeat_n('x', EVENT - data.len()));
    data
}

fn number(data: &str) -> u64 {
    assert_eq!(data.len(), EVENT);
    let (number, _) = data.split_once(' ').expect("a number");
    number.parse().expect("a number")
}

#[tokio::test]
async fn one_that_does_not_read_is_told_exactly_what_it_missed_when_it_does() {
    const EVENTS: u64 = 2000;
    let store = QueueStore::builder()
        .retention(Retention::new().events(50))
        .build();
    let socket = WebSocketSubscriber::new(store.clone());
    let server = Server::tight(&socket);
    let mut stalled = Client::open_tight(&server).await;
    let mut healthy = Client::open(&server).await;
    healthy.text().await;
    for n in 1..=EVENTS {
        submit(&store, numbered(n));
        assert_eq!(number(&healthy.data(1).await[0]), n);
    }
    let (mut received, mut missed, mut gaps) = (0, 0, 0);
    let mut last = parsed(&stalled.text().await)["id"].clone();
    let end = end_of(&store).to_string();
    while last != end.as_str() {
        let message = parsed(&stalled.text().await);
        if message["event"] == "gap" {
            let told = &message["data"];
            assert_eq!((&told["reason"], &told["from"]), (&"slow".into(), &last));
            assert_eq!(told["resume"], message["id"]);
            let count = told["missed"].as_str().expect("a text");
            missed += count.parse::<u64>().expect("a number");
            gaps += 1;
        } else {
            assert_eq!(message["prev"], last);
            received += 1;
            let data = message["data"].as_str().expect("a text");
            assert_eq!(number(data), received + missed);
        }
        last = message["id"].clone();
    }
    assert_eq!(received + missed, EVENTS);
    assert!(received < EVENTS / 10, "it did not stall");
    // One, and one more for each time that the kernel made a little room after all.
    assert!((1..=4).contains(&gaps), "{gaps}");
}

#[tokio::test]
async fn one_that_does_not_read_a_data_store_skips_to_the_latest_value() {
    const VALUES: u64 = 1000;
    let store = DataStore::new();
    let server = Server::tight(&WebSocketSubscriber::new(store.clone()));
    let mut stalled = Client::open_tight(&server).await;
    for n in 1..=VALUES {
        store.submit(numbered(n)).expect("open");
        tokio::task::yield_now().await;
    }
    let mut last = parsed(&stalled.text().await)["id"].clone();
    let (mut newest, mut received) = (0, 0);
    while newest < VALUES {
        let message = parsed(&stalled.text().await);
        assert_eq!(message["prev"], last);
        last = message["id"].clone();
        let n = number(message["data"].as_str().expect("a text"));
        assert!(n > newest, "{n} after {newest}");
        newest = n;
        received += 1;
    }
    assert!(received < VALUES / 10, "it did not stall");
}

/// Sends this again and again for as long as it is taken without anything being read:
/// how many bytes that were.
async fn stuff(client: &mut Raw<DuplexStream>, bytes: &[u8]) -> usize {
    let (mut taken, mut idle) = (0, 0);
    let mut rest = bytes;
    // Whoever is to take more has had its turn often enough.
    while idle < 100 {
        let io = &mut client.io;
        let written = poll_fn(|cx| {
            Poll::Ready(match Pin::new(&mut *io).poll_write(cx, rest) {
                Poll::Ready(written) => written.expect("a server that is there"),
                Poll::Pending => 0,
            })
        })
        .await;
        taken += written;
        rest = &rest[written..];
        if rest.is_empty() {
            rest = bytes;
        }
        idle = if written == 0 { idle + 1 } else { 0 };
        assert!(taken < 1 << 20, "it takes everything");
        tokio::task::yield_now().await;
    }
    taken
}

#[tokio::test(start_paused = true)]
async fn pings_of_one_that_does_not_read_the_answers_are_not_read_for_long() {
    const ROOM: usize = 1024;
    let (store, socket) = store_and_socket();
    let mut client = Raw::in_memory(&socket, ROOM).await;
    client.text().await;
    let ping = frame(PING, &[7; 125]);
    let taken = stuff(&mut client, &ping).await;
    // What waits on the way there, on the way back, between the two, and 16 answers.
    let whole = taken / ping.len();
    println!("{whole} pings of one that does not read");
    assert!(whole <= 16 + 4 * ROOM / ping.len(), "{whole}");

    // Once it reads, all of them are answered, and it gets the events as well.
    submit(&store, "x");
    let mut pongs = 0;
    while pongs < whole {
        let frame = client.frame().await;
        match frame.first {
            PONG => {
                assert_eq!(frame.payload, [7; 125]);
                pongs += 1;
            }
            first => assert_eq!(first, FIN | TEXT),
        }
    }
    assert_eq!((store.subscribers(), socket.streams()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn messages_of_one_that_does_not_read_the_replies_are_not_read_for_long() {
    const ROOM: usize = 1024;
    let (store, socket) = store_and_socket();
    let socket = socket.on_message(|received| received.reply("x".repeat(10_000)));
    let mut client = Raw::in_memory(&socket, ROOM).await;
    client.text().await;
    let message = frame(FIN | TEXT, &[b'?'; 100]);
    let taken = stuff(&mut client, &message).await;
    let whole = taken / message.len();
    println!("{whole} messages of one that does not read");
    assert!(whole <= 17 + 3 * ROOM / message.len(), "{whole}");
    for _ in 0..whole {
        assert_eq!(client.text().await.len(), 10_000);
    }
    drop(client);
    until_left(&store, &socket).await;
}

#[tokio::test]
async fn one_that_does_not_read_does_not_keep_the_others_waiting() {
    let (store, socket) = store_and_socket();
    let server = Server::tight(&socket);
    let mut stalled = Vec::new();
    for _ in 0..20 {
        stalled.push(Client::open_tight(&server).await);
    }
    let mut healthy = Client::open(&server).await;
    healthy.text().await;
    for n in 1..=100 {
        submit(&store, numbered(n));
        assert_eq!(number(&healthy.data(1).await[0]), n);
        healthy.send(Message::Ping(Vec::new().into())).await;
        assert!(matches!(healthy.next().await, Message::Pong(_)));
    }
    // They are there, and nothing is lost of what is retained.
    assert_eq!(socket.streams(), 21);
    for client in &mut stalled {
        client.text().await;
        let all = within(PATIENCE, "what was waiting", client.data(100)).await;
        assert_eq!(number(&all[99]), 100);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_waits_goes_at_the_pace_of_the_slowest() {
    let store = QueueStore::builder()
        .retention(Retention::new().events(4))
        .overflow(Overflow::Wait { stall: PATIENCE })
        .build();
    let socket = EventSource::new(store.clone())
        .permit(|_| Ok(Permit::new().key("ann")))
        .websocket();
    // Room for one or two events.
    let mut client = Raw::in_memory(&socket, 256).await;
    client.text().await;
    let submitter = tokio::spawn({
        let store = store.clone();
        async move {
            for n in 1..=200 {
                let submitted = store.submit(n.to_string()).expect("room");
                submitted.await.expect("open");
            }
        }
    });
    let mut prev = moved(end_of(&store), 0);
    for n in 1..=100 {
        let text = client.text().await;
        let id = moved(prev, n);
        assert_eq!(text, message(id, prev, &n.to_string()));
        prev = id;
    }
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(!submitter.is_finished(), "it is not waited for");

    // Who is revoked is waited for no longer, although it does not read.
    let begun = Instant::now();
    assert_eq!(socket.revoke("ann"), 1);
    submitter.await.expect("all is submitted");
    assert_eq!(begun.elapsed(), Duration::ZERO);
}
