//! A client that sends whatever bytes it is told to.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tornadose::WebSocketSubscriber;

use crate::server::{Server, in_memory};
use crate::vocabulary::{PATIENCE, within};

/// The key of the example in RFC 6455, 1.3, and its answer.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The header lines of a good handshake, behind `host`.
pub(crate) const LINES: [&str; 4] = [
    "connection: Upgrade",
    "upgrade: websocket",
    "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
];

pub(crate) fn request(method: &str, target: &str, lines: &[&str]) -> Vec<u8> {
    let mut request = format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\n");
    for line in lines {
        request += line;
        request += "\r\n";
    }
    (request + "\r\n").into_bytes()
}

/// The first byte of frames.
pub(crate) const CONTINUATION: u8 = 0x00;
pub(crate) const TEXT: u8 = 0x01;
pub(crate) const BINARY: u8 = 0x02;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;
pub(crate) const FIN: u8 = 0x80;

/// The head of a client's frame of this length, in the shortest form.
pub(crate) fn head(first: u8, len: u64) -> Vec<u8> {
    let mut head = vec![first];
    match len {
        0..126 => head.push(0x80 | u8::try_from(len).expect("short")),
        126..65_536 => {
            head.push(0x80 | 126);
            head.extend(u16::try_from(len).expect("short").to_be_bytes());
        }
        _ => {
            head.push(0x80 | 127);
            head.extend(len.to_be_bytes());
        }
    }
    head.extend(MASK);
    head
}

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A client's frame.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(first, payload.len() as u64);
    let masked = payload.iter().zip(MASK.iter().cycle());
    frame.extend(masked.map(|(byte, mask)| byte ^ mask));
    frame
}

/// A close with a code.
pub(crate) fn closing(code: u16) -> Vec<u8> {
    frame(CLOSE, &code.to_be_bytes())
}

/// A frame of the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) first: u8,
    pub(crate) payload: Vec<u8>,
}

pub(crate) struct Raw<S = TcpStream> {
    pub(crate) io: S,
    unread: Vec<u8>,
}

impl Raw {
    pub(crate) async fn connect(server: &Server) -> Self {
        let connected = TcpStream::connect(server.address);
        let connected = within(PATIENCE, "to connect", connected).await;
        let socket = connected.expect("a listening server");
        socket.set_nodelay(true).expect("a TCP socket");
        Self::over(socket)
    }

    /// A client whose WebSocket is open.
    pub(crate) async fn open(server: &Server) -> Self {
        let mut client = Self::connect(server).await;
        client.shake().await;
        client
    }

    /// A client of an event stream, with HTTP/1.0 so that nothing frames it.
    pub(crate) async fn events(server: &Server, query: &str) -> Self {
        let mut client = Self::connect(server).await;
        let request = format!("GET /events?{query} HTTP/1.0\r\n\r\n");
        client.send(request.as_bytes()).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
        assert_eq!(client.block().await, ":");
        client
    }

    /// Leaves as a client does whose process was killed.
    pub(crate) fn reset(self) {
        self.io.set_zero_linger().expect("a TCP socket");
    }
}

impl Raw<DuplexStream> {
    /// A client in memory, with room for so many bytes each way.
    pub(crate) async fn in_memory(socket: &WebSocketSubscriber, bytes: usize) -> Self {
        let mut client = Self::over(in_memory(socket, bytes));
        client.shake().await;
        client
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    pub(crate) fn over(io: S) -> Self {
        Self {
            io,
            unread: Vec::new(),
        }
    }

    async fn shake(&mut self) {
        self.send(&request("GET", "/socket", &LINES)).await;
        let head = self.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let sent = within(PATIENCE, "to send", self.io.write_all(bytes)).await;
        sent.expect("a server that reads");
    }

    /// Sends what the server may well cut off in the middle.
    pub(crate) async fn send_as_far_as_it_goes(&mut self, bytes: &[u8]) {
        let _ = within(PATIENCE, "to send", self.io.write_all(bytes)).await;
    }

    /// The head of the next response, without the one line that is different each second.
    pub(crate) async fn head(&mut self) -> String {
        loop {
            let end = self
                .unread
                .windows(4)
                .position(|found| found == b"\r\n\r\n");
            if let Some(end) = end {
                let head: Vec<u8> = self.unread.drain(..end + 4).collect();
                let head = String::from_utf8(head).expect("ASCII");
                let lines = head.split_inclusive("\r\n");
                return lines.filter(|line| !line.starts_with("date: ")).collect();
            }
            assert!(self.read().await, "the connection ends inside a head");
        }
    }

    /// The next frame, which must be whole and as servers send them.
    pub(crate) async fn frame(&mut self) -> Frame {
        loop {
            if let Some((begin, end)) = self.bounds() {
                let mut frame: Vec<u8> = self.unread.drain(..end).collect();
                let payload = frame.split_off(begin);
                let first = frame[0];
                return Frame { first, payload };
            }
            assert!(self.read().await, "the connection ends: {:?}", self.unread);
        }
    }

    /// Where the payload of the first frame begins and ends.
    fn bounds(&self) -> Option<(usize, usize)> {
        let len = *self.unread.get(1)?;
        assert_eq!(len & 0x80, 0, "a server does not mask");
        let (begin, len) = match len {
            127 => {
                let len = self.unread.get(2..10)?.try_into().expect("8 bytes");
                (10, usize::try_from(u64::from_be_bytes(len)).expect("short"))
            }
            126 => {
                let len = self.unread.get(2..4)?.try_into().expect("2 bytes");
                (4, usize::from(u16::from_be_bytes(len)))
            }
            len => (2, usize::from(len)),
        };
        (self.unread.len() >= begin + len).then_some((begin, begin + len))
    }

    /// The next frame, which must be a whole text.
    pub(crate) async fn text(&mut self) -> String {
        let frame = self.frame().await;
        assert_eq!(frame.first, FIN | TEXT, "{frame:?}");
        String::from_utf8(frame.payload).expect("UTF-8")
    }

    /// The code and the reason of the next frame, which must be a close.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        let frame = self.frame().await;
        assert_eq!(frame.first, CLOSE, "{frame:?}");
        let (code, reason) = frame.payload.split_at(2);
        let code = u16::from_be_bytes(code.try_into().expect("2 bytes"));
        (code, String::from_utf8(reason.to_vec()).expect("UTF-8"))
    }

    /// The next block of an event stream, without its blank line.
    pub(crate) async fn block(&mut self) -> String {
        loop {
            if let Some(end) = self.unread.windows(2).position(|found| found == b"\n\n") {
                let mut block: Vec<u8> = self.unread.drain(..end + 2).collect();
                block.truncate(end);
                return String::from_utf8(block).expect("UTF-8");
            }
            assert!(self.read().await, "the stream ends: {:?}", self.unread);
        }
    }

    /// That nothing more comes but the end of the connection.
    pub(crate) async fn ended(&mut self) {
        assert!(!self.read().await, "{:?}", self.unread);
        assert_eq!(self.unread, b"");
    }

    /// Reads once; `false` at the end of the connection.
    async fn read(&mut self) -> bool {
        let read = self.io.read_buf(&mut self.unread);
        let read = within(PATIENCE, "to receive something", read).await;
        read.expect("no reset by the server") > 0
    }
}
