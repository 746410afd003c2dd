//! Clients that stop reading: real connections of this process to itself.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How many there may be. A hub tells of its eight slowest readers who they are.
const MAX_CLIENTS: usize = 6;

/// How long a name is, in bytes.
pub(crate) const MAX_NAME: usize = 32;

/// How many bytes the system is to hold that a client has not read.
const RECEIVE_BUFFER: u32 = 4 << 10;

/// How long a head and an event are at most, in bytes.
const MAX_BLOCK: usize = 16 << 10;

/// How long connecting may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The name under which the hub knows a client.
pub(crate) fn name(number: u64) -> String {
    format!("client-{number}")
}

/// All of them.
#[derive(Clone)]
pub(crate) struct Clients {
    server: SocketAddr,
    all: Arc<Mutex<All>>,
}

#[derive(Default)]
struct All {
    clients: BTreeMap<u64, Client>,
    last: u64,
}

struct Client {
    /// Whether it is to read.
    reading: watch::Sender<bool>,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Clients {
    /// Clients of the server that listens here.
    pub(crate) fn of(mut server: SocketAddr) -> Self {
        if server.ip().is_unspecified() {
            server.set_ip(match server {
                SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            });
        }
        Self {
            server,
            all: Arc::default(),
        }
    }

    /// One more, which connects and does not read. `false` if there are enough.
    pub(crate) fn add(&self) -> bool {
        let mut all = lock(&self.all);
        if all.clients.len() >= MAX_CLIENTS {
            return false;
        }
        all.last += 1;
        let number = all.last;
        let (reading, wanted) = watch::channel(false);
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (server, sees) = (self.server, Arc::clone(&seen));
        let task = tokio::spawn(async move {
            let ended = follow(server, number, wanted, &sees).await;
            lock(&sees).ended = Some(match ended {
                Ok(()) => "the server has ended it".to_owned(),
                Err(error) => error.to_string(),
            });
        });
        let client = Client {
            reading,
            seen,
            task,
        };
        all.clients.insert(number, client);
        true
    }

    /// Lets it read, or stop to. `false` if there is no such client.
    pub(crate) fn set_reading(&self, number: u64, reading: bool) -> bool {
        let all = lock(&self.all);
        let client = all.clients.get(&number);
        client.is_some_and(|client| {
            client.reading.send_replace(reading);
            true
        })
    }

    /// Lets it leave. `false` if there is no such client.
    pub(crate) fn remove(&self, number: u64) -> bool {
        let client = lock(&self.all).clients.remove(&number);
        client.is_some()
    }

    /// What is to be seen of each.
    pub(crate) fn views(&self) -> Vec<Value> {
        let all = lock(&self.all);
        let clients = all.clients.iter();
        clients
            .map(|(number, client)| {
                let state = match (*client.reading.borrow(), client.task.is_finished()) {
                    (_, true) => "ended",
                    (true, _) => "reading",
                    (false, _) => "stalled",
                };
                lock(&client.seen).view(*number, state)
            })
            .collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a client has had.
#[derive(Default)]
struct Seen {
    received: u64,
    /// As its gaps have told it.
    missed: u64,
    gaps: u64,
    gap: Option<Value>,
    /// The numbers of the first and of the last event.
    first: Option<u64>,
    last: u64,
    ended: Option<String>,
}

impl Seen {
    fn view(&self, number: u64, state: &str) -> Value {
        let span = self.first.map(|first| self.last - first + 1);
        json!({
            "number": number,
            "state": state,
            "received": self.received,
            "missed": self.missed,
            "gaps": self.gaps,
            "gap": self.gap,
            "last": self.last,
            // By the numbers of the events: nothing is missing that it was not told.
            "adds_up": span.is_none_or(|span| span == self.received + self.missed),
            "ended": self.ended,
        })
    }

    /// Takes a block of the stream. What has no data is a comment or an id.
    fn take(&mut self, block: &str) -> Option<()> {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
        let data: Value = serde_json::from_str(field("data: ")?).ok()?;
        if field("event: ") == Some("gap") {
            // A number as text: it may be larger than 2^53.
            let missed = data["missed"].as_str().and_then(|text| text.parse().ok());
            self.missed += missed.unwrap_or(0);
            self.gaps += 1;
            self.gap = Some(data);
        } else {
            let number = data["n"].as_u64()?;
            self.received += 1;
            // What was missed before the first is not in between.
            let missed = self.missed;
            self.first.get_or_insert(number.saturating_sub(missed));
            self.last = number;
        }
        Some(())
    }
}

/// Reads the stream of the events while it is to. HTTP/1.0, so that what comes is the
/// stream and nothing else.
async fn follow(
    server: SocketAddr,
    number: u64,
    mut reading: watch::Receiver<bool>,
    seen: &Mutex<Seen>,
) -> io::Result<()> {
    let mut stream = timeout(PATIENCE, connect(server)).await??;
    let name = name(number);
    let request = format!("GET /events?topic=events&name={name} HTTP/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;

    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    let mut end_of_block: &[u8] = b"\r\n\r\n";
    loop {
        let is_reading = reading.wait_for(|reading| *reading);
        if is_reading.await.is_err() {
            return Ok(());
        }
        let count = tokio::select! {
            count = stream.read(&mut piece) => count?,
            _ = reading.changed() => continue,
        };
        if count == 0 {
            return Ok(());
        }
        bytes.extend_from_slice(&piece[..count]);
        while let Some(at) = position(&bytes, end_of_block) {
            let rest = bytes.split_off(at + end_of_block.len());
            let block = std::mem::replace(&mut bytes, rest);
            let block = String::from_utf8_lossy(&block);
            if end_of_block == b"\n\n" {
                lock(seen).take(&block);
            } else if block.split(' ').nth(1) != Some("200") {
                return Err(io::Error::other("refused"));
            }
            end_of_block = b"\n\n";
        }
        if bytes.len() > MAX_BLOCK {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

async fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let socket = match server {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.connect(server).await
}

fn position(bytes: &[u8], what: &[u8]) -> Option<usize> {
    let mut windows = bytes.windows(what.len());
    windows.position(|window| window == what)
}
