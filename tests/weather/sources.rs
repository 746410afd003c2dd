//! What is made of what the sources say.

use serde_json::json;

use super::*;
use crate::open_meteo::OpenMeteo;
use crate::reading::{Kind, Reading};
use crate::sample::Sample;
use crate::source::{Fault, Polled};
use crate::upstream::{Reply, set, singapore};

/// 2026-06-17T22:54:00+08:00.
const MEASURED: i64 = 1_781_708_040_000;

async fn poll(mut source: impl Source) -> (Vec<Reading>, Polled) {
    let mut readings = Vec::new();
    let polled = source.poll(&mut |reading| readings.push(reading)).await;
    (readings, polled)
}

async fn ask(upstream: &Upstream) -> (Vec<Reading>, Polled) {
    let fetch = Fetch::new(Limits::default());
    // The slash at the end is that of who has copied the address.
    let base = format!("{}/", upstream.url());
    poll(DataGovSg::new(&base, Duration::ZERO, fetch)).await
}

fn json(reading: &Reading) -> Value {
    serde_json::to_value(reading).expect("JSON")
}

#[tokio::test]
async fn singapore_is_read() {
    let upstream = Upstream::start(singapore(26.8)).await;
    let (readings, polled) = ask(&upstream).await;
    assert_eq!((polled.fault, polled.missing.len()), (None, 0));
    let common = |unit: &str, values: Value| {
        json!({ "source": "data.gov.sg", "at": MEASURED, "offset": 480, "unit": unit,
            "values": values })
    };
    let mut rain = common("mm", json!({ "S109": 0.0, "S24": 2.4 }));
    rain["minutes"] = json!(5);
    let expected = [
        common("°C", json!({ "S109": 26.8, "S24": 26.1 })),
        // A little more than all is all.
        common("%", json!({ "S109": 81.4, "S24": 100.0 })),
        common(
            "km/h",
            json!({ "S109": { "speed": 18.5, "direction": 45.0 },
                "S24": { "speed": 0.0, "direction": 360.0 } }),
        ),
        rain,
        json!({ "source": "data.gov.sg", "at": MEASURED - 24 * 60_000, "offset": 480,
            "unit": null, "valid": [MEASURED - 24 * 60_000, MEASURED + 96 * 60_000],
            "values": {
                "Bishan": { "text": "Partly Cloudy (Night)", "sky": "partly", "night": true },
                "Tuas": { "text": "Heavy Thundery Showers", "sky": "storm", "night": false },
            } }),
    ];
    assert_eq!(readings.iter().map(json).collect::<Vec<_>>(), expected);
    let places = serde_json::to_value(&readings[0].places).expect("JSON");
    let expected = json!([
        { "name": "Ang Mo Kio Avenue 5", "location": [1.3793, 103.85] },
        { "name": "Upper Changi Road North", "location": [1.3678, 103.9823] },
    ]);
    assert_eq!(places, expected);
    let places = serde_json::to_value(&readings[4].places).expect("JSON");
    let expected = json!([
        { "name": "Bishan", "location": [1.350_772, 103.839] },
        { "name": "Tuas", "location": null },
    ]);
    assert_eq!(places, expected);
}

#[tokio::test]
async fn what_is_missing_is_left_out() {
    let long = "x".repeat(1000);
    let upstream = Upstream::start(move |path| {
        let mut answer = set(path, 26.8);
        match path {
            "/air-temperature" => {
                answer["data"]["readings"] = json!([
                    { "timestamp": "2026-06-17T22:55:00+08:00", "data": [
                        { "stationId": "S109", "value": null },
                        { "stationId": "S24" },
                        { "stationId": "S1", "value": "27" },
                        { "stationId": 7, "value": 27 },
                        { "value": 27 },
                        { "stationId": "S2", "value": 999 },
                        { "stationId": "S3", "value": -273.2 },
                        null,
                        { "stationId": "S4", "value": 27.04 },
                        { "stationId": "S4", "value": 28 },
                        { "stationId": "S5", "value": -0.04 },
                        { "stationId": long, "value": 1 },
                    ] },
                    { "timestamp": "2026-06-17T22:54:00+08:00", "data": [
                        { "stationId": "S109", "value": 30 } ] },
                ]);
                answer["data"].as_object_mut().expect("one").remove("stations");
            }
            "/relative-humidity" => answer["data"]["readingUnit"] = json!("furlongs"),
            "/wind-speed" => answer["data"]["readings"][0]["data"][0]["value"] = json!(null),
            "/wind-direction" => {
                answer["data"]["readings"][0]["data"][1]["value"] = json!(720);
            }
            "/rainfall" => {
                answer["data"]["readings"][0]["timestamp"] = json!("yesterday");
                answer["data"]["readingType"] = json!("Minute");
                answer["data"]["stations"][0] = json!({ "id": "S109", "name": 7,
                    "location": { "latitude": 91, "longitude": 0 } });
            }
            _ => {
                answer["data"].as_object_mut().expect("one").remove("area_metadata");
                answer["data"]["items"][0]["valid_period"] = json!({ "text": "soon" });
                answer["data"]["items"][0]["forecasts"] = json!([
                    { "area": "Bishan", "forecast": "" }, { "area": "Tuas" }, { "forecast": "Fair" },
                    { "area": null, "forecast": "Fair" }, { "area": "Yishun", "forecast": 3 } ]);
            }
        }
        Reply::Json(answer)
    })
    .await;
    let (readings, polled) = ask(&upstream).await;
    assert_eq!(polled.missing, [Kind::Humidity]);
    assert_eq!(polled.fault, Some(Fault::Without("a value")));
    let [temperature, wind, rain, forecast] = &readings[..] else {
        panic!("{readings:?}");
    };
    let short = "x".repeat(80);
    let values = &json(temperature)["values"];
    assert_eq!(values, &json!({ "S4": 27.0, "S5": 0.0, short: 1.0 }));
    assert!(!values["S5"].as_f64().expect("a number").is_sign_negative());
    assert_eq!(temperature.at, Some(MEASURED + 60_000));
    assert_eq!(temperature.places[0].name, "S4");
    assert_eq!(
        json(wind)["values"],
        json!({ "S24": { "speed": 0.0, "direction": null } })
    );
    assert_eq!((rain.at, rain.minutes), (None, None));
    assert_eq!(rain.places[0].name, "S109");
    assert_eq!(rain.places[0].location, None);
    assert_eq!(forecast.valid, None);
    let bishan = json!({ "Bishan": { "text": "", "sky": "unknown", "night": false } });
    assert_eq!(json(forecast)["values"], bishan);
}

#[tokio::test]
async fn an_answer_with_too_many_places_is_cut() {
    let upstream = Upstream::start(|path| {
        let mut answer = set(path, 26.8);
        let many = (0..1000).map(|id| json!({ "stationId": format!("S{id:04}"), "value": 1 }));
        answer["data"]["readings"][0]["data"] = many.collect();
        Reply::Json(answer)
    })
    .await;
    let (readings, _) = ask(&upstream).await;
    assert!(
        readings[..4]
            .iter()
            .all(|reading| reading.places.len() == 200)
    );
}

fn place(current: &Value) -> Value {
    json!({ "latitude": 64.1, "longitude": -21.9, "utc_offset_seconds": -3600,
        "timezone": "Atlantic/Azores",
        "current_units": { "time": "iso8601", "interval": "seconds", "temperature_2m": "°F",
            "relative_humidity_2m": "%", "precipitation": "inch", "weather_code": "wmo code",
            "is_day": "", "wind_speed_10m": "m/s", "wind_direction_10m": "°" },
        "current": current })
}

async fn ask_of(answer: Value, location: (f64, f64)) -> (Vec<Reading>, Polled, Vec<String>) {
    let upstream = Upstream::start(move |_| match &answer {
        Value::Null => Reply::Status(400),
        answer => Reply::Json(answer.clone()),
    })
    .await;
    let fetch = Fetch::new(Limits::default());
    let source = OpenMeteo::new(&upstream.url(), location, Duration::ZERO, fetch);
    let (readings, polled) = poll(source).await;
    (readings, polled, upstream.asked())
}

#[tokio::test]
async fn any_place_is_read() {
    let current = json!({ "time": "2026-06-17T22:45", "interval": 900, "temperature_2m": 50,
        "relative_humidity_2m": 80, "precipitation": 0.1, "weather_code": 95, "is_day": 0,
        "wind_speed_10m": 10, "wind_direction_10m": 271 });
    let (readings, polled, asked) = ask_of(place(&current), (64.1, -21.9)).await;
    assert_eq!((polled.fault, polled.missing.len()), (None, 0));
    assert_eq!(asked.len(), 1, "all at once");
    assert!(asked[0].starts_with("/v1/forecast?latitude=64.1&longitude=-21.9&current=temp"));
    // 23:45 in UTC.
    let at = MEASURED + (8 * 60 + 51) * 60_000;
    let common = |unit: Option<&str>, value: Value| {
        json!({ "source": "open-meteo.com", "at": at, "offset": -60, "unit": unit,
            "values": { "here": value } })
    };
    let mut rain = common(Some("mm"), json!(2.5));
    rain["minutes"] = json!(15);
    let expected = [
        common(Some("°C"), json!(10.0)),
        common(Some("%"), json!(80.0)),
        common(Some("km/h"), json!({ "speed": 36.0, "direction": 271.0 })),
        rain,
        common(
            None,
            json!({ "text": "Thunderstorm", "sky": "storm", "night": true }),
        ),
    ];
    assert_eq!(readings.iter().map(json).collect::<Vec<_>>(), expected);
    assert_eq!(readings[0].places[0].name, "64.10° N, 21.90° W");
}

#[tokio::test]
async fn of_any_place_something_may_be_missing() {
    let current = json!({ "time": 7, "temperature_2m": null, "relative_humidity_2m": "80",
        "precipitation": -1, "weather_code": 1234, "wind_speed_10m": 10 });
    let (readings, polled, _) = ask_of(place(&current), (-1.0, 0.0)).await;
    let missing = [Kind::Temperature, Kind::Humidity, Kind::Rain];
    assert_eq!(polled.missing, missing);
    let wind = json!({ "speed": 36.0, "direction": null });
    assert_eq!(json(&readings[0])["values"]["here"], wind);
    assert_eq!(json(&readings[1])["values"]["here"]["sky"], "unknown");
    assert_eq!(readings[0].at, None);

    for (answer, fault) in [
        (Value::Null, Fault::Status(400)),
        (json!([]), Fault::Without("a value")),
        (
            json!({ "error": true, "reason": "x" }),
            Fault::Without("a value"),
        ),
    ] {
        let (readings, polled, _) = ask_of(answer, (0.0, 0.0)).await;
        assert!(readings.is_empty() && polled.has_failed());
        assert_eq!((polled.missing.len(), polled.fault), (5, Some(fault)));
    }
}

#[tokio::test]
async fn the_sample_is_a_day_and_another() {
    let mut sample = Sample::new();
    let mut last = None;
    let (mut skies, mut rainy) = (std::collections::HashSet::new(), 0);
    for minute in 0..2 * 24 * 60 {
        let mut readings = Vec::new();
        let polled = sample.poll(&mut |reading| readings.push(reading)).await;
        assert_eq!(polled.again, (minute < 59).then_some(Duration::ZERO));
        assert_eq!(polled.missing, []);
        let kinds: Vec<_> = readings.iter().map(|reading| reading.kind).collect();
        assert_eq!(kinds, Kind::ALL);
        for reading in &readings {
            assert_eq!(reading.places.len(), 12);
            let unit = reading.unit.unwrap_or_default();
            for number in reading.numbers() {
                assert_eq!(reading.kind.convert(number, unit), Some(number));
            }
            rainy +=
                usize::from(reading.kind == Kind::Rain && reading.numbers().any(|mm| mm > 0.0));
        }
        let at = readings[0].at.expect("a time");
        assert!(last.is_none_or(|last| at == last + 60_000));
        last = Some(at);
        let [from, to] = readings[4].valid.map_or([0; 2], |(from, to)| [from, to]);
        assert!((from..to).contains(&at));
        for value in json(&readings[4])["values"]
            .as_object()
            .expect("some")
            .values()
        {
            skies.insert(value["sky"].as_str().expect("a word").to_owned());
        }
    }
    // It is of some use to who looks at it.
    assert!(skies.len() >= 5 && !skies.contains("unknown"), "{skies:?}");
    assert!((100..2000).contains(&rainy), "{rainy}");
}
