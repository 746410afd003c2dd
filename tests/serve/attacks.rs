//! `slowhttptest` in its four modes, while others are served.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::serving::{EVENTS, PING, Serving};
use crate::vocabulary::{submit, within};

/// So many connections at once: two hundred fit into the descriptors of any machine.
const CONNECTIONS: &str = "200";

/// How long it goes on, in seconds.
const LONG: &str = "6";

/// One at a time: it is the machine that is asked whether anybody is still served.
static ALONE: Mutex<()> = Mutex::const_new(());

/// What it is told to do; what it counts at its end.
struct Outcome {
    closed: u32,
    connected: u32,
    is_available: bool,
}

async fn attack(mode: &[&str], serving: &Serving, path: &str) -> Outcome {
    let url = format!("http://{}{path}", serving.address);
    let output = Command::new("slowhttptest")
        .args([
            "-c",
            CONNECTIONS,
            "-r",
            "200",
            "-l",
            LONG,
            "-p",
            "2",
            "-v",
            "1",
        ])
        .args(mode)
        .args(["-u", &url])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = within(Duration::from_secs(60), "its end", output).await;
    let output = output.expect("slowhttptest is there: tests/install installs it");
    let text = plain(&String::from_utf8_lossy(&output.stdout));
    let last = text
        .rfind("slow HTTP test status")
        .unwrap_or_else(|| panic!("{text}"));
    println!("{}", &text[last..]);
    let count = |name: &str| {
        let line = text[last..]
            .lines()
            .find(|line| line.trim_start().starts_with(name));
        let number = line.and_then(|line| line.split(':').nth(1)?.trim().parse().ok());
        number.unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    Outcome {
        closed: count("closed:"),
        connected: count("connected:"),
        is_available: text[last..].contains("service available:   YES"),
    }
}

/// Without what colours it.
fn plain(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    let others = parts.map(|part| part.split_once('m').map_or("", |(_, rest)| rest));
    others.fold(first, |text, part| text + part)
}

/// Somebody who asks all the time, and somebody who listens, while this goes on.
async fn served_meanwhile(mode: &[&str], path: &str) -> Outcome {
    let _alone = ALONE.lock().await;
    let serving = Serving::start(|server| {
        let short = Duration::from_secs(2);
        server
            .header_timeout(short)
            .body_timeout(short)
            .stall_timeout(short)
    })
    .await;
    let mut stream = serving.asked(EVENTS).await;
    let mut attack = Box::pin(attack(mode, &serving, path));
    let mut slowest = Duration::ZERO;
    let mut others = async {
        for n in 0.. {
            let begun = Instant::now();
            serving.asked(PING).await.until("pong").await;
            submit(&serving.store, n.to_string());
            stream.until(&format!("data: {n}\n")).await;
            slowest = slowest.max(begun.elapsed());
            sleep(Duration::from_millis(20)).await;
        }
    };
    let outcome = tokio::select! {
        outcome = &mut attack => outcome,
        () = &mut std::pin::pin!(others) => unreachable!("it does not end"),
    };
    println!("the slowest of the others was served within {slowest:?}");
    assert!(outcome.is_available);
    outcome
}

#[tokio::test]
async fn slow_heads() {
    let outcome = served_meanwhile(&["-H", "-i", "1"], "/ping").await;
    assert_eq!((outcome.connected, outcome.closed), (0, 200));
}

#[tokio::test]
async fn slow_bodies() {
    let outcome = served_meanwhile(&["-B", "-i", "1", "-s", "8192"], "/say").await;
    assert_eq!((outcome.connected, outcome.closed), (0, 200));
}

#[tokio::test]
async fn many_ranges() {
    served_meanwhile(&["-R", "-a", "1", "-b", "3000"], "/ping").await;
}

#[tokio::test]
async fn slow_readers() {
    let mode = ["-X", "-w", "8", "-y", "16", "-n", "1", "-z", "8", "-k", "3"];
    let outcome = served_meanwhile(&mode, "/large").await;
    assert_eq!(outcome.connected, 0);
}
