//! A server without a file descriptor left.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpSocket};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use tornadose::{EventSource, QueueStore, Server};

use crate::serving::{EVENTS, PATIENCE, Peer};
use crate::vocabulary::{submit, within};

/// Says to this program that it is the server.
const SERVE: &str = "TORNADOSE_TEST_DESCRIPTORS";

/// More than the server may have.
const CLIENTS: usize = 300;

const LIMIT: u32 = 256;

/// Where the server listens is the first line behind these words.
const LISTENING: &str = "listening on ";

/// An event ten times a second, for as long as it is wanted.
#[tokio::test]
#[ignore = "the server of the test below"]
async fn serve() {
    assert!(std::env::var_os(SERVE).is_some(), "run by the test below");
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    println!("{LISTENING}{}", tcp.local_addr().expect("bound"));
    let store = QueueStore::new();
    let server = Server::new(tcp).header_timeout(Duration::MAX);
    let served = tokio::spawn(server.serve(EventSource::new(store.clone())));
    for n in 0..600 {
        submit(&store, n.to_string());
        sleep(Duration::from_millis(100)).await;
    }
    served.abort();
}

async fn start() -> (Child, SocketAddr) {
    let mut process = Command::new("sh")
        .args(["-c", &format!("ulimit -n {LIMIT} && exec \"$@\""), "sh"])
        .arg(std::env::current_exe().expect("this program"))
        .args(["descriptors::serve", "--exact", "--ignored", "--nocapture"])
        .env(SERVE, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("this program again");
    let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
    let address = within(PATIENCE, LISTENING, async {
        while let Some(line) = lines.next_line().await.expect("UTF-8") {
            if let Some((_, address)) = line.split_once(LISTENING) {
                return address.parse().expect("an address");
            }
        }
        panic!("it does not listen");
    });
    (process, address.await)
}

/// How long a process has run on a core, and how many descriptors it has.
fn used(process: &Child) -> (Duration, usize) {
    let id = process.id().expect("it runs");
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).expect("Linux");
    let fields = stat.rsplit_once(") ").expect("a name").1.split(' ');
    let ticks: Vec<u64> = fields
        .skip(11)
        .take(2)
        .map(|n| n.parse().expect("a number"))
        .collect();
    let descriptors = std::fs::read_dir(format!("/proc/{id}/fd"))
        .expect("ours")
        .count();
    // A hundred in a second, everywhere that Linux runs.
    let ran = Duration::from_millis(10 * ticks.iter().sum::<u64>());
    (ran, descriptors)
}

async fn connect(address: SocketAddr) -> Peer {
    Peer::connect(address, TcpSocket::new_v4().expect("a socket")).await
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn nothing_spins_what_is_open_goes_on_and_then_it_goes_on() {
    let (process, address) = start().await;
    let mut stream = connect(address).await;
    stream.send(EVENTS).await;
    stream.head().await;
    let mut silent = Vec::new();
    for _ in 0..CLIENTS {
        silent.push(connect(address).await);
    }
    within(PATIENCE, "no descriptor left", async {
        while used(&process).1 < LIMIT as usize {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;

    let (before, begun) = (used(&process).0, Instant::now());
    stream.received.clear();
    while begun.elapsed() < Duration::from_secs(3) {
        stream.until("\ndata: ").await;
    }
    let (ran, took) = (used(&process).0.saturating_sub(before), begun.elapsed());
    println!("{ran:?} of {took:?} on a core without a descriptor left");
    assert!(ran < took / 20, "{ran:?} of {took:?}");
    assert_eq!(used(&process).1, LIMIT as usize);
    let mut waits = connect(address).await;
    waits.send(EVENTS).await;
    let refused = timeout(Duration::from_millis(300), waits.head()).await;
    assert!(refused.is_err(), "{refused:?}");

    drop(silent);
    waits.head().await;
    waits.until("\ndata: ").await;
    stream.until("\ndata: ").await;
}
