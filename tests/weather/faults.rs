//! What a source may do, and what becomes of it.

use serde_json::json;

use super::*;
use crate::upstream::{LONG, Reply, set, singapore};

/// Of what hangs nothing is expected, so this may be short.
const SHORT: Duration = Duration::from_millis(250);

const BYTES: usize = 64 * 1024;

fn limits(whole: Duration) -> Limits {
    Limits {
        connect: LONG,
        whole,
        bytes: BYTES,
    }
}

#[tokio::test]
async fn no_fault_ends_the_poller() {
    let faults: Vec<(Reply, &str)> = vec![
        (Reply::TooMany(None), "wants to be asked less often"),
        (Reply::TooMany(Some("0")), "wants to be asked less often"),
        (Reply::TooMany(Some("soon")), "wants to be asked less often"),
        (Reply::Status(500), "answers 500"),
        (Reply::Status(404), "answers 404"),
        (Reply::Status(302), "answers 302"),
        (Reply::Status(204), "answers 204"),
        (Reply::Raw(Vec::new()), "answers what is not JSON"),
        (
            Reply::Raw(b"<html>busy</html>".to_vec()),
            "answers what is not JSON",
        ),
        (Reply::Raw(vec![0xff, 0xfe, 0]), "answers what is not JSON"),
        (
            Reply::Raw(br#"{"code":0,"data":{"stations":["#.to_vec()),
            "answers what is not JSON",
        ),
        (
            Reply::Raw("[".repeat(10_000).into()),
            "answers what is not JSON",
        ),
        (
            Reply::Raw(vec![b' '; BYTES + 1]),
            "answers more than is read",
        ),
        (Reply::Endless, "answers more than is read"),
        (Reply::Cut(set("/rainfall", 1.0)), "cannot be reached"),
        (Reply::Json(json!(null)), "answers without readings"),
        (Reply::Json(json!([])), "answers without readings"),
        (Reply::Json(json!("no")), "answers without readings"),
        (
            Reply::Json(json!({ "data": { "readings": [] } })),
            "answers without a reading",
        ),
        (
            Reply::Json(json!({ "data": { "readings": [7, null, { "data": 7 }] } })),
            "answers without a value",
        ),
        (
            Reply::Json(json!({ "code": 4, "errorMsg": "bad date", "data": {} })),
            "answers: bad date",
        ),
    ];
    let upstream = Upstream::start(singapore(20.0)).await;
    let mut scene = Scene::singapore(&upstream, limits(LONG), None);
    scene.degrees(20.0).await;
    for (turn, (reply, fault)) in (1..).zip(faults) {
        let degrees = 20.0 + f64::from(turn);
        let told = reply.clone();
        upstream.answer(move |_| reply.clone());
        let stale = scene.state("stale").await;
        let stale = if stale["fault"] == fault {
            stale
        } else {
            // The fault of another kind, in a poll that was good at its beginning.
            scene
                .until("status", |status| status["fault"] == fault)
                .await
        };
        assert_eq!(stale["source"], "data.gov.sg", "{told:?}");
        assert_eq!(scene.now("temperature")["values"]["S109"], degrees - 1.0);
        upstream.answer(singapore(degrees));
        let live = scene.state("live").await;
        assert_eq!(live["fault"], json!(null), "{told:?}");
        assert_ne!(live["missing"].as_array().map(Vec::len), Some(5));
        scene.degrees(degrees).await;
    }
}

#[tokio::test]
async fn what_hangs_is_let_go_of() {
    let upstream = Upstream::start(|_| Reply::Hang).await;
    let mut scene = Scene::singapore(&upstream, limits(SHORT), None);
    let down = scene.state("down").await;
    assert_eq!(down["fault"], "does not answer in time");
    assert_eq!(
        scene.now("status")["missing"].as_array().map(Vec::len),
        Some(5)
    );

    // One request a poll: nothing else is asked of who hangs. Each begins with another.
    upstream.more(4).await;
    let asked = upstream.asked();
    let expected = [
        "/air-temperature",
        "/relative-humidity",
        "/wind-speed",
        "/rainfall",
        "/two-hr-forecast",
    ];
    assert_eq!(asked[..5], expected);

    // So one that hangs does not keep the others away for ever.
    upstream.answer(|path| match path {
        "/air-temperature" => Reply::Hang,
        _ => Reply::Json(set(path, 1.0)),
    });
    scene.until("forecast", |_| true).await;
    scene
        .until("status", |status| {
            status["missing"] == json!(["temperature"])
        })
        .await;
    upstream.answer(singapore(30.0));
    scene.degrees(30.0).await;
    scene
        .until("status", |status| status["missing"] == json!([]))
        .await;
}

#[tokio::test]
async fn what_is_not_there_is_found_when_it_comes() {
    let upstream = Upstream::start(singapore(20.0)).await;
    let address = upstream.address();
    let mut scene = Scene::singapore(&upstream, limits(LONG), None);
    scene.degrees(20.0).await;
    drop(upstream);
    let stale = scene.state("stale").await;
    assert_eq!(stale["fault"], "cannot be reached");
    assert_eq!(scene.now("temperature")["values"]["S109"], 20.0);
    let upstream = Upstream::start_at(address, singapore(21.0)).await;
    scene.state("live").await;
    scene.degrees(21.0).await;
    assert!(!upstream.asked().is_empty());
}

#[tokio::test]
async fn a_server_without_tls_is_no_server_of_https() {
    let upstream = Upstream::start(singapore(20.0)).await;
    let fetch = Fetch::new(limits(LONG));
    let address = format!("https://{}/air-temperature", upstream.address());
    let fault = fetch.json(&address).await.expect_err("no TLS");
    assert_eq!(fault, source::Fault::Unreachable);
    assert!(upstream.asked().is_empty());
    let address = format!("http://{}/air-temperature", upstream.address());
    assert_eq!(
        fetch.json(&address).await,
        Ok(set("/air-temperature", 20.0))
    );
}

#[tokio::test]
async fn what_fails_alone_is_missing_alone() {
    let upstream = Upstream::start(|path| match path {
        "/rainfall" => Reply::Status(503),
        "/wind-direction" => Reply::Raw(b"{".to_vec()),
        _ => Reply::Json(set(path, 20.0)),
    })
    .await;
    let mut scene = Scene::singapore(&upstream, limits(LONG), Some(Duration::ZERO));
    let status = scene
        .until("status", |status| status["missing"] == json!(["rain"]))
        .await;
    assert_eq!(status["state"], "live");
    assert_eq!(status["fault"], "answers 503");
    assert_eq!(
        scene.now("wind")["values"],
        json!({ "S109": { "speed": 18.5, "direction": null },
            "S24": { "speed": 0.0, "direction": null } })
    );
    let told = scene.submitted("status");
    upstream.more(3 * 6).await;
    upstream.answer(singapore(21.0));
    let status = scene
        .until("status", |status| status["missing"] == json!([]))
        .await;
    assert_eq!(status["fault"], json!(null));
    // It did not come and go with every poll.
    assert_eq!(scene.submitted("status") - told, 1);
    assert_eq!(scene.submitted("rain"), 1);
}

#[tokio::test]
async fn the_sample_is_played_until_there_is_something_live() {
    let upstream = Upstream::start(|_| Reply::Status(500)).await;
    let mut scene = Scene::singapore(&upstream, limits(LONG), Some(Duration::from_secs(3600)));
    let status = scene.state("sample").await;
    assert_eq!(status["is_sample"], true);
    assert_eq!(status["fault"], "answers 500");
    for _ in 0..100 {
        let told = scene
            .until("temperature", |told| told["source"] == "sample")
            .await;
        assert_eq!(
            told["values"].as_object().map(serde_json::Map::len),
            Some(12)
        );
    }

    // From the status on which it is live nothing of the sample is told, nor kept in the
    // place of what is missing.
    upstream.answer(|path| match path {
        "/rainfall" => Reply::Status(500),
        _ => Reply::Json(set(path, 20.0)),
    });
    let live = scene.state("live").await;
    assert_eq!(live["is_sample"], false);
    let begun = scene.told.len();
    scene.degrees(20.0).await;
    upstream.more(12).await;
    let places = scene.now("places");
    let names: Vec<_> = places["places"].as_object().expect("some").keys().collect();
    assert_eq!(names, ["Bishan", "S109", "S24", "Tuas"]);
    upstream.answer(singapore(21.0));
    scene.degrees(21.0).await;
    for (topic, told) in &scene.told[begun..] {
        assert_eq!(told["source"], "data.gov.sg", "{topic}");
        assert_eq!(told.get("rain"), (topic == "point").then_some(&json!(null)));
    }

    // What was live stays for its hour.
    upstream.answer(|_| Reply::Status(500));
    scene.state("stale").await;
    let asked = scene.told.len();
    upstream.more(5 * 5).await;
    upstream.answer(singapore(22.0));
    scene.degrees(22.0).await;
    for (topic, told) in &scene.told[asked..] {
        assert_eq!(told["source"], "data.gov.sg", "{topic}");
    }
}

#[tokio::test]
async fn what_was_live_too_long_ago_gives_way_to_the_sample() {
    let upstream = Upstream::start(singapore(20.0)).await;
    let mut scene = Scene::singapore(&upstream, limits(LONG), Some(Duration::ZERO));
    scene.degrees(20.0).await;
    upstream.answer(|_| Reply::TooMany(Some("1")));
    scene.state("sample").await;
    scene.until("rain", |told| told["source"] == "sample").await;
    upstream.answer(singapore(21.0));
    scene.state("live").await;
    scene.degrees(21.0).await;
}
