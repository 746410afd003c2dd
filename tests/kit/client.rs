//! Each rule of the standard for an `EventSource`.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::time::Instant;
use tornadose::test::{Break, Client, Delivery, IncompleteReason, Message, ReadyState};
use tornadose::{Event, EventSource, GapReason, QueueStore, Retention};

use crate::scripted::{Answer, Scripted};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn it_asks_as_a_browser_does() {
    let script = Scripted::new([Answer::stream(["id: 1\ndata: x\n\n"])]);
    let mut client = Client::new(script.clone(), "/events?topic=a%20b")
        .header("cookie", "user=ada")
        .header("Accept-Language", "fr");
    assert_eq!(client.state(), ReadyState::Connecting);
    assert_eq!(client.requests(), 0);
    client.open().await.expect("a stream");
    assert_eq!(client.state(), ReadyState::Open);

    let asked = script.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].uri, "/events?topic=a%20b");
    let headers = [
        ("accept", "text/event-stream"),
        ("cache-control", "no-cache"),
        ("pragma", "no-cache"),
        ("host", "localhost"),
        ("cookie", "user=ada"),
        ("accept-language", "fr"),
    ];
    for (name, value) in headers {
        assert_eq!(asked[0].header(name), Some(value), "{name}");
    }
    // Nothing else: no id before there is one.
    assert_eq!(asked[0].headers.len(), headers.len());
    let head = client.response().expect("a head");
    assert_eq!(head.headers["content-type"], "text/event-stream");
}

#[tokio::test(start_paused = true)]
async fn of_a_whole_uri_the_host_is_a_header() {
    for (uri, asked, host) in [
        ("http://example.org:81/a?b", "/a?b", "example.org:81"),
        ("http://example.org", "/", "example.org"),
        ("/", "/", "localhost"),
    ] {
        let script = Scripted::new([Answer::stream([])]);
        let mut client = Client::new(script.clone(), uri);
        client.open().await.expect("a stream");
        let request = &script.asked()[0];
        assert_eq!(
            (request.uri.as_str(), request.header("host")),
            (asked, Some(host))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_stream_is_not_its_end() {
    let script = Scripted::new([
        Answer::stream(["id: 1\ndata: one\n\n", "id: 2\ndata: never ended\n"]),
        Answer::Head(
            200,
            Some("text/event-stream"),
            vec![Ok(Bytes::from("data: two\n\nid: 3\n\n")), Err("wire cut")],
        ),
        Answer::Fails("nobody there"),
        Answer::stream(["id: 4\ndata: four\n\n"]),
    ]);
    let mut client = script.client();
    let received = client.collect(3).await.expect("three");
    // The second has no id of its own, and so that of the one before.
    let expected = [
        Message::new("message", "one", "1"),
        Message::new("message", "two", "1"),
        Message::new("message", "four", "4"),
    ];
    assert_eq!(received, expected.map(Delivery::Message));

    let asked = script.asked();
    let ids: Vec<_> = asked
        .iter()
        .map(|asked| asked.header("last-event-id"))
        .collect();
    assert_eq!(ids, [None, Some("1"), Some("3"), Some("3")]);
    // 3 s each, where nothing else is said.
    let waits = asked.windows(2).map(|pair| pair[1].at - pair[0].at);
    for wait in waits {
        assert!((3 * SECOND..3 * SECOND + SECOND / 100).contains(&wait));
    }
    let failed = Break::Failed("nobody there".into());
    assert_eq!(client.last_break(), Some(&failed));
    assert_eq!(client.requests(), 4);
}

#[tokio::test(start_paused = true)]
async fn it_waits_as_long_as_it_was_told_last() {
    let script = Scripted::new([
        Answer::stream([]),
        Answer::stream(["retry: 250\nretry: 1x\nretry: -2\nretry:\n"]),
        Answer::stream([":\n\n"]),
        Answer::stream(["retry: 0\n"]),
        Answer::stream(["data: x\n\n"]),
    ]);
    let mut client = script.client().reconnection_time(SECOND);
    client.next().await.expect("a message");
    let asked = script.asked();
    let waits: Vec<_> = asked
        .windows(2)
        .map(|pair| (pair[1].at - pair[0].at).as_millis())
        .collect();
    // The clock has steps of 1 ms, and a wait ends with one.
    for (wait, told) in waits.into_iter().zip([1000, 250, 250, 1]) {
        assert!((told..=told + 1).contains(&wait), "{wait} for {told}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_id_makes_it_forget() {
    let script = Scripted::new([
        Answer::stream(["id: 1\ndata: x\n\nid\ndata: y\n\n"]),
        Answer::stream(["id: 5\n\nid: 6\0\ndata: z\n\n"]),
        Answer::stream(["id: 7\ndata: never ended"]),
    ]);
    let mut client = script.client().after("0");
    assert_eq!(client.last_event_id(), "0");
    let ids: Vec<_> = client
        .collect(3)
        .await
        .expect("three")
        .into_iter()
        .map(|delivery| delivery.message().expect("no gap").last_event_id.clone())
        .collect();
    assert_eq!(ids, ["1", "", "5"]);
    let status = client.next().await.expect_err("204").reason;
    assert_eq!(
        status,
        IncompleteReason::Status(http::StatusCode::NO_CONTENT)
    );
    let asked = script.asked();
    let ids: Vec<_> = asked
        .iter()
        .map(|asked| asked.header("last-event-id"))
        .collect();
    assert_eq!(ids, [Some("0"), None, Some("5"), Some("5")]);
}

#[tokio::test(start_paused = true)]
async fn an_id_is_sent_as_utf_8_if_a_header_can_hold_it() {
    let script = Scripted::new([
        Answer::stream(["id:  é \t\n\n"]),
        Answer::stream(["id: \u{1}\ndata: x\n\n"]),
    ]);
    let mut client = script.client();
    assert_eq!(client.next().await.expect("a message"), "x");
    let id = script.asked()[1].headers["last-event-id"].clone();
    assert_eq!(id.as_bytes(), "é".as_bytes());

    let failed = client.next().await.expect_err("no such header");
    let reason = IncompleteReason::LastEventId("\u{1}".into());
    assert_eq!((failed.reason, failed.state), (reason, ReadyState::Closed));
    assert_eq!(client.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn any_other_status_is_the_end() {
    for status in [
        201, 204, 206, 301, 307, 400, 401, 404, 429, 500, 502, 503, 504,
    ] {
        let script = Scripted::new([
            Answer::stream(["data: x\n\n"]),
            Answer::status(status),
            Answer::stream(["data: never asked for\n\n"]),
        ]);
        let mut client = script.client();
        let failed = client.collect(2).await.expect_err("the end");
        assert_eq!(failed.received, ["x"]);
        let reason = IncompleteReason::Status(status.try_into().expect("a status"));
        assert_eq!(
            (&failed.reason, failed.state),
            (&reason, ReadyState::Closed)
        );
        assert_eq!(failed.requests, 2);
        // For good, at once, and a cut does not change it.
        client.cut();
        let before = Instant::now();
        assert_eq!(client.open().await.expect_err("the end").reason, reason);
        assert_eq!(
            client.until_break().await.expect_err("the end").reason,
            reason
        );
        let quiet = client.until_quiet(SECOND).await;
        assert_eq!(quiet.expect_err("the end").reason, reason);
        assert_eq!(before.elapsed(), Duration::ZERO);
        assert_eq!(script.asked().len(), 2);
        assert_eq!(client.response().expect("a head").status, status);
    }
}

#[tokio::test(start_paused = true)]
async fn the_content_type_is_that_of_event_streams() {
    for (content_type, is_one) in [
        (Some("text/event-stream"), true),
        (Some("text/event-stream;charset=utf-8"), true),
        (Some("Text/Event-Stream ; charset=\"UTF-8\""), true),
        (Some("text/event-stream;"), true),
        (Some("text/event-streams"), false),
        (Some("text/event-stream, text/html"), false),
        (Some("text/plain"), false),
        (Some("text /event-stream"), false),
        (Some(""), false),
        (None, false),
    ] {
        let body = vec![Ok(Bytes::from("data: x\n\n"))];
        let script = Scripted::new([Answer::Head(200, content_type, body)]);
        let mut client = script.client();
        match client.next().await {
            Ok(delivery) => assert!(is_one && delivery == "x", "{content_type:?}"),
            Err(failed) => {
                assert!(!is_one, "{content_type:?}");
                let reason = IncompleteReason::ContentType(content_type.map(str::to_owned));
                assert_eq!(failed.reason, reason);
                assert_eq!(client.state(), ReadyState::Closed);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_loses_what_was_not_handed_out() {
    let all = "id: 1\ndata: one\n\nid: 2\ndata: two\n\n";
    let script = Scripted::new([Answer::stream([all]), Answer::stream([all])]);
    let mut client = script.client();
    assert_eq!(client.next().await.expect("the first"), "one");
    client.cut();
    assert_eq!(client.state(), ReadyState::Connecting);
    assert_eq!(client.last_event_id(), "1");
    assert_eq!(client.last_break(), Some(&Break::Cut));
    assert_eq!(client.collect(2).await.expect("again"), ["one", "two"]);
    let asked = script.asked();
    assert_eq!(asked[1].header("last-event-id"), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_cut_is_at_its_byte() {
    let block = "id: 1\r\ndata: one\r\n\r\n";
    for bytes in 0..=block.len() as u64 + 1 {
        let script = Scripted::new([
            Answer::stream([block, "\n"]),
            Answer::stream(["data: again\n\n"]),
        ]);
        let mut client = script.client();
        client.cut_after(bytes);
        let received = client.until_break().await.expect("a break");
        // The CR of the blank line ends the block.
        let is_whole = bytes >= block.len() as u64 - 1;
        assert_eq!(received.len(), usize::from(is_whole), "{bytes}");
        assert_eq!(client.last_event_id(), if is_whole { "1" } else { "" });
        assert_eq!(client.last_break(), Some(&Break::Cut), "{bytes}");
        // Once.
        assert_eq!(client.next().await.expect("a message"), "again");
        assert_eq!(client.until_break().await.expect("an end").len(), 0);
        assert_eq!(client.last_break(), Some(&Break::Ended));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_being_asked_can_be_cut_too() {
    let script = Scripted::new([Answer::Hangs, Answer::stream(["data: x\n\n"])]);
    let mut client = script.client().limit(SECOND);
    let failed = client.open().await.expect_err("no answer");
    assert_eq!(failed.reason, IncompleteReason::Limit(SECOND));
    assert_eq!((failed.state, failed.requests), (ReadyState::Connecting, 1));
    client.cut();
    let mut client = client.limit(4 * SECOND);
    assert_eq!(client.next().await.expect("a message"), "x");
    assert_eq!(client.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_one_if_it_can_be_read() {
    let id = "AAAAAAAAAAA-9";
    let gap = |data: &str, id: &str| format!("event: gap\nid: {id}\ndata: {data}\n\n");
    let ours = [
        r#"{"reason":"evicted","missed":"17","from":"AAAAAAAAAAA-1","resume":"AAAAAAAAAAA-9"}"#,
        r#"{"reason":"epoch","resume":"AAAAAAAAAAA-9"}"#,
        r#"{ "resume" : "AAAAAAAAAAA-9", "reason" : "slow", "later" : "more" }"#,
    ];
    let others = [
        (r#"{"reason":"evicted","resume":"AAAAAAAAAAA-8"}"#, id),
        (r#"{"reason":"bored","resume":"AAAAAAAAAAA-9"}"#, id),
        (
            r#"{"reason":"slow","missed":"-1","resume":"AAAAAAAAAAA-9"}"#,
            id,
        ),
        (r#"{"reason":"slow"}"#, id),
        (r#"{}"#, id),
        ("minded", id),
        ("", id),
        (ours[1], ""),
    ];
    for data in ours {
        let stream: &str = gap(data, id).leak();
        let mut client = Scripted::new([Answer::stream([stream])]).client();
        let delivery = client.next().await.expect("a gap");
        let gap = delivery.gap().expect("a gap");
        assert_eq!(gap.resume.to_string(), id);
        assert_eq!(delivery.message(), None);
        let is_evicted = gap.reason == GapReason::Evicted;
        assert_eq!(gap.missed, is_evicted.then_some(17));
        assert_eq!(gap.from.is_some(), is_evicted);
    }
    for (data, id) in others {
        let stream: &str = gap(data, id).leak();
        let mut client = Scripted::new([Answer::stream([stream])]).client();
        let delivery = client.next().await.expect("a message");
        assert_eq!(delivery, Delivery::Message(Message::new("gap", data, id)));
    }
}

#[tokio::test(start_paused = true)]
async fn every_reason_is_read_as_it_is_written() {
    let store = QueueStore::builder()
        .retention(Retention::new().events(1))
        .build();
    let source = EventSource::new(store.clone());
    let mut slow = Client::new(source.clone(), "/");
    slow.open().await.expect("a stream");
    for n in 1..=3 {
        store.submit(Event::new(n.to_string())).expect("open");
    }
    let received = slow.collect(2).await.expect("a gap and one");
    let gap = received[0].gap().expect("a gap");
    assert_eq!((gap.reason, gap.missed), (GapReason::Slow, Some(2)));
    assert_eq!(received[1], "3");

    for (id, reason) in [
        ("no id", GapReason::Malformed),
        ("AAAAAAAAAAA-1", GapReason::Epoch),
        (&slow.last_event_id().replace("-3", "-9"), GapReason::Ahead),
        (
            &slow.last_event_id().replace("-3", "-1"),
            GapReason::Evicted,
        ),
    ] {
        let mut client = Client::new(source.clone(), "/").after(id);
        let delivery = client.next().await.expect("a gap");
        assert_eq!(delivery.gap().map(|gap| gap.reason), Some(reason), "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_function_answers_too() {
    async fn hello(request: Request<String>) -> Result<Response<String>, Infallible> {
        let body = format!("data: hello {}\n\n", request.uri());
        let response = Response::builder().header("content-type", "text/event-stream");
        Ok(response.body(body).expect("a response"))
    }
    let mut client = Client::from_fn(hello, "/you");
    assert_eq!(client.next().await.expect("a message"), "hello /you");

    let store = QueueStore::new();
    let events = EventSource::new(store.clone());
    let mut client = Client::from_fn(
        move |request| {
            let response = events.respond(&request);
            async { Ok::<_, Infallible>(response) }
        },
        "/",
    );
    client.open().await.expect("a stream");
    store.submit("x").expect("open");
    assert_eq!(client.next().await.expect("a message"), "x");
}

#[test]
fn what_is_no_address_or_header_is_said_at_once() {
    let script = Scripted::default();
    let panics = |make: &dyn Fn() -> Client| {
        let make = std::panic::AssertUnwindSafe(make);
        std::panic::catch_unwind(|| drop(make())).is_err()
    };
    assert!(panics(&|| Client::new(script.clone(), "no address")));
    assert!(panics(&|| script.client().header("no name", "x")));
    assert!(panics(&|| script.client().header("x", "two\nlines")));
    assert!(!panics(&|| script.client().header("x", "y")));
}

#[test]
fn it_can_be_sent_to_a_task() {
    fn sent(_: &impl Send) {}
    let mut client = Scripted::default().client();
    sent(&client);
    sent(&client.until_quiet(SECOND));
}
