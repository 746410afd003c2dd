//! Whole hubs on a real server: several processes' worth of them, clients that hop between
//! them in the middle of a stream, and everything that a server loses. What each client was
//! told is held against the stream, as another reader finds it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fastrand::Rng;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tornadose::{Event, Hub, Policy, Position, Retention, Start, SubmitError, Subscribe, Topic};

use crate::elsewhere::{History, topics};
use crate::follower::parts;
use crate::server::{Reply, Server, until};
use crate::words::*;

const NAMES: [&str; 3] = ["a", "b", "c/d"];
const READ: [&[&str]; 4] = [&["a"], &["a", "b"], &["#"], &["c/+", "b"]];
const NODES: usize = 3;

/// Everything that ever had a place in the log that there is, also what has been trimmed.
#[derive(Default)]
struct Truth {
    epoch: u64,
    log: BTreeMap<u64, (Position, Topic, String)>,
}

impl Truth {
    /// `entries`: what `XRANGE` has said.
    fn learn(&mut self, entries: Reply) {
        for (at, entry) in entries.list().into_iter().enumerate() {
            let mut entry = entry.list().into_iter();
            let (id, fields) = entry.next().zip(entry.next()).expect("an entry");
            let (epoch, offset) = parts(&id.text());
            if epoch != self.epoch {
                *self = Self {
                    epoch,
                    log: BTreeMap::new(),
                };
            }
            if at == 0 {
                self.log.split_off(&offset);
            }
            let fields: Vec<_> = fields.list().into_iter().map(Reply::text).collect();
            let field = |name: &str| {
                let at = fields.iter().step_by(2).position(|field| field == name);
                fields[at.expect("a field") * 2 + 1].clone()
            };
            let tag = u32::from_str_radix(&field("tag"), 16).expect("a tag");
            let position = Position::tagged(epoch, offset, tag);
            self.log
                .insert(offset, (position, topic(&field("topic")), field("data")));
        }
    }

    fn all(&self) -> Vec<(Position, Topic, String)> {
        self.log.values().cloned().collect()
    }
}

async fn hub(server: &[&Server]) -> Hub {
    let mut redis = server[0].redis().timeout(Duration::from_secs(2));
    for other in &server[1..] {
        redis = redis.or_at(&other.url()).expect("a URL");
    }
    let queue = Policy::queue(Retention::new().events(1_000_000).bytes(1 << 30));
    let builder = Hub::builder().default_policy(queue);
    builder.open(redis).await.expect("a hub")
}

/// What has become of an event that somebody submitted.
type Outcome = (String, Result<Position, SubmitError>);

struct World {
    hubs: Arc<[Hub]>,
    is_over: Arc<AtomicBool>,
    publishers: Vec<JoinHandle<Vec<Outcome>>>,
    clients: Vec<JoinHandle<(History, &'static [&'static str])>>,
}

impl World {
    async fn new(servers: &[&Server], seed: u64, pause: Duration) -> Self {
        let mut hubs = Vec::new();
        for _ in 0..NODES {
            hubs.push(hub(servers).await);
        }
        let hubs: Arc<[Hub]> = hubs.into();
        let is_over = Arc::new(AtomicBool::new(false));
        let publishers = (0..2).map(|n| {
            let (hub, is_over) = (hubs[n].clone(), Arc::clone(&is_over));
            tokio::spawn(publish(hub, n, pause, is_over))
        });
        let publishers = publishers.collect();
        let clients = (0..6).map(|n| {
            let (hubs, is_over) = (Arc::clone(&hubs), Arc::clone(&is_over));
            let rng = Rng::with_seed(seed * 100 + n as u64);
            tokio::spawn(client(hubs, READ[n % READ.len()], rng, is_over))
        });
        let clients = clients.collect();
        Self {
            hubs,
            is_over,
            publishers,
            clients,
        }
    }

    /// Lets everybody come to the end, and judges what they were told.
    async fn judge(self, server: &Server, mut truth: Truth) -> (Vec<Outcome>, Truth, usize, usize) {
        self.is_over.store(true, Ordering::Relaxed);
        let mut outcomes = Vec::new();
        for publisher in self.publishers {
            outcomes.extend(publisher.await.expect("no panic"));
        }
        // There is an end to be read to, in each topic.
        for name in NAMES {
            let end = Instant::now() + Duration::from_secs(60);
            loop {
                let event = Event::new("last").topic(topic(name));
                if self.hubs[0].submit(event).expect("room").await.is_ok() {
                    break;
                }
                assert!(Instant::now() < end, "never stored");
                sleep(MOMENT).await;
            }
        }
        let (mut events, mut gaps, mut told) = (0, 0, Vec::new());
        for client in self.clients {
            let (history, names) = client.await.expect("no panic");
            events += history.events();
            gaps += history.gaps();
            told.push((history, names));
        }
        truth.learn(server.ask(&["XRANGE", KEY, "-", "+"]));
        let all = truth.all();
        for (n, (history, names)) in told.into_iter().enumerate() {
            let wants = |topic: &Topic| {
                names.iter().any(|name| {
                    name.parse::<tornadose::Pattern>()
                        .expect("a pattern")
                        .matches(topic)
                })
            };
            if let Err(wrong) = history.judge(&all, wants) {
                panic!("client {n} of {names:?}: {wrong}");
            }
        }
        (outcomes, truth, events, gaps)
    }
}

async fn publish(hub: Hub, who: usize, pause: Duration, is_over: Arc<AtomicBool>) -> Vec<Outcome> {
    let mut rng = Rng::with_seed(who as u64);
    let mut waiting = Vec::new();
    let mut number = 0;
    while !is_over.load(Ordering::Relaxed) {
        for _ in 0..rng.usize(1..5) {
            number += 1;
            let data = format!("{who}-{number}");
            let event = Event::new(&data).topic(topic(NAMES[rng.usize(..NAMES.len())]));
            let submitted = hub.submit(event).expect("room");
            waiting.push((data, tokio::spawn(submitted.into_future())));
        }
        sleep(pause).await;
    }
    let mut outcomes = Vec::new();
    for (data, submitted) in waiting {
        outcomes.push((data, submitted.await.expect("no panic")));
    }
    outcomes
}

/// Hops from node to node, until everything is over and it has come to the last event.
async fn client(
    hubs: Arc<[Hub]>,
    names: &'static [&'static str],
    mut rng: Rng,
    is_over: Arc<AtomicBool>,
) -> (History, &'static [&'static str]) {
    let mut history = History::default();
    let end = Instant::now() + Duration::from_secs(300);
    loop {
        assert!(Instant::now() < end, "a client does not come to an end");
        let hub = &hubs[rng.usize(..hubs.len())];
        let mut subscribe = Subscribe::from(Start::Oldest).topics(topics(names));
        let id = history.last_event_id();
        if let Some(id) = id {
            subscribe = subscribe.after(id);
        }
        let mut reader = hub.subscribe(subscribe);
        if id.is_none()
            && let Some(begins) = reader.position()
        {
            history.begin(begins.offset());
        }
        let last = is_over.load(Ordering::Relaxed);
        for _ in 0..if last { usize::MAX } else { rng.usize(1..200) } {
            let patience = if last { 4000 } else { rng.u64(1..300) };
            match timeout(Duration::from_millis(patience), reader.recv()).await {
                Ok(Some(delivery)) => history.hear(&delivery),
                Ok(None) => {
                    sleep(Duration::from_millis(20)).await;
                    break;
                }
                // Nothing more comes, from a hub that is there.
                Err(_) if last && hub.is_available() => return (history, names),
                Err(_) => break,
            }
        }
    }
}

/// Nothing is lost: nobody is told a gap, and everybody everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_order_everywhere() {
    let mut server = Server::durable();
    let world = World::new(&[&server], 1, Duration::from_millis(10)).await;
    let mut rng = Rng::with_seed(1);
    for _ in 0..60 {
        match rng.usize(..4) {
            0 | 1 => drop(server.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])),
            2 => {
                let mut client = server.client();
                let sleeping =
                    tokio::task::spawn_blocking(move || client.ask(&["DEBUG", "SLEEP", "0.2"]));
                sleeping.await.expect("it slept");
            }
            _ => {
                server.kill();
                sleep(Duration::from_millis(rng.u64(..100))).await;
                server.again();
            }
        }
        sleep(Duration::from_millis(rng.u64(1..300))).await;
    }
    let (outcomes, truth, events, gaps) = world.judge(&server, Truth::default()).await;
    println!("{} submitted, {events} told, {gaps} gaps", outcomes.len());
    assert_eq!(gaps, 0);
    assert!(events > 3000);
    // What is said to be stored is, once; what is said not to be is not.
    let mut stored: BTreeMap<&str, Vec<Position>> = BTreeMap::new();
    for (position, _, data) in truth.log.values() {
        stored.entry(data).or_default().push(*position);
    }
    for (data, outcome) in &outcomes {
        let places = stored.get(&**data).map_or(&[][..], |places| places);
        match outcome {
            Ok(position) => assert_eq!(places, [*position], "{data}"),
            Err(SubmitError::Unknown(_)) => assert!(places.len() <= 1, "{data}"),
            Err(_) => assert!(places.is_empty(), "{data}"),
        }
    }
    assert!(truth.log.keys().copied().eq(1..=truth.log.len() as u64));
}

/// Everything that can be lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_loss_is_told() {
    let mut sum = [0; 3];
    for seed in 0..3 {
        let mut server = Server::with(&[
            "--appendonly",
            "yes",
            "--appendfsync",
            "no",
            "--aof-load-truncated",
            "yes",
        ]);
        let world = World::new(&[&server], seed, Duration::from_millis(10)).await;
        let mut rng = Rng::with_seed(seed);
        let mut truth = Truth::default();
        for _ in 0..30 {
            match rng.usize(..8) {
                0 => drop(server.ask(&["FLUSHALL"])),
                1 => drop(server.ask(&["DEL", KEY])),
                2..5 => {
                    // At once, or what comes between would be missing in what is true.
                    let mut client = server.client();
                    client.ask(&["MULTI"]);
                    client.ask(&["XRANGE", KEY, "-", "+"]);
                    client.ask(&["XTRIM", KEY, "MAXLEN", &rng.usize(..5).to_string()]);
                    let told = client.ask(&["EXEC"]).list().into_iter().next();
                    truth.learn(told.expect("a range"));
                }
                5 => {
                    server.kill();
                    server.forget();
                    server.again();
                }
                6 => {
                    server.kill();
                    server.cut(rng.u64(1..2000));
                    server.again();
                    // Or another start brings back, from the same file, what this one has
                    // given up, in place of what was stored since under its number.
                    server.ask(&["BGREWRITEAOF"]);
                    until("written anew", || {
                        let told = server.ask(&["INFO", "persistence"]).flat();
                        told.contains("aof_rewrite_in_progress:0")
                            && told.contains("aof_rewrite_scheduled:0")
                    })
                    .await;
                }
                _ => drop(server.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])),
            }
            sleep(Duration::from_millis(rng.u64(1..1500))).await;
        }
        let (outcomes, _, events, gaps) = world.judge(&server, truth).await;
        sum = [sum[0] + outcomes.len(), sum[1] + events, sum[2] + gaps];
    }
    println!("{} submitted, {} told, {} gaps", sum[0], sum[1], sum[2]);
    assert!(sum[1] > 1000 && sum[2] > 100);
}

/// Replicas that were behind become primaries, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failover_loses_is_told() {
    let args = ["--repl-diskless-sync-delay", "0"];
    let (mut primary, mut replica) = (Server::with(&args), Server::with(&args));
    let world = World::new(&[&primary, &replica], 5, Duration::from_millis(10)).await;
    let mut rng = Rng::with_seed(5);
    for _ in 0..15 {
        replica.ask(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()]);
        until("in sync", || {
            replica
                .ask(&["INFO", "replication"])
                .flat()
                .contains("master_link_status:up")
        })
        .await;
        sleep(Duration::from_millis(rng.u64(1..1000))).await;
        replica.ask(&[
            "REPLICAOF",
            "127.0.0.1",
            &crate::server::free_port().to_string(),
        ]);
        // It is behind by what comes now, or by hardly anything.
        sleep(Duration::from_millis(rng.u64(..400))).await;
        primary.kill();
        replica.ask(&["REPLICAOF", "NO", "ONE"]);
        sleep(Duration::from_millis(rng.u64(1..1000))).await;
        primary.again();
        std::mem::swap(&mut primary, &mut replica);
    }
    let (outcomes, _, events, gaps) = world.judge(&primary, Truth::default()).await;
    println!("{} submitted, {events} told, {gaps} gaps", outcomes.len());
    assert!(events > 1000 && gaps > 0);
}

/// The newest values are there whatever has been trimmed, whoever has appended them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_outlive_the_log_and_the_process() {
    let server = Server::start();
    let open = async || {
        let rule = "value/#".parse().expect("a pattern");
        let builder = Hub::builder().policy(rule, Policy::latest());
        let redis = server.redis().max_events(100);
        builder.open(redis).await.expect("a hub")
    };
    let hub = open().await;
    let submit = async |name: &str, event: Event| {
        let submitted = hub.submit(event.topic(topic(name))).expect("room");
        submitted.await.expect("stored")
    };
    submit("value/a", Event::new("old")).await;
    let first = submit("value/a", Event::new("ours").once("key")).await;
    server.ask(&["XADD", KEY, "*", "topic", "value/b", "data", "theirs"]);
    server.ask(&[
        "XADD", KEY, "*", "topic", "value/b", "data", "}", "json", "1", "event", "gap",
    ]);
    let mut last = first;
    for n in 0..1000 {
        last = submit("a", Event::new(n.to_string())).await;
    }
    // Sent again it is not stored again, and is no newer value.
    assert_eq!(
        submit("value/a", Event::new("other").once("key")).await,
        first
    );
    for hub in [&hub, &open().await] {
        assert!(hub.reached(last).await);
        let value = |name: &str| hub.get(&topic(name)).map(|entry| entry.data().to_owned());
        assert_eq!(value("value/a"), Some("ours".to_owned()));
        assert_eq!(value("value/b"), Some("theirs".to_owned()));
        assert_eq!(value("a"), Some("999".to_owned()));
        assert_eq!(
            hub.get(&topic("value/a")).map(|entry| entry.id()),
            Some(first)
        );
    }
    assert!(server.stream(KEY).len() < 400);
}
