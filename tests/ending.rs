//! SIGTERM, sent to a server that is a process of its own and has a crowd of clients.
#![cfg(unix)]

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tornadose::{EventSource, QueueStore, Shutdown};

/// For everything that comes as soon as it can, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a paced server does.
const BATCH: usize = 100;
const INTERVAL: Duration = Duration::from_millis(50);

/// Tells the server which one it is.
const SERVE: &str = "TORNADOSE_TEST_SERVE";

/// One crowd at a time: a process may not have file descriptors for two.
static ALONE: Mutex<()> = Mutex::const_new(());

// ---------------------------------------------------------------------------
// The server, from outside
// ---------------------------------------------------------------------------

struct Server {
    address: SocketAddr,
    process: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Server {
    /// Starts this program again, as the server.
    async fn start(name: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .args(["serve", "--exact", "--ignored", "--nocapture"])
            .env(SERVE, name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("this program again");
        let stdout = process.stdout.take().expect("piped");
        let mut stdout = BufReader::new(stdout).lines();
        let address = told(&mut stdout, "listening on ").await;
        Self {
            address: address.parse().expect("an address"),
            stdin: process.stdin.take().expect("piped"),
            stdout,
            process,
        }
    }

    /// Returns when the event is in the store.
    async fn submit(&mut self, data: &str) {
        let line = format!("{data}\n");
        let written = self.stdin.write_all(line.as_bytes()).await;
        written.expect("a server that reads");
        told(&mut self.stdout, "submitted ").await;
    }

    async fn terminate(&self) {
        let id = self.process.id().expect("still running");
        let killed = Command::new("kill")
            .args(["-TERM", &id.to_string()])
            .status();
        assert!(killed.await.expect("kill runs").success());
    }

    async fn wait_for_success(&mut self) {
        let status = timeout(PATIENCE, self.process.wait()).await;
        let status = status.expect("an exit in time").expect("a child");
        assert_eq!(status.code(), Some(0), "{status}");
    }
}

/// What stands behind these words in the next line that has them. The test harness, whose
/// output this is, may have begun the line.
async fn told(stdout: &mut Lines<BufReader<ChildStdout>>, words: &str) -> String {
    let line = async {
        while let Some(line) = stdout.next_line().await.expect("UTF-8") {
            if let Some((_, told)) = line.split_once(words) {
                return told.to_owned();
            }
        }
        panic!("the server ends and has not said {words:?}");
    };
    timeout(PATIENCE, line).await.expect("a line in time")
}

// ---------------------------------------------------------------------------
// The crowd
// ---------------------------------------------------------------------------

#[derive(Clone, Copy)]
enum Speaks {
    Http,
    #[cfg(feature = "websocket")]
    WebSocket,
}

struct Client {
    speaks: Speaks,
    socket: TcpStream,
    received: Vec<u8>,
}

/// What a client got, and when the connection was closed behind it.
struct Received {
    bytes: Vec<u8>,
    closed: Instant,
}

impl Client {
    /// A client that has its first bytes.
    async fn open(address: SocketAddr, speaks: Speaks) -> Self {
        let mut socket = TcpStream::connect(address).await.expect("to connect");
        let (request, first) = match speaks {
            Speaks::Http => (
                "GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n",
                "\n\n\r\n",
            ),
            #[cfg(feature = "websocket")]
            Speaks::WebSocket => (websocket::REQUEST, websocket::FIRST),
        };
        let sent = socket.write_all(request.as_bytes()).await;
        sent.expect("to send");
        let client = Self {
            speaks,
            socket,
            received: Vec::new(),
        };
        client.until(first).await
    }

    async fn until(mut self, text: &str) -> Self {
        while !contains(&self.received, text) {
            assert!(self.read().await, "the stream ends before {text:?}");
        }
        self
    }

    async fn rest(mut self) -> Received {
        match self.speaks {
            Speaks::Http => {}
            #[cfg(feature = "websocket")]
            Speaks::WebSocket => {
                self = self.until(websocket::LAST).await;
                let sent = self.socket.write_all(websocket::ANSWER).await;
                sent.expect("to send");
            }
        }
        while self.read().await {}
        Received {
            closed: Instant::now(),
            bytes: self.received,
        }
    }

    /// Reads once; `false` at the end of the connection.
    async fn read(&mut self) -> bool {
        let read = self.socket.read_buf(&mut self.received);
        let read = timeout(PATIENCE, read).await.expect("bytes in time");
        read.expect("no reset by the server") > 0
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    let mut places = bytes.windows(text.len());
    places.any(|place| place == text.as_bytes())
}

/// The body of a whole response, behind whose proper end nothing stands.
fn body(response: &[u8]) -> String {
    let response = str::from_utf8(response).expect("UTF-8");
    let (head, mut rest) = response.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let mut body = String::new();
    loop {
        let (size, chunk) = rest.split_once("\r\n").expect("a chunk");
        let size = usize::from_str_radix(size, 16).expect("a size");
        if size == 0 {
            assert_eq!(chunk, "\r\n", "the end");
            return body;
        }
        body += &chunk[..size];
        rest = chunk[size..].strip_prefix("\r\n").expect("a whole chunk");
    }
}

/// A few at a time, so that no queue of connections overflows.
async fn crowd(address: SocketAddr, speaks: Speaks, clients: usize) -> Vec<Client> {
    const AT_ONCE: usize = 32;
    let mut crowd = Vec::with_capacity(clients);
    while crowd.len() < clients {
        let more = AT_ONCE.min(clients - crowd.len());
        crowd.extend(all((0..more).map(|_| Client::open(address, speaks))).await);
    }
    crowd
}

async fn all<F>(futures: impl Iterator<Item = F>) -> Vec<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    futures.collect::<JoinSet<_>>().join_all().await
}

/// Judges that there may be so many connections, here and in the server.
async fn assert_room(clients: usize) {
    let limit = Command::new("sh").args(["-c", "ulimit -n"]).output();
    let limit = limit.await.expect("sh runs").stdout;
    let limit = String::from_utf8(limit).expect("UTF-8");
    let limit = limit.trim();
    let needed = clients + 200;
    assert!(
        limit == "unlimited" || limit.parse().is_ok_and(|limit: usize| limit >= needed),
        "{clients} streams need {needed} file descriptors on each side, and there may only be \
         {limit}: ulimit -n {needed}"
    );
}

/// Judges what a client got: every event, one farewell, and nothing more.
fn assert_whole(received: &[u8], events: &[&str]) {
    let body = body(received);
    let mut blocks: Vec<_> = body
        .strip_suffix("\n\n")
        .expect("a whole block")
        .split("\n\n")
        .filter(|block| *block != ":")
        .collect();
    let farewell = blocks.pop().and_then(|last| last.strip_prefix("retry: "));
    let farewell = farewell.and_then(|millis| millis.parse().ok());
    assert!(
        farewell.is_some_and(|millis: u32| (2000..=6000).contains(&millis)),
        "{body:?}"
    );
    let bookmark = blocks.first().and_then(|block| block.strip_suffix("-0"));
    let id = bookmark.expect("a bookmark");
    let mut expected = vec![format!("{id}-0")];
    expected.extend(
        (1..)
            .zip(events)
            .map(|(n, data)| format!("{id}-{n}\ndata: {data}")),
    );
    assert_eq!(blocks, expected);
}

#[cfg(feature = "websocket")]
mod websocket {
    pub(crate) const REQUEST: &str = "GET /socket HTTP/1.1\r\nhost: localhost\r\n\
        connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
        sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    pub(crate) const FIRST: &str = r#""event":"open"}"#;
    /// In the reason of a close; some digits follow, which have come with it.
    pub(crate) const LAST: &str = "retry: ";
    /// A close, masked with nothing.
    pub(crate) const ANSWER: &[u8] = b"\x88\x80\0\0\0\0";

    /// Judges what a client got: where it begins, every event, a close, and nothing more.
    pub(crate) fn assert_whole(received: &[u8], events: &[&str]) {
        let head = received.windows(4).position(|end| end == b"\r\n\r\n");
        let (head, mut rest) = received.split_at(head.expect("a head") + 4);
        assert!(head.starts_with(b"HTTP/1.1 101 "));
        let mut frames = Vec::new();
        while let [first, len, tail @ ..] = rest {
            assert!(*len < 126, "short, and not masked");
            let (payload, tail) = tail.split_at(usize::from(*len));
            frames.push((*first, payload));
            rest = tail;
        }
        let (close, reason) = frames.pop().expect("a close");
        assert_eq!((close, &reason[..2]), (0x88, &1012u16.to_be_bytes()[..]));
        let reason = str::from_utf8(&reason[2..]).expect("UTF-8");
        let retry = reason.strip_prefix(LAST).and_then(|ms| ms.parse().ok());
        assert!(
            retry.is_some_and(|ms: u32| (2000..=6000).contains(&ms)),
            "{reason}"
        );

        let texts: Vec<_> = frames
            .iter()
            .map(|(text, payload)| {
                assert_eq!(*text, 0x81);
                str::from_utf8(payload).expect("UTF-8")
            })
            .collect();
        let epoch = texts[0].strip_prefix(r#"{"id":""#);
        let epoch = epoch.and_then(|rest| rest.strip_suffix(r#"-0","event":"open"}"#));
        let epoch = epoch.expect("where it begins");
        let told = (1..).zip(events).map(|(n, data)| {
            let prev = n - 1;
            format!(
                r#"{{"id":"{epoch}-{n}","prev":"{epoch}-{prev}","event":"message","data":"{data}"}}"#
            )
        });
        assert_eq!(texts[1..], told.collect::<Vec<_>>());
    }
}

// ---------------------------------------------------------------------------
// The tests
// ---------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_ten_thousand_streams_on_hyper() {
    let (_, received) = sigterm_ends_streams("hyper", Speaks::Http, 10_000).await;
    for client in &received {
        assert_whole(&client.bytes, &["first", "last"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_ten_thousand_streams_on_axum() {
    let (_, received) = sigterm_ends_streams("axum", Speaks::Http, 10_000).await;
    for client in &received {
        assert_whole(&client.bytes, &["first", "last"]);
    }
}

#[cfg(all(feature = "detached", feature = "axum"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_ten_thousand_streams_that_have_left_axum() {
    let (_, received) = sigterm_ends_streams("detached", Speaks::Http, 10_000).await;
    for client in &received {
        assert_whole(&client.bytes, &["first", "last"]);
    }
}

#[cfg(feature = "websocket")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_closes_ten_thousand_websockets() {
    let (_, received) = sigterm_ends_streams("sockets", Speaks::WebSocket, 10_000).await;
    for client in &received {
        websocket::assert_whole(&client.bytes, &["first", "last"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_the_streams_of_a_paced_server_in_turns() {
    let (told, received) = sigterm_ends_streams("paced", Speaks::Http, 1000).await;
    for client in &received {
        assert_whole(&client.bytes, &["first", "last"]);
    }
    let mut closed: Vec<_> = received.iter().map(|client| client.closed).collect();
    closed.sort();
    for (batch, closed) in (0..).zip(closed.chunks(BATCH)) {
        let after = closed[0].duration_since(told);
        println!("batch {batch} left from {after:?} on");
        assert!(after >= batch * INTERVAL, "{batch}: {after:?}");
    }
}

/// Returns when the signal was sent and what the clients got.
async fn sigterm_ends_streams(
    name: &str,
    speaks: Speaks,
    clients: usize,
) -> (Instant, Vec<Received>) {
    let _alone = ALONE.lock().await;
    assert_room(clients).await;
    let mut server = Server::start(name).await;
    let opening = Instant::now();
    let crowd = crowd(server.address, speaks, clients).await;
    let opened = opening.elapsed();

    server.submit("first").await;
    let crowd = all(crowd.into_iter().map(|client| client.until("first"))).await;
    // Nobody waits until this one is read.
    server.submit("last").await;
    let told = Instant::now();
    server.terminate().await;
    let reading = tokio::spawn(all(crowd.into_iter().map(Client::rest)));
    server.wait_for_success().await;
    let took = told.elapsed();
    let received = reading.await.expect("no panic");

    println!("{name}: {clients} streams, opened in {opened:?}, exit {took:?} after SIGTERM");
    assert_eq!(received.len(), clients);
    // Meant is 5 s; the rest is for a busy machine.
    assert!(took < PATIENCE, "{took:?}");
    (told, received)
}

// ---------------------------------------------------------------------------
// The server, from inside
// ---------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the server, which the other tests start"]
async fn serve() {
    let Ok(name) = std::env::var(SERVE) else {
        return;
    };
    let shutdown = match &*name {
        "paced" => Shutdown::paced(BATCH, INTERVAL),
        _ => Shutdown::new(),
    };
    let store = QueueStore::new();
    let events = EventSource::new(store.clone()).shutdown(&shutdown);
    let sigterm = signal(SignalKind::terminate()).expect("a signal");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    println!(
        "listening on {}",
        listener.local_addr().expect("an address")
    );
    std::thread::spawn({
        let store = store.clone();
        move || submit_lines(&store)
    });

    let server = async {
        match &*name {
            "axum" | "sockets" => serve_with_axum(listener, &events, &shutdown, sigterm).await,
            #[cfg(all(feature = "detached", feature = "axum"))]
            "detached" => {
                let listener = tornadose::Listener::new(listener);
                serve_with_axum(listener, &events, &shutdown, sigterm).await;
            }
            _ => serve_with_hyper(listener, &events, &shutdown, sigterm).await,
        }
    };
    server.await;
    // What is open when the server has stopped would be a leak, but for what servers let go
    // of: WebSockets, and streams that have left.
    let left = match &*name {
        "sockets" | "detached" => PATIENCE,
        _ => Duration::ZERO,
    };
    let ended = timeout(left, shutdown.ended()).await;
    ended.expect("no stream without a connection");
    assert_eq!((events.streams(), store.subscribers()), (0, 0));
}

fn submit_lines(store: &QueueStore) {
    for line in std::io::stdin().lines() {
        let id = store
            .submit(line.expect("UTF-8"))
            .expect("open")
            .id()
            .expect("in memory");
        println!("submitted {id}");
    }
}

async fn serve_with_hyper(
    listener: TcpListener,
    events: &EventSource,
    shutdown: &Shutdown,
    mut sigterm: Signal,
) {
    let connections = GracefulShutdown::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (socket, _) = accepted.expect("enough file descriptors");
                let connection = http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), events.clone());
                tokio::spawn(connections.watch(connection));
            }
            _ = sigterm.recv() => break,
        }
    }
    drop(listener);
    shutdown.begin();
    connections.shutdown().await;
}

async fn serve_with_axum(
    listener: impl axum::serve::Listener<Addr: std::fmt::Debug>,
    events: &EventSource,
    shutdown: &Shutdown,
    mut sigterm: Signal,
) {
    let app = Router::new().route_service("/events", events.clone());
    #[cfg(feature = "websocket")]
    let app = app.route_service("/socket", events.websocket());
    let shutdown = shutdown.clone();
    let server = axum::serve(listener, app).with_graceful_shutdown(async move {
        sigterm.recv().await;
        shutdown.begin();
    });
    server.await.expect("a server that does not fail");
}
