//! What was promised, judged by what was seen from outside.
//!
//! A [`History`] is only appended to: what was submitted and what was answered, what the log
//! was in truth, every connection with every byte that it received, what was broken, and how
//! much there was of what is bounded. Stamps are nanoseconds of any clock that never goes
//! back; two happenings of which it is not known which was first may have the same.
//!
//! | | promise | judged in |
//! |---|---|---|
//! | P1 | ordered: a connection is told events in the order of the log | `account` |
//! | P2 | unique: a client is told each once, over all of its connections | `account` |
//! | P3 | reliable: where no gap is told, nothing that it wants is missing | `account` |
//! | P4 | resumable: what follows an id is what comes next, or a gap stands first | `account` |
//! | P5 | honest: a gap only where something is missing, and as much as it says | `account` |
//! | P6 | acknowledged: what was acknowledged is in the log once, what was refused is not | `submits` |
//! | P7 | real time: acknowledged before submitted is before | `submits` |
//! | P8 | permitted: nothing that was not wanted, or no longer permitted | `deliveries` |
//! | P9 | live: when everything works again, everybody reaches the end | `account` |
//! | P10 | bytes: as it was submitted, with line breaks as LF | `deliveries` |
//! | P11 | bookmarks: nothing comes before a position that was told | `account` |
//! | P12 | bounded: no more than the formula allows, and nothing at the end | `deliveries` |
//! | P13 | ends well: who is sent away is told when to come back | `deliveries` |
//!
//! Topics of which the newest event alone counts are judged by P1, P2, P9 and P10: strictly
//! newer ones, and the newest at the end.
#![allow(
    dead_code,
    unused_imports,
    reason = "every target takes only the words that it needs"
)]

mod account;
mod decode;
mod deliveries;
mod reach;
mod record;
mod submits;
mod truth;

use std::fmt;

pub(crate) use decode::{Decoding, Told};
pub(crate) use record::{
    Connection, Ended, Fault, Filter, History, Id, Kind, Log, Outcome, Rules, Sample, Stamp, Start,
    Stored, Submit, Transport, uid,
};

/// What of the promises is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Promise {
    Ordered,
    Unique,
    Reliable,
    Resumable,
    Honest,
    Acknowledged,
    RealTime,
    Permitted,
    Live,
    Bytes,
    Bookmarks,
    Bounded,
    EndsWell,
}

/// One promise that was broken, with enough to understand how.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) promise: Promise,
    /// The connection, by its number in the history.
    pub(crate) connection: Option<usize>,
    pub(crate) what: String,
}

impl Violation {
    fn new(promise: Promise, connection: Option<usize>, what: impl Into<String>) -> Self {
        Self {
            promise,
            connection,
            what: what.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.promise)?;
        if let Some(connection) = self.connection {
            write!(f, " on connection {connection}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// What was seen, and what of it should not have been.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) violations: Vec<Violation>,
    /// How many events, and how many gaps, all clients were told.
    pub(crate) deliveries: u64,
    pub(crate) gaps: u64,
}

impl History {
    /// Judges everything.
    pub(crate) fn judge(&self) -> Verdict {
        let truth = truth::Truth::of(self);
        let told: Vec<_> = self.connections.iter().map(Connection::told).collect();
        let mut verdict = Verdict::default();
        let all = told.iter().flatten();
        verdict.deliveries = count(all.clone(), |told| matches!(told, Told::Event { .. }));
        verdict.gaps = count(all, |told| matches!(told, Told::Gap { .. }));
        let violations = &mut verdict.violations;
        account::judge(self, &truth, &told, violations);
        submits::acknowledged(self, &truth, violations);
        submits::real_time(self, violations);
        deliveries::permitted(self, &truth, &told, violations);
        deliveries::bytes(self, &truth, &told, violations);
        deliveries::bounded(self, violations);
        deliveries::ends_well(self, &told, violations);
        verdict
    }

    /// A number that is another one for another history: of everything but heads, and with
    /// epochs, which are random, by the order in which they appear.
    pub(crate) fn fingerprint(&self) -> u64 {
        record::fingerprint(self)
    }

    /// What one client went through, for who has to understand a violation.
    pub(crate) fn show(&self, connection: usize) -> String {
        let Some(of) = self.connections.get(connection) else {
            return String::new();
        };
        let chain = self.connections.iter().enumerate();
        let chain = chain.filter(|(at, other)| other.chain == of.chain && *at <= connection);
        let mut text = String::new();
        for (at, one) in chain {
            text += &format!(
                "  connection {at} of client {} to {} over {:?}, {:?}, after {:?}, at {}: {:?}, {:?} at {}\n",
                one.chain,
                one.node,
                one.transport,
                one.filter,
                one.requested,
                one.opened,
                one.status,
                one.ended,
                one.closed,
            );
            for (stamp, told) in one.told() {
                text += &format!("    {stamp} {}\n", told.short());
            }
        }
        text
    }
}

fn count<'a>(all: impl Iterator<Item = &'a (Stamp, Told)>, which: impl Fn(&Told) -> bool) -> u64 {
    all.filter(|(_, told)| which(told)).count() as u64
}
