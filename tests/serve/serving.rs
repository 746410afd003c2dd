//! A server that is under test, and the clients that are asked of it by the byte.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::{get, post};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tornadose::{EventSource, QueueStore, Retention, ServeError, Server, Shutdown};

use crate::vocabulary::within;

/// How long anything may take that has no bound of its own, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const HANDSHAKE: &str = "GET /socket HTTP/1.1\r\nhost: localhost\r\n\
    connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

pub(crate) const EVENTS: &str = "GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n";

pub(crate) const PING: &str = "GET /ping HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// A server with an event stream, a WebSocket, and handlers that answer, listen and wait.
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    pub(crate) store: QueueStore,
    pub(crate) events: EventSource,
    pub(crate) shutdown: Shutdown,
    /// What `/wait` tells, and then waits for.
    pub(crate) waits: Arc<Notify>,
    pub(crate) go: Arc<Notify>,
    pub(crate) ended: JoinHandle<Result<(), ServeError>>,
}

impl Serving {
    pub(crate) async fn start(set: impl FnOnce(Server) -> Server) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = tcp.local_addr().expect("bound");
        let shutdown = Shutdown::new();
        let store = QueueStore::builder()
            .retention(Retention::new().events(100_000).bytes(64 << 20))
            .build();
        let events = EventSource::new(store.clone())
            .without_keep_alive()
            .shutdown(&shutdown);
        let go = Arc::new(Notify::new());
        let waits = Arc::new(Notify::new());
        let wait = (Arc::clone(&waits), Arc::clone(&go));
        let app = Router::new()
            .route_service("/events", events.clone())
            .route_service("/socket", events.websocket())
            .route("/ping", get(async || "pong"))
            .route("/large", get(async || LARGE_BODY.clone()))
            .route("/say", post(async |said: String| said.len().to_string()))
            .route(
                "/wait",
                get(async move || {
                    wait.0.notify_one();
                    wait.1.notified().await;
                }),
            );
        let server = set(Server::new(tcp).shutdown(&shutdown));
        assert_eq!(server.local_addr().expect("bound"), address);
        Self {
            address,
            store,
            events,
            shutdown,
            waits,
            go,
            ended: tokio::spawn(server.serve(app)),
        }
    }

    pub(crate) async fn connect(&self) -> Peer {
        Peer::connect(self.address, TcpSocket::new_v4().expect("a socket")).await
    }

    /// A client whose receive buffer is small and does not grow.
    pub(crate) async fn connect_tight(&self) -> Peer {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(8 << 10).expect("a size");
        Peer::connect(self.address, socket).await
    }

    /// A client that has sent this, and has had the beginning of the answer.
    pub(crate) async fn asked(&self, request: &str) -> Peer {
        let mut peer = self.connect().await;
        peer.send(request).await;
        peer.head().await;
        peer
    }

    /// What `serve` returns.
    pub(crate) async fn ended(self) -> Result<(), ServeError> {
        let ended = within(PATIENCE, "the end of the server", self.ended).await;
        ended.expect("no panic")
    }

    /// Events of a size that fills buffers.
    pub(crate) fn flood(&self, count: usize) {
        for _ in 0..count {
            crate::vocabulary::submit(&self.store, "x".repeat(1000));
        }
    }
}

/// How long the answer at `/large` is: more than any buffer on the way.
pub(crate) const LARGE: usize = 16 << 20;

/// One for all: it is not the application that is measured.
static LARGE_BODY: LazyLock<Bytes> = LazyLock::new(|| vec![b'x'; LARGE].into());

/// A client by the byte.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) tcp: TcpStream,
    pub(crate) received: Vec<u8>,
}

/// How a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Closed,
    Reset,
}

impl Peer {
    pub(crate) async fn connect(address: SocketAddr, socket: TcpSocket) -> Self {
        let tcp = within(PATIENCE, "to connect", socket.connect(address)).await;
        Self {
            tcp: tcp.expect("a listening server"),
            received: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        let sent = within(PATIENCE, "to send", self.tcp.write_all(text.as_bytes())).await;
        sent.expect("a server that reads");
    }

    /// The head of the answer; what stands behind it is kept.
    pub(crate) async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    /// Everything up to these words, them included.
    pub(crate) async fn until(&mut self, words: &str) -> String {
        within(PATIENCE, words, async {
            loop {
                let mut places = self.received.windows(words.len());
                if let Some(place) = places.position(|found| found == words.as_bytes()) {
                    let text: Vec<u8> = self.received.drain(..place + words.len()).collect();
                    return String::from_utf8_lossy(&text).into_owned();
                }
                let read = self.tcp.read_buf(&mut self.received).await;
                assert!(read.expect("no reset") > 0, "it ends before {words:?}");
            }
        })
        .await
    }

    /// Reads at most so many bytes, if the connection is still open.
    pub(crate) async fn sip(&mut self, bytes: usize) -> Result<usize, End> {
        let mut room = vec![0; bytes];
        match self.tcp.read(&mut room).await {
            Ok(0) => Err(End::Closed),
            Ok(read) => Ok(read),
            Err(error) => Err(end_of(&error)),
        }
    }

    /// Reads to the end and tells which it is.
    pub(crate) async fn end(&mut self) -> End {
        within(PATIENCE, "the end of the connection", async {
            loop {
                match self.tcp.read_buf(&mut self.received).await {
                    Ok(0) => return End::Closed,
                    Ok(_) => {}
                    Err(error) => return end_of(&error),
                }
            }
        })
        .await
    }

    /// Reads to the end, sending this again and again meanwhile; how long it took.
    pub(crate) async fn trickle(&mut self, byte: &str, pause: Duration) -> Duration {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            // It may be closed by now, which is what reading tells.
            let _ = self.tcp.write_all(byte.as_bytes()).await;
            let read = self.tcp.read_buf(&mut self.received);
            match tokio::time::timeout(pause, read).await {
                Err(_) => {}
                Ok(Ok(1..)) => {}
                Ok(Ok(0) | Err(_)) => return begun.elapsed(),
            }
        }
        panic!("it is never closed");
    }

    /// That nothing comes and the connection stays, for so long.
    pub(crate) async fn assert_waits(&mut self, long: Duration) {
        let read = self.tcp.read_buf(&mut self.received);
        let read = tokio::time::timeout(long, read).await;
        assert!(read.is_err(), "{read:?}: {:?}", self.received);
    }
}

fn end_of(error: &std::io::Error) -> End {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => End::Reset,
        _ => panic!("{error}"),
    }
}
