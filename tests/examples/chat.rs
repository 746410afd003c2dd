//! The chat of many rooms.

use serde_json::{Value, json};

use super::*;

#[test]
fn one_connection_reads_the_rooms_that_it_asks_for() {
    let demo = Demo::start("chat", &[]);
    let mut both = demo.get("/events?topic=lobby&topic=garden", "");
    let mut one = demo.get("/rooms/lobby/events", "");
    let mut ids = Vec::new();
    for (room, text) in [
        ("lobby", "hello"),
        ("garden", "roses"),
        ("kitchen", "tea"),
        ("lobby", "data: x"),
        ("garden", "Füße 🦀"),
    ] {
        ids.push((room, text, submit(&demo, room, text)));
    }
    let event = |(room, text, id): &(&str, &str, String)| Event {
        id: id.clone(),
        name: Some((*room).to_owned()),
        data: (*text).to_owned(),
    };
    let of = |rooms: &[&str]| -> Vec<Event> {
        let those = ids.iter().filter(|(room, ..)| rooms.contains(room));
        those.map(event).collect()
    };
    assert_eq!(both.events(4), of(&["lobby", "garden"]));
    assert_eq!(one.events(2), of(&["lobby"]));

    // One id resumes both, also the id of an event that was not among them, and not in
    // the header.
    for (seen, missed) in [(0, 3), (1, 2), (2, 2), (3, 1)] {
        let id = &ids[seen].2;
        let expected = of(&["lobby", "garden"]).split_off(4 - missed);
        let header = format!("Last-Event-ID: {id}\r\n");
        let mut back = demo.get("/events?topic=lobby&topic=garden", &header);
        assert_eq!(back.events(missed), expected);
        let path = format!("/events?topic=garden&topic=lobby&lastEventId={id}");
        assert_eq!(demo.get(&path, "").events(missed), expected);
    }
}

#[test]
fn what_is_no_room_is_not_there() {
    let demo = Demo::start("chat", &[]);
    for path in [
        "/events",
        "/events?topic=",
        "/events?topic=nowhere",
        "/events?topic=lobby&topic=nowhere",
        "/events?topic=lobby&topic=%2B",
        "/events?topic=%23",
        "/events?topic=presence/nowhere",
        "/events?topic=presence/presence/lobby",
        "/events?topic=lobby%00",
        "/events/",
        "/rooms/nowhere/events",
        "/rooms/%6cobby/events",
        "/topics/nowhere",
        "/topics/lobby/",
        "/topics/%23",
        "/topics/",
        "/nothing",
    ] {
        assert_eq!(demo.get(path, "").status, NOT_FOUND, "{path}");
    }
    for name in ["nowhere", "%23", "a//b", "presence/lobby", "people/lobby"] {
        assert_eq!(post(&demo, name, "", b"x").status, NOT_FOUND, "{name}");
    }
    assert_eq!(counts(&demo, "lobby")["hub"]["subscribers"], 1, "its own");
}

#[test]
fn a_private_room_is_for_who_has_the_token() {
    let demo = Demo::start("chat", &[]);
    let paths = [
        "/events?topic=staff",
        "/events?topic=lobby&topic=staff",
        "/events?topic=presence/staff",
        "/events?topic=people%2Fstaff",
        "/rooms/staff/events",
        "/topics/staff",
    ];
    for path in paths {
        for headers in ["", "authorization: Bearer other\r\n", "token: sesame\r\n"] {
            assert_eq!(demo.get(path, headers).status, FORBIDDEN, "{path}");
        }
        let mark = if path.contains('?') { '&' } else { '?' };
        let path_of = |token| format!("{path}{mark}token={token}");
        assert_eq!(demo.get(&path_of("sesam"), "").status, FORBIDDEN);
        assert_eq!(demo.get(&path_of("sesame"), "").status, OK, "{path}");
        assert_eq!(demo.get(path, BEARER).status, OK, "{path}");
    }
    assert_eq!(post(&demo, "staff", "", b"x").status, FORBIDDEN);
    let mut stream = demo.get("/events?topic=staff", BEARER);
    assert_eq!(post(&demo, "staff", BEARER, b"x").status, ACCEPTED);
    assert_eq!(stream.event().data, "x");
}

#[test]
fn what_cannot_be_said_is_refused_with_the_reason() {
    let demo = Demo::start("chat", &[]);
    let mut stream = demo.get("/rooms/lobby/events", "");
    let much = vec![b'x'; 16 * 1024 + 1];
    for (body, status) in [
        (&b"\xff"[..], "HTTP/1.1 400 Bad Request"),
        (&much, "HTTP/1.1 413 Payload Too Large"),
        // Together with its name.
        (&much[1..], "HTTP/1.1 413 Payload Too Large"),
    ] {
        assert_eq!(post(&demo, "lobby", "", body).status, status);
    }
    for (method, path, allowed) in [
        ("PUT", "/topics/lobby", "GET,HEAD,POST"),
        ("POST", "/events?topic=lobby", "GET, HEAD"),
        ("POST", "/rooms/lobby/events", "GET, HEAD"),
        ("POST", "/", "GET,HEAD"),
    ] {
        let response = demo.ask(&format!("{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n"));
        assert_eq!(response.status, "HTTP/1.1 405 Method Not Allowed");
        assert_eq!(response.header("allow"), Some(allowed), "{method} {path}");
    }
    let id = submit(&demo, "lobby", "");
    assert_eq!(stream.event().id, id, "nothing before it");
}

#[test]
fn who_reads_is_counted_and_told() {
    let demo = Demo::start("chat", &[]);
    let mut watcher = demo.get("/events?topic=presence/lobby", "");
    let mut people = demo.get("/events?topic=people/lobby", "");
    let mut presence = |name: &str, data: Value| {
        let event = watcher.event();
        assert_eq!(event.name.as_deref(), Some(name));
        assert_eq!(
            serde_json::from_str::<Value>(&event.data).expect("JSON"),
            data
        );
        let event = people.event();
        assert_eq!(event.name.as_deref(), Some("people/lobby"));
        serde_json::from_str::<Value>(&event.data).expect("JSON")
    };
    let ann = demo.get("/events?topic=lobby&topic=garden&name=ann", "");
    assert_eq!(
        presence("join", json!({"topic": "lobby", "name": "ann", "count": 1})),
        json!({"count": 1, "names": ["ann"]})
    );
    let bob = demo.get("/rooms/lobby/events?name=b%22ob", "");
    assert_eq!(
        presence(
            "join",
            json!({"topic": "lobby", "name": "b\"ob", "count": 2})
        ),
        json!({"count": 2, "names": ["ann", "b\"ob"]})
    );
    let nobody = demo.get("/rooms/lobby/events", "");
    assert_eq!(
        presence("join", json!({"topic": "lobby", "count": 3})),
        json!({"count": 3, "names": ["ann", "b\"ob"]})
    );

    let newest = submit(&demo, "lobby", "hello");
    let known = counts(&demo, "lobby");
    assert_eq!(known["topic"], "lobby");
    assert_eq!(known["subscribers"], 3);
    assert_eq!(known["newest"], newest);
    // The two that watch, and its own.
    assert_eq!(known["hub"]["subscribers"], 6);
    assert_eq!(counts(&demo, "garden")["subscribers"], 1);
    assert_eq!(counts(&demo, "kitchen")["subscribers"], 0);
    assert_eq!(counts(&demo, "kitchen")["newest"], Value::Null);

    drop(ann);
    assert_eq!(
        presence(
            "leave",
            json!({"topic": "lobby", "name": "ann", "count": 2})
        ),
        json!({"count": 2, "names": ["b\"ob"]})
    );
    drop((bob, nobody));
    watcher.events(2);
    // The latest value alone is there for who comes now.
    while counts(&demo, "people/lobby")["newest"] != people.event().id {}
    let late = demo.get("/events?topic=people/lobby", "").event();
    assert_eq!(late.data, r#"{"count":0,"names":[]}"#);
}

#[test]
fn who_was_away_for_too_long_is_told_a_gap_of_that_room() {
    let demo = Demo::start("chat", &[]);
    let first = submit(&demo, "garden", "0");
    let lobby = submit(&demo, "lobby", "only one");
    for number in 1..=310 {
        submit(&demo, "garden", &number.to_string());
    }
    let header = format!("Last-Event-ID: {first}\r\n");
    let mut back = demo.get("/events?topic=lobby&topic=garden", &header);
    assert_eq!(back.event().id, lobby, "of this room nothing is lost");
    let gap = back.event();
    assert_eq!(gap.name.as_deref(), Some("gap"));
    let told: Value = serde_json::from_str(&gap.data).expect("JSON");
    assert_eq!(told["reason"], "evicted");
    let rest = back.events(300);
    assert_eq!(rest[0].data, "11");
    assert_eq!(rest[299].data, "310");
    // Who begins gets some.
    assert_eq!(demo.get("/rooms/garden/events", "").event().data, "261");
}

#[test]
fn a_signal_ends_the_streams_of_chat() {
    for signal in ["INT", "TERM"] {
        let mut demo = Demo::start("chat", &[]);
        let path = "/events?topic=lobby&topic=garden";
        let mut streams: Vec<_> = (0..20).map(|_| demo.get(path, "")).collect();
        submit(&demo, "garden", "hello");
        for stream in &mut streams {
            stream.event();
        }
        let _stalled = stalled(demo.addr);
        let _silent = TcpStream::connect(demo.addr).expect("connected");
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

const OK: &str = "HTTP/1.1 200 OK";
const ACCEPTED: &str = "HTTP/1.1 202 Accepted";
const FORBIDDEN: &str = "HTTP/1.1 403 Forbidden";
const NOT_FOUND: &str = "HTTP/1.1 404 Not Found";
const BEARER: &str = "authorization: Bearer sesame\r\n";

fn post(demo: &Demo, topic: &str, headers: &str, body: &[u8]) -> Response {
    let stream = connect(demo.addr);
    let length = body.len();
    let head = format!(
        "POST /topics/{topic} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    (&stream).write_all(head.as_bytes()).expect("sent");
    // A server that refuses it does not read all of it.
    let _ = (&stream).write_all(body);
    Response::read(BufReader::new(stream))
}

/// Says something that is taken; returns its id.
fn submit(demo: &Demo, topic: &str, text: &str) -> String {
    let mut response = post(demo, topic, "", text.as_bytes());
    assert_eq!(response.status, ACCEPTED);
    response.body()
}

fn counts(demo: &Demo, topic: &str) -> Value {
    let mut response = demo.get(&format!("/topics/{topic}"), "");
    assert_eq!(response.status, OK);
    assert_eq!(response.header("content-type"), Some("application/json"));
    serde_json::from_str(&response.body()).expect("JSON")
}
