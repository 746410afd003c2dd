//! Whatever happens, a client of either path gets the same events.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::timeout;
use tornadose::test::{Decoder, Message, normalised};
use tornadose::{Event, EventName, EventSource, QueueStore, Retention};

use crate::servers::{events_by_axum, tight};
use crate::vocabulary::{Client, SECOND, Server, eventually};

#[derive(Clone, Debug)]
enum Step {
    Submit {
        data: String,
        is_named: bool,
    },
    Bulk {
        count: usize,
        length: usize,
    },
    /// So many pieces, if they are there.
    Read(usize),
    /// The client goes and comes back with the id that it has.
    Cut,
    Pause,
}

fn data() -> impl Strategy<Value = String> {
    let awkward = [
        "",
        "\n",
        "\r",
        "\r\n",
        "\n\r\n\n",
        " x",
        ":",
        ": x",
        "data: x",
        "id: 7\n\nretry: 1",
        "\u{feff}",
        "\0",
        "\u{2028}\u{85}",
        "0\r\n\r\n",
        "3\r\n:\n\n\r\n",
    ];
    prop_oneof![
        4 => proptest::sample::select(awkward.to_vec()).prop_map(str::to_owned),
        2 => any::<String>(),
        // Around the pages in which blocks are joined.
        1 => (16_200..16_500usize).prop_map(|length| "z".repeat(length)),
        1 => (0..200_000usize).prop_map(|length| "\u{e9}".repeat(length / 2)),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (data(), any::<bool>()).prop_map(|(data, is_named)| Step::Submit { data, is_named }),
        2 => (1..300usize, 0..300usize).prop_map(|(count, length)| Step::Bulk { count, length }),
        3 => (1..20usize).prop_map(Step::Read),
        2 => Just(Step::Cut),
        1 => Just(Step::Pause),
    ];
    proptest::collection::vec(step, 1..30)
}

struct Reader<'a> {
    server: &'a Server,
    client: Client,
    decoder: Decoder,
    received: Vec<Message>,
}

impl<'a> Reader<'a> {
    async fn open(server: &'a Server) -> Self {
        let mut reader = Self {
            server,
            client: Client::connect_tight(server).await,
            decoder: Decoder::default(),
            received: Vec::new(),
        };
        reader.client.get(b"").await;
        reader.until_it_has_an_id().await;
        reader
    }

    async fn until_it_has_an_id(&mut self) {
        while self.decoder.last_event_id().is_empty() {
            assert!(self.part().await, "the end before there is an id");
        }
    }

    async fn part(&mut self) -> bool {
        let Some(part) = self.client.part().await else {
            return false;
        };
        self.received.extend(self.decoder.feed(&part));
        true
    }

    async fn read(&mut self, parts: usize) {
        for _ in 0..parts {
            if timeout(Duration::from_millis(1), self.part())
                .await
                .is_err()
            {
                return;
            }
        }
    }

    async fn cut(&mut self) {
        let id = self.decoder.last_event_id().to_owned();
        let back = Client::connect_tight(self.server).await;
        std::mem::replace(&mut self.client, back).reset();
        self.client.get_after(id.as_bytes()).await;
        self.decoder = Decoder::default();
        self.until_it_has_an_id().await;
    }

    async fn read_to_end(mut self) -> Vec<Message> {
        while self.part().await {}
        let retry = self.decoder.reconnection_time();
        assert!(retry.is_some_and(|retry| (2 * SECOND..=6 * SECOND).contains(&retry)));
        self.received
    }
}

async fn judge(steps: Vec<Step>) {
    let store = QueueStore::builder()
        .retention(Retention::new().events(1_000_000).bytes(1 << 30))
        .build();
    let leaving = EventSource::new(store.clone());
    let staying = leaving.clone().attached();
    let servers = [
        events_by_axum(tight(), &leaving),
        events_by_axum(tight(), &staying),
    ];
    let mut readers = Vec::new();
    for server in &servers {
        readers.push(Reader::open(server).await);
    }
    let mut expected = Vec::new();
    let mut submit = |data: String, is_named: bool| {
        let event = Event::new(data.clone());
        let (event, name) = match is_named {
            true => (event.name(EventName::from_static("note")), "note"),
            false => (event, "message"),
        };
        let id = store
            .submit(event)
            .expect("small enough")
            .id()
            .expect("in memory");
        expected.push(Message::new(name, normalised(&data), id.to_string()));
    };
    for step in steps {
        match step {
            Step::Submit { data, is_named } => submit(data, is_named),
            Step::Bulk { count, length } => {
                for n in 0..count {
                    submit(format!("{n} {}", "b".repeat(length)), false);
                }
            }
            Step::Read(parts) => {
                for reader in &mut readers {
                    reader.read(parts).await;
                }
            }
            Step::Cut => {
                for reader in &mut readers {
                    reader.cut().await;
                }
            }
            Step::Pause => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    }
    store.close();
    let are_of_one_path = || leaving.detached_streams() <= 1;
    eventually(SECOND, "those of one path", are_of_one_path).await;
    for reader in readers {
        assert!(reader.read_to_end().await == expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_paths_give_the_same_events(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(judge(steps));
    }
}
