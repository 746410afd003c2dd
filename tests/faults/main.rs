//! A server that is killed, stopped and cut off, again and again, and its clients.
//!
//! Every byte that a client receives is kept, and held against what publishers were told and
//! against the log, by `tests/support/history`. The last line of a run says how much it was.
//!
//! So many faults: `TORNADOSE_FAULTS`, 100 by default, and an eighth of that where packets are lost. `TORNADOSE_FAULTS_SEED` chooses
//! others.
#![cfg(unix)]

mod body;
mod churn;
mod client;
mod crowd;
mod faults;
mod herd;
#[path = "../support/history/mod.rs"]
mod history;
mod judge;
mod matter;
mod net;
mod run;
mod server;
mod serving;
mod storm;

use crate::faults::Fault;
use crate::run::{Report, Run};

/// So many faults before everything is healed and judged: what was received by then is all
/// in memory when it is.
const IN_ONE_RUN: usize = 250;

fn number(variable: &str, default: usize) -> usize {
    match std::env::var(variable) {
        Ok(number) => number.parse().expect("a number"),
        Err(_) => default,
    }
}

async fn inflict(faults: usize, kinds: &[Fault]) {
    let mut report = Report::default();
    let mut seed = number("TORNADOSE_FAULTS_SEED", 0) as u64;
    let mut left = faults;
    while left > 0 {
        let now = left.min(IN_ONE_RUN);
        println!("seed {seed}, {now} faults");
        let run = Run::of(seed, now, kinds).await;
        for violation in run.verdict.violations.iter().take(20) {
            println!("{violation}");
        }
        report.add(run);
        left -= now;
        seed += 1;
    }
    report.print();
    assert_eq!(report.verdict.violations.len(), 0);
    // Something was told, and something was lost that had to be told.
    assert!(report.verdict.deliveries > 10 * faults as u64);
    let decks = (faults / faults::deck(kinds).len()) as u64;
    let times = |kind| report.faults.get(kind).copied().unwrap_or(0);
    assert!(
        kinds.iter().all(|kind| times(kind) >= decks),
        "of each some"
    );
    if decks > 0 {
        assert!(
            report.verdict.gaps.contains_key("epoch"),
            "servers were killed"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_untold_whatever_happens() {
    inflict(number("TORNADOSE_FAULTS", 100), &Fault::ON_ANY_NETWORK).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_untold_where_packets_are_lost() {
    let allowed = net::run_inside("where_packets_are_lost").await;
    if let net::Allowed::NotHere(why) = allowed {
        println!("NOT TRIED, because the system refuses it to who is not root: {why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "what the test before this runs, in a network of its own"]
async fn where_packets_are_lost() {
    if net::is_inside() {
        inflict(number("TORNADOSE_FAULTS", 100) / 8, &Fault::OF_PACKETS).await;
    }
}
