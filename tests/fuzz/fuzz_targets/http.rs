//! Whatever a client sends to a server that has an event source mounted: every answer is a
//! whole one that HTTP allows, with headers that are known, and a stream is what the id that
//! was brought makes of the log.
#![no_main]

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::ready;
use std::rc::Rc;
use std::time::Duration;

use http::{Method, Request, Version};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tornadose::test::decode;
use tornadose::{Cors, Event, EventName, EventSource, Permit, QueueStore, Refusal, Start};
use tornadose_fuzz::{dechunked, runtime};

fuzz_target!(|bytes: &[u8]| {
    let mut seen = Vec::new();
    let mut sent = Vec::new();
    let mut epoch = String::new();
    let cost = allocation_counter::measure(|| (epoch, seen, sent) = talk(bytes));
    assert!(cost.bytes_max < 4 << 20, "{cost:?}");
    judge(&epoch, &seen, &sent);
});

/// An epoch is made at random; this stands for it.
const EPOCH: &[u8] = b"EEEEEEEEEEE";

/// The epoch of the log, the heads that the event source saw, and what the server sent.
fn talk(bytes: &[u8]) -> (String, Vec<Request<()>>, Vec<u8>) {
    let store = QueueStore::new();
    let mut epoch = String::new();
    for (name, data) in EVENTS {
        let event = Event::new(data).name(EventName::from_static(name));
        let id = store.submit(event).expect("an open store").id();
        epoch = id.expect("an id").to_string()[..EPOCH.len()].to_owned();
    }
    let mut bytes = bytes.to_vec();
    for at in 0..bytes.len().saturating_sub(EPOCH.len() - 1) {
        if bytes[at..].starts_with(EPOCH) {
            bytes[at..at + EPOCH.len()].copy_from_slice(epoch.as_bytes());
        }
    }
    let events = EventSource::new(store)
        .start(Start::Oldest)
        .max_age(Duration::from_secs(40))
        .cors(Cors::origins(["https://example.org"]).expect("an origin"))
        .permit(|head| match head.queries("key").next() {
            Some(key) if key == "no" => Err(Refusal::FORBIDDEN),
            Some(key) => Ok(Permit::new().key(key)),
            None => Ok(Permit::new()),
        });
    let seen = Rc::new(RefCell::new(Vec::new()));
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let response = events.respond(&request);
        let (head, _) = request.into_parts();
        seen.borrow_mut().push(Request::from_parts(head, ()));
        ready(Ok::<_, Infallible>(response))
    });
    let sent = runtime().block_on(async {
        let (mut ours, theirs) = duplex(1 << 10);
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(theirs), service);
        let talking = async {
            let (mut reading, mut writing) = tokio::io::split(&mut ours);
            let mut sent = Vec::new();
            let write = async {
                // The server may hang up at any time.
                let _ = writing.write_all(&bytes).await;
            };
            let read = async { reading.read_to_end(&mut sent).await.expect("in memory") };
            tokio::join!(write, read);
            sent
        };
        let (_, sent) = tokio::join!(async { drop(serving.await) }, talking);
        sent
    });
    let seen = seen.take();
    (epoch, seen, sent)
}

const EVENTS: [(&str, &str); 3] = [("message", "1"), ("a", "2\n\n2"), ("b", "")];

fn judge(epoch: &str, seen: &[Request<()>], mut sent: &[u8]) {
    let mut seen = seen.iter();
    while !sent.is_empty() {
        let (status, headers, rest) = head(sent);
        sent = rest;
        if status == 100 {
            assert!(headers.is_empty());
            continue;
        }
        let request = seen.next();
        let has = |name: &str, value: &str| headers.iter().any(|(n, v)| n == name && v == value);
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let is_stream = has("content-type", "text/event-stream");
        assert_eq!(is_stream, status == 200, "{headers:?}");
        let Some(request) = request else {
            // What hyper itself refuses.
            assert!([400, 414, 431].contains(&status), "{status}");
            assert!(sent.is_empty() && has("content-length", "0"));
            return;
        };
        judge_head(request, status, &headers);
        if request.method() == Method::HEAD || status == 204 {
            continue;
        }
        if !is_stream {
            let (_, length) = length.expect("a length");
            let length = length.parse().expect("a number");
            sent = sent.get(length..).expect("a whole body");
            continue;
        }
        let body = if has("transfer-encoding", "chunked") {
            assert_eq!(request.version(), Version::HTTP_11);
            let (body, rest) = dechunked(sent).expect("chunks to the last one");
            sent = rest;
            body
        } else {
            assert_eq!(request.version(), Version::HTTP_10);
            std::mem::take(&mut sent).to_vec()
        };
        judge_stream(epoch, request, &body);
    }
}

type Headers = Vec<(String, String)>;

/// The status, the headers, and what stands behind them.
fn head(bytes: &[u8]) -> (u16, Headers, &[u8]) {
    let end = bytes.windows(4).position(|found| found == b"\r\n\r\n");
    let end = end.expect("a whole head");
    let head = str::from_utf8(&bytes[..end]).expect("text");
    let mut lines = head.split("\r\n");
    let status = lines.next().expect("a line");
    let status = status.strip_prefix("HTTP/1.").expect("a version");
    assert!(
        status.starts_with("1 ") || status.starts_with("0 "),
        "{status}"
    );
    let status = status[2..5].parse().expect("a status");
    let headers = lines.map(|line| {
        let (name, value) = line
            .split_once(": ")
            .unwrap_or((line.trim_end_matches(':'), ""));
        assert!(NAMES.contains(&name), "{line:?}");
        assert!(
            value.bytes().all(|byte| (b' '..0x7f).contains(&byte)),
            "{line:?}"
        );
        (name.to_owned(), value.to_owned())
    });
    (status, headers.collect(), &bytes[end + 4..])
}

const NAMES: [&str; 13] = [
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-max-age",
    "allow",
    "cache-control",
    "connection",
    "content-length",
    "content-type",
    "date",
    "transfer-encoding",
    "vary",
    "x-accel-buffering",
];

fn judge_head(request: &Request<()>, status: u16, headers: &Headers) {
    let origins: Vec<_> = request.headers().get_all("origin").iter().collect();
    let is_asked = |name| request.headers().contains_key(name);
    let is_preflight = is_asked("access-control-request-method") && is_asked("origin");
    let keys = request.uri().query().unwrap_or_default().split('&');
    let mut keys = keys.filter_map(|pair| match pair.split_once('=') {
        Some(("key", key)) => Some(key),
        None if pair == "key" => Some(""),
        _ => None,
    });
    let is_refused = keys
        .next()
        .is_some_and(|key| ["no", "%6eo", "n%6f", "%6Eo", "n%6F", "%6e%6f"].contains(&key));
    let expected = match *request.method() {
        Method::OPTIONS if is_preflight => 204,
        Method::GET | Method::HEAD if is_refused => 403,
        Method::GET | Method::HEAD => 200,
        _ => 405,
    };
    // There are more ways to write it.
    assert!(
        status == expected || (expected, status) == (200, 403),
        "{status} {request:?}"
    );
    let allowed = headers
        .iter()
        .find(|(name, _)| name == "access-control-allow-origin");
    if let Some((_, allowed)) = allowed {
        assert_eq!(allowed, "https://example.org");
        assert!(
            origins
                .iter()
                .any(|origin| origin == &"https://example.org")
        );
    }
}

/// What a browser makes of it: all events behind the id that it has brought.
fn judge_stream(epoch: &str, request: &Request<()>, body: &[u8]) {
    assert!(body.starts_with(b":\n\n"));
    let found = decode(body);
    let id = |offset| format!("{epoch}-{offset}");
    let ids: Vec<_> = request.headers().get_all("last-event-id").iter().collect();
    let query = || {
        [
            "lastEventId",
            "last_event_id",
            "last-event-id",
            "evs_last_event_id",
        ]
        .iter()
        .any(|name| {
            request
                .uri()
                .query()
                .is_some_and(|query| query.contains(name))
        })
    };
    let begin = match &ids[..] {
        [] if query() => None,
        [] => Some(0),
        [id] if id.is_empty() => Some(0),
        [one] => (0..=3).find(|offset| one.as_bytes() == id(*offset).as_bytes()),
        _ => None,
    };
    let is_gap = found.first().is_some_and(|first| first.name == "gap");
    let events = &found[usize::from(is_gap)..];
    let begin = begin.unwrap_or_else(|| {
        assert!(is_gap || ids.is_empty(), "{request:?}");
        EVENTS.len() - events.len()
    });
    assert!(!is_gap || ids.len() > 1 || query() || ids.iter().any(|id| !id.is_empty()));
    for (at, ((name, data), event)) in EVENTS[begin..].iter().zip(events).enumerate() {
        assert_eq!((&*event.name, &*event.data), (*name, *data));
        assert_eq!(event.last_event_id, id(begin + at + 1));
    }
    assert_eq!(EVENTS.len() - begin, events.len(), "{request:?} {found:?}");
    let end = str::from_utf8(body)
        .expect("UTF-8")
        .trim_end_matches("\n\n");
    let end = end.rsplit("\n\n").next().unwrap_or_default();
    let retry = end.strip_prefix("retry: ").expect("a farewell");
    assert!(retry.parse::<u64>().is_ok());
}
