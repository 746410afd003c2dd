//! What is known of the weather, in units of our own, whichever source it is from.

use serde::{Serialize, Serializer};
use serde_json::Value;

/// What a reading is of: a topic of its own, and the name of its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Temperature,
    Humidity,
    Wind,
    Rain,
    Forecast,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [
        Self::Temperature,
        Self::Humidity,
        Self::Wind,
        Self::Rain,
        Self::Forecast,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Temperature => "temperature",
            Self::Humidity => "humidity",
            Self::Wind => "wind",
            Self::Rain => "rain",
            Self::Forecast => "forecast",
        }
    }

    /// The unit in which we send it.
    pub(crate) fn unit(self) -> Option<&'static str> {
        match self {
            Self::Temperature => Some("°C"),
            Self::Humidity => Some("%"),
            Self::Wind => Some("km/h"),
            Self::Rain => Some("mm"),
            Self::Forecast => None,
        }
    }

    /// A number in our unit, with one decimal. `None` for a unit that we do not know and
    /// for what cannot be, which is what a broken sensor says.
    pub(crate) fn convert(self, value: f64, unit: &str) -> Option<f64> {
        let (value, least, most) = match (self, unit) {
            (Self::Temperature, "deg C" | "°C") => (value, -90.0, 60.0),
            (Self::Temperature, "°F") => ((value - 32.0) / 1.8, -90.0, 60.0),
            // A wet sensor says a little more than all.
            (Self::Humidity, "percentage" | "%") if value <= 105.0 => {
                (value.min(100.0), 0.0, 100.0)
            }
            (Self::Wind, "knots" | "kn") => (value * 1.852, 0.0, 500.0),
            (Self::Wind, "km/h") => (value, 0.0, 500.0),
            (Self::Wind, "m/s") => (value * 3.6, 0.0, 500.0),
            (Self::Wind, "mp/h") => (value * 1.609_344, 0.0, 500.0),
            (Self::Rain, "mm") => (value, 0.0, 500.0),
            (Self::Rain, "inch") => (value * 25.4, 0.0, 500.0),
            _ => return None,
        };
        // Without the sign of a zero.
        let rounded = (value * 10.0).round() / 10.0 + 0.0;
        (least..=most).contains(&value).then_some(rounded)
    }
}

/// All that a source says of one kind at one time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Reading {
    #[serde(skip)]
    pub(crate) kind: Kind,
    /// The name of the source.
    pub(crate) source: &'static str,
    /// When it was measured or said, in milliseconds since 1970.
    pub(crate) at: Option<i64>,
    /// How far the clocks of the place are ahead of UTC, in minutes.
    pub(crate) offset: i32,
    pub(crate) unit: Option<&'static str>,
    /// Over how many minutes a sum is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) minutes: Option<u32>,
    /// For which time a forecast is, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) valid: Option<(i64, i64)>,
    #[serde(rename = "values", serialize_with = "by_id")]
    pub(crate) places: Vec<Place>,
}

impl Reading {
    /// The same places in another order are the same reading.
    pub(crate) fn sorted(mut self) -> Self {
        self.places.sort_by(|a, b| a.id.cmp(&b.id));
        self.places.dedup_by(|a, b| a.id == b.id);
        self
    }

    pub(crate) fn numbers(&self) -> impl Iterator<Item = f64> {
        self.places.iter().filter_map(|place| match place.what {
            What::Number(value) => Some(value),
            What::Wind { speed, .. } => Some(speed),
            What::Sky { .. } => None,
        })
    }
}

/// A station or an area, and what is said of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Place {
    #[serde(skip)]
    pub(crate) id: String,
    pub(crate) name: String,
    /// Latitude and longitude.
    pub(crate) location: Option<(f64, f64)>,
    #[serde(skip)]
    pub(crate) what: What,
}

/// What is said, without of what: names and locations stay, and are told once.
fn by_id<S: Serializer>(places: &[Place], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(places.iter().map(|place| (&place.id, &place.what)))
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum What {
    Number(f64),
    Wind {
        speed: f64,
        /// Where it comes from, in degrees.
        direction: Option<f64>,
    },
    Sky {
        text: String,
        sky: Sky,
        night: bool,
    },
}

impl What {
    /// A forecast in words.
    pub(crate) fn forecast(text: &str) -> Self {
        let lower = text.to_lowercase();
        Self::Sky {
            text: short(text),
            sky: Sky::of(&lower),
            night: lower.contains("night"),
        }
    }
}

/// What the sky looks like, for whoever draws it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sky {
    Clear,
    Partly,
    Cloudy,
    Haze,
    Rain,
    Showers,
    Snow,
    Storm,
    Wind,
    Unknown,
}

impl Sky {
    fn of(lower: &str) -> Self {
        const WORDS: [(&str, Sky); 16] = [
            ("thunder", Sky::Storm),
            ("snow", Sky::Snow),
            ("shower", Sky::Showers),
            ("rain", Sky::Rain),
            ("drizzle", Sky::Rain),
            ("haz", Sky::Haze),
            ("mist", Sky::Haze),
            ("fog", Sky::Haze),
            ("partly", Sky::Partly),
            ("cloud", Sky::Cloudy),
            ("overcast", Sky::Cloudy),
            ("wind", Sky::Wind),
            ("fair", Sky::Clear),
            ("clear", Sky::Clear),
            ("sunny", Sky::Clear),
            ("warm", Sky::Clear),
        ];
        let mut found = WORDS.iter().filter(|(word, _)| lower.contains(word));
        found.next().map_or(Self::Unknown, |(_, sky)| *sky)
    }
}

/// A name or a text of somebody else, as much of it as has room.
pub(crate) fn short(text: &str) -> String {
    text.trim().chars().take(80).collect()
}

/// A place on Earth.
pub(crate) fn location(of: &Value) -> Option<(f64, f64)> {
    let (latitude, longitude) = (of["latitude"].as_f64()?, of["longitude"].as_f64()?);
    let is_there = latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
    is_there.then_some((latitude, longitude))
}

/// Reads a time as in `2026-06-17T22:54:00+08:00`, in milliseconds since 1970. The seconds
/// may be missing; without an offset it is in UTC.
pub(crate) fn time(text: &str) -> Option<i64> {
    let digits = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse().ok()).flatten()
    };
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':')];
    let is_time = |(at, mark): (usize, u8)| text.as_bytes().get(at) == Some(&mark);
    if !marks.into_iter().all(is_time) {
        return None;
    }
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    let (hour, minute) = (digits(11, 13)?, digits(14, 16)?);
    let (second, rest) = match text.as_bytes().get(16) {
        Some(b':') => (digits(17, 19)?, text.get(19..)?),
        _ => (0, text.get(16..)?),
    };
    if !(1970..=9999).contains(&year)
        || !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let fraction = rest.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let ahead = match fraction.as_bytes() {
        b"" | b"Z" => 0,
        [sign @ (b'+' | b'-'), zone @ ..] => {
            let zone = str::from_utf8(zone).ok()?;
            let (hours, minutes) = zone.split_once(':')?;
            let (hours, minutes): (u8, u8) = (hours.parse().ok()?, minutes.parse().ok()?);
            let ahead = i64::from(hours.min(23)) * 60 + i64::from(minutes.min(59));
            if *sign == b'-' { -ahead } else { ahead }
        }
        _ => return None,
    };
    // The days since 1 March of the year 0, of which every fourth, and not every
    // hundredth, but every four hundredth has one more.
    let (years, months) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = years * 365 + years / 4 - years / 100 + years / 400;
    let days = days + (months * 153 + 2) / 5 + day - 1 - 719_468;
    let minutes = days * 1440 + hour * 60 + minute - ahead;
    Some((minutes * 60 + second) * 1000)
}
