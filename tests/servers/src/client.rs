//! A client of HTTP/1.1 that sees every byte, and the connections below it.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use tokio_rustls::rustls::{ClientConnection, StreamOwned};

use crate::fixture::{Fixture, PATIENCE};
use crate::tls;

#[derive(Debug)]
pub(crate) enum Io {
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Io {
    pub(crate) fn connect(fixture: &Fixture) -> Self {
        let tcp = TcpStream::connect(fixture.address).unwrap();
        tcp.set_nodelay(true).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.set_write_timeout(Some(PATIENCE)).unwrap();
        if !fixture.server.tls {
            return Self::Tcp(tcp);
        }
        let name = tls::NAME.try_into().unwrap();
        let session = ClientConnection::new(tls::client("http/1.1"), name).unwrap();
        Self::Tls(Box::new(StreamOwned::new(session, tcp)))
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Tcp(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref(),
        }
    }
}

impl Read for Io {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.read(buf),
            Self::Tls(tls) => tls.read(buf),
        }
    }
}

impl Write for Io {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}

/// One connection, and what has been read from it.
pub(crate) struct Client {
    io: Io,
    /// What has been read and not yet been looked at.
    raw: Vec<u8>,
    /// What has come out of chunks and not yet been taken.
    body: String,
}

/// The head of a response, names in small letters.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: String,
    pub(crate) headers: BTreeMap<String, String>,
}

impl Head {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

impl Client {
    pub(crate) fn connect(fixture: &Fixture) -> Self {
        Self {
            io: Io::connect(fixture),
            raw: Vec::new(),
            body: String::new(),
        }
    }

    /// A stream, behind its head.
    pub(crate) fn stream(fixture: &Fixture, headers: &[u8]) -> Self {
        let mut client = Self::connect(fixture);
        let head = client.ask("GET", headers);
        assert_eq!(head.status, "HTTP/1.1 200 OK");
        assert_eq!(head.get("transfer-encoding"), Some("chunked"));
        client
    }

    /// A stream, behind its head, its first comment and the id at which it begins.
    pub(crate) fn live(fixture: &Fixture) -> (Self, Id) {
        let mut client = Self::stream(fixture, b"");
        assert_eq!(client.block(), ":");
        let bookmark = client.block();
        (client, Id::of(&bookmark))
    }

    /// Asks for the stream, with these lines in the head, and reads the head of the
    /// answer.
    pub(crate) fn ask(&mut self, method: &str, headers: &[u8]) -> Head {
        self.send(method, headers);
        self.head()
    }

    /// As [`ask`](Self::ask), in the older version.
    pub(crate) fn ask_http_1_0(&mut self) -> Head {
        let request = b"GET /events HTTP/1.0\r\nHost: localhost\r\n\r\n";
        self.io.write_all(request).unwrap();
        self.head()
    }

    /// All that comes, in no chunks, until the connection is closed.
    pub(crate) fn until_closed(&mut self) -> String {
        let mut buf = [0; 4096];
        loop {
            match self.io.read(&mut buf).expect("more, or the end") {
                0 => return String::from_utf8(std::mem::take(&mut self.raw)).unwrap(),
                read => self.raw.extend_from_slice(&buf[..read]),
            }
        }
    }

    pub(crate) fn send(&mut self, method: &str, headers: &[u8]) {
        self.send_to("/events", method, headers);
    }

    /// Asks with a query.
    pub(crate) fn ask_for(&mut self, target: &str, method: &str, headers: &[u8]) -> Head {
        self.send_to(target, method, headers);
        self.head()
    }

    fn send_to(&mut self, target: &str, method: &str, headers: &[u8]) {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n");
        let mut request = request.into_bytes();
        request.extend_from_slice(headers);
        request.extend_from_slice(b"\r\n");
        self.io.write_all(&request).unwrap();
    }

    fn head(&mut self) -> Head {
        let head = self.take_raw(b"\r\n\r\n");
        let mut lines = head.trim_end().lines();
        let status = lines.next().unwrap().to_owned();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").expect("a header");
            (name.to_ascii_lowercase(), value.to_owned())
        });
        let headers = Vec::from_iter(headers);
        let number = headers.len();
        let headers = BTreeMap::from_iter(headers);
        assert_eq!(headers.len(), number, "no header twice: {head}");
        Head { status, headers }
    }

    /// What stands before the next empty line.
    pub(crate) fn block(&mut self) -> String {
        loop {
            if let Some((block, rest)) = self.body.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.body = rest;
                return block;
            }
            assert!(self.chunk(), "the stream ended: {:?}", self.body);
        }
    }

    /// All that is left, up to a clean end.
    pub(crate) fn rest(&mut self) -> String {
        while self.chunk() {}
        std::mem::take(&mut self.body)
    }

    /// Reads a chunk; not if it is the last one.
    fn chunk(&mut self) -> bool {
        let size = self.take_raw(b"\r\n");
        let size = usize::from_str_radix(size.trim_end(), 16).expect("the size of a chunk");
        while self.raw.len() < size + 2 {
            self.fill();
        }
        let chunk: Vec<u8> = self.raw.drain(..size + 2).collect();
        let (chunk, end) = chunk.split_at(size);
        assert_eq!(end, b"\r\n");
        self.body.push_str(str::from_utf8(chunk).unwrap());
        size > 0
    }

    fn take_raw(&mut self, end: &[u8]) -> String {
        loop {
            if let Some(at) = self.raw.windows(end.len()).position(|part| part == end) {
                let part = self.raw.drain(..at + end.len()).collect();
                return String::from_utf8(part).unwrap();
            }
            self.fill();
        }
    }

    fn fill(&mut self) {
        let mut buf = [0; 4096];
        let raw = String::from_utf8_lossy(&self.raw);
        match self.io.read(&mut buf) {
            Ok(0) => panic!("the connection was closed after {raw:?}"),
            Ok(read) => self.raw.extend_from_slice(&buf[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                panic!("nothing came after {raw:?}")
            }
            Err(error) => panic!("{error} after {raw:?}"),
        }
    }

    /// Closes the connection, with everything read: the server gets a FIN.
    pub(crate) fn close(self) {
        assert!(self.raw.is_empty());
    }

    /// Closes the connection while there is something to read: the server gets a RST.
    pub(crate) fn reset(self) {
        let mut byte = [0];
        assert_eq!(self.io.tcp().peek(&mut byte).unwrap(), 1);
    }
}

/// The id of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Id {
    epoch: String,
    pub(crate) offset: u64,
}

impl Id {
    /// That of a block.
    pub(crate) fn of(block: &str) -> Self {
        let id = block.lines().find_map(|line| line.strip_prefix("id: "));
        Self::read(id.unwrap_or_else(|| panic!("no id in {block:?}")))
    }

    pub(crate) fn read(id: &str) -> Self {
        let (epoch, offset) = id.rsplit_once('-').unwrap();
        Self {
            epoch: epoch.to_owned(),
            offset: offset.parse().unwrap(),
        }
    }

    /// Another one of the same log.
    pub(crate) fn at(&self, offset: u64) -> Self {
        Self {
            offset,
            ..self.clone()
        }
    }

    /// The header that a returning client sends.
    pub(crate) fn header(&self) -> Vec<u8> {
        format!("Last-Event-ID: {self}\r\n").into_bytes()
    }

    /// The event of this id with this data.
    pub(crate) fn event(&self, data: &str) -> String {
        format!("id: {self}\ndata: {data}")
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.epoch, self.offset)
    }
}
