//! Real handlers in a simulated world: servers, networks and clients that break, from one
//! seed each, and a [history](history) that is judged by what clients received.
//!
//! ```text
//! tests/simulate --seeds 2000 --from 0     # so many worlds, from this one on
//! tests/simulate --from 17 --seeds 1       # one again, with everything that is known of it
//! ```
//!
//! What runs is the library as it is: `EventSource` and `WebSocketSubscriber` behind hyper,
//! over `QueueStore`, `DataStore`, `Hub` and a `Hub` that is kept elsewhere. Network and time
//! are turmoil's, so a seed replays: the same history, byte by byte, but for the epochs of
//! logs, which are random and are compared by the order in which they appear. Some seeds are
//! run twice to see that; with `--twice` all are. Of a hub that is kept elsewhere a few in a
//! hundred differ in which of two tasks that are ready at the same time is first.
//!
//! The last line is `N seeds, F faults, D deliveries, V violations`; the status is 0 only
//! without violations.

mod client;
mod far;
mod faults;
mod http;
mod node;
mod panics;
mod plan;
mod shared;
mod socket;
mod world;

#[path = "../support/engine.rs"]
mod engine;
#[path = "../support/history/mod.rs"]
mod history;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What is asked for.
struct Asked {
    seeds: u64,
    from: u64,
    jobs: usize,
    /// Runs each twice, to see that it is the same.
    twice: bool,
    is_meant: bool,
}

/// How many seeds are tried where nothing is asked for.
const SEEDS: u64 = 24;

#[derive(Default)]
struct Sum {
    faults: u64,
    deliveries: u64,
    gaps: u64,
    violations: u64,
}

fn main() -> ExitCode {
    let asked = match asked(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(wrong) => {
            eprintln!("{wrong}\nusage: [--seeds N] [--from S] [--jobs J] [--twice]");
            return ExitCode::from(2);
        }
    };
    if !asked.is_meant {
        return ExitCode::SUCCESS;
    }
    panics::note();
    let next = AtomicU64::new(0);
    let sum = Mutex::new(Sum::default());
    std::thread::scope(|scope| {
        for _ in 0..asked.jobs {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= asked.seeds {
                        return;
                    }
                    try_seed(asked.from + at, &asked, &sum);
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!(
        "{} seeds, {} faults, {} deliveries, {} violations",
        asked.seeds, sum.faults, sum.deliveries, sum.violations
    );
    match sum.violations {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn asked(mut arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut asked = Asked {
        seeds: SEEDS,
        from: 0,
        jobs: cores,
        twice: false,
        is_meant: true,
    };
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let value = arguments.next().and_then(|value| value.parse().ok());
            value.ok_or_else(|| format!("{argument} needs a number"))
        };
        match argument.as_str() {
            "--seeds" => asked.seeds = number()?,
            "--from" => asked.from = number()?,
            "--jobs" => asked.jobs = usize::try_from(number()?).unwrap_or(1).max(1),
            "--twice" => asked.twice = true,
            // What `cargo test` hands to every test.
            "--exact" | "--include-ignored" | "--nocapture" | "--quiet" | "--show-output"
            | "-q" => {}
            other if other.starts_with("--test-threads") => {}
            // Tests are asked for by names.
            other if !other.starts_with('-') => asked.is_meant &= "simulation".contains(other),
            other => return Err(format!("what is {other}?")),
        }
    }
    Ok(asked)
}

/// Runs one seed, now and then twice, and says what is wrong.
fn try_seed(seed: u64, asked: &Asked, sum: &Mutex<Sum>) {
    let is_alone = asked.seeds == 1;
    let Ok(ran) = std::panic::catch_unwind(|| world::run(seed)) else {
        let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
        sum.violations += 1;
        println!("seed {seed}: {:?}", panics::take());
        return;
    };
    let mut wrong: Vec<_> = ran.wrong.clone();
    let is_near = plan::Plan::of(seed).what != plan::What::Elsewhere;
    if asked.twice || is_alone || is_near && seed.is_multiple_of(25) {
        let again = world::run(seed).history.fingerprint();
        match again == ran.history.fingerprint() {
            true => {}
            false if is_near => wrong.push("it is another history the second time".to_owned()),
            // Two tasks that are ready at once; which is first is for the runtime to say.
            false => println!("seed {seed}: on an engine, and a little different the second time"),
        }
    }
    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
    sum.faults += ran.history.faults.len() as u64;
    sum.deliveries += ran.verdict.deliveries;
    sum.gaps += ran.verdict.gaps;
    let violations = &ran.verdict.violations;
    sum.violations += (violations.len() + wrong.len()) as u64;
    if violations.is_empty() && wrong.is_empty() && !is_alone {
        return;
    }
    println!("seed {seed}: {:?}", plan::Plan::of(seed));
    for wrong in &wrong {
        println!("seed {seed}: {wrong}");
    }
    for violation in violations {
        println!("seed {seed}: {violation}");
    }
    if is_alone {
        for fault in &ran.history.faults {
            println!("  {} {}", fault.at, fault.what);
        }
        let mut shown: Vec<_> = violations.iter().filter_map(|of| of.connection).collect();
        shown.sort_unstable();
        shown.dedup();
        for connection in shown.into_iter().take(3) {
            println!("{}", ran.history.show(connection));
        }
    } else {
        println!("seed {seed}: replay it with tests/simulate --from {seed} --seeds 1");
    }
}
