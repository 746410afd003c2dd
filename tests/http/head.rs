//! Response heads, to the letter, and when they leave.

use std::time::Duration;

use tokio::time::Instant;
use tornadose::{DataStore, EventSource, QueueStore, Start};

use crate::vocabulary::{
    Client, Door, SECOND, Server, block_of, end_of, farewell, submit, submit_numbers, within,
};

#[tokio::test]
async fn the_head_on_http_1_1_is_exact_behind_every_door() {
    for door in Door::ALL_HTTP1 {
        let store = DataStore::new();
        let server = Server::behind(door, EventSource::new(store.clone()));
        let mut client = Client::connect(&server).await;
        let head = client.get(b"").await;
        assert_eq!(
            head.without_date(),
            "HTTP/1.1 200 OK\r\n\
             content-type: text/event-stream\r\n\
             cache-control: no-store, no-transform\r\n\
             x-accel-buffering: no\r\n\
             transfer-encoding: chunked\r\n\
             \r\n",
            "{door:?}"
        );
        assert_eq!(client.raw_chunk().await, b"3\r\n:\n\n\r\n", "{door:?}");
    }
}

#[tokio::test]
async fn the_head_does_not_change_when_a_client_comes_back() {
    let store = QueueStore::new();
    let ids = submit_numbers(&store, 3);
    let server = Server::start(EventSource::new(store.clone()));
    let fresh = Client::connect(&server).await.get(b"").await;
    for id in [ids[0].to_string().as_bytes(), b"nonsense", b"\xff"] {
        let head = Client::connect(&server).await.get_after(id).await;
        assert_eq!(head.without_date(), fresh.without_date());
    }
}

#[tokio::test]
async fn a_client_of_http_1_0_reads_until_the_connection_closes() {
    for door in Door::ALL_HTTP1 {
        for lines in ["", "connection: keep-alive\r\n", "host: localhost\r\n"] {
            let store = QueueStore::new();
            let start = end_of(&store);
            let server = Server::behind(door, EventSource::new(store.clone()));
            let mut client = Client::connect(&server).await;
            let request = format!("GET /events HTTP/1.0\r\n{lines}\r\n");
            client.send(request.as_bytes()).await;
            let head = client.head().await;
            assert!(
                head.without_date().starts_with("HTTP/1.0 200 OK\r\n"),
                "{head:?}"
            );
            assert_eq!(head.all("content-type"), ["text/event-stream"]);
            assert_eq!(head.all("transfer-encoding"), [""; 0]);
            assert_eq!(head.all("content-length"), [""; 0]);

            assert_eq!(client.blocks(2).await, [":", &format!("id: {start}")]);
            let id = submit(&store, "x");
            assert_eq!(client.blocks(1).await, [block_of(id, "x")]);
            store.close();
            farewell(&client.block().await.expect("a farewell"));
            assert_eq!(client.block().await, None);
            client.assert_closed().await;
        }
    }
}

#[tokio::test]
async fn the_head_and_a_comment_leave_before_there_is_any_event() {
    for door in Door::ALL_HTTP1 {
        let store = DataStore::new();
        let server = Server::behind(door, EventSource::new(store.clone()));
        let mut client = within(SECOND, "a head", Client::open(&server)).await;
        assert_eq!(client.block().await.as_deref(), Some(":"));

        let store = QueueStore::new();
        let start = end_of(&store);
        let server = Server::behind(door, EventSource::new(store.clone()));
        let mut client = within(SECOND, "a head", Client::open(&server)).await;
        let opening = within(SECOND, "an opening", client.blocks(2)).await;
        assert_eq!(opening, [":", &format!("id: {start}")]);
    }
}

#[tokio::test]
async fn the_current_value_comes_at_once() {
    for door in Door::ALL_HTTP1 {
        let store = DataStore::with_initial("21.5").expect("small");
        let server = Server::behind(door, EventSource::new(store.clone()));
        let mut client = within(SECOND, "a head", Client::open(&server)).await;
        assert_eq!(client.block().await.as_deref(), Some(":"));
        let value = within(SECOND, "the value", client.events(1)).await;
        assert_eq!(value, ["21.5"]);

        store.submit("22").expect("open");
        assert_eq!(client.events(1).await, ["22"]);
    }
}

#[tokio::test]
async fn each_frame_is_one_chunk_of_whole_blocks() {
    let store = QueueStore::new();
    let server = Server::start(EventSource::new(store.clone()).start(Start::Oldest));
    submit_numbers(&store, 1000);
    let mut client = Client::open(&server).await;
    let mut events = 0;
    let mut chunks = 0;
    while events < 1000 {
        let part = client.part().await.expect("the stream goes on");
        assert!(part.ends_with(b"\n\n"));
        let part = String::from_utf8(part).expect("UTF-8");
        events += part.split("\n\n").filter(|b| b.contains("data: ")).count();
        chunks += 1;
    }
    assert!(chunks <= 10, "{chunks}");
}

#[tokio::test]
async fn keep_alive_comments_come_over_the_wire() {
    const INTERVAL: Duration = Duration::from_millis(20);
    let begun = Instant::now();
    let store = DataStore::new();
    let server = Server::start(EventSource::new(store.clone()).keep_alive(INTERVAL));
    let mut client = Client::open(&server).await;
    for _ in 0..4 {
        assert_eq!(client.raw_chunk().await, b"3\r\n:\n\n\r\n");
    }
    assert!(begun.elapsed() >= 3 * INTERVAL, "{:?}", begun.elapsed());
}
