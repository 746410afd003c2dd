//! `slowhttptest` in its four modes, while others are served.
#![cfg(target_os = "linux")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::serving::{EVENTS, PING, Serving};
use crate::vocabulary::{submit, within};

/// So many at once fit into the descriptors of any machine.
const ATTACKERS: usize = 200;

/// How long it goes on.
const SECONDS: u32 = 8;

/// How long the server lets it.
const PATIENCE: Duration = Duration::from_secs(2);

/// One at a time: it is the machine that is asked whether anybody is still served.
static ALONE: Mutex<()> = Mutex::const_new(());

/// What was seen of an attack.
#[derive(Debug)]
struct Seen {
    /// The most connections that the server had at once.
    most: usize,
    /// And at the end.
    last: usize,
    /// The longest that somebody else has waited for an answer and an event.
    slowest: Duration,
}

/// Runs it to its end; it looks after each second whether it is answered, and must be.
async fn attack(mode: &[&str], address: SocketAddr, path: &str) {
    let name = format!("{}/slow{}", env!("CARGO_TARGET_TMPDIR"), mode[0]);
    let output = Command::new("slowhttptest")
        .args(["-c", &ATTACKERS.to_string(), "-r", "200"])
        .args(["-l", &SECONDS.to_string(), "-p", "2"])
        .args(["-u", &format!("http://{address}{path}")])
        .args(["-g", "-o", &name])
        .args(mode)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = within(Duration::from_secs(60), "its end", output).await;
    let output = output.expect("slowhttptest is there: tests/install installs it");
    let told = Path::new(&name).with_extension("csv");
    let table = std::fs::read_to_string(&told).unwrap_or_else(|_| panic!("{output:?}"));
    println!("{table}");
    let mut lines = table.lines();
    let names = lines.next().expect("names");
    assert_eq!(names, "Seconds,Closed,Pending,Connected,Service Available");
    let answered: Vec<&str> = lines.filter_map(|line| line.split(',').nth(4)).collect();
    assert!(!answered.is_empty());
    assert!(answered.iter().all(|count| *count != "0"), "{answered:?}");
}

/// How many connections of a server there are.
fn established(address: SocketAddr) -> usize {
    let place = format!(":{:04X}", address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
    let of_it = |line: &&str| {
        let mut fields = line.split_ascii_whitespace();
        let is_local = fields.nth(1).is_some_and(|local| local.ends_with(&place));
        is_local && fields.nth(1) == Some("01")
    };
    table.lines().filter(of_it).count()
}

/// An attack, with somebody who asks all the time, and somebody who listens.
async fn served_meanwhile(mode: &[&str], path: &str) -> Seen {
    let _alone = ALONE.lock().await;
    let serving = Serving::start(|server| {
        let server = server.header_timeout(PATIENCE).body_timeout(PATIENCE);
        server.stall_timeout(PATIENCE)
    })
    .await;
    let mut stream = serving.asked(EVENTS).await;
    let mut seen = Seen {
        most: 0,
        last: 0,
        slowest: Duration::ZERO,
    };
    let others = async {
        for n in 0.. {
            let begun = Instant::now();
            serving.asked(PING).await.until("pong").await;
            submit(&serving.store, n.to_string());
            stream.until(&format!("data: {n}\n")).await;
            seen.slowest = seen.slowest.max(begun.elapsed());
            seen.last = established(serving.address);
            seen.most = seen.most.max(seen.last);
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = attack(mode, serving.address, path) => {}
        () = others => unreachable!("it does not end"),
    }
    println!("{mode:?}: {seen:?}");
    // A bound for a hang, not a figure: the machine is others', too.
    assert!(seen.slowest < PATIENCE, "{seen:?}");
    seen
}

/// They have all been there, and before the attack is over they are not.
async fn all_are_closed(mode: &[&str], path: &str) {
    let seen = served_meanwhile(mode, path).await;
    assert!(seen.most > ATTACKERS * 3 / 4, "{seen:?}");
    assert!(seen.last < 5, "{seen:?}");
}

#[tokio::test]
async fn slow_heads() {
    all_are_closed(&["-H", "-i", "1"], "/ping").await;
}

#[tokio::test]
async fn slow_bodies() {
    all_are_closed(&["-B", "-i", "1", "-s", "8192"], "/say").await;
}

#[tokio::test]
async fn slow_readers() {
    let mode = ["-X", "-w", "8", "-y", "16", "-n", "1", "-z", "8", "-k", "3"];
    all_are_closed(&mode, "/large").await;
}

/// Of a server that knows no ranges.
#[tokio::test]
async fn many_ranges() {
    served_meanwhile(&["-R", "-a", "1", "-b", "3000"], "/ping").await;
}
