//! The weather stations of Singapore, and the forecast for its areas.
//!
//! Six data sets, each of its own address. Without a key six requests in 10 seconds are
//! permitted, so they are asked for one after the other, and not at once.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use crate::fetch::Fetch;
use crate::reading::{Kind, Place, Reading, What, location, short, time};
use crate::source::{About, Fault, Polled, Polling, Source};

pub(crate) const BASE: &str = "https://api-open.data.gov.sg/v2/real-time/api";

/// Five requests in 10 seconds.
pub(crate) const PACE: Duration = Duration::from_secs(2);

const NAME: &str = "data.gov.sg";

/// Singapore is 8 hours ahead.
const OFFSET: i32 = 8 * 60;

/// More than there are; the rest of an answer without end is not wanted.
const MAX_PLACES: usize = 200;

#[derive(Debug)]
pub(crate) struct DataGovSg {
    fetch: Fetch,
    base: String,
    pace: Duration,
    last: Option<Instant>,
    /// With which kind the next poll begins.
    first: usize,
}

impl DataGovSg {
    /// Requests begin at least `pace` after each other.
    pub(crate) fn new(base: &str, pace: Duration, fetch: Fetch) -> Self {
        Self {
            fetch,
            base: base.trim_end_matches('/').to_owned(),
            pace,
            last: None,
            first: 0,
        }
    }

    async fn poll(&mut self, found: &mut (dyn FnMut(Reading) + Send)) -> Polled {
        let mut polled = Polled::default();
        let mut kinds = Kind::ALL.to_vec();
        let first = std::mem::take(&mut self.first);
        kinds.rotate_left(first);
        for (at, kind) in kinds.iter().enumerate() {
            let fault = match self.read(*kind).await {
                Ok(reading) => {
                    found(reading.sorted());
                    continue;
                }
                Err(fault) => fault,
            };
            let is_of_all = fault.is_of_all();
            polled.missing.push(*kind);
            if polled.fault.is_none() || is_of_all {
                if let Fault::TooMany { again } = fault {
                    polled.again = again;
                }
                polled.fault = Some(fault);
            }
            if is_of_all {
                polled.missing.extend(kinds.iter().skip(at + 1));
                // What is behind the one that hangs gets its turn.
                self.first = (first + at + 1) % Kind::ALL.len();
                break;
            }
        }
        polled
    }

    async fn read(&mut self, kind: Kind) -> Result<Reading, Fault> {
        match kind {
            Kind::Temperature => numbers(kind, &self.ask("air-temperature").await?),
            Kind::Humidity => numbers(kind, &self.ask("relative-humidity").await?),
            Kind::Rain => numbers(kind, &self.ask("rainfall").await?),
            Kind::Forecast => forecast(&self.ask("two-hr-forecast").await?),
            Kind::Wind => {
                let speeds = self.ask("wind-speed").await?;
                // A speed is worth something without its direction.
                let directions = match self.ask("wind-direction").await {
                    Err(fault) if fault.is_of_all() => return Err(fault),
                    directions => directions.unwrap_or_default(),
                };
                wind(&speeds, &directions)
            }
        }
    }

    /// The `data` of an answer.
    async fn ask(&mut self, set: &str) -> Result<Value, Fault> {
        if let Some(last) = self.last {
            sleep_until(last + self.pace).await;
        }
        self.last = Some(Instant::now());
        let address = format!("{}/{set}", self.base);
        let mut answer = self.fetch.json(&address).await?;
        if answer["code"].as_i64().is_some_and(|code| code != 0) {
            let why = answer["errorMsg"].as_str().unwrap_or("an error");
            return Err(Fault::Refused(short(why)));
        }
        // To index what is no object is a panic, where something is to be changed.
        Ok(answer.get_mut("data").map(Value::take).unwrap_or_default())
    }
}

impl Source for DataGovSg {
    fn about(&self) -> About {
        About {
            source: NAME,
            is_sample: false,
            place: "Singapore".to_owned(),
            notice: "Contains information from Air Temperature, Relative Humidity, Wind Speed, \
                Wind Direction, Rainfall and 2-hour Weather Forecast across Singapore accessed \
                on {date} from data.gov.sg which is made available under the terms of the \
                Singapore Open Data Licence version 1.0. Speeds are converted, averages are ours.",
            links: &[(
                "Singapore Open Data Licence",
                "https://data.gov.sg/open-data-licence",
            )],
        }
    }

    fn poll<'a>(&'a mut self, found: &'a mut (dyn FnMut(Reading) + Send)) -> Polling<'a> {
        Box::pin(self.poll(found))
    }
}

/// One number for each station.
fn numbers(kind: Kind, data: &Value) -> Result<Reading, Fault> {
    let newest = newest(data)?;
    let unit = data["readingUnit"].as_str().unwrap_or_default();
    let places: Vec<_> = values(newest)
        .filter_map(|(id, value)| {
            let value = kind.convert(value, unit)?;
            Some(station(data, id, What::Number(value)))
        })
        .collect();
    let minutes = (kind == Kind::Rain).then(|| minutes(data)).flatten();
    let reading = reading(kind, newest, places)?;
    Ok(Reading { minutes, ..reading })
}

fn wind(speeds: &Value, directions: &Value) -> Result<Reading, Fault> {
    let newest_speeds = newest(speeds)?;
    let unit = speeds["readingUnit"].as_str().unwrap_or_default();
    let directions: Vec<_> = match newest(directions) {
        Ok(newest) => values(newest).collect(),
        Err(_) => Vec::new(),
    };
    let places = values(newest_speeds)
        .filter_map(|(id, speed)| {
            let speed = Kind::Wind.convert(speed, unit)?;
            let mut same = directions.iter().filter(|(of, _)| *of == id);
            let direction = same.next().map(|(_, degrees)| *degrees);
            let direction = direction.filter(|degrees| (0.0..=360.0).contains(degrees));
            Some(station(speeds, id, What::Wind { speed, direction }))
        })
        .collect();
    reading(Kind::Wind, newest_speeds, places)
}

fn forecast(data: &Value) -> Result<Reading, Fault> {
    let items = data["items"].as_array().ok_or(Fault::Without("items"))?;
    let newest = latest(items).ok_or(Fault::Without("a forecast"))?;
    let areas = list(&data["area_metadata"]);
    let said = list(&newest["forecasts"]);
    let places = said.iter().take(MAX_PLACES).filter_map(|said| {
        let area = said["area"].as_str()?;
        // Some say it directly, some as an object.
        let text = &said["forecast"];
        let text = text.as_str().or_else(|| text["text"].as_str())?;
        let known = areas.iter().find(|known| known["name"] == area);
        Some(Place {
            id: short(area),
            name: short(area),
            location: known.and_then(|known| location(&known["label_location"])),
            what: What::forecast(text),
        })
    });
    let period = |end| newest["valid_period"][end].as_str().and_then(time);
    let valid = period("start").zip(period("end"));
    let reading = reading(Kind::Forecast, newest, places.collect())?;
    Ok(Reading { valid, ..reading })
}

fn reading(kind: Kind, newest: &Value, places: Vec<Place>) -> Result<Reading, Fault> {
    if places.is_empty() {
        return Err(Fault::Without("a value"));
    }
    Ok(Reading {
        kind,
        source: NAME,
        at: newest["timestamp"].as_str().and_then(time),
        offset: OFFSET,
        unit: kind.unit(),
        minutes: None,
        valid: None,
        places,
    })
}

fn newest(data: &Value) -> Result<&Value, Fault> {
    let readings = data["readings"].as_array();
    let readings = readings.ok_or(Fault::Without("readings"))?;
    latest(readings).ok_or(Fault::Without("a reading"))
}

fn latest(of: &[Value]) -> Option<&Value> {
    of.iter()
        .max_by_key(|one| one["timestamp"].as_str().and_then(time))
}

/// The stations that say something, by their id. A sensor may say `null`, or nothing.
fn values(newest: &Value) -> impl Iterator<Item = (&str, f64)> {
    let data = list(&newest["data"]).iter().take(MAX_PLACES);
    data.filter_map(|one| Some((one["stationId"].as_str()?, one["value"].as_f64()?)))
}

fn station(data: &Value, id: &str, what: What) -> Place {
    let known = list(&data["stations"]).iter().find(|one| one["id"] == id);
    let name = known.and_then(|known| known["name"].as_str());
    let known = known.and_then(|known| {
        location(&known["location"]).or_else(|| location(&known["labelLocation"]))
    });
    Place {
        id: short(id),
        name: short(name.unwrap_or(id)),
        location: known,
        what,
    }
}

/// Over how long the rain is summed up, as in `TB1 Rainfall 5 Minute Total F`.
fn minutes(data: &Value) -> Option<u32> {
    let mut words = data["readingType"].as_str()?.split_whitespace().rev();
    words.find(|word| word.starts_with("Minute"))?;
    words.next()?.parse().ok()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
