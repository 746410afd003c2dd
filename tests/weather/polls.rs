//! How often a source is asked, and what of it is told.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use http::Request;
use http_body_util::BodyExt;
use serde_json::json;
use tokio::time::{Instant, sleep};
use tornadose::{EventSource, Permit, Topic};

use super::*;
use crate::reading::{Kind, Place, Reading, What};
use crate::source::{About, Fault, Polled, Polling};
use crate::upstream::{Reply, set, singapore};

/// As the example is by default.
const CALM: Timing = Timing {
    every: Duration::from_secs(60),
    backoff: Backoff {
        first: Duration::from_secs(5),
        most: Duration::from_secs(300),
        asked: Duration::from_secs(3600),
    },
};

/// The clock of tokio is one of milliseconds.
const MILLISECOND: Duration = Duration::from_millis(1);

/// On a clock that is paused, which costs nothing.
const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn five_equal_polls_are_one_event() {
    let upstream = Upstream::start(singapore(26.8)).await;
    let mut scene = Scene::singapore(&upstream, Limits::default(), None);
    // The first request of the sixth poll.
    let six = 5 * 6 + 1;
    upstream.more(six).await;
    // The same in another order, too.
    upstream.answer(|path| {
        let mut set = set(path, 26.8);
        for list in [
            "/data/stations",
            "/data/readings/0/data",
            "/data/items/0/forecasts",
        ] {
            let list = set.pointer_mut(list).and_then(Value::as_array_mut);
            list.into_iter().for_each(|list| list.reverse());
        }
        Reply::Json(set)
    });
    upstream.more(six).await;
    // Something else at the same time is told, but is no new point.
    for degrees in [27.0, 28.0] {
        upstream.answer(singapore(degrees));
        scene.degrees(degrees).await;
    }
    let told = board::topics().map(|topic| (topic, scene.submitted(topic)));
    let expected = [
        // Before the first poll, and with its first reading.
        ("status", 2),
        // With the first reading, and with the forecast, which is of areas.
        ("places", 2),
        ("point", 1),
        ("temperature", 3),
        ("humidity", 1),
        ("wind", 1),
        ("rain", 1),
        ("forecast", 1),
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_clients_do_not_change_the_number_of_polls() {
    let mut counts = Vec::new();
    for clients in [0, 1, 100] {
        let (source, polls) = Scripted::new(|_| Ok(20.0));
        let hub = board::hub();
        let feed = Feed::start(Box::new(source), CALM);
        let none = None::<fn() -> Feed>;
        tokio::spawn(Board::new(hub.clone(), PATIENCE).run(feed, none));
        let events = EventSource::new(hub.clone())
            .permit(|_| Ok(Permit::new().topics(topic("temperature"))))
            .without_keep_alive();
        // All of them read, and some of them have come and gone.
        let mut bodies = Vec::new();
        for _ in 0..clients {
            let request = Request::get("/events").body(()).expect("a request");
            bodies.push(events.respond(&request).into_body());
            drop(events.respond(&request));
        }
        for body in &mut bodies {
            let mut read = String::new();
            while !read.contains("20.0") {
                let frame = body.frame().await.expect("a frame").expect("no fault");
                let bytes = frame.into_data().expect("bytes");
                read.push_str(str::from_utf8(&bytes).expect("UTF-8"));
            }
        }
        assert_eq!(events.streams(), clients);
        sleep(Duration::from_secs(600) + CALM.every / 2).await;
        counts.push(polls.load(Relaxed));
    }
    assert_eq!(counts, [11, 11, 11]);
}

#[tokio::test(start_paused = true)]
async fn the_wait_after_faults_grows_and_is_bounded() {
    let times = Arc::new(Mutex::new(Vec::new()));
    let at = Arc::clone(&times);
    // Good, and then 12 faults, and good again, and one fault more.
    let (source, _) = Scripted::new(move |turn| {
        at.lock().expect("no panic").push(Instant::now());
        match turn {
            1..=12 | 14 => Err(Fault::Unreachable),
            _ => Ok(f64::from(turn)),
        }
    });
    let mut scene = Scene::start(source, CALM, None);
    scene.patience = DAY;
    for turn in [0.0, 13.0, 15.0] {
        scene.degrees(turn).await;
    }
    let times = times.lock().expect("no panic").clone();
    let waits: Vec<_> = times.windows(2).map(|two| two[1] - two[0]).collect();
    assert_eq!(waits.len(), 15);
    assert_eq!(waits[0], CALM.every);
    for (fault, wait) in waits[1..13].iter().enumerate() {
        let full = Duration::from_secs((5 << fault).min(300));
        let more = full + MILLISECOND;
        assert!(
            (full.mul_f64(0.75)..=more).contains(wait),
            "{fault}: {wait:?}"
        );
    }
    // Until the bound, which is that of the seventh.
    assert!(waits[1..7].is_sorted_by(|a, b| a < b), "{waits:?}");
    assert_eq!(waits[13], CALM.every);
    assert!(
        waits[14] <= CALM.backoff.first + MILLISECOND,
        "all is forgotten"
    );
}

#[test]
fn the_wait_is_within_its_bounds_whatever_is_drawn() {
    let backoff = CALM.backoff;
    let secs = |faults, random| backoff.wait(faults, random).as_secs_f64();
    assert_eq!(secs(1, 0.0), 5.0);
    assert_eq!(secs(1, 1.0), 3.75);
    assert_eq!(secs(4, 0.5), 35.0);
    assert_eq!(secs(6, 0.0), 160.0);
    for faults in [7, 8, 31, 32, 33, 64, u32::MAX] {
        assert_eq!(secs(faults, 0.0), 300.0);
        assert_eq!(secs(faults, 1.0), 225.0);
    }
    assert_eq!(secs(0, 0.0), 5.0);
    for random in [-1.0, 2.0, f64::INFINITY] {
        assert!((3.75..=5.0).contains(&secs(1, random)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_is_left_alone_for_as_long_as_it_asks() {
    for (asked, least, most) in [
        (None, 3.75, 5.0),
        (Some(1), 3.75, 5.0),
        (Some(120), 120.0, 120.0),
        // Nobody is left alone for a year because of a mistake.
        (Some(86_400 * 365), 3600.0, 3600.0),
        (Some(u64::MAX), 3600.0, 3600.0),
    ] {
        let begun = Instant::now();
        let (source, _) = Scripted::new(move |turn| match turn {
            0 => Err(Fault::TooMany {
                again: asked.map(Duration::from_secs),
            }),
            _ => Ok(20.0),
        });
        let mut scene = Scene::start(source, CALM, None);
        scene.patience = DAY;
        scene.degrees(20.0).await;
        let waited = begun.elapsed().as_secs_f64();
        assert!(
            (least..=most + 0.2).contains(&waited),
            "{asked:?}: {waited}"
        );
    }
}

#[tokio::test]
async fn requests_are_paced() {
    let pace = Duration::from_millis(20);
    let upstream = Upstream::start(singapore(20.0)).await;
    let fetch = Fetch::new(Limits::default());
    let mut source = DataGovSg::new(&upstream.url(), pace, fetch);
    let begun = std::time::Instant::now();
    for poll in 1..=3 {
        let mut found = Vec::new();
        let polled = source.poll(&mut |reading| found.push(reading.kind)).await;
        assert_eq!(polled.fault, None);
        assert_eq!(found, Kind::ALL);
        // Nothing waits before the first one.
        let least = pace * (6 * poll - 1);
        assert!(begun.elapsed() >= least, "{:?}", begun.elapsed());
    }
    assert_eq!(upstream.asked().len(), 18);
}

#[tokio::test(start_paused = true)]
async fn who_comes_late_has_the_last_hour_and_what_is_now() {
    let hub = board::hub();
    let timing = Timing {
        every: Duration::from_secs(5),
        ..CALM
    };
    let feed = Feed::start(Box::new(sample::Sample::new()), timing);
    let none = None::<fn() -> Feed>;
    tokio::spawn(Board::new(hub.clone(), PATIENCE).run(feed, none));
    sleep(Duration::from_secs(3600)).await;
    let all: Topics = board::topics().map(topic).collect();
    let late = Subscribe::from(Start::Last(board::POINTS)).topics(all);
    let mut late = hub.subscribe(late);
    let mut counts = std::collections::BTreeMap::new();
    let mut times = Vec::new();
    while counts.len() < 8 || times.len() < 75 {
        let delivery = late.recv().await.expect("open");
        let event = delivery.event().expect("no gap");
        *counts.entry(event.name().to_owned()).or_insert(0) += 1;
        if event.name() == "point" {
            let point: Value = serde_json::from_str(event.data()).expect("JSON");
            times.push(point["at"].as_i64().expect("a time"));
        }
    }
    assert_eq!(counts["point"], 75);
    assert_eq!(counts["temperature"], 1);
    assert_eq!(counts["status"], 1);
    assert!(times.windows(2).all(|two| two[1] - two[0] == 60_000));
    assert_eq!(
        json!(times.last()),
        serde_json::from_str::<Value>(hub.get(&topic("wind")).expect("told").data()).expect("JSON")
            ["at"]
    );
}

fn topic(name: &str) -> Topic {
    name.parse().expect("a topic")
}

/// Says these temperatures, or these faults, without any network.
struct Scripted<F> {
    script: F,
    polls: Arc<AtomicUsize>,
}

impl<F: FnMut(u32) -> Result<f64, Fault> + Send> Scripted<F> {
    fn new(script: F) -> (Self, Arc<AtomicUsize>) {
        let polls = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&polls);
        (Self { script, polls }, counter)
    }
}

impl<F: FnMut(u32) -> Result<f64, Fault> + Send> Source for Scripted<F> {
    fn about(&self) -> About {
        About {
            source: "script",
            is_sample: false,
            place: "here".to_owned(),
            notice: "",
            links: &[],
        }
    }

    fn poll<'a>(&'a mut self, found: &'a mut (dyn FnMut(Reading) + Send)) -> Polling<'a> {
        let turn = self.polls.fetch_add(1, Relaxed) as u32;
        let mut polled = Polled::default();
        match (self.script)(turn) {
            Ok(degrees) => found(Reading {
                kind: Kind::Temperature,
                source: "script",
                at: Some(0),
                offset: 0,
                unit: Some("°C"),
                minutes: None,
                valid: None,
                places: vec![Place {
                    id: "S109".to_owned(),
                    name: "one".to_owned(),
                    location: None,
                    what: What::Number(degrees),
                }],
            }),
            Err(fault) => {
                if let Fault::TooMany { again } = fault {
                    polled.again = again;
                }
                polled.missing = Kind::ALL.to_vec();
                polled.fault = Some(fault);
            }
        }
        Box::pin(std::future::ready(polled))
    }
}
