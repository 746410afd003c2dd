//! Numbers, times and words of the sources.

use crate::reading::{Kind, What, location, short, time};
use serde_json::json;

#[test]
fn units_are_converted() {
    for (kind, value, unit, converted) in [
        (Kind::Temperature, 26.84, "deg C", Some(26.8)),
        (Kind::Temperature, -40.0, "°F", Some(-40.0)),
        (Kind::Temperature, 212.0, "°F", None),
        (Kind::Temperature, 300.0, "K", None),
        (Kind::Temperature, f64::NAN, "°C", None),
        (Kind::Temperature, f64::INFINITY, "°C", None),
        (Kind::Humidity, 105.0, "percentage", Some(100.0)),
        (Kind::Humidity, 105.1, "percentage", None),
        (Kind::Humidity, -0.1, "%", None),
        (Kind::Wind, 1.0, "knots", Some(1.9)),
        (Kind::Wind, 100.0, "kn", Some(185.2)),
        (Kind::Wind, 10.0, "m/s", Some(36.0)),
        (Kind::Wind, 10.0, "mp/h", Some(16.1)),
        (Kind::Wind, 10.0, "km/h", Some(10.0)),
        (Kind::Wind, -1.0, "km/h", None),
        (Kind::Rain, 1.0, "inch", Some(25.4)),
        (Kind::Rain, 0.2, "mm", Some(0.2)),
        (Kind::Rain, 1.0, "knots", None),
        (Kind::Forecast, 1.0, "", None),
    ] {
        let got = kind.convert(value, unit);
        assert_eq!(got, converted, "{value} {unit}");
        // What we say ourselves is understood again.
        if let (Some(got), Some(unit)) = (got, kind.unit()) {
            assert_eq!(kind.convert(got, unit), Some(got));
        }
    }
}

#[test]
fn times_are_read() {
    let minute = 60_000;
    let new_year = 1_767_225_600_000;
    for (text, expected) in [
        ("1970-01-01T00:00:00Z", Some(0)),
        ("2026-01-01T00:00", Some(new_year)),
        ("2026-01-01T00:00Z", Some(new_year)),
        ("2026-01-01T08:00:00+08:00", Some(new_year)),
        ("2025-12-31T16:00:01.000-08:00", Some(new_year + 1000)),
        ("2024-02-29T00:00:00Z", Some(1_709_164_800_000)),
        ("2024-03-01T00:00:00Z", Some(1_709_251_200_000)),
        ("2100-03-01T00:00:00Z", Some(4_107_542_400_000)),
        ("2026-01-01T05:30:00.123456+05:30", Some(new_year)),
        ("2026-01-01T00:01:00Z", Some(new_year + minute)),
        ("", None),
        ("2026-01-01", None),
        ("2026-01-01 00:00:00", None),
        ("2026-13-01T00:00:00Z", None),
        ("2026-00-01T00:00:00Z", None),
        ("2026-01-32T00:00:00Z", None),
        ("2026-01-01T24:00:00Z", None),
        ("2026-01-01T00:60:00Z", None),
        ("2026-01-01T00:00:00+8", None),
        ("2026-01-01T00:00:00 Z", None),
        ("+026-01-01T00:00:00Z", None),
        ("0000-01-01T00:00:00Z", None),
        ("2026-01-01T00:00:0", None),
        ("2026-01-01T00:00:00+é:00", None),
        ("éééé-01-01T00:00:00Z", None),
        ("\u{ff12}026-01-01T00:00", None),
    ] {
        assert_eq!(time(text), expected, "{text}");
    }
}

#[test]
fn forecasts_have_a_picture() {
    for (text, sky, night) in [
        ("Fair", "clear", false),
        ("Fair (Night)", "clear", true),
        ("Fair and Warm", "clear", false),
        ("Partly Cloudy (Day)", "partly", false),
        ("Partly Cloudy (Night)", "partly", true),
        ("Cloudy", "cloudy", false),
        ("Slightly Hazy", "haze", false),
        ("Mist", "haze", false),
        ("Fog", "haze", false),
        ("Windy", "wind", false),
        ("Light Rain", "rain", false),
        ("Heavy Rain", "rain", false),
        ("Passing Showers", "showers", false),
        ("Heavy Thundery Showers with Gusty Winds", "storm", false),
        ("<script>", "unknown", false),
        ("", "unknown", false),
    ] {
        let what = serde_json::to_value(What::forecast(text)).expect("JSON");
        assert_eq!(what, json!({ "text": text, "sky": sky, "night": night }));
    }
}

#[test]
fn texts_and_locations_are_bounded() {
    assert_eq!(short("  Tuas\n"), "Tuas");
    assert_eq!(short(&"é".repeat(81)), "é".repeat(80));
    let at =
        |latitude, longitude| location(&json!({ "latitude": latitude, "longitude": longitude }));
    assert_eq!(at(json!(-90), json!(180.0)), Some((-90.0, 180.0)));
    assert_eq!(at(json!(90.1), json!(0)), None);
    assert_eq!(at(json!(0), json!(-181)), None);
    assert_eq!(at(json!("1"), json!(1)), None);
    assert_eq!(location(&json!(null)), None);
}
