//! What the engine costs beside its own raw client: events appended in batches and one by
//! one, to a server that this starts, as ratios of what `XADD` alone takes.
//!
//! `cargo bench --bench redis --features redis`

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client};
use tornadose::backplane::{Append, Backplane, Latest, Reading, Redis};
use tornadose::{Event, Topic};

const BATCH: usize = 1024;
const MOST: usize = 100_000;

struct Server(Child, u16);

impl Server {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = port.local_addr().expect("an address").port();
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server, which tests/install installs");
        Self(child, port)
    }

    /// The raw client, as soon as it is answered.
    async fn connect(&self) -> MultiplexedConnection {
        let client = Client::open(self.url()).expect("a URL");
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        for _ in 0..1000 {
            let connection = client.get_multiplexed_async_connection_with_config(&config);
            if let Ok(connection) = connection.await {
                return connection;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("redis-server does not start");
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.1)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Bench {
    raw: MultiplexedConnection,
    engine: Redis,
    reading: Box<dyn Reading>,
    topic: Topic,
    data: String,
}

impl Bench {
    async fn raw(&mut self, count: usize) {
        let mut pipe = redis::pipe();
        for _ in 0..count {
            pipe.cmd("XADD")
                .arg("raw")
                .arg("MAXLEN")
                .arg("~")
                .arg(MOST)
                .arg("*");
            pipe.arg("topic")
                .arg(self.topic.as_str())
                .arg("data")
                .arg(&self.data);
        }
        let ids: Vec<String> = pipe.query_async(&mut self.raw).await.expect("stored");
        assert_eq!(ids.len(), count);
    }

    async fn engine(&mut self, count: usize, kind: Kind) {
        let events: Vec<_> = (0..count)
            .map(|n| {
                let event = Event::new(self.data.as_str());
                match kind {
                    Kind::Plain => Append::new(self.topic.clone(), event),
                    Kind::Once => Append::new(
                        self.topic.clone(),
                        event.once(format!("{n} {:?}", Instant::now())),
                    ),
                    Kind::Latest => Append::new(self.topic.clone(), event).latest(),
                }
            })
            .collect();
        let answers = self.engine.append(&events).await;
        assert!(answers.iter().all(Result::is_ok) && answers.len() == count);
    }

    /// Everything that there is.
    async fn read(&mut self) -> usize {
        let window = self.reading.window().await.expect("a window");
        let (mut from, mut count) = (window.oldest, 0);
        while from < window.next {
            let records = self.reading.read(from, MOST).await.expect("records");
            count += records.len();
            from = records.last().expect("contiguous").position.offset() + 1;
        }
        count
    }

    async fn read_raw(&mut self) -> usize {
        let (mut from, mut count) = ("-".to_owned(), 0);
        loop {
            let mut range = redis::cmd("XRANGE");
            range
                .arg("tornadose")
                .arg(&from)
                .arg("+")
                .arg("COUNT")
                .arg(MOST / 100);
            let entries: Vec<(String, Vec<Vec<u8>>)> =
                range.query_async(&mut self.raw).await.expect("entries");
            let Some((last, _)) = entries.last() else {
                return count;
            };
            count += entries.len();
            from = format!("({last}");
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Plain,
    Once,
    Latest,
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

#[tokio::main]
async fn main() {
    // As a test it only has to run.
    let rounds: usize = if std::env::args().any(|arg| arg == "--bench") {
        60
    } else {
        2
    };
    let server = Server::start();
    let raw = server.connect().await;
    let engine = Redis::new(&server.url()).expect("a URL").max_events(MOST);
    let mut bench = Bench {
        raw,
        reading: engine.open(&Latest::of([])).await.expect("a log"),
        engine,
        topic: "rooms/7".parse().expect("a topic"),
        data: "x".repeat(100),
    };
    for (what, count, times) in [
        ("batches of 1,024", BATCH, 1),
        ("batches of 64", 64, 8),
        ("one by one", 1, 200),
    ] {
        let mut found: [Vec<Duration>; 4] = Default::default();
        for round in 0..rounds + rounds / 10 {
            for (n, found) in found.iter_mut().enumerate() {
                let begin = Instant::now();
                for _ in 0..times {
                    match n {
                        0 => bench.raw(count).await,
                        1 => bench.engine(count, Kind::Plain).await,
                        2 => bench.engine(count, Kind::Once).await,
                        _ => bench.engine(count, Kind::Latest).await,
                    }
                }
                // The first ones warm up.
                if round >= rounds / 10 {
                    found.push(begin.elapsed() / u32::try_from(times).expect("few"));
                }
            }
        }
        let [raw, plain, once, latest] = found.map(median);
        let show = |name: &str, time: f64| {
            let (rate, micros, ratio) = (count as f64 / time, time * 1e6, time / raw);
            println!(
                "append {what:17} {name:9} {rate:9.0} events/s {micros:9.1} µs each call  x {ratio:.2}"
            );
        };
        show("raw XADD", raw);
        show("engine", plain);
        show("once", once);
        show("latest", latest);
    }
    let mut found: [Vec<Duration>; 2] = Default::default();
    let mut count = 0;
    for _ in 0..rounds.div_ceil(6) {
        let begin = Instant::now();
        count = bench.read().await;
        found[0].push(begin.elapsed());
        let begin = Instant::now();
        assert_eq!(bench.read_raw().await, count);
        found[1].push(begin.elapsed());
    }
    let [ours, raw] = found.map(median);
    println!(
        "read {count} events: {:.0} events/s, raw XRANGE {:.0} events/s  x {:.2}",
        count as f64 / ours,
        count as f64 / raw,
        ours / raw
    );
}
