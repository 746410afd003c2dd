//! What clients cost that never read: a server that is a process of its own, and a crowd.
//!
//! The bounds are those that are told at `Server`, with its defaults, in bytes: of the
//! process, and of the system for what the server has written. `tests/bounds` runs the same
//! with 10,000 clients, prints the figures, and times `submit`.
#![cfg(target_os = "linux")]

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use axum::Router;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpSocket};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;
use tokio::time::sleep;
use tornadose::{EventSource, QueueStore, Retention, Server};

use crate::serving::{EVENTS, HANDSHAKE, Peer};
use crate::vocabulary::{resident, submit, within};

/// Says to this program that it is the server, and of which kind.
const SERVE: &str = "TORNADOSE_TEST_BOUNDS";

/// After how many milliseconds it resets who does not read, if not by default.
const STALL: &str = "TORNADOSE_TEST_STALL";

const PATIENCE: Duration = Duration::from_secs(120);

/// Of the server's memory, for each client.
const OURS: usize = 48 << 10;

/// Of the system's, for what is written and not acknowledged.
const THEIRS: usize = 32 << 10;

/// What the log holds, its joined pages, and what a runtime and an allocator keep at hand.
const SHARED: usize = 8 << 20;

/// One crowd at a time: a process may not have descriptors for two.
static ALONE: Mutex<()> = Mutex::const_new(());

// ---------------------------------------------------------------------------
// The server
// ---------------------------------------------------------------------------

/// Does what it is told, a line at a time, and says that it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the server of the tests below"]
async fn serve() {
    let kind = std::env::var(SERVE).expect("run by the tests below");
    assert!(cfg!(feature = "detached") || kind != "detached");
    let tcp = TcpSocket::new_v4().expect("a socket");
    tcp.bind("127.0.0.1:0".parse().expect("an address"))
        .expect("a free port");
    let tcp: TcpListener = tcp.listen(1024).expect("to listen");
    println!("did {}", tcp.local_addr().expect("bound"));
    let store = QueueStore::builder()
        .retention(Retention::new().events(1000).bytes(1 << 20))
        .build();
    let events = EventSource::new(store.clone());
    let others = QueueStore::builder()
        .retention(Retention::new().events(1000).bytes(1 << 20))
        .build();
    let app = Router::new()
        .route_service("/events", events.clone())
        .route_service("/others", EventSource::new(others.clone()))
        .route_service("/socket", events.websocket());
    let most = 12_000.try_into().expect("not 0");
    let mut server = Server::new(tcp).max_connections(most);
    if let Ok(stall) = std::env::var(STALL) {
        let stall = Duration::from_millis(stall.parse().expect("milliseconds"));
        server = server.stall_timeout(stall);
    }
    #[cfg(feature = "detached")]
    if kind == "detached" {
        server = server.detached();
    }
    tokio::spawn(server.serve(app));

    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await.expect("UTF-8") {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["flood", count, size] => {
                let text = "x".repeat(size.parse().expect("bytes"));
                for n in 0..count.parse().expect("a number") {
                    submit(&store, text.clone());
                    // Others are to run, as they do where events do not come all at once.
                    if n % 100 == 0 {
                        sleep(Duration::from_millis(1)).await;
                    }
                }
                println!("did flood");
            }
            ["time", rounds] => {
                let rounds = rounds.parse().expect("a number");
                let [these, those] = time([&store, &others], rounds).await;
                println!("did {} {}", these.as_nanos(), those.as_nanos());
            }
            ["tell"] => {
                #[cfg(feature = "detached")]
                let left = events.detached_streams();
                #[cfg(not(feature = "detached"))]
                let left = 0;
                println!("did {} {} {left}", resident(), store.subscribers());
            }
            _ => panic!("{line:?}"),
        }
    }
}

/// How long a submit runs in each of two stores, but for one in a hundred; in turn, so that
/// whatever else the machine does, it does to both. By the clock of the thread, which stands
/// still while others have its core.
async fn time(stores: [&QueueStore; 2], rounds: usize) -> [Duration; 2] {
    let mut took = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for turn in [round % 2, 1 - round % 2] {
            let (text, begun) = ("x".repeat(1000), ran());
            submit(stores[turn], text);
            took[turn].push(ran().saturating_sub(begun));
        }
        sleep(Duration::from_millis(1)).await;
    }
    took.map(|mut took| {
        took.sort_unstable();
        took[rounds * 99 / 100]
    })
}

/// How long this thread has run.
fn ran() -> Duration {
    let ran = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(ran).expect("since it began")
}

struct Process {
    address: SocketAddr,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

/// What a server tells of itself.
#[derive(Clone, Copy, Debug)]
struct Told {
    resident: usize,
    subscribers: usize,
    left: usize,
}

impl Process {
    async fn start(kind: &str, stall: Option<Duration>) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        if let Some(stall) = stall {
            command.env(STALL, stall.as_millis().to_string());
        }
        let mut process = command
            .args(["bounds::serve", "--exact", "--ignored", "--nocapture"])
            .env(SERVE, kind)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("this program again");
        let stdout = process.stdout.take().expect("piped");
        let mut process = Self {
            address: ([127, 0, 0, 1], 0).into(),
            stdin: process.stdin.take().expect("piped"),
            stdout: BufReader::new(stdout).lines(),
            _process: process,
        };
        process.address = process.answer().await.parse().expect("an address");
        process
    }

    async fn answer(&mut self) -> String {
        within(PATIENCE, "an answer", async {
            while let Some(line) = self.stdout.next_line().await.expect("UTF-8") {
                if let Some((_, answer)) = line.split_once("did ") {
                    return answer.to_owned();
                }
            }
            panic!("the server is gone");
        })
        .await
    }

    async fn ask(&mut self, line: &str) -> String {
        let sent = self.stdin.write_all(format!("{line}\n").as_bytes()).await;
        sent.expect("it reads");
        self.answer().await
    }

    async fn tell(&mut self) -> Told {
        let told = self.ask("tell").await;
        let told: Vec<usize> = told
            .split(' ')
            .map(|n| n.parse().expect("a number"))
            .collect();
        let [resident, subscribers, left] = told[..] else {
            panic!("{told:?}");
        };
        Told {
            resident,
            subscribers,
            left,
        }
    }

    /// Waits until it has so many subscribers; how long that took.
    async fn until(&mut self, subscribers: usize) -> Duration {
        let begun = Instant::now();
        while self.tell().await.subscribers != subscribers {
            assert!(begun.elapsed() < PATIENCE, "{:?}", self.tell().await);
            sleep(Duration::from_millis(20)).await;
        }
        begun.elapsed()
    }

    /// The same when it does not change any more.
    async fn quiet(&self) -> (usize, usize) {
        let (begun, mut queued) = (Instant::now(), self.queued());
        while begun.elapsed() < Duration::from_secs(15) {
            sleep(Duration::from_millis(500)).await;
            let before = std::mem::replace(&mut queued, self.queued());
            if queued == before {
                break;
            }
        }
        queued
    }

    /// What the system keeps of what it has written: of all its connections together, and of
    /// the one with the most.
    fn queued(&self) -> (usize, usize) {
        let place = format!(":{:04X}", self.address.port());
        let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
        let queues = table.lines().filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let (local, state, queues) = (fields.nth(1)?, fields.nth(1)?, fields.next()?);
            let (sends, _) = queues.split_once(':')?;
            let is_one = local.ends_with(&place) && state == "01";
            is_one.then(|| usize::from_str_radix(sends, 16).expect("hexadecimal"))
        });
        queues.fold((0, 0), |(sum, most), queue| (sum + queue, most.max(queue)))
    }
}

// ---------------------------------------------------------------------------
// The crowd
// ---------------------------------------------------------------------------

/// Clients with a receive buffer as small as can be, which ask and never read again.
async fn crowd(address: SocketAddr, request: &str, count: usize) -> Vec<Peer> {
    let mut crowd = Vec::new();
    for _ in 0..count {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(2 << 10).expect("a size");
        let mut peer = Peer::connect(address, socket).await;
        peer.send(request).await;
        crowd.push(peer);
    }
    crowd
}

/// So many clients that never read, with events of this size; with a stall time-out, until all
/// are reset.
async fn never_read(kind: &str, count: usize, size: usize, stall: Option<Duration>) {
    let _alone = ALONE.lock().await;
    let request = if kind == "websocket" {
        HANDSHAKE
    } else {
        EVENTS
    };
    let mut server = Process::start(kind, stall).await;
    let one = crowd(server.address, request, 1).await;
    server.until(1).await;
    let before = server.tell().await;
    drop(one);
    server.ask("flood 1 10").await;

    let begun = Instant::now();
    let crowd = crowd(server.address, request, count).await;
    server.until(count).await;
    let came = begun.elapsed();
    let open = server.tell().await;
    if kind == "detached" {
        assert_eq!(open.left, count);
    }
    let flooded = Instant::now();
    let events = (8 << 20) / size;
    server.ask(&format!("flood {events} {size}")).await;
    let (queued, most_queued) = server.quiet().await;
    let full = server.tell().await;
    // Who is the first to be full may be the first to go, and so may who answers no ping.
    let there = full.subscribers;
    assert!(there > count * 9 / 10, "{there} are not reset yet");

    let grown = full.resident.saturating_sub(before.resident);
    let each = grown.saturating_sub(SHARED) / count;
    let in_use = std::fs::read_to_string("/proc/net/sockstat").expect("Linux");
    let in_use = in_use.lines().find(|line| line.starts_with("TCP:"));
    println!("all of the system: {}", in_use.expect("a line"));
    println!(
        "{kind}, {count} clients, events of {size} B: open in {came:.1?} at {} B each; full \
         {} B each ({grown} in all), {} B in the system each, {most_queued} at most",
        open.resident.saturating_sub(before.resident) / count,
        grown / count,
        queued / count,
    );
    assert!(queued > 0, "they are full");
    assert!(each <= OURS, "{each} B of the server for each");
    assert!(queued / count <= THEIRS, "{queued} B of the system");

    let Some(stall) = stall else {
        return;
    };
    // Who has taken something in the first time-out has a second one.
    let closed = 2 * stall + Duration::from_secs(10);
    within(closed, "all are reset", server.until(0)).await;
    println!(
        "{kind}: all were reset {:.1?} after the flood began",
        flooded.elapsed()
    );
    drop(crowd);
}

/// Figures, which take a while and a machine's descriptors: 20,000 for each process.
#[tokio::test]
#[ignore = "heavy: tests/bounds"]
async fn ten_thousand() {
    let stall = Some(Duration::from_secs(30));
    for kind in ["attached", "detached", "websocket"] {
        never_read(kind, 10_000, 1000, stall).await;
    }
}

/// Whoever submits does not notice clients that do not read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "heavy: tests/bounds"]
async fn submit_is_as_fast_beside_them() {
    const READERS: usize = 100;
    const STALLED: usize = READERS / 10;
    let _alone = ALONE.lock().await;
    let mut server = Process::start("attached", Some(Duration::from_secs(3600))).await;
    let others = EVENTS.replace("events", "others");
    let stalled = crowd(server.address, EVENTS, STALLED).await;
    for (request, count) in [(EVENTS, READERS - STALLED), (&others, READERS)] {
        for mut reader in crowd(server.address, request, count).await {
            tokio::spawn(async move { while reader.sip(64 << 10).await.is_ok() {} });
        }
    }
    server.until(READERS).await;
    server.ask("flood 2000 1000").await;
    for _ in 0..3 {
        let took = server.ask("time 10000").await;
        let took: Vec<f64> = took
            .split(' ')
            .map(|n| n.parse().expect("a number"))
            .collect();
        println!(
            "submit to {READERS}, p99: {} ns with {STALLED} that never read, {} ns without: {:.3}",
            took[0],
            took[1],
            took[0] / took[1]
        );
    }
    drop(stalled);
}

const FEW: usize = 200;

const SOON: Option<Duration> = Some(Duration::from_secs(12));

#[tokio::test]
async fn event_streams_are_bounded() {
    never_read("attached", FEW, 1000, SOON).await;
    never_read("attached", FEW, 300_000, None).await;
}

#[cfg(feature = "detached")]
#[tokio::test]
async fn streams_that_have_left_are_bounded() {
    never_read("detached", FEW, 1000, SOON).await;
    never_read("detached", FEW, 300_000, None).await;
}

#[tokio::test]
async fn websockets_are_bounded() {
    never_read("websocket", FEW, 1000, SOON).await;
    never_read("websocket", FEW, 300_000, None).await;
}
