//! The library at work: figures that fit together, and clients that stop reading.

use serde_json::{Value, json};

use super::*;

const OK: &str = "HTTP/1.1 200 OK";
const NO_CONTENT: &str = "HTTP/1.1 204 No Content";
const BAD_REQUEST: &str = "HTTP/1.1 400 Bad Request";
const NOT_FOUND: &str = "HTTP/1.1 404 Not Found";
const KEPT: u64 = 1000;

#[test]
fn who_stops_reading_falls_behind_and_is_told_its_gap() {
    let demo = Demo::start("dashboard", &[]);
    let mut figures = demo.get("/events?topic=figures", "");
    assert_eq!(ask(&demo, "POST", "/rate", "2000"), NO_CONTENT);
    assert_eq!(ask(&demo, "POST", "/clients", ""), "HTTP/1.1 201 Created");

    let overtaken = until(&mut figures, |now| {
        now["clients"][0]["behind"] == KEPT && now["evicted"].as_u64() > Some(5000)
    });
    let client = &overtaken["clients"][0];
    assert_eq!(
        (&client["state"], &client["number"]),
        (&json!("stalled"), &json!(1))
    );
    assert_eq!(
        (&client["received"], &client["gap"]),
        (&json!(0), &Value::Null)
    );
    assert_eq!(overtaken["behind"], KEPT);
    assert_eq!(overtaken["gaps"], 0, "it is told when it reads");

    assert_eq!(ask(&demo, "POST", "/clients/1/resume", ""), NO_CONTENT);
    let told = until(&mut figures, |now| {
        let client = &now["clients"][0];
        client["gaps"] == 1 && client["received"].as_u64() > Some(KEPT)
    });
    let client = &told["clients"][0];
    assert_eq!(client["gap"]["reason"], "slow");
    assert_eq!(client["gap"]["missed"], client["missed"].to_string());
    assert_eq!(
        client["adds_up"], true,
        "received and missed are all there is: {client}"
    );
    assert_eq!(client["state"], "reading");
    assert_eq!(
        (&told["gaps"], &told["missed"]),
        (&json!(1), &client["missed"])
    );
    assert!(client["missed"].as_u64() > Some(0));

    // And once more, of what it misses now.
    assert_eq!(ask(&demo, "POST", "/clients/1/stall", ""), NO_CONTENT);
    let evicted = told["evicted"].as_u64().expect("a number");
    until(&mut figures, |now| {
        let client = &now["clients"][0];
        client["behind"] == KEPT && now["evicted"].as_u64() > Some(evicted + 5000)
    });
    assert_eq!(ask(&demo, "POST", "/clients/1/resume", ""), NO_CONTENT);
    let again = until(&mut figures, |now| now["clients"][0]["gaps"] == 2);
    assert_eq!(again["clients"][0]["adds_up"], true);

    assert_eq!(ask(&demo, "DELETE", "/clients/1", ""), NO_CONTENT);
    until(&mut figures, |now| {
        now["clients"] == json!([]) && now["subscribers"] == 0
    });
}

#[test]
fn the_figures_fit_together_at_any_rate() {
    let demo = Demo::start("dashboard", &[]);
    let mut figures = demo.get("/events?topic=figures", "");
    let mut events = demo.get("/events?topic=events", "");
    let mut last = 0;
    for rate in [5000, 1, 200] {
        assert_eq!(ask(&demo, "POST", "/rate", &rate.to_string()), NO_CONTENT);
        let now = until(&mut figures, |now| now["rate"] == rate);
        let figure = |name: &str| now[name].as_u64().expect(name);
        assert_eq!(figure("submitted"), figure("retained") + figure("evicted"));
        assert!(figure("retained") <= KEPT);
        assert!(figure("retained_bytes") >= 100 * figure("retained"));
        assert_eq!(figure("kept"), KEPT);
        assert_eq!(figure("max_rate"), 5000);
        if cfg!(target_os = "linux") {
            assert!(figure("memory") > 1 << 20);
        }
    }
    // Who reads has each, by its number, or is told.
    for event in events.events(300) {
        let data: Value = serde_json::from_str(&event.data).expect("JSON");
        if event.name.as_deref() == Some("gap") {
            let missed = data["missed"].as_str().map(str::parse::<u64>);
            last += missed.expect("how many").expect("a number");
            continue;
        }
        assert_eq!(event.name, None);
        let number = data["n"].as_u64().expect("a number");
        assert!(last == 0 || number == last + 1, "{number} behind {last}");
        last = number;
    }

    assert_eq!(ask(&demo, "POST", "/rate", "0"), NO_CONTENT);
    let still = until(&mut figures, |now| {
        now["rate"] == 0 && now["published_per_second"] == 0
    });
    let after = said(&figures.event());
    assert_eq!(still["submitted"], after["submitted"]);
    // Who comes now is told them at once.
    let now = said(&demo.get("/events", "").event());
    assert_eq!(now["submitted"], still["submitted"]);
}

#[test]
fn what_cannot_be_done_is_refused() {
    let demo = Demo::start("dashboard", &[]);
    for rate in ["", "-1", "5001", "x", "1.5", "99999999999999999999", " 1"] {
        assert_eq!(ask(&demo, "POST", "/rate", rate), BAD_REQUEST, "{rate:?}");
    }
    for path in [
        "/clients/1/resume",
        "/clients/1/stall",
        "/clients/1/other",
        "/clients//stall",
        "/clients/-1/stall",
        "/clients/99999999999999999999/stall",
        "/clients/1/stall/",
        "/nothing",
    ] {
        assert_eq!(ask(&demo, "POST", path, ""), NOT_FOUND, "{path}");
    }
    assert_eq!(ask(&demo, "DELETE", "/clients/1", ""), NOT_FOUND);
    for _ in 0..6 {
        assert_eq!(ask(&demo, "POST", "/clients", ""), "HTTP/1.1 201 Created");
    }
    assert_eq!(ask(&demo, "POST", "/clients", ""), "HTTP/1.1 409 Conflict");
    assert_eq!(ask(&demo, "DELETE", "/clients/3", ""), NO_CONTENT);
    assert_eq!(ask(&demo, "POST", "/clients/3/resume", ""), NOT_FOUND);
    assert_eq!(ask(&demo, "POST", "/clients", ""), "HTTP/1.1 201 Created");
    assert_eq!(ask(&demo, "POST", "/clients/7/resume", ""), NO_CONTENT);
    for (method, path, allowed) in [
        ("GET", "/rate", "POST"),
        ("GET", "/clients", "POST"),
        ("GET", "/clients/1/stall", "POST"),
        ("GET", "/clients/1", "DELETE"),
        ("POST", "/dashboard.js", "GET, HEAD"),
    ] {
        let response = demo.ask(&format!("{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n"));
        assert_eq!(response.status, "HTTP/1.1 405 Method Not Allowed", "{path}");
        assert_eq!(response.header("allow"), Some(allowed), "{path}");
    }
    for path in [
        "/events?topic=nowhere",
        "/events?topic=events&topic=%23",
        "/events?topic=",
    ] {
        assert_eq!(demo.get(path, "").status, NOT_FOUND, "{path}");
    }
    assert_eq!(
        demo.get("/events?topic=events&topic=figures", "").status,
        OK
    );
}

#[test]
fn a_signal_ends_the_streams_of_dashboard() {
    for signal in ["INT", "TERM"] {
        let mut demo = Demo::start("dashboard", &[]);
        assert_eq!(ask(&demo, "POST", "/rate", "5000"), NO_CONTENT);
        let path = "/events?topic=figures";
        let mut streams: Vec<_> = (0..20).map(|_| demo.get(path, "")).collect();
        for stream in &mut streams {
            stream.event();
        }
        let _stalled = stalled(demo.addr);
        for _ in 0..3 {
            assert_eq!(ask(&demo, "POST", "/clients", ""), "HTTP/1.1 201 Created");
        }
        let took = demo.signal(signal);
        let ended: Vec<_> = streams.iter_mut().map(Response::rest).collect();
        let took = took.elapsed_until(|| demo.wait_for_success());
        assert!(took < Duration::from_secs(2), "{took:?}");
        for (stream, rest) in streams.iter().zip(&ended) {
            assert_retry(rest);
            assert_eq!(stream.last_bytes, "0\r\n\r\n", "the terminating chunk");
        }
    }
}

/// Returns the status.
fn ask(demo: &Demo, method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    demo.ask(&(head + body)).status
}

fn said(event: &Event) -> Value {
    assert_eq!(event.name.as_deref(), Some("figures"));
    serde_json::from_str(&event.data).expect("JSON")
}

/// The first figures of which this holds.
fn until(figures: &mut Response, holds: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let now = said(&figures.event());
        if holds(&now) {
            return now;
        }
        assert!(Instant::now() < end, "{now}");
    }
}
