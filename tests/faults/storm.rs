//! Everybody at once: who comes, who comes back, who is sent away, and a million who come and
//! go.
//!
//! A few of each are tried with all other tests; `tests/storms` tries what a server with 20,000
//! file descriptors can have, and prints figures.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use axum::Router;
use http::Request;
use tokio::net::TcpSocket;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tornadose::{Event, EventSource, Hub, Permit, QueueStore, Shutdown, Start, Topics};

use crate::churn::{self, Leaves};
use crate::herd::Herd;
use crate::number;
use crate::server::{Figures, Server};
use crate::serving::resident;

/// Tells the server how it serves: `<port> <attached or detached> <milliseconds for a head>`.
const STORM: &str = "TORNADOSE_TEST_STORM_SERVE";

/// When clients come back, each at a time of its own: told at the beginning of a stream,
/// because who is killed can tell nothing.
const RETRY: Range<u64> = 1_000..10_000;

/// What who is sent away is told; never what it has been told before.
const FAREWELL: Range<Duration> = Duration::from_secs(20)..Duration::from_secs(30);

async fn start(port: u16, way: &str, head: Duration) -> Server {
    let told = format!("{port} {way} {}", head.as_millis());
    Server::start_as("storm::serve", STORM, &told).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the server, which the other tests start"]
async fn serve() {
    let Ok(told) = std::env::var(STORM) else {
        return;
    };
    let words: Vec<_> = told.split(' ').collect();
    let [port, way, head] = words[..] else {
        panic!("{told:?}");
    };
    let port: u16 = port.parse().expect("a port");
    let head = Duration::from_millis(head.parse().expect("a time"));
    let mut sigterm = signal(SignalKind::terminate()).expect("a signal");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("a socket of ours");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    socket.bind(address).expect("a free port");
    let listener = socket.listen(4096).expect("to listen");

    let (queue, hub) = (QueueStore::new(), Hub::new());
    queue.submit("first").expect("open");
    let first = Event::new("first").topic("t".parse().expect("a topic"));
    hub.submit(first).expect("open");
    let shutdown = Shutdown::new();
    let everything: tornadose::Pattern = "#".parse().expect("a pattern");
    let of_hub = EventSource::new(hub.clone())
        .permit(move |_| Ok(Permit::new().topics(Topics::from(everything.clone()))));
    // Who asks for it is sent away at once.
    let short = EventSource::new(queue.clone())
        .permit(|_| Ok(Permit::new().expires_in(Duration::from_millis(1))));
    let finish = |events: EventSource| {
        events
            .start(Start::Last(1))
            .farewell(FAREWELL.start..=FAREWELL.end)
            .shutdown(&shutdown)
    };
    let events = finish(EventSource::new(queue.clone()));
    let (of_hub, short) = (finish(of_hub), finish(short));
    // Each client is told another time to come back after.
    let spread = {
        let events = events.clone();
        async move |request: Request<axum::body::Body>| {
            let retry = Duration::from_millis(fastrand::u64(RETRY));
            events.clone().retry(retry).respond(&request)
        }
    };
    let app = Router::new()
        .route("/events", axum::routing::get(spread))
        .route_service("/hub", of_hub.clone())
        .route_service("/short", short.clone())
        .route_service("/socket", events.websocket());
    println!("listening on {}", listener.local_addr().expect("bound"));

    let (told, mut lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let _ = told.send(line);
        }
        std::process::exit(0);
    });
    tokio::spawn(async move {
        while let Some(line) = lines.recv().await {
            assert_eq!(line, "figures");
            let streams = events.streams() + of_hub.streams() + short.streams();
            let tasks = tokio::runtime::Handle::current();
            println!(
                "answer {streams} {} {} {} {}",
                queue.subscribers() + hub.subscribers(),
                tasks.metrics().num_alive_tasks(),
                std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
                resident(),
            );
        }
    });
    let begins = shutdown.clone();
    tokio::spawn(async move {
        sigterm.recv().await;
        begins.begin();
    });
    let server = tornadose::Server::new(listener)
        .shutdown(&shutdown)
        .max_connections(19_900.try_into().expect("some"))
        .header_timeout(head);
    let server = match way {
        "detached" => server.detached(),
        _ => server,
    };
    server.serve(app).await.expect("nobody is cut off");
    println!("ended all");
}

/// That so many come at once, come back when their server is killed, and are sent away.
async fn storm(way: &str, clients: usize) {
    let mut server = start(0, way, Duration::from_secs(30)).await;
    let new = server.figures().await;
    let port = server.address.port();
    let mut herd = Herd::start(server.address, clients).await;

    let opened = herd.told("opened").await;
    println!("{way}: {clients} come: {opened}");
    let full = server.figures().await;
    assert_eq!(full.streams, clients as u64);
    println!(
        "{way}: {} KiB for each of them, {} tasks",
        (full.resident - new.resident) / clients as u64,
        full.tasks
    );

    server.kill().await;
    let mut server = start(port, way, Duration::from_secs(30)).await;
    let back = herd.told("back").await;
    println!("{way}: {clients} come back: {back}");
    assert!(back.took <= Duration::from_secs(30), "{back}");
    assert_eq!(back.told, clients, "everybody is told of another log");
    if clients >= 1000 {
        assert!(back.peak <= 2.0 * back.mean, "{back}");
    }

    let before = Instant::now();
    server.terminate().await;
    println!(
        "{way}: SIGTERM with {clients}: the process has ended after {:.1?}",
        before.elapsed()
    );
    let ended = herd.told("ended").await;
    println!(
        "{way}: {} of them were told when to come back, all in {:.1?}",
        ended.told, ended.took
    );
    assert_eq!(ended.told, clients, "everybody was told when to come back");
    herd.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_come_back_when_their_server_is_killed() {
    storm("attached", 200).await;
    storm("detached", 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "tests/storms"]
async fn eighteen_thousand() {
    let clients = number("TORNADOSE_STORM", 18_000);
    storm("attached", clients).await;
    storm("detached", clients).await;
}

// ---------------------------------------------------------------------------
// Who comes and goes
// ---------------------------------------------------------------------------

async fn come_and_go(way: &str, times: usize) {
    let mut server = start(0, way, Duration::from_millis(200)).await;
    let together = (times / 60).min(500);
    let began = Instant::now();
    let mut quarters = Vec::new();
    for _ in 0..4 {
        churn::run(server.address, times / 4, together).await;
        quarters.push(left(&mut server).await);
    }
    let took = began.elapsed();
    println!(
        "{way}: {times} connections of {} kinds in {took:.0?}; behind each quarter (streams, \
         subscribers, tasks, descriptors, KiB):",
        Leaves::ALL.len(),
    );
    for quarter in &quarters {
        println!("{way}: {quarter}");
    }
    // In the first one grows what grows once: threads, pools, what the allocator keeps for
    // as many at once.
    let (before, after) = (quarters[0], quarters[3]);
    assert_eq!((after.streams, after.subscribers), (0, 0));
    assert_eq!(
        (after.tasks, after.descriptors),
        (before.tasks, before.descriptors)
    );
    // What an allocator keeps moves by a few MiB; what leaks for each of a million would be
    // far more.
    let most = before.resident + before.resident / 20 + 8192;
    assert!(after.resident <= most, "{after}, not {before}");
    server.terminate().await;
}

/// What there is when all have left, which has to be soon.
async fn left(server: &mut Server) -> Figures {
    let until = Instant::now() + Duration::from_secs(60);
    let mut quiet = 0;
    let mut before = server.figures().await;
    while quiet < 10 && Instant::now() < until {
        sleep(Duration::from_millis(100)).await;
        let now = server.figures().await;
        let is_same =
            now.streams == 0 && (now.tasks, now.descriptors) == (before.tasks, before.descriptors);
        quiet = if is_same { quiet + 1 } else { 0 };
        before = now;
    }
    before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_come_and_go() {
    come_and_go("attached", 3_000).await;
    come_and_go("detached", 3_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "tests/storms"]
async fn a_million_come_and_go() {
    let times = number("TORNADOSE_CHURN", 1_000_000) / 2;
    come_and_go("attached", times).await;
    come_and_go("detached", times).await;
}
