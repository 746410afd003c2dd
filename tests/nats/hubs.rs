//! Whole hubs on one server: several processes, clients that hop between them, and faults of
//! every kind. Held against the log itself, nothing is lost, repeated, out of order or untold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fastrand::Rng;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tornadose::backplane::{Content, Nats, Reading};
use tornadose::{
    Event, Hub, Pattern, Policy, Position, Retention, Start, Submitted, Subscribe, Subscription,
    Topic,
};

use crate::elsewhere::{History, next, read, store_here, topics};
use crate::proxy::Proxy;
use crate::server::Server;
use crate::{PATIENCE, topic};

const NAMES: [&str; 3] = ["a", "b", "c/d"];

/// What clients read.
const READ: [&[&str]; 4] = [&["a"], &["a", "b"], &["+", "c/#"], &["c/+", "b"]];

/// How many processes, clients and faults.
const HUBS: usize = 3;
const CLIENTS: usize = 6;
const FAULTS: usize = 220;

async fn hub(url: &str) -> Hub {
    let engine = Nats::new(url).expect("an address");
    let engine = engine
        .timeout(Duration::from_millis(700))
        .max_events(1_000_000);
    Hub::builder()
        .default_policy(Policy::queue(Retention::new().events(1_000_000)))
        .policy("now/#".parse().expect("a pattern"), Policy::latest())
        .open(engine)
        .await
        .expect("a server")
}

#[tokio::test]
async fn two_hubs_are_one() {
    let server = Server::start();
    let (one, two) = (hub(&server.url()).await, hub(&server.url()).await);
    let mut reader = read(&two, Start::Live, &["#"]);
    let position = store_here(&one, "a", Event::new("1")).await;
    assert_eq!(next(&mut reader).await, "1");
    store_here(&two, "now/x", "2").await;
    assert_eq!(next(&mut reader).await, "2");
    drop(reader);
    store_here(&one, "b", "3").await;
    // A third, which comes later, goes on where a client was.
    let three = hub(&server.url()).await;
    let mut reader = three.subscribe(Subscribe::default().after(position).topics(topics(&["#"])));
    assert_eq!(next(&mut reader).await, "2");
    assert_eq!(next(&mut reader).await, "3");
    let value = three.get(&topic("now/x")).expect("a value");
    assert_eq!(value.data(), "2");
}

#[tokio::test]
async fn an_event_with_a_key_is_heard_once() {
    let server = Server::start();
    let (one, two) = (hub(&server.url()).await, hub(&server.url()).await);
    let mut reader = read(&two, Start::Live, &["a"]);
    let first = store_here(&one, "a", Event::new("1").once("k")).await;
    let again = store_here(&two, "a", Event::new("1").once("k")).await;
    assert_eq!(first, again);
    store_here(&one, "a", "2").await;
    assert_eq!(
        [next(&mut reader).await, next(&mut reader).await],
        ["1", "2"]
    );
}

#[tokio::test]
async fn what_is_corrupt_is_told_and_passed() {
    let server = Server::start();
    let hub = hub(&server.url()).await;
    let (mut a, mut b) = (
        read(&hub, Start::Live, &["a"]),
        read(&hub, Start::Live, &["b"]),
    );
    let mut peer = server.peer();
    peer.publish(b"tornadose.a", None, b"from elsewhere");
    peer.publish(b"tornadose.a", None, b"\xff");
    peer.publish(
        b"tornadose.a",
        Some(b"NATS/1.0\r\nEvent: \xff\r\n\r\n"),
        b"poison",
    );
    peer.publish(b"tornadose.a", None, b"behind");
    peer.publish(b"tornadose.b", None, b"else");
    assert_eq!(next(&mut a).await, "from elsewhere");
    loop {
        match next(&mut a).await.as_str() {
            "behind" => break,
            told => assert!(told.starts_with("gap corrupt"), "{told}"),
        }
    }
    assert_eq!(next(&mut b).await, "else", "without a gap");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_lose_nothing_untold() {
    let seed = match std::env::var("TORNADOSE_SEED") {
        Ok(seed) => seed.parse().expect("a number"),
        Err(_) => fastrand::u64(..),
    };
    println!("TORNADOSE_SEED={seed}");
    let mut world = World::new(seed).await;
    for _ in 0..FAULTS {
        world.fault().await;
        // Often the next one comes in the middle of it, and sometimes all is well for a while.
        let pause = if world.rng.u8(..5) == 0 {
            600..1200
        } else {
            5..60
        };
        sleep(Duration::from_millis(world.rng.u64(pause))).await;
    }
    world.judge().await;
}

struct World {
    rng: Rng,
    server: Server,
    proxy: Proxy,
    hubs: Vec<Hub>,
    is_over: Arc<AtomicBool>,
    publishers: Vec<JoinHandle<(usize, usize)>>,
    clients: Vec<JoinHandle<Client>>,
    truth: Truth,
    /// Whether there is an old store to go back to.
    is_saved: bool,
    faults: BTreeMap<&'static str, usize>,
}

impl World {
    async fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let server = Server::start();
        let proxy = Proxy::to(server.port()).await;
        let mut hubs = Vec::new();
        for _ in 0..HUBS {
            hubs.push(hub(&proxy.url()).await);
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let publishers = (0..2).map(|who| {
            let (hub, rng, is_over) = (hubs[who].clone(), rng.fork(), Arc::clone(&is_over));
            tokio::spawn(publish(hub, rng, who, is_over))
        });
        let publishers = publishers.collect();
        let clients = (0..CLIENTS).map(|at| {
            let client = Client {
                rng: rng.fork(),
                hubs: hubs.clone(),
                names: READ[at % READ.len()],
                reader: None,
                history: History::default(),
            };
            tokio::spawn(client.follow(Arc::clone(&is_over)))
        });
        let clients = clients.collect();
        let truth = Truth::new(&server);
        Self {
            rng,
            server,
            proxy,
            hubs,
            is_over,
            publishers,
            clients,
            truth,
            is_saved: false,
            faults: BTreeMap::new(),
        }
    }

    async fn fault(&mut self) {
        let fault = match self.rng.u32(..100) {
            0..40 => {
                self.proxy.cut();
                "cut"
            }
            40..55 => {
                self.proxy.close();
                sleep(Duration::from_millis(self.rng.u64(..300))).await;
                self.proxy.open();
                "closed"
            }
            55..65 => {
                self.server.kill();
                sleep(Duration::from_millis(self.rng.u64(..100))).await;
                self.server.restart();
                "killed"
            }
            65..72 => {
                self.server.signal("-STOP");
                sleep(Duration::from_millis(self.rng.u64(..1500))).await;
                self.server.signal("-CONT");
                "stopped"
            }
            72..82 => {
                self.truth.learn().await;
                let until = self.truth.next.saturating_sub(self.rng.u64(..20));
                let purge = format!("{{\"seq\":{until}}}");
                self.server.peer().call("STREAM.PURGE.tornadose", &purge);
                "purged"
            }
            82..90 => {
                self.truth.learn().await;
                let back = self.rng.u64(1..10);
                let seq = self.truth.next.saturating_sub(back);
                let which = format!("{{\"seq\":{seq}}}");
                self.server
                    .peer()
                    .call("STREAM.MSG.DELETE.tornadose", &which);
                "holed"
            }
            90..93 => {
                self.server.peer().call("STREAM.DELETE.tornadose", "");
                self.is_saved = false;
                "deleted"
            }
            93..97 => {
                self.server.save();
                self.server.restart();
                self.is_saved = true;
                "killed"
            }
            _ if self.is_saved => {
                self.proxy.close();
                self.server.restore();
                self.server.restart();
                self.truth.learn().await;
                self.proxy.open();
                "restored"
            }
            _ => {
                self.server.wipe();
                self.server.restart();
                "wiped"
            }
        };
        *self.faults.entry(fault).or_default() += 1;
    }

    async fn judge(mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let (mut stored, mut unknown) = (0, 0);
        for publisher in self.publishers.drain(..) {
            let (one, other) = publisher.await.expect("no panic");
            (stored, unknown) = (stored + one, unknown + other);
        }
        // Everything works again, and everybody reads to the end.
        let deadline = Instant::now() + PATIENCE;
        while !self.hubs.iter().all(Hub::is_available) {
            assert!(Instant::now() < deadline, "a hub does not come back");
            sleep(Duration::from_millis(20)).await;
        }
        let mut last = BTreeMap::new();
        for name in NAMES.into_iter().chain(["now/0", "now/1"]) {
            last.insert(name, self.end(name).await);
        }
        for hub in &self.hubs {
            for position in last.values() {
                timeout(PATIENCE, hub.reached(*position))
                    .await
                    .expect("it is read");
            }
        }
        self.truth.learn().await;
        let truth = self.truth.all();
        for name in ["now/0", "now/1"] {
            for hub in &self.hubs {
                let value = hub.get(&topic(name)).expect("a value");
                assert_eq!(value.data(), "last");
            }
        }
        let (mut events, mut gaps) = (0, 0);
        for (at, client) in self.clients.drain(..).enumerate() {
            let mut client = client.await.expect("no panic");
            let end = NAMES.iter().filter(|name| client.wants(&topic(name)));
            let end = end.map(|name| last[name].offset()).max().expect("a topic");
            client.finish(end).await;
            let judged = client.history.judge(&truth, |topic| client.wants(topic));
            if let Err(wrong) = judged {
                panic!(
                    "client {at} of {:?}: {wrong}\nthe log: {:?}",
                    client.names,
                    &truth[truth.len().saturating_sub(50)..]
                );
            }
            events += client.history.events();
            gaps += client.history.gaps();
        }
        println!(
            "{:?}: {stored} stored, {unknown} unknown, {events} heard, {gaps} gaps",
            self.faults
        );
        assert!(stored > 1000 && events > 1000 && gaps > 0);
    }

    /// The last event of a topic, stored as soon as that is possible.
    async fn end(&self, name: &str) -> Position {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let event = Event::new("last")
                .topic(topic(name))
                .once(format!("last of {name}"));
            let submitted = self.hubs[0].submit(event).expect("there is room");
            match timeout(PATIENCE, submitted).await.expect("an answer") {
                Ok(position) => return position,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
        }
    }
}

/// Submits, with many on their way at a time.
async fn publish(hub: Hub, mut rng: Rng, who: usize, is_over: Arc<AtomicBool>) -> (usize, usize) {
    let (mut stored, mut unknown) = (0, 0);
    let mut number = 0;
    while !is_over.load(Ordering::Relaxed) {
        let mut waiting: Vec<Submitted> = Vec::new();
        for _ in 0..rng.usize(1..6) {
            number += 1;
            let name = match rng.usize(..NAMES.len() + 1) {
                at if at < NAMES.len() => NAMES[at].to_owned(),
                _ => format!("now/{}", rng.u8(..2)),
            };
            let event = Event::new(format!("{who}.{number}")).topic(topic(&name));
            waiting.extend(hub.submit(event));
        }
        for submitted in waiting {
            match submitted.await {
                Ok(_) => stored += 1,
                Err(tornadose::SubmitError::Unknown(_)) => unknown += 1,
                Err(_) => {}
            }
        }
        sleep(Duration::from_millis(rng.u64(..8))).await;
    }
    (stored, unknown)
}

struct Client {
    rng: Rng,
    hubs: Vec<Hub>,
    names: &'static [&'static str],
    reader: Option<Subscription>,
    history: History,
}

impl Client {
    async fn follow(mut self, is_over: Arc<AtomicBool>) -> Self {
        while !is_over.load(Ordering::Relaxed) {
            self.connect();
            let until = Instant::now() + Duration::from_millis(self.rng.u64(..400));
            self.read(|_| false, until).await;
            self.reader = None;
        }
        self
    }

    fn connect(&mut self) {
        let hub = &self.hubs[self.rng.usize(..self.hubs.len())];
        let mut subscribe = Subscribe::from(Start::Oldest).topics(topics(self.names));
        let id = self.history.last_event_id();
        if let Some(id) = id {
            subscribe = subscribe.after(id);
        }
        let reader = hub.subscribe(subscribe);
        if id.is_none() {
            let Some(begins) = reader.position() else {
                return;
            };
            self.history.begin(begins.offset());
        }
        self.reader = Some(reader);
    }

    async fn read(&mut self, is_enough: impl Fn(&History) -> bool, until: Instant) {
        while let Some(reader) = &mut self.reader {
            match tokio::time::timeout_at(until, reader.recv()).await {
                Ok(Some(delivery)) => self.history.hear(&delivery),
                Ok(None) => {
                    // Sent away, as a browser is: it comes back.
                    self.reader = None;
                    sleep(Duration::from_millis(20)).await;
                    return;
                }
                Err(_) => return,
            }
            if is_enough(&self.history) {
                return;
            }
        }
        sleep(Duration::from_millis(20)).await;
    }

    /// Reads up to this offset.
    async fn finish(&mut self, end: u64) {
        let deadline = Instant::now() + PATIENCE;
        let is_there =
            |history: &History| history.last_event_id().is_some_and(|id| id.offset() >= end);
        // A gap may have gone beyond it without a word of what comes then.
        loop {
            self.connect();
            let until = Instant::now() + Duration::from_millis(500);
            self.read(is_there, until).await;
            self.reader = None;
            if is_there(&self.history) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "a stall: {:?}, not {end}",
                self.history.last_event_id()
            );
        }
    }

    fn wants(&self, topic: &Topic) -> bool {
        let mut names = self.names.iter();
        names.any(|name| Pattern::new(*name).expect("a pattern").matches(topic))
    }
}

/// What the log is, and was before it let go of it.
struct Truth {
    engine: Nats,
    epoch: u64,
    next: u64,
    log: BTreeMap<u64, (Position, Topic, String)>,
}

impl Truth {
    fn new(server: &Server) -> Self {
        Self {
            engine: Nats::new(server.url()).expect("an address"),
            epoch: 0,
            next: 1,
            log: BTreeMap::new(),
        }
    }

    async fn learn(&mut self) {
        let mut reading: Box<dyn Reading> = crate::reopen(&self.engine).await;
        let window = crate::window(&mut *reading).await;
        if window.epoch != self.epoch {
            self.log.clear();
            self.epoch = window.epoch;
        }
        self.next = window.next;
        self.log.retain(|offset, _| *offset < window.next);
        for record in crate::all(&mut *reading, window.oldest).await {
            if let Content::Event(topic, event) = &record.content {
                let entry = (record.position, topic.clone(), event.data().to_owned());
                self.log.insert(record.position.offset(), entry);
                self.next = self.next.max(record.position.offset() + 1);
            }
        }
    }

    fn all(&self) -> Vec<(Position, Topic, String)> {
        self.log.values().cloned().collect()
    }
}
