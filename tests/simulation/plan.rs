//! What one seed stands for: a store, its settings, and a world around it.

use std::time::Duration;

use fastrand::Rng;
use tornadose::{Overflow, Start};

use crate::history::{Filter, Kind};

/// Topics of which every event counts, and topics of which the newest alone does.
pub(crate) const QUEUES: [&str; 3] = ["a", "b", "c/d"];
pub(crate) const VALUES: [&str; 2] = ["v/1", "v/2"];

/// What clients read of a hub.
const READ: [&[&str]; 7] = [
    &["a"],
    &["a", "b"],
    &["#"],
    &["c/+", "b"],
    &["v/+"],
    &["a", "v/1", "c/d"],
    &["b", "v/2"],
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Queue,
    Data,
    Hub,
    /// A hub that is kept elsewhere, in one log for all nodes.
    Elsewhere,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) what: What,
    pub(crate) nodes: usize,
    pub(crate) clients: usize,
    /// How many events are kept, of each topic.
    pub(crate) keeps: usize,
    pub(crate) overflow: Overflow,
    pub(crate) start: Start,
    pub(crate) keep_alive: Duration,
    pub(crate) retry: Option<Duration>,
    pub(crate) farewell: Duration,
    /// How many segments are on their way at most.
    pub(crate) segments: usize,
    pub(crate) latency: Duration,
    /// After so long a write that does not go on breaks its connection.
    pub(crate) stall: Duration,
    /// Between two batches of a publisher.
    pub(crate) pace: Duration,
    pub(crate) batch: usize,
    /// The most bytes of an event.
    pub(crate) bytes: usize,
    /// Between two faults.
    pub(crate) trouble: Duration,
    /// One in so many connections is to another node than the one before.
    pub(crate) hops: u32,
    /// What an engine retains.
    pub(crate) window: usize,
    /// For how long things break, and how long it takes to settle then.
    pub(crate) chaos: Duration,
    pub(crate) settle: Duration,
}

/// A step of the simulated time.
pub(crate) const TICK: Duration = Duration::from_millis(20);

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x7061_6e00);
        let rng = &mut rng;
        let what = match rng.u32(..10) {
            0..4 => What::Queue,
            4 => What::Data,
            5..7 => What::Hub,
            _ => What::Elsewhere,
        };
        let is_far = what == What::Elsewhere;
        let keeps = match rng.u32(..3) {
            0 => rng.usize(3..20),
            1 => rng.usize(20..100),
            _ => 1000,
        };
        let overflow = match rng.u32(..6) {
            _ if is_far => Overflow::DropOldest,
            0 => Overflow::Disconnect,
            1 => Overflow::Wait {
                stall: millis(rng, 200..2000),
            },
            _ => Overflow::DropOldest,
        };
        let start = match rng.u32(..4) {
            0 => Start::Oldest,
            1 => Start::Last(rng.u64(1..8)),
            _ => Start::Live,
        };
        Self {
            seed,
            what,
            nodes: rng.usize(1..=3),
            clients: rng.usize(2..=5),
            keeps,
            overflow,
            start,
            keep_alive: millis(rng, 200..900),
            retry: rng.bool().then(|| millis(rng, 100..500)),
            farewell: millis(rng, 100..500),
            segments: rng.usize(12..64),
            latency: millis(rng, 1..80),
            stall: millis(rng, 1000..3000),
            pace: millis(rng, 10..250),
            batch: rng.usize(1..8),
            bytes: *rng.choice(&[20, 200, 2000]).unwrap_or(&20),
            trouble: millis(rng, 150..1500),
            hops: match (is_far, rng.bool()) {
                (true, _) => 2,
                (false, true) => 40,
                (false, false) => 6,
            },
            window: match rng.bool() {
                true => 40,
                false => 100_000,
            },
            chaos: match is_far {
                true => Duration::from_secs(rng.u64(12..30)),
                false => Duration::from_secs(rng.u64(6..14)),
            },
            settle: match is_far {
                true => Duration::from_secs(50),
                false => Duration::from_secs(8),
            },
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self.what {
            What::Queue | What::Hub => Kind::Memory,
            What::Data => Kind::Latest,
            What::Elsewhere => Kind::Elsewhere,
        }
    }

    pub(crate) fn has_topics(&self) -> bool {
        matches!(self.what, What::Hub | What::Elsewhere)
    }

    /// Where an event may go.
    pub(crate) fn topics(&self) -> Vec<&'static str> {
        match self.has_topics() {
            true => QUEUES.into_iter().chain(VALUES).collect(),
            false => vec![""],
        }
    }

    /// What one of the clients wants.
    pub(crate) fn filter(&self, rng: &mut Rng) -> Filter {
        if !self.has_topics() {
            return Filter::All;
        }
        let names = READ[rng.usize(..READ.len())].iter();
        Filter::Topics(names.map(|name| (*name).to_owned()).collect())
    }
}

pub(crate) fn millis(rng: &mut Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.u64(range))
}
