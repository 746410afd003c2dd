//! The opening handshake over HTTP/1.1, to the letter.

use std::convert::Infallible;
use std::net::Ipv4Addr;

use http::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tornadose::{EventSource, Origins, Permit, QueueStore, WebSocketSubscriber};

use crate::client::Client;
use crate::raw::{ACCEPT, KEY, LINES, Raw, request};
use crate::server::Server;
use crate::vocabulary::{end_of, opened, store_and_socket, until_left};

/// What a request without a WebSocket is answered.
const UPGRADE_REQUIRED: &str = "HTTP/1.1 426 Upgrade Required\r\n\
    cache-control: no-store\r\n\
    upgrade: websocket\r\n\
    connection: upgrade\r\n\
    sec-websocket-version: 13\r\n\
    content-length: 0\r\n\r\n";

const BAD_REQUEST: &str = "HTTP/1.1 400 Bad Request\r\n\
    cache-control: no-store\r\ncontent-length: 0\r\n\r\n";

const FORBIDDEN: &str = "HTTP/1.1 403 Forbidden\r\n\
    cache-control: no-store\r\ncontent-length: 0\r\n\r\n";

/// A handler of which nobody may be subscribed, counted, or even be asked about.
struct Scene {
    store: QueueStore,
    socket: WebSocketSubscriber,
    server: Server,
}

impl Scene {
    fn of(origins: Origins) -> Self {
        let store = QueueStore::new();
        let socket = EventSource::new(store.clone())
            .permit(|_| panic!("the hook is not asked"))
            .websocket()
            .origins(origins);
        let server = Server::start(&socket);
        Self {
            store,
            socket,
            server,
        }
    }

    async fn assert_refused(&self, request: &[u8], head: &str) {
        let mut client = Raw::connect(&self.server).await;
        client.send(request).await;
        let shown = String::from_utf8_lossy(request);
        assert_eq!(client.head().await, head, "{shown}");
        assert_eq!((self.store.subscribers(), self.socket.streams()), (0, 0));
    }
}

/// The lines of a good handshake with one of them in another way, or none at all.
fn with(name: &str, values: &[&str]) -> Vec<u8> {
    let others = LINES.iter().filter(|line| !line.starts_with(name));
    let mut lines: Vec<String> = others.map(|line| (*line).to_owned()).collect();
    lines.extend(values.iter().map(|value| format!("{name}: {value}")));
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    request("GET", "/socket", &lines)
}

fn from(origins: &[&str]) -> Vec<u8> {
    with("origin", origins)
}

#[tokio::test]
async fn the_answer_is_exact() {
    let (store, socket) = store_and_socket();
    let server = Server::start(&socket);
    let mut client = Raw::connect(&server).await;
    client.send(&request("GET", "/socket", &LINES)).await;
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\n\
         connection: upgrade\r\n\
         upgrade: websocket\r\n\
         sec-websocket-accept: {ACCEPT}\r\n\r\n"
    );
    assert_eq!(client.head().await, head);
    assert_eq!(client.text().await, opened(end_of(&store)));
    assert_eq!((store.subscribers(), socket.streams()), (1, 1));
    drop(client);
    until_left(&store, &socket).await;
}

#[tokio::test]
async fn what_clients_and_proxies_write_in_other_ways_is_taken() {
    let (_, socket) = store_and_socket();
    let server = Server::start(&socket);
    for bytes in [
        with("connection", &["keep-alive, Upgrade"]),
        with("connection", &["UPGRADE"]),
        with("connection", &["keep-alive", "upgrade"]),
        with("upgrade", &["WebSocket"]),
        with("upgrade", &["h2c, websocket"]),
        // Neither is offered, so neither is answered.
        with(
            "sec-websocket-extensions",
            &["permessage-deflate; client_max_window_bits"],
        ),
        with("sec-websocket-protocol", &["chat, v1"]),
    ] {
        let mut client = Raw::connect(&server).await;
        client.send(&bytes).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(!head.contains("extensions") && !head.contains("protocol"));
        client.text().await;
    }
}

#[tokio::test]
async fn what_asks_for_no_websocket_or_another_version_is_told_so() {
    let scene = Scene::of(Origins::same());
    for bytes in [
        request("GET", "/socket", &[]),
        with("connection", &["keep-alive"]),
        with("connection", &[]),
        with("upgrade", &["h2c"]),
        with("upgrade", &[]),
        with("sec-websocket-version", &["7"]),
        with("sec-websocket-version", &["8"]),
        with("sec-websocket-version", &["14"]),
        with("sec-websocket-version", &["013"]),
        with("sec-websocket-version", &["13, 8"]),
        with("sec-websocket-version", &["8", "13"]),
        with("sec-websocket-version", &[]),
    ] {
        scene.assert_refused(&bytes, UPGRADE_REQUIRED).await;
    }
}

#[tokio::test]
async fn a_key_is_16_bytes_in_base64_and_one() {
    let scene = Scene::of(Origins::same());
    for keys in [
        &[][..],
        &[""],
        &["x"],
        &["dGhlIHNhbXBsZSBub25jZQ"],
        &["dGhlIHNhbXBsZSBub25j"],
        &["dGhlIHNhbXBsZSBub25jZSE="],
        &["dGhlIHNhbXBsZSBub25jZQ==, x"],
        &["dGhlIHNhbXBsZSBub25j\u{e9}Q=="],
        &[KEY, KEY],
    ] {
        let bytes = with("sec-websocket-key", keys);
        scene.assert_refused(&bytes, BAD_REQUEST).await;
    }
    let long = "A".repeat(4000);
    let bytes = with("sec-websocket-key", &[&long]);
    scene.assert_refused(&bytes, BAD_REQUEST).await;
}

#[tokio::test]
async fn other_methods_are_not_allowed() {
    let scene = Scene::of(Origins::same());
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"] {
        let head = "HTTP/1.1 405 Method Not Allowed\r\n\
            cache-control: no-store\r\nallow: GET\r\ncontent-length: 0\r\n\r\n";
        let bytes = request(method, "/socket", &LINES);
        scene.assert_refused(&bytes, head).await;
    }
    let mut client = Raw::connect(&scene.server).await;
    client.send(&request("HEAD", "/socket", &LINES)).await;
    assert!(client.head().await.starts_with("HTTP/1.1 405 "));
}

#[tokio::test]
async fn a_connection_that_was_refused_can_ask_again() {
    let (store, socket) = store_and_socket();
    let server = Server::start(&socket);
    let mut client = Raw::connect(&server).await;
    for _ in 0..3 {
        client.send(&with("sec-websocket-version", &["8"])).await;
        assert_eq!(client.head().await, UPGRADE_REQUIRED);
    }
    client.send(&request("GET", "/socket", &LINES)).await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(client.text().await, opened(end_of(&store)));
}

#[tokio::test]
async fn pages_of_others_are_refused_before_anybody_is_asked() {
    let scene = Scene::of(Origins::same());
    for origin in [
        &["https://evil.example"][..],
        &["null"],
        &[""],
        &["http://localhost:8080"],
        &["http://localhost.evil.example"],
        &["http://evil.example/localhost"],
        &["http://localhost@evil.example"],
        &["http://LOCALHOST"],
        &["localhost"],
        &["file://"],
        &["http://localhost", "https://evil.example"],
        &["http://localhost", "http://localhost"],
    ] {
        scene.assert_refused(&from(origin), FORBIDDEN).await;
    }
    let required = Scene::of(Origins::same().required());
    required
        .assert_refused(&request("GET", "/socket", &LINES), FORBIDDEN)
        .await;
}

#[tokio::test]
async fn pages_of_the_same_host_and_listed_ones_get_in_and_so_do_scripts() {
    let (store, socket) = store_and_socket();
    let server = Server::start(&socket);
    for headers in [
        &[][..],
        &[("origin", format!("http://{}", server.address))],
        &[("origin", format!("https://{}", server.address))],
    ] {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_bytes()))
            .collect();
        let mut client = Client::get(&server, "/socket", &headers).await;
        assert_eq!(client.text().await, opened(end_of(&store)));
    }
    let origins = Origins::same_or(["https://app.example"]).expect("origins");
    let server = Server::start(&socket.clone().origins(origins));
    let page = [("origin", &b"https://app.example"[..])];
    Client::get(&server, "/socket", &page).await.text().await;
    let other = [("origin", &b"https://app.example:8443"[..])];
    assert_eq!(Client::refused(&server, &other).await, 403);

    let server = Server::start(&socket.clone().origins(Origins::any()));
    Client::get(&server, "/socket", &other).await.text().await;
    until_left(&store, &socket).await;
}

#[tokio::test]
async fn without_a_connection_to_take_over_there_is_501_and_nobody_stays() {
    let (store, socket) = store_and_socket();
    let mut request = Request::get("/socket");
    for line in LINES {
        let (name, value) = line.split_once(": ").expect("a line");
        request = request.header(name, value);
    }
    let request = request.body(()).expect("a request");
    let response = socket.respond(&request);
    assert_eq!(response.status(), 501);
    assert_eq!((store.subscribers(), socket.streams()), (0, 0));
    let awaited = EventSource::new(store.clone())
        .permit_async(|_| async { Ok(Permit::new()) })
        .websocket();
    assert_eq!(awaited.respond(&request).await.status(), 501);
    assert_eq!((store.subscribers(), awaited.streams()), (0, 0));
}

#[tokio::test]
async fn a_server_that_was_not_told_of_upgrades_keeps_nobody() {
    let (store, socket) = store_and_socket();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let handler = socket.clone();
    let serving = tokio::spawn(async move {
        let (io, _) = listener.accept().await.expect("a client");
        let service = service_fn(|request| {
            let response = handler.respond(&request);
            async move { Ok::<_, Infallible>(response) }
        });
        // No `with_upgrades`.
        drop(
            http1::Builder::new()
                .serve_connection(TokioIo::new(io), service)
                .await,
        );
    });
    let io = tokio::net::TcpStream::connect(address).await;
    let mut client = Raw::over(io.expect("a server"));
    client
        .send(&crate::raw::request("GET", "/socket", &LINES))
        .await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    client.ended().await;
    serving.await.expect("no panic");
    until_left(&store, &socket).await;
}
