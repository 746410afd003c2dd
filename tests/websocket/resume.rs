//! Coming back: with an id in the query or in a header, after a cut, and from one
//! protocol to the other.

use tornadose::{EventSource, Position, QueueStore, Start, WebSocketSubscriber};

use crate::client::Client;
use crate::raw::Raw;
use crate::server::{Both, Server};
use crate::vocabulary::{
    OPENED, end_of, field, gap, keeping, message, moved, opened, parsed, store_and_socket, submit,
    submit_numbers, until_left,
};

/// The names under which scripts send what `EventSource` sends as a header.
const NAMES: [&str; 4] = [
    "lastEventId",
    "last_event_id",
    "last-event-id",
    "evs_last_event_id",
];

/// A store that holds the events 4 and 5 of 1..=5, and the ids of all of them.
fn store_of_two() -> (QueueStore, Vec<Position>) {
    let store = keeping(2);
    let ids = submit_numbers(&store, 5);
    (store, ids)
}

/// The first messages for who comes back with this id in the header.
async fn opening(server: &Server, id: &[u8], count: usize) -> Vec<String> {
    let headers = [("last-event-id", id)];
    let mut client = Client::get(server, "/socket", &headers).await;
    client.texts(count).await
}

#[tokio::test]
async fn what_followed_is_sent_and_then_what_is_new_whichever_way_the_id_is_told() {
    let (store, socket) = store_and_socket();
    let ids = submit_numbers(&store, 5);
    let server = Server::start(&socket);
    let id = ids[2].to_string();
    let mut clients = Vec::new();
    for name in NAMES {
        let target = format!("/socket?x&{name}={id}&y=1");
        clients.push(Client::get(&server, &target, &[]).await);
    }
    for (target, header) in [
        ("/socket", id.as_str()),
        // The header comes first.
        ("/socket?lastEventId=nonsense", id.as_str()),
    ] {
        let headers = [("Last-Event-ID", header.as_bytes())];
        clients.push(Client::get(&server, target, &headers).await);
    }
    let new = submit(&store, "new");
    for client in &mut clients {
        let expected = [
            opened(ids[2]),
            message(ids[3], ids[2], "4"),
            message(ids[4], ids[3], "5"),
            message(new, ids[4], "new"),
        ];
        assert_eq!(client.texts(4).await, expected);
    }
}

#[tokio::test]
async fn who_comes_back_too_late_is_told_exactly_what_it_missed() {
    let (store, ids) = store_of_two();
    let server = Server::start(&WebSocketSubscriber::new(store));
    for (last, missed) in [(0, 3), (1, 2), (2, 1)] {
        let from = moved(ids[0], last);
        let expected = [
            OPENED.to_owned(),
            gap("evicted", Some(missed), Some(from), ids[2]),
            message(ids[3], ids[2], "4"),
            message(ids[4], ids[3], "5"),
        ];
        assert_eq!(
            opening(&server, from.to_string().as_bytes(), 4).await,
            expected
        );
        let mut client = Client::open_after(&server, from).await;
        assert_eq!(client.texts(4).await, expected);
    }
    let mut in_time = Client::open_after(&server, ids[2]).await;
    let expected = [opened(ids[2]), message(ids[3], ids[2], "4")];
    assert_eq!(in_time.texts(2).await, expected);
}

#[tokio::test]
async fn what_cannot_be_an_id_is_a_gap_and_the_start_policy_follows() {
    let (store, ids) = store_of_two();
    let live = Server::start(&WebSocketSubscriber::new(store.clone()));
    let events = EventSource::new(store.clone()).start(Start::Last(1));
    let last = Server::start(&events.websocket());
    let good = ids[3].to_string();
    for id in [
        &b"0"[..],
        b"null",
        b"AAAAAAAAAAA-",
        b"AAAAAAAAAA-4",
        b"AAAAAAAAAAA-18446744073709551616",
        b"../../etc/passwd",
        b"\xff\xfe",
        "日本語".as_bytes(),
        &[b'A'; 8000],
        format!("{good}, {good}").as_bytes(),
    ] {
        let told = gap("malformed", None, None, ids[4]);
        assert_eq!(opening(&live, id, 2).await, [OPENED, &told]);
        let told = gap("malformed", None, None, ids[3]);
        let next = message(ids[4], ids[3], "5");
        assert_eq!(opening(&last, id, 3).await, [OPENED, &told, &next]);
    }
    let told = gap("malformed", None, None, ids[4]);
    let twice = [("last-event-id", good.as_bytes()); 2];
    let mut client = Client::get(&live, "/socket", &twice).await;
    assert_eq!(client.texts(2).await, [OPENED, &told]);
    let mut client = Client::open_after(&live, "%41").await;
    assert_eq!(client.texts(2).await, [OPENED, &told]);
}

#[tokio::test]
async fn an_empty_id_is_none() {
    let (store, socket) = store_and_socket();
    let last = submit_numbers(&store, 2)[1];
    let server = Server::start(&socket);
    assert_eq!(opening(&server, b"", 1).await, [opened(last)]);
    for target in ["/socket?lastEventId=", "/socket?lastEventId", "/socket?"] {
        let mut client = Client::get(&server, target, &[]).await;
        assert_eq!(client.text().await, opened(last), "{target}");
    }
}

#[tokio::test]
async fn an_id_ahead_of_the_log_is_a_gap_and_all_that_is_retained_follows() {
    let (store, ids) = store_of_two();
    let server = Server::start(&WebSocketSubscriber::new(store));
    for offset in [6, 7, u64::MAX] {
        let ahead = moved(ids[0], offset);
        let expected = [
            OPENED.to_owned(),
            gap("ahead", None, Some(ahead), ids[2]),
            message(ids[3], ids[2], "4"),
            message(ids[4], ids[3], "5"),
        ];
        let mut client = Client::open_after(&server, ahead).await;
        assert_eq!(client.texts(4).await, expected);
    }
}

#[tokio::test]
async fn an_id_of_another_log_is_a_gap_and_the_start_policy_follows() {
    let (store, ids) = store_of_two();
    let (_, other) = store_of_two();
    let server = Server::start(&WebSocketSubscriber::new(store.clone()));
    let mut client = Client::open_after(&server, other[3]).await;
    let told = gap("epoch", None, Some(other[3]), ids[4]);
    assert_eq!(client.texts(2).await, [OPENED, &told]);
    let new = submit(&store, "new");
    assert_eq!(client.text().await, message(new, ids[4], "new"));
}

#[tokio::test]
async fn a_client_that_was_cut_off_before_its_first_event_misses_nothing() {
    let (store, socket) = store_and_socket();
    submit(&store, "before");
    let server = Server::start(&socket);
    let mut client = Client::open(&server).await;
    let begin = field(&client.text().await, "id").expect("an id");
    client.reset();
    until_left(&store, &socket).await;
    submit(&store, "meanwhile");
    let mut client = Client::open_after(&server, begin).await;
    client.text().await;
    assert_eq!(client.data(1).await, ["meanwhile"]);
}

#[tokio::test]
async fn an_id_leads_from_one_protocol_to_the_other() {
    let store = QueueStore::new();
    let events = EventSource::new(store.clone());
    let socket = events.websocket();
    let server = Server::start(&Both(events, socket));

    let mut stream = Raw::events(&server, "").await;
    assert_eq!(stream.block().await, format!("id: {}", end_of(&store)));
    let first = submit(&store, "1");
    assert_eq!(stream.block().await, format!("id: {first}\ndata: 1"));
    drop(stream);

    let second = submit(&store, "2");
    let mut client = Client::open_after(&server, first).await;
    let expected = [opened(first), message(second, first, "2")];
    assert_eq!(client.texts(2).await, expected);
    client.close().await;

    let third = submit(&store, "3");
    let mut stream = Raw::events(&server, &format!("lastEventId={second}")).await;
    assert_eq!(stream.block().await, format!("id: {third}\ndata: 3"));
    drop(stream);

    // What a quiet connection of either begins with is good for the other.
    let mut client = Client::open_after(&server, third).await;
    let begin = field(&client.text().await, "id").expect("an id");
    client.close().await;
    let fourth = submit(&store, "4");
    let mut stream = Raw::events(&server, &format!("lastEventId={begin}")).await;
    assert_eq!(stream.block().await, format!("id: {fourth}\ndata: 4"));
}

/// What one client keeps over all its connections.
#[derive(Default)]
struct Kept {
    last: Option<String>,
    received: Vec<u64>,
    missed: u64,
}

impl Kept {
    fn take(&mut self, message: &str) {
        let value = parsed(message);
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        match value["event"].as_str() {
            Some("open") => {
                // Without an id there is a gap to come.
                if let Some(id) = value["id"].as_str() {
                    assert!(self.last.is_none() || self.last.as_deref() == Some(id));
                    self.last = Some(id.to_owned());
                }
                return;
            }
            Some("gap") => {
                let missed = text(&value["data"]["missed"]);
                self.missed += missed.parse::<u64>().expect("a number");
                assert_eq!(value["data"]["from"].as_str(), self.last.as_deref());
            }
            _ => {
                let number = text(&value["data"]);
                self.received.push(number.parse().expect("a number"));
                assert_eq!(value["prev"].as_str(), self.last.as_deref(), "{message}");
            }
        }
        self.last = Some(text(&value["id"]));
    }
}

#[tokio::test]
async fn whatever_the_cuts_what_was_received_and_what_was_missed_is_what_was_submitted() {
    const EVENTS: u64 = 300;
    const CUTS: u64 = 20;
    for seed in 0..5 {
        let mut random = fastrand::Rng::with_seed(seed);
        let store = keeping(12);
        let socket = WebSocketSubscriber::new(store.clone());
        let server = Server::start(&socket);
        let mut kept = Kept::default();
        let mut submitted = 0;
        for cut in 0..=CUTS {
            let mut client = match &kept.last {
                Some(id) => Client::open_after(&server, id).await,
                None => Client::open(&server).await,
            };
            kept.take(&client.text().await);
            // Some are read, some are on their way when it is cut, some come later.
            let count = match cut {
                CUTS => EVENTS - submitted,
                _ => random.u64(..=EVENTS / (CUTS + 5)),
            };
            for _ in 0..count {
                submitted += 1;
                submit(&store, submitted.to_string());
                if random.u8(..3) == 0 {
                    kept.take(&client.text().await);
                }
            }
            if cut == CUTS {
                let end = end_of(&store).to_string();
                while kept.last.as_ref() != Some(&end) {
                    kept.take(&client.text().await);
                }
            }
            match random.bool() {
                true => client.reset(),
                false => drop(client),
            }
            for _ in 0..random.u64(..=EVENTS / (CUTS + 5)) {
                if submitted < EVENTS && cut < CUTS {
                    submitted += 1;
                    submit(&store, submitted.to_string());
                }
            }
        }
        assert_eq!(submitted, EVENTS);
        assert!(kept.received.is_sorted_by(|a, b| a < b), "seed {seed}");
        let received = kept.received.len() as u64;
        assert_eq!(received + kept.missed, EVENTS, "seed {seed}");
        assert!(received > 50, "seed {seed}: {received}");
        until_left(&store, &socket).await;
    }
}
