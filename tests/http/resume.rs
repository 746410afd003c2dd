//! Coming back: what a `Last-Event-ID` brings, and what a client sees that was cut
//! off.

use tornadose::{DataStore, EventSource, OnGap, Position, QueueStore, Retention, Start};

use crate::vocabulary::{
    Client, Door, SECOND, Server, block_of, end_of, end_of_block, farewell, field, gap,
    last_event_id, request, submit, submit_numbers, until_subscribers,
};

/// A store that holds the events 4 and 5 of 1..=5, and the ids of all of them.
fn store_of_two() -> (QueueStore, Vec<Position>) {
    let store = QueueStore::builder()
        .retention(Retention::new().events(2))
        .build();
    let ids = submit_numbers(&store, 5);
    (store, ids)
}

/// The same place in another store of the same age.
fn moved(id: Position, offset: u64) -> Position {
    let text = id.to_string();
    let (epoch, _) = text.rsplit_once('-').expect("an id");
    let moved = format!("{epoch}-{offset}");
    moved.parse().expect("an id")
}

/// What follows the opening comment when this is asked with these header lines.
async fn opening(server: &Server, lines: &[u8], blocks: usize) -> Vec<String> {
    let mut client = Client::connect(server).await;
    client.get(lines).await;
    assert_eq!(client.blocks(1).await, [":"]);
    let opening = client.blocks(blocks).await;
    client.leave();
    opening
}

#[tokio::test]
async fn a_client_that_comes_back_gets_what_followed_its_event_and_then_what_is_new() {
    for door in Door::ALL_HTTP1 {
        let store = QueueStore::new();
        let ids = submit_numbers(&store, 10);
        let server = Server::behind(door, EventSource::new(store.clone()));
        let mut client = Client::open_after(&server, ids[6]).await;
        assert_eq!(client.blocks(1).await, [":"]);
        assert_eq!(client.events(3).await, ["8", "9", "10"]);
        submit(&store, "new");
        assert_eq!(client.events(1).await, ["new"]);

        let mut current = Client::open_after(&server, end_of(&store)).await;
        let bookmark = format!("id: {}", end_of(&store));
        assert_eq!(current.blocks(2).await, [":", &bookmark]);
    }
}

#[tokio::test]
async fn a_client_of_a_data_store_that_comes_back_gets_the_value_unless_it_has_it() {
    let store = DataStore::with_initial("old").expect("small");
    let old = store.get().expect("a value").id();
    let current = store
        .submit("current")
        .expect("open")
        .id()
        .expect("in memory");
    let server = Server::start(EventSource::new(store.clone()));
    let value = block_of(current, "current");
    for id in [
        &old.to_string()[..],
        "nonsense",
        &moved(old, 99).to_string(),
    ] {
        let lines = last_event_id(id.as_bytes());
        assert_eq!(opening(&server, &lines, 1).await, [&*value], "{id}");
    }
    let mut client = Client::open_after(&server, current).await;
    assert_eq!(client.blocks(1).await, [":"]);
    store.submit("next").expect("open");
    assert_eq!(client.events(1).await, ["next"]);
}

#[tokio::test]
async fn a_client_that_comes_back_too_late_is_told_exactly_what_it_missed() {
    let (store, ids) = store_of_two();
    let server = Server::start(EventSource::new(store.clone()));
    for (last, missed) in [(0, 3), (1, 2), (2, 1)] {
        let from = moved(ids[0], last);
        let lines = last_event_id(from.to_string().as_bytes());
        assert_eq!(
            opening(&server, &lines, 3).await,
            [
                gap("evicted", Some(missed), Some(from), ids[2]),
                block_of(ids[3], "4"),
                block_of(ids[4], "5"),
            ]
        );
    }
    let lines = last_event_id(ids[2].to_string().as_bytes());
    assert_eq!(
        opening(&server, &lines, 2).await,
        [block_of(ids[3], "4"), block_of(ids[4], "5")],
        "this one is just in time"
    );
}

#[tokio::test]
async fn an_id_of_another_log_is_a_gap_and_the_start_policy_follows() {
    let (store, ids) = store_of_two();
    let (_, other) = store_of_two();
    let lines = last_event_id(other[3].to_string().as_bytes());

    let live = Server::start(EventSource::new(store.clone()));
    let told = gap("epoch", None, Some(other[3]), ids[4]);
    assert_eq!(opening(&live, &lines, 1).await, [told]);

    let oldest = Server::start(EventSource::new(store.clone()).start(Start::Oldest));
    let told = gap("epoch", None, Some(other[3]), ids[2]);
    let expected = [told, block_of(ids[3], "4"), block_of(ids[4], "5")];
    assert_eq!(opening(&oldest, &lines, 3).await, expected);

    let last = Server::start(EventSource::new(store.clone()).start(Start::Last(1)));
    let told = gap("epoch", None, Some(other[3]), ids[3]);
    let expected = [told, block_of(ids[4], "5")];
    assert_eq!(opening(&last, &lines, 2).await, expected);
}

#[tokio::test]
async fn an_id_ahead_of_the_log_is_a_gap_and_all_that_is_retained_follows() {
    let (store, ids) = store_of_two();
    let server = Server::start(EventSource::new(store.clone()));
    for offset in [6, 7, u64::MAX] {
        let ahead = moved(ids[0], offset);
        let lines = last_event_id(ahead.to_string().as_bytes());
        assert_eq!(
            opening(&server, &lines, 3).await,
            [
                gap("ahead", None, Some(ahead), ids[2]),
                block_of(ids[3], "4"),
                block_of(ids[4], "5"),
            ]
        );
    }
}

#[tokio::test]
async fn an_empty_id_is_none() {
    let (store, ids) = store_of_two();
    let server = Server::start(EventSource::new(store.clone()));
    for lines in [
        &b""[..],
        b"Last-Event-ID:\r\n",
        b"Last-Event-ID: \r\n",
        b"last-event-id: \t \r\n",
    ] {
        assert_eq!(
            opening(&server, lines, 1).await,
            [format!("id: {}", ids[4])],
            "{lines:?}"
        );
    }
}

#[tokio::test]
async fn two_ids_are_malformed_even_if_they_are_the_same() {
    let (store, ids) = store_of_two();
    let server = Server::start(EventSource::new(store.clone()));
    let good = last_event_id(ids[3].to_string().as_bytes());
    let empty = last_event_id(b"");
    let told = gap("malformed", None, None, ids[4]);
    for pair in [
        [&good[..], &good],
        [&good, &empty],
        [&empty, &good],
        [&empty, &empty],
        [&good, &last_event_id(b"nonsense")],
    ] {
        assert_eq!(opening(&server, &pair.concat(), 1).await, [&*told]);
    }
}

#[tokio::test]
async fn sixty_malformed_ids_are_each_answered_with_a_gap() {
    let (store, ids) = store_of_two();
    let server = Server::start(EventSource::new(store.clone()));
    let told = gap("malformed", None, None, ids[4]);
    let good = ids[3].to_string();
    let (epoch, _) = good.rsplit_once('-').expect("an id");

    let mut malformed: Vec<Vec<u8>> = [
        "0",
        "1",
        "-1",
        "-",
        "--",
        "4",
        "null",
        "undefined",
        "NaN",
        "true",
        "{}",
        "[]",
        "*",
        "\"\"",
        "%00",
        "../../etc/passwd",
        "' or 1=1 --",
        "<script>",
        "AAAAAAAAAAA",
        "AAAAAAAAAAA-",
        "AAAAAAAAAA-4",
        "AAAAAAAAAAAA-4",
        "AAAAAAAAAAA_4",
        "AAAAAAAAAA=-4",
        "AAAAAAAAAA+-4",
        "AAAAAAAAAAB-4",
        "AAAAAAAAAA -4",
        "AAAAAAAAAA\t-4",
        "é",
        "日本語",
        "\u{feff}",
        "💥",
    ]
    .map(|id| id.as_bytes().to_vec())
    .to_vec();
    for tail in [
        "",
        "-",
        "--4",
        "-04",
        "-+4",
        "- 4",
        "-4.0",
        "-4e0",
        "-0x4",
        "-４",
        "-4-4",
        "-4,",
        "-4;q=1",
        "-18446744073709551616",
        "-99999999999999999999999999",
        "/4",
        "_4",
        "-4\u{a0}",
        "-four",
    ] {
        malformed.push(format!("{epoch}{tail}").into_bytes());
    }
    malformed.push(format!("{good}, {good}").into_bytes());
    malformed.push(format!("\"{good}\"").into_bytes());
    malformed.push(
        good.to_lowercase()
            .replace(char::is_alphabetic, "!")
            .into_bytes(),
    );
    // Bytes that are not UTF-8, alone and behind a good id.
    malformed.extend([&b"\x80"[..], b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80"].map(<[u8]>::to_vec));
    malformed.push([good.as_bytes(), b"\xff"].concat());
    // Longer than any id that is looked at.
    malformed.extend([128, 129, 1000, 8000].map(|length| vec![b'A'; length]));
    malformed.push(format!("{epoch}-{}4", "0".repeat(128)).into_bytes());
    assert!(malformed.len() >= 60, "{}", malformed.len());

    for id in &malformed {
        let shown = String::from_utf8_lossy(id);
        let told_now = opening(&server, &last_event_id(id), 1).await;
        assert_eq!(told_now, [&*told], "{shown}");
    }
    until_subscribers(SECOND, || store.subscribers(), 0).await;
}

#[tokio::test]
async fn a_client_that_must_not_miss_anything_is_answered_204() {
    let (store, ids) = store_of_two();
    let server = Server::start(EventSource::new(store.clone()).on_gap(OnGap::Stop));
    let mut client = Client::connect(&server).await;
    for id in [
        ids[0].to_string(),
        moved(ids[0], 99).to_string(),
        end_of(&QueueStore::new()).to_string(),
        "nonsense".to_owned(),
    ] {
        let lines = last_event_id(id.as_bytes());
        client.send(&request("GET", &lines)).await;
        assert_eq!(
            client.head().await.without_date(),
            "HTTP/1.1 204 No Content\r\ncache-control: no-store\r\n\r\n"
        );
        assert_eq!(store.subscribers(), 0);
    }
    client.get_after(ids[2].to_string().as_bytes()).await;
    assert_eq!(client.blocks(1).await, [":"]);
    assert_eq!(client.events(2).await, ["4", "5"]);
}

#[tokio::test]
async fn a_client_that_was_cut_off_before_its_first_event_misses_nothing() {
    let store = QueueStore::new();
    submit(&store, "before");
    let server = Server::start(EventSource::new(store.clone()));
    let mut client = Client::open(&server).await;
    let opening = client.blocks(2).await;
    client.reset();
    until_subscribers(SECOND, || store.subscribers(), 0).await;

    submit(&store, "meanwhile");
    let mut client = Client::open_after(&server, field(&opening[1], "id")).await;
    assert_eq!(client.blocks(1).await, [":"]);
    assert_eq!(client.events(1).await, ["meanwhile"]);
}

/// What a client has got that read these bytes: the data of its events, and its
/// last id. A block that is not complete is discarded, as browsers do.
fn understood(mut bytes: &[u8]) -> (Vec<String>, Option<String>) {
    let (mut events, mut last) = (Vec::new(), None);
    while let Some(end) = end_of_block(bytes) {
        let (block, rest) = bytes.split_at(end);
        bytes = rest;
        for line in str::from_utf8(block).expect("UTF-8").lines() {
            match line.split_once(": ") {
                Some(("data", data)) => events.push(data.to_owned()),
                Some(("id", id)) => last = Some(id.to_owned()),
                _ => {}
            }
        }
    }
    (events, last)
}

#[tokio::test]
async fn a_connection_that_is_cut_at_any_byte_and_resumed_loses_and_repeats_nothing() {
    let store = QueueStore::new();
    let events = EventSource::new(store.clone()).start(Start::Oldest);
    let server = Server::start(events);
    submit_numbers(&store, 12);
    store.close();
    let all: Vec<String> = (1..=12).map(|n| n.to_string()).collect();
    let length = Client::open(&server).await.rest().await.len();
    assert!(length > 300, "{length}");

    for cut in (0..=length).step_by(3) {
        let prefix = Client::open(&server).await.cut_off_after(cut).await;
        let (mut received, last) = understood(&prefix);
        assert_eq!(received, all[..received.len()]);
        let mut again = match last {
            Some(id) => Client::open_after(&server, id).await,
            None => Client::open(&server).await,
        };
        let rest = again.rest().await;
        received.extend(understood(rest.as_bytes()).0);
        assert_eq!(received, all, "cut after {cut} bytes");
    }
}

#[tokio::test]
async fn a_client_that_reads_one_byte_at_a_time_gets_identical_bytes() {
    let store = QueueStore::new();
    let events = EventSource::new(store.clone())
        .start(Start::Oldest)
        .retry(SECOND)
        .farewell(3 * SECOND..=3 * SECOND);
    for n in 0..300_usize {
        submit(&store, format!("{n}\n{}", "x".repeat(n / 4)));
    }
    store.close();
    for door in Door::ALL_HTTP1 {
        let server = Server::behind(door, events.clone());
        let expected = Client::open(&server).await.rest().await;
        let mut slow = Client::connect_tight(&server).await.with_gulps_of(1);
        slow.get(b"").await;
        assert_eq!(slow.rest().await, expected);
        let last = expected.split_terminator("\n\n").last();
        assert_eq!(farewell(last.expect("a block")), 3000);
    }
}
