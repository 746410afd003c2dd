//! A day that never was, played back where the weather cannot be had.

use std::time::Duration;

use serde::Deserialize;

use crate::reading::{Kind, Place, Reading, What, time};
use crate::source::{About, Polled, Polling, Source};

pub(crate) const NAME: &str = "sample";

/// How much time passes in the sample with each poll.
const STEP: i64 = 1;

/// From one frame to the next, in minutes.
const FRAME: i64 = 30;

/// Where in the day it begins: something is going on soon after.
const FIRST: i64 = 12 * 60 + 45;

/// What is played at once, so that there is something to look at.
const AT_ONCE: i64 = 60;

#[derive(Debug)]
pub(crate) struct Sample {
    day: Day,
    begins: i64,
    /// In minutes since then.
    now: i64,
}

#[derive(Debug, Deserialize)]
struct Day {
    begins: String,
    stations: Vec<(String, f64, f64)>,
    forecasts: Vec<String>,
    frames: Vec<Frame>,
}

#[derive(Debug, Deserialize)]
struct Frame {
    temperature: Vec<f64>,
    humidity: Vec<f64>,
    wind: Vec<f64>,
    direction: Vec<f64>,
    rain: Vec<f64>,
    forecast: Vec<usize>,
}

impl Sample {
    pub(crate) fn new() -> Self {
        let day: Day = serde_json::from_str(include_str!("sample.json")).expect("as it was made");
        let begins = time(&day.begins).expect("a time");
        Self {
            day,
            begins,
            now: FIRST,
        }
    }

    /// The reading of now: between two frames, something between the two.
    fn reading(&self, kind: Kind) -> Reading {
        let count = self.day.frames.len();
        let index = usize::try_from(self.now / FRAME).unwrap_or_default();
        let (from, to) = (
            &self.day.frames[index % count],
            &self.day.frames[(index + 1) % count],
        );
        let part = (self.now % FRAME) as f64 / FRAME as f64;
        let between = |of: fn(&Frame) -> &Vec<f64>, at: usize| {
            let (from, to) = (of(from)[at], of(to)[at]);
            from + (to - from) * part
        };
        let rounded = |value: f64| (value * 10.0).round() / 10.0;
        let what = |at: usize| match kind {
            Kind::Temperature => What::Number(rounded(between(|frame| &frame.temperature, at))),
            Kind::Humidity => What::Number(rounded(between(|frame| &frame.humidity, at))),
            Kind::Rain => What::Number(rounded(between(|frame| &frame.rain, at))),
            Kind::Wind => What::Wind {
                speed: rounded(between(|frame| &frame.wind, at)),
                direction: Some(turned(from.direction[at], to.direction[at], part).round()),
            },
            Kind::Forecast => What::forecast(&self.day.forecasts[from.forecast[at]]),
        };
        let stations = self.day.stations.iter().enumerate();
        let places = stations.map(|(at, (name, latitude, longitude))| Place {
            id: name.to_lowercase(),
            name: name.clone(),
            location: Some((*latitude, *longitude)),
            what: what(at),
        });
        let said = self.at(self.now - self.now % FRAME);
        let is_forecast = kind == Kind::Forecast;
        Reading {
            kind,
            source: NAME,
            at: Some(if is_forecast { said } else { self.at(self.now) }),
            offset: 8 * 60,
            unit: kind.unit(),
            minutes: (kind == Kind::Rain).then_some(5),
            valid: is_forecast.then(|| (said, said + 2 * 3_600_000)),
            places: places.collect(),
        }
    }

    fn at(&self, minutes: i64) -> i64 {
        self.begins + minutes * 60_000
    }
}

impl Source for Sample {
    fn about(&self) -> About {
        About {
            source: NAME,
            is_sample: true,
            place: "Singapore".to_owned(),
            notice: "The sample is a day that never was, made up for this page and played \
                back faster than time passes. It is not the weather of any place.",
            links: &[],
        }
    }

    fn poll<'a>(&'a mut self, found: &'a mut (dyn FnMut(Reading) + Send)) -> Polling<'a> {
        for kind in Kind::ALL {
            found(self.reading(kind).sorted());
        }
        self.now += STEP;
        let again = (self.now < FIRST + AT_ONCE).then_some(Duration::ZERO);
        Box::pin(std::future::ready(Polled {
            again,
            ..Polled::default()
        }))
    }
}

/// A direction between two others, the short way round.
fn turned(from: f64, to: f64, part: f64) -> f64 {
    let way = (to - from + 540.0).rem_euclid(360.0) - 180.0;
    (from + way * part).rem_euclid(360.0)
}
