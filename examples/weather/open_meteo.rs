//! The weather of any place on Earth, from a model.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use crate::fetch::Fetch;
use crate::reading::{Kind, Place, Reading, Sky, What, time};
use crate::source::{About, Fault, Polled, Polling, Source};

pub(crate) const BASE: &str = "https://api.open-meteo.com";

/// 8,640 requests a day; 10,000 are permitted to who does not pay.
pub(crate) const PACE: Duration = Duration::from_secs(10);

const NAME: &str = "open-meteo.com";

#[derive(Debug)]
pub(crate) struct OpenMeteo {
    fetch: Fetch,
    address: String,
    place: String,
    location: (f64, f64),
    pace: Duration,
    last: Option<Instant>,
}

impl OpenMeteo {
    /// Of the place at this latitude and longitude. Requests begin at least `pace` after
    /// each other.
    pub(crate) fn new(base: &str, location: (f64, f64), pace: Duration, fetch: Fetch) -> Self {
        let (latitude, longitude) = location;
        let base = base.trim_end_matches('/');
        Self {
            fetch,
            address: format!(
                "{base}/v1/forecast?latitude={latitude}&longitude={longitude}&current=\
                 temperature_2m,relative_humidity_2m,precipitation,weather_code,is_day,\
                 wind_speed_10m,wind_direction_10m&timezone=auto"
            ),
            place: place(location),
            location,
            pace,
            last: None,
        }
    }

    async fn poll(&mut self, found: &mut (dyn FnMut(Reading) + Send)) -> Polled {
        if let Some(last) = self.last {
            sleep_until(last + self.pace).await;
        }
        self.last = Some(Instant::now());
        let answer = match self.fetch.json(&self.address).await {
            Ok(answer) => answer,
            Err(fault) => {
                let again = match fault {
                    Fault::TooMany { again } => again,
                    _ => None,
                };
                return Polled {
                    missing: Kind::ALL.to_vec(),
                    fault: Some(fault),
                    again,
                };
            }
        };
        let mut polled = Polled::default();
        for kind in Kind::ALL {
            match self.reading(kind, &answer) {
                Some(reading) => found(reading),
                None => {
                    polled.missing.push(kind);
                    polled.fault = Some(Fault::Without("a value"));
                }
            }
        }
        polled
    }

    fn reading(&self, kind: Kind, answer: &Value) -> Option<Reading> {
        let (current, units) = (&answer["current"], &answer["current_units"]);
        let number = |name: &str| {
            let unit = units[name].as_str()?;
            kind.convert(current[name].as_f64()?, unit)
        };
        let what = match kind {
            Kind::Temperature => What::Number(number("temperature_2m")?),
            Kind::Humidity => What::Number(number("relative_humidity_2m")?),
            Kind::Rain => What::Number(number("precipitation")?),
            Kind::Wind => {
                let degrees = current["wind_direction_10m"].as_f64();
                What::Wind {
                    speed: number("wind_speed_10m")?,
                    direction: degrees.filter(|degrees| (0.0..=360.0).contains(degrees)),
                }
            }
            Kind::Forecast => {
                let (text, sky) = sky(current["weather_code"].as_i64()?);
                What::Sky {
                    text: text.to_owned(),
                    sky,
                    night: current["is_day"] == 0,
                }
            }
        };
        // The time is that of the place.
        let ahead = answer["utc_offset_seconds"].as_i64().unwrap_or_default();
        let ahead = ahead.clamp(-86_400, 86_400);
        let at = current["time"].as_str().and_then(time);
        let interval = current["interval"].as_u64();
        let minutes = interval.and_then(|seconds| u32::try_from(seconds / 60).ok());
        Some(Reading {
            kind,
            source: NAME,
            at: at.map(|at| at - ahead * 1000),
            offset: i32::try_from(ahead / 60).unwrap_or_default(),
            unit: kind.unit(),
            minutes: minutes.filter(|_| kind == Kind::Rain),
            valid: None,
            places: vec![Place {
                id: "here".to_owned(),
                name: self.place.clone(),
                location: Some(self.location),
                what,
            }],
        })
    }
}

impl Source for OpenMeteo {
    fn about(&self) -> About {
        About {
            source: NAME,
            is_sample: false,
            place: self.place.clone(),
            notice: "Weather data by Open-Meteo.com, of a model, under CC BY 4.0. Rain includes snow.",
            links: &[
                ("Open-Meteo.com", "https://open-meteo.com/"),
                ("CC BY 4.0", "https://creativecommons.org/licenses/by/4.0/"),
            ],
        }
    }

    fn poll<'a>(&'a mut self, found: &'a mut (dyn FnMut(Reading) + Send)) -> Polling<'a> {
        Box::pin(self.poll(found))
    }
}

/// A place without a name.
fn place((latitude, longitude): (f64, f64)) -> String {
    let side = |degrees: f64, sides: [char; 2]| sides[usize::from(degrees < 0.0)];
    format!(
        "{:.2}° {}, {:.2}° {}",
        latitude.abs(),
        side(latitude, ['N', 'S']),
        longitude.abs(),
        side(longitude, ['E', 'W'])
    )
}

/// The codes of the World Meteorological Organization that are in use here.
fn sky(code: i64) -> (&'static str, Sky) {
    match code {
        0 => ("Clear", Sky::Clear),
        1 => ("Mainly clear", Sky::Clear),
        2 => ("Partly cloudy", Sky::Partly),
        3 => ("Overcast", Sky::Cloudy),
        45 | 48 => ("Fog", Sky::Haze),
        51..=57 => ("Drizzle", Sky::Rain),
        61..=67 => ("Rain", Sky::Rain),
        71..=77 => ("Snow", Sky::Snow),
        80..=82 => ("Showers", Sky::Showers),
        85 | 86 => ("Snow showers", Sky::Snow),
        95..=99 => ("Thunderstorm", Sky::Storm),
        _ => ("Unknown", Sky::Unknown),
    }
}
