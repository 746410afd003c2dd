//! What storing in NATS costs here, beside the client of NATS alone: the same events to the
//! same server, published and acknowledged. Both take turns, and the middle round counts.
//!
//! `cargo bench --bench nats --features nats`, with `nats-server` of `tests/install`.

#[path = "../tests/nats/server.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod server;

use std::time::{Duration, Instant};

use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tornadose::Topic;
use tornadose::backplane::{Append, Backplane, Latest, Nats};

use crate::server::Server;

const EVENT: &str = "an event of a hundred bytes, which is what the fan-out figures of this crate are measured with......";

/// How many events are on their way at once.
const BATCHES: [usize; 4] = [1, 16, 128, 1024];

/// For how long one round goes on.
const ROUND: Duration = Duration::from_millis(400);

#[tokio::main]
async fn main() {
    let is_test = std::env::args().any(|arg| arg == "--test");
    let (rounds, round) = if is_test { (1, ROUND / 20) } else { (7, ROUND) };
    let server = Server::start();
    let ours = Nats::new(server.url()).expect("an address");
    ours.open(&Latest::of([])).await.expect("a server");
    let config = r#"{"name":"raw","subjects":["raw.>"],"max_msgs":100000,"storage":"file"}"#;
    server.peer().call("STREAM.CREATE.raw", config);
    let mut raw = Raw::new(&server).await;

    println!("events at once | events/s | the client alone | ratio | one batch takes");
    for batch in BATCHES {
        let topic: Topic = "news".parse().expect("a topic");
        let events = vec![Append::new(topic, EVENT.into()); batch];
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            a.push(
                measure(round, async || {
                    let answers = ours.append(&events).await;
                    assert!(answers.iter().all(Result::is_ok));
                })
                .await,
            );
            b.push(measure(round, async || raw.store(batch).await).await);
        }
        let (a, b) = (middle(a), middle(b));
        let per_second = |time: Duration| batch as f64 / time.as_secs_f64();
        println!(
            "{batch:14} | {:8.0} | {:16.0} | {:5.2} | {:.0} µs, alone {:.0} µs",
            per_second(a),
            per_second(b),
            per_second(a) / per_second(b),
            a.as_secs_f64() * 1e6,
            b.as_secs_f64() * 1e6,
        );
    }

    let mut reading = ours.open(&Latest::of([])).await.expect("a server");
    let window = reading.window().await.expect("a server");
    let begun = Instant::now();
    let mut next = window.oldest;
    while next < window.next {
        let records = reading.read(next, 1000).await.expect("a server");
        next = records.last().expect("there are more").position.offset() + 1;
    }
    let count = (window.next - window.oldest) as f64;
    println!(
        "reading all of {count}: {:.0} events/s",
        count / begun.elapsed().as_secs_f64()
    );
}

/// The time of one.
async fn measure(round: Duration, mut one: impl AsyncFnMut()) -> Duration {
    one().await;
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < round {
        one().await;
        count += 1;
    }
    begun.elapsed() / count
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The client alone, as fast as it goes: one subscription for all acknowledgements.
struct Raw {
    client: Client,
    inbox: String,
    acks: Subscriber,
}

impl Raw {
    async fn new(server: &Server) -> Self {
        let client = async_nats::connect(server.url()).await.expect("a server");
        let inbox = client.new_inbox();
        let acks = client
            .subscribe(format!("{inbox}.*"))
            .await
            .expect("a server");
        Self {
            client,
            inbox,
            acks,
        }
    }

    async fn store(&mut self, batch: usize) {
        for number in 0..batch {
            let reply = format!("{}.{number}", self.inbox);
            let data = Bytes::from_static(EVENT.as_bytes());
            let published = self.client.publish_with_reply("raw.news", reply, data);
            published.await.expect("a server");
        }
        for _ in 0..batch {
            let ack = self.acks.next().await.expect("a server");
            assert!(ack.payload.starts_with(b"{\"stream\""), "{:?}", ack.payload);
        }
    }
}
