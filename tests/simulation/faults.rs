//! What breaks, and how it is mended.

use std::collections::HashMap;
use std::time::Duration;

use fastrand::Rng;
use turmoil::Sim;

use crate::engine::Engine;
use crate::far::Far;
use crate::history::Log;
use crate::plan::{What, millis};
use crate::shared::Shared;
use crate::world::log_of;

pub(crate) struct Faults {
    rng: Rng,
    shared: Shared,
    clients: usize,
    engine: Option<Engine>,
    ways: Vec<Far>,
    /// When the next thing breaks.
    next: Duration,
    /// What is to be mended, and when.
    repairs: Vec<(Duration, Repair)>,
    /// Links and nodes that are broken.
    links: HashMap<(usize, usize), Repair>,
    nodes: Vec<bool>,
    /// Logs that were deleted.
    pub(crate) logs: Vec<Log>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repair {
    /// A client and a node.
    Link(usize, usize),
    Oneway(usize, usize),
    Hold(usize, usize),
    /// A node ends that was shut down.
    Crash(usize),
    Bounce(usize),
    Ban(usize),
    Way(usize),
    Engine,
    Mute,
    Hang,
}

fn names(client: usize, node: usize) -> (String, String) {
    (format!("client{client}"), format!("node{node}"))
}

impl Faults {
    pub(crate) fn new(shared: &Shared, engine: Option<Engine>, ways: Vec<Far>) -> Self {
        Self {
            rng: shared.rng(0x00fa_0000),
            clients: shared.plan.clients,
            nodes: vec![false; shared.plan.nodes],
            shared: shared.clone(),
            engine,
            ways,
            next: Duration::from_millis(300),
            repairs: Vec::new(),
            links: HashMap::new(),
            logs: Vec::new(),
        }
    }

    pub(crate) fn step(&mut self, sim: &mut Sim<'_>) {
        let now = sim.elapsed();
        self.mend(sim, |at| at <= now);
        while self.next <= now {
            self.next += self.shared.plan.trouble.mul_f64(0.2 + 1.6 * self.rng.f64());
            self.strike(sim, now);
        }
    }

    /// Everything works again.
    pub(crate) fn heal(&mut self, sim: &mut Sim<'_>) {
        while !self.repairs.is_empty() {
            self.mend(sim, |_| true);
        }
    }

    fn mend(&mut self, sim: &mut Sim<'_>, is_due: impl Fn(Duration) -> bool) {
        let (due, rest) = self.repairs.drain(..).partition(|(at, _)| is_due(*at));
        self.repairs = rest;
        let due: Vec<(Duration, Repair)> = due;
        for (at, repair) in due {
            self.repair(sim, at, repair);
        }
    }

    fn repair(&mut self, sim: &mut Sim<'_>, at: Duration, repair: Repair) {
        match repair {
            Repair::Link(client, node) => {
                let (client_name, node_name) = names(client, node);
                sim.repair(client_name, node_name);
                self.links.remove(&(client, node));
            }
            Repair::Oneway(client, node) => {
                let (client_name, node_name) = names(client, node);
                sim.repair_oneway(client_name.clone(), node_name.clone());
                sim.repair_oneway(node_name, client_name);
                self.links.remove(&(client, node));
            }
            Repair::Hold(client, node) => {
                let (client_name, node_name) = names(client, node);
                sim.release(client_name, node_name);
                self.links.remove(&(client, node));
            }
            Repair::Crash(node) => {
                self.crash(sim, node);
                let after = at + millis(&mut self.rng, 50..1500);
                self.repairs.push((after, Repair::Bounce(node)));
            }
            Repair::Bounce(node) => {
                if let Some(way) = self.ways.get(node) {
                    way.anew();
                }
                sim.bounce(format!("node{node}"));
                self.nodes[node] = false;
            }
            Repair::Ban(client) => {
                self.shared.state().banned.remove(&(client as u64));
            }
            Repair::Way(node) => self.ways[node].set_broken(false),
            Repair::Engine => self.with_engine(Engine::come_back),
            Repair::Mute => self.with_engine(|engine| engine.mute(false)),
            Repair::Hang => self.with_engine(|engine| engine.hang(false)),
        }
    }

    fn with_engine(&self, change: impl FnOnce(&Engine)) {
        if let Some(engine) = &self.engine {
            change(engine);
        }
    }

    /// A process is gone, and its memory with it.
    fn crash(&mut self, sim: &mut Sim<'_>, node: usize) {
        // In which order tasks are dropped, and with them their connections, is not of the
        // seed. So it must not matter which of them is told first.
        let latency = |sim: &Sim<'_>, most| {
            for client in 0..self.clients {
                let (client, node) = names(client, node);
                sim.set_link_max_message_latency(client, node, most);
            }
        };
        latency(sim, Duration::ZERO);
        sim.crash(format!("node{node}"));
        latency(sim, self.shared.plan.latency);
        let running = self.shared.state().nodes[node].running.take();
        drop(running);
    }

    fn strike(&mut self, sim: &mut Sim<'_>, now: Duration) {
        let is_far = self.shared.plan.what == What::Elsewhere;
        match self.rng.u32(..if is_far { 26 } else { 17 }) {
            0..6 => self.break_link(sim, now),
            6..8 => self.kill(sim, now),
            8..10 => self.end(now),
            10..12 => self.revoke(now),
            12..14 => {
                let node = self.rng.usize(..self.nodes.len());
                let far = millis(&mut self.rng, 300..20_000);
                self.shared
                    .fault(format!("the clock of node {node} jumps by {far:?}"));
                self.shared.state().nodes[node].jump = far;
            }
            14..17 => {
                let node = self.rng.usize(..self.nodes.len());
                let most = 2 * self.shared.plan.keeps.clamp(10, 200);
                let burst = self.rng.usize(5..most);
                self.shared.fault(format!("{burst} events at node {node}"));
                self.shared.state().nodes[node].burst = burst;
            }
            _ => self.break_engine(now),
        }
    }

    fn break_link(&mut self, sim: &mut Sim<'_>, now: Duration) {
        let client = self.rng.usize(..self.clients);
        let node = self.rng.usize(..self.nodes.len());
        if self.links.contains_key(&(client, node)) {
            return;
        }
        let (client_name, node_name) = names(client, node);
        let (what, repair) = match self.rng.u32(..4) {
            0 => {
                sim.partition(client_name, node_name);
                ("a partition", Repair::Link(client, node))
            }
            1 => {
                sim.partition_oneway(client_name, node_name);
                ("a partition one way", Repair::Oneway(client, node))
            }
            2 => {
                sim.partition_oneway(node_name, client_name);
                ("a partition the other way", Repair::Oneway(client, node))
            }
            _ => {
                sim.hold(client_name, node_name);
                ("everything is held", Repair::Hold(client, node))
            }
        };
        self.links.insert((client, node), repair);
        self.shared
            .fault(format!("{what} between client {client} and node {node}"));
        let after = millis(&mut self.rng, 50..4000);
        self.repairs.push((now + after, repair));
    }

    fn kill(&mut self, sim: &mut Sim<'_>, now: Duration) {
        let node = self.rng.usize(..self.nodes.len());
        if std::mem::replace(&mut self.nodes[node], true) {
            return;
        }
        self.shared.fault(format!("node {node} is killed"));
        self.crash(sim, node);
        let after = millis(&mut self.rng, 20..2000);
        self.repairs.push((now + after, Repair::Bounce(node)));
    }

    /// A node ends as it should: it is shut down, or its store is closed.
    fn end(&mut self, now: Duration) {
        let node = self.rng.usize(..self.nodes.len());
        if self.nodes[node] {
            return;
        }
        let Some(running) = self.shared.state().nodes[node].running.clone() else {
            return;
        };
        self.nodes[node] = true;
        match self.rng.bool() {
            true => {
                self.shared.fault(format!("node {node} is shut down"));
                running.shutdown.begin();
            }
            false => {
                self.shared
                    .fault(format!("the store of node {node} is closed"));
                running.store.close();
            }
        }
        let after = millis(&mut self.rng, 50..2000);
        self.repairs.push((now + after, Repair::Crash(node)));
    }

    fn revoke(&mut self, now: Duration) {
        let client = self.rng.usize(..self.clients);
        let is_banned = self.rng.bool();
        self.shared.fault(format!("client {client} is revoked"));
        if is_banned {
            self.shared.state().banned.insert(client as u64);
            let after = millis(&mut self.rng, 50..2000);
            self.repairs.push((now + after, Repair::Ban(client)));
        }
        for node in 0..self.nodes.len() {
            let Some(running) = self.shared.state().nodes[node].running.clone() else {
                continue;
            };
            running.source.revoke(&client.to_string());
            let mut state = self.shared.state();
            let at = state.stamp();
            let granted = state.nodes[node].granted.clone();
            for (_, connection) in granted.iter().filter(|(of, _)| *of == client as u64) {
                let connection = &mut state.history.connections[*connection];
                connection.revoked = Some(connection.revoked.map_or(at, |over| over.min(at)));
            }
            state.nodes[node]
                .granted
                .retain(|(of, _)| *of != client as u64);
        }
    }

    fn break_engine(&mut self, now: Duration) {
        let Some(engine) = self.engine.clone() else {
            return;
        };
        let far = self.rng.u64(1..8);
        let after = |rng: &mut Rng| now + millis(rng, 100..8000);
        let what = match self.rng.u32(..10) {
            0..2 => {
                engine.cut();
                "the engine cuts everybody".to_owned()
            }
            2 => {
                engine.leave();
                let after = after(&mut self.rng);
                self.repairs.push((after, Repair::Engine));
                "the engine is away".to_owned()
            }
            3 => {
                engine.mute(true);
                let after = after(&mut self.rng);
                self.repairs.push((after, Repair::Mute));
                "the engine's answers are lost".to_owned()
            }
            4 => {
                engine.hang(true);
                let after = after(&mut self.rng);
                self.repairs.push((after, Repair::Hang));
                "the engine hangs".to_owned()
            }
            5..7 => {
                // A connection never outlives the engine that it was to.
                engine.cut();
                engine.forget(far);
                format!("the engine loses {far} events")
            }
            7 => {
                self.logs.extend(log_of(&engine, false));
                engine.cut();
                engine.delete();
                "the log is deleted".to_owned()
            }
            8 => {
                engine.trim(far);
                format!("only {far} events are kept")
            }
            _ => {
                let node = self.rng.usize(..self.ways.len());
                self.ways[node].set_broken(true);
                let after = after(&mut self.rng);
                self.repairs.push((after, Repair::Way(node)));
                format!("node {node} does not reach the engine")
            }
        };
        self.shared.fault(what);
    }
}
