//! Very many clients in a process of their own, who come back when they were told to.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::body::Body;
use crate::history::{Decoding, Told, Transport};
use crate::matter::now;
use crate::server::Server;

/// Tells the clients where to go and how many they are: `<address> <clients>`.
const HERD: &str = "TORNADOSE_TEST_HERD";

/// For all of them.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Herd(Server);

/// What all of them have gone through.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Came {
    /// From the first attempt until the last one has its first event.
    pub(crate) took: Duration,
    /// From an attempt to the first byte, and to the first event.
    byte: [Duration; 3],
    event: [Duration; 3],
    /// How many came in the second with the most, and in one on average.
    pub(crate) peak: f64,
    pub(crate) mean: f64,
    /// How many were told a gap of another log, or at the end when to come back.
    pub(crate) told: usize,
}

impl fmt::Display for Came {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [byte, event] = [self.byte, self.event]
            .map(|[half, most, last]| format!("p50 {half:.0?}, p99 {most:.0?}, max {last:.0?}"));
        write!(
            f,
            "in {:.1?}, at most {:.0} a second, {:.0} on average; first byte {byte}; first event \
             {event}",
            self.took, self.peak, self.mean
        )
    }
}

impl Herd {
    pub(crate) async fn start(server: SocketAddr, clients: usize) -> Self {
        let told = format!("{server} {clients}");
        Self(Server::start_as("herd::clients", HERD, &told).await)
    }

    /// How it went that they came, came back or were sent away.
    pub(crate) async fn told(&mut self, what: &str) -> Came {
        let line = self.0.told(&format!("{what}: ")).await;
        let numbers: Vec<u64> = line
            .split(' ')
            .map(|word| word.parse().expect("a number"))
            .collect();
        let [took, b50, b99, bmax, e50, e99, emax, peak, mean, told] = numbers[..] else {
            panic!("{line:?}");
        };
        let time = Duration::from_nanos;
        Came {
            took: time(took),
            byte: [b50, b99, bmax].map(time),
            event: [e50, e99, emax].map(time),
            peak: peak as f64,
            mean: mean as f64,
            told: usize::try_from(told).expect("few"),
        }
    }

    pub(crate) async fn end(mut self) {
        self.0.kill().await;
    }
}

/// One time that all of them come.
#[derive(Default)]
struct Round {
    /// When the attempt began, when the first byte came and when the first event did.
    times: Mutex<Vec<[u64; 3]>>,
    told: AtomicUsize,
}

impl Round {
    fn line(&self) -> String {
        let times = self.times.lock().expect("nobody panics with it");
        let first = times.iter().map(|[began, ..]| *began).min().unwrap_or(0);
        let last = times.iter().map(|[.., event]| *event).max().unwrap_or(0);
        let took = last - first;
        let quantiles = |of: fn(&[u64; 3]) -> u64| {
            let mut all: Vec<u64> = times.iter().map(of).collect();
            all.sort_unstable();
            let at = |part: usize| all.get((all.len() * part / 100).min(all.len() - 1));
            [at(50), at(99), at(100)].map(|time| *time.unwrap_or(&0))
        };
        let second = 1_000_000_000;
        let mut seconds = vec![0_u64; usize::try_from(took / second).unwrap_or(0) + 1];
        for [began, ..] in &*times {
            let at = usize::try_from((began - first) / second).unwrap_or(0);
            seconds[at] += 1;
        }
        let last_began = times.iter().map(|[began, ..]| *began).max().unwrap_or(0);
        let mean = times.len() as u64 * second / (last_began - first).max(second);
        let byte = quantiles(|[began, byte, _]| byte - began);
        let event = quantiles(|[began, _, event]| event - began);
        let peak = seconds.iter().max().copied().unwrap_or(0);
        let told = self.told.load(Ordering::SeqCst) as u64;
        let numbers = [&[took][..], &byte, &event, &[peak, mean, told]].concat();
        let words: Vec<_> = numbers.iter().map(u64::to_string).collect();
        words.join(" ")
    }
}

struct Client {
    server: SocketAddr,
    /// Of the loopback there are many, with 28,000 ports each.
    from: SocketAddr,
    last: Option<String>,
    retry: Duration,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "clients, which the other tests start"]
async fn clients() {
    let Ok(told) = std::env::var(HERD) else {
        return;
    };
    let (server, clients) = told.split_once(' ').expect("two words");
    let server: SocketAddr = server.parse().expect("an address");
    let clients: usize = clients.parse().expect("a number");
    println!("listening on {server}");
    let rounds: Arc<[Round; 3]> = Arc::default();
    let done = Arc::new([const { AtomicU64::new(0) }; 3]);
    for number in 0..clients {
        let client = Client {
            server,
            from: SocketAddr::from(([127, 0, 0, 2 + (number % 8) as u8], 0)),
            last: None,
            retry: Duration::from_secs(1),
        };
        let (rounds, done) = (Arc::clone(&rounds), Arc::clone(&done));
        tokio::spawn(client.live(rounds, done));
    }
    for (round, words) in ["opened", "back", "ended"].into_iter().enumerate() {
        let all = async {
            while done[round].load(Ordering::SeqCst) < clients as u64 {
                sleep(Duration::from_millis(2)).await;
            }
        };
        let all = timeout(PATIENCE, all).await;
        all.unwrap_or_else(|_| panic!("{words}: {:?} of {clients}", done[round]));
        println!("{words}: {}", rounds[round].line());
    }
    sleep(PATIENCE).await;
}

impl Client {
    /// Comes, comes back when it is cut off, and is sent away.
    async fn live(mut self, rounds: Arc<[Round; 3]>, done: Arc<[AtomicU64; 3]>) {
        for round in 0..2 {
            let (mut socket, mut body, mut decoding) = loop {
                match self.come(&rounds[round]).await {
                    Some(came) => break came,
                    None => sleep(self.retry).await,
                }
            };
            done[round].fetch_add(1, Ordering::SeqCst);
            let mut is_told = false;
            let mut buffer = [0; 2048];
            while let Ok(read @ 1..) = socket.read(&mut buffer).await {
                let bytes = body.feed(&buffer[..read]).expect("a stream");
                for told in decoding.feed(&bytes) {
                    if let Told::Retry(millis) = told {
                        self.retry = Duration::from_millis(millis);
                        is_told = true;
                    }
                }
                if body.has_ended() {
                    break;
                }
            }
            if round == 1 {
                if is_told && body.has_ended() {
                    rounds[2].told.fetch_add(1, Ordering::SeqCst);
                }
                let now = now();
                let mut times = rounds[2].times.lock().expect("nobody panics with it");
                times.push([now; 3]);
                done[2].fetch_add(1, Ordering::SeqCst);
            } else {
                sleep(self.retry).await;
            }
        }
    }

    async fn come(&mut self, round: &Round) -> Option<(TcpStream, Body, Decoding)> {
        let began = now();
        let socket = TcpSocket::new_v4().expect("a file descriptor");
        socket.bind(self.from).expect("a free port");
        let mut socket = socket.connect(self.server).await.ok()?;
        let last = match &self.last {
            None => String::new(),
            Some(last) => format!("last-event-id: {last}\r\n"),
        };
        let request = format!("GET /events HTTP/1.1\r\nhost: localhost\r\n{last}\r\n");
        socket.write_all(request.as_bytes()).await.ok()?;
        let mut body = Body::of(Transport::Sse);
        let mut decoding = Decoding::of(Transport::Sse);
        let mut buffer = [0; 2048];
        let mut byte = None;
        loop {
            let read = socket
                .read(&mut buffer)
                .await
                .ok()
                .filter(|read| *read > 0)?;
            byte.get_or_insert_with(now);
            let bytes = body.feed(&buffer[..read]).expect("a stream");
            for told in decoding.feed(&bytes) {
                if let Some(id) = told.id() {
                    self.last = Some(id.to_string());
                }
                match told {
                    Told::Retry(millis) => self.retry = Duration::from_millis(millis),
                    Told::Gap { reason, .. } if reason == "epoch" => {
                        round.told.fetch_add(1, Ordering::SeqCst);
                    }
                    Told::Event { .. } => {
                        let times = [began, byte.unwrap_or(began), now()];
                        let mut all = round.times.lock().expect("nobody panics with it");
                        all.push(times);
                        drop(all);
                        return Some((socket, body, decoding));
                    }
                    _ => {}
                }
            }
        }
    }
}
