//! What is known now, in the topics of a hub: each kind is one, told when it changes.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tornadose::{Event, EventName, Hub, Policy, Retention, SubmitAllError};

use crate::poller::{Report, Timing, poll};
use crate::reading::{Kind, Place, Reading};
use crate::source::{About, Polled, Source};

/// What the source is and how it is. The other topics are the kinds and `POINT`.
pub(crate) const STATUS: &str = "status";

/// The names and locations of all places, by their ids.
pub(crate) const PLACES: &str = "places";

/// One moment of all places together: the only topic of which more than the newest is kept.
pub(crate) const POINT: &str = "point";

/// What is kept of that: an hour, at a point in a minute, and a little.
pub(crate) const POINTS: u64 = 75;

/// What is older than this is not of the same moment.
const MOMENT: i64 = 30 * 60_000;

/// Everything that is told.
pub(crate) fn topics() -> impl Iterator<Item = &'static str> {
    let kinds = Kind::ALL.into_iter().map(Kind::name);
    [STATUS, PLACES, POINT].into_iter().chain(kinds)
}

/// The hub that a board is told on.
pub(crate) fn hub() -> Hub {
    let points = Retention::new().events(POINTS as usize);
    let point = POINT.parse().expect("a pattern");
    Hub::builder()
        .policy(point, Policy::queue(points))
        .default_policy(Policy::latest())
        .name("weather")
        .build()
}

/// A poller in a task of its own, which ends with this.
#[derive(Debug)]
pub(crate) struct Feed {
    reports: UnboundedReceiver<Report>,
    task: JoinHandle<()>,
}

impl Feed {
    pub(crate) fn start(source: Box<dyn Source>, timing: Timing) -> Self {
        let (send, reports) = unbounded_channel();
        let task = tokio::spawn(poll(source, timing, send));
        Self { reports, task }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// Nothing is known yet.
    Starting,
    Live,
    /// What there is was live; the source cannot be asked now.
    Stale,
    /// What there is comes from the sample.
    Sample,
    /// There is nothing, and the source cannot be asked.
    Down,
}

#[derive(Debug)]
pub(crate) struct Board {
    hub: Hub,
    /// The newest of each topic.
    told: HashMap<&'static str, String>,
    /// How long live readings are shown before the sample is.
    keep: Duration,
    state: State,
    since: u64,
    /// What the source is of which the readings are.
    about: Option<About>,
    readings: HashMap<Kind, Reading>,
    missing: Vec<Kind>,
    fault: Option<String>,
    /// When there was something live last.
    live: Option<Instant>,
    /// The time of the last point.
    point: Option<i64>,
}

impl Board {
    pub(crate) fn new(hub: Hub, keep: Duration) -> Self {
        Self {
            hub,
            told: HashMap::new(),
            keep,
            state: State::Starting,
            since: now(),
            about: None,
            readings: HashMap::new(),
            missing: Vec::new(),
            fault: None,
            live: None,
            point: None,
        }
    }

    /// Tells what the feed reports, and, while that has nothing, what another one does.
    /// Ends with the feed, or when the hub is closed.
    pub(crate) async fn run(
        mut self,
        mut feed: Feed,
        fallback: Option<impl Fn() -> Feed>,
    ) -> Result<(), SubmitAllError> {
        let mut other: Option<Feed> = None;
        let mut own = None;
        loop {
            let report = tokio::select! {
                biased;
                report = feed.reports.recv() => report,
                Some(report) = next(&mut other) => {
                    self.take(report)?;
                    continue;
                }
            };
            let Some(report) = report else {
                return Ok(());
            };
            if let Report::About(about) = &report {
                own = Some(about.clone());
            }
            if other.is_none() {
                self.take(report)?;
            } else if let Report::Found(reading) = report {
                // It is back: from here on nothing of the other one is told.
                other = None;
                self.show(own.clone());
                self.take(Report::Found(reading))?;
            } else if let Report::Polled { polled, .. } = report {
                self.fault = fault(&polled);
                self.tell(Vec::new())?;
            }
            if other.is_none()
                && self.is_to_fall_back()
                && let Some(fallback) = &fallback
            {
                self.show(None);
                other = Some(fallback());
            }
        }
    }

    /// Forgets what is of another source.
    fn show(&mut self, about: Option<About>) {
        self.about = about;
        self.readings.clear();
        self.missing.clear();
        self.point = None;
    }

    fn take(&mut self, report: Report) -> Result<(), SubmitAllError> {
        match report {
            Report::About(about) => {
                if about.is_sample {
                    self.go(State::Sample);
                }
                self.about = Some(about);
                self.tell(Vec::new())
            }
            Report::Found(reading) => {
                let is_sample = self.about.as_ref().is_some_and(|about| about.is_sample);
                if !is_sample {
                    self.live = Some(Instant::now());
                    if self.state != State::Live {
                        self.fault = None;
                        self.missing.clear();
                        self.go(State::Live);
                    }
                }
                let told = (reading.kind.name(), json(&reading));
                self.readings.insert(reading.kind, reading);
                let places = (PLACES, json(&self.places()));
                self.tell(vec![places, told])
            }
            Report::Polled { source, polled } => {
                if self.state != State::Sample {
                    self.fault = fault(&polled);
                    if polled.missing.len() == Kind::ALL.len() {
                        let was_live = self.live.is_some();
                        self.go(if was_live { State::Stale } else { State::Down });
                    }
                    self.missing = polled.missing;
                    self.missing.sort();
                }
                let point = self.point(source).map(|point| (POINT, point));
                self.tell(point.into_iter().collect())
            }
        }
    }

    /// Whether there is nothing live to show, or nothing that is still worth it.
    fn is_to_fall_back(&self) -> bool {
        match self.state {
            State::Down => true,
            State::Stale => self.live.is_none_or(|live| live.elapsed() >= self.keep),
            _ => false,
        }
    }

    fn go(&mut self, state: State) {
        if self.state != state {
            self.state = state;
            self.since = now();
        }
    }

    /// Tells the status and this, in one step, as far as it is not what was told last.
    fn tell(&mut self, topics: Vec<(&'static str, String)>) -> Result<(), SubmitAllError> {
        let status = json(&Status {
            state: self.state,
            since: self.since,
            about: self.about.as_ref(),
            missing: &self.missing,
            fault: self.fault.as_deref(),
        });
        let mut all = vec![(STATUS, status)];
        all.extend(topics);
        all.retain(|(topic, json)| self.told.get(topic) != Some(json));
        self.hub
            .submit_all(all.iter().map(|(topic, json)| event(topic, json)))?;
        self.told.extend(all);
        Ok(())
    }

    fn places(&self) -> Places<'_> {
        let readings = Kind::ALL.iter().filter_map(|kind| self.readings.get(kind));
        let mut places = BTreeMap::new();
        for place in readings.flat_map(|reading| &reading.places) {
            places.entry(&*place.id).or_insert(place);
        }
        Places {
            source: self.about.as_ref().map(|about| about.source),
            places,
        }
    }

    /// The readings in one moment, unless it is the last one.
    fn point(&mut self, source: &'static str) -> Option<String> {
        let measured = |kind: &Kind| *kind != Kind::Forecast;
        let times = self.readings.iter().filter(|(kind, _)| measured(kind));
        let at = times.filter_map(|(_, reading)| reading.at).max()?;
        if self.point == Some(at) {
            return None;
        }
        self.point = Some(at);
        let of = |kind| {
            let reading: Option<&Reading> = self.readings.get(&kind);
            reading.filter(|reading| reading.at.is_some_and(|then| at - then <= MOMENT))
        };
        let mean = |kind| {
            let numbers: Vec<f64> = of(kind)?.numbers().collect();
            let count = numbers.len().max(1) as f64;
            // Finer than one of them, so that the line of many is smooth.
            Some((numbers.iter().sum::<f64>() / count * 100.0).round() / 100.0)
        };
        Some(json(&Point {
            source,
            at,
            temperature: mean(Kind::Temperature),
            humidity: mean(Kind::Humidity),
            wind: mean(Kind::Wind),
            rain: of(Kind::Rain).and_then(|rain| rain.numbers().reduce(f64::max)),
        }))
    }
}

/// Averages of all places, and the most rain of any.
#[derive(Debug, Serialize)]
struct Point {
    source: &'static str,
    at: i64,
    temperature: Option<f64>,
    humidity: Option<f64>,
    wind: Option<f64>,
    rain: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Places<'a> {
    source: Option<&'static str>,
    places: BTreeMap<&'a str, &'a Place>,
}

#[derive(Debug, Serialize)]
struct Status<'a> {
    state: State,
    /// Since when, in milliseconds since 1970.
    since: u64,
    #[serde(flatten)]
    about: Option<&'a About>,
    missing: &'a [Kind],
    fault: Option<&'a str>,
}

async fn next(feed: &mut Option<Feed>) -> Option<Report> {
    match feed {
        Some(feed) => feed.reports.recv().await,
        None => std::future::pending().await,
    }
}

/// An event that says its topic by its name, for pages that read several.
fn event(topic: &'static str, json: &str) -> Event {
    let name = EventName::new(topic).expect("no reserved name");
    let topic = topic.parse().expect("a topic");
    Event::new(json).name(name).topic(topic)
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("only texts are keys")
}

fn fault(polled: &Polled) -> Option<String> {
    polled.fault.as_ref().map(ToString::to_string)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
