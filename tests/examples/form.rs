//! The form in blocking code: what it takes, what it refuses, and that nobody delays it.

use serde_json::{Value, json};

use super::*;

const SEE_OTHER: &str = "HTTP/1.1 303 See Other";
const FORM: &str = "application/x-www-form-urlencoded";

#[test]
fn what_is_posted_is_read_by_all() {
    let demo = Demo::start("form", &[]);
    let mut streams: Vec<_> = (0..3).map(|_| stream(&demo, "")).collect();
    let long = format!("text={}", "x".repeat(4096));
    let posts = [
        ("name=ann&text=hello", "ann", "hello"),
        ("text=a+b%20c%2Bd%26e%3D", "somebody", "a b c+d&e="),
        ("other=x&text=1&text=2&name=+b%6fb+&name=", "bob", "1"),
        ("text=F%C3%BC%C3%9Fe+%F0%9F%A6%80", "somebody", "Füße 🦀"),
        ("text=%", "somebody", "%"),
        ("text=%4&&=&x", "somebody", "%4"),
        ("text=%zz%+%41", "somebody", "%zz% A"),
        ("text=%FF", "somebody", "\u{fffd}"),
        (
            "text=%00%0Aid:+9%0D%0Adata:+x%0A%0A",
            "somebody",
            "\0\nid: 9\ndata: x\n\n",
        ),
        ("te%78t=%3Cscript%3E&na%6de=%22", "\"", "<script>"),
        (&long, "somebody", &long["text=".len()..]),
    ];
    for (body, _, _) in posts {
        let response = post(&demo, FORM, body.as_bytes());
        assert_eq!(response.status, SEE_OTHER, "{body}");
        assert_eq!(response.header("location"), Some("/"));
        assert_eq!(response.header("connection"), Some("close"));
    }
    // Sent as a browser sends it.
    let kind = "Application/X-WWW-form-urlencoded; charset=UTF-8";
    assert_eq!(post(&demo, kind, b"text=last").status, SEE_OTHER);
    for stream in &mut streams {
        for (body, name, text) in posts {
            assert_eq!(
                said(&stream.event()),
                json!({"name": name, "text": text}),
                "{body}"
            );
        }
        assert_eq!(said(&stream.event())["text"], "last");
    }
}

#[test]
fn what_is_no_post_is_refused_with_the_reason() {
    let demo = Demo::start("form", &[]);
    let mut reader = stream(&demo, "");
    let long = format!("text={}", "x".repeat(4097));
    let name = format!("text=x&name={}", "x".repeat(161));
    let huge = vec![b'x'; (64 << 10) + 1];
    for (kind, body, status) in [
        (FORM, &b""[..], "400 Bad Request"),
        (FORM, b"name=ann", "400 Bad Request"),
        (FORM, b"text=", "400 Bad Request"),
        (FORM, b"text=+%0A", "400 Bad Request"),
        (FORM, long.as_bytes(), "413 Content Too Large"),
        (FORM, name.as_bytes(), "413 Content Too Large"),
        (FORM, &huge, "413 Content Too Large"),
        ("text/plain", b"text=x", "415 Unsupported Media Type"),
        ("", b"text=x", "415 Unsupported Media Type"),
        (
            "multipart/form-data; boundary=x",
            b"--x--",
            "415 Unsupported Media Type",
        ),
    ] {
        let response = post(&demo, kind, body);
        assert_eq!(response.status, format!("HTTP/1.1 {status}"), "{kind}");
    }
    let header = format!("x: {}\r\n", "x".repeat(8 << 10));
    for (request, status) in [
        ("GET /nothing HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("GET /events HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("PUT / HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        ("POST /style.css HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        (
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "411 Length Required",
        ),
        (
            "POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
            "400 Bad Request",
        ),
        (
            "POST / HTTP/1.1\r\ncontent-length: 1e3\r\n\r\n",
            "400 Bad Request",
        ),
        (
            "POST / HTTP/1.1\r\ncontent-length: 99999999999999999999999\r\n\r\n",
            "400 Bad Request",
        ),
        ("POST / HTTP/1.1\r\nnonsense\r\n\r\n", "400 Bad Request"),
        ("GET /\r\n\r\n", "400 Bad Request"),
        ("GET / HTTP/2.0\r\n\r\n", "400 Bad Request"),
        ("GET / x HTTP/1.1\r\n\r\n", "400 Bad Request"),
        (
            &format!("GET / HTTP/1.1\r\n{header}\r\n"),
            "431 Request Header Fields Too Large",
        ),
    ] {
        assert_eq!(
            demo.ask(request).status,
            format!("HTTP/1.1 {status}"),
            "{request}"
        );
    }
    let allow = demo.ask("PUT / HTTP/1.1\r\n\r\n");
    assert_eq!(allow.header("allow"), Some("GET, HEAD, POST"));
    assert_eq!(post(&demo, FORM, b"text=taken").status, SEE_OTHER);
    assert_eq!(said(&reader.event())["text"], "taken", "nothing before it");
}

#[test]
fn a_page_without_scripts_shows_what_there_is() {
    let demo = Demo::start("form", &[]);
    assert_eq!(attribute(&demo, "data-last"), "");
    let mut reader = stream(&demo, "");
    for number in 1..=25 {
        let body = format!("name=%3Cb%3E&text=%3Cscript%3E+%22{number}%26%27+{{{{last}}}}");
        assert_eq!(post(&demo, FORM, body.as_bytes()).status, SEE_OTHER);
    }
    let events = reader.events(25);
    let page = demo.get("/", "").body();
    let row = |number| {
        format!(
            "<li><b>&lt;b&gt;</b> <span class=\"text\">\
             &lt;script&gt; &quot;{number}&amp;&#39; {{{{last}}}}</span></li>"
        )
    };
    // The newest first, as many as a page begins with.
    let rows: String = (6..=25).rev().map(row).collect();
    assert!(page.contains(&format!(">{rows}</ol>")), "{page}");
    assert_eq!(attribute(&demo, "data-last"), events[24].id);
    let next = post(&demo, FORM, b"text=next");
    assert_eq!(next.status, SEE_OTHER);
    let query = format!("?lastEventId={}", events[24].id);
    assert_eq!(said(&stream(&demo, &query).event())["text"], "next");

    let head = demo.ask("HEAD / HTTP/1.1\r\n\r\n");
    let length = demo
        .get("/", "")
        .header("content-length")
        .map(str::to_owned);
    assert_eq!(head.header("content-length").map(str::to_owned), length);
    let mut rest = Vec::new();
    { head }.reader.read_to_end(&mut rest).expect("the end");
    assert_eq!(rest, b"");
}

#[test]
fn who_does_not_read_delays_no_post_and_is_told() {
    const POSTS: usize = 2500;
    let demo = Demo::start("form", &[]);
    // More than all buffers on the way and the store together.
    let padding = "x".repeat(4000);
    let mut stalled = stream(&demo, "");
    let mut reader = stream(&demo, "");
    for number in 0..POSTS {
        let body = format!("text={number}+{padding}");
        assert_eq!(post(&demo, FORM, body.as_bytes()).status, SEE_OTHER);
        // Who reads has it, before the next one is posted.
        assert_eq!(number_of(&reader.event()), number);
    }

    let (mut received, mut missed, mut next) = (0, 0, 0);
    while next < POSTS {
        let event = stalled.event();
        if event.name.as_deref() == Some("gap") {
            let gap: Value = serde_json::from_str(&event.data).expect("JSON");
            assert_eq!(gap["reason"], "slow");
            let count = gap["missed"].as_str().expect("a text");
            let count: usize = count.parse().expect("a number");
            missed += count;
            next += count;
        } else {
            assert_eq!(number_of(&event), next);
            received += 1;
            next += 1;
        }
    }
    assert!(missed > 0, "it has not stalled");
    assert_eq!(received + missed, POSTS);
}

#[test]
fn who_does_not_ask_takes_a_place_for_a_while() {
    let demo = Demo::start("form", &[]);
    let silent: Vec<_> = (0..64).map(|_| connect(demo.addr)).collect();
    let mut beyond = connect(demo.addr);
    assert_eq!(beyond.read(&mut [0]).expect("the end"), 0);
    drop(silent);
    // It is noticed of each that it has left.
    let end = Instant::now() + PATIENCE;
    loop {
        let mut stream = connect(demo.addr);
        let _ = stream.write_all(b"GET /style.css HTTP/1.0\r\n\r\n");
        if stream.read(&mut [0]).is_ok_and(|count| count == 1) {
            break;
        }
        assert!(Instant::now() < end, "there is no place");
    }

    // Nor is it let to ask as slowly as it likes.
    let begun = Instant::now();
    let mut slow = connect(demo.addr);
    slow.set_read_timeout(Some(Duration::from_millis(100)))
        .expect("set");
    while slow.write_all(b"x").is_ok() {
        match slow.read(&mut [0]) {
            Ok(0) => break,
            Ok(_) => panic!("there is nothing to answer"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
        assert!(begun.elapsed() < PATIENCE, "it may take its time");
    }
}

#[test]
fn a_signal_ends_the_streams_of_form() {
    for signal in ["INT", "TERM"] {
        let mut demo = Demo::start("form", &[]);
        let mut streams: Vec<_> = (0..20).map(|_| stream(&demo, "")).collect();
        assert_eq!(post(&demo, FORM, b"text=x").status, SEE_OTHER);
        for stream in &mut streams {
            stream.event();
        }
        let _silent = connect(demo.addr);
        let took = demo.signal(signal);
        let ended: Vec<_> = streams.iter_mut().map(Response::rest).collect();
        let took = took.elapsed_until(|| demo.wait_for_success());
        assert!(took < Duration::from_secs(2), "{took:?}");
        ended.iter().for_each(|rest| assert_retry(rest));
    }
}

fn post(demo: &Demo, kind: &str, body: &[u8]) -> Response {
    let stream = connect(demo.addr);
    let length = body.len();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
    );
    (&stream).write_all(head.as_bytes()).expect("sent");
    // A server that refuses it does not take all of it.
    let _ = (&stream).write_all(body);
    Response::read(BufReader::new(stream))
}

/// The stream, which is elsewhere.
fn stream(demo: &Demo, query: &str) -> Response {
    let port = attribute(demo, "data-port").parse().expect("a port");
    let stream = connect((demo.addr.ip(), port).into());
    let request = format!("GET /events{query} HTTP/1.1\r\nhost: x\r\n\r\n");
    (&stream).write_all(request.as_bytes()).expect("sent");
    let response = Response::read(BufReader::new(stream));
    assert_eq!(response.status, "HTTP/1.1 200 OK");
    assert_eq!(response.header("access-control-allow-origin"), Some("*"));
    response
}

/// What the page says of itself.
fn attribute(demo: &Demo, name: &str) -> String {
    let page = demo.get("/", "").body();
    let (_, value) = page
        .split_once(&format!("{name}=\""))
        .expect("an attribute");
    value.split_once('"').expect("its end").0.to_owned()
}

fn said(event: &Event) -> Value {
    assert_eq!(event.name, None);
    serde_json::from_str(&event.data).expect("JSON")
}

fn number_of(event: &Event) -> usize {
    let said = said(event);
    let words = said["text"].as_str().and_then(|text| text.split_once(' '));
    words.expect("two words").0.parse().expect("a number")
}
