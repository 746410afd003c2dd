//! What can be served.

use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket};
use tornadose::{EventSource, QueueStore, Server};

use crate::peers::{Multiplexed, assert_between, until};
use crate::serving::{EVENTS, End, HANDSHAKE, PING, Peer, Serving};
use crate::vocabulary::{SECOND, submit, until_subscribers, within};

/// What any of them is served at.
async fn bound() -> (TcpListener, SocketAddr) {
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = tcp.local_addr().expect("bound");
    (tcp, address)
}

async fn connect(address: SocketAddr) -> Peer {
    Peer::connect(address, TcpSocket::new_v4().expect("a socket")).await
}

#[tokio::test]
async fn a_router_of_axum() {
    let serving = Serving::start(|server| server).await;
    let mut stream = serving.asked(EVENTS).await;
    submit(&serving.store, "hello");
    stream.until("data: hello\n").await;
    let mut peer = serving.asked(PING).await;
    peer.until("pong").await;
    peer.send(&PING.replace("ping", "nowhere")).await;
    assert!(peer.head().await.starts_with("HTTP/1.1 404 "));
    peer.send("GET /ping HTTP/1.0\r\n\r\n").await;
    assert!(peer.head().await.starts_with("HTTP/1.0 200 "));
    peer.until("pong").await;
    assert_eq!(peer.end().await, End::Closed);
}

#[tokio::test]
async fn an_event_source_alone() {
    let store = QueueStore::new();
    let (tcp, address) = bound().await;
    let app = EventSource::new(store.clone());
    let server = tokio::spawn(Server::new(tcp).serve(app));
    let mut peer = connect(address).await;
    peer.send(EVENTS).await;
    peer.head().await;
    submit(&store, "hello");
    peer.until("data: hello\n").await;
    server.abort();
}

/// Whoever asks is told its address, or, asking for nothing, is hung up on.
#[derive(Clone)]
struct Own {
    is_ready: bool,
}

impl tower_service::Service<Request<Incoming>> for Own {
    type Response = Response<Full<Bytes>>;
    type Error = &'static str;
    type Future = Ready<Result<Self::Response, &'static str>>;

    /// As a service with a limit does, it wants to be asked before it is called.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        if !std::mem::replace(&mut self.is_ready, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        assert!(self.is_ready);
        if request.uri().path() == "/" {
            return ready(Err("nothing"));
        }
        let peer = request.extensions().get::<SocketAddr>();
        let told = peer.expect("an address").to_string();
        ready(Ok(Response::new(Full::new(Bytes::from(told)))))
    }
}

#[tokio::test]
async fn a_service_of_ones_own() {
    let (tcp, address) = bound().await;
    let server = tokio::spawn(Server::new(tcp).serve(Own { is_ready: false }));
    let mut peer = connect(address).await;
    let me = peer.tcp.local_addr().expect("connected").to_string();
    for _ in 0..2 {
        peer.send(PING).await;
        peer.head().await;
        peer.until(&me).await;
    }
    peer.send(&PING.replace("/ping", "/")).await;
    peer.end().await;
    assert_eq!(peer.received, b"", "an error is no answer");
    server.abort();
}

/// A panic is one client's.
#[tokio::test]
async fn a_panic_ends_one_connection() {
    let (tcp, address) = bound().await;
    let app = axum::Router::new().route(
        "/ping",
        axum::routing::get(async |request: axum::extract::Request| {
            assert!(request.headers().get("x-bad").is_none(), "as planned");
            "pong"
        }),
    );
    let server = tokio::spawn(Server::new(tcp).serve(app));
    let mut bad = connect(address).await;
    bad.send("GET /ping HTTP/1.1\r\nx-bad: 1\r\n\r\n").await;
    bad.end().await;
    let mut good = connect(address).await;
    good.send(PING).await;
    good.until("pong").await;
    server.abort();
}

#[tokio::test]
async fn a_websocket() {
    let serving = Serving::start(|server| server).await;
    let mut socket = serving.connect().await;
    socket.send(HANDSHAKE).await;
    assert!(socket.head().await.starts_with("HTTP/1.1 101 "));
    submit(&serving.store, "hello");
    socket.until("\"data\":\"hello\"").await;
    drop(socket);
    until_subscribers(SECOND, || serving.store.subscribers(), 0).await;
}

#[tokio::test]
async fn http_2_with_prior_knowledge() {
    let serving = Serving::start(|server| server).await;
    let mut client = Multiplexed::connect(&serving).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(client.get("/events").await.into_body());
    }
    until_subscribers(SECOND, || serving.store.subscribers(), 20).await;
    submit(&serving.store, "hello");
    for stream in &mut streams {
        until(stream, "data: hello\n").await;
    }
    let pong = client.get("/ping").await.into_body().collect().await;
    assert_eq!(pong.expect("whole").to_bytes(), "pong");

    serving.shutdown.begin();
    for stream in &mut streams {
        until(stream, "retry: ").await;
    }
    drop(streams);
    serving.ended().await.expect("everybody has left");
    let over = client.connection.await.expect("no panic");
    over.expect("a proper end");
}

#[tokio::test]
async fn http_2_has_the_same_time_outs() {
    let long = Duration::from_millis(600);
    let serving = Serving::start(|server| server.header_timeout(long).idle_timeout(long)).await;
    let begun = Instant::now();
    let silent = Multiplexed::connect(&serving).await;
    let mut idle = Multiplexed::connect_pinging(&serving).await;
    let mut busy = Multiplexed::connect(&serving).await;
    let mut stream = busy.get("/events").await.into_body();
    drop(idle.get("/ping").await.into_body().collect().await);
    // A proper end or none: it is over.
    let _ = silent.connection.await.expect("no panic");
    let _ = idle.connection.await.expect("no panic");
    assert_between(begun.elapsed(), long.mul_f64(0.8), 2 * long + 3 * SECOND);
    submit(&serving.store, "late");
    until(&mut stream, "data: late\n").await;
    // Now it has no request, and is idle.
    drop(stream);
    let begun = Instant::now();
    let _ = busy.connection.await.expect("no panic");
    assert_between(begun.elapsed(), long.mul_f64(0.8), long + 3 * SECOND);
}

/// It is no request any more, and no answer, and as quiet as it likes.
#[tokio::test]
async fn a_websocket_over_http_2_is_not_idle() {
    let idle = Duration::from_millis(300);
    let serving = Serving::start(|server| server.idle_timeout(idle)).await;
    let mut client = Multiplexed::connect(&serving).await;
    // By the first answer it is known what the server offers.
    drop(client.get("/ping").await.into_body().collect().await);
    let request = Request::connect("http://localhost/socket")
        .extension(hyper::ext::Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .body(Empty::new())
        .expect("a request");
    let answer = within(5 * SECOND, "an answer", client.send.send_request(request));
    let answer = answer.await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let upgraded = within(5 * SECOND, "a socket", hyper::upgrade::on(answer)).await;
    let mut socket = TokioIo::new(upgraded.expect("a socket"));
    tokio::time::sleep(4 * idle).await;
    submit(&serving.store, "late");
    let mut received = Vec::new();
    within(5 * SECOND, "an event", async {
        while !String::from_utf8_lossy(&received).contains("\"data\":\"late\"") {
            assert!(socket.read_buf(&mut received).await.expect("open") > 0);
        }
    })
    .await;
}

#[cfg(feature = "detached")]
#[tokio::test]
async fn streams_leave_if_they_are_told_to() {
    let serving = Serving::start(|server| server.detached()).await;
    let mut stream = serving.asked(EVENTS).await;
    let left = || serving.events.detached_streams() == 1;
    crate::vocabulary::eventually(SECOND, "it leaves", left).await;
    submit(&serving.store, "hello");
    stream.until("data: hello\n").await;
    // What cannot leave stays, with the same promises.
    let mut client = Multiplexed::connect(&serving).await;
    let mut stays = client.get("/events").await.into_body();
    let mut socket = serving.asked(HANDSHAKE).await;
    until_subscribers(SECOND, || serving.store.subscribers(), 3).await;
    submit(&serving.store, "all");
    until(&mut stays, "data: all\n").await;
    stream.until("data: all\n").await;
    socket.until("\"data\":\"all\"").await;
    assert_eq!(serving.events.detached_streams(), 1);

    let serving = Serving::start(|server| server).await;
    let mut stream = serving.asked(EVENTS).await;
    submit(&serving.store, "hello");
    stream.until("data: hello\n").await;
    assert_eq!(serving.events.detached_streams(), 0, "not by default");
}
