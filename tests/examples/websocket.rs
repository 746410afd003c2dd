//! The demo of both protocols, by a WebSocket client that is written down here.

use std::net::Shutdown;

use serde_json::{Value, json};

use super::*;

#[test]
fn both_protocols_tell_the_same() {
    let demo = Demo::start("websocket", &["--every", "20"]);
    let first = demo.get("/events", "").event();
    let back = format!("Last-Event-ID: {}\r\n", first.id);
    let mut socket = Socket::open(&demo, &format!("?lastEventId={}", first.id));
    let mut stream = demo.get("/events", &back);

    assert_eq!(socket.message(), json!({"id": first.id, "event": "open"}));
    let mut prev = first.id;
    for event in stream.events(50) {
        assert_eq!(
            socket.message(),
            json!({"id": event.id, "prev": prev, "event": "tick", "data": event.data})
        );
        assert_eq!(event.name.as_deref(), Some("tick"));
        prev = event.id;
    }
}

#[test]
fn what_is_said_over_a_socket_is_read_by_all() {
    let demo = Demo::start("websocket", &["--every", "3600000"]);
    let mut stream = demo.get("/events", "");
    let first = stream.event();
    let mut sockets = [(); 2].map(|()| Socket::open(&demo, ""));
    for socket in &mut sockets {
        assert_eq!(socket.message()["event"], "open");
        assert_eq!(socket.message()["id"], first.id);
    }

    let mut prev = first.id;
    for text in ["hello", "<b>\"1\"\u{0}", "{\"event\":\"gap\"}", ""] {
        sockets[0].send(0x81, text.as_bytes());
        let event = stream.event();
        assert_eq!(event.name, None);
        for socket in &mut sockets {
            assert_eq!(
                socket.message(),
                json!({"id": event.id, "prev": prev, "event": "message", "data": text})
            );
        }
        prev = event.id;
    }

    // Bytes are nothing to read, and a goodbye is answered.
    sockets[0].send(0x82, b"\xff");
    sockets[0].send(0x88, &1000u16.to_be_bytes());
    assert_eq!(sockets[0].frame(), (0x88, 1000u16.to_be_bytes().to_vec()));
    sockets[0].ends();
    sockets[1].send(0x81, b"still here");
    assert_eq!(sockets[1].message()["data"], "still here");
}

#[test]
fn who_was_away_for_too_long_is_told_so_by_both() {
    let demo = Demo::start("websocket", &["--every", "3600000"]);
    let first = demo.get("/events", "").event();
    let mut socket = Socket::open(&demo, "");
    for number in 0..30 {
        socket.send(0x81, number.to_string().as_bytes());
    }
    while socket.message()["data"] != "29" {}

    // 31 events, of which 20 are left.
    let mut back = Socket::open(&demo, &format!("?lastEventId={}", first.id));
    assert_eq!(back.message(), json!({"event": "open"}));
    let gap = back.message();
    assert_eq!(gap["event"], "gap");
    assert_eq!(gap["data"]["reason"], "evicted");
    assert_eq!(gap["data"]["missed"], "10");
    assert_eq!(gap["data"]["from"], first.id);
    assert_eq!(gap["data"]["resume"], gap["id"]);
    let next = back.message();
    assert_eq!(next["prev"], gap["id"]);
    assert_eq!(next["data"], "10");

    let same = format!("Last-Event-ID: {}\r\n", first.id);
    let told = demo.get("/events", &same).event();
    assert_eq!(told.id, gap["id"]);
    let told: Value = serde_json::from_str(&told.data).expect("JSON");
    assert_eq!(told, gap["data"]);
}

#[test]
fn only_a_websocket_of_our_own_pages_is_opened() {
    let demo = Demo::start("websocket", &[]);
    let status = |headers: &str| demo.get("/socket", headers).status;
    let origin = |origin: &str| status(&format!("{UPGRADE}origin: {origin}\r\n"));
    let own = format!("http://{}", demo.addr);
    assert_eq!(origin(&own), "HTTP/1.1 101 Switching Protocols");
    for other in ["http://127.0.0.1:1", "https://example.org", "null"] {
        assert_eq!(origin(other), "HTTP/1.1 403 Forbidden");
    }
    assert_eq!(status(""), "HTTP/1.1 426 Upgrade Required");
}

#[test]
fn sigint_ends_the_streams_of_websocket() {
    a_signal_ends_all_streams("websocket", "INT");
}

#[test]
fn sigterm_ends_the_streams_of_websocket() {
    a_signal_ends_all_streams("websocket", "TERM");
}

#[test]
fn a_signal_closes_the_sockets_with_the_time_to_come_back() {
    for signal in ["INT", "TERM"] {
        let mut demo = Demo::start("websocket", &["--every", "20"]);
        let mut sockets: Vec<_> = (0..20).map(|_| Socket::open(&demo, "")).collect();
        for socket in &mut sockets {
            assert_eq!(socket.message()["event"], "open");
        }
        let took = demo.signal(signal);
        for socket in &mut sockets {
            let close = loop {
                let (head, payload) = socket.frame();
                if head == 0x88 {
                    break payload;
                }
            };
            let (code, reason) = close.split_first_chunk().expect("a code");
            assert_eq!(u16::from_be_bytes(*code), 1012);
            let reason = str::from_utf8(reason).expect("UTF-8");
            let millis = reason.strip_prefix("retry: ").expect(reason);
            let millis: u32 = millis.parse().expect("a number");
            assert!((2000..=6000).contains(&millis), "{reason}");
            socket.ends();
        }
        let took = took.elapsed_until(|| demo.wait_for_success());
        eprintln!("websocket ended {took:?} after SIG{signal} with open sockets");
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
}

const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// RFC 6455 by hand.
struct Socket {
    reader: BufReader<TcpStream>,
}

impl Socket {
    fn open(demo: &Demo, query: &str) -> Self {
        let response = demo.get(&format!("/socket{query}"), UPGRADE);
        assert_eq!(response.status, "HTTP/1.1 101 Switching Protocols");
        // The example of RFC 6455, 1.3.
        let accept = response.header("sec-websocket-accept");
        assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        Self {
            reader: response.reader,
        }
    }

    /// The next frame: its first byte and its payload.
    fn frame(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.reader.read_exact(&mut head).expect("a frame");
        let [first, len] = head;
        let len = match len {
            126 => {
                let mut len = [0; 2];
                self.reader.read_exact(&mut len).expect("a length");
                u16::from_be_bytes(len).into()
            }
            len => usize::from(len),
        };
        assert!(len <= 0xffff, "neither masked nor long");
        let mut payload = vec![0; len];
        self.reader.read_exact(&mut payload).expect("a payload");
        (first, payload)
    }

    /// The next text.
    fn message(&mut self) -> Value {
        let (first, payload) = self.frame();
        assert_eq!(first, 0x81, "{}", String::from_utf8_lossy(&payload));
        serde_json::from_slice(&payload).expect("JSON")
    }

    fn send(&self, first: u8, payload: &[u8]) {
        let mask = [0x12, 0x34, 0x56, 0x78];
        let len = u8::try_from(payload.len()).expect("short");
        assert!(len < 126, "short");
        let mut frame = vec![first, 0x80 | len];
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
        self.reader.get_ref().write_all(&frame).expect("sent");
    }

    /// Judges that nothing more comes, once we hang up.
    fn ends(&mut self) {
        let _ = self.reader.get_ref().shutdown(Shutdown::Write);
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest).expect("the end");
        assert_eq!(rest, b"");
    }
}
