//! What is done to a server, and what is seen of it meanwhile.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::load::Load;
use crate::peers::Peer;
use crate::server::Server;

/// Data of an event, in bytes.
const SIZE: usize = 100;

/// Events of a burst, and publications that a backlog keeps outstanding.
const BURST: u64 = 100;
const BACKLOG: u64 = 8;

/// How long may pass until everything that was published has arrived.
const ARRIVAL: Duration = Duration::from_secs(20);

/// How long nothing is done between two windows.
const SETTLE: Duration = Duration::from_millis(300);

/// What a run consists of.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Plan {
    pub(crate) streams: usize,
    /// Events per second, and how many, at a fixed rate.
    pub(crate) rate: f64,
    pub(crate) events: u64,
    /// How long the windows without a fixed rate last, at least.
    pub(crate) seconds: f64,
    /// How long nothing is published at all; then nothing else is done.
    pub(crate) idle: Option<f64>,
}

/// One server process, from its start to its end.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) server: String,
    pub(crate) streams: usize,
    /// Since the first run began, in seconds.
    pub(crate) at: f64,
    /// Resident memory that connecting has added.
    pub(crate) bytes_per_stream: f64,
    pub(crate) connect_us_per_stream: f64,
    pub(crate) windows: Vec<Window>,
}

/// A part of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Window {
    pub(crate) name: String,
    pub(crate) seconds: f64,
    pub(crate) published: u64,
    pub(crate) deliveries: u64,
    /// Deliveries that did not come, or came twice; refused publications and streams
    /// that ended.
    pub(crate) missing: u64,
    pub(crate) extra: u64,
    pub(crate) errors: u64,
    pub(crate) cpu_us: f64,
    /// In JSON `null`, like every figure that is about deliveries, where there were none.
    pub(crate) cpu_us_per_delivery: f64,
    pub(crate) user_share: f64,
    pub(crate) deliveries_per_second: f64,
    pub(crate) bytes_per_delivery: f64,
    pub(crate) latency_p50_ms: f64,
    pub(crate) latency_p99_ms: f64,
    pub(crate) completion_p50_ms: f64,
    pub(crate) answer_p50_ms: f64,
    pub(crate) answer_p99_ms: f64,
}

impl Run {
    pub(crate) fn window(&self, name: &str) -> Option<&Window> {
        self.windows.iter().find(|window| window.name == name)
    }
}

impl Window {
    /// Whether something arrived that was to arrive, and nothing was lost.
    pub(crate) fn is_sound(&self) -> bool {
        let expected = self.deliveries > 0 || matches!(&*self.name, "submit_0" | "idle");
        expected && self.missing == 0 && self.extra == 0 && self.errors == 0
    }
}

/// Starts a server, does all of a plan to it, and ends it.
pub(crate) fn run(peer: &Peer, plan: &Plan, began: Instant) -> Result<Run, String> {
    let at = began.elapsed().as_secs_f64();
    let server = peer.start()?;
    let mut load = Load::new(server.address, SIZE).map_err(|error| error.to_string())?;
    let mut stage = Stage {
        server: &server,
        load: &mut load,
        windows: Vec::new(),
    };

    if plan.idle.is_none() {
        stage.window("submit_0", |load| load.closed(1, plan.seconds / 4.0))?;
    }
    let (cpu, rss) = (server.cpu(), server.rss());
    stage.load.connect(plan.streams)?;
    stage.rest(SETTLE);
    let connected = server.cpu().since(cpu).nanos as f64 / 1e3;
    let grown = server.rss().saturating_sub(rss) as f64;

    match plan.idle {
        Some(idle) => stage.window("idle", |load| {
            load.quiet(Duration::from_secs_f64(idle));
            Ok(())
        })?,
        None => {
            let slower = if peer.is_slow && plan.streams > 1_000 {
                4
            } else {
                1
            };
            let (rate, events) = (plan.rate / slower as f64, plan.events / slower);
            stage.window("rate", |load| load.open(rate, events))?;
            stage.window("closed", |load| load.closed(1, plan.seconds))?;
            stage.window("backlog", |load| load.closed(BACKLOG, plan.seconds))?;
            stage.window("burst", |load| load.bursts(BURST, plan.seconds))?;
        }
    }
    Ok(Run {
        server: peer.name.to_owned(),
        streams: plan.streams,
        at,
        bytes_per_stream: grown / plan.streams as f64,
        connect_us_per_stream: connected / plan.streams as f64,
        windows: stage.windows,
    })
}

struct Stage<'a> {
    server: &'a Server,
    load: &'a mut Load,
    windows: Vec<Window>,
}

impl Stage<'_> {
    fn rest(&mut self, time: Duration) {
        self.load.quiet(time);
    }

    /// Measures what `act` does, until all of it has arrived.
    fn window(
        &mut self,
        name: &str,
        act: impl FnOnce(&mut Load) -> std::io::Result<()>,
    ) -> Result<(), String> {
        self.rest(SETTLE);
        self.load.begin();
        let (cpu, begun) = (self.server.cpu(), Instant::now());
        act(self.load).map_err(|error| format!("{name}: {error}"))?;
        self.load.arrive();
        let seconds = begun.elapsed().as_secs_f64();
        let cpu = self.server.cpu().since(cpu);
        let (missing, extra) = self.load.missing_and_extra();
        let counts = &self.load.counts;
        let deliveries = counts.deliveries as f64;
        self.windows.push(Window {
            name: name.to_owned(),
            seconds,
            published: counts.published,
            deliveries: counts.deliveries,
            missing,
            extra,
            errors: counts.errors,
            cpu_us: cpu.nanos as f64 / 1e3,
            cpu_us_per_delivery: cpu.nanos as f64 / 1e3 / deliveries,
            user_share: cpu.user_share(),
            deliveries_per_second: deliveries / seconds,
            bytes_per_delivery: counts.bytes as f64 / deliveries,
            latency_p50_ms: counts.latency.millis(0.5),
            latency_p99_ms: counts.latency.millis(0.99),
            completion_p50_ms: counts.completion.millis(0.5),
            answer_p50_ms: counts.answer.millis(0.5),
            answer_p99_ms: counts.answer.millis(0.99),
        });
        self.load.drop_publishers();
        Ok(())
    }
}

impl Load {
    /// At a fixed rate, whatever has arrived.
    fn open(&mut self, rate: f64, events: u64) -> std::io::Result<()> {
        let begun = Instant::now();
        for number in 0..events {
            let due = begun + Duration::from_secs_f64(number as f64 / rate);
            while Instant::now() < due {
                self.turn(None);
            }
            self.publish()?;
        }
        Ok(())
    }

    /// So many publications are outstanding, until time is over.
    fn closed(&mut self, outstanding: u64, seconds: f64) -> std::io::Result<()> {
        let begun = Instant::now();
        while begun.elapsed().as_secs_f64() < seconds {
            while self.outstanding() < outstanding {
                self.publish()?;
            }
            self.turn(None);
        }
        Ok(())
    }

    /// Burst after burst, each when the one before it has arrived, until time is over.
    fn bursts(&mut self, events: u64, seconds: f64) -> std::io::Result<()> {
        let begun = Instant::now();
        while begun.elapsed().as_secs_f64() < seconds {
            for _ in 0..events {
                self.publish()?;
            }
            if !self.arrive() {
                break;
            }
        }
        Ok(())
    }

    fn outstanding(&self) -> u64 {
        let counts = &self.counts;
        counts.published - counts.complete.min(counts.answered)
    }

    /// Waits until all has arrived that was published; not for ever.
    fn arrive(&mut self) -> bool {
        let begun = Instant::now();
        while self.outstanding() > 0 && begun.elapsed() < ARRIVAL {
            self.turn(None);
        }
        self.outstanding() == 0
    }

    fn quiet(&mut self, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.turn(Some(Duration::from_millis(10)));
        }
    }
}
