//! Many streams on one connection.

use std::future::poll_fn;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tornadose::{DataStore, EventSource, QueueStore, Shutdown};

use crate::vocabulary::{
    Door, SECOND, Server, block_of, data, end_of, end_of_block, farewell, gap, submit,
    submit_numbers, until_subscribers, within,
};

/// A connection on which requests can be made.
struct Connection {
    requests: http2::SendRequest<Empty<Bytes>>,
    driver: JoinHandle<()>,
}

impl Connection {
    /// Speaks HTTP/2 without having asked.
    async fn open(server: &Server) -> Self {
        let socket = TcpStream::connect(server.address).await.expect("a server");
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(socket));
        let (requests, connection) = within(10 * SECOND, "a handshake", handshake)
            .await
            .expect("HTTP/2");
        let driver = tokio::spawn(async move { drop(connection.await) });
        Self { requests, driver }
    }

    async fn send(&mut self, method: Method, id: Option<&str>) -> Response<Incoming> {
        let mut request = Request::builder()
            .method(method)
            .uri("http://localhost/events");
        if let Some(id) = id {
            request = request.header("last-event-id", id);
        }
        let request = request.body(Empty::new()).expect("valid");
        poll_fn(|cx| self.requests.poll_ready(cx))
            .await
            .expect("an open connection");
        let response = self.requests.send_request(request);
        let response = within(10 * SECOND, "a response", response).await;
        response.expect("an answer")
    }

    async fn get(&mut self, id: Option<&str>) -> Stream {
        let response = self.send(Method::GET, id).await;
        assert_eq!(response.status(), StatusCode::OK);
        Stream {
            body: response.into_body(),
            unread: Vec::new(),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// One stream of a connection.
struct Stream {
    body: Incoming,
    unread: Vec<u8>,
}

impl Stream {
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some(end) = end_of_block(&self.unread) {
                let mut block: Vec<u8> = self.unread.drain(..end).collect();
                block.truncate(end - 2);
                return Some(String::from_utf8(block).expect("UTF-8"));
            }
            let frame = within(10 * SECOND, "a frame", self.body.frame()).await;
            let Some(frame) = frame else {
                assert_eq!(self.unread, b"");
                return None;
            };
            let frame = frame.expect("no reset by the server");
            self.unread.extend(frame.into_data().expect("no trailers"));
        }
    }

    async fn blocks(&mut self, count: usize) -> Vec<String> {
        let mut blocks = Vec::new();
        for _ in 0..count {
            blocks.push(self.block().await.expect("a block, not the end"));
        }
        blocks
    }
}

fn without_date(headers: &HeaderMap) -> Vec<(&str, &str)> {
    headers
        .iter()
        .filter(|(name, _)| *name != "date")
        .map(|(name, value)| (name.as_str(), value.to_str().expect("ASCII")))
        .collect()
}

#[tokio::test]
async fn the_headers_on_http_2_are_the_same() {
    for door in Door::ALL_HTTP2 {
        let store = DataStore::with_initial("x").expect("small");
        let server = Server::behind(door, EventSource::new(store.clone()));
        let mut connection = Connection::open(&server).await;
        let response = connection.send(Method::GET, None).await;
        assert_eq!(response.version(), Version::HTTP_2);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(
            without_date(response.headers()),
            [
                ("content-type", "text/event-stream"),
                ("cache-control", "no-store, no-transform"),
                ("x-accel-buffering", "no"),
            ],
            "{door:?}"
        );
        drop(response);

        let response = connection.send(Method::HEAD, None).await;
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await.expect("no reset");
        assert_eq!(body.to_bytes(), "");

        let response = connection.send(Method::POST, None).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()["allow"], "GET, HEAD");
        until_subscribers(SECOND, || store.subscribers(), 0).await;
    }
}

#[tokio::test]
async fn the_head_leaves_before_there_is_any_event_on_http_2_too() {
    for door in Door::ALL_HTTP2 {
        let store = QueueStore::new();
        let server = Server::behind(door, EventSource::new(store.clone()));
        let mut connection = Connection::open(&server).await;
        let mut stream = within(SECOND, "a head", connection.get(None)).await;
        let opening = within(SECOND, "an opening", stream.blocks(2)).await;
        assert_eq!(opening, [":", &format!("id: {}", end_of(&store))]);
    }
}

#[tokio::test]
async fn twenty_streams_on_one_connection_all_get_all_events() {
    for door in Door::ALL_HTTP2 {
        let store = QueueStore::new();
        let server = Server::behind(door, EventSource::new(store.clone()));
        let mut connection = Connection::open(&server).await;
        let mut readers = JoinSet::new();
        for _ in 0..20 {
            let mut stream = connection.get(None).await;
            readers.spawn(async move {
                assert_eq!(stream.blocks(2).await[0], ":");
                let blocks = stream.blocks(500).await;
                let numbers = blocks.iter().map(|block| data(block).to_owned());
                numbers.collect::<Vec<_>>()
            });
        }
        assert_eq!(store.subscribers(), 20);
        for n in 0..500 {
            submit(&store, n.to_string());
            if n % 7 == 0 {
                tokio::task::yield_now().await;
            }
        }
        let expected: Vec<_> = (0..500).map(|n| n.to_string()).collect();
        while let Some(received) = readers.join_next().await {
            assert_eq!(received.expect("no panic"), expected);
        }
        until_subscribers(SECOND, || store.subscribers(), 0).await;
    }
}

#[tokio::test]
async fn a_client_comes_back_over_http_2() {
    let store = QueueStore::new();
    let ids = submit_numbers(&store, 3);
    let server = Server::start(EventSource::new(store.clone()));
    let mut connection = Connection::open(&server).await;

    let mut resumed = connection.get(Some(&ids[0].to_string())).await;
    let expected = [":", &block_of(ids[1], "2"), &block_of(ids[2], "3")];
    assert_eq!(resumed.blocks(3).await, expected);

    let mut malformed = connection.get(Some("nonsense")).await;
    let told = gap("malformed", None, None, ids[2]);
    assert_eq!(malformed.blocks(2).await, [":", &told]);
}

#[tokio::test]
async fn a_stream_that_is_cancelled_is_let_go_of_and_the_others_go_on() {
    for door in Door::ALL_HTTP2 {
        let store = QueueStore::new();
        let events = EventSource::new(store.clone()).without_keep_alive();
        let server = Server::behind(door, events);
        let mut connection = Connection::open(&server).await;
        let mut staying = connection.get(None).await;
        let leaving = connection.get(None).await;
        assert_eq!(store.subscribers(), 2);
        drop(leaving);
        until_subscribers(SECOND, || store.subscribers(), 1).await;

        let id = submit(&store, "x");
        assert_eq!(staying.blocks(3).await[2], block_of(id, "x"));
        drop((staying, connection));
        until_subscribers(SECOND, || store.subscribers(), 0).await;
    }
}

#[tokio::test]
async fn a_shutdown_ends_every_stream_of_a_connection_and_the_server_finishes() {
    for door in Door::ALL_HTTP2 {
        let store = QueueStore::new();
        let shutdown = Shutdown::new();
        let events = EventSource::new(store.clone()).shutdown(&shutdown);
        let server = Server::behind(door, events);
        let mut connection = Connection::open(&server).await;
        let mut streams = Vec::new();
        for _ in 0..20 {
            let mut stream = connection.get(None).await;
            stream.blocks(2).await;
            streams.push(stream);
        }
        let id = submit(&store, "last");
        shutdown.begin();
        within(SECOND, "a graceful shutdown", server.finish()).await;
        assert_eq!(store.subscribers(), 0);
        for stream in &mut streams {
            assert_eq!(stream.blocks(1).await, [block_of(id, "last")]);
            let last = stream.block().await.expect("a farewell");
            assert!((2000..=6000).contains(&farewell(&last)), "{last}");
            assert_eq!(stream.block().await, None);
        }
    }
}
