//! Random histories: processes, clients that hop between them, and an engine that loses
//! connections, ends, beginnings and everything. Each is one seed and can be run again.

use std::collections::HashMap;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::{sleep, timeout};
use tornadose::{Delivery, Entry, Hub, Policy, Retention, Start, Subscribe, Subscription, Topic};

use crate::elsewhere::{History, topic, topics};
use crate::engine::{Engine, event};

/// How many histories, and of how many steps.
const SEEDS: u64 = 400;
const STEPS: usize = 120;

const NAMES: [&str; 3] = ["a", "b", "c/d"];

/// Topics of which the newest event alone counts.
const VALUES: [&str; 2] = ["v/1", "v/2"];

/// What clients read.
const READ: [&[&str]; 6] = [
    &["a"],
    &["a", "b"],
    &["#"],
    &["c/+", "b"],
    &["v/+"],
    &["a", "v/1", "c/d"],
];

#[test]
fn nothing_is_lost_untold_or_told_twice() {
    let (mut events, mut gaps, mut faults) = (0, 0, 0);
    for seed in seeds() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let told = runtime.block_on(history(seed));
        let told = told.unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
        events += told.events;
        gaps += told.gaps;
        faults += told.faults;
    }
    println!("{events} events, {gaps} gaps, {faults} faults");
    assert!(events > 1000 && gaps > 100 && faults > 1000);
}

/// Those of `TORNADOSE_SEEDS`, such as `17` or `0..100000`, or as many as there is time for.
fn seeds() -> std::ops::Range<u64> {
    let Ok(seeds) = std::env::var("TORNADOSE_SEEDS") else {
        return 0..SEEDS;
    };
    let number = |text: &str| text.parse::<u64>().expect("a number");
    match seeds.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => number(&seeds)..number(&seeds) + 1,
    }
}

fn is_value(topic: &Topic) -> bool {
    VALUES.contains(&topic.as_str())
}

struct Sum {
    events: usize,
    gaps: usize,
    faults: usize,
}

struct World {
    rng: Rng,
    engine: Engine,
    hubs: Vec<Hub>,
    clients: Vec<Client>,
    submitted: usize,
    faults: usize,
}

struct Client {
    names: &'static [&'static str],
    reader: Option<Subscription>,
    history: History,
    /// What it was told last of each of the values.
    values: HashMap<String, String>,
}

async fn history(seed: u64) -> Result<Sum, String> {
    let mut rng = Rng::with_seed(seed);
    let engine = Engine::of(if rng.bool() { 40 } else { 10_000 });
    let mut world = World {
        hubs: Vec::new(),
        clients: Vec::new(),
        submitted: 0,
        faults: 0,
        rng,
        engine,
    };
    for _ in 0..world.rng.usize(1..=3) {
        let hub = world.open().await;
        world.hubs.push(hub);
    }
    for _ in 0..world.rng.usize(2..=5) {
        let names = READ[world.rng.usize(..READ.len())];
        world.clients.push(Client {
            names,
            reader: None,
            history: History::default(),
            values: HashMap::new(),
        });
    }
    for _ in 0..STEPS {
        world.step().await;
    }
    world.settle().await?;
    world.judge()
}

impl World {
    async fn open(&mut self) -> Hub {
        let events = *self.rng.choice([5, 1000].iter()).expect("some");
        loop {
            let hub = Hub::builder()
                .default_policy(Policy::queue(Retention::new().events(events)))
                .policy("v/+".parse().expect("a pattern"), Policy::latest())
                .patience(Duration::from_secs(self.rng.u64(1..20)));
            match hub.open(self.engine.clone()).await {
                Ok(hub) => return hub,
                Err(_) => self.engine.come_back(),
            }
        }
    }

    async fn step(&mut self) {
        match self.rng.u32(..100) {
            0..40 => self.submit().await,
            40..65 => self.read().await,
            65..72 => self.leave(),
            72..80 => sleep(Duration::from_millis(self.rng.u64(1..3000))).await,
            80..82 => {
                let at = self.rng.usize(..self.hubs.len());
                self.hubs[at] = self.open().await;
            }
            _ => self.fail().await,
        }
    }

    async fn submit(&mut self) {
        let hub = &self.hubs[self.rng.usize(..self.hubs.len())];
        let mut waiting = Vec::new();
        for _ in 0..self.rng.usize(1..6) {
            let name = match self.rng.usize(..4) {
                0 => VALUES[self.rng.usize(..VALUES.len())],
                _ => NAMES[self.rng.usize(..NAMES.len())],
            };
            self.submitted += 1;
            let event = event(name, self.submitted.to_string());
            waiting.extend(hub.submit(event));
        }
        if self.rng.bool() {
            for submitted in waiting {
                let _ = submitted.await;
            }
        }
    }

    /// A client reads, if there is something; or connects to any process.
    async fn read(&mut self) {
        let hub = self.hubs[self.rng.usize(..self.hubs.len())].clone();
        let at = self.rng.usize(..self.clients.len());
        let most = self.rng.usize(1..20);
        self.clients[at].read(&hub, most).await;
    }

    fn leave(&mut self) {
        let at = self.rng.usize(..self.clients.len());
        self.clients[at].reader = None;
    }

    async fn fail(&mut self) {
        self.faults += 1;
        match self.rng.u32(..12) {
            0..3 => self.engine.cut(),
            3 => {
                self.engine.leave();
                sleep(Duration::from_millis(self.rng.u64(1..40_000))).await;
                self.engine.come_back();
            }
            4 => self.engine.mute(true),
            5 => self.engine.mute(false),
            6..9 => {
                // A connection never outlives the engine that it was to.
                self.engine.cut();
                self.engine.forget(self.rng.u64(1..8));
            }
            9 => {
                self.engine.cut();
                self.engine.delete();
            }
            _ => self.engine.trim(self.rng.u64(0..10)),
        }
    }

    /// Everything works again, and everybody reads to the end.
    async fn settle(&mut self) -> Result<(), String> {
        self.engine.come_back();
        self.engine.mute(false);
        self.engine.fill(false);
        sleep(Duration::from_secs(60)).await;
        // There is an end to be read to, in each topic.
        for name in NAMES.into_iter().chain(VALUES) {
            let last = self.hubs[0].submit(event(name, "last"));
            let last = last.map_err(|error| error.to_string())?.await;
            last.map_err(|error| format!("the last one: {error}"))?;
        }
        sleep(Duration::from_secs(10)).await;
        for at in 0..self.clients.len() {
            let hub = self.hubs[self.rng.usize(..self.hubs.len())].clone();
            let client = &mut self.clients[at];
            for _ in 0..5 {
                client.read(&hub, usize::MAX).await;
                // An id that is ahead is judged when the engine has been looked at again.
                sleep(Duration::from_secs(3)).await;
            }
            if client.reader.is_none() {
                return Err("a client is not let in".into());
            }
        }
        Ok(())
    }

    fn judge(&self) -> Result<Sum, String> {
        let truth = self.engine.truth();
        let mut sum = Sum {
            events: 0,
            gaps: 0,
            faults: self.faults,
        };
        for (at, client) in self.clients.iter().enumerate() {
            let lossless = |topic: &Topic| client.wants(topic) && !is_value(topic);
            let judged = client.history.judge(&truth, lossless);
            judged.map_err(|wrong| format!("client {at} of {:?}: {wrong}", client.names))?;
            for name in VALUES.into_iter().filter(|name| client.wants(&topic(name))) {
                if client.values.get(name).is_none_or(|value| value != "last") {
                    return Err(format!("client {at} has {:?}", client.values.get(name)));
                }
            }
            sum.events += client.history.events();
            sum.gaps += client.history.gaps();
        }
        Ok(sum)
    }
}

impl Client {
    fn wants(&self, topic: &Topic) -> bool {
        self.names.iter().any(|pattern| {
            let pattern: tornadose::Pattern = pattern.parse().expect("a pattern");
            pattern.matches(topic)
        })
    }

    fn hear(&mut self, delivery: &Delivery) {
        match delivery.event().and_then(Entry::topic) {
            Some(topic) if is_value(topic) => {
                let value = delivery.event().expect("an event").data().to_owned();
                self.values.insert(topic.as_str().to_owned(), value);
                // Its id may be what the client comes back with.
                self.history.note(delivery);
            }
            _ => self.history.hear(delivery),
        }
    }

    /// Reads so many at most of what there is now.
    async fn read(&mut self, hub: &Hub, most: usize) {
        if self.reader.is_none() {
            let mut subscribe = Subscribe::from(Start::Oldest).topics(topics(self.names));
            match self.history.last_event_id() {
                Some(id) => subscribe = subscribe.after(id),
                None => {
                    let reader = hub.subscribe(subscribe);
                    // Where its first event is, or what comes next.
                    let Some(begins) = reader.position() else {
                        return;
                    };
                    self.history.begin(begins.offset());
                    self.reader = Some(reader);
                    return;
                }
            }
            self.reader = Some(hub.subscribe(subscribe));
        }
        for _ in 0..most {
            let Some(reader) = &mut self.reader else {
                return;
            };
            match timeout(Duration::from_millis(1), reader.recv()).await {
                Ok(Some(delivery)) => self.hear(&delivery),
                Ok(None) => self.reader = None,
                Err(_) => return,
            }
        }
    }
}
