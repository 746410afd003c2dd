//! Whole streams, and the laws that they keep.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tornadose::Position;

use crate::vocabulary::{Server, data, field, is_gap, last_event_id, missed, request};

const PATIENCE: Duration = Duration::from_secs(60);

/// A client that looks at what it got only at the end.
pub(crate) struct Listening {
    socket: TcpStream,
    raw: Vec<u8>,
    /// Before this there is nothing that is still waited for.
    seen: usize,
}

impl Listening {
    /// One whose stream is open, and who has read no more than its head.
    pub(crate) async fn open(server: &Server, after: Option<Position>) -> Self {
        let after = after.map(|id| last_event_id(id.to_string().as_bytes()));
        Self::open_with(server, &after.unwrap_or_default()).await
    }

    /// The same with these lines in its request.
    pub(crate) async fn open_with(server: &Server, lines: &[u8]) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        Self::open_from(server.address, socket, lines).await
    }

    /// The same with small kernel buffers that do not grow.
    pub(crate) async fn open_tight(server: &Server) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(64 << 10).expect("unconnected");
        Self::open_from(server.address, socket, b"").await
    }

    async fn open_from(address: SocketAddr, socket: TcpSocket, lines: &[u8]) -> Self {
        let mut socket = socket.connect(address).await.expect("a server");
        let request = request("GET", lines);
        socket.write_all(&request).await.expect("to send");
        let mut raw = Vec::new();
        while !raw.windows(4).any(|end| end == b"\r\n\r\n") {
            let byte = timeout(PATIENCE, socket.read_u8()).await.expect("in time");
            raw.push(byte.expect("a head"));
        }
        Self {
            socket,
            raw,
            seen: 0,
        }
    }

    pub(crate) fn leave(self) {
        drop(self.socket);
    }

    pub(crate) fn reset(self) {
        self.socket.set_zero_linger().expect("a socket");
        drop(self.socket);
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes).await
    }

    /// Says that it has nothing more to say.
    pub(crate) async fn half_close(&mut self) {
        self.socket.shutdown().await.expect("connected");
    }

    /// Reads so many bytes at most. `0` at the end.
    pub(crate) async fn read(&mut self, most: usize) -> io::Result<usize> {
        let mut part = vec![0; most];
        let read = timeout(PATIENCE, self.socket.read(&mut part)).await;
        let read = read.expect("something in time")?;
        self.raw.extend_from_slice(&part[..read]);
        Ok(read)
    }

    /// Reads until this was read, behind what was waited for before.
    pub(crate) async fn until(&mut self, text: &str) {
        loop {
            let mut places = self.raw[self.seen..].windows(text.len());
            if let Some(place) = places.position(|at| at == text.as_bytes()) {
                self.seen += place;
                return;
            }
            self.seen = self.seen.max(self.raw.len().saturating_sub(text.len()));
            let read = self.read(64 << 10).await.expect("no reset");
            assert!(read > 0, "the end before {text:?}");
        }
    }

    /// Keeps nothing of what it has read: its transcript is no whole one.
    pub(crate) fn forget(&mut self) {
        self.raw.clear();
        self.seen = 0;
    }

    /// Everything until the connection is closed, which must not be by a reset.
    pub(crate) async fn read_to_end(mut self) -> Transcript {
        let read = timeout(PATIENCE, self.socket.read_to_end(&mut self.raw)).await;
        read.expect("the end in time").expect("no reset");
        Transcript::of(&self.raw)
    }

    /// Whether it is reset, once it has read what the kernel still had.
    pub(crate) async fn ends_by_reset(mut self) -> bool {
        let read = timeout(PATIENCE, self.socket.read_to_end(&mut self.raw)).await;
        match read.expect("the end in time") {
            Ok(_) => false,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

/// A stream from its beginning to its proper end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Transcript {
    /// Without comments.
    pub(crate) blocks: Vec<String>,
    pub(crate) comments: usize,
}

impl Transcript {
    /// Of a whole response, which ends as it should.
    fn of(raw: &[u8]) -> Self {
        let end = raw.windows(4).position(|end| end == b"\r\n\r\n");
        let (head, mut rest) = raw.split_at(end.expect("a head") + 4);
        assert!(head.starts_with(b"HTTP/1.1 200 "));
        let mut body = Vec::new();
        loop {
            let line = rest.windows(2).position(|end| end == b"\r\n");
            let (size, chunk) = rest.split_at(line.expect("a chunk"));
            let size = str::from_utf8(size).expect("ASCII");
            let size = usize::from_str_radix(size, 16).expect("a size");
            let chunk = &chunk[2..];
            if size == 0 {
                assert_eq!(chunk, b"\r\n", "the end");
                break;
            }
            body.extend_from_slice(&chunk[..size]);
            rest = chunk[size..].strip_prefix(b"\r\n").expect("a whole chunk");
        }
        let body = String::from_utf8(body).expect("UTF-8");
        let blocks = body.strip_suffix("\n\n").expect("whole blocks");
        let (comments, blocks): (Vec<_>, Vec<_>) = blocks
            .split("\n\n")
            .map(str::to_owned)
            .partition(|block| block == ":");
        Self {
            blocks,
            comments: comments.len(),
        }
    }

    /// Takes the farewell off, which must be the last block.
    pub(crate) fn without_farewell(mut self) -> Self {
        let last = self.blocks.pop().expect("a block");
        let retry = last.strip_prefix("retry: ").expect("a farewell");
        retry.parse::<u64>().expect("milliseconds");
        self
    }

    /// The data of what must be nothing but events, behind a bookmark or none.
    pub(crate) fn events(&self) -> Vec<&str> {
        let events = self.blocks.iter().filter(|block| block.contains('\n'));
        events.map(|block| data(block)).collect()
    }

    /// Judges that each event is the successor of the one before, or of a gap that says how
    /// many were between. Returns where it began, how many were received and missed.
    pub(crate) fn judge(&self) -> Judged {
        let mut place: Option<u64> = None;
        let mut judged = Judged::default();
        for block in &self.blocks {
            let id = field(block, "id").rsplit_once('-').expect("an id").1;
            let id: u64 = id.parse().expect("a number");
            if is_gap(block) {
                let missed = missed(block);
                assert!(missed > 0, "{block}");
                let from = place.unwrap_or(id - missed);
                judged.from.get_or_insert(from);
                assert_eq!(from + missed, id, "{block}");
                judged.missed += missed;
                judged.gaps += 1;
            } else if block.contains('\n') {
                let from = place.unwrap_or(id - 1);
                judged.from.get_or_insert(from);
                assert_eq!(from + 1, id, "a seam: {block}");
                judged.received += 1;
            } else {
                assert_eq!(place, None, "a bookmark is at the beginning");
                judged.from = Some(id);
            }
            place = Some(id);
        }
        judged.to = place;
        judged
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    /// Behind which event it began.
    pub(crate) from: Option<u64>,
    pub(crate) to: Option<u64>,
    pub(crate) received: u64,
    pub(crate) missed: u64,
    pub(crate) gaps: u64,
}
