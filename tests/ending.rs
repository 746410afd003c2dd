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

struct Client {
    socket: TcpStream,
    received: Vec<u8>,
}

/// What a client got, and when the connection was closed behind it.
struct Received {
    body: String,
    closed: Instant,
}

impl Client {
    /// A client that has its first bytes.
    async fn open(address: SocketAddr) -> Self {
        let mut socket = TcpStream::connect(address).await.expect("to connect");
        let request = b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n";
        socket.write_all(request).await.expect("to send");
        let client = Self {
            socket,
            received: Vec::new(),
        };
        client.until("\n\n\r\n").await
    }

    async fn until(mut self, text: &str) -> Self {
        while !contains(&self.received, text) {
            assert!(self.read().await, "the stream ends before {text:?}");
        }
        self
    }

    async fn rest(mut self) -> Received {
        while self.read().await {}
        Received {
            closed: Instant::now(),
            body: body(&self.received),
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
async fn crowd(address: SocketAddr, clients: usize) -> Vec<Client> {
    const AT_ONCE: usize = 32;
    let mut crowd = Vec::with_capacity(clients);
    while crowd.len() < clients {
        let more = AT_ONCE.min(clients - crowd.len());
        crowd.extend(all((0..more).map(|_| Client::open(address))).await);
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
fn assert_whole(received: &Received, events: &[&str]) {
    let mut blocks: Vec<_> = received
        .body
        .strip_suffix("\n\n")
        .expect("a whole block")
        .split("\n\n")
        .filter(|block| *block != ":")
        .collect();
    let farewell = blocks.pop().and_then(|last| last.strip_prefix("retry: "));
    let farewell = farewell.and_then(|millis| millis.parse().ok());
    assert!(
        farewell.is_some_and(|millis: u32| (2000..=6000).contains(&millis)),
        "{:?}",
        received.body
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

// ---------------------------------------------------------------------------
// The tests
// ---------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_ten_thousand_streams_on_hyper() {
    sigterm_ends_streams("hyper", 10_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_ten_thousand_streams_on_axum() {
    sigterm_ends_streams("axum", 10_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_the_streams_of_a_paced_server_in_turns() {
    let (told, received) = sigterm_ends_streams("paced", 1000).await;
    let mut closed: Vec<_> = received.iter().map(|client| client.closed).collect();
    closed.sort();
    for (batch, closed) in (0..).zip(closed.chunks(BATCH)) {
        let after = closed[0].duration_since(told);
        println!("batch {batch} left from {after:?} on");
        assert!(after >= batch * INTERVAL, "{batch}: {after:?}");
    }
}

/// Returns when the signal was sent and what the clients got.
async fn sigterm_ends_streams(name: &str, clients: usize) -> (Instant, Vec<Received>) {
    let _alone = ALONE.lock().await;
    assert_room(clients).await;
    let mut server = Server::start(name).await;
    let opening = Instant::now();
    let crowd = crowd(server.address, clients).await;
    let opened = opening.elapsed();

    server.submit("first").await;
    let crowd = all(crowd.into_iter().map(|client| client.until("data: first"))).await;
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
    for client in &received {
        assert_whole(client, &["first", "last"]);
    }
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
            "axum" => serve_with_axum(listener, &events, &shutdown, sigterm).await,
            _ => serve_with_hyper(listener, &events, &shutdown, sigterm).await,
        }
    };
    // What is open when the server has stopped would be a leak.
    let stopped = async {
        server.await;
        timeout(Duration::ZERO, shutdown.ended()).await
    };
    stopped.await.expect("no stream without a connection");
    assert_eq!((events.streams(), store.subscribers()), (0, 0));
}

fn submit_lines(store: &QueueStore) {
    for line in std::io::stdin().lines() {
        let id = store.submit(line.expect("UTF-8")).expect("open").id();
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
    listener: TcpListener,
    events: &EventSource,
    shutdown: &Shutdown,
    mut sigterm: Signal,
) {
    let app = Router::new().route_service("/events", events.clone());
    let shutdown = shutdown.clone();
    let server = axum::serve(listener, app).with_graceful_shutdown(async move {
        sigterm.recv().await;
        shutdown.begin();
    });
    server.await.expect("a server that does not fail");
}
