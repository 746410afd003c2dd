//! The demos, run as processes and judged by the bytes that they send.
#![cfg(unix)]

#[path = "examples/chat.rs"]
mod chat;
#[path = "examples/dashboard.rs"]
mod dashboard;
#[cfg(feature = "redis")]
#[path = "examples/document.rs"]
mod document;
#[cfg(feature = "redis")]
#[path = "examples/document_comments.rs"]
mod document_comments;
#[cfg(feature = "redis")]
#[path = "examples/document_redis.rs"]
mod document_redis;
#[cfg(feature = "redis")]
#[path = "examples/document_watch.rs"]
mod document_watch;
#[cfg(feature = "durable")]
#[path = "examples/durable.rs"]
mod durable;
#[cfg(feature = "detached")]
#[path = "examples/firehose.rs"]
mod firehose;
#[path = "examples/form.rs"]
mod form;
#[path = "examples/metrics.rs"]
mod metrics;
#[cfg(feature = "serve")]
#[path = "examples/serve.rs"]
mod serve;
#[cfg(feature = "redis")]
#[allow(dead_code, reason = "the tests of the engine use the rest")]
#[path = "redis/server.rs"]
mod server;
#[path = "examples/weather.rs"]
mod weather;
#[cfg(feature = "websocket")]
#[path = "examples/websocket.rs"]
mod websocket;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use num_bigint::BigUint;

/// For everything that comes as soon as it can, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn the_first_random_number_comes_at_once() {
    // The second one would come in an hour.
    let demo = Demo::start("random", &["--every", "3600000"]);
    let first = demo.get("/events", "").event().number();
    let again = demo.get("/events", "").event().number();
    assert!((0.0..1.0).contains(&first), "{first}");
    assert_eq!(first.to_bits(), again.to_bits());
}

#[test]
fn all_clients_see_the_same_random_numbers() {
    let demo = Demo::start("random", &["--every", "50"]);
    let mut streams: Vec<_> = (0..5).map(|_| demo.get("/events", "")).collect();
    let mut seen = BTreeMap::<String, Vec<String>>::new();
    for stream in &mut streams {
        let mut ids = Vec::new();
        for _ in 0..5 {
            let event = stream.event();
            assert!((0.0..1.0).contains(&event.number()), "{event:?}");
            assert_eq!(event.name, None);
            ids.push(event.offset());
            seen.entry(event.id).or_default().push(event.data);
        }
        assert!(ids.is_sorted_by(|a, b| a < b), "newer and newer: {ids:?}");
    }
    for (id, values) in &seen {
        assert!(values.iter().all(|v| *v == values[0]), "{id}: {values:?}");
    }
    let by_all = seen.values().filter(|values| values.len() == 5);
    assert!(by_all.count() >= 2, "{seen:?}");
}

#[test]
fn the_fibonacci_sequence_is_complete_for_everybody() {
    let demo = Demo::start("fibonacci", &["--every", "1"]);

    let first = demo.get("/events", "").events(250);
    let numbers = fibonacci(&first);
    assert_eq!(
        numbers[..5],
        [0u8, 1, 1, 2, 3].map(BigUint::from),
        "from the beginning"
    );
    assert!(numbers[249] > BigUint::from(u128::MAX));

    // Late, and now from the log and no longer live.
    let late = demo.get("/events", "").events(250);
    assert_eq!(late, first);

    // Back with an id, from the middle of the log into what is new.
    for seen in [0, 99, 249] {
        let id = &first[seen].id;
        let resumed = demo
            .get("/events", &format!("Last-Event-ID: {id}\r\n"))
            .events(250);
        let known = first.len() - seen - 1;
        assert_eq!(resumed[..known], first[seen + 1..]);
        let mut all = first[..=seen].to_vec();
        all.extend(resumed);
        fibonacci(&all);
    }
}

#[test]
fn an_id_that_means_nothing_is_told_as_a_gap() {
    let demo = Demo::start("fibonacci", &["--every", "5"]);
    let mut stream = demo.get("/events", "Last-Event-ID: nonsense\r\n");
    let gap = stream.event();
    assert_eq!(gap.name.as_deref(), Some("gap"));
    let told: serde_json::Value = serde_json::from_str(&gap.data).expect("JSON");
    assert_eq!(told["reason"], "malformed");
    assert_eq!(told["resume"], gap.id.as_str());
    let numbers = fibonacci(&stream.events(10));
    assert_eq!(numbers[0], BigUint::ZERO, "the whole sequence follows");
}

#[test]
fn the_head_of_a_stream_is_exact() {
    for name in DEMOS {
        let demo = Demo::start(name, &[]);
        let stream = demo.get(events(name), "");
        assert_eq!(stream.status, "HTTP/1.1 200 OK", "{name}");
        for (header, value) in [
            ("content-type", Some("text/event-stream")),
            ("transfer-encoding", Some("chunked")),
            ("cache-control", Some("no-store, no-transform")),
            ("content-length", None),
            ("content-encoding", None),
        ] {
            assert_eq!(stream.header(header), value, "{name}: {header}");
        }
    }
}

#[test]
fn a_client_of_http_1_0_reads_to_the_end_of_the_connection() {
    let mut demo = Demo::start("fibonacci", &["--every", "20"]);
    let mut stream = demo.ask("GET /events HTTP/1.0\r\n\r\n");
    assert_eq!(stream.status, "HTTP/1.0 200 OK");
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    assert_eq!(stream.header("transfer-encoding"), None);
    assert_eq!(stream.header("content-length"), None);
    fibonacci(&stream.events(5));

    demo.signal("TERM");
    assert_retry(&stream.rest());
    demo.wait_for_success();
}

#[test]
fn a_client_of_http_2_gets_the_same_stream() {
    let demo = Demo::start("fibonacci", &["--every", "1"]);
    let mut h2 = Http2::connect(demo.addr, None);
    let (status, mut body) = h2.get("/events");
    assert_eq!(status, 200);
    let mut text = String::new();
    while text.matches("\n\n").count() < 20 {
        text += &h2.frame(&mut body).expect("an endless stream");
    }
    let blocks = text.split_inclusive("\n\n");
    let events: Vec<_> = blocks
        .filter(|block| block.ends_with("\n\n"))
        .filter_map(Event::parse)
        .collect();
    assert_eq!(fibonacci(&events)[0], BigUint::ZERO);

    let (status, mut body) = h2.get("/");
    assert_eq!(status, 200);
    assert!(
        h2.frame(&mut body)
            .is_some_and(|page| page.contains("EventSource"))
    );
}

#[test]
fn the_pages_are_served() {
    for name in PAGES {
        let demo = Demo::start(name, &[]);

        let mut page = demo.get("/", "");
        assert_eq!(page.status, "HTTP/1.1 200 OK");
        assert_eq!(
            page.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        let length = page.header("content-length").map(str::to_owned);
        let text = page.body();
        assert!(text.starts_with("<!doctype html>"), "{text}");
        assert!(text.contains(r#"<html lang="en">"#), "{text}");
        let parts: &[&str] = match *name {
            "random" => &[r#""/events""#, r#" id="value""#, r#" id="state""#],
            "fibonacci" => &[r#""/events""#, r#" id="value""#, r#" id="list""#],
            "chat" => &["`/events", "/topics", r#" id="state""#, r#" role="log""#],
            "dashboard" => &["`/events", "/rate", r#" id="state""#, r#" for="rate""#],
            _ => &["`/events", "/socket", r#" id="check""#, r#" for="text""#],
        };
        let text = match *name {
            "dashboard" => {
                let mut script = demo.get("/dashboard.js", "");
                let kind = Some("text/javascript; charset=utf-8");
                assert_eq!(script.header("content-type"), kind);
                text + &script.body()
            }
            _ => text,
        };
        for part in [&["new EventSource("], parts].concat() {
            assert!(text.contains(part), "{name}: {part}");
        }
        for foreign in ["http:", "https:", "innerHTML", "//cdn"] {
            let text = text.replace("\"http://www.w3.org/2000/svg\"", "");
            assert!(!text.contains(foreign), "{name}: {foreign}");
        }

        // A connection goes on after a HEAD: it has no body.
        let heads = ["HEAD /", "HEAD ", "GET /style.css"];
        let heads = heads.map(|head| {
            let path = if head == "HEAD " { events(name) } else { "" };
            format!("{head}{path} HTTP/1.1\r\nhost: x\r\n\r\n")
        });
        let head = demo.ask(&heads.concat());
        assert_eq!(head.status, "HTTP/1.1 200 OK");
        assert_eq!(
            head.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        assert_eq!(head.header("content-length").map(str::to_owned), length);
        let head = Response::read(head.reader);
        assert_eq!(head.status, "HTTP/1.1 200 OK");
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        let mut style = Response::read(head.reader);
        assert_eq!(style.status, "HTTP/1.1 200 OK");
        assert_eq!(
            style.header("content-type"),
            Some("text/css; charset=utf-8")
        );
        assert!(style.body().contains("prefers-color-scheme: dark"));
    }
}

#[test]
fn other_paths_and_methods_are_refused() {
    // The chat has other paths.
    for name in DEMOS.iter().filter(|name| **name != "chat") {
        let demo = Demo::start(name, &[]);
        for path in ["/nothing", "/events/", "/event", "//", "/index.html"] {
            let mut response = demo.get(path, "");
            assert_eq!(response.status, "HTTP/1.1 404 Not Found", "{path}");
            assert_eq!(response.body(), "not found\n");
        }
        let paths = if PAGES.contains(name) {
            assert_eq!(demo.get("/?a=b", "").status, "HTTP/1.1 200 OK");
            &["/", "/style.css", "/events"][..]
        } else {
            assert_eq!(demo.get("/", "").status, "HTTP/1.1 404 Not Found");
            &["/events"]
        };
        for path in paths {
            for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
                let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n");
                let response = demo.ask(&request);
                assert_eq!(response.status, "HTTP/1.1 405 Method Not Allowed");
                assert_eq!(response.header("allow"), Some("GET, HEAD"));
            }
        }
    }
}

#[test]
fn what_is_said_on_hyper_is_read_by_all() {
    let demo = Demo::start("hyper", &[]);
    let mut streams: Vec<_> = (0..3).map(|_| demo.get("/events", "")).collect();
    for line in ["hello", "id: 9\ndata: x\n\n", "Füße 🦀", ""] {
        assert_eq!(demo.say(line.as_bytes()), "HTTP/1.1 204 No Content");
    }
    for line in [&b"\xff"[..], &[b'x'; (1 << 20) + 1]] {
        let refused = demo.say(line);
        let expected = match line {
            b"\xff" => "HTTP/1.1 400 Bad Request",
            _ => "HTTP/1.1 413 Payload Too Large",
        };
        assert_eq!(refused, expected);
    }
    for stream in &mut streams {
        let read = stream.events(4);
        assert_eq!(read[0].data, "hello");
        // One event, whatever its text.
        assert_eq!(read[1].data, "id: 9");
        assert_eq!(read[2].data, "Füße 🦀");
        assert!(read.windows(2).all(|e| e[0].offset() + 1 == e[1].offset()));
    }

    // Who comes late gets what there was, who comes back what it missed.
    let late = demo.get("/events", "").events(4);
    let id = format!("Last-Event-ID: {}\r\n", late[1].id);
    assert_eq!(demo.get("/events", &id).events(2), late[2..]);

    let response = demo.get("/say", "");
    assert_eq!(response.status, "HTTP/1.1 405 Method Not Allowed");
    assert_eq!(response.header("allow"), Some("POST"));
}

#[test]
fn sigint_ends_the_streams_of_fibonacci() {
    a_signal_ends_all_streams("fibonacci", "INT");
}

#[test]
fn sigterm_ends_the_streams_of_fibonacci() {
    a_signal_ends_all_streams("fibonacci", "TERM");
}

#[test]
fn sigint_ends_the_streams_of_random() {
    a_signal_ends_all_streams("random", "INT");
}

#[test]
fn sigterm_ends_the_streams_of_random() {
    a_signal_ends_all_streams("random", "TERM");
}

#[test]
fn sigint_ends_the_streams_of_hyper() {
    a_signal_ends_all_streams("hyper", "INT");
}

#[test]
fn sigterm_ends_the_streams_of_hyper() {
    a_signal_ends_all_streams("hyper", "TERM");
}

fn a_signal_ends_all_streams(name: &str, signal: &str) {
    let mut demo = if name == "hyper" {
        Demo::start(name, &[])
    } else {
        Demo::start(name, &["--every", "20"])
    };
    let mut streams: Vec<_> = (0..20).map(|_| demo.get("/events", "")).collect();
    if name == "hyper" {
        assert_eq!(demo.say(b"hello"), "HTTP/1.1 204 No Content");
    }
    for stream in &mut streams {
        stream.event();
    }
    // Clients that cannot be said goodbye to.
    let _stalled = stalled(demo.addr);
    let mut h2 = Http2::connect(demo.addr, Some(1));
    let _unread = h2.get("/events");
    let _silent = TcpStream::connect(demo.addr).expect("connected");

    let took = demo.signal(signal);
    let ended: Vec<_> = streams.iter_mut().map(Response::rest).collect();
    let took = took.elapsed_until(|| demo.wait_for_success());
    eprintln!("{name} ended {took:?} after SIG{signal} with streams and stalled clients");
    // Meant is 1 s; the rest is for a busy machine.
    assert!(took < Duration::from_secs(2), "{took:?}");

    for (stream, rest) in streams.iter().zip(&ended) {
        assert_retry(rest);
        assert_eq!(stream.last_bytes, "0\r\n\r\n", "the terminating chunk");
    }
}

#[test]
fn a_signal_ends_an_idle_demo_at_once() {
    for name in DEMOS.iter().chain(APART) {
        for signal in ["INT", "TERM"] {
            let mut demo = Demo::start(name, &[]);
            let _silent = TcpStream::connect(demo.addr).expect("connected");
            // A connection that is kept alive without a request.
            let mut page = demo.get("/", "");
            page.body();
            let took = demo
                .signal(signal)
                .elapsed_until(|| demo.wait_for_success());
            eprintln!("{name} ended {took:?} after SIG{signal}");
            assert!(took < Duration::from_secs(2), "{took:?}");
        }
    }
}

#[test]
fn a_taken_port_is_told_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = taken.local_addr().expect("bound").to_string();
    for name in DEMOS.iter().chain(APART) {
        let output = run(name, &["--listen", &addr]);
        let stderr = one_line(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(
            stderr.starts_with(&format!("{name}: cannot listen on {addr}: ")),
            "{stderr}"
        );
        assert!(!stderr.contains('{'), "no Debug output: {stderr}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn bad_arguments_are_told_in_one_line() {
    for name in DEMOS.iter().chain(APART) {
        for args in [
            &["--nonsense"][..],
            &["nonsense"],
            &["two\nlines"],
            &["--listen"],
            &["--listen", "nowhere"],
            &["--listen", "127.0.0.1"],
            &["--listen", "127.0.0.1:65536"],
            &["--every"],
            &["--every", "0"],
            &["--every", "-1"],
            &["--every", "soon"],
            &["--every", "1.5"],
            &["--every=99999999999999999999"],
            &["--every", "10", "--listen"],
        ] {
            let output = run(name, args);
            let stderr = one_line(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
            assert!(
                stderr.starts_with(&format!("{name}: ")),
                "{args:?}: {stderr}"
            );
            assert!(output.stdout.is_empty(), "{args:?}");
        }
    }
}

#[test]
fn help_tells_the_options() {
    for name in DEMOS.iter().chain(APART) {
        let every: &[&str] = match *name {
            "hyper" | "chat" | "dashboard" => &[],
            "form" | "document" => &["--events", "127.0.0.1:9001"],
            _ => &["--every", "1000"],
        };
        for args in [&["--help"][..], &["--listen", "127.0.0.1:0", "-h"]] {
            let output = run(name, args);
            assert!(output.status.success());
            assert!(output.stderr.is_empty());
            let help = String::from_utf8(output.stdout).expect("UTF-8");
            for told in [&[name, "--listen", "127.0.0.1:9000"], every].concat() {
                assert!(help.contains(told), "{told} in {help}");
            }
            assert_eq!(
                help.contains("--every"),
                every.contains(&"--every"),
                "{help}"
            );
        }
    }
}

// What is judged.

/// Judges that these are neighbours of the sequence, and of the log.
fn fibonacci(events: &[Event]) -> Vec<BigUint> {
    let numbers: Vec<BigUint> = events
        .iter()
        .map(|event| event.data.parse().expect("a decimal number"))
        .collect();
    for (i, three) in numbers.windows(3).enumerate() {
        assert_eq!(&three[0] + &three[1], three[2], "after {i}");
    }
    for two in events.windows(2) {
        assert_eq!(two[0].offset() + 1, two[1].offset());
    }
    assert!(events.iter().all(|event| event.name.is_none()));
    numbers
}

/// Judges the end of a stream: a client is told when to come back, and nothing
/// comes after that.
fn assert_retry(rest: &str) {
    let last = rest.trim_end_matches('\n').rsplit("\n\n").next();
    let millis = last.and_then(|block| block.strip_prefix("retry: "));
    let millis = millis.and_then(|millis| millis.parse::<u32>().ok());
    assert!(
        millis.is_some_and(|millis| (2000..=6000).contains(&millis)),
        "{rest:?}"
    );
    assert!(rest.ends_with("\n\n"), "{rest:?}");
}

fn one_line(stderr: &[u8]) -> &str {
    let text = str::from_utf8(stderr).expect("UTF-8");
    let line = text.strip_suffix('\n').expect("a whole line");
    assert!(!line.is_empty() && !line.contains('\n'), "{text:?}");
    line
}

// The demos as processes.

/// Those that there are with these features, and whose stream is beside their page.
const DEMOS: &[&str] = &[
    "random",
    "fibonacci",
    "hyper",
    "metrics",
    "chat",
    "dashboard",
    #[cfg(feature = "websocket")]
    "websocket",
];

/// Those whose stream is elsewhere.
const APART: &[&str] = &[
    "form",
    #[cfg(feature = "redis")]
    "document",
];

/// Those with a page.
const PAGES: &[&str] = &[
    "random",
    "fibonacci",
    "chat",
    "dashboard",
    #[cfg(feature = "websocket")]
    "websocket",
];

/// Where its stream is.
fn events(name: &str) -> &'static str {
    match name {
        "chat" => "/events?topic=lobby",
        _ => "/events",
    }
}

/// Where the demos are. `cargo test` has built them; `cargo test --test examples`
/// has not, and has left older ones in their place.
static BUILT: LazyLock<BTreeMap<String, PathBuf>> = LazyLock::new(|| {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--message-format=json-render-diagnostics"])
        .args(DEMOS.iter().map(|name| format!("--example={name}")))
        .args(APART.iter().map(|name| format!("--example={name}")))
        // It is judged by itself: by default it is one that asks others.
        .arg("--example=weather")
        .args(cfg!(feature = "detached").then_some("--example=firehose"))
        .args(cfg!(feature = "durable").then_some("--example=durable"))
        .args(cfg!(feature = "serve").then_some("--example=serve"))
        // As this test was built, so that there is mostly nothing to do.
        .args(["--profile", &profile()])
        .arg("--no-default-features");
    for (feature, on) in [
        ("hyper", cfg!(feature = "hyper")),
        ("json", cfg!(feature = "json")),
        ("websocket", cfg!(feature = "websocket")),
        ("axum", cfg!(feature = "axum")),
        ("metrics", cfg!(feature = "metrics")),
        ("tracing", cfg!(feature = "tracing")),
        ("detached", cfg!(feature = "detached")),
        ("backplane", cfg!(feature = "backplane")),
        ("redis", cfg!(feature = "redis")),
        ("redis-tls", cfg!(feature = "redis-tls")),
        ("durable", cfg!(feature = "durable")),
        ("nats", cfg!(feature = "nats")),
        ("serve", cfg!(feature = "serve")),
        ("full", cfg!(feature = "full")),
    ] {
        if on {
            cargo.args(["--features", feature]);
        }
    }
    let output = cargo.stdin(Stdio::null()).output().expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let messages = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
    let messages = messages.map(|message| message.expect("JSON"));
    messages
        .filter_map(|message: serde_json::Value| {
            let name = message["target"]["name"].as_str()?;
            let executable = message["executable"].as_str()?;
            Some((name.to_owned(), executable.into()))
        })
        .collect()
});

/// The profile of this test, after the directory that it is in:
/// `target/<profile>/deps/<test>`.
fn profile() -> String {
    let test = std::env::current_exe().expect("a path");
    let directory = test.parent().and_then(Path::parent);
    let name = directory.and_then(Path::file_name).expect("a directory");
    match name.to_str().expect("UTF-8") {
        "debug" => "dev".to_owned(),
        other => other.to_owned(),
    }
}

fn command(name: &str, args: &[&str]) -> Command {
    let mut command = Command::new(&BUILT[name]);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs a demo that ends by itself.
fn run(name: &str, args: &[&str]) -> Output {
    let mut process = Process(command(name, args).spawn().expect("started"));
    let status = process.wait();
    Output {
        status,
        stdout: read_all(process.0.stdout.take()),
        stderr: read_all(process.0.stderr.take()),
    }
}

fn read_all(pipe: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    pipe.expect("piped").read_to_end(&mut bytes).expect("read");
    bytes
}

/// A process that does not outlive the test.
struct Process(Child);

impl Process {
    fn wait(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().expect("our child") {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "the demo does not end");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A demo that listens.
struct Demo {
    process: Process,
    addr: SocketAddr,
    lines: Receiver<String>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

impl Demo {
    fn start(name: &str, args: &[&str]) -> Self {
        let mut command = command(name, &["--listen", "127.0.0.1:0"]);
        if APART.contains(&name) {
            command.args(["--events", "127.0.0.1:0"]);
        }
        let mut process = Process(command.args(args).spawn().expect("started"));

        // Pipes have no time-outs, so they are read elsewhere.
        let (send, lines) = mpsc::channel();
        let stdout = BufReader::new(process.0.stdout.take().expect("piped"));
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let stderr = process.0.stderr.take();
        let stderr = Some(thread::spawn(move || read_all(stderr)));

        let line = lines.recv_timeout(PATIENCE).expect("a line on stdout");
        let addr = line.strip_prefix("listening on http://");
        let addr: SocketAddr = addr.and_then(|a| a.parse().ok()).expect(&line);
        assert!(addr.ip().is_loopback() && addr.port() != 0, "{line}");
        Self {
            process,
            addr,
            lines,
            stderr,
        }
    }

    /// Sends a request and reads the head of the response.
    fn ask(&self, request: &str) -> Response {
        let stream = connect(self.addr);
        (&stream).write_all(request.as_bytes()).expect("sent");
        Response::read(BufReader::new(stream))
    }

    fn get(&self, path: &str, headers: &str) -> Response {
        self.ask(&format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\n{headers}\r\n",
            self.addr
        ))
    }

    /// Posts a line to the chat; returns the status.
    fn say(&self, line: &[u8]) -> String {
        let stream = connect(self.addr);
        let length = line.len();
        let head = format!("POST /say HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
        (&stream).write_all(head.as_bytes()).expect("sent");
        // A server that refuses it does not read all of it.
        let _ = (&stream).write_all(line);
        Response::read(BufReader::new(stream)).status
    }

    fn signal(&self, signal: &str) -> Clock {
        let clock = Clock(Instant::now());
        let status = Command::new("kill")
            .args([format!("-{signal}"), self.process.0.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(status.success());
        clock
    }

    /// Judges that it ends well and has said nothing else.
    fn wait_for_success(&mut self) {
        let status = self.process.wait();
        assert_eq!(status.code(), Some(0), "{status}");
        let stderr = self.stderr.take().expect("the first wait").join();
        let stderr = stderr.expect("read");
        assert_eq!(String::from_utf8_lossy(&stderr), "");
        assert_eq!(self.lines.recv_timeout(PATIENCE).ok(), None);
    }
}

struct Clock(Instant);

impl Clock {
    fn elapsed_until(&self, done: impl FnOnce()) -> Duration {
        done();
        self.0.elapsed()
    }
}

// Clients.

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&addr, PATIENCE).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.set_write_timeout(Some(PATIENCE)).expect("set");
    stream
}

/// A client that asks and asks and reads nothing, until the server can neither
/// send nor take anything any more.
fn stalled(addr: SocketAddr) -> TcpStream {
    let stream = connect(addr);
    let patience = Some(Duration::from_millis(200));
    stream.set_write_timeout(patience).expect("set");
    let requests = "GET / HTTP/1.1\r\nhost: x\r\n\r\n".repeat(100);
    for _ in 0..100_000 {
        if let Err(error) = (&stream).write_all(requests.as_bytes()) {
            let kind = error.kind();
            assert!(matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut));
            return stream;
        }
    }
    panic!("the server takes requests without end");
}

/// A response of HTTP/1, read as it comes.
struct Response {
    reader: BufReader<TcpStream>,
    status: String,
    headers: Vec<(String, String)>,
    /// What has been read of the body and not yet been asked for.
    text: String,
    /// What the last read from the connection gave, with its framing.
    last_bytes: String,
}

impl Response {
    fn read(mut reader: BufReader<TcpStream>) -> Self {
        let mut lines = std::iter::from_fn(|| {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a line of the head");
            let line = line.strip_suffix("\r\n").expect("a whole line");
            (!line.is_empty()).then(|| line.to_owned())
        });
        let status = lines.next().expect("a status line");
        let headers = lines
            .map(|line| {
                let (name, value) = line.split_once(": ").expect("a header");
                (name.to_ascii_lowercase(), value.to_owned())
            })
            .collect();
        Self {
            reader,
            status,
            headers,
            text: String::new(),
            last_bytes: String::new(),
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// A body of known length.
    fn body(&mut self) -> String {
        let length = self.header("content-length").expect("a length");
        let mut bytes = vec![0; length.parse().expect("a number")];
        self.reader.read_exact(&mut bytes).expect("the body");
        String::from_utf8(bytes).expect("UTF-8")
    }

    /// The next part of a body without a length; `None` is its proper end.
    fn part(&mut self) -> Option<String> {
        if self.header("transfer-encoding") == Some("chunked") {
            let mut size = String::new();
            self.reader.read_line(&mut size).expect("a chunk's size");
            let length = usize::from_str_radix(size.trim_end(), 16).expect("a chunk's size");
            let mut chunk = vec![0; length + 2];
            self.reader.read_exact(&mut chunk).expect("a whole chunk");
            let chunk = String::from_utf8(chunk).expect("whole blocks");
            self.last_bytes = format!("{size}{chunk}");
            let data = chunk.strip_suffix("\r\n").expect("a whole chunk");
            (length > 0).then(|| data.to_owned())
        } else {
            let bytes = self.reader.fill_buf().expect("bytes or the end");
            let text = str::from_utf8(bytes).expect("ASCII").to_owned();
            self.reader.consume(text.len());
            (!text.is_empty()).then_some(text)
        }
    }

    /// The next event, whatever blocks without data stand before it.
    fn event(&mut self) -> Event {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                if let Some(event) = Event::parse(&block) {
                    return event;
                }
            }
            let part = self.part().expect("an endless stream");
            self.text += &part;
        }
    }

    fn events(&mut self, count: usize) -> Vec<Event> {
        (0..count).map(|_| self.event()).collect()
    }

    /// All that comes until the response has ended, and judges that the connection
    /// has, too.
    fn rest(&mut self) -> String {
        while let Some(part) = self.part() {
            self.text += &part;
        }
        let mut more = Vec::new();
        self.reader.read_to_end(&mut more).expect("the end");
        assert!(more.is_empty(), "{}", String::from_utf8_lossy(&more));
        std::mem::take(&mut self.text)
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Event {
    id: String,
    name: Option<String>,
    data: String,
}

impl Event {
    /// `None` for a block without data: a comment, an id or a time to wait.
    fn parse(block: &str) -> Option<Self> {
        let field = |name: &str| {
            let mut lines = block.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        Some(Self {
            data: field("data")?.to_owned(),
            id: field("id").expect("every event has an id").to_owned(),
            name: field("event").map(str::to_owned),
        })
    }

    fn number(&self) -> f64 {
        self.data.parse().expect("a number")
    }

    /// The place in the log: ids count.
    fn offset(&self) -> u64 {
        let (_, offset) = self.id.rsplit_once('-').expect("an id");
        offset.parse().expect("a number")
    }
}

/// A client of HTTP/2, with prior knowledge.
struct Http2 {
    runtime: tokio::runtime::Runtime,
    requests: hyper::client::conn::http2::SendRequest<http_body_util::Empty<hyper::body::Bytes>>,
    authority: String,
}

impl Http2 {
    /// With a window, the server may not send more than these bytes of a response
    /// before they are read.
    fn connect(addr: SocketAddr, window: Option<u32>) -> Self {
        use hyper_util::rt::{TokioExecutor, TokioIo};

        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let requests = runtime.block_on(bounded(async {
            let stream = tokio::net::TcpStream::connect(addr)
                .await
                .expect("connected");
            let (requests, connection) =
                hyper::client::conn::http2::Builder::new(TokioExecutor::new())
                    .initial_stream_window_size(window)
                    .handshake(TokioIo::new(stream))
                    .await
                    .expect("HTTP/2");
            tokio::spawn(connection);
            requests
        }));
        Self {
            runtime,
            requests,
            authority: addr.to_string(),
        }
    }

    fn get(&mut self, path: &str) -> (u16, hyper::body::Incoming) {
        let uri = format!("http://{}{path}", self.authority);
        let request = hyper::Request::get(uri).body(http_body_util::Empty::new());
        let response = self.requests.send_request(request.expect("a request"));
        let response = self.runtime.block_on(bounded(response));
        let response = response.expect("a response");
        (response.status().as_u16(), response.into_body())
    }

    fn frame(&self, body: &mut hyper::body::Incoming) -> Option<String> {
        use http_body_util::BodyExt;

        let frame = self.runtime.block_on(bounded(body.frame()))?;
        let data = frame.expect("no error").into_data().expect("data");
        Some(String::from_utf8(data.to_vec()).expect("whole blocks"))
    }
}

async fn bounded<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("in time")
}
