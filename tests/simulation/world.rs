//! One seed, from the beginning to the verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use turmoil::{Builder, Sim};

use crate::client::Client;
use crate::engine::Engine;
use crate::far::Far;
use crate::faults::Faults;
use crate::history::{History, Id, Log, Outcome, Rules, Stored, Verdict, uid};
use crate::plan::{Plan, TICK, VALUES, What};
use crate::shared::{Phase, Shared};
use crate::{node, panics};

/// What has become of a seed.
pub(crate) struct Ran {
    pub(crate) history: History,
    pub(crate) verdict: Verdict,
    /// What cannot be, whatever is promised.
    pub(crate) wrong: Vec<String>,
}

pub(crate) fn run(seed: u64) -> Ran {
    let plan = Plan::of(seed);
    let shared = Shared::new(plan.clone());
    let mut sim = Builder::new()
        .rng_seed(seed)
        .tick_duration(TICK)
        .simulation_duration(Duration::from_secs(86_400))
        .min_message_latency(Duration::from_millis(0))
        .max_message_latency(plan.latency)
        .tcp_capacity(plan.segments)
        .build();
    let engine = (plan.what == What::Elsewhere).then(|| Engine::of(plan.window));
    let ways: Vec<_> = engine
        .iter()
        .flat_map(|engine| (0..plan.nodes).map(|_| Far::new(engine.clone(), plan.latency / 4)))
        .collect();
    for at in 0..plan.nodes {
        let (shared, way) = (shared.clone(), ways.get(at).cloned());
        sim.host(format!("node{at}"), move || {
            node::run(shared.clone(), at, way.clone())
        });
    }
    for at in 0..plan.clients {
        let client = Client::new(&shared, at as u64);
        sim.client(format!("client{at}"), async move {
            client.run().await;
            Ok(())
        });
    }
    let mut faults = Faults::new(&shared, engine.clone(), ways);
    let mut world = World {
        sim,
        shared: shared.clone(),
        samples: 0,
    };

    world.go(plan.chaos, |sim| faults.step(sim));
    faults.heal(&mut world.sim);
    shared.state().banned.clear();
    shared.state().phase = Phase::Healed;
    world.go(plan.settle.mul_f64(0.4), |_| {});
    shared.state().phase = Phase::Last;
    world.go(plan.settle.mul_f64(0.6), |_| {});
    world.is_settled();

    let mut history = shared.state().history.clone();
    history.live_by = Some(u64::MAX - 1);
    history.rules = Rules {
        kind: plan.kind(),
        latest: VALUES.iter().map(|topic| (*topic).to_owned()).collect(),
        keeps: (plan.what == What::Queue || plan.what == What::Hub).then_some(plan.keeps as u64),
    };
    history.logs = match &engine {
        None => {
            let logs = logs_of(&history);
            for log in logs.iter().filter(|log| !is_whole(log)) {
                shared.wrong(format!("the numbers of {} have holes", log.epoch));
            }
            logs
        }
        Some(engine) => {
            let mut logs = std::mem::take(&mut faults.logs);
            logs.extend(log_of(engine, true));
            logs
        }
    };
    // Everybody leaves, and nothing is left.
    shared.state().phase = Phase::Leaving;
    world.go(Duration::from_secs(12), |_| {});
    world.is_empty();
    history.samples = shared.state().history.samples.clone();

    let verdict = history.judge();
    let mut wrong = std::mem::take(&mut shared.state().wrong);
    // What is still there ends before panics are counted.
    for node in &mut shared.state().nodes {
        node.running = None;
    }
    drop(world);
    wrong.extend(panics::take());
    Ran {
        history,
        verdict,
        wrong,
    }
}

struct World<'a> {
    sim: Sim<'a>,
    shared: Shared,
    samples: u32,
}

impl World<'_> {
    fn go(&mut self, time: Duration, mut step: impl FnMut(&mut Sim<'_>)) {
        let until = self.sim.elapsed() + time;
        while self.sim.elapsed() < until {
            self.shared.state().step(self.sim.elapsed());
            step(&mut self.sim);
            if let Err(error) = self.sim.step() {
                self.shared.wrong(format!("the world ended: {error}"));
                return;
            }
            self.samples += 1;
            if self.samples.is_multiple_of(50) {
                self.sample();
            }
        }
    }

    /// How much there is of what is bounded.
    fn sample(&self) {
        let plan = &self.shared.plan;
        let twice = match plan.overflow {
            tornadose::Overflow::Wait { .. } => 2,
            _ => 1,
        };
        let most = match plan.what {
            What::Queue => twice * plan.keeps,
            What::Data => 1,
            What::Hub | What::Elsewhere => 3 * twice * plan.keeps + 2,
        };
        for at in 0..plan.nodes {
            let running = self.shared.state().nodes[at].running.clone();
            if let Some(running) = running {
                let is = running.store.retained();
                self.shared.sample(format!("events of node {at}"), is, most);
            }
        }
    }

    /// Nobody waits for anything any more, and every client has come back.
    fn is_settled(&self) {
        let mut state = self.shared.state();
        let mut wrong = Vec::new();
        for (at, node) in state.nodes.iter().enumerate() {
            if !node.has_submitted {
                wrong.push(format!("who submits at node {at} still waits"));
            }
            if node.unanswered > 0 {
                let waiting = node.unanswered;
                wrong.push(format!("{waiting} submits at node {at} have no answer"));
            }
        }
        let connections = state.history.connections.iter().filter(|of| of.stays);
        let back: BTreeSet<_> = connections.map(|of| of.chain).collect();
        if back.len() != self.shared.plan.clients {
            wrong.push(format!("{} clients have come back", back.len()));
        }
        state.wrong.append(&mut wrong);
    }

    fn is_empty(&self) {
        for at in 0..self.shared.plan.nodes {
            let running = self.shared.state().nodes[at].running.clone();
            if let Some(running) = running {
                let streams = running.source.streams();
                let subscribers = running.store.subscribers();
                self.shared
                    .sample(format!("streams of node {at}"), streams, 0);
                self.shared
                    .sample(format!("subscribers of node {at}"), subscribers, 0);
            }
            let serving = self.shared.state().nodes[at].serving;
            self.shared
                .sample(format!("connections of node {at}"), serving, 0);
        }
    }
}

/// The logs of nodes that keep them in memory: what was acknowledged, in its place.
fn logs_of(history: &History) -> Vec<Log> {
    let mut logs: BTreeMap<String, Log> = BTreeMap::new();
    // The newest log of a node is the one that is there.
    let mut newest: BTreeMap<String, String> = BTreeMap::new();
    for submit in &history.submits {
        let Outcome::Ok(_, id) = &submit.outcome else {
            continue;
        };
        let log = logs.entry(id.epoch.clone()).or_insert_with(|| Log {
            epoch: id.epoch.clone(),
            events: Vec::new(),
            lost: Vec::new(),
            is_last: false,
        });
        log.events.push(Stored {
            id: id.clone(),
            topic: submit.topic.clone(),
            data: submit.data.clone(),
        });
        let node = submit.uid.split('.').next().unwrap_or_default();
        newest.insert(node.to_owned(), id.epoch.clone());
    }
    for epoch in newest.values() {
        if let Some(log) = logs.get_mut(epoch) {
            log.is_last = true;
        }
    }
    // In the order in which they began.
    let mut logs: Vec<_> = logs.into_values().collect();
    let first = |log: &Log| {
        let uid = log
            .events
            .first()
            .map(|stored| uid(&stored.data).to_owned());
        let at = history
            .submits
            .iter()
            .position(|of| Some(&of.uid) == uid.as_ref());
        at.unwrap_or(usize::MAX)
    };
    logs.sort_by_key(first);
    for log in &mut logs {
        log.events.sort_by_key(|stored| stored.id.offset);
    }
    logs
}

/// Numbers begin with 1, and each is given once.
fn is_whole(log: &Log) -> bool {
    let mut events = log.events.iter().zip(1..);
    events.all(|(stored, number)| stored.id.offset == number)
}

/// What the engine's log is now.
pub(crate) fn log_of(engine: &Engine, is_last: bool) -> Option<Log> {
    let stored = |(position, topic, data): (tornadose::Position, tornadose::Topic, String)| {
        Id::parse(&position.to_string()).map(|id| Stored {
            id,
            topic: topic.as_str().to_owned(),
            data,
        })
    };
    let events: Vec<_> = engine.truth().into_iter().filter_map(stored).collect();
    let all: Vec<_> = engine.stored().into_iter().filter_map(stored).collect();
    let epoch = engine.epoch();
    let is_there = |of: &Stored| events.iter().any(|stored| stored.id == of.id);
    let lost = all
        .into_iter()
        .filter(|of| of.id.epoch == epoch && !is_there(of));
    let lost = lost.collect();
    Some(Log {
        epoch,
        events,
        lost,
        is_last,
    })
}
