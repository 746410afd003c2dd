//! docs/wire.md shows bytes: here they are made by real handlers, over a connection in memory,
//! on a clock that stands still. What the page shows as a request is what is asked.

use std::collections::BTreeMap;
use std::time::Duration;

use tornadose::{
    Control, Cors, Envelope, Event, EventName, EventSource, Hub, Overflow, Overload, Permit,
    Policy, Position, QueueStore, Refusal, Retention, Shutdown, Start, Topic, Topics,
    WebSocketSubscriber,
};

use crate::connection::{EPOCH, Wire, named_text, texts};
use crate::pages::Page;

pub(crate) const PAGE: &str = "docs/wire.md";

const RETRY: Duration = Duration::from_secs(3);

/// The blocks of the page, by their names.
type Blocks = BTreeMap<String, String>;

fn page() -> Blocks {
    let mut blocks = Blocks::new();
    for fence in Page::read(PAGE).fences() {
        let name = fence
            .comment
            .as_deref()
            .and_then(|comment| comment.strip_prefix("wire: "));
        match (&*fence.info, name) {
            ("rust", None) => {}
            ("text", None) => assert!(fence.text.starts_with("id     = "), "{}", fence.text),
            (_, Some(name)) => {
                assert_eq!(
                    blocks.insert(name.to_owned(), fence.text),
                    None,
                    "{name} twice"
                );
            }
            (info, None) => panic!("line {}: {info} that nobody makes", fence.line),
        }
    }
    blocks
}

#[tokio::test(start_paused = true)]
async fn every_block_of_the_page_is_what_is_written() {
    let page = page();
    let mut made = Blocks::new();
    streams(&page, &mut made).await;
    answers(&page, &mut made).await;
    sockets(&page, &mut made).await;
    made.insert("closes".to_owned(), closes(&page).await.concat());
    for (name, text) in &page {
        match made.get(name) {
            Some(made) => assert_eq!(text, made, "`{name}` is not what is written:\n{made}"),
            None => assert!(name.ends_with("request"), "nobody makes `{name}`"),
        }
    }
    assert!(made.keys().all(|name| page.contains_key(name)));
}

async fn streams(page: &Blocks, made: &mut Blocks) {
    let mut tell = |name: &str, text: String| {
        assert_eq!(made.insert(name.to_owned(), text), None, "{name} twice");
    };
    let store = QueueStore::new();
    let events = EventSource::new(store.clone()).farewell(RETRY..=RETRY);
    let retrying = events.clone().retry(Duration::from_secs(2));

    let mut client = Wire::to(retrying, position(&store));
    client.ask(&page["request"]).await;
    tell("head", client.head().await);
    tell("opening", client.body().await);
    submit_all(&store);
    tell("events", client.body().await);
    tokio::time::advance(Duration::from_secs(15)).await;
    tell("keep-alive", client.body().await);

    let mut client = Wire::to(events.clone(), position(&store));
    client.ask(&page["resume-request"]).await;
    client.head().await;
    tell("resumed", client.body().await);
    store.close();
    tell("farewell", client.body().await);

    let (store, events) = evicted();
    let after = |id: &str| format!("GET /?lastEventId={id} HTTP/1.1\nhost: example.org\n\n");
    let opening = ":\n\n";
    for (name, id) in [
        ("gap", &*format!("{EPOCH}-25")),
        ("gap-epoch", "AAAAAAAAAAA-7"),
        ("gap-malformed", "nonsense"),
    ] {
        let mut client = Wire::to(events.clone(), position(&store));
        client.ask(&after(id)).await;
        client.head().await;
        let body = client.body().await;
        tell(
            name,
            body.strip_prefix(opening).expect("a comment").to_owned(),
        );
    }

    let hub = Hub::new();
    hub.submit(about("rooms/7", "hello")).expect("taken");
    let events = EventSource::new(hub.clone()).permit(|_| Ok(one_room()));
    let mut client = Wire::to(events, hub.latest().expect("one"));
    client.ask(&page["request"]).await;
    client.head().await;
    assert_eq!(client.body().await, format!(":\n\nid: {EPOCH}-1\n\n"));
    hub.submit(about("rooms/8", "not for this client"))
        .expect("taken");
    hub.submit(about("rooms/8", "nor this")).expect("taken");
    assert_eq!(client.body().await, "");
    tokio::time::advance(Duration::from_secs(15)).await;
    tell("bookmark", client.body().await);

    let everything = "#".parse().expect("a pattern");
    let hub = Hub::builder().policy(everything, Policy::latest()).build();
    let price = about("price/oil", "81.20").name(EventName::from_static("price"));
    hub.submit(price).expect("taken");
    let control = Control::new();
    let granted = control.clone();
    let permit = move || Permit::new().control(&granted);
    let events = EventSource::new(hub.clone()).permit(move |_| Ok(permit()));
    let mut client = Wire::to(events, hub.latest().expect("one"));
    client.ask(&page["request"]).await;
    client.head().await;
    assert_eq!(client.body().await, format!(":\n\nid: {EPOCH}-1\n\n"));
    control.add("price/oil".parse::<Topic>().expect("a topic"));
    tell("out-of-order", client.body().await);
}

async fn answers(page: &Blocks, made: &mut Blocks) {
    let mut tell = |name: &str, text: String| {
        assert_eq!(made.insert(name.to_owned(), text), None, "{name} twice");
    };
    let events = || EventSource::new(QueueStore::new()).farewell(RETRY..=RETRY);
    let nowhere = position(&QueueStore::new());

    let mut client = Wire::to(events().max_streams(0), nowhere);
    client.ask(&page["request"]).await;
    assert_eq!(client.head().await, page["head"]);
    tell("later", client.body().await);
    let mut client = Wire::to(events().permit(|_| Err(Refusal::LATER)), nowhere);
    client.ask(&page["request"]).await;
    assert_eq!(client.head().await, page["head"]);
    assert_eq!(client.body().await, page["later"]);

    let mut client = Wire::to(events().permit(|_| Err(Refusal::FORBIDDEN)), nowhere);
    client.ask(&page["request"]).await;
    tell("refused", client.head().await);
    for (overload, status) in [
        (Overload::Unavailable, "503 Service"),
        (Overload::Stop, "204 No"),
    ] {
        let mut client = Wire::to(events().max_streams(0).overload(overload), nowhere);
        client.ask(&page["request"]).await;
        let head = client.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
    }

    let mut client = Wire::to(events(), nowhere);
    client.ask(&page["request"].replace("GET", "HEAD")).await;
    let unframed = page["head"].replace("transfer-encoding: chunked\n", "");
    assert_eq!(client.head().await, unframed);
    assert_eq!(client.body().await, "");
    client.ask(&page["method-request"]).await;
    tell("method", client.head().await);

    let origin = "https://app.example.org";
    let cors = Cors::with_credentials([origin]).expect("an origin");
    let mut client = Wire::to(events().cors(cors), nowhere);
    client.ask(&page["preflight-request"]).await;
    tell("preflight", client.head().await);
    client
        .ask(&page["request"].replace("host", &format!("origin: {origin}\nhost")))
        .await;
    let shared: Vec<_> = page["preflight"].lines().skip(2).take(3).collect();
    let head = client.head().await;
    assert!(head.contains(&shared.join("\n")), "{head}");
}

async fn sockets(page: &Blocks, made: &mut Blocks) {
    let mut tell = |name: &str, text: String| {
        assert_eq!(made.insert(name.to_owned(), text), None, "{name} twice");
    };
    let store = QueueStore::new();
    let socket = WebSocketSubscriber::new(store.clone());
    let mut client = Wire::to(socket, position(&store));
    client.ask(&page["socket-request"]).await;
    tell("socket-head", client.head().await);
    let frames = client.quiet().await;
    tell("socket-frame", hex(&named(&frames, position(&store))));
    let open = texts(&frames);
    submit_all(&store);
    let rest = client.messages().await;
    tell(
        "socket-messages",
        named_text(&(open + &rest), position(&store)),
    );

    let hub = Hub::new();
    let socket = EventSource::new(hub.clone())
        .permit(|_| Ok(one_room()))
        .websocket();
    let mut client = Wire::to(socket, position(&QueueStore::new()));
    client.ask(&page["socket-request"]).await;
    client.head().await;
    let mut all = client.messages().await;
    hub.submit(about("rooms/7", "hello")).expect("taken");
    all += &client.messages().await;
    hub.submit(about("rooms/8", "not for this client"))
        .expect("taken");
    hub.submit(about("rooms/8", "nor this")).expect("taken");
    tokio::time::advance(Duration::from_secs(15)).await;
    all += &client.messages().await;
    tell("socket-hub", named_text(&all, hub.latest().expect("three")));

    let (store, events) = evicted();
    for (name, envelope) in [
        ("socket-gap", Envelope::Full),
        ("socket-data", Envelope::Data),
    ] {
        let socket = events.websocket().envelope(envelope);
        let mut client = Wire::to(socket, position(&store));
        let target = format!("/socket?lastEventId={EPOCH}-25");
        client
            .ask(&page["socket-request"].replace("/socket", &target))
            .await;
        client.head().await;
        tell(name, named_text(&client.messages().await, position(&store)));
    }
}

/// Why a connection is closed, the code and the reason, a line each.
async fn closes(page: &Blocks) -> Vec<String> {
    let store = QueueStore::new;
    let events = |store: &QueueStore| EventSource::new(store.clone()).farewell(RETRY..=RETRY);
    let nothing: &[u8] = &[];
    let mut lines = Vec::new();
    let mut add = |why: &str, close: (u16, String)| {
        lines.push(format!("{why:18} {} {}\n", close.0, close.1));
    };

    let on = |source: EventSource, log: &QueueStore| Wire::to(source.websocket(), position(log));

    let log = store();
    let mut client = on(events(&log), &log);
    client.open(&page["socket-request"]).await;
    log.close();
    add("store closed", client.closed(nothing).await);

    let (log, shutdown) = (store(), Shutdown::new());
    let mut client = on(events(&log).shutdown(&shutdown), &log);
    client.open(&page["socket-request"]).await;
    shutdown.begin();
    add("shutdown", client.closed(nothing).await);

    let log = store();
    let short = || Permit::new().expires_in(Duration::from_secs(5));
    let mut client = on(events(&log).permit(move |_| Ok(short())), &log);
    client.open(&page["socket-request"]).await;
    tokio::time::advance(Duration::from_secs(5)).await;
    add("permission expired", client.closed(nothing).await);

    let mut client = on(events(&log).max_streams(0), &log);
    client.ask(&page["socket-request"]).await;
    client.head().await;
    add("too many streams", client.closed(nothing).await);

    let log = QueueStore::builder()
        .retention(Retention::new().events(1))
        .overflow(Overflow::Disconnect)
        .build();
    let mut client = on(events(&log), &log);
    client.open(&page["socket-request"]).await;
    submit_all(&log);
    add("too slow", client.closed(nothing).await);

    let log = store();
    let source = events(&log).permit(|_| Ok(Permit::new().key("ann")));
    let mut client = on(source.clone(), &log);
    client.open(&page["socket-request"]).await;
    assert_eq!(source.revoke("ann"), 1);
    add("revoked", client.closed(nothing).await);

    // Frames of a client, whose mask is zero.
    let mut fragments = vec![0x01, 0x80, 0, 0, 0, 0];
    fragments.extend([0x00, 0x80, 0, 0, 0, 0].repeat(128));
    let too_big = [0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0];
    for (why, sent) in [
        ("too many fragments", &fragments[..]),
        ("message too big", &too_big),
    ] {
        let mut client = on(events(&log), &log);
        client.open(&page["socket-request"]).await;
        add(why, client.closed(sent).await);
    }
    // Of these two the code is promised, and the reason is the library's.
    let no_text = [0x81, 0x81, 0, 0, 0, 0, 0xff];
    let reserved = [0xc1, 0x80, 0, 0, 0, 0];
    for (sent, code) in [(&no_text[..], 1007), (&reserved, 1002)] {
        let mut client = on(events(&log), &log);
        client.open(&page["socket-request"]).await;
        assert_eq!(client.closed(sent).await.0, code);
    }
    lines
}

/// The five events of the page.
fn submit_all(store: &QueueStore) {
    let name = EventName::from_static;
    let order = Event::json(&serde_json::json!({"number": 7, "open": true})).expect("JSON");
    for event in [
        Event::new("hello"),
        Event::new("81.20").name(name("price")),
        Event::new("first line\nsecond line").retry(RETRY),
        Event::new(""),
        order.name(name("order")),
    ] {
        store.submit(event).expect("taken");
    }
}

/// A store whose events were let go of but for the last of 43.
fn evicted() -> (QueueStore, EventSource) {
    let store = QueueStore::builder()
        .retention(Retention::new().events(1))
        .build();
    for number in 1..=43 {
        store.submit(format!("event {number}")).expect("taken");
    }
    let events = EventSource::new(store.clone()).start(Start::Live);
    (store, events)
}

fn about(topic: &str, data: &str) -> Event {
    Event::new(data).topic(topic.parse().expect("a topic"))
}

fn one_room() -> Permit {
    let room: Topic = "rooms/7".parse().expect("a topic");
    Permit::new().topics(Topics::from(room))
}

/// Any position of the log.
fn position(store: &QueueStore) -> Position {
    let subscription = store.subscribe(Start::Live);
    subscription.position().expect("a log in memory")
}

fn named(bytes: &[u8], of: Position) -> Vec<u8> {
    let text: String = bytes.iter().copied().map(char::from).collect();
    let text = named_text(&text, of);
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).expect("a byte"))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    let line = |bytes: &[u8]| {
        let pairs: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        pairs.join(" ") + "\n"
    };
    bytes.chunks(16).map(line).collect()
}
