//! Clients that mean harm before there is a WebSocket, or instead of one.

use std::convert::Infallible;
use std::future::{Ready, ready};

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::Service;
use tornadose::{EventBody, WebSocketSubscriber};

use crate::client::Client;
use crate::raw::{LINES, Raw, request};
use crate::server::{Server, in_memory};
use crate::vocabulary::{SECOND, store_and_socket, submit, until_left};

/// A good handshake with these lines as well.
fn and(lines: &[&str]) -> Vec<u8> {
    request("GET", "/socket", &[&LINES, lines].concat())
}

#[tokio::test]
async fn two_hundred_halves_of_a_head_and_then_silence_register_nothing() {
    let (store, socket) = store_and_socket();
    let server = Server::start(&socket);
    let mut good = Client::open(&server).await;
    good.text().await;
    let whole = and(&[]);
    let mut silent = Vec::new();
    for n in 0..200 {
        let mut client = Raw::connect(&server).await;
        client.send(&whole[..n % whole.len()]).await;
        silent.push(client);
    }
    for n in 0..10 {
        submit(&store, n.to_string());
        assert_eq!(good.data(1).await, [n.to_string()]);
    }
    assert_eq!((store.subscribers(), socket.streams()), (1, 1));
}

#[tokio::test]
async fn who_announces_a_body_is_refused() {
    for lines in [
        &["content-length: 1000000"][..],
        &["transfer-encoding: chunked"],
        &["content-length: 5", "expect: 100-continue"],
    ] {
        let (store, socket) = store_and_socket();
        let mut client = Raw::over(in_memory(&socket, 64 << 10));
        client.send(&and(lines)).await;
        assert!(client.head().await.starts_with("HTTP/1.1 400 "));
        assert_eq!((store.subscribers(), socket.streams()), (0, 0));
    }
}

#[tokio::test]
async fn what_is_no_head_at_all_is_nothing_to_anybody() {
    let (store, socket) = store_and_socket();
    let server = Server::start(&socket);
    let mut good = Client::open(&server).await;
    good.text().await;
    for bytes in [
        &b"\0\0\0\0\r\n\r\n"[..],
        b"\x81\x85\0\0\0\0hello\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n",
        b"GET /socket HTTP/9.9\r\n\r\n",
        b"GET /socket HTTP/1.1\r\nupgrade websocket\r\n\r\n",
    ] {
        let mut client = Raw::connect(&server).await;
        client.send(bytes).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    }
    let mut old = Raw::connect(&server).await;
    let request = String::from_utf8(and(&[])).expect("ASCII");
    let request = request.replace("HTTP/1.1", "HTTP/1.0");
    old.send(request.as_bytes()).await;
    let head = old.head().await;
    assert!(head.starts_with("HTTP/1.0 426 "), "{head}");
    assert_eq!((store.subscribers(), socket.streams()), (1, 1));
    submit(&store, "x");
    assert_eq!(good.data(1).await, ["x"]);
}

/// Something before a handler that answers in its stead when it has answered already.
#[derive(Clone)]
struct Meddling(WebSocketSubscriber);

impl Service<Request<Incoming>> for Meddling {
    type Response = Response<EventBody>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let mut response = self.0.respond(&request);
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        ready(Ok(response))
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_never_handed_over_is_let_go_of() {
    let (store, socket) = store_and_socket();
    // Long before it would be pinged.
    let socket = socket.ping(1000 * SECOND);
    let meddling = Meddling(socket.clone());
    let mut client = Raw::over(in_memory(&meddling, 64 << 10));
    client.send(&and(&[])).await;
    assert!(client.head().await.starts_with("HTTP/1.1 502 "));
    until_left(&store, &socket).await;
}
