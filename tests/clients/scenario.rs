//! What every client has to go through.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use tornadose::{Event, EventName, Position, QueueStore, Retention};

use crate::client::{Client, Kind, Seen, Told};
use crate::stage::Stage;
use crate::{PATIENCE, count};
use tornadose::test::normalised;

const TICK: EventName = EventName::from_static("tick");
const RETAINED: usize = 5;

/// Goes through everything, and says what the client made of it.
pub(crate) async fn play(kind: Kind) {
    let mut scene = Scene::open(kind).await;
    scene.cut_before_the_first_event(kind).await;
    scene.awkward_events().await;
    scene.torn_within_an_event().await;
    scene.cut_between_events().await;
    scene.sent_away().await;
    scene.away_for_too_long(kind).await;
    scene.restarted(kind).await;
    scene.cut_right_after_a_gap().await;
    scene.told_not_to_come_back().await;
    scene.close().await;
}

struct Scene {
    stage: Stage,
    store: QueueStore,
    client: Client,
    /// The last id that the client was given.
    last: Option<String>,
    /// How often it has come.
    requests: usize,
    gaps: u64,
    /// Events of the epochs before this one.
    received: u64,
    /// Of this epoch.
    count: Count,
}

/// What has become of the events of an epoch.
#[derive(Debug, Default)]
struct Count {
    submitted: u64,
    received: u64,
    /// As the gaps tell.
    missed: u64,
    /// Submitted while the client had not been told any id.
    before_the_beginning: u64,
}

impl Scene {
    /// A client connects, to a store in which nothing is.
    async fn open(kind: Kind) -> Self {
        let store = store();
        let mut stage = Stage::new(&store).expect("a stage");
        let mut client = Client::start(kind, &stage.url()).await;
        assert_eq!(stage.request().await, None, "a first request has no id");
        // Without any event.
        client.open().await;
        let mut scene = Self {
            stage,
            store,
            client,
            last: None,
            requests: 1,
            gaps: 0,
            received: 0,
            count: Count::default(),
        };
        scene.subscribers(1).await;
        scene
    }

    async fn cut_before_the_first_event(&mut self, kind: Kind) {
        self.stage.hold();
        self.stage.cut();
        self.subscribers(0).await;
        let first = self.submit("the first of all");
        self.requests += 1;
        let id = self.stage.request().await;
        self.stage.let_in();
        if id.is_some() || kind.keeps_the_id_of_no_event() {
            assert_eq!(id, Some(before(first)));
            self.gets("the first of all", first).await;
        } else {
            // It begins anew and cannot know that it has missed something.
            self.count.before_the_beginning += 1;
        }
        self.subscribers(1).await;
    }

    async fn awkward_events(&mut self) {
        let long = "ä€😀".repeat(30_000);
        for data in [
            "plain",
            "one\rtwo\r\nthree\nfour",
            "",
            " one space before",
            "   three, and one after ",
            "\u{feff}a byte order mark",
            "id: 9\nevent: x\n:x",
            "data: x\n\nretry: 1\n\n",
            "\n",
            "\r\n\r\n",
            "ends with a break\n",
            ":",
            "null \0 null",
            "\u{b}\u{c}\u{1c}\u{1d}\u{1e}\u{85}\u{2028}\u{2029} break no line",
            "Füße, 数字, 🦀, e\u{301}, \u{202e}, \u{10ffff}",
            &long,
        ] {
            let position = self.submit(data);
            self.gets(data, position).await;
        }
        for data in ["1", ""] {
            let position = self.submit(Event::new(data).name(TICK));
            self.gets(Event::new(data).name(TICK), position).await;
        }
    }

    async fn torn_within_an_event(&mut self) {
        self.stage.hold();
        self.stage.tear_behind("half of");
        let torn = self.submit("half of this does not arrive");
        self.subscribers(0).await;
        let others = ["after the torn one", "and another"].map(|data| (data, self.submit(data)));
        self.comes_back().await;
        self.gets("half of this does not arrive", torn).await;
        for (data, position) in others {
            self.gets(data, position).await;
        }
    }

    async fn cut_between_events(&mut self) {
        self.stage.hold();
        self.stage.cut();
        self.subscribers(0).await;
        self.gets_what_it_missed(["a", "b", "c"]).await;
    }

    async fn sent_away(&mut self) {
        self.stage.hold();
        self.stage.send_away(&self.store);
        self.subscribers(0).await;
        self.gets_what_it_missed(["d", "e", "f"]).await;
    }

    async fn gets_what_it_missed(&mut self, events: [&str; 3]) {
        let events = events.map(|data| (data, self.submit(data)));
        self.comes_back().await;
        for (data, position) in events {
            self.gets(data, position).await;
        }
    }

    /// It cannot connect until more has been submitted than is retained.
    async fn away_for_too_long(&mut self, kind: Kind) {
        if kind.keeps_trying() {
            self.stage.refuse().await;
            // Its stream, and then an attempt in vain.
            self.client.lost().await;
            self.client.lost().await;
        } else {
            self.stage.hold();
            self.stage.cut();
        }
        self.subscribers(0).await;
        let positions: Vec<_> = (1..=20).map(|n| self.submit(n.to_string())).collect();
        if kind.keeps_trying() {
            self.stage.listen().expect("on the same port");
        }
        self.comes_back().await;

        let gap = self.gets_a_gap("evicted").await;
        assert_eq!(gap["missed"], "15");
        self.count.missed += 15;
        for n in 16..=20 {
            self.gets(n.to_string(), positions[n - 1]).await;
        }
    }

    /// The store ends, and what takes its place knows nothing of it.
    async fn restarted(&mut self, kind: Kind) {
        self.stage.hold();
        self.store.close();
        self.came_back().await;
        if kind.keeps_trying() {
            // The server ends, too, and does not answer any more.
            self.stage.refuse().await;
            self.client.lost().await;
            self.client.lost().await;
        }
        self.settle();

        self.store = store();
        for data in ["nobody", "was there"] {
            self.submit(data);
            self.count.before_the_beginning += 1;
        }
        self.stage.mount(&self.store);
        if kind.keeps_trying() {
            self.stage.listen().expect("on the same port");
            self.came_back().await;
        }
        self.stage.let_in();
        let gap = self.gets_a_gap("epoch").await;
        assert_eq!(gap.get("missed"), None);
    }

    async fn cut_right_after_a_gap(&mut self) {
        self.stage.hold();
        self.stage.cut();
        self.subscribers(0).await;
        self.gets_what_it_missed(["g", "h", "i"]).await;
        let position = self.submit(Event::new("live again").name(TICK));
        self.gets(Event::new("live again").name(TICK), position)
            .await;
    }

    /// The answer is `204` to a client that would have to be told a gap.
    async fn told_not_to_come_back(&mut self) {
        self.stage.hold();
        self.stage.cut();
        self.subscribers(0).await;
        self.settle();
        for n in 0..=RETAINED {
            self.submit(n.to_string());
        }
        self.stage.mount_stopping(&self.store);
        self.comes_back().await;
        self.client.until(&Told::Lost { comes_back: false }).await;
    }

    /// Of everything that was submitted in this epoch, nothing is unaccounted for.
    fn settle(&mut self) {
        let count = std::mem::take(&mut self.count);
        assert_eq!(
            count.submitted,
            count.received + count.missed + count.before_the_beginning,
            "{count:?}"
        );
        self.received += count.received;
    }

    async fn close(self) {
        let name = self.client.name.clone();
        let told = self.client.quit().await;
        assert_eq!(self.stage.further_requests(), 0);
        assert_eq!(self.store.subscribers(), 0);

        // The same once more, from the outside: nothing twice, nothing out of order.
        let events = told.iter().filter_map(|told| match told {
            Told::Event(seen) => Some(seen.id.parse::<Position>().expect("a position")),
            _ => None,
        });
        let events: Vec<_> = events.collect();
        assert_eq!(events.len() as u64, self.received + self.gaps);
        let epochs = events.chunk_by(|a, b| a.partial_cmp(b).is_some());
        assert_eq!(epochs.count(), 2);
        assert!(events.is_sorted_by(|a, b| a < b || a.partial_cmp(b).is_none()));

        println!(
            "{name}: {} events, {} reconnects, {} gaps, {} times open, {} errors",
            self.received,
            self.requests - 1,
            self.gaps,
            count(&told, |told| *told == Told::Open),
            count(&told, |told| matches!(told, Told::Lost { .. })),
        );
    }

    fn submit(&mut self, event: impl Into<Event>) -> Position {
        self.count.submitted += 1;
        self.store
            .submit(event)
            .expect("taken")
            .id()
            .expect("in memory")
    }

    /// Waits until it is back at the door, with the id of the last event that it got,
    /// and lets it in.
    async fn comes_back(&mut self) {
        self.came_back().await;
        self.stage.let_in();
    }

    async fn came_back(&mut self) {
        assert_eq!(self.stage.request().await, self.last);
        self.requests += 1;
    }

    /// The next event that it tells of is this one.
    async fn gets(&mut self, event: impl Into<Event>, position: Position) {
        let event = event.into();
        let expected = Seen {
            name: event.event_name().as_str().to_owned(),
            data: normalised(event.data()),
            id: position.to_string(),
        };
        assert_eq!(self.client.event().await, expected);
        self.last = Some(expected.id);
        self.count.received += 1;
    }

    /// The next event that it tells of is a gap, for this reason.
    async fn gets_a_gap(&mut self, reason: &str) -> Value {
        let seen = self.client.event().await;
        assert_eq!(seen.name, "gap");
        let gap: Value = serde_json::from_str(&seen.data).expect("JSON");
        assert_eq!(gap["reason"], reason);
        assert_eq!(gap["from"].as_str(), self.last.as_deref());
        assert_eq!(gap["resume"], *seen.id);
        let known = self.store.latest().expect("something was submitted");
        assert!(seen.id.parse::<Position>().expect("a position") <= known);
        self.last = Some(seen.id);
        self.gaps += 1;
        gap
    }

    /// Waits until the store has so many subscribers.
    async fn subscribers(&mut self, count: usize) {
        let end = Instant::now() + PATIENCE;
        while self.store.subscribers() != count {
            assert!(Instant::now() < end, "{:?}, not {count}", self.store);
            sleep(Duration::from_millis(2)).await;
        }
    }
}

fn store() -> QueueStore {
    let retention = Retention::new().events(RETAINED);
    QueueStore::builder().retention(retention).build()
}

/// The id of the place before the first event.
fn before(first: Position) -> String {
    assert_eq!(first.offset(), 1);
    let id = first.to_string();
    format!("{}0", &id[..id.len() - 1])
}
