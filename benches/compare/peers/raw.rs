//! The least that a server can do: a loop over sockets, one `send` of prepared bytes for
//! each. What it costs is what the system costs; the figures of the others are multiples
//! of it.
//!
//! `raw ADDR` sends each event to everybody as soon as it has read it. `raw ADDR coalesce`
//! first reads all that has been published by then, and sends it as one piece.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;

const LISTENER: u64 = u64::MAX;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
    cache-control: no-store\r\ntransfer-encoding: chunked\r\n\r\n";

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let address = args.next().expect("an address");
    let mut server = Server::listen(&address, args.next().as_deref() == Some("coalesce"))?;
    loop {
        server.turn()?;
    }
}

struct Server {
    epoll: OwnedFd,
    listener: TcpListener,
    coalesces: bool,
    /// Whose request is not known yet, and who publishes.
    callers: HashMap<u64, Caller>,
    /// The streams, densely, and where each of them stands.
    streams: Vec<Stream>,
    places: HashMap<u64, usize>,
    next: u64,
    /// What has been published and not yet been sent, framed.
    out: Vec<u8>,
}

struct Caller {
    socket: TcpStream,
    input: Vec<u8>,
}

struct Stream {
    socket: TcpStream,
    key: u64,
    /// What the socket has not taken.
    pending: Vec<u8>,
}

enum Request {
    Partial,
    Stream,
    /// The event, and the length of the request.
    Publish(Vec<u8>, usize),
    Unknown,
}

impl Server {
    fn listen(address: &str, coalesces: bool) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        rustix::net::listen(&listener, 4096)?;
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            &listener,
            EventData::new_u64(LISTENER),
            EventFlags::IN,
        )?;
        Ok(Self {
            epoll,
            listener,
            coalesces,
            callers: HashMap::new(),
            streams: Vec::new(),
            places: HashMap::new(),
            next: 0,
            out: Vec::new(),
        })
    }

    fn turn(&mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(1024);
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut events),
            None,
        ) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        for Event { flags, data, .. } in events {
            match data.u64() {
                LISTENER => self.accept()?,
                key if self.callers.contains_key(&key) => self.hear(key)?,
                key => self.attend(key, flags),
            }
        }
        self.send();
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            socket.set_nonblocking(true)?;
            socket.set_nodelay(true)?;
            let key = EventData::new_u64(self.next);
            // Edges: writable is told again only after a send that did not fit.
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            epoll::add(&self.epoll, &socket, key, flags)?;
            let input = Vec::new();
            self.callers.insert(self.next, Caller { socket, input });
            self.next += 1;
        }
    }

    /// Reads requests.
    fn hear(&mut self, key: u64) -> io::Result<()> {
        let Some(mut caller) = self.callers.remove(&key) else {
            return Ok(());
        };
        let mut bytes = [0; 4096];
        let ended = loop {
            match caller.socket.read(&mut bytes) {
                Ok(0) => break true,
                Ok(read) => caller.input.extend_from_slice(&bytes[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break false,
                Err(_) => break true,
            }
        };
        loop {
            match Request::parse(&caller.input) {
                Request::Partial if ended => return Ok(()),
                Request::Partial => break,
                Request::Unknown => {
                    let _ = caller
                        .socket
                        .write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
                    return Ok(());
                }
                Request::Publish(event, length) => {
                    caller.input.drain(..length);
                    write!(self.out, "{:X}\r\n", event.len())?;
                    self.out.extend_from_slice(&event);
                    self.out.extend_from_slice(b"\r\n");
                    if !self.coalesces {
                        self.send();
                    }
                    let _ = caller.socket.write(b"HTTP/1.1 204 No Content\r\n\r\n");
                }
                Request::Stream => {
                    let _ = caller.socket.write(HEAD);
                    self.places.insert(key, self.streams.len());
                    let (socket, pending) = (caller.socket, Vec::new());
                    self.streams.push(Stream {
                        socket,
                        key,
                        pending,
                    });
                    return Ok(());
                }
            }
        }
        self.callers.insert(key, caller);
        Ok(())
    }

    /// A stream has ended, or takes more.
    fn attend(&mut self, key: u64, flags: EventFlags) {
        let Some(&place) = self.places.get(&key) else {
            return;
        };
        let stream = &mut self.streams[place];
        let pending = std::mem::take(&mut stream.pending);
        let gone = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        if gone || !stream.send(&pending) {
            self.streams.swap_remove(place);
            self.places.remove(&key);
            if let Some(moved) = self.streams.get(place) {
                self.places.insert(moved.key, place);
            }
        }
    }

    fn send(&mut self) {
        if !self.out.is_empty() {
            for stream in &mut self.streams {
                // Who has gone is told by the next turn.
                stream.send(&self.out);
            }
            self.out.clear();
        }
    }
}

impl Stream {
    /// Whether the client is still there.
    fn send(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() && self.pending.is_empty() {
            match self.socket.write(bytes) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        self.pending.extend_from_slice(bytes);
        true
    }
}

impl Request {
    fn parse(input: &[u8]) -> Self {
        let Some(head) = memchr::memmem::find(input, b"\r\n\r\n") else {
            return Self::Partial;
        };
        if input.starts_with(b"GET /events ") {
            return Self::Stream;
        }
        if !input.starts_with(b"POST /pub ") {
            return Self::Unknown;
        }
        let text = String::from_utf8_lossy(&input[..head]).to_ascii_lowercase();
        let length = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"));
        let Some(length) = length.and_then(|length| length.trim().parse::<usize>().ok()) else {
            return Self::Unknown;
        };
        let end = head + 4 + length;
        match input.get(head + 4..end) {
            Some(data) => Self::Publish([b"data: ", data, b"\n\n"].concat(), end),
            None => Self::Partial,
        }
    }
}
