//! WebSockets inside HTTP/2 (RFC 8441): the same messages, on one connection with
//! everything else.

use std::future::poll_fn;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tornadose::{EventSource, QueueStore};

use crate::client::Client;
use crate::server::{Both, Server};
use crate::vocabulary::{
    OPENED, PATIENCE, end_of, eventually, gap, keeping, message, moved, opened, store_and_socket,
    submit, submit_numbers, until_left, within,
};

type Socket = Client<TokioIo<Upgraded>>;

/// A connection on which requests can be made.
struct Connection {
    requests: http2::SendRequest<Empty<Bytes>>,
    driver: JoinHandle<()>,
    /// The same socket once more.
    socket: std::net::TcpStream,
}

impl Connection {
    async fn open(server: &Server) -> Self {
        let socket = TcpStream::connect(server.address).await.expect("a server");
        let socket = socket.into_std().expect("a socket");
        let again = socket.try_clone().expect("enough file descriptors");
        let socket = TcpStream::from_std(socket).expect("a runtime");
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(socket));
        let (requests, connection) = within(PATIENCE, "a handshake", handshake)
            .await
            .expect("HTTP/2");
        let driver = tokio::spawn(async move { drop(connection.await) });
        let mut connection = Self {
            requests,
            driver,
            socket: again,
        };
        // By the first answer it is known what the server offers.
        let plain = connection.send(Method::GET, None, "/socket", &[]).await;
        assert_eq!(plain.status(), StatusCode::BAD_REQUEST);
        connection
    }

    async fn send(
        &mut self,
        method: Method,
        protocol: Option<&'static str>,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Response<Incoming> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://localhost{target}"));
        if let Some(protocol) = protocol {
            request = request.extension(Protocol::from_static(protocol));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::new()).expect("a request");
        poll_fn(|cx| self.requests.poll_ready(cx))
            .await
            .expect("an open connection");
        let response = self.requests.send_request(request);
        let response = within(PATIENCE, "a response", response).await;
        response.expect("an answer")
    }

    async fn connect(&mut self, target: &str, headers: &[(&str, &str)]) -> Response<Incoming> {
        let headers = [&[("sec-websocket-version", "13")], headers].concat();
        self.send(Method::CONNECT, Some("websocket"), target, &headers)
            .await
    }

    async fn socket(&mut self, target: &str) -> Socket {
        let response = self.connect(target, &[]).await;
        assert_eq!(response.status(), StatusCode::OK);
        let upgraded = within(PATIENCE, "a stream", hyper::upgrade::on(response)).await;
        let io = TokioIo::new(upgraded.expect("an upgrade"));
        Client(WebSocketStream::from_raw_socket(io, Role::Client, None).await)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

#[tokio::test]
async fn the_messages_are_the_same() {
    let store = keeping(2);
    let events = EventSource::new(store.clone());
    let server = Server::start(&events.websocket());
    let mut connection = Connection::open(&server).await;
    let begin = end_of(&store);
    let mut client = connection.socket("/socket").await;
    let mut plain = Client::open(&server).await;
    let ids = submit_numbers(&store, 2);
    let expected = [
        opened(begin),
        message(ids[0], begin, "1"),
        message(ids[1], ids[0], "2"),
    ];
    assert_eq!(client.texts(3).await, expected);
    assert_eq!(plain.texts(3).await, expected);

    let last = submit(&store, "3");
    let mut late = connection
        .socket(&format!("/socket?lastEventId={begin}"))
        .await;
    let expected = [
        OPENED.to_owned(),
        gap("evicted", Some(1), Some(begin), ids[0]),
        message(ids[1], ids[0], "2"),
        message(last, ids[1], "3"),
    ];
    assert_eq!(late.texts(4).await, expected);
    assert_eq!(moved(ids[0], 0), begin);
}

#[tokio::test]
async fn what_is_refused_opens_and_registers_nothing() {
    let (store, socket) = store_and_socket();
    let server = Server::start(&socket);
    let mut connection = Connection::open(&server).await;
    for (version, origin, status) in [
        ("8", None, StatusCode::BAD_REQUEST),
        ("", None, StatusCode::BAD_REQUEST),
        ("13", Some("https://evil.example"), StatusCode::FORBIDDEN),
    ] {
        let mut headers = vec![("sec-websocket-version", version)];
        headers.extend(origin.map(|origin| ("origin", origin)));
        let response = connection
            .send(Method::CONNECT, Some("websocket"), "/socket", &headers)
            .await;
        assert_eq!(response.status(), status);
    }
    let response = connection.send(Method::POST, None, "/socket", &[]).await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!((store.subscribers(), socket.streams()), (0, 0));

    let mine = connection
        .connect("/socket", &[("origin", "http://localhost")])
        .await;
    assert_eq!(mine.status(), StatusCode::OK);
    assert_eq!(socket.streams(), 1);
    drop(mine);
    until_left(&store, &socket).await;
}

#[tokio::test]
async fn what_clients_say_is_answered_and_pings_are_too() {
    let (_, socket) = store_and_socket();
    let server = Server::start(&socket.on_message(|received| {
        let text = received.text().expect("a text").to_uppercase();
        received.reply(text);
    }));
    let mut connection = Connection::open(&server).await;
    let mut client = connection.socket("/socket").await;
    client.text().await;
    for n in 0..50 {
        client.say(&format!("x{n}")).await;
        assert_eq!(client.text().await, format!("X{n}"));
        client.ping(b"p").await;
        assert!(client.next().await.is_pong());
    }
}

#[tokio::test]
async fn twenty_sockets_and_a_stream_share_a_connection() {
    let store = QueueStore::new();
    let events = EventSource::new(store.clone());
    let socket = events.websocket();
    let server = Server::start(&Both(events, socket.clone()));
    let mut connection = Connection::open(&server).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = connection.socket("/socket").await;
        client.text().await;
        clients.push(client);
    }
    let stream = connection.send(Method::GET, None, "/events", &[]).await;
    assert_eq!(stream.status(), StatusCode::OK);
    assert_eq!((store.subscribers(), socket.streams()), (21, 21));
    submit_numbers(&store, 100);
    let expected: Vec<_> = (1..=100).map(|n| n.to_string()).collect();
    for client in &mut clients {
        assert_eq!(client.data(100).await, expected);
    }

    // Each leaves alone: some closed, some cut off.
    drop(stream);
    let rest = clients.split_off(10);
    for client in clients {
        client.close().await;
    }
    eventually("half have left", || socket.streams() == 10).await;
    drop(rest);
    until_left(&store, &socket).await;
    // And the connection is still good.
    connection.socket("/socket").await.text().await;
}

#[tokio::test]
async fn it_ends_as_it_does_elsewhere() {
    let (store, socket) = store_and_socket();
    let server = Server::start(&socket);
    let mut connection = Connection::open(&server).await;
    let mut client = connection.socket("/socket").await;
    client.text().await;
    submit(&store, "last");
    store.close();
    assert_eq!(client.data(1).await, ["last"]);
    client.closed_for_a_while(1001).await;
    until_left(&store, &socket).await;

    // A connection that is cut takes its sockets with it.
    let (store, socket) = store_and_socket();
    let server = Server::start(&socket);
    let mut connection = Connection::open(&server).await;
    let mut client = connection.socket("/socket").await;
    client.text().await;
    let cut = connection.socket.shutdown(std::net::Shutdown::Both);
    cut.expect("an open connection");
    until_left(&store, &socket).await;
}
