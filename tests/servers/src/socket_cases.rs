//! What must hold of WebSockets, whatever the server.

use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tungstenite::Message;

use crate::client::{Client, Id};
use crate::fixture::Fixture;
use crate::http2;
use crate::servers::Server;
use crate::socket::Socket;

fn event(id: &Id, data: &str) -> String {
    let prev = id.at(id.offset - 1);
    format!(r#"{{"id":"{id}","prev":"{prev}","event":"message","data":"{data}"}}"#)
}

fn submit(fixture: &Fixture, numbers: std::ops::RangeInclusive<u64>) {
    for n in numbers {
        fixture.store.submit(n.to_string()).unwrap();
    }
}

pub(crate) fn it_is_told_at_once_where_it_begins(server: &'static Server) {
    let fixture = Fixture::speaking(server);
    let (_socket, id) = Socket::live(&fixture);
    assert_eq!(id.offset, 0);
    assert_eq!(fixture.store.subscribers(), 1);
}

pub(crate) fn events_leave_at_once_and_in_order(server: &'static Server) {
    let fixture = Fixture::speaking(server);
    let (mut socket, id) = Socket::live(&fixture);
    for n in 1..=10 {
        submit(&fixture, n..=n);
        assert_eq!(socket.text(), event(&id.at(n), &n.to_string()));
    }
    submit(&fixture, 11..=60);
    for n in 11..=60 {
        assert_eq!(socket.text(), event(&id.at(n), &n.to_string()));
    }
}

pub(crate) fn a_large_event_arrives_whole(server: &'static Server) {
    let fixture = Fixture::speaking(server);
    let (mut socket, id) = Socket::live(&fixture);
    let large = "x".repeat(900_000);
    fixture.store.submit(large.clone()).unwrap();
    fixture.store.submit("small").unwrap();
    assert!(socket.text() == event(&id.at(1), &large));
    assert_eq!(socket.text(), event(&id.at(2), "small"));
}

pub(crate) fn a_returning_client_gets_what_it_missed(server: &'static Server) {
    let fixture = Fixture::speaking(server);
    let (socket, id) = Socket::live(&fixture);
    socket.leave();
    submit(&fixture, 1..=5);
    for last in [1, 3, 5] {
        let target = format!("/socket?lastEventId={}", id.at(last));
        let mut socket = Socket::open(&fixture, &target);
        let open = format!(r#"{{"id":"{}","event":"open"}}"#, id.at(last));
        assert_eq!(socket.text(), open);
        for n in last + 1..=5 {
            assert_eq!(socket.text(), event(&id.at(n), &n.to_string()));
        }
    }
}

pub(crate) fn an_evicted_id_is_told_as_a_gap(server: &'static Server) {
    let fixture = Fixture::speaking_of(server, 3);
    let (socket, id) = Socket::live(&fixture);
    socket.leave();
    submit(&fixture, 1..=10);
    let (from, resume) = (id.at(2), id.at(7));
    let mut socket = Socket::open(&fixture, &format!("/socket?lastEventId={from}"));
    assert_eq!(socket.text(), r#"{"event":"open"}"#);
    assert_eq!(
        socket.text(),
        format!(
            r#"{{"id":"{resume}","event":"gap","data":{{"reason":"evicted","missed":"5","from":"{from}","resume":"{resume}"}}}}"#
        )
    );
    for n in 8..=10 {
        assert_eq!(socket.text(), event(&id.at(n), &n.to_string()));
    }
}

pub(crate) fn what_a_client_sends_is_heard_and_answered(server: &'static Server) {
    let fixture = Fixture::speaking(server);
    let (mut socket, id) = Socket::live(&fixture);
    socket.send(Message::text("hello"));
    assert_eq!(socket.text(), "heard hello");
    submit(&fixture, 1..=1);
    assert_eq!(socket.text(), event(&id.at(1), "1"));
    socket.send(Message::Ping(Bytes::from_static(b"there?")));
    assert_eq!(
        socket.message(),
        Message::Pong(Bytes::from_static(b"there?"))
    );
    let long = "x".repeat(64 << 10);
    socket.send(Message::text(long.clone()));
    assert!(socket.text() == format!("heard {long}"));
    socket.send(Message::text(long + "x"));
    let closed = socket.is_closed();
    assert_eq!(closed, (1009, "message too big".to_owned()));
    fixture.has_subscribers(0);
}

pub(crate) fn who_may_not_is_refused_and_leaves_nothing_behind(server: &'static Server) {
    let fixture = Fixture::guarding_sockets(server);
    let ask = |target, headers: &[(&'static str, &str)]| {
        let asked = Socket::ask(&fixture, target, headers);
        asked.map(drop).map_err(|status| status.as_u16())
    };
    let ann = ("x-user", "ann");
    assert_eq!(ask("/socket?room=red", &[]), Err(401));
    assert_eq!(ask("/socket?room=blue", &[ann]), Err(404));
    let evil = ("origin", "https://evil.example");
    assert_eq!(ask("/socket?room=red", &[ann, evil]), Err(403));
    assert_eq!(
        ask("/socket?room=red", &[ann, ("origin", "null")]),
        Err(403)
    );
    assert_eq!(fixture.store.subscribers(), 0);

    let same = ("origin", "http://localhost");
    let socket = Socket::ask(&fixture, "/socket?room=red", &[ann, same]);
    let mut socket = socket.expect("101");
    assert!(socket.text().ends_with(r#","event":"open"}"#));

    // Not a WebSocket, or none that we know.
    let mut client = Client::connect(&fixture);
    let head = client.ask_for("/socket?room=red", "GET", b"X-User: ann\r\n");
    assert!(head.status.starts_with("HTTP/1.1 426"), "{}", head.status);
    assert_eq!(head.get("sec-websocket-version"), Some("13"));
    let mut client = Client::connect(&fixture);
    let head = client.ask_for("/socket?room=red", "POST", b"Content-Length: 0\r\n");
    assert!(head.status.starts_with("HTTP/1.1 405"), "{}", head.status);
    assert_eq!(fixture.store.subscribers(), 1);
}

pub(crate) fn who_leaves_is_noticed(server: &'static Server) {
    let fixture = Fixture::speaking(server);
    let (socket, _) = Socket::live(&fixture);
    fixture.has_subscribers(1);
    socket.leave();
    fixture.has_subscribers(0);
    let (socket, _) = Socket::live(&fixture);
    fixture.has_subscribers(1);
    socket.vanish();
    fixture.has_subscribers(0);
}

pub(crate) fn who_does_not_answer_is_dropped(server: &'static Server) {
    let fixture = Fixture::pinging(server);
    let (socket, _) = Socket::live(&fixture);
    let _silent = socket.fall_silent();
    fixture.has_subscribers(0);

    // Who answers stays.
    let (mut socket, id) = Socket::live(&fixture);
    for n in 1..=5 {
        std::thread::sleep(std::time::Duration::from_millis(40));
        submit(&fixture, n..=n);
        assert_eq!(socket.text(), event(&id.at(n), &n.to_string()));
    }
}

pub(crate) fn a_shutdown_closes_it_and_the_server_can_stop(server: &'static Server) {
    let mut fixture = Fixture::speaking(server);
    let (mut socket, id) = Socket::live(&fixture);
    fixture.store.submit("last").unwrap();
    fixture.shutdown.begin();
    assert_eq!(socket.text(), event(&id.at(1), "last"));
    let (code, reason) = socket.is_closed();
    assert_eq!(code, 1012);
    let retry: u64 = reason.strip_prefix("retry: ").unwrap().parse().unwrap();
    assert!((2000..=6000).contains(&retry), "{retry}");
    fixture.has_subscribers(0);
    drop(socket);
    fixture.stop();
    fixture.has_stopped();
}

pub(crate) fn a_closed_store_closes_it(server: &'static Server) {
    let fixture = Fixture::speaking(server);
    let (mut socket, _) = Socket::live(&fixture);
    fixture.store.close();
    assert_eq!(socket.is_closed().0, 1001);
    fixture.has_subscribers(0);
}

/// RFC 8441. Only of a server that offers it.
pub(crate) fn it_also_works_inside_http_2(server: &'static Server) {
    let fixture = Fixture::speaking(server);
    http2::talk(async {
        let mut connection = http2::connect(&fixture).await;
        // The settings that allow it come with the first answer.
        let plain = Request::get("http://localhost/socket");
        let plain = plain.body(Empty::<Bytes>::new()).unwrap();
        assert_eq!(connection.send_request(plain).await.unwrap().status(), 400);

        let request = Request::connect("http://localhost/socket")
            .extension(Protocol::from_static("websocket"))
            .header("sec-websocket-version", "13")
            .body(Empty::<Bytes>::new())
            .unwrap();
        let response = connection.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.headers().get("sec-websocket-accept").is_none());
        let upgraded = hyper::upgrade::on(response).await.unwrap();
        let mut io = TokioIo::new(upgraded);

        let open = frame(&mut io).await;
        let id = open.strip_prefix(r#"{"id":""#).unwrap();
        let id = Id::read(id.strip_suffix(r#"","event":"open"}"#).unwrap());
        submit(&fixture, 1..=3);
        for n in 1..=3 {
            assert_eq!(frame(&mut io).await, event(&id.at(n), &n.to_string()));
        }
        io.write_all(b"\x81\x82\0\0\0\0hi").await.unwrap();
        assert_eq!(frame(&mut io).await, "heard hi");
        drop(io);
        fixture.has_subscribers(0);
    });
}

/// A short text, framed as servers do.
async fn frame(io: &mut TokioIo<Upgraded>) -> String {
    let mut head = [0; 2];
    io.read_exact(&mut head).await.unwrap();
    let [text, len] = head;
    assert_eq!((text, len & 0x80), (0x81, 0));
    let mut payload = vec![0; len.into()];
    io.read_exact(&mut payload).await.unwrap();
    String::from_utf8(payload).unwrap()
}
