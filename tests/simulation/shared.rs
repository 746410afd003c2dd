//! What all of one simulated world know: the history, the time, and what is to happen.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fastrand::Rng;
use tornadose::{EventSource, Shutdown};

use crate::history::{Connection, Fault, History, Sample, Stamp, Submit};
use crate::node::AnyStore;
use crate::plan::Plan;

/// Clones are one world.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) plan: Arc<Plan>,
    state: Arc<Mutex<State>>,
}

pub(crate) struct State {
    pub(crate) history: History,
    /// The time of this step, and the last stamp.
    now: Stamp,
    stamp: Stamp,
    pub(crate) phase: Phase,
    pub(crate) nodes: Vec<Node>,
    /// Clients that are let in nowhere.
    pub(crate) banned: HashSet<u64>,
    chains: u64,
    /// What cannot be, whatever is promised.
    pub(crate) wrong: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Everything may happen.
    Chaos,
    /// Nothing breaks any more, nobody leaves, and nothing is submitted.
    Healed,
    /// The last events are submitted.
    Last,
    /// Everybody goes.
    Leaving,
}

/// A process that serves.
#[derive(Default)]
pub(crate) struct Node {
    pub(crate) incarnation: u64,
    pub(crate) running: Option<Running>,
    /// How far its clock is to jump.
    pub(crate) jump: Duration,
    /// Connections that are served.
    pub(crate) serving: usize,
    /// So many events are to be submitted at once.
    pub(crate) burst: usize,
    /// Everything that is to be submitted has been.
    pub(crate) has_submitted: bool,
    /// Submits whose answer is not there yet.
    pub(crate) unanswered: usize,
    /// Which connections were let in, and of which client they are.
    pub(crate) granted: Vec<(u64, usize)>,
}

/// What is in its memory.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) store: AnyStore,
    pub(crate) source: EventSource,
    pub(crate) shutdown: Shutdown,
}

impl Shared {
    pub(crate) fn new(plan: Plan) -> Self {
        let nodes = std::iter::repeat_with(Node::default);
        let state = State {
            history: History::default(),
            now: 0,
            stamp: 0,
            phase: Phase::Chaos,
            nodes: nodes.take(plan.nodes).collect(),
            banned: HashSet::new(),
            chains: 0,
            wrong: Vec::new(),
        };
        Self {
            plan: Arc::new(plan),
            state: Arc::new(Mutex::new(state)),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // Who panicked has been noted; everybody else goes on.
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A source of chance of its own, for somebody in this world.
    pub(crate) fn rng(&self, salt: u64) -> Rng {
        Rng::with_seed(self.plan.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt)
    }

    pub(crate) fn phase(&self) -> Phase {
        self.state().phase
    }

    pub(crate) fn stamp(&self) -> Stamp {
        self.state().stamp()
    }

    pub(crate) fn fault(&self, what: impl Into<String>) {
        let mut state = self.state();
        let at = state.stamp();
        let what = what.into();
        state.history.faults.push(Fault { at, what });
    }

    pub(crate) fn wrong(&self, what: impl Into<String>) {
        self.state().wrong.push(what.into());
    }

    pub(crate) fn sample(&self, what: impl Into<String>, is: usize, most: usize) {
        let mut state = self.state();
        let at = state.stamp();
        state.history.samples.push(Sample {
            at,
            what: what.into(),
            is: is as u64,
            most: most as u64,
        });
    }

    pub(crate) fn submit(&self, submit: Submit) -> usize {
        let mut state = self.state();
        state.history.submits.push(submit);
        state.history.submits.len() - 1
    }

    /// A client that has never been here.
    pub(crate) fn chain(&self) -> u64 {
        let mut state = self.state();
        state.chains += 1;
        state.chains
    }

    /// A connection begins; its number.
    pub(crate) fn open(&self, connection: Connection) -> usize {
        let mut state = self.state();
        state.history.connections.push(connection);
        state.history.connections.len() - 1
    }

    pub(crate) fn change(&self, at: usize, change: impl FnOnce(&mut Connection, Stamp)) {
        let mut state = self.state();
        let stamp = state.stamp();
        change(&mut state.history.connections[at], stamp);
    }
}

impl State {
    /// Later than everything before.
    pub(crate) fn stamp(&mut self) -> Stamp {
        self.stamp = self.now.max(self.stamp + 1);
        self.stamp
    }

    pub(crate) fn step(&mut self, now: Duration) {
        self.now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    }
}
