//! WebSockets, to clients none of which knows this crate.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tornadose::{Event, EventName, Origins, Position, QueueStore, Retention};

use crate::PATIENCE;
use crate::installed::{node, python};
use crate::several::Several;
use crate::stage::Stage;

const TICK: EventName = EventName::from_static("tick");
const RETAINED: usize = 20;

pub(crate) const AWKWARD: [&str; 11] = [
    "plain",
    "one\rtwo\r\nthree\nfour",
    "",
    " spaces around ",
    "\u{feff}a byte order mark",
    "\"quoted\" \\ {\"event\":\"gap\"}",
    "data: x\n\nretry: 1\n\n",
    "null \0 null \u{1f}",
    "\u{85}\u{2028}\u{2029}\u{7f}",
    "Füße, 数字, 🦀, e\u{301}, \u{202e}, \u{10ffff}",
    "</script><b>",
];

macro_rules! clients {
    ($($name:ident: $kind:expr,)+) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            play($kind).await;
        }
    )+};
}

clients! {
    chromium_loses_nothing: Kind::Chromium,
    npm_ws_loses_nothing: Kind::Ws,
    nodejs_loses_nothing: Kind::Node,
    python_websockets_loses_nothing: Kind::Python,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Chromium,
    Ws,
    Node,
    Python,
}

/// Goes through everything, and says what the client made of it.
async fn play(kind: Kind) {
    let mut scene = Scene::open(kind).await;
    scene.cut(&["before the first event"]).await;
    scene.awkward_events().await;
    scene.answers_pings().await;
    scene.cut(&["a", "b", "c"]).await;
    scene.cut(&[]).await;
    scene.sent_away().await;
    scene.away_for_too_long().await;
    scene.says().await;
    scene.leaves().await;
}

struct Scene {
    kind: Kind,
    stage: Stage,
    store: QueueStore,
    client: Several,
    /// The last id that the client was given.
    last: String,
    received: usize,
}

impl Scene {
    async fn open(kind: Kind) -> Self {
        let retention = Retention::new().events(RETAINED);
        let store = QueueStore::builder().retention(retention).build();
        let mut stage = Stage::new(&store).expect("a stage");
        stage.mount_socket(&store, Origins::same());
        let url = socket(&stage);
        let mut client = match kind {
            Kind::Chromium => {
                let mut page = Several::browser(&format!("{}/blank", stage.url())).await;
                page.write(&speak(&url)).await;
                page
            }
            Kind::Ws => Several::run(node("sockets.cjs").args(["ws", &*url])).await,
            Kind::Node => Several::run(node("sockets.cjs").args(["node", &*url])).await,
            Kind::Python => Several::run(python("websockets_client.py").arg(&url)).await,
        };
        assert_eq!(stage.request().await, None, "a first request has no id");
        let open = client.event("ws").await;
        let last = open["id"].as_str().expect("where it begins").to_owned();
        assert_eq!(open, json!({"id": last, "event": "open"}));
        assert_eq!(last.parse::<Position>().map(Position::offset), Ok(0));
        Self {
            kind,
            stage,
            store,
            client,
            last,
            received: 0,
        }
    }

    async fn awkward_events(&mut self) {
        let long = "ä€😀".repeat(30_000);
        for data in AWKWARD.into_iter().chain([&*long]) {
            let position = self.submit(data);
            self.gets("message", data.into(), position).await;
        }
        for data in ["1", ""] {
            let position = self.submit(Event::new(data).name(TICK));
            self.gets("tick", data.into(), position).await;
        }
        #[cfg(feature = "json")]
        for value in [json!({"a": [1, 2.5, null, "x\n"]}), json!("text"), json!(7)] {
            let position = self.submit(Event::json(&value).expect("JSON"));
            self.gets("message", value, position).await;
        }
    }

    /// Silent for longer than a client can be that answers nothing: twice the interval,
    /// which leaves a busy machine some time to answer.
    async fn answers_pings(&mut self) {
        self.stage.ping(Duration::from_millis(250));
        self.cut(&[]).await;
        sleep(Duration::from_millis(1500)).await;
        assert_eq!(self.store.subscribers(), 1);
        assert_eq!(self.stage.further_requests(), 0);
        let position = self.submit("still here");
        self.gets("message", "still here".into(), position).await;
        self.stage.ping(Duration::from_secs(15));
        self.cut(&[]).await;
    }

    /// The connection is gone, and this is submitted before it is back.
    async fn cut(&mut self, missed: &[&str]) {
        self.stage.hold();
        self.stage.cut();
        let closed = self.closed().await;
        assert_eq!(closed["closed"], 1006);
        assert_eq!(closed["clean"], false);
        self.subscribers(0).await;
        self.comes_back_to(missed).await;
    }

    async fn sent_away(&mut self) {
        self.stage.hold();
        self.stage.send_away(&self.store);
        let begun = Instant::now();
        self.stage.mount_socket(&self.store, Origins::same());
        let wait = sent_away(&self.closed().await);
        self.subscribers(0).await;
        self.comes_back_to(&["d", "e", "f"]).await;
        assert!(begun.elapsed() >= wait);
    }

    async fn comes_back_to(&mut self, missed: &[&str]) {
        let missed: Vec<_> = missed
            .iter()
            .map(|data| (*data, self.submit(*data)))
            .collect();
        self.comes_back().await;
        let open = json!({"id": self.last, "event": "open"});
        assert_eq!(self.client.event("ws").await, open);
        for (data, position) in missed {
            self.gets("message", data.into(), position).await;
        }
    }

    async fn away_for_too_long(&mut self) {
        self.stage.hold();
        self.stage.cut();
        self.closed().await;
        let all: Vec<_> = (1..=2 * RETAINED)
            .map(|n| (n.to_string(), self.submit(n.to_string())))
            .collect();
        self.comes_back().await;
        assert_eq!(self.client.event("ws").await, json!({"event": "open"}));
        let (lost, left) = all.split_at(RETAINED);
        let resume = lost.last().expect("many").1.to_string();
        let told = json!({
            "reason": "evicted",
            "missed": RETAINED.to_string(),
            "from": self.last,
            "resume": resume,
        });
        let gap = json!({"id": resume, "event": "gap", "data": told});
        assert_eq!(self.client.event("ws").await, gap);
        self.last = resume;
        for (data, position) in left {
            self.gets("message", data.as_str().into(), *position).await;
        }
    }

    async fn says(&mut self) {
        for text in ["hello", "a\r\n\0\"b\" 🦀", ""] {
            let before = self.store.latest();
            let say = match self.kind {
                Kind::Chromium => format!("ws.say({})", json!(text)),
                _ => json!({"say": text}).to_string(),
            };
            self.client.write(&say).await;
            let next = self.client.event("ws").await;
            let position = self.store.latest().expect("it was submitted");
            assert!(Some(position) > before);
            let expected = json!(
                {"id": position.to_string(), "prev": self.last, "event": "message", "data": text}
            );
            assert_eq!(next, expected);
            self.last = position.to_string();
            self.received += 1;
        }
    }

    async fn leaves(mut self) {
        let close = match self.kind {
            Kind::Chromium => "ws.close()".to_owned(),
            _ => json!({"close": true}).to_string(),
        };
        self.client.write(&close).await;
        let closed = self.closed().await;
        assert_eq!(closed["closed"], 1000);
        assert_eq!(closed["clean"], true);
        self.subscribers(0).await;

        assert_eq!(self.stage.further_requests(), 0);
        let name = self.client.name().to_owned();
        assert_eq!(self.client.quit().await, [json!(null); 0]);
        println!("{name}: {} events over WebSockets", self.received);
    }

    fn submit(&self, event: impl Into<Event>) -> Position {
        self.store
            .submit(event)
            .expect("taken")
            .id()
            .expect("in memory")
    }

    async fn gets(&mut self, name: &str, data: Value, position: Position) {
        let id = position.to_string();
        let expected = json!({"id": id, "prev": self.last, "event": name, "data": data});
        assert_eq!(self.client.event("ws").await, expected);
        self.last = id;
        self.received += 1;
    }

    /// Waits until it is back at the door, with its last id, and lets it in.
    async fn comes_back(&mut self) {
        assert_eq!(self.stage.request().await.as_ref(), Some(&self.last));
        self.stage.let_in();
    }

    async fn closed(&mut self) -> Value {
        closed(&mut self.client).await
    }

    async fn subscribers(&self, count: usize) {
        subscribers(&self.store, count).await;
    }
}

/// What a page runs to open a WebSocket in a page.
pub(crate) fn speak(url: &str) -> String {
    format!("void (window.ws = speak(WebSocket, report, 'ws', '{url}'))")
}

pub(crate) fn socket(stage: &Stage) -> String {
    format!("{}/socket", stage.url().replace("http:", "ws:"))
}

/// The next thing but an `onerror` is that it is closed.
pub(crate) async fn closed(client: &mut Several) -> Value {
    loop {
        let next = client.next("ws").await;
        if next.get("failed").is_none() {
            assert!(next.get("closed").is_some(), "{next}");
            return next;
        }
    }
}

/// Closed by a shutdown; returns how long it is to stay away.
pub(crate) fn sent_away(closed: &Value) -> Duration {
    let reason = closed["reason"].as_str().expect("a text");
    assert_eq!(
        *closed,
        json!({"closed": 1012, "reason": reason, "clean": true})
    );
    let millis = reason.strip_prefix("retry: ").expect(reason);
    let millis = millis.parse().expect("a number");
    assert!((100..=200).contains(&millis), "{reason}");
    Duration::from_millis(millis)
}

pub(crate) async fn subscribers(store: &QueueStore, count: usize) {
    let end = Instant::now() + PATIENCE;
    while store.subscribers() != count {
        assert!(Instant::now() < end, "{store:?}, not {count}");
        sleep(Duration::from_millis(2)).await;
    }
}
