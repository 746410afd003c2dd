//! What is sent: one JSON object for each event, to the letter.

use futures_util::stream;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tornadose::{
    DataStore, Delivery, Entry, Envelope, Event, EventName, EventSource, Gap, GapReason,
    QueueStore, Start, Store, SubmitError, Submitted, Subscribe, Subscription, WebSocketSubscriber,
};

use crate::client::Client;
use crate::raw::{FIN, Frame, Raw, TEXT};
use crate::server::Server;
use crate::vocabulary::{
    OPENED, end_of, from_oldest, gap, keeping, message, moved, opened, parsed, store_and_socket,
    submit, submit_numbers, told,
};

#[tokio::test]
async fn the_first_message_says_at_once_where_the_connection_begins() {
    let (store, socket) = store_and_socket();
    let server = Server::start(&socket);
    let begin = end_of(&store);
    assert!(begin.to_string().ends_with("-0"));
    assert_eq!(Client::open(&server).await.text().await, opened(begin));

    let last = submit_numbers(&store, 3)[2];
    assert_eq!(Client::open(&server).await.text().await, opened(last));
    let oldest = Server::start(&from_oldest(&store));
    assert_eq!(Client::open(&oldest).await.text().await, opened(begin));
}

#[tokio::test]
async fn every_event_comes_in_order_with_the_id_of_the_message_before_it() {
    let (store, socket) = store_and_socket();
    let server = Server::start(&socket);
    let mut client = Client::open(&server).await;
    let mut prev = end_of(&store);
    assert_eq!(client.text().await, opened(prev));
    for n in 0..300 {
        // Some alone, some together.
        let ids = submit_numbers(&store, n % 7);
        for (n, id) in ids.into_iter().enumerate() {
            let expected = message(id, prev, &(n + 1).to_string());
            assert_eq!(client.text().await, expected);
            prev = id;
        }
    }
    client.close().await;
}

#[tokio::test]
async fn what_awkward_events_hold_arrives_as_it_was() {
    let awkward = [
        "",
        " ",
        "\n",
        "\r\n",
        "a\nb\rc\r\nd",
        "\0",
        "\u{1}\u{8}\u{c}\u{1f}\u{7f}",
        "\"",
        "\\",
        "\\n",
        "</script>",
        "\u{2028}\u{2029}",
        "\u{feff}",
        "é 日本語 🦀",
        "{\"id\":\"x\"}",
        "data: x\n\nid: y\n\n",
    ];
    let (store, socket) = store_and_socket();
    let server = Server::start(&socket);
    let mut client = Client::open(&server).await;
    client.text().await;
    for data in awkward {
        let id = submit(&store, data);
        let prev = moved(id, id.offset() - 1);
        let expected = json!({
            "id": id.to_string(),
            "prev": prev.to_string(),
            "event": "message",
            "data": data,
        });
        assert_eq!(parsed(&client.text().await), expected);
    }
    for name in ["x", "OPEN", "gap ", "\"", "\\", "a b", "é", "\u{1}"] {
        let name = EventName::new(name).expect("a name");
        submit(&store, Event::new("").name(name.clone()));
        assert_eq!(parsed(&client.text().await)["event"], name.as_str());
    }
}

#[tokio::test]
async fn an_event_of_a_mebibyte_is_one_frame() {
    let store = QueueStore::builder().max_event_bytes(2 << 20).build();
    let socket = WebSocketSubscriber::new(store.clone());
    let server = Server::start(&socket);
    let (mut raw, mut client) = (Raw::open(&server).await, Client::open(&server).await);
    raw.text().await;
    client.text().await;
    let data = "x".repeat(1 << 20);
    let first = end_of(&store);
    let (id, last) = (submit(&store, data.as_str()), submit(&store, "next"));

    let expected = message(id, first, &data);
    assert_eq!(client.text().await, expected);
    let frame = raw.frame().await;
    assert_eq!(frame.first, FIN | TEXT);
    assert!(frame.payload == expected.as_bytes());
    for next in [raw.text().await, client.text().await] {
        assert_eq!(next, message(last, id, "next"));
    }
}

#[tokio::test]
async fn a_connection_that_takes_one_byte_at_a_time_gets_identical_bytes() {
    let store = QueueStore::new();
    let socket = from_oldest(&store);
    for n in 0..100_usize {
        submit(&store, format!("{n} {}", "x".repeat(n * 2)));
    }
    let mut expected = Raw::in_memory(&socket, 1 << 20).await;
    let mut slow = Raw::in_memory(&socket, 1).await;
    for _ in 0..=100 {
        assert_eq!(slow.frame().await, expected.frame().await);
    }
}

#[tokio::test]
#[cfg(feature = "json")]
async fn a_json_value_stands_as_itself_and_a_text_as_a_text() {
    let (store, socket) = store_and_socket();
    let server = Server::start(&socket);
    let mut client = Client::open(&server).await;
    client.text().await;
    let value = json!({"a": [1, null, true, "x\n\u{1f}\"é"], "b": {}});
    let written = " { \"a\" : 1e400, \"a\":2 } ";
    for (event, expected) in [
        (Event::json(&value).expect("JSON"), value.to_string()),
        (Event::json("12").expect("JSON"), "\"12\"".to_owned()),
        (Event::json(&12).expect("JSON"), "12".to_owned()),
        (Event::json(&()).expect("JSON"), "null".to_owned()),
        (Event::new("12"), "\"12\"".to_owned()),
        (Event::new("null"), "\"null\"".to_owned()),
        (Event::from_json(written).expect("JSON"), written.to_owned()),
    ] {
        let id = submit(&store, event);
        let prev = moved(id, id.offset() - 1);
        let head = format!(r#"{{"id":"{id}","prev":"{prev}","event":"message","data":"#);
        assert_eq!(client.text().await, format!("{head}{expected}}}"));
    }
}

#[tokio::test]
async fn after_a_gap_the_id_before_is_that_of_the_gap() {
    let store = keeping(2);
    let socket = WebSocketSubscriber::new(store.clone());
    let ids = submit_numbers(&store, 5);
    let server = Server::start(&socket);
    let mut client = Client::open_after(&server, ids[0]).await;
    let expected = [
        OPENED.to_owned(),
        gap("evicted", Some(2), Some(ids[0]), ids[2]),
        message(ids[3], ids[2], "4"),
        message(ids[4], ids[3], "5"),
    ];
    assert_eq!(client.texts(4).await, expected);
}

#[tokio::test]
async fn the_other_envelope_is_to_the_letter() {
    let store = keeping(2);
    let socket = EventSource::new(store.clone())
        .start(Start::Oldest)
        .websocket()
        .envelope(Envelope::Data);
    let server = Server::start(&socket);
    let id = submit(&store, "hello");
    submit(&store, "12\n");
    let mut client = Raw::open(&server).await;
    // No first message, and no id that could be brought back.
    let first = client.frame().await;
    assert_eq!(first.first, FIN | TEXT);
    assert_eq!(first.payload, br#"{"data": "hello"}"#);
    assert_eq!(client.text().await, r#"{"data": "12\n"}"#);

    let name = EventName::from_static("named");
    submit(&store, Event::new("x").name(name));
    assert_eq!(client.text().await, r#"{"data": "x"}"#);
    let mut late = Client::open_after(&server, moved(id, 0)).await;
    let missing = told("evicted", Some(1), Some(moved(id, 0)), id);
    assert_eq!(late.text().await, format!("{{\"gap\": {missing}}}"));
    assert_eq!(late.text().await, r#"{"data": "12\n"}"#);
}

#[tokio::test]
#[cfg(feature = "json")]
async fn the_other_envelope_holds_json_values_too() {
    let (store, socket) = store_and_socket();
    let server = Server::start(&socket.envelope(Envelope::Data));
    let mut client = Client::open(&server).await;
    submit(&store, Event::json(&12).expect("JSON"));
    submit(&store, Event::json(&[[1]]).expect("JSON"));
    let expected = [r#"{"data": 12}"#, r#"{"data": [[1]]}"#];
    assert_eq!(client.texts(2).await, expected);
}

#[tokio::test]
async fn a_data_store_begins_with_its_value_and_shows_what_was_skipped() {
    let store = DataStore::new();
    let server = Server::start(&WebSocketSubscriber::new(store.clone()));
    let first = store.submit("1").expect("open").id().expect("in memory");
    let begin = moved(first, first.offset() - 1);
    let mut client = Client::open(&server).await;
    let expected = [opened(begin), message(first, begin, "1")];
    assert_eq!(client.texts(2).await, expected);

    // Nobody is woken in between: the current-thread runtime runs this test.
    store.submit("2").expect("open");
    store.submit("3").expect("open");
    let third = store.submit("4").expect("open").id().expect("in memory");
    assert_eq!(third.offset(), first.offset() + 3);
    assert_eq!(client.text().await, message(third, first, "4"));
    let next = store.submit("5").expect("open").id().expect("in memory");
    assert_eq!(client.text().await, message(next, third, "5"));

    let mut again = Client::open_after(&server, next).await;
    assert_eq!(again.text().await, opened(next));
    let mut late = Client::open_after(&server, first).await;
    let expected = [opened(first), message(next, first, "5")];
    assert_eq!(late.texts(2).await, expected);
}

/// A store of the user's own, whose subscriptions are streams.
struct Countdown;

impl Store for Countdown {
    fn submit(&self, event: Event) -> Result<Submitted, SubmitError> {
        Err(SubmitError::Closed(event))
    }

    fn subscribe(&self, _: Subscribe) -> Subscription {
        let at = |offset: u64| {
            let id = format!("AAAAAAAAAAA-{offset}");
            id.parse().expect("an id")
        };
        let entry = |offset, data: &str| Entry::new(at(offset), &Event::new(data));
        let missing = Gap::new(GapReason::Evicted, Some(4), Some(at(2)), at(6));
        Subscription::from_stream(stream::iter([
            Delivery::Event(entry(1, "a")),
            Delivery::Event(entry(2, "b")),
            Delivery::Gap(missing),
            Delivery::Event(entry(7, "c")),
        ]))
    }
}

#[tokio::test]
async fn a_store_that_is_not_ours_is_heard_as_well() {
    let server = Server::start(&WebSocketSubscriber::new(Countdown));
    let mut client = Client::open(&server).await;
    let [one, two, six, seven] =
        [1, 2, 6, 7].map(|offset| moved("AAAAAAAAAAA-0".parse().expect("an id"), offset));
    let expected = [
        OPENED.to_owned(),
        // Nothing was told before it, so there is nothing that it could follow.
        format!(r#"{{"id":"{one}","event":"message","data":"a"}}"#),
        message(two, one, "b"),
        gap("evicted", Some(4), Some(two), six),
        message(seven, six, "c"),
    ];
    assert_eq!(client.texts(5).await, expected);
    client.closed_for_a_while(1001).await;
}

#[tokio::test]
async fn nothing_but_whole_texts_is_sent_while_nobody_speaks() {
    let (store, socket) = store_and_socket();
    let server = Server::start(&socket);
    let (mut raw, mut client) = (Raw::open(&server).await, Client::open(&server).await);
    submit_numbers(&store, 50);
    for _ in 0..=50 {
        let Frame { first, payload } = raw.frame().await;
        assert_eq!(first, FIN | TEXT);
        let expected = match client.next().await {
            Message::Text(text) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(payload, expected.as_bytes());
    }
}

#[tokio::test]
async fn whoever_joins_when_and_in_whichever_envelope_gets_the_same_events() {
    let (store, socket) = store_and_socket();
    let full = Server::start(&socket);
    let data = Server::start(&socket.clone().envelope(Envelope::Data));
    let mut random = fastrand::Rng::with_seed(7);
    let (mut clients, mut submitted) = (Vec::new(), Vec::new());
    for _ in 0..30 {
        let mut client = Client::open(&full).await;
        client.text().await;
        clients.push((submitted.len(), client, Client::open(&data).await));
        for _ in 0..random.usize(..40) {
            let event = "x".repeat(random.usize(..2000));
            submit(&store, event.as_str());
            submitted.push(event);
            if random.u8(..4) == 0 {
                tokio::task::yield_now().await;
            }
        }
    }
    for (from, full, data) in &mut clients {
        for event in &submitted[*from..] {
            assert_eq!(parsed(&full.text().await)["data"], event.as_str());
            assert_eq!(data.text().await, format!("{{\"data\": \"{event}\"}}"));
        }
    }
}
