//! What is told to who watches: every line that a session writes to the log, and that no
//! secret is in any of them; and the figures.
//!
//! One test for the lines: who is told them is the process's.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use http::{Request, Response};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString,
    Unit,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tornadose::{
    Control, DataStore, Event, EventBody, EventName, EventSource, Hub, Overflow, Overload, Permit,
    Policy, QueueStore, Refusal, Retention, Shutdown, Start, Subscribe, Topic,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;

/// In everything that somebody might want to hide.
const SECRET: &str = "s3cr3t";

/// Whatever anybody in this thread logs.
#[derive(Clone)]
struct Lines(Arc<Mutex<Vec<String>>>, ThreadId);

impl Lines {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("not poisoned"))
    }

    fn push(&self, line: String) {
        self.0.lock().expect("not poisoned").push(line);
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

impl tracing::Subscriber for Lines {
    fn register_callsite(&self, _: &'static tracing::Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        thread::current().id() == self.1
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut text = Text(format!("span {}", span.metadata().target()));
        span.record(&mut text);
        self.push(text.0);
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        let mut text = Text("record".to_owned());
        values.record(&mut text);
        self.push(text.0);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let metadata = event.metadata();
        let mut text = Text(format!("{} {}", metadata.level(), metadata.target()));
        event.record(&mut text);
        self.push(text.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// A request with secrets in all of its parts.
fn request(header: &str) -> Request<()> {
    Request::get(format!("/{SECRET}?token={SECRET}"))
        .header("cookie", format!("session={SECRET}"))
        .header(header, format!("Bearer {SECRET}"))
        .header("last-event-id", SECRET)
        .body(())
        .expect("a request")
}

fn event(data: &str) -> Event {
    let name: EventName = format!("name-{SECRET}").parse().expect("a name");
    Event::new(format!("{data} {SECRET}")).name(name)
}

fn topic() -> Topic {
    format!("rooms/{SECRET}").parse().expect("a topic")
}

/// Takes what there is now.
fn drain(response: &mut Response<EventBody>) -> usize {
    let body = response.body_mut();
    std::iter::from_fn(|| body.next().now_or_never().flatten()).count()
}

#[tokio::test(start_paused = true)]
async fn the_lines_of_a_session_are_these_and_hold_no_secret() {
    let lines = Lines(Arc::default(), thread::current().id());
    tracing::subscriber::set_global_default(lines.clone()).expect("the only one");
    let mut all = Vec::new();
    let mut told = |expected: &[&str]| {
        let new = lines.take();
        let ours: Vec<_> = new
            .iter()
            .filter_map(|line| {
                let (level, rest) = line.split_once(" tornadose ")?;
                Some(format!("{level} {rest}"))
            })
            .collect();
        all.extend(new);
        assert_eq!(ours, expected);
    };

    let (shutdown, control) = (Shutdown::new(), Control::new());
    let hub = Hub::builder()
        .name("chat")
        .default_policy(Policy::queue(Retention::new().events(1)))
        .presence("rooms/#".parse().expect("a pattern"))
        .build();
    let events = EventSource::new(hub.clone())
        .permit(move |head| match head.header("authorization") {
            None => Err(Refusal::UNAUTHORIZED),
            Some(_) => Ok(Permit::new()
                .topics(topic())
                .control(&control)
                .expires_in(Duration::from_secs(60))
                .name(format!("name-{SECRET}"))
                .key(format!("key-{SECRET}"))),
        })
        .max_streams_per_key(1)
        .overload(Overload::Unavailable)
        .shutdown(&shutdown);

    drop(events.respond(&request("x-other")));
    told(&["DEBUG stream refused protocol=\"sse\" why=\"hook\" status=401"]);

    let mut stream = events.respond(&request("authorization"));
    told(&["DEBUG stream opened protocol=\"sse\""]);
    assert_eq!(events.respond(&request("authorization")).status(), 503);
    told(&["DEBUG stream refused protocol=\"sse\" why=\"limit\""]);
    // The preamble, and the gap of an id that is none.
    assert!(drain(&mut stream) >= 2);
    told(&["INFO gap told store=\"chat\" reason=\"malformed\""]);
    for data in ["1", "2", "3"] {
        hub.submit(event(data).topic(topic())).expect("taken");
    }
    // Nothing for an event; one for a gap.
    assert_eq!(drain(&mut stream), 2);
    told(&["INFO gap told store=\"chat\" reason=\"slow\" missed=2"]);
    assert_eq!(events.revoke(&format!("key-{SECRET}")), 1);
    assert_eq!(drain(&mut stream), 1);
    told(&["DEBUG stream ended protocol=\"sse\" why=\"revoked\""]);

    let opened = "DEBUG stream opened protocol=\"sse\"";
    let gap = "INFO gap told store=\"chat\" reason=\"malformed\"";
    let mut stream = events.respond(&request("authorization"));
    drain(&mut stream);
    tokio::time::advance(Duration::from_secs(61)).await;
    drain(&mut stream);
    told(&[
        opened,
        gap,
        "DEBUG stream ended protocol=\"sse\" why=\"expired\"",
    ]);
    drop(events.respond(&request("authorization")));
    told(&[opened, "DEBUG stream ended protocol=\"sse\" why=\"left\""]);

    let store = QueueStore::builder()
        .name("ticks")
        .retention(Retention::new().events(1))
        .overflow(Overflow::Disconnect)
        .build();
    let ticks = EventSource::new(store.clone());
    let (mut slow, mut other) = (
        ticks.grant(Permit::new(), None),
        ticks.grant(Permit::new(), None),
    );
    for data in ["1", "2"] {
        store.submit(event(data)).expect("taken");
        drain(&mut other);
    }
    drain(&mut slow);
    let slow = [
        "WARN subscriber disconnected as slow store=\"ticks\"",
        "DEBUG stream ended protocol=\"sse\" why=\"slow\"",
    ];
    told(&[opened, opened, slow[0], slow[1]]);
    store.close();
    store.close();
    drain(&mut other);
    told(&[
        "INFO store closed store=\"ticks\"",
        "DEBUG stream ended protocol=\"sse\" why=\"closed\"",
    ]);

    // Over a WebSocket.
    let socket = events.websocket().on_message(|message| {
        let text = message.text().map(str::to_owned);
        message.reply(text.unwrap_or_default());
    });
    let say = |request: String, more: &'static [u8]| {
        let (mut ours, theirs) = duplex(1 << 16);
        let server = http1::Builder::new()
            .serve_connection(TokioIo::new(theirs), socket.clone())
            .with_upgrades();
        tokio::spawn(server);
        async move {
            ours.write_all(request.as_bytes()).await.expect("written");
            ours.write_all(more).await.expect("written");
            let mut read = Vec::new();
            let patience = Duration::from_secs(5);
            let _ = tokio::time::timeout(patience, ours.read_to_end(&mut read)).await;
            String::from_utf8_lossy(&read).into_owned()
        }
    };
    let head = |lines: &str| {
        format!(
            "GET /{SECRET}?token={SECRET} HTTP/1.1\r\nhost: localhost\r\ncookie: {SECRET}\r\n\
             connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             {lines}\r\n"
        )
    };
    let key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let auth = format!("authorization: {SECRET}\r\n");
    let answer = say(head(key), b"").await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    told(&["DEBUG stream refused protocol=\"websocket\" why=\"hook\" status=401"]);
    let answer = say(head(&auth), b"").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    told(&["DEBUG stream refused protocol=\"websocket\" why=\"handshake\" status=400"]);
    let origin = format!("{key}{auth}origin: https://{SECRET}.example\r\n");
    let answer = say(head(&origin), b"").await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    told(&["DEBUG stream refused protocol=\"websocket\" why=\"origin\""]);
    // A message of this text, not masked away, and one that is no text.
    let frames = b"\x81\x86\0\0\0\0s3cr3t\x81\x82\0\0\0\0\xff\xff";
    let answer = say(head(&format!("{key}{auth}")), frames).await;
    assert!(
        answer.starts_with("HTTP/1.1 101") && answer.contains(SECRET),
        "{answer}"
    );
    told(&[
        "DEBUG stream opened protocol=\"websocket\"",
        "DEBUG stream ended protocol=\"websocket\" why=\"violation\"",
    ]);

    let mut stream = events.respond(&request("authorization"));
    drain(&mut stream);
    shutdown.begin();
    shutdown.begin();
    drain(&mut stream);
    told(&[
        opened,
        gap,
        "INFO shutdown begun",
        "DEBUG stream ended protocol=\"sse\" why=\"shutdown\"",
    ]);
    drop((events, socket, hub));
    told(&["INFO store closed store=\"chat\""]);

    assert!(all.len() >= 20);
    for line in all {
        assert!(!line.contains(SECRET), "{line}");
    }
}

/// What was recorded, by name and labels.
#[derive(Clone, Default)]
struct Figures(Arc<Mutex<BTreeMap<String, f64>>>);

struct Figure(Figures, String);

impl Figure {
    fn set(&self, change: impl FnOnce(f64) -> f64) {
        let mut figures = self.0.0.lock().expect("not poisoned");
        let figure = figures.entry(self.1.clone()).or_default();
        *figure = change(*figure);
    }
}

impl CounterFn for Figure {
    fn increment(&self, value: u64) {
        self.set(|figure| figure + value as f64);
    }

    fn absolute(&self, value: u64) {
        self.set(|figure| figure.max(value as f64));
    }
}

impl GaugeFn for Figure {
    fn increment(&self, value: f64) {
        self.set(|figure| figure + value);
    }

    fn decrement(&self, value: f64) {
        self.set(|figure| figure - value);
    }

    fn set(&self, value: f64) {
        self.set(|_| value);
    }
}

impl Figures {
    fn of(&self, key: &Key) -> Arc<Figure> {
        let labels = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()));
        let labels = labels.collect::<Vec<_>>().join(",");
        Arc::new(Figure(self.clone(), format!("{}{{{labels}}}", key.name())))
    }

    fn get(&self, name: &str) -> Option<f64> {
        self.0.lock().expect("not poisoned").get(name).copied()
    }
}

impl Recorder for Figures {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.of(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.of(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn the_figures_of_a_store_are_recorded_under_its_name() {
    let figures = Figures::default();
    let store = QueueStore::builder().name("chat").build();
    let mut subscription = store.subscribe(Subscribe::from(Start::Live).name(SECRET));
    let _behind = store.subscribe(Start::Live);
    for data in ["1", "2", "3"] {
        store.submit(data).expect("taken");
    }
    assert!(subscription.recv().now_or_never().flatten().is_some());
    metrics::with_local_recorder(&figures, || {
        store.stats().record();
        store.stats().record();
        DataStore::new().stats().record();
        // Of no topic.
        store.stats().record_topic();
    });
    for (name, expected) in [
        ("tornadose_events_submitted_total{store=chat}", 3.0),
        ("tornadose_events_delivered_total{store=chat}", 1.0),
        ("tornadose_events_retained{store=chat}", 3.0),
        ("tornadose_subscribers{store=chat}", 2.0),
        ("tornadose_lag_events{store=chat}", 5.0),
        ("tornadose_lag_events_max{store=chat}", 3.0),
        ("tornadose_lag_subscribers{store=chat,le=1}", 0.0),
        ("tornadose_lag_subscribers{store=chat,le=2}", 1.0),
        ("tornadose_lag_subscribers{store=chat,le=4}", 2.0),
        ("tornadose_lag_subscribers{store=chat,le=+Inf}", 2.0),
        ("tornadose_subscribers{store=}", 0.0),
    ] {
        assert_eq!(figures.get(name), Some(expected), "{name}");
    }
    let figures = figures.0.lock().expect("not poisoned");
    assert!(
        figures.keys().all(|name| !name.contains(SECRET)),
        "{figures:?}"
    );
    // For each of the two stores: 9 counters, 5 gauges and a gauge for each bucket.
    assert_eq!(figures.len(), 2 * (9 + 5 + 23));
}

#[test]
fn a_topic_is_a_label_only_where_it_is_asked_for() {
    let figures = Figures::default();
    let hub = Hub::builder().name("h").build();
    hub.submit(event("1").topic(topic())).expect("taken");
    let known: Topic = "known".parse().expect("a topic");
    hub.submit(event("1").topic(known.clone())).expect("taken");
    metrics::with_local_recorder(&figures, || {
        hub.stats().record();
        hub.stats_of(&known).expect("a topic").record_topic();
    });
    let get = |name: &str| figures.get(name);
    assert_eq!(get("tornadose_events_submitted_total{store=h}"), Some(2.0));
    let of_known = "tornadose_events_submitted_total{store=h,topic=known}";
    assert_eq!(get(of_known), Some(1.0));
    assert_eq!(get("tornadose_events_skipped_total{store=h}"), None);
    let figures = figures.0.lock().expect("not poisoned");
    assert!(
        figures.keys().all(|name| !name.contains(SECRET)),
        "{figures:?}"
    );
}

#[test]
fn streams_are_counted_by_why_they_end() {
    let figures = Figures::default();
    metrics::with_local_recorder(&figures, || {
        let store = DataStore::new();
        let events = EventSource::new(store.clone()).max_streams(2);
        let (left, mut closed) = (
            events.grant(Permit::new(), None),
            events.grant(Permit::new(), None),
        );
        drop(events.grant(Permit::new(), None));
        drop(left);
        store.close();
        drain(&mut closed);
    });
    for (name, expected) in [
        ("tornadose_streams_opened_total{protocol=sse}", 2.0),
        (
            "tornadose_streams_refused_total{protocol=sse,why=limit}",
            1.0,
        ),
        ("tornadose_streams_ended_total{protocol=sse,why=left}", 1.0),
        (
            "tornadose_streams_ended_total{protocol=sse,why=closed}",
            1.0,
        ),
    ] {
        assert_eq!(figures.get(name), Some(expected), "{name}");
    }
    assert_eq!(figures.0.lock().expect("not poisoned").len(), 4);
}
