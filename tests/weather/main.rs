//! The modules of the example `weather`, against a source that does what sources do: it
//! says the same again, says less, says nonsense, says nothing, or is not there.

#[path = "../../examples/weather/board.rs"]
mod board;
#[allow(dead_code, reason = "the address of the source itself")]
#[path = "../../examples/weather/data_gov_sg.rs"]
mod data_gov_sg;
mod faults;
#[path = "../../examples/weather/fetch.rs"]
mod fetch;
#[allow(dead_code, reason = "the address of the source itself")]
#[path = "../../examples/weather/open_meteo.rs"]
mod open_meteo;
#[path = "../../examples/weather/poller.rs"]
mod poller;
mod polls;
#[path = "../../examples/weather/reading.rs"]
mod reading;
#[path = "../../examples/weather/sample.rs"]
mod sample;
#[path = "../../examples/weather/source.rs"]
mod source;
mod sources;
mod units;
mod upstream;

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, timeout};
use tornadose::{Delivery, Hub, Start, Subscribe, Subscription, Topics};

use crate::board::{Board, Feed};
use crate::data_gov_sg::DataGovSg;
use crate::fetch::{Fetch, Limits};
use crate::poller::{Backoff, Timing};
use crate::source::Source;
use crate::upstream::Upstream;

/// For everything that comes as soon as it can, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// As fast as it goes.
const AT_ONCE: Timing = Timing {
    every: Duration::from_millis(1),
    backoff: Backoff {
        first: Duration::from_millis(1),
        most: Duration::from_millis(8),
        asked: Duration::from_millis(8),
    },
};

/// A board on a hub, and somebody who reads all of it.
struct Scene {
    hub: Hub,
    reader: Subscription,
    patience: Duration,
    /// Everything that was told, in its order: the topic and what it is.
    told: Vec<(String, Value)>,
}

impl Scene {
    /// A board of Singapore, asked as fast as it goes.
    fn singapore(upstream: &Upstream, limits: Limits, fallback: Option<Duration>) -> Self {
        let source = DataGovSg::new(&upstream.url(), Duration::ZERO, Fetch::new(limits));
        Self::start(source, AT_ONCE, fallback)
    }

    /// With a `fallback`, the sample is played when nothing live is known for so long.
    fn start(source: impl Source + 'static, timing: Timing, fallback: Option<Duration>) -> Self {
        let hub = board::hub();
        let all: Topics = board::topics()
            .map(|topic| topic.parse::<tornadose::Topic>().expect("a topic"))
            .collect();
        let reader = hub.subscribe(Subscribe::from(Start::Last(board::POINTS)).topics(all));
        let sample = move || Feed::start(Box::new(sample::Sample::new()), timing);
        let board = Board::new(hub.clone(), fallback.unwrap_or(PATIENCE));
        let feed = Feed::start(Box::new(source), timing);
        tokio::spawn(board.run(feed, fallback.map(|_| sample)));
        Self {
            hub,
            reader,
            patience: PATIENCE,
            told: Vec::new(),
        }
    }

    /// The next event, which is JSON and is called what its topic is.
    async fn next(&mut self) -> (String, Value) {
        let next = timeout(self.patience, self.reader.recv()).await;
        let told = match next.expect("in time").expect("the board goes on") {
            Delivery::Event(event) => {
                let topic = event.topic().expect("a topic").as_str().to_owned();
                assert_eq!(event.name(), topic);
                let value = serde_json::from_str(event.data());
                (topic, value.expect("JSON, whatever the source says"))
            }
            gap => panic!("{gap:?}"),
        };
        self.told.push(told.clone());
        told
    }

    /// What this topic says when this holds.
    async fn until(&mut self, topic: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + self.patience;
        while Instant::now() < end {
            let (told, value) = self.next().await;
            if told == topic && holds(&value) {
                return value;
            }
        }
        panic!("{topic} is still {}", self.now(topic));
    }

    async fn state(&mut self, state: &str) -> Value {
        self.until("status", |status| status["state"] == state)
            .await
    }

    /// The temperature at Ang Mo Kio.
    async fn degrees(&mut self, degrees: f64) {
        self.until("temperature", |told| told["values"]["S109"] == degrees)
            .await;
    }

    /// How often this was told since the hub is there.
    fn submitted(&self, topic: &str) -> u64 {
        let topic = topic.parse().expect("a topic");
        self.hub.stats_of(&topic).map_or(0, |stats| stats.submitted)
    }

    /// What everybody who comes now gets of this.
    fn now(&self, topic: &str) -> Value {
        let newest = self.hub.get(&topic.parse().expect("a topic"));
        serde_json::from_str(newest.expect("told").data()).expect("JSON")
    }
}
