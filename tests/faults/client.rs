//! A client that comes back, whatever happens, with the id that it has.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::body::Body;
use crate::history::{Decoding, Filter, Told, Transport};
use crate::matter::{Kept, SMALL, now};

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) store: Kept,
    pub(crate) speaks: Transport,
    /// Of a hub: those topics. All if there are none.
    topics: &'static [&'static str],
}

const FEW: &[&str] = &["t/0", "t/3"];
const MANY: &[&str] = &["t/1", "t/2", "t/4", "t/5", "t/7", SMALL];

/// Every store, in every way.
pub(crate) const TARGETS: [Target; 10] = {
    const fn target(store: Kept, speaks: Transport, topics: &'static [&'static str]) -> Target {
        Target {
            store,
            speaks,
            topics,
        }
    }
    use Kept::{Durable, Hub, Queue};
    use Transport::{Sse, WebSocket};
    [
        target(Queue, Sse, &[]),
        target(Queue, WebSocket, &[]),
        target(Hub, Sse, FEW),
        target(Hub, WebSocket, MANY),
        target(Hub, Sse, &[]),
        target(Hub, WebSocket, &[]),
        target(Durable, Sse, &[]),
        target(Durable, WebSocket, FEW),
        target(Durable, Sse, MANY),
        target(Durable, WebSocket, &[]),
    ]
};

impl Target {
    pub(crate) fn filter(&self) -> Filter {
        match (self.store, self.topics) {
            (Kept::Queue, _) => Filter::All,
            (_, []) => Filter::Topics(vec!["#".to_owned()]),
            (_, topics) => Filter::Topics(topics.iter().map(|&topic| topic.to_owned()).collect()),
        }
    }

    fn request(&self, last: Option<&str>) -> String {
        let mut path = format!("/{}", self.store.name());
        let mut query: Vec<String> = match (self.store, self.topics) {
            (Kept::Queue, _) => Vec::new(),
            (_, []) => vec!["pattern=%23".to_owned()],
            (_, topics) => topics
                .iter()
                .map(|topic| format!("topic={topic}"))
                .collect(),
        };
        let mut lines = String::new();
        match self.speaks {
            Transport::Sse => {
                lines += "accept: text/event-stream\r\n";
                if let Some(last) = last {
                    lines += &format!("last-event-id: {last}\r\n");
                }
            }
            Transport::WebSocket => {
                path += "/socket";
                lines += "connection: upgrade\r\nupgrade: websocket\r\n\
                    sec-websocket-version: 13\r\n\
                    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
                query.extend(last.map(|last| format!("lastEventId={last}")));
            }
        }
        if !query.is_empty() {
            path = format!("{path}?{}", query.join("&"));
        }
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n")
    }
}

/// What a client is told to do, in the middle of a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Act {
    Reset,
    /// It says that it has nothing more to say.
    Finish,
    /// It drops its socket as it is.
    Drop,
    /// It does not read.
    Stall(Duration),
    /// It sends what nobody understands.
    Babble,
    /// It sends a part of a request, and asks for nothing.
    HalfAsk,
    /// It asks for what makes the server's own code panic.
    Provoke,
    /// It leaves, and does not come back.
    Quit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    Fast,
    /// It reads less than is submitted.
    Slow,
}

/// What those who watch a client know of it.
pub(crate) struct Seen {
    last: Mutex<Option<String>>,
    pub(crate) events: AtomicU64,
    pub(crate) connections: AtomicU64,
    /// Of each connection, so many bytes count: behind them it is not what was sent, as TLS
    /// would tell.
    pub(crate) sound: AtomicU64,
    /// It is not slow any more.
    pub(crate) hurries: AtomicBool,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            last: Mutex::default(),
            events: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            sound: AtomicU64::new(u64::MAX),
            hurries: AtomicBool::new(false),
        }
    }
}

impl Seen {
    /// The id that it has.
    pub(crate) fn last(&self) -> Option<String> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }
}

pub(crate) struct Session {
    pub(crate) number: usize,
    pub(crate) target: Target,
    pub(crate) pace: Pace,
    pub(crate) server: SocketAddr,
    /// Where every byte is kept that it receives.
    pub(crate) directory: PathBuf,
    /// How many connections it has had before.
    pub(crate) connections: usize,
    pub(crate) seen: Arc<Seen>,
}

/// Who has heard nothing for so long gives up: there is a comment or a ping more often.
const SILENCE: Duration = Duration::from_secs(4);

impl Session {
    /// Begins with this id.
    pub(crate) fn with_id(self, id: Option<String>) -> Self {
        *self.seen.last.lock().expect("nobody has it yet") = id;
        self
    }

    /// Connects again and again, until it is told to leave.
    pub(crate) async fn run(mut self, mut acts: mpsc::UnboundedReceiver<Act>) {
        let mut random = fastrand::Rng::with_seed(self.number as u64);
        loop {
            let wait = match self.connection(&mut acts).await {
                Ended::Left => return,
                Ended::Told(retry) => retry,
                Ended::Cut => Duration::from_millis(random.u64(10..120)),
            };
            let until = Instant::now() + wait;
            loop {
                tokio::select! {
                    act = acts.recv() => match act {
                        None | Some(Act::Quit) => return,
                        Some(act) => self.aside(act).await,
                    },
                    () = tokio::time::sleep_until(until) => break,
                }
            }
        }
    }

    async fn connection(&mut self, acts: &mut mpsc::UnboundedReceiver<Act>) -> Ended {
        // Who is told of damage is told before there is any, and until there is none.
        let sound = self.seen.sound.load(Ordering::SeqCst);
        let Some(mut socket) = self.connect().await else {
            return Ended::Cut;
        };
        let asked = self.seen.last();
        let mut file = self.file(asked.as_deref());
        let mut body = Body::of(self.target.speaks);
        let mut decoding = Decoding::of(self.target.speaks);
        let mut retry = None;
        let request = self.target.request(asked.as_deref());
        if socket.write_all(request.as_bytes()).await.is_err() {
            return Ended::Cut;
        }
        let mut received = 0;
        let mut buffer = vec![
            0;
            match self.pace {
                Pace::Fast => 32 << 10,
                Pace::Slow => 1 << 10,
            }
        ];
        loop {
            let read = tokio::select! {
                act = acts.recv() => match act {
                    None | Some(Act::Quit) => return Ended::Left,
                    Some(Act::Reset) => {
                        let _ = socket.set_zero_linger();
                        return Ended::Cut;
                    }
                    Some(Act::Drop) => return Ended::Cut,
                    Some(Act::Finish) => {
                        let _ = socket.shutdown().await;
                        continue;
                    }
                    Some(Act::Stall(time)) => {
                        sleep(time).await;
                        continue;
                    }
                    Some(Act::Babble) => {
                        // To a WebSocket the head of a frame that is not masked.
                        let _ = socket.write_all(b"\x81\x05hello\r\n\0\xff babble\r\n\r\n").await;
                        continue;
                    }
                    Some(act @ (Act::HalfAsk | Act::Provoke)) => {
                        self.aside(act).await;
                        continue;
                    }
                },
                read = timeout(SILENCE, socket.read(&mut buffer)) => read,
            };
            let Ok(Ok(read @ 1..)) = read else {
                return retry.map_or(Ended::Cut, Ended::Told);
            };
            let sound = sound.min(self.seen.sound.load(Ordering::SeqCst));
            let left = usize::try_from(sound.saturating_sub(received)).unwrap_or(usize::MAX);
            let taken = left.min(read);
            received += taken as u64;
            let bytes = &buffer[..taken];
            keep(&mut file, bytes);
            // What is wrong is found again, and judged, when all is over.
            let Ok(bytes) = body.feed(bytes) else {
                return Ended::Cut;
            };
            let mut replies = Vec::new();
            for told in decoding.feed(&bytes) {
                retry = told_to_wait(&told).or(retry);
                replies.extend(reply(&told));
                self.note(&told);
            }
            let is_over = body.has_ended() || taken < read;
            if socket.write_all(&replies).await.is_err() || is_over {
                return retry.map_or(Ended::Cut, Ended::Told);
            }
            if self.pace == Pace::Slow && !self.seen.hurries.load(Ordering::Relaxed) {
                sleep(Duration::from_millis(40)).await;
            }
        }
    }

    fn note(&self, told: &Told) {
        if matches!(told, Told::Event { .. }) {
            self.seen.events.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(id) = told.id() {
            let mut last = self
                .seen
                .last
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *last = Some(id.to_string());
        }
    }

    /// What a client does on a connection of its own.
    async fn aside(&self, act: Act) {
        let Some(mut socket) = self.connect().await else {
            return;
        };
        match act {
            Act::HalfAsk => {
                let _ = socket.write_all(b"GET /queue HTTP/1.1\r\nhost: loc").await;
                // Until the server has enough of it.
                tokio::spawn(async move {
                    let _ = timeout(SILENCE, socket.read(&mut [0; 64])).await;
                });
            }
            Act::Provoke => {
                let request = b"GET /queue?panic HTTP/1.1\r\nhost: localhost\r\n\r\n";
                let _ = socket.write_all(request).await;
                let _ = timeout(SILENCE, socket.read(&mut [0; 64])).await;
            }
            _ => {}
        }
    }

    async fn connect(&self) -> Option<TcpStream> {
        let socket = TcpSocket::new_v4().expect("a socket");
        if self.pace == Pace::Slow {
            socket.set_recv_buffer_size(8 << 10).expect("a small one");
        }
        let connected = timeout(SILENCE, socket.connect(self.server)).await;
        let socket = connected.ok()?.ok()?;
        let _ = socket.set_nodelay(true);
        Some(socket)
    }

    fn file(&mut self, asked: Option<&str>) -> File {
        let path = transcript(&self.directory, self.number, self.connections);
        self.connections += 1;
        self.seen.connections.fetch_add(1, Ordering::Relaxed);
        let mut file = File::create(path).expect("a file");
        let first = format!("{} {}\n", now(), asked.unwrap_or("-"));
        file.write_all(first.as_bytes()).expect("room on the disk");
        file
    }
}

enum Ended {
    /// It was told when to come back.
    Told(Duration),
    Cut,
    /// It does not come back.
    Left,
}

fn told_to_wait(told: &Told) -> Option<Duration> {
    let millis = match told {
        Told::Retry(millis) => Some(*millis),
        Told::Close(_, reason) => reason.strip_prefix("retry: ")?.parse().ok(),
        _ => None,
    };
    millis.map(Duration::from_millis)
}

/// What a WebSocket answers by itself, masked with nothing.
fn reply(told: &Told) -> Vec<u8> {
    match told {
        Told::Ping(payload) => {
            let len = u8::try_from(payload.len().min(125)).unwrap_or(125);
            let mut pong = vec![0x8a, 0x80 | len, 0, 0, 0, 0];
            pong.extend(payload.iter().take(125));
            pong
        }
        Told::Close(..) => vec![0x88, 0x80, 0, 0, 0, 0],
        _ => Vec::new(),
    }
}

// ---------------------------------------------------------------------------
// What is kept of a connection
// ---------------------------------------------------------------------------

fn transcript(directory: &Path, session: usize, connection: usize) -> PathBuf {
    directory.join(format!("{session}-{connection}.bytes"))
}

/// How many connections a session has had.
pub(crate) fn connections(directory: &Path, session: usize) -> usize {
    (0..)
        .take_while(|&connection| transcript(directory, session, connection).exists())
        .count()
}

/// In one write: what a killed process has written stays written.
fn keep(file: &mut File, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).expect("a piece");
    let mut piece = Vec::with_capacity(bytes.len() + 12);
    piece.extend(now().to_le_bytes());
    piece.extend(len.to_le_bytes());
    piece.extend(bytes);
    file.write_all(&piece).expect("room on the disk");
}

/// A connection, as its client has kept it.
pub(crate) struct Transcript {
    pub(crate) began: u64,
    pub(crate) asked: Option<String>,
    /// Every byte, and when it came.
    pub(crate) pieces: Vec<(u64, Vec<u8>)>,
}

/// All connections of a session, the first one first.
pub(crate) fn transcripts(directory: &Path, session: usize) -> Vec<Transcript> {
    let paths = (0..connections(directory, session))
        .map(|connection| transcript(directory, session, connection));
    let files = paths.map(|path| std::fs::read(path).expect("a file"));
    // Who was killed may not have got so far as to write anything.
    files.filter_map(|file| Transcript::read(&file)).collect()
}

impl Transcript {
    fn read(file: &[u8]) -> Option<Self> {
        let end = file.iter().position(|byte| *byte == b'\n')?;
        let (line, mut rest) = file.split_at(end);
        let line = str::from_utf8(line).expect("ASCII");
        let (began, asked) = line.split_once(' ').expect("two words");
        rest = &rest[1..];
        let mut pieces = Vec::new();
        while let Some((at, behind)) = rest.split_first_chunk()
            && let Some((len, behind)) = behind.split_first_chunk()
            && let Some((piece, behind)) =
                behind.split_at_checked(u32::from_le_bytes(*len) as usize)
        {
            pieces.push((u64::from_le_bytes(*at), piece.to_vec()));
            rest = behind;
        }
        Some(Self {
            began: began.parse().expect("a time"),
            asked: Some(asked.to_owned()).filter(|asked| asked != "-"),
            pieces,
        })
    }

    /// The id that its client has at its end.
    pub(crate) fn last(&self, speaks: Transport) -> Option<String> {
        let (mut body, mut decoding) = (Body::of(speaks), Decoding::of(speaks));
        let bodies = self
            .pieces
            .iter()
            .map_while(|(_, piece)| body.feed(piece).ok());
        let told = bodies.flat_map(|body| decoding.feed(&body));
        let last = told
            .filter_map(|told| told.id().map(ToString::to_string))
            .last();
        last.or_else(|| self.asked.clone())
    }
}
