//! docs/wire.md shows bytes: here they are made by real handlers, over a connection in memory,
//! on a clock that stands still. What the page shows as a request is what is asked.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::timeout;
use tornadose::{
    Control, Cors, Envelope, Event, EventBody, EventName, EventSource, Hub, Overflow, Overload,
    Permit, Policy, Position, QueueStore, Refusal, Retention, Shutdown, Start, Topic, Topics,
    WebSocketSubscriber,
};

use crate::pages::Page;

pub(crate) const PAGE: &str = "docs/wire.md";

/// Stands for the random part of every id.
const EPOCH: &str = "WUFZSxsBWn0";
const RETRY: Duration = Duration::from_secs(3);

/// The first byte of a whole text, of a close and of a ping.
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

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

fn epoch(of: Position) -> String {
    let id = of.to_string();
    id.rsplit_once('-').expect("an id").0.to_owned()
}

fn named_text(text: &str, of: Position) -> String {
    text.replace(&epoch(of), EPOCH)
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

/// The texts of frames, a line each; pings are passed over.
fn texts(mut frames: &[u8]) -> String {
    let mut lines = String::new();
    while let [first, len, rest @ ..] = frames {
        let (len, rest) = match len {
            126 => (
                usize::from(u16::from_be_bytes([rest[0], rest[1]])),
                &rest[2..],
            ),
            len => (usize::from(*len), rest),
        };
        let (payload, rest) = rest.split_at(len);
        match *first {
            TEXT => lines += &format!("{}\n", str::from_utf8(payload).expect("UTF-8")),
            PING => assert_eq!(payload, b""),
            other => panic!("{other:x}"),
        }
        frames = rest;
    }
    lines
}

/// A connection to a handler, and the log whose ids come over it.
pub(crate) struct Wire {
    io: DuplexStream,
    log: Position,
}

impl Wire {
    pub(crate) fn to<S>(handler: S, log: Position) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<EventBody>, Error = Infallible>
            + Send
            + 'static,
        S::Future: Send,
    {
        let (io, theirs) = duplex(1 << 20);
        let connection = http1::Builder::new().serve_connection(TokioIo::new(theirs), handler);
        tokio::spawn(connection.with_upgrades());
        Self { io, log }
    }

    /// Sends a request of the page, with the ids of this log.
    pub(crate) async fn ask(&mut self, request: &str) {
        let request = request
            .replace(EPOCH, &epoch(self.log))
            .replace('\n', "\r\n");
        self.io
            .write_all(request.as_bytes())
            .await
            .expect("there is room");
    }

    /// A head with its empty line, as the page writes it.
    pub(crate) async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.io.read_u8().await.expect("not the end"));
        }
        let head = String::from_utf8(head)
            .expect("ASCII")
            .replace("\r\n", "\n");
        let lines = head.split_inclusive('\n');
        lines.filter(|line| !line.starts_with("date: ")).collect()
    }

    /// What has come by the time at which nothing more comes.
    pub(crate) async fn quiet(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        // The clock only moves when there is nothing to do.
        let a_moment = Duration::from_millis(1);
        while let Ok(read) = timeout(a_moment, self.io.read(&mut buffer)).await {
            match read.expect("no reset") {
                0 => break,
                count => bytes.extend_from_slice(&buffer[..count]),
            }
        }
        bytes
    }

    /// The same of a body in chunks.
    async fn body(&mut self) -> String {
        let bytes = self.quiet().await;
        let mut rest = str::from_utf8(&bytes).expect("UTF-8");
        let mut body = String::new();
        while let Some((size, tail)) = rest.split_once("\r\n") {
            let size = usize::from_str_radix(size, 16).expect("a size");
            let (chunk, tail) = tail.split_at(size);
            body += chunk;
            rest = tail.strip_prefix("\r\n").expect("the end of a chunk");
        }
        named_text(&body, self.log)
    }

    pub(crate) async fn messages(&mut self) -> String {
        texts(&self.quiet().await)
    }

    /// Opens a WebSocket with this request.
    pub(crate) async fn open(&mut self, request: &str) {
        self.ask(request).await;
        let head = self.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(self.messages().await.contains("\"event\":\"open\""));
    }

    /// What comes when this is sent.
    pub(crate) async fn says(&mut self, sent: &[u8]) -> Vec<u8> {
        self.io.write_all(sent).await.expect("there is room");
        self.quiet().await
    }

    /// The code and the reason of the close that comes when this is sent.
    pub(crate) async fn closed(&mut self, sent: &[u8]) -> (u16, String) {
        self.io.write_all(sent).await.expect("there is room");
        let frames = self.quiet().await;
        assert_eq!(
            (frames[0], usize::from(frames[1])),
            (CLOSE, frames.len() - 2)
        );
        let reason = String::from_utf8(frames[4..].to_vec()).expect("UTF-8");
        (u16::from_be_bytes([frames[2], frames[3]]), reason)
    }
}
