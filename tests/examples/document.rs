//! The document in one process: who may read what, and who watches.

use std::fs;

use serde_json::{Value, json};

use super::*;

pub(super) const SEE_OTHER: &str = "HTTP/1.1 303 See Other";
const FORM: &str = "application/x-www-form-urlencoded";

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
pub(super) fn events_of(demo: &Demo) -> SocketAddr {
    let port = attribute(&demo.get("/", "").body(), "data-port");
    (demo.addr.ip(), port.parse().expect("a port")).into()
}

/// What a page says of itself.
pub(super) fn attribute(page: &str, name: &str) -> String {
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

pub(super) fn said(event: &Event) -> Value {
    assert_eq!(event.name, None, "{event:?}");
    serde_json::from_str(&event.data).expect("JSON")
}
