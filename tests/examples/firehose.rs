//! The server that is measured.

use serde_json::Value;

use super::*;

#[test]
fn what_is_published_comes_as_it_is() {
    let demo = Demo::start("firehose", &[]);
    let mut stream = demo.get("/events", "");
    for text in ["hello", "", "data: x", "Füße 🦀"] {
        assert_eq!(publish(&demo, text.as_bytes()), "HTTP/1.1 204 No Content");
        assert_eq!(stream.event().data, text);
    }
    assert_eq!(stats(&demo), (1, 4, 0));

    assert_eq!(publish(&demo, b"\xff"), "HTTP/1.1 400 Bad Request");
    let large = vec![b'x'; (256 << 10) + 1];
    let refused = publish(&demo, &large);
    assert_eq!(refused, "HTTP/1.1 413 Payload Too Large");
    assert_eq!(stats(&demo), (1, 4, 0));
}

#[test]
fn as_many_events_come_as_are_asked_for_of_that_size() {
    let demo = Demo::start("firehose", &["--workers", "2"]);
    let mut streams: Vec<_> = (0..3).map(|_| demo.get("/events", "")).collect();
    for (query, count, size) in [
        ("", 1, 100),
        ("rate=1000&count=50&size=33", 50, 33),
        ("size=4096&count=3&rate=1000000", 3, 4096),
    ] {
        assert_eq!(go(&demo, query).status, "HTTP/1.1 202 Accepted", "{query}");
        for stream in &mut streams {
            let mut last = 0;
            for event in stream.events(count) {
                assert_eq!(event.data.len(), size, "{query}: {}", event.data);
                let data: Value = serde_json::from_str(&event.data).expect("JSON");
                let at = data["t"].as_u64().expect("a time");
                assert!(last <= at, "time goes on");
                last = at;
                let padding = data["p"].as_str().expect("a text");
                assert!(padding.bytes().all(|byte| byte == b'x'), "{padding}");
            }
        }
    }
    // The last event is there before the request that asked for it counts as done.
    let begun = Instant::now();
    while stats(&demo).2 > 0 {
        assert!(begun.elapsed() < PATIENCE, "it is never done");
        thread::yield_now();
    }
    assert_eq!(stats(&demo), (3, 54, 0));
}

#[test]
fn what_cannot_be_asked_for_is_refused() {
    let demo = Demo::start("firehose", &[]);
    for (query, fault) in [
        ("rate=0", "rate is a number from 1 to 1000000\n"),
        (
            "rate=1&count=-1",
            "count is a number from 1 to 4294967295\n",
        ),
        ("size=32", "size is a number from 33 to 262144\n"),
        ("size=262145", "size is a number from 33 to 262144\n"),
        ("sizes=100", "there are rate, count and size\n"),
    ] {
        let mut response = go(&demo, query);
        assert_eq!(response.status, "HTTP/1.1 400 Bad Request", "{query}");
        assert_eq!(response.body(), fault, "{query}");
    }
    for (path, allowed) in [("/go", "POST"), ("/pub", "POST")] {
        let response = demo.get(path, "");
        assert_eq!(response.status, "HTTP/1.1 405 Method Not Allowed");
        assert_eq!(response.header("allow"), Some(allowed));
    }
    assert_eq!(demo.get("/nothing", "").status, "HTTP/1.1 404 Not Found");
    assert_eq!(stats(&demo), (0, 0, 0));
}

#[test]
fn being_asked_to_stop_ends_the_streams() {
    for path in ["body", "detached"] {
        let mut demo = Demo::start("firehose", &["--path", path]);
        let mut streams: Vec<_> = (0..3).map(|_| demo.get("/events", "")).collect();
        assert_eq!(publish(&demo, b"last"), "HTTP/1.1 204 No Content");
        demo.signal("TERM");
        for stream in &mut streams {
            assert_eq!(stream.event().data, "last");
            assert_retry(&stream.rest());
        }
        demo.wait_for_success();
    }
}

#[test]
fn arguments_that_cannot_be_understood_are_told() {
    for (args, fault) in [
        (&["--path=x"][..], "\"x\" is neither body nor detached"),
        (&["--path"], "--path needs a value"),
        (&["--workers", "0"], "\"0\" is not a number from 1 to 64"),
        (&["--listen", "here"], "\"here\" is not an address"),
        (&["x"], "unknown argument \"x\""),
    ] {
        let output = run("firehose", args);
        let stderr = one_line(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(fault), "{stderr}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = taken.local_addr().expect("bound").to_string();
    let output = run("firehose", &["--listen", &addr]);
    assert_eq!(output.status.code(), Some(1));
    assert!(one_line(&output.stderr).contains(&addr));
}

fn publish(demo: &Demo, body: &[u8]) -> String {
    let stream = connect(demo.addr);
    let head = format!(
        "POST /pub HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    (&stream).write_all(head.as_bytes()).expect("sent");
    // A server that refuses it does not read all of it.
    let _ = (&stream).write_all(body);
    Response::read(BufReader::new(stream)).status
}

fn go(demo: &Demo, query: &str) -> Response {
    demo.ask(&format!(
        "POST /go?{query} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
    ))
}

/// Streams, submitted, running.
fn stats(demo: &Demo) -> (u64, u64, u64) {
    let stats = demo.get("/stats", "").body();
    let stats: Value = serde_json::from_str(&stats).expect("JSON");
    let count = |name: &str| stats[name].as_u64().expect("a count");
    (count("streams"), count("submitted"), count("running"))
}
