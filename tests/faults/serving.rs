//! The server, from inside: three stores, who submits to them, and a port.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tornadose::backplane::Durable;
use tornadose::{
    EventSource, Hub, HubBuilder, Pattern, Permit, Policy, QueueStore, Refusal, Retention,
    Shutdown, Submitted, Topic, Topics,
};

use crate::matter::{Journal, Kept, SMALL, Uid, VALUE};

/// Tells the server which one it is: `<life> <directory>`.
pub(crate) const SERVE: &str = "TORNADOSE_TEST_FAULTS_SERVE";

pub(crate) const KEEP_ALIVE: Duration = Duration::from_millis(300);

/// What is kept: little enough that slow readers are overtaken.
pub(crate) const QUEUE: usize = 4_000;
const TOPIC: usize = 1_000;
const FEW: usize = 40;
const IN_FILE: usize = 20_000;

/// So many submit to each store.
const PUBLISHERS: u64 = 2;

/// How long connections may take to end.
const GRACE: Duration = Duration::from_secs(3);

/// A client that is silent for so long has not asked.
const HEAD_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct Stores {
    queue: QueueStore,
    hub: Hub,
    durable: Hub,
}

/// The three handlers, each for both protocols.
#[derive(Clone)]
struct Handlers(Vec<(Kept, EventSource)>);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the server, which the other tests start"]
async fn serve() {
    let Ok(told) = std::env::var(SERVE) else {
        return;
    };
    let (life, directory) = told.split_once(' ').expect("a life and a directory");
    let life: u64 = life.parse().expect("a number");
    let directory = PathBuf::from(directory);
    hide_panics_that_are_meant();

    let sigterm = signal(SignalKind::terminate()).expect("a signal");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let stores = Stores {
        queue: QueueStore::builder()
            .retention(Retention::new().events(QUEUE))
            .build(),
        hub: policies(Hub::builder()).build(),
        durable: {
            let engine = durable(&directory).open().await.expect("a log");
            assert_eq!(engine.set_aside(), None, "nothing is broken");
            policies(Hub::builder()).open(engine).await.expect("a hub")
        },
    };
    let shutdown = Shutdown::new();
    let handlers = Handlers::new(&stores, &shutdown);
    let publishing = Arc::new(Publishing::new(life, directory));
    publishing.start(&stores);
    println!("listening on {address}");
    tokio::spawn(obey(stores, handlers.clone(), publishing));

    let app = handlers.router();
    match Serves::of(life) {
        Serves::Ours => {
            let server = tornadose::Server::new(listener);
            ours(server, app, sigterm, &shutdown).await;
        }
        Serves::OursDetached => {
            let server = tornadose::Server::new(listener).detached();
            ours(server, app, sigterm, &shutdown).await;
        }
        Serves::Hyper => {
            let listener = tornadose::Listener::new(listener);
            accept(listener, app, sigterm, &shutdown).await;
        }
    }
    let ended = timeout(GRACE, shutdown.ended()).await;
    println!("ended {}", if ended.is_ok() { "all" } else { "some" });
}

pub(crate) fn durable(directory: &Path) -> tornadose::backplane::DurableBuilder {
    Durable::builder(directory.join("log")).retention(Retention::new().events(IN_FILE))
}

fn policies(hub: HubBuilder) -> HubBuilder {
    let queue = |events| Policy::queue(Retention::new().events(events));
    hub.policy(VALUE.parse().expect("a pattern"), Policy::latest())
        .policy(SMALL.parse().expect("a pattern"), queue(FEW))
        .default_policy(queue(TOPIC))
}

fn hide_panics_that_are_meant() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<&str>() != Some(&MEANT) {
            hook(info);
        }
    }));
}

const MEANT: &str = "this is a fault";

// ---------------------------------------------------------------------------
// The port
// ---------------------------------------------------------------------------

impl Handlers {
    fn new(stores: &Stores, shutdown: &Shutdown) -> Self {
        let finish = |events: EventSource| {
            events
                .keep_alive(KEEP_ALIVE)
                .farewell(Duration::from_millis(100)..=Duration::from_millis(300))
                .shutdown(shutdown)
        };
        let topics = |hub: &Hub| {
            EventSource::new(hub.clone()).permit(|request| {
                let mut topics = Topics::new();
                for name in request.queries("topic") {
                    topics = topics.topic(Topic::new(name).map_err(|_| Refusal::NOT_FOUND)?);
                }
                for name in request.queries("pattern") {
                    topics = topics.pattern(Pattern::new(name).map_err(|_| Refusal::NOT_FOUND)?);
                }
                Ok(Permit::new().topics(topics))
            })
        };
        let queue = EventSource::new(stores.queue.clone()).permit(|request| {
            if request.query("panic").is_some() {
                std::panic::panic_any(MEANT);
            }
            Ok(Permit::new())
        });
        Self(vec![
            (Kept::Queue, finish(queue)),
            (Kept::Hub, finish(topics(&stores.hub))),
            (Kept::Durable, finish(topics(&stores.durable))),
        ])
    }

    fn router(&self) -> Router {
        self.0.iter().fold(Router::new(), |app, (store, events)| {
            let sockets = events.websocket().ping(2 * KEEP_ALIVE);
            app.route_service(&format!("/{}", store.name()), events.clone())
                .route_service(&format!("/{}/socket", store.name()), sockets)
        })
    }

    fn streams(&self) -> usize {
        self.0.iter().map(|(_, events)| events.streams()).sum()
    }
}

/// What serves, in turns.
enum Serves {
    Ours,
    OursDetached,
    /// By hand.
    Hyper,
}

impl Serves {
    fn of(life: u64) -> Self {
        match life % WAYS {
            0 => Self::Ours,
            1 => Self::OursDetached,
            _ => Self::Hyper,
        }
    }
}

/// After so many lives it is the same again.
pub(crate) const WAYS: u64 = 3;

async fn ours(server: tornadose::Server, app: Router, mut sigterm: Signal, shutdown: &Shutdown) {
    let begins = shutdown.clone();
    tokio::spawn(async move {
        sigterm.recv().await;
        begins.begin();
    });
    let server = server
        .shutdown(shutdown)
        .grace(GRACE)
        .header_timeout(HEAD_TIMEOUT);
    match server.serve(app).await {
        // Those who do not read, or cannot be reached, are cut off.
        Ok(()) | Err(tornadose::ServeError::CutOff(..)) => {}
        Err(error) => panic!("{error}"),
    }
}

async fn accept(
    mut listener: impl Listener,
    app: Router,
    mut sigterm: Signal,
    shutdown: &Shutdown,
) {
    let mut server = auto::Builder::new(TokioExecutor::new()).http1_only();
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    let connections = GracefulShutdown::new();
    loop {
        let (io, _) = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = sigterm.recv() => break,
        };
        let app = TowerToHyperService::new(app.clone());
        let connection = server.serve_connection_with_upgrades(TokioIo::new(io), app);
        tokio::spawn(connections.watch(connection.into_owned()));
    }
    drop(listener);
    shutdown.begin();
    let _ = timeout(GRACE, connections.shutdown()).await;
}

// ---------------------------------------------------------------------------
// Who submits
// ---------------------------------------------------------------------------

struct Publishing {
    life: u64,
    directory: PathBuf,
    is_paused: watch::Sender<bool>,
    /// Who has stopped because of that, for now.
    resting: AtomicU64,
    /// How many events the next lot has besides.
    burst: AtomicU64,
    panics: AtomicU64,
}

impl Publishing {
    fn new(life: u64, directory: PathBuf) -> Self {
        Self {
            life,
            directory,
            is_paused: watch::Sender::new(false),
            resting: AtomicU64::new(0),
            burst: AtomicU64::new(0),
            panics: AtomicU64::new(0),
        }
    }

    fn start(self: &Arc<Self>, stores: &Stores) {
        for publisher in 0..PUBLISHERS {
            for store in Kept::ALL {
                let (this, stores) = (Arc::clone(self), stores.clone());
                tokio::spawn(async move { this.publish(&stores, store, publisher).await });
            }
        }
    }

    fn journal(&self, store: Kept, publisher: u64) -> Journal {
        let name = format!("{}-{}-{publisher}.journal", self.life, store.name());
        Journal::create(&self.directory.join(name))
    }

    async fn publish(&self, stores: &Stores, store: Kept, publisher: u64) {
        let mut journal = self.journal(store, publisher);
        let mut random = fastrand::Rng::with_seed(self.life * 100 + publisher);
        let mut is_paused = self.is_paused.subscribe();
        let mut count = 0;
        loop {
            if *is_paused.borrow_and_update() {
                self.resting.fetch_add(1, Ordering::SeqCst);
                let _ = is_paused.wait_for(|is_paused| !is_paused).await;
                self.resting.fetch_sub(1, Ordering::SeqCst);
            }
            let mut lot = random.u64(1..=6);
            if publisher == 0 && store != Kept::Durable {
                lot += self.burst.swap(0, Ordering::Relaxed);
            }
            let uids: Vec<_> = (count..count + lot)
                .map(|count| Uid::new(self.life, store, publisher, count))
                .collect();
            count += lot;
            submit(stores, &mut journal, &uids).await;
            sleep(Duration::from_millis(random.u64(3..20))).await;
        }
    }

    /// Everybody has heard of it, and what was submitted is stored.
    async fn pause(&self) {
        self.is_paused.send_replace(true);
        while self.resting.load(Ordering::SeqCst) < PUBLISHERS * 3 {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Those who submit and panic in the middle of it: with an event that is submitted and
    /// not waited for, and while several are handed over.
    async fn panic(&self, stores: &Stores) {
        let which = self.panics.fetch_add(1, Ordering::Relaxed);
        for store in [Kept::Queue, Kept::Hub] {
            let publisher = 2;
            let name = format!("{}-{}-panic-{which}.journal", self.life, store.name());
            let mut journal = Journal::create(&self.directory.join(name));
            let stores = stores.clone();
            let uid = |count| Uid::new(self.life, store, publisher, which * 10 + count);
            let (first, second, third) = (uid(0), uid(1), uid(2));
            let panicked = tokio::spawn(async move {
                journal.begins(first);
                let submitted = sent(&stores, first).expect("an open store");
                journal.stored(first, submitted.id().expect("in memory"));
                if store == Kept::Hub {
                    // Nobody gets either of these.
                    for uid in [second, third] {
                        journal.begins(uid);
                        journal.refused(uid);
                    }
                    let events = [second, third].into_iter().map(|uid| match uid == third {
                        true => std::panic::panic_any(MEANT),
                        false => uid.event(),
                    });
                    drop(stores.hub.submit_all(events));
                }
                let _held = submitted;
                std::panic::panic_any(MEANT);
            });
            assert!(panicked.await.is_err_and(|error| error.is_panic()));
        }
    }
}

fn sent(stores: &Stores, uid: Uid) -> Result<Submitted, tornadose::SubmitError> {
    match uid.store() {
        Kept::Queue => stores.queue.submit(uid.event()),
        Kept::Hub => stores.hub.submit(uid.event()),
        Kept::Durable => stores.durable.submit(uid.event()),
    }
}

async fn submit(stores: &Stores, journal: &mut Journal, uids: &[Uid]) {
    let mut waiting = Vec::new();
    for &uid in uids {
        journal.begins(uid);
        match sent(stores, uid) {
            Ok(submitted) => match submitted.id() {
                Some(id) => journal.stored(uid, id),
                None => waiting.push((uid, submitted)),
            },
            Err(_) => journal.refused(uid),
        }
    }
    for (uid, submitted) in waiting {
        match submitted.await {
            Ok(id) => journal.stored(uid, id),
            // Nobody knows; so nothing is said.
            Err(tornadose::SubmitError::Unknown(_)) => {}
            Err(_) => journal.refused(uid),
        }
    }
}

// ---------------------------------------------------------------------------
// Who tells it what to do
// ---------------------------------------------------------------------------

/// Does what it is told, a line at a time.
async fn obey(stores: Stores, handlers: Handlers, publishing: Arc<Publishing>) {
    let (told, mut lines) = mpsc::unbounded_channel();
    // A thread of its own, for which a runtime that ends does not wait.
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let _ = told.send(line);
        }
        // The process ends with those who started it.
        std::process::exit(0);
    });
    while let Some(line) = lines.recv().await {
        let (word, argument) = line.split_once(' ').unwrap_or((&line, ""));
        match word {
            "pause" => publishing.pause().await,
            "resume" => drop(publishing.is_paused.send_replace(false)),
            "burst" => {
                let events = argument.parse().expect("a number");
                publishing.burst.store(events, Ordering::Relaxed);
            }
            "panic" => publishing.panic(&stores).await,
            "heads" | "figures" => {}
            other => panic!("{other}"),
        }
        match word {
            "heads" => println!("answer {}", heads(&stores)),
            "figures" => println!("answer {}", figures(&stores, &handlers)),
            _ => println!("answer done"),
        }
    }
}

/// The ids of the newest events.
fn heads(stores: &Stores) -> String {
    let heads = [
        stores.queue.latest(),
        stores.hub.latest(),
        stores.durable.latest(),
    ];
    let heads = heads.map(|id| id.map_or("-".to_owned(), |id| id.to_string()));
    heads.join(" ")
}

/// Streams, subscribers, tasks, descriptors, and KiB of memory.
fn figures(stores: &Stores, handlers: &Handlers) -> String {
    let subscribers =
        stores.queue.subscribers() + stores.hub.subscribers() + stores.durable.subscribers();
    format!(
        "{} {subscribers} {} {} {}",
        handlers.streams(),
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks(),
        std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
        resident(),
    )
}

pub(crate) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}
