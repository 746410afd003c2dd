//! The document in one process: who may read what, what is taken, and what is in its files.

use std::fs;

use serde_json::{Value, json};

use super::*;

const SEE_OTHER: &str = "HTTP/1.1 303 See Other";
pub(super) const FORM: &str = "application/x-www-form-urlencoded";

#[test]
fn who_may_read_a_page_may_follow_it() {
    let demo = Demo::start("document", &["--embedded"]);
    let events = events_of(&demo);
    let bearer = "Authorization: Bearer sesame\r\n";
    for (page, query, headers, status) in [
        ("welcome", "", "", "200 OK"),
        ("roadmap", "", "", "200 OK"),
        ("minutes", "", "", "403 Forbidden"),
        ("minutes", "token=", "", "403 Forbidden"),
        ("minutes", "token=Sesame", "", "403 Forbidden"),
        ("minutes", "token=%0d%0ax", "", "403 Forbidden"),
        ("minutes", "token=sesame", "", "200 OK"),
        ("minutes", "token=sesam%65", "", "200 OK"),
        ("minutes", "", bearer, "200 OK"),
        ("nothing", "", "", "404 Not Found"),
        ("nothing", "token=sesame", bearer, "404 Not Found"),
        ("Welcome", "", "", "404 Not Found"),
        ("", "", "", "404 Not Found"),
        ("..%2Fminutes", "", "", "404 Not Found"),
        ("welcome%2Faccess", "", "", "404 Not Found"),
        ("%23", "", "", "404 Not Found"),
    ] {
        // Of the stream the token is in the address alone: no `EventSource` sets a header.
        if headers.is_empty() {
            let stream = get(events, &format!("/events?page={page}&{query}"), "");
            assert_eq!(
                stream.status,
                format!("HTTP/1.1 {status}"),
                "{page} {query}"
            );
        }
        if !page.is_empty() {
            let paths = [
                format!("/pages/{page}?{query}"),
                format!("/pages/{page}/comments?{query}"),
            ];
            for path in paths {
                let response = demo.get(&path, headers);
                assert_eq!(response.status, format!("HTTP/1.1 {status}"), "{path}");
            }
        }
    }
    assert_eq!(get(events, "/events", "").status, "HTTP/1.1 404 Not Found");
    assert_eq!(get(events, "/", "").status, "HTTP/1.1 404 Not Found");
    // Nor may who may not read it write to it.
    let refused = comment(demo.addr, "minutes", "text=x");
    assert_eq!(refused.status, "HTTP/1.1 403 Forbidden");
    assert_eq!(
        demo.get("/pages/minutes/comments?token=sesame", "").body(),
        "[]"
    );

    let told = demo.get("/pages/minutes", "").body();
    assert!(told.contains("authorization: Bearer") && told.contains("sesame"));
    assert!(!told.contains("Not for everybody: without"), "{told}");
    let taken = comment_at(demo.addr, "/pages/minutes/comments?token=sesame", "text=x");
    assert_eq!(taken.status, SEE_OTHER);
    assert_eq!(
        taken.header("location"),
        Some("/pages/minutes?token=sesame#c1")
    );
    let mut stream = get(events, "/events?page=minutes&token=sesame", "");
    assert_eq!(said(&stream.event())["text"], "x");
}

#[test]
fn pages_of_other_origins_are_kept_out() {
    let demo = Demo::start("document", &["--origin", "https://docs.example.org"]);
    let events = events_of(&demo);
    let own = format!("http://{}", demo.addr);
    let local = format!("http://localhost:{}", demo.addr.port());
    for (origin, is_let_in) in [
        (own.as_str(), true),
        (&local, true),
        ("https://docs.example.org", true),
        ("http://docs.example.org", false),
        ("https://example.org", false),
        (&format!("http://{events}"), false),
        ("null", false),
    ] {
        let allowed = is_let_in.then_some(origin);
        let header = format!("Origin: {origin}\r\n");
        for (path, status) in [
            ("/events?page=welcome", "200 OK"),
            ("/events?page=nothing", "404 Not Found"),
            ("/events?page=minutes", "403 Forbidden"),
        ] {
            let response = get(events, path, &header);
            assert_eq!(response.status, format!("HTTP/1.1 {status}"));
            assert_eq!(
                response.header("access-control-allow-origin"),
                allowed,
                "{origin} {path}"
            );
            assert_eq!(response.header("vary"), Some("origin"));
            assert_eq!(response.header("access-control-allow-credentials"), None);
        }
        let preflight = ask(
            events,
            &format!(
                "OPTIONS /events?page=welcome HTTP/1.1\r\nhost: x\r\n{header}\
             access-control-request-method: GET\r\n\
             access-control-request-headers: last-event-id\r\n\r\n"
            ),
        );
        assert_eq!(
            preflight.header("access-control-allow-origin"),
            allowed,
            "{origin}"
        );
        let headers = preflight
            .header("access-control-allow-headers")
            .unwrap_or_default();
        assert_eq!(headers.contains("last-event-id"), is_let_in);
    }
    let bad = run(
        "document",
        &[
            "--listen",
            "127.0.0.1:0",
            "--events",
            "127.0.0.1:0",
            "--origin",
            "docs",
        ],
    );
    assert_eq!(bad.status.code(), Some(1), "{}", one_line(&bad.stderr));
}

#[test]
fn the_statistics_tell_who_watches_which_page() {
    let demo = Demo::start("document", &[]);
    let events = events_of(&demo);
    assert_eq!(stats(events)["pages"], json!({}));
    let mut streams: Vec<_> = ["welcome", "welcome", "roadmap"]
        .map(|page| get(events, &format!("/events?page={page}"), ""))
        .into();
    for page in ["welcome", "roadmap", "welcome"] {
        assert_eq!(comment(demo.addr, page, "text=x").status, SEE_OTHER);
    }
    for (stream, count) in streams.iter_mut().zip([2, 2, 1]) {
        stream.events(count);
    }
    let told = until(events, |told| told["delivered"] == 5);
    assert_eq!(told["is_available"], true);
    assert_eq!(
        (&told["subscribers"], &told["submitted"]),
        (&json!(3), &json!(3))
    );
    let of = |told: &Value, page: &str| {
        let page = &told["pages"][page];
        [&page["subscribers"], &page["submitted"], &page["delivered"]].map(Value::clone)
    };
    assert_eq!(of(&told, "welcome"), [2, 2, 4].map(Value::from));
    assert_eq!(of(&told, "roadmap"), [1, 1, 1].map(Value::from));
    drop(streams.remove(0));
    // It is noticed when something is written to it.
    let told = until(events, |told| {
        comment(demo.addr, "welcome", "text=x");
        told["subscribers"] == 2
    });
    assert_eq!(told["pages"]["welcome"]["subscribers"], 1);
    let kind = get(events, "/stats", "");
    assert_eq!(kind.header("content-type"), Some("application/json"));
    let put = ask(events, "PUT /stats HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(put.header("allow"), Some("GET, HEAD"));
}

#[test]
fn what_is_no_comment_is_refused_with_the_reason() {
    let demo = Demo::start("document", &[]);
    let long = format!("text={}", "x".repeat(8193));
    let name = format!("text=x&name={}", "x".repeat(161));
    let huge = "x".repeat((32 << 10) + 1);
    let key = format!("text=x&key={}", "k".repeat(65));
    for (body, status) in [
        ("", "400 Bad Request"),
        ("name=ann&key=a", "400 Bad Request"),
        ("text=+%0A", "400 Bad Request"),
        ("text=x&key=A", "400 Bad Request"),
        ("text=x&key=%7Bx%7D", "400 Bad Request"),
        (&key, "400 Bad Request"),
        (&long, "413 Payload Too Large"),
        (&name, "413 Payload Too Large"),
        (&huge, "413 Payload Too Large"),
    ] {
        let response = comment(demo.addr, "welcome", body);
        assert_eq!(response.status, format!("HTTP/1.1 {status}"), "{body}");
    }
    for (request, status) in [
        ("POST /pages/welcome/comments", "415 Unsupported Media Type"),
        ("POST /pages/nothing/comments", "404 Not Found"),
        ("PUT /pages/welcome/comments", "405 Method Not Allowed"),
        ("POST /pages/welcome", "405 Method Not Allowed"),
        ("POST /", "405 Method Not Allowed"),
        ("GET /pages/welcome/", "404 Not Found"),
        ("GET /pages/welcome/other", "404 Not Found"),
        ("GET /pages", "404 Not Found"),
        ("GET /pages/welcome/comments?after=-1", "400 Bad Request"),
        ("GET /pages/welcome/comments?after=x", "400 Bad Request"),
        (
            "GET /pages/welcome/comments?after=99999999999999999999",
            "400 Bad Request",
        ),
        (
            "GET /pages/welcome/comments?after=18446744073709551615",
            "200 OK",
        ),
    ] {
        let response = demo.ask(&format!("{request} HTTP/1.1\r\nhost: x\r\n\r\n"));
        assert_eq!(response.status, format!("HTTP/1.1 {status}"), "{request}");
    }
    assert_eq!(demo.get("/pages/welcome/comments", "").body(), "[]");
}

#[test]
fn a_comment_is_text_and_is_taken_once() {
    let demo = Demo::start("document", &[]);
    let mut stream = get(events_of(&demo), "/events?page=welcome", "");
    let body = "name=%3Cb%3E&text=%3Cscript%3E+%22{{rows}}%26%27+%0D%0Aid:+9&key=a-1";
    for _ in 0..3 {
        let response = comment(demo.addr, "welcome", body);
        assert_eq!(response.status, SEE_OTHER);
        assert_eq!(response.header("location"), Some("/pages/welcome#c1"));
    }
    let next = comment(demo.addr, "welcome", "text=next");
    assert_eq!(next.header("location"), Some("/pages/welcome#c2"));
    let first = json!({
        "page": "welcome", "number": 1, "key": "a-1", "name": "<b>",
        "text": "<script> \"{{rows}}&' \nid: 9",
    });
    assert_eq!(said(&stream.event()), first);
    let second = said(&stream.event());
    assert_eq!(
        (&second["text"], &second["name"]),
        (&json!("next"), &json!("somebody"))
    );
    assert_ne!(second["key"], "");
    // Without scripts, and for who asks after a gap.
    let row = "<b>&lt;b&gt;</b> <a class=\"number\" href=\"#c1\">#1</a> <span class=\"text\">\
        &lt;script&gt; &quot;{{rows}}&amp;&#39; \nid: 9</span>";
    let page = demo.get("/pages/welcome", "").body();
    assert!(page.contains(row), "{page}");
    let after = |number| -> Value {
        let path = format!("/pages/welcome/comments?after={number}");
        serde_json::from_str(&demo.get(&path, "").body()).expect("JSON")
    };
    assert_eq!(after(0), json!([first, second]));
    assert_eq!(after(1), json!([second]));
    assert_eq!(after(2), json!([]));
    assert_eq!(demo.get("/pages/roadmap/comments", "").body(), "[]");
    // A page goes on behind what it was made with.
    let last = attribute(&page, "data-last");
    let query = format!("/events?page=welcome&lastEventId={last}");
    let mut late = get(events_of(&demo), &query, "");
    comment(demo.addr, "welcome", "text=late");
    assert_eq!(said(&late.event())["text"], "late");
}

#[test]
fn who_does_not_read_delays_no_comment_and_is_told() {
    const COMMENTS: usize = 1000;
    let demo = Demo::start("document", &[]);
    let events = events_of(&demo);
    // More than all buffers on the way and the hub together.
    let padding = "%00".repeat(1600);
    let mut stalled = get(events, "/events?page=welcome", "");
    let mut reader = get(events, "/events?page=welcome", "");
    for number in 1..=COMMENTS {
        let body = format!("text={padding}");
        assert_eq!(comment(demo.addr, "welcome", &body).status, SEE_OTHER);
        assert_eq!(said(&reader.event())["number"], number);
    }
    let (mut received, mut missed, mut next) = (0, 0, 1);
    while next <= COMMENTS {
        let event = stalled.event();
        if event.name.as_deref() == Some("gap") {
            let gap = serde_json::from_str::<Value>(&event.data).expect("JSON");
            assert_eq!(gap["reason"], "slow");
            let count = gap["missed"].as_str().and_then(|count| count.parse().ok());
            let count: usize = count.expect("a number");
            missed += count;
            next += count;
        } else {
            assert_eq!(said(&event)["number"], next);
            received += 1;
            next += 1;
        }
    }
    assert!(missed > 0, "it has not stalled");
    assert_eq!(received + missed, COMMENTS);
}

#[test]
fn what_was_taken_is_there_after_a_kill() {
    let dir = Folder::new("kill");
    let args = ["--dir", dir.0.to_str().expect("a path")];
    {
        let demo = Demo::start("document", &args);
        for text in ["one", "two"] {
            let body = format!("text={text}&key={text}");
            assert_eq!(comment(demo.addr, "welcome", &body).status, SEE_OTHER);
        }
        // Another one keeps off.
        let second = run(
            "document",
            &[
                "--listen",
                "127.0.0.1:0",
                "--events",
                "127.0.0.1:0",
                args[0],
                args[1],
            ],
        );
        assert_eq!(second.status.code(), Some(1));
        assert_eq!(
            one_line(&second.stderr),
            "document: comments.jsonl: another app has it\n".trim_end()
        );
        // Dropped: SIGKILL.
    }
    let comments = dir.0.join("comments.jsonl");
    let whole = fs::read_to_string(&comments).expect("a file");
    assert_eq!(whole.lines().count(), 2);
    // What it was writing when it was killed, be it in the middle of a character.
    fs::write(
        &comments,
        [whole.as_bytes(), b"{\"page\":\"wel\xc3"].concat(),
    )
    .expect("written");
    {
        let demo = Demo::start("document", &args);
        assert_eq!(fs::read_to_string(&comments).expect("a file"), whole);
        let again = comment(demo.addr, "welcome", "text=one&key=one");
        assert_eq!(again.header("location"), Some("/pages/welcome#c1"));
        let next = comment(demo.addr, "welcome", "text=three");
        assert_eq!(next.header("location"), Some("/pages/welcome#c3"));
    }
    assert_eq!(
        fs::read_to_string(&comments)
            .expect("a file")
            .lines()
            .count(),
        3
    );
    // What is no comment was not written by us, and is not thrown away.
    fs::write(&comments, format!("{whole}nonsense\n")).expect("written");
    let refused = run(
        "document",
        &[
            "--listen",
            "127.0.0.1:0",
            "--events",
            "127.0.0.1:0",
            args[0],
            args[1],
        ],
    );
    assert_eq!(refused.status.code(), Some(1));
    assert!(one_line(&refused.stderr).starts_with("document: comments.jsonl, line 3: "));
}

#[test]
fn a_signal_ends_the_streams_of_document() {
    for signal in ["INT", "TERM"] {
        let mut demo = Demo::start("document", &[]);
        let events = events_of(&demo);
        let mut streams: Vec<_> = (0..20)
            .map(|_| get(events, "/events?page=welcome", ""))
            .collect();
        assert_eq!(comment(demo.addr, "welcome", "text=x").status, SEE_OTHER);
        for stream in &mut streams {
            stream.event();
        }
        let _silent = (connect(demo.addr), connect(events));
        let took = demo.signal(signal);
        let ended: Vec<_> = streams.iter_mut().map(Response::rest).collect();
        let took = took.elapsed_until(|| demo.wait_for_success());
        assert!(took < Duration::from_secs(2), "{took:?}");
        ended.iter().for_each(|rest| assert_retry(rest));
    }
}

#[test]
fn arguments_that_do_not_fit_are_told() {
    for args in [
        &["app"][..],
        &["events"],
        &["app", "events", "--redis", "redis://127.0.0.1:1"],
        &["app", "--embedded", "--redis", "redis://127.0.0.1:1"],
        &["--redis", "redis://127.0.0.1:1"],
        &["app", "--redis"],
    ] {
        let mut process = command("document", args);
        let output = process.env_remove("REDIS_URL").output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(
            one_line(&output.stderr).starts_with("document: "),
            "{args:?}"
        );
    }
    let secret = "http://user:secret@127.0.0.1:1";
    let output = run("document", &["app", "--redis", secret]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!one_line(&output.stderr).contains("secret"));
}

/// A folder that is removed.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        let name = format!("tornadose-test-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Where the events of a demo in one process are.
fn events_of(demo: &Demo) -> SocketAddr {
    let port = attribute(&demo.get("/", "").body(), "data-port");
    (demo.addr.ip(), port.parse().expect("a port")).into()
}

/// What a page says of itself.
fn attribute(page: &str, name: &str) -> String {
    let (_, value) = page
        .split_once(&format!("{name}=\""))
        .expect("an attribute");
    value.split_once('"').expect("its end").0.to_owned()
}

pub(super) fn ask(addr: SocketAddr, request: &str) -> Response {
    let stream = connect(addr);
    (&stream).write_all(request.as_bytes()).expect("sent");
    Response::read(BufReader::new(stream))
}

pub(super) fn get(addr: SocketAddr, path: &str, headers: &str) -> Response {
    ask(
        addr,
        &format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n"),
    )
}

/// Says it about a page.
pub(super) fn comment(addr: SocketAddr, page: &str, form: &str) -> Response {
    comment_at(addr, &format!("/pages/{page}/comments"), form)
}

fn comment_at(addr: SocketAddr, path: &str, form: &str) -> Response {
    let stream = connect(addr);
    let length = form.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {FORM}\r\ncontent-length: {length}\r\n\r\n"
    );
    (&stream).write_all(head.as_bytes()).expect("sent");
    // A server that refuses it does not take all of it.
    let _ = (&stream).write_all(form.as_bytes());
    Response::read(BufReader::new(stream))
}

pub(super) fn stats(addr: SocketAddr) -> Value {
    serde_json::from_str(&get(addr, "/stats", "").body()).expect("JSON")
}

/// The statistics, as soon as they are so.
pub(super) fn until(addr: SocketAddr, is_so: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let told = stats(addr);
        if is_so(&told) {
            return told;
        }
        assert!(Instant::now() < end, "{told}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn said(event: &Event) -> Value {
    assert_eq!(event.name, None, "{event:?}");
    serde_json::from_str(&event.data).expect("JSON")
}
