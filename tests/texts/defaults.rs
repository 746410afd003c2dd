//! docs/defaults.md names every setting and every public bound that there is in the source,
//! and tells of each the default that is seen from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::Path;
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tornadose::backplane::{Durable, Nats, Redis};
use tornadose::{
    DataStore, Event, EventBody, EventSource, Hub, Lags, LastEventId, Listener, Permit, Policy,
    QueueStore, Retention, Server, Start, Stats, Topic, Topics, WebSocketSubscriber,
};

use crate::connection::Wire;
use crate::pages::{Page, ROOT};
use crate::settings::scan;

const PAGE: &str = "docs/defaults.md";

/// What only an engine could tell; its own tests do.
const UNSEEN: [&str; 18] = [
    "EventSource::attached",
    "EventSource::shutdown",
    "Nats::client_certificate",
    "Nats::credentials",
    "Nats::credentials_file",
    "Nats::domain",
    "Nats::nkey",
    "Nats::require_tls",
    "Nats::root_certificates",
    "Nats::token",
    "Nats::user_and_password",
    "Redis::max_event_bytes",
    "Redis::or_at",
    "Redis::root_certificate",
    "Redis::sentinels",
    "Redis::timeout",
    "Shutdown::new",
    "Shutdown::paced",
];

/// What stands in the second column for each code in the first.
fn page() -> BTreeMap<String, String> {
    let mut rows = BTreeMap::new();
    let page = Page::read(PAGE);
    for (_, line) in page.prose() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, names, default, ..] = &cells[..] else {
            continue;
        };
        for name in names.split('`').skip(1).step_by(2) {
            let default = default.replace('`', "");
            assert_eq!(rows.insert(name.to_owned(), default), None, "{name} twice");
        }
    }
    rows
}

#[test]
fn the_page_names_every_setting_and_every_bound() {
    let mut there = BTreeSet::new();
    scan(&Path::new(ROOT).join("src"), &mut there);
    let told: BTreeSet<_> = page().into_keys().collect();
    let made = ["Shutdown::new", "Shutdown::paced"].map(str::to_owned);
    there.extend(made);
    let missing: Vec<_> = there.difference(&told).collect();
    let invented: Vec<_> = told.difference(&there).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "{missing:?}, and not there: {invented:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_page_tells_the_defaults_that_are_seen() {
    let page = page();
    let mut seen = BTreeSet::new();
    let listed = stores()
        .into_iter()
        .chain(served().await)
        .chain(engines())
        .chain(bounds());
    let listed: Vec<_> = listed
        .chain(streams().await)
        .chain(sockets().await)
        .collect();
    for (name, words, is_so) in listed {
        assert_eq!(page.get(name).map(String::as_str), Some(words), "{name}");
        assert!(is_so, "{name} is not {words}");
        assert!(seen.insert(name.to_owned()), "{name} twice");
    }
    let not_seen: Vec<_> = page.keys().filter(|name| !seen.contains(*name)).collect();
    assert_eq!(not_seen, UNSEEN);
}

/// A setting, its default in the words of the page, and whether that is so.
type Row = (&'static str, &'static str, bool);

#[rustfmt::skip]
fn stores() -> Vec<Row> {
    let kept = shown(&Retention::new());
    let queue = shown(&QueueStore::builder());
    let data = shown(&DataStore::builder());
    let hub = shown(&Hub::builder());
    let topic = "Policy { retention: Retention { events: 1000, bytes: 1048576, age: None }, conflates: false, overflow: DropOldest }";
    let is_kept = "Retention { events: 10000, bytes: 16777216, age: None }";
    vec![
        ("Retention::events", "10,000", kept.at("events") == "10000"),
        ("Retention::bytes", "16 MiB", kept.at("bytes") == "16777216"),
        ("Retention::age", "none", kept.at("age") == "None"),
        ("QueueStoreBuilder::retention", "10,000 events, 16 MiB, any age", queue.at("retention") == is_kept),
        ("QueueStoreBuilder::overflow", "DropOldest", queue.at("overflow") == "DropOldest"),
        ("QueueStoreBuilder::max_event_bytes", "1 MiB", queue.at("max_event_bytes") == "1048576"),
        ("DataStoreBuilder::max_event_bytes", "1 MiB", data.at("max_event_bytes") == "1048576"),
        ("HubBuilder::max_event_bytes", "1 MiB", hub.at("max_event_bytes") == "1048576"),
        ("QueueStoreBuilder::name", "none", queue.at("name") == "None"),
        ("DataStoreBuilder::name", "none", data.at("name") == "None"),
        ("HubBuilder::name", "none", hub.at("name") == "None"),
        ("DataStoreBuilder::only_changes", "no", data.at("only_changes") == "false"),
        ("HubBuilder::default_policy", "a queue, 1,000 events, 1 MiB, any age", hub.at("default") == topic),
        ("HubBuilder::policy", "none", hub.at("rules") == "[]"),
        ("HubBuilder::presence", "none", hub.at("presence") == "[]"),
        ("Policy::overflow", "DropOldest", shown(&Policy::queue(Retention::new())).at("overflow") == "DropOldest"),
        ("Policy::age", "none", shown(&Policy::latest()).at("age") == "None"),
        ("HubBuilder::patience", "30 s", hub.at("patience") == "30s"),
        ("HubBuilder::window", "100,000", hub.at("window") == "100000"),
        ("HubBuilder::queue", "65,536", hub.at("queue") == "65536"),
    ]
}

#[rustfmt::skip]
async fn served() -> Vec<Row> {
    let server = shown(&Server::new(tcp().await));
    let listener = shown(&Listener::new(tcp().await));
    vec![
        ("Server::shutdown", "none", server.at("shutdown") == "Shutdown { begun: false }"),
        ("Server::grace", "10 s", server.at("grace") == "10s"),
        ("Server::max_connections", "10,000", server.at("connections") == "10000"),
        ("Server::header_timeout", "10 s", server.at("head") == "10s"),
        ("Server::body_timeout", "60 s", server.at("body") == "60s"),
        ("Server::idle_timeout", "60 s", server.at("idle") == "60s"),
        ("Server::stall_timeout", "30 s", server.at("stall") == "30s"),
        ("Server::least_drain", "1 byte", server.at("drain") == "1"),
        ("Server::send_buffer", "the system's", server.at("send_buffer") == "None"),
        ("Server::notsent_lowat", "16 KiB", server.at("unsent") == "16384"),
        ("Server::max_buf_size", "16 KiB", server.at("buffer") == "16384"),
        ("Server::max_concurrent_streams", "100", server.at("streams") == "100"),
        ("Server::detached", "no", server.at("is_detached") == "false"),
        ("Listener::shards", "one for each core", listener.at("shards") == "None"),
        ("Listener::stall_timeout", "30 s", listener.at("stall") == "30s"),
        ("Listener::least_drain", "1 byte", listener.at("drain") == "1"),
        ("Listener::send_buffer", "the system's", listener.at("send_buffer") == "None"),
        ("Listener::notsent_lowat", "16 KiB", listener.at("unsent") == "16384"),
    ]
}

#[rustfmt::skip]
fn engines() -> Vec<Row> {
    let durable = shown(&Durable::builder("nowhere"));
    let redis = shown(&Redis::new("redis://127.0.0.1").expect("a URL"));
    let nats = shown(&Nats::new("nats://127.0.0.1").expect("a URL"));
    let is_kept = "Retention { events: 100000, bytes: 67108864, age: None }";
    vec![
        ("DurableBuilder::fsync", "Always", durable.at("fsync") == "Always"),
        ("DurableBuilder::retention", "100,000 events, 64 MiB, any age", durable.at("retention") == is_kept),
        ("DurableBuilder::once_for", "120 s", durable.at("once_for") == "120s"),
        ("DurableBuilder::recover", "no", durable.at("recover") == "false"),
        ("Redis::key", "tornadose", redis.at("key") == "\"tornadose\""),
        ("Redis::max_events", "100,000", redis.at("max_events") == "100000"),
        ("Redis::once_for", "120 s", redis.at("once_for") == "120s"),
        ("Redis::replicas", "0", redis.at("replicas") == "0"),
        ("Redis::relay", "none", redis.at("relay") == "[]"),
        ("Nats::stream", "tornadose", nats.at("stream") == "\"tornadose\""),
        ("Nats::prefix", "tornadose", nats.at("prefix") == "\"tornadose\""),
        ("Nats::max_events", "100,000", nats.at("max_events") == "100000"),
        ("Nats::max_bytes", "none", nats.at("max_bytes") == "None"),
        ("Nats::max_age", "none", nats.at("max_age") == "None"),
        ("Nats::once_for", "120 s", nats.at("once_for") == "120s"),
        ("Nats::in_memory", "no", nats.at("in_memory") == "false"),
        ("Nats::replicas", "1", nats.at("replicas") == "1"),
        ("Nats::timeout", "3 s", nats.at("timeout") == "3s"),
    ]
}

#[rustfmt::skip]
fn bounds() -> Vec<Row> {
    vec![
        ("Topic::MAX_LEN", "255 bytes", Topic::MAX_LEN == 255),
        ("Topic::MAX_LEVELS", "16", Topic::MAX_LEVELS == 16),
        ("Topics::MAX", "256 topics and patterns of one subscription", Topics::MAX == 256),
        ("Event::MIN_RETRY", "100 ms", Event::MIN_RETRY == Duration::from_millis(100)),
        ("Event::MAX_RETRY", "1 h", Event::MAX_RETRY == Duration::from_secs(3600)),
        ("LastEventId::MAX_LEN", "128 bytes", LastEventId::MAX_LEN == 128),
        ("Stats::SLOWEST", "8 subscriptions", Stats::SLOWEST == 8),
        ("Lags::BUCKETS", "23", Lags::BUCKETS == 23),
        ("Retention::BYTES_PER_EVENT", "128 bytes", Retention::BYTES_PER_EVENT == 128),
    ]
}

#[rustfmt::skip]
async fn streams() -> Vec<Row> {
    let store = QueueStore::new();
    store.submit("old").expect("taken");
    let events = EventSource::new(store.clone());
    let id = store.latest().expect("one");

    let mut all: Vec<_> = (0..2000).map(|_| get(&events, "/", None)).collect();
    let are_open = events.streams() == all.len();
    let mut one = all.pop().expect("one").into_body();
    drop(all);
    let began = Instant::now();
    let opening = next(&mut one).await;
    let is_live = opening == format!(":\n\nid: {id}\n\n");
    let first_comment = next(&mut one).await;
    let is_quiet_for = began.elapsed();
    for _ in 0..10 {
        tokio::time::advance(Duration::from_secs(86_400)).await;
        next(&mut one).await;
    }
    let is_ageless = events.streams() == 1;
    let response = get(&events, "/", Some("https://app.example.org"));
    let has_cors = response.headers().keys().any(|name| name.as_str().starts_with("access-control"));
    let told = next(&mut get(&events, "/?lastEventId=nonsense", None).into_body()).await
        .contains(":\n\n");

    let full = events.clone().max_streams(0);
    let mut farewells = Vec::new();
    for _ in 0..300 {
        let body = next(&mut get(&full, "/", None).into_body()).await;
        let retry = body.strip_prefix(":\n\nretry: ").and_then(|body| body.strip_suffix("\n\n"));
        farewells.push(retry.expect("a farewell").parse::<u64>().expect("milliseconds"));
    }
    let least = *farewells.iter().min().expect("some");
    let most = *farewells.iter().max().expect("some");
    let is_between = (2000..2500).contains(&least) && (5500..=6000).contains(&most);

    let permit = shown(&Permit::new());
    let hub = Hub::new();
    let granted = EventSource::new(hub.clone()).permit(|_| Ok(Permit::new()));
    let _nothing = get(&granted, "/", None);
    let topic: Topic = "x".parse().expect("a topic");
    vec![
        ("EventSource::permit", "everybody", are_open),
        ("EventSource::permit_async", "everybody", are_open),
        ("EventSource::start", "Start::Live", is_live),
        ("EventSource::on_gap", "OnGap::Tell", told),
        ("EventSource::keep_alive", "15 s", first_comment == ":\n\n" && is_quiet_for == Duration::from_secs(15)),
        ("EventSource::without_keep_alive", "no", first_comment == ":\n\n"),
        ("EventSource::retry", "not told", !opening.contains("retry")),
        ("EventSource::retry_between", "not told", !opening.contains("retry")),
        ("EventSource::farewell", "2 s to 6 s", is_between),
        ("EventSource::max_age", "none", is_ageless),
        ("EventSource::cors", "no headers", !has_cors),
        ("EventSource::max_streams", "none", are_open),
        ("EventSource::max_streams_per_key", "none", keyed(2000) == 2000),
        ("EventSource::overload", "Overload::Later", get(&full, "/", None).status() == 200),
        ("Permit::store", "the one of the EventSource", store.subscribers() == events.streams()),
        ("Permit::topics", "none", (hub.subscribers(), hub.subscribers_of(&topic)) == (1, 0)),
        ("Permit::start", "that of the EventSource", permit.at("start") == "None"),
        ("Permit::key", "none", permit.at("has_key") == "false"),
        ("Permit::expires_in", "never", permit.at("expires_in") == "None"),
        ("Permit::conflate", "no", subscribe("conflate") == "false"),
        ("Permit::min_interval", "none", subscribe("min_interval") == "None"),
        ("Permit::name", "none", subscribe("name") == "None"),
        ("Permit::control", "none", subscribe("control") == "None"),
    ]
}

#[rustfmt::skip]
async fn sockets() -> Vec<Row> {
    let store = QueueStore::new();
    let position = store.subscribe(Start::Live).position().expect("a log in memory");
    let socket = WebSocketSubscriber::new(store.clone());
    let open = || async {
        let mut wire = Wire::to(socket.clone(), position);
        wire.open(SHAKE).await;
        wire
    };
    let origin = |origin: &'static str| {
        let socket = socket.clone();
        async move {
            let mut wire = Wire::to(socket, position);
            let origin = format!("host: example.org\n{origin}");
            wire.ask(&SHAKE.replace("host: example.org\n", &origin)).await;
            wire.head().await
        }
    };
    let shaken = origin("").await;
    let strange = origin("origin: https://else.example.org\n").await;
    let own = origin("origin: https://example.org\n").await;
    let mut wire = Wire::to(socket.clone(), position);
    wire.ask(SHAKE).await;
    wire.head().await;
    let first = wire.messages().await;

    let mut wire = open().await;
    let is_quiet = { tokio::time::advance(Duration::from_millis(14_900)).await; wire.quiet().await.is_empty() };
    let is_pinged = { tokio::time::advance(Duration::from_millis(100)).await; wire.quiet().await == [0x89, 0] };

    let long = |bytes: u64| {
        let mut frame = vec![0x82, 0xff];
        frame.extend(bytes.to_be_bytes());
        frame.extend([0; 4]);
        frame.resize(frame.len() + usize::try_from(bytes).expect("short"), 0);
        frame
    };
    let is_read = open().await.says(&long(64 << 10)).await.is_empty();
    let is_too_long = open().await.closed(&long((64 << 10) + 1)[..14]).await.0 == 1009;
    let cut = |times: usize| [&[0x02, 0x80, 0, 0, 0, 0][..], &[0x00, 0x80, 0, 0, 0, 0].repeat(times - 2), &[0x80, 0x80, 0, 0, 0, 0]].concat();
    let is_whole = open().await.says(&cut(128)).await.is_empty();
    let is_too_many = open().await.closed(&cut(129)).await.0 == 1008;
    vec![
        ("WebSocketSubscriber::ping", "15 s", is_quiet && is_pinged),
        ("WebSocketSubscriber::max_message_bytes", "64 KiB", is_read && is_too_long),
        ("WebSocketSubscriber::max_fragments", "128", is_whole && is_too_many),
        ("WebSocketSubscriber::origins", "the same origin", strange.starts_with("HTTP/1.1 403 ") && own == shaken),
        ("Origins::required", "no", shaken.starts_with("HTTP/1.1 101 ")),
        ("WebSocketSubscriber::envelope", "Envelope::Full", first.contains("\"event\":\"open\"")),
        ("WebSocketSubscriber::on_message", "read and dropped", is_read),
    ]
}

const SHAKE: &str = "GET /socket HTTP/1.1\nhost: example.org\nconnection: upgrade\nupgrade: websocket\n\
    sec-websocket-version: 13\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\n\n";

fn get(events: &EventSource, target: &str, origin: Option<&str>) -> http::Response<EventBody> {
    let mut request = Request::get(target);
    if let Some(origin) = origin {
        request = request.header("origin", origin);
    }
    events.respond(&request.body(()).expect("a request"))
}

async fn next(body: &mut EventBody) -> String {
    let frame = body
        .frame()
        .await
        .expect("not the end")
        .expect("never fails");
    String::from_utf8(frame.into_data().expect("data").to_vec()).expect("UTF-8")
}

/// How many streams one key gets who asks for so many.
fn keyed(most: usize) -> usize {
    let events = EventSource::new(QueueStore::new()).permit(|_| Ok(Permit::new().key("ann")));
    let _all: Vec<_> = (0..most).map(|_| get(&events, "/", None)).collect();
    events.streams()
}

/// What a permit says of its subscription is what a subscription says that nobody has set.
fn subscribe(field: &str) -> String {
    shown(&tornadose::Subscribe::default()).at(field)
}

async fn tcp() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}

/// What a type prints of itself.
struct Shown(String);

fn shown(what: &impl Debug) -> Shown {
    Shown(format!("{what:?}"))
}

impl Shown {
    /// The value of the first field of this name, however deep.
    fn at(&self, field: &str) -> String {
        let found = [" ", "{ "]
            .iter()
            .find_map(|before| self.0.split_once(&format!("{before}{field}: ")));
        let value = found
            .unwrap_or_else(|| panic!("no {field} in {}", self.0))
            .1;
        let mut depth = 0;
        let end = value.char_indices().find(|(at, c)| {
            match c {
                '{' | '[' | '(' => depth += 1,
                '}' | ']' | ')' if depth > 0 => depth -= 1,
                ',' => return depth == 0,
                ' ' => return depth == 0 && value[*at..].starts_with(" }"),
                _ => {}
            }
            false
        });
        value[..end.map_or(value.len(), |(at, _)| at)].to_owned()
    }
}
