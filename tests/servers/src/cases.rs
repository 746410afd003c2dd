//! What must hold, whatever the server.

use std::collections::BTreeMap;
use std::thread;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::{Request, Version};

use crate::client::{Client, Id};
use crate::fixture::Fixture;
use crate::http2;
use crate::servers::Server;

pub(crate) fn the_head_is_exact(server: &'static Server) {
    let fixture = Fixture::new(server);
    let head = Client::connect(&fixture).ask("GET", b"");
    assert_eq!(head.status, "HTTP/1.1 200 OK");
    assert_eq!(
        without_time(head.headers),
        stream_headers(server, &[("transfer-encoding", "chunked")])
    );
}

pub(crate) fn the_first_bytes_leave_before_any_event(server: &'static Server) {
    let fixture = Fixture::new(server);
    let (_client, id) = Client::live(&fixture);
    assert_eq!(id.offset, 0);
    assert_eq!(fixture.store.subscribers(), 1);
}

pub(crate) fn an_event_leaves_at_once(server: &'static Server) {
    let fixture = Fixture::new(server);
    let (mut client, id) = Client::live(&fixture);
    fixture.store.submit("hello").unwrap();
    assert_eq!(client.block(), id.at(1).event("hello"));
}

pub(crate) fn ten_events_arrive_in_order_with_their_ids(server: &'static Server) {
    let fixture = Fixture::new(server);
    let (mut client, id) = Client::live(&fixture);
    let store = fixture.store.clone();
    let submitter = thread::spawn(move || {
        for n in 1..=10 {
            store.submit(n.to_string()).unwrap();
        }
    });
    for n in 1..=10 {
        assert_eq!(client.block(), id.at(n).event(&n.to_string()));
    }
    submitter.join().unwrap();
}

pub(crate) fn a_returning_client_gets_what_it_missed(server: &'static Server) {
    let fixture = Fixture::new(server);
    let (mut client, id) = Client::live(&fixture);
    fixture.store.submit("1").unwrap();
    assert_eq!(client.block(), id.at(1).event("1"));
    client.close();
    submit(&fixture, 2..=5);

    for last in [1, 3] {
        let mut client = Client::stream(&fixture, &id.at(last).header());
        assert_eq!(client.block(), ":");
        for n in last + 1..=5 {
            assert_eq!(client.block(), id.at(n).event(&n.to_string()));
        }
    }

    // Who has missed nothing is told again where it stands, and goes on.
    let mut client = Client::stream(&fixture, &id.at(5).header());
    assert_eq!(client.block(), ":");
    assert_eq!(client.block(), format!("id: {}", id.at(5)));
    submit(&fixture, 6..=6);
    assert_eq!(client.block(), id.at(6).event("6"));
}

pub(crate) fn an_evicted_id_is_told_as_a_gap(server: &'static Server) {
    let fixture = Fixture::retaining(server, 3);
    let (client, id) = Client::live(&fixture);
    client.close();
    submit(&fixture, 1..=10);

    let mut client = Client::stream(&fixture, &id.at(2).header());
    assert_eq!(client.block(), ":");
    let (from, resume) = (id.at(2), id.at(7));
    assert_eq!(
        client.block(),
        format!(
            "event: gap\nid: {resume}\ndata: {{\"reason\":\"evicted\",\"missed\":\"5\",\
             \"from\":\"{from}\",\"resume\":\"{resume}\"}}"
        )
    );
    for n in 8..=10 {
        assert_eq!(client.block(), id.at(n).event(&n.to_string()));
    }
}

pub(crate) fn an_id_that_cannot_be_read_is_told_as_a_gap(server: &'static Server) {
    let fixture = Fixture::new(server);
    let (client, id) = Client::live(&fixture);
    client.close();
    submit(&fixture, 1..=2);

    let two = [id.at(1).header(), id.at(1).header()].concat();
    let long = format!("Last-Event-ID: {}\r\n", "a".repeat(4000));
    let mut unreadable = vec![
        b"Last-Event-ID: nonsense\r\n".to_vec(),
        b"Last-Event-ID: \xc3\xa9\r\n".to_vec(),
        long.into_bytes(),
        two,
    ];
    if server.takes_any_bytes {
        unreadable.push(b"Last-Event-ID: \xff\xfe\r\n".to_vec());
    }
    for headers in unreadable {
        let mut client = Client::stream(&fixture, &headers);
        assert_eq!(client.block(), ":");
        let resume = id.at(2);
        assert_eq!(
            client.block(),
            format!(
                "event: gap\nid: {resume}\n\
                 data: {{\"reason\":\"malformed\",\"resume\":\"{resume}\"}}"
            ),
            "{}",
            String::from_utf8_lossy(&headers)
        );
    }
}

pub(crate) fn a_client_that_must_not_go_on_is_answered_204(server: &'static Server) {
    let fixture = Fixture::stopping(server);
    let mut client = Client::connect(&fixture);
    let head = client.ask("GET", b"Last-Event-ID: nonsense\r\n");
    assert_eq!(head.status, "HTTP/1.1 204 No Content");
    assert_eq!(head.get("content-type"), None);
    assert_eq!(head.get("content-length"), None);
    assert_eq!(head.get("transfer-encoding"), None);
    assert_eq!(fixture.store.subscribers(), 0);

    // No byte of a body: what comes next is the next head.
    assert_eq!(client.ask("GET", b"").status, "HTTP/1.1 200 OK");
    assert_eq!(client.block(), ":");
}

pub(crate) fn a_hook_sees_the_whole_head(server: &'static Server) {
    let fixture = Fixture::guarded(server);
    let ask = |target: &str, headers: &str| {
        let mut client = Client::connect(&fixture);
        let head = client.ask_for(target, "GET", headers.as_bytes());
        (client, head)
    };
    let ids: Vec<_> = (1..=3)
        .map(|n| {
            fixture
                .store
                .submit(n.to_string())
                .unwrap()
                .id()
                .expect("in memory")
        })
        .collect();

    let page = "Origin: https://page.example\r\n";
    let refused = ask("/events?room=red", page).1;
    assert!(
        refused.status.starts_with("HTTP/1.1 401"),
        "{}",
        refused.status
    );
    assert_eq!(
        refused.get("access-control-allow-origin"),
        Some("https://page.example")
    );
    let unknown = ask("/events?room=blue", "X-User: ann\r\n").1;
    assert!(
        unknown.status.starts_with("HTTP/1.1 404"),
        "{}",
        unknown.status
    );
    assert_eq!(fixture.store.subscribers(), 0);

    // What an EventSource that cannot set headers sends.
    let target = format!("/events?room=red&lastEventId={}", ids[1]);
    let (mut client, permitted) = ask(&target, "X-User: ann\r\n");
    assert_eq!(permitted.status, "HTTP/1.1 200 OK");
    assert_eq!(permitted.get("access-control-allow-origin"), None);
    assert_eq!(permitted.get("vary"), Some("origin"));
    assert_eq!(client.block(), ":");
    assert_eq!(client.block(), format!("id: {}\ndata: 3", ids[2]));

    let preflight = format!("{page}Access-Control-Request-Method: GET\r\n");
    let allowed = Client::connect(&fixture).ask("OPTIONS", preflight.as_bytes());
    assert!(
        allowed.status.starts_with("HTTP/1.1 204"),
        "{}",
        allowed.status
    );
    assert_eq!(
        allowed.get("access-control-allow-origin"),
        Some("https://page.example")
    );
    assert_eq!(
        allowed.get("access-control-allow-headers"),
        Some("last-event-id, cache-control")
    );
}

pub(crate) fn a_wrong_method_is_told_the_right_ones(server: &'static Server) {
    let fixture = Fixture::new(server);
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let mut client = Client::connect(&fixture);
        let head = client.ask(method, b"Content-Length: 0\r\n");
        assert_eq!(head.status, "HTTP/1.1 405 Method Not Allowed", "{method}");
        let allow = head.get("allow").expect("who is refused is told why");
        let allow = Vec::from_iter(allow.split(',').map(str::trim));
        assert_eq!(allow, ["GET", "HEAD"], "{method}");
        assert_eq!(head.get("content-type"), None, "{method}");
        assert_eq!(head.get("content-length"), Some("0"), "{method}");
    }
    assert_eq!(fixture.store.subscribers(), 0);
}

pub(crate) fn head_is_the_head_alone(server: &'static Server) {
    let fixture = Fixture::new(server);
    let mut client = Client::connect(&fixture);
    let head = client.ask("HEAD", b"");
    assert_eq!(head.status, "HTTP/1.1 200 OK");
    assert_eq!(
        without_time(head.headers),
        stream_headers(server, server.head_headers)
    );
    assert_eq!(fixture.store.subscribers(), 0);

    // No byte of a body: what comes next is the next head.
    assert_eq!(client.ask("GET", b"").status, "HTTP/1.1 200 OK");
    assert_eq!(client.block(), ":");
}

pub(crate) fn a_client_that_closes_is_noticed(server: &'static Server) {
    let fixture = Fixture::noticing(server, server.notices_leaving);
    let (client, _) = Client::live(&fixture);
    fixture.has_subscribers(1);
    client.close();
    fixture.has_subscribers(0);
}

pub(crate) fn a_client_that_resets_is_noticed(server: &'static Server) {
    let fixture = Fixture::noticing(server, server.notices_leaving);
    let mut client = Client::connect(&fixture);
    client.send("GET", b"");
    fixture.has_subscribers(1);
    client.reset();
    fixture.has_subscribers(0);
}

pub(crate) fn a_shutdown_ends_the_stream_cleanly(server: &'static Server) {
    let fixture = Fixture::new(server);
    let (mut client, id) = Client::live(&fixture);
    fixture.store.submit("last").unwrap();
    fixture.shutdown.begin();
    let rest = client.rest();
    let farewell = rest.strip_prefix(&id.at(1).event("last"));
    is_farewell(farewell.expect("the event").trim_start());
    fixture.has_subscribers(0);
}

pub(crate) fn the_server_can_stop_once_a_shutdown_has_begun(server: &'static Server) {
    let mut fixture = Fixture::new(server);
    let (mut client, _) = Client::live(&fixture);
    fixture.shutdown.begin();
    fixture.stop();
    is_farewell(&client.rest());
    client.close();
    fixture.has_stopped();
}

pub(crate) fn twenty_streams_share_one_connection(server: &'static Server) {
    let fixture = Fixture::noticing(server, server.notices_cancelling);
    let talk = async {
        let mut connection = http2::connect(&fixture).await;
        let mut streams = Vec::new();
        for _ in 0..20 {
            let request = Request::get("http://localhost/events");
            let request = request.body(Empty::<Bytes>::new()).unwrap();
            let response = connection.send_request(request).await.unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(response.version(), Version::HTTP_2);
            let headers = response.headers().iter();
            let headers = headers.map(|(name, value)| {
                let value = value.to_str().unwrap();
                (name.as_str().to_owned(), value.to_owned())
            });
            assert_eq!(without_time(headers.collect()), stream_headers(server, &[]));
            streams.push(Stream::new(response.into_body()));
        }
        let mut ids = Vec::new();
        for stream in &mut streams {
            assert_eq!(stream.block().await, ":");
            ids.push(Id::of(&stream.block().await));
        }
        fixture.has_subscribers(20);

        fixture.store.submit("to all").unwrap();
        for (stream, id) in streams.iter_mut().zip(&ids) {
            assert_eq!(stream.event().await, id.at(1).event("to all"));
        }

        // Each stream is left by itself.
        streams.truncate(10);
        fixture.has_subscribers(10);
        fixture.shutdown.begin();
        for stream in &mut streams {
            is_farewell(&stream.rest().await);
        }
        fixture.has_subscribers(0);
    };
    http2::talk(talk);
}

/// Only of a server that tells its handlers of its own shutdown.
pub(crate) fn the_servers_own_shutdown_ends_the_stream(server: &'static Server) {
    let mut fixture = Fixture::new(server);
    let (mut client, _) = Client::live(&fixture);
    fixture.stop();
    is_farewell(&client.rest());
    client.close();
    fixture.has_stopped();
    assert!(!fixture.shutdown.has_begun());
}

pub(crate) fn a_client_of_http_1_0_reads_to_the_end(server: &'static Server) {
    let fixture = Fixture::new(server);
    let mut client = Client::connect(&fixture);
    let head = client.ask_http_1_0();
    assert!(head.status.ends_with(" 200 OK"), "{}", head.status);
    assert_eq!(head.get("transfer-encoding"), None);
    assert_eq!(head.get("content-length"), None);
    fixture.store.submit("hello").unwrap();
    fixture.shutdown.begin();
    let body = client.until_closed();
    let (comment, rest) = body.split_once("\n\n").unwrap();
    assert_eq!(comment, ":");
    let (bookmark, rest) = rest.split_once("\n\n").unwrap();
    let (event, rest) = rest.split_once("\n\n").unwrap();
    assert_eq!(event, Id::of(bookmark).at(1).event("hello"));
    is_farewell(rest);
}

/// The head of a stream, and what is said of how its body comes.
fn stream_headers(server: &Server, framing: &[(&str, &str)]) -> BTreeMap<String, String> {
    let ours = [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store, no-transform"),
        ("x-accel-buffering", "no"),
    ];
    let all = ours.iter().chain(framing).chain(server.own_headers);
    let all = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    all.collect()
}

fn without_time(mut headers: BTreeMap<String, String>) -> BTreeMap<String, String> {
    headers.remove("date");
    headers
}

fn is_farewell(bytes: &str) {
    let retry = bytes.trim_start_matches(":\n\n").strip_prefix("retry: ");
    let retry = retry.and_then(|retry| retry.strip_suffix("\n\n"));
    let retry = retry.unwrap_or_else(|| panic!("{bytes:?} is no farewell"));
    assert!((2000..=6000).contains(&retry.parse::<u32>().unwrap()));
}

fn submit(fixture: &Fixture, numbers: std::ops::RangeInclusive<u64>) {
    for n in numbers {
        fixture.store.submit(n.to_string()).unwrap();
    }
}

/// With prior knowledge, or by what the TLS handshake agrees on.
/// A stream of HTTP/2.
struct Stream {
    incoming: Incoming,
    body: String,
}

impl Stream {
    fn new(incoming: Incoming) -> Self {
        let body = String::new();
        Self { incoming, body }
    }

    async fn block(&mut self) -> String {
        loop {
            if let Some((block, rest)) = self.body.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.body = rest;
                return block;
            }
            assert!(self.frame().await, "the stream ended: {:?}", self.body);
        }
    }

    /// The next block that is not there to keep the stream alive.
    async fn event(&mut self) -> String {
        loop {
            let block = self.block().await;
            if block != ":" {
                return block;
            }
        }
    }

    /// All that is left, up to a clean end.
    async fn rest(&mut self) -> String {
        while self.frame().await {}
        std::mem::take(&mut self.body)
    }

    async fn frame(&mut self) -> bool {
        let Some(frame) = self.incoming.frame().await else {
            return false;
        };
        let data = frame.unwrap().into_data().expect("no trailers");
        self.body.push_str(str::from_utf8(&data).unwrap());
        true
    }
}
