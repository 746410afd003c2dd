//! The weather, as a user starts and stops it. What it makes of its sources is judged in
//! `tests/weather`, without a process.

use std::collections::HashSet;

use serde_json::Value;

use super::*;

/// Without any network.
const SAMPLE: &[&str] = &["--source", "sample", "--every", "1"];

const KINDS: [&str; 5] = ["temperature", "humidity", "wind", "rain", "forecast"];

/// An event, which is JSON of the sample.
fn read(event: &Event) -> (String, Value) {
    let name = event.name.clone().expect("a name");
    let told: Value = serde_json::from_str(&event.data).expect("JSON");
    assert_eq!(told["source"], "sample", "{event:?}");
    (name, told)
}

#[test]
fn who_comes_gets_all_that_is_known() {
    let demo = Demo::start("weather", SAMPLE);
    // Until it has played its first hour.
    let mut early = demo.get("/events?topic=point", "");
    early.events(60);

    let mut stream = demo.get("/events", "");
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    let mut points = 0;
    let mut seen = HashSet::new();
    while points < 60 || seen.len() < 8 {
        let (name, told) = read(&stream.event());
        match &*name {
            "status" => {
                assert_eq!(told["state"], "sample");
                assert_eq!(told["is_sample"], true);
            }
            "places" => assert_eq!(told["places"].as_object().expect("some").len(), 12),
            "point" => points += 1,
            kind => {
                assert!(KINDS.contains(&kind), "{kind}");
                assert_eq!(told["values"].as_object().expect("some").len(), 12);
            }
        }
        seen.insert(name);
    }
}

#[test]
fn who_comes_back_gets_what_has_changed() {
    let demo = Demo::start("weather", SAMPLE);
    let mut stream = demo.get("/events?topic=point&topic=status", "");
    let events = stream.events(62);
    let (at, last) = (&events[30], events.last().expect("some"));
    let back = format!("Last-Event-ID: {}\r\n", at.id);
    let mut back = demo.get("/events?topic=point&topic=status", &back);
    let mut again = Vec::new();
    while again.last() != Some(last) {
        again.push(back.event());
    }
    let known: Vec<_> = events[31..].to_vec();
    assert_eq!(again, known, "each once, and the status not again");
}

#[test]
fn a_stream_is_of_the_topics_that_are_asked_for() {
    let demo = Demo::start("weather", SAMPLE);
    let mut stream = demo.get("/events?topic=wind&topic=rain", "");
    let names: HashSet<_> = stream.events(6).iter().map(|event| read(event).0).collect();
    assert_eq!(names, ["wind", "rain"].map(str::to_owned).into());
    for path in [
        "/events?topic=",
        "/events?topic=snow",
        "/events?topic=%23",
        "/events?topic=wind&topic=%2B",
        "/events?topic=WIND",
        "/events/",
        "/nothing",
    ] {
        let status = demo.get(path, "").status;
        assert_eq!(status, "HTTP/1.1 404 Not Found", "{path}");
    }
    for path in ["/", "/style.css", "/events"] {
        let post = format!("POST {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        let response = demo.ask(&post);
        assert_eq!(response.status, "HTTP/1.1 405 Method Not Allowed");
        assert_eq!(response.header("allow"), Some("GET, HEAD"));
    }
}

#[test]
fn its_page_needs_nothing_from_elsewhere() {
    let demo = Demo::start("weather", SAMPLE);
    let mut page = demo.get("/", "");
    assert_eq!(page.status, "HTTP/1.1 200 OK");
    let text = page.body();
    assert!(text.starts_with("<!doctype html>"));
    for part in [
        r#"<html lang="en">"#,
        r#"new EventSource("/events")"#,
        r#"role="status""#,
        "prefers-reduced-motion",
        "prefers-color-scheme: dark",
    ] {
        assert!(text.contains(part), "{part}");
    }
    for foreign in ["http:", "https://", "//cdn", "innerHTML", "@import", "url("] {
        assert!(!text.contains(foreign), "{foreign}");
    }
    let mut style = demo.get("/style.css", "");
    assert!(style.body().contains("prefers-color-scheme: dark"));
}

#[test]
fn a_source_that_is_not_there_is_replaced_by_the_sample() {
    // A port at which nobody listens, as long as it is ours.
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = nobody.local_addr().expect("bound");
    drop(nobody);
    let upstream = format!("http://{address}");
    let demo = Demo::start("weather", &["--upstream", &upstream]);
    let mut stream = demo.get("/events?topic=status&topic=forecast", "");
    let state = loop {
        let event = stream.event();
        let told: Value = serde_json::from_str(&event.data).expect("JSON");
        if told["is_sample"] == true {
            break told;
        }
    };
    assert_eq!(state["state"], "sample");
    assert_eq!(state["fault"], "cannot be reached");

    // And not where it is not wanted.
    let args = ["--source", "data.gov.sg", "--upstream", &upstream];
    let demo = Demo::start("weather", &args);
    let mut stream = demo.get("/events?topic=status&topic=forecast", "");
    loop {
        let event = stream.event();
        assert_eq!(event.name.as_deref(), Some("status"));
        let told: Value = serde_json::from_str(&event.data).expect("JSON");
        assert_eq!(told["source"], "data.gov.sg");
        if told["state"] == "down" {
            break;
        }
    }
}

#[test]
fn a_signal_ends_its_streams_and_its_poller() {
    // A source that takes a connection and says nothing, in the middle of a poll.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let upstream = format!("http://{}", silent.local_addr().expect("bound"));
    for signal in ["INT", "TERM"] {
        for args in [SAMPLE, &["--upstream", &upstream]] {
            let mut demo = Demo::start("weather", args);
            let mut stream = demo.get("/events", "");
            stream.event();
            let clock = demo.signal(signal);
            assert_retry(&stream.rest());
            let took = clock.elapsed_until(|| demo.wait_for_success());
            assert!(took < Duration::from_secs(2), "{took:?}");
        }
    }
}

#[test]
fn its_arguments_are_checked() {
    for args in [
        &["--nonsense"][..],
        &["--every"],
        &["--every", "0"],
        &["--every", "1.5"],
        &["--every", "86401"],
        &["--every=99999999999999999999"],
        &["--listen", "nowhere"],
        &["--source", "rain"],
        &["--source"],
        &["--upstream", "ftp://127.0.0.1"],
        &["--upstream", "127.0.0.1:80"],
        &["--upstream", "http://127.0.0.1/?a=b"],
        &["--pace", "60001"],
        &["--pace", "-1"],
        &["--latitude", "1"],
        &["--longitude", "1"],
        &["--latitude", "91", "--longitude", "1"],
        &["--latitude", "NaN", "--longitude", "1"],
        &["--latitude", "1", "--longitude", "-180.1"],
        &["--source", "sample", "--latitude", "1", "--longitude", "1"],
        &["--source", "data.gov.sg", "--latitude=1", "--longitude=1"],
    ] {
        let output = run("weather", args);
        let stderr = one_line(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.starts_with("weather: "), "{stderr}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = taken.local_addr().expect("bound").to_string();
    let output = run("weather", &[SAMPLE, &["--listen", &addr]].concat());
    assert_eq!(output.status.code(), Some(1));
    let told = format!("weather: cannot listen on {addr}: ");
    assert!(one_line(&output.stderr).starts_with(&told));

    let output = run("weather", &["--help"]);
    assert!(output.status.success() && output.stderr.is_empty());
    let help = String::from_utf8(output.stdout).expect("UTF-8");
    for told in [
        "--listen ADDR",
        "127.0.0.1:9000",
        "--every SECONDS",
        "--source SOURCE",
        "--latitude",
        "--longitude",
        "--upstream URL",
        "--pace MILLISECONDS",
    ] {
        assert!(help.contains(told), "{told} in {help}");
    }
}
