//! A client that sends whatever bytes it is told to, and the table of what comes back.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tornadose::WebSocketSubscriber;

use crate::echo;

/// How long anything may take that has no bound of its own.
const PATIENCE: Duration = Duration::from_secs(60);

const HANDSHAKE: &[u8] = b"GET / HTTP/1.1\r\n\
    Host: localhost\r\n\
    Connection: Upgrade\r\n\
    Upgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// To be added to an opcode.
pub(crate) const FIN: u8 = 0x80;

pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// What a server says.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Said {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    /// With this code, if any; the reason is for people.
    Close(Option<u16>),
}

/// The protocol was broken.
pub(crate) const BROKEN: Said = Said::Close(Some(1002));
/// Text was not.
pub(crate) const NO_TEXT: Said = Said::Close(Some(1007));
/// The client's own close, answered.
pub(crate) const BYE: Said = Said::Close(Some(1000));

/// The start of a frame with a payload of this length.
pub(crate) fn head(first: u8, len: usize) -> Vec<u8> {
    let mut head = vec![first];
    match len {
        0..126 => head.push(FIN | u8::try_from(len).expect("short")),
        126..65_536 => {
            head.push(FIN | 126);
            head.extend(u16::try_from(len).expect("short").to_be_bytes());
        }
        _ => {
            head.push(FIN | 127);
            head.extend((len as u64).to_be_bytes());
        }
    }
    head.extend(MASK);
    head
}

pub(crate) fn masked(payload: &[u8]) -> Vec<u8> {
    let pairs = payload.iter().zip(MASK.iter().cycle());
    pairs.map(|(byte, mask)| byte ^ mask).collect()
}

pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [head(first, payload.len()), masked(payload)].concat()
}

pub(crate) fn text(payload: &[u8]) -> Vec<u8> {
    frame(FIN | TEXT, payload)
}

pub(crate) fn ping(payload: &[u8]) -> Vec<u8> {
    frame(FIN | PING, payload)
}

pub(crate) fn bye() -> Vec<u8> {
    close(1000, b"")
}

pub(crate) fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, &[&code.to_be_bytes(), reason].concat())
}

/// A message in fragments.
pub(crate) fn fragments(opcode: u8, parts: &[&[u8]]) -> Vec<u8> {
    let last = parts.len() - 1;
    let frames = parts.iter().enumerate().map(|(n, part)| {
        let opcode = if n == 0 { opcode } else { CONTINUATION };
        frame(if n == last { FIN } else { 0 } | opcode, part)
    });
    frames.collect::<Vec<_>>().concat()
}

/// What is sent, and what must come of it: nothing more, and nothing less, until the
/// server closes.
pub(crate) struct Case {
    pub(crate) what: String,
    pub(crate) sent: Vec<u8>,
    pub(crate) said: Vec<Said>,
}

pub(crate) fn case(
    what: impl Into<String>,
    sent: impl IntoIterator<Item = Vec<u8>>,
    said: impl Into<Vec<Said>>,
) -> Case {
    Case {
        what: what.into(),
        sent: sent.into_iter().collect::<Vec<_>>().concat(),
        said: said.into(),
    }
}

/// Speaks to the echo, in every way: with byte after byte there and back, in pieces that
/// fit nothing, and over a socket.
pub(crate) async fn pass(cases: impl IntoIterator<Item = Case>) {
    pass_of(&echo::socket(), cases).await;
}

/// Speaks to this one.
pub(crate) async fn pass_of(socket: &WebSocketSubscriber, cases: impl IntoIterator<Item = Case>) {
    for Case { what, sent, said } in cases {
        for piece in [1, 997] {
            let (client, server) = duplex(piece);
            let server = tokio::spawn(echo::serve(socket.clone(), server));
            let what = format!("{what}, in pieces of {piece}");
            assert_eq!(talk(&what, client, &sent).await, said, "{what}");
            server.await.expect("the server goes on");
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = tokio::spawn(echo::accept(socket.clone(), listener));
        let client = TcpStream::connect(address).await.expect("connected");
        let what = format!("{what}, over a socket");
        assert_eq!(talk(&what, client, &sent).await, said, "{what}");
        server.abort();
    }
}

/// Sends these bytes, and hangs up when the server has closed.
async fn talk<C>(what: &str, client: C, sent: &[u8]) -> Vec<Said>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let talk = async {
        let (mut from, mut to) = split(opened(client).await);
        let write = async {
            to.write_all(sent).await.expect("sent");
            to.flush().await.expect("sent");
        };
        let read = async {
            let mut all = Vec::new();
            while !matches!(all.last(), Some(Said::Close(_))) {
                all.push(hear(&mut from).await);
            }
            all
        };
        let ((), all) = tokio::join!(write, read);
        to.shutdown().await.expect("hung up");
        let mut more = Vec::new();
        from.read_to_end(&mut more).await.expect("the end");
        assert!(more.is_empty(), "{what}: {more:?} after the close");
        all
    };
    timeout(PATIENCE, talk).await.expect(what)
}

/// Sends these bytes and nothing more ever, and reads whatever comes until the server
/// hangs up; in pieces of a byte.
pub(crate) async fn talk_and_hang_up(sent: &[u8]) -> Vec<u8> {
    // With the last handle the store would be closed, too.
    let socket = echo::socket();
    let (client, server) = duplex(1);
    let server = tokio::spawn(echo::serve(socket.clone(), server));
    let talk = async {
        let (mut from, mut to) = split(opened(client).await);
        let write = async {
            to.write_all(sent).await.expect("sent");
            to.shutdown().await.expect("hung up");
        };
        let mut all = Vec::new();
        let ((), read) = tokio::join!(write, from.read_to_end(&mut all));
        read.expect("the end");
        all
    };
    let all = timeout(PATIENCE, talk).await.expect("an end");
    server.await.expect("the server goes on");
    all
}

/// With the handshake behind it.
async fn opened<C: AsyncRead + AsyncWrite + Unpin>(mut client: C) -> C {
    client.write_all(HANDSHAKE).await.expect("sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(client.read_u8().await.expect("an answer"));
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    client
}

/// Reads a frame as a server must write it.
async fn hear(from: &mut (impl AsyncRead + Unpin)) -> Said {
    let first = from.read_u8().await.expect("a frame");
    let len = match from.read_u8().await.expect("a length") {
        126 => from.read_u16().await.expect("a length").into(),
        127 => from.read_u64().await.expect("a length"),
        // With a mask it would be too long here.
        len => len.into(),
    };
    assert!(len < 1 << 20, "{len}");
    let mut payload = vec![0; usize::try_from(len).expect("a length")];
    from.read_exact(&mut payload).await.expect("a payload");
    if first & 0x08 != 0 {
        assert!(payload.len() <= 125);
    }
    match first ^ FIN {
        TEXT => Said::Text(payload),
        BINARY => Said::Binary(payload),
        PONG => Said::Pong(payload),
        CLOSE => Said::Close(payload.split_first_chunk().map(|(code, reason)| {
            str::from_utf8(reason).expect("a reason");
            u16::from_be_bytes(*code)
        })),
        _ => panic!("{first:#x}"),
    }
}

impl std::fmt::Debug for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, payload) = match self {
            Self::Text(payload) => ("text", payload),
            Self::Binary(payload) => ("binary", payload),
            Self::Pong(payload) => ("pong", payload),
            Self::Close(code) => return write!(f, "close {code:?}"),
        };
        let start = payload.get(..32).unwrap_or(payload);
        write!(f, "{name} of {}: {}", payload.len(), start.escape_ascii())
    }
}
