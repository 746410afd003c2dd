//! Servers, clients and bounds: the words that the tests are written in.

use std::future::Future;
use std::io::BufRead;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tornadose::{Event, EventSource, Position, QueueStore, Start};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// How long anything may take that has no bound of its own.
const PATIENCE: Duration = Duration::from_secs(20);

// ---------------------------------------------------------------------------
// Bounds
// ---------------------------------------------------------------------------

/// The outcome of something that must not take longer.
#[track_caller]
pub(crate) fn within<T>(
    bound: Duration,
    what: &str,
    future: impl Future<Output = T>,
) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    let what = what.to_owned();
    async move {
        match timeout(bound, future).await {
            Ok(outcome) => outcome,
            Err(_) => panic!("{what}: not within {bound:?}, at {caller}"),
        }
    }
}

/// Waits until a condition holds, which must be soon.
#[track_caller]
pub(crate) fn eventually(
    bound: Duration,
    what: &str,
    holds: impl Fn() -> bool,
) -> impl Future<Output = ()> {
    within(bound, what, async move {
        while !holds() {
            sleep(Duration::from_millis(1)).await;
        }
    })
}

/// Runs a test in a process of its own, so that the memory it measures is its own.
/// `name` is the full name of the calling test.
pub(crate) fn alone(name: &str, test: impl Future<Output = ()>) {
    const ALONE: &str = "TORNADOSE_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(within(6 * PATIENCE, name, test));
        return;
    }
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args([name, "--exact", "--nocapture", "--include-ignored"])
        .env(ALONE, "1")
        .output()
        .expect("this program again");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    println!("{out}");
    assert!(output.status.success(), "{err}");
    assert!(out.contains("1 passed"), "no test has the name {name}");
}

/// A line of `/proc/self/status`, in bytes.
fn memory(line: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let kibibytes = status
        .lines()
        .find_map(|found| found.strip_prefix(line)?.trim().strip_suffix(" kB"))
        .and_then(|kibibytes| kibibytes.parse::<usize>().ok());
    kibibytes.expect("a number of kB") * 1024
}

/// The memory that this process has now.
pub(crate) fn resident() -> usize {
    memory("VmRSS:")
}

/// The most memory that this process ever had.
pub(crate) fn most_resident() -> usize {
    memory("VmHWM:")
}

// ---------------------------------------------------------------------------
// Servers
// ---------------------------------------------------------------------------

/// The ways to put an `EventSource` behind a socket.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Door {
    /// hyper's own HTTP/1.
    Http1,
    /// hyper's own HTTP/2.
    Http2,
    /// Either, as hyper-util finds out.
    Auto,
    /// The same, with the `EventSource` as a tower service.
    Tower,
}

impl Door {
    /// Those that speak HTTP/1.
    pub(crate) const ALL_HTTP1: [Self; 3] = [Self::Http1, Self::Auto, Self::Tower];
    /// Those that speak HTTP/2.
    pub(crate) const ALL_HTTP2: [Self; 3] = [Self::Http2, Self::Auto, Self::Tower];

    /// How the connection ends is not looked at: clients leave as they like.
    async fn serve(self, socket: crate::Connection, events: EventSource, watcher: Watcher) {
        let io = TokioIo::new(socket);
        let either = auto::Builder::new(TokioExecutor::new());
        match self {
            Self::Http1 => {
                let connection = http1::Builder::new().serve_connection(io, events);
                drop(watcher.watch(connection).await);
            }
            Self::Http2 => {
                let builder = http2::Builder::new(TokioExecutor::new());
                drop(watcher.watch(builder.serve_connection(io, events)).await);
            }
            Self::Auto => {
                let connection = either.serve_connection(io, events).into_owned();
                drop(watcher.watch(connection).await);
            }
            Self::Tower => {
                let events = TowerToHyperService::new(events);
                let connection = either.serve_connection(io, events).into_owned();
                drop(watcher.watch(connection).await);
            }
        }
    }
}

/// A server on loopback; it is gone when this is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl Server {
    pub(crate) fn start(events: EventSource) -> Self {
        Self::behind(Door::Auto, events)
    }

    pub(crate) fn behind(door: Door, events: EventSource) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        Self::on(socket, door, events)
    }

    /// A server whose kernel buffers are small and do not grow.
    pub(crate) fn tight(events: EventSource) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .set_send_buffer_size(TIGHT)
            .expect("accepted sockets inherit it");
        Self::on(socket, Door::Auto, events)
    }

    fn on(socket: TcpSocket, door: Door, events: EventSource) -> Self {
        socket
            .bind((Ipv4Addr::LOCALHOST, 0).into())
            .expect("a free port");
        let listener = socket.listen(1024).expect("to listen");
        let address = listener.local_addr().expect("bound");
        let (stop, stopped) = oneshot::channel();
        Self {
            address,
            stop: Some(stop),
            serving: tokio::spawn(serve(listener, door, events, stopped)),
        }
    }

    /// One that was started in another way.
    #[allow(dead_code, reason = "for the tests of `detached`")]
    pub(crate) fn at(address: SocketAddr, serving: JoinHandle<()>) -> Self {
        Self {
            address,
            stop: None,
            serving,
        }
    }

    /// Accepts nothing more and waits for what is open, as hyper-util does it.
    pub(crate) async fn finish(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        (&mut self.serving).await.expect("the server did not panic");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(
    listener: TcpListener,
    door: Door,
    events: EventSource,
    mut stopped: oneshot::Receiver<()>,
) {
    let listener = crate::listener(listener);
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (socket, _) = accepted.expect("enough file descriptors");
                socket.set_nodelay(true).expect("a TCP socket");
                connections.spawn(door.serve(socket, events.clone(), graceful.watcher()));
            }
            Some(ended) = connections.join_next() => ended.expect("no connection panics"),
            _ = &mut stopped => break,
        }
    }
    drop((listener, events));
    graceful.shutdown().await;
    while let Some(ended) = connections.join_next().await {
        ended.expect("no connection panics");
    }
}

// ---------------------------------------------------------------------------
// Clients
// ---------------------------------------------------------------------------

/// The size of kernel buffers that are to fill soon.
const TIGHT: u32 = 64 << 10;

/// An HTTP/1 client that shows every byte.
pub(crate) struct Client {
    socket: TcpStream,
    /// Read and not yet understood.
    raw: Vec<u8>,
    framing: Framing,
    /// Body without its framing, not yet taken.
    body: Vec<u8>,
    /// As large as the most that is read at a time.
    gulp: Box<[u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Chunked,
    UntilClose,
    Ended,
}

impl Client {
    pub(crate) async fn connect(server: &Server) -> Self {
        Self::connect_from(server, TcpSocket::new_v4().expect("a socket")).await
    }

    /// A client whose kernel buffers are small and do not grow.
    pub(crate) async fn connect_tight(server: &Server) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .set_recv_buffer_size(TIGHT)
            .expect("before it connects");
        Self::connect_from(server, socket).await
    }

    async fn connect_from(server: &Server, socket: TcpSocket) -> Self {
        let connected = within(PATIENCE, "to connect", socket.connect(server.address)).await;
        Self {
            socket: connected.expect("a listening server"),
            raw: Vec::new(),
            framing: Framing::Ended,
            body: Vec::new(),
            gulp: vec![0; 64 << 10].into(),
        }
    }

    /// Reads so many bytes at a time from now on.
    pub(crate) fn with_gulps_of(mut self, bytes: usize) -> Self {
        self.gulp = vec![0; bytes].into();
        self
    }

    /// A client whose stream is open.
    pub(crate) async fn open(server: &Server) -> Self {
        let mut client = Self::connect(server).await;
        client.get(b"").await;
        client
    }

    /// A client that comes back with the id of its last event.
    pub(crate) async fn open_after(server: &Server, id: impl ToString) -> Self {
        let mut client = Self::connect(server).await;
        client.get_after(id.to_string().as_bytes()).await;
        client
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let sent = within(PATIENCE, "to send", self.socket.write_all(bytes)).await;
        sent.expect("a server that reads");
    }

    /// Asks for the stream, which must be given. `lines` are header lines.
    pub(crate) async fn get(&mut self, lines: &[u8]) -> Head {
        self.send(&request("GET", lines)).await;
        let head = self.head().await;
        assert_eq!(head.status(), 200, "{head:?}");
        head
    }

    pub(crate) async fn get_after(&mut self, id: &[u8]) -> Head {
        self.get(&last_event_id(id)).await
    }

    /// The head of the next response.
    pub(crate) async fn head(&mut self) -> Head {
        assert!(self.body.is_empty(), "a body that was not read");
        loop {
            if let Some(end) = find(&self.raw, b"\r\n\r\n") {
                let head: Vec<u8> = self.raw.drain(..end + 4).collect();
                let head = Head(String::from_utf8(head).expect("ASCII"));
                self.framing = head.framing();
                return head;
            }
            assert!(self.read().await, "the connection ends inside a head");
        }
    }

    /// Reads a response whose body is so long, and which need not be looked at. Returns its
    /// status.
    #[allow(dead_code, reason = "for the tests of `detached`")]
    pub(crate) async fn skip_response(&mut self, body: usize) -> u16 {
        let head = self.head().await;
        self.framing = Framing::Ended;
        while self.raw.len() < body {
            assert!(self.read().await, "the connection ends inside a body");
        }
        drop(self.raw.drain(..body));
        head.status()
    }

    /// The next chunk of the body as it stands on the wire, its framing included.
    pub(crate) async fn raw_chunk(&mut self) -> Vec<u8> {
        assert_eq!(self.framing, Framing::Chunked);
        loop {
            if let Some(line) = find(&self.raw, b"\r\n") {
                let digits = str::from_utf8(&self.raw[..line]).expect("ASCII");
                let size = usize::from_str_radix(digits, 16).expect("a chunk size");
                let end = line + 2 + size + 2;
                if self.raw.len() >= end {
                    assert_eq!(self.raw[end - 2..end], *b"\r\n");
                    if size == 0 {
                        self.framing = Framing::Ended;
                    }
                    return self.raw.drain(..end).collect();
                }
            }
            assert!(self.read().await, "the connection ends inside a body");
        }
    }

    /// More of the body; `None` at its proper end.
    pub(crate) async fn part(&mut self) -> Option<Vec<u8>> {
        match self.framing {
            Framing::Ended => None,
            Framing::Chunked => {
                let chunk = self.raw_chunk().await;
                let line = find(&chunk, b"\r\n").expect("a size");
                let data = &chunk[line + 2..chunk.len() - 2];
                (!data.is_empty()).then(|| data.to_vec())
            }
            Framing::UntilClose => {
                if self.raw.is_empty() && !self.read().await {
                    self.framing = Framing::Ended;
                    return None;
                }
                Some(std::mem::take(&mut self.raw))
            }
        }
    }

    /// The next block of the stream, without its blank line; `None` at its end.
    pub(crate) async fn block(&mut self) -> Option<String> {
        loop {
            if let Some(end) = end_of_block(&self.body) {
                let mut block: Vec<u8> = self.body.drain(..end).collect();
                block.truncate(end - 2);
                return Some(String::from_utf8(block).expect("UTF-8"));
            }
            match self.part().await {
                Some(part) => self.body.extend(part),
                None => {
                    assert!(self.body.is_empty(), "the stream ends inside a block");
                    return None;
                }
            }
        }
    }

    /// The next so many blocks.
    pub(crate) async fn blocks(&mut self, count: usize) -> Vec<String> {
        let mut blocks = Vec::new();
        for _ in 0..count {
            blocks.push(self.block().await.expect("a block, not the end"));
        }
        blocks
    }

    /// The data of the next so many events, between which nothing else stands.
    pub(crate) async fn events(&mut self, count: usize) -> Vec<String> {
        let blocks = self.blocks(count).await;
        blocks.iter().map(|block| data(block).to_owned()).collect()
    }

    /// Everything up to the end of the body.
    pub(crate) async fn rest(&mut self) -> String {
        let rest = within(PATIENCE, "the end of the stream", self.at_most(usize::MAX)).await;
        String::from_utf8(rest).expect("UTF-8")
    }

    /// Up to so many bytes of the body, then leaves with a reset.
    pub(crate) async fn cut_off_after(mut self, bytes: usize) -> Vec<u8> {
        let prefix = within(PATIENCE, "a part of the stream", self.at_most(bytes)).await;
        self.reset();
        prefix
    }

    async fn at_most(&mut self, bytes: usize) -> Vec<u8> {
        while self.body.len() < bytes {
            match self.part().await {
                Some(part) => self.body.extend(part),
                None => break,
            }
        }
        let mut body = std::mem::take(&mut self.body);
        body.truncate(bytes);
        body
    }

    /// Leaves as a client does whose page was closed.
    pub(crate) fn leave(self) {
        drop(self.socket);
    }

    /// Leaves as a client does whose process was killed.
    pub(crate) fn reset(self) {
        self.socket.set_zero_linger().expect("a TCP socket");
        drop(self.socket);
    }

    /// Asserts that the server closes the connection and sends nothing more.
    pub(crate) async fn assert_closed(mut self) {
        assert!(!self.read().await, "{:?}", self.raw);
        assert_eq!(self.raw, b"");
    }

    /// Reads once; `false` at the end of the connection.
    async fn read(&mut self) -> bool {
        let read = self.socket.read(&mut self.gulp);
        let read = within(PATIENCE, "to receive something", read).await;
        let read = read.expect("no reset by the server");
        self.raw.extend_from_slice(&self.gulp[..read]);
        read > 0
    }
}

/// A response head, to the letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head(String);

impl Head {
    pub(crate) fn status(&self) -> u16 {
        let status = self.0.split(' ').nth(1).expect("a status line");
        status.parse().expect("a number")
    }

    /// The values of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.0
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    /// The text without the one line that is different each second.
    pub(crate) fn without_date(&self) -> String {
        let lines = self.0.split_inclusive("\r\n");
        lines.filter(|line| !line.starts_with("date: ")).collect()
    }

    fn framing(&self) -> Framing {
        if self.status() == 204 || self.all("content-length") == ["0"] {
            Framing::Ended
        } else if self.all("transfer-encoding") == ["chunked"] {
            Framing::Chunked
        } else {
            Framing::UntilClose
        }
    }
}

/// An HTTP/1.1 request. `lines` are header lines.
pub(crate) fn request(method: &str, lines: &[u8]) -> Vec<u8> {
    let mut request = format!("{method} /events HTTP/1.1\r\nhost: localhost\r\n").into_bytes();
    request.extend_from_slice(lines);
    request.extend_from_slice(b"\r\n");
    request
}

/// The header line that a browser sends when it comes back.
pub(crate) fn last_event_id(id: &[u8]) -> Vec<u8> {
    [b"Last-Event-ID: ", id, b"\r\n"].concat()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|found| found == what)
}

/// Where the first block ends, its blank line included. Line by line, because
/// the standard library finds line ends fast even in a debug build.
pub(crate) fn end_of_block(bytes: &[u8]) -> Option<usize> {
    let (mut rest, mut line, mut end) = (bytes, Vec::new(), 0);
    loop {
        line.clear();
        let length = rest.read_until(b'\n', &mut line).expect("memory");
        if line.last() != Some(&b'\n') {
            return None;
        }
        end += length;
        if length == 1 {
            return Some(end);
        }
    }
}

// ---------------------------------------------------------------------------
// Events
// ---------------------------------------------------------------------------

/// The value of a field that stands once in a block.
#[track_caller]
pub(crate) fn field<'a>(block: &'a str, name: &str) -> &'a str {
    let mut values = block
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(found, _)| *found == name)
        .map(|(_, value)| value);
    match (values.next(), values.next()) {
        (Some(value), None) => value,
        _ => panic!("{block:?} has not one {name:?}"),
    }
}

/// The data of a block that is an event and no gap.
#[track_caller]
pub(crate) fn data(block: &str) -> &str {
    assert!(!is_gap(block), "{block:?}");
    field(block, "data")
}

pub(crate) fn is_gap(block: &str) -> bool {
    block.starts_with("event: gap\n")
}

/// How many events a gap says are missing.
#[track_caller]
pub(crate) fn missed(gap: &str) -> u64 {
    let json: serde_json::Value = serde_json::from_str(field(gap, "data")).expect("JSON");
    let missed = json["missed"].as_str().expect("a text");
    missed.parse().expect("a number")
}

/// A gap as it stands on the wire, without its blank line.
pub(crate) fn gap(
    reason: &str,
    missed: Option<u64>,
    from: Option<Position>,
    resume: Position,
) -> String {
    let missed = missed.map_or(String::new(), |n| format!("\"missed\":\"{n}\","));
    let from = from.map_or(String::new(), |id| format!("\"from\":\"{id}\","));
    format!(
        "event: gap\nid: {resume}\n\
         data: {{\"reason\":\"{reason}\",{missed}{from}\"resume\":\"{resume}\"}}"
    )
}

/// The milliseconds of a block that is nothing but a farewell.
#[track_caller]
pub(crate) fn farewell(block: &str) -> u64 {
    let digits = block.strip_prefix("retry: ");
    let digits = digits.unwrap_or_else(|| panic!("{block:?} is no farewell"));
    digits.parse().expect("a number")
}

pub(crate) fn submit(store: &QueueStore, data: impl Into<Event>) -> Position {
    store
        .submit(data)
        .expect("open and small")
        .id()
        .expect("in memory")
}

/// The events "1", "2" and so on, and their ids.
pub(crate) fn submit_numbers(store: &QueueStore, count: usize) -> Vec<Position> {
    (1..=count).map(|n| submit(store, n.to_string())).collect()
}

pub(crate) fn block_of(id: Position, data: &str) -> String {
    format!("id: {id}\ndata: {data}")
}

/// The position at which a store goes on.
pub(crate) fn end_of(store: &QueueStore) -> Position {
    let position = store.subscribe(Start::Live).position();
    position.expect("a store of ours has positions")
}

/// Waits until a store has exactly so many subscribers.
pub(crate) async fn until_subscribers(
    bound: Duration,
    subscribers: impl Fn() -> usize,
    count: usize,
) {
    let begun = Instant::now();
    while subscribers() != count {
        assert!(
            begun.elapsed() < bound,
            "{} subscribers, not {count}, after {bound:?}",
            subscribers()
        );
        sleep(Duration::from_millis(1)).await;
    }
}
