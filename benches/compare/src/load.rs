//! The clients: thousands of streams and a few publishers, in one thread.
//!
//! A stream's bytes are not decoded. An event carries its number and the time at which it
//! was published at the end of its data, so that it counts when all of it is there:
//!
//! ```text
//! {"p":"xxx..","n":17,"t":123456789}
//! ```
//!
//! A publisher is a connection of HTTP/1.1 that is kept alive and has one request at a
//! time; there are as many as requests are outstanding.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use memchr::memmem::Finder;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::histogram::Histogram;

/// Attempts to connect that are in flight at once.
const ATTEMPTS: usize = 64;

/// How long the clients may take to connect, all together.
const CONNECTING: Duration = Duration::from_secs(60);

/// Each source address has some 28,000 ports.
const STREAMS_PER_SOURCE: usize = 5_000;

/// How long the reader sleeps when there is nothing to read. It is not woken by what
/// arrives, so that the server does not pay for waking it.
const PAUSE: Duration = Duration::from_micros(20);

const MARK: &[u8] = br#"","n":"#;
const TIME: &[u8] = br#","t":"#;

#[derive(Debug)]
pub(crate) struct Load {
    server: SocketAddr,
    readers: OwnedFd,
    answers: OwnedFd,
    mark: Finder<'static>,
    buffer: Vec<u8>,
    streams: Vec<Stream>,
    publishers: Vec<Option<Publisher>>,
    idle: Vec<usize>,
    pub(crate) counts: Counts,
    /// Data of an event, in bytes.
    size: usize,
    next: u64,
}

/// What has been seen since [`Load::begin`].
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// The number of the first event that counts.
    first: u64,
    pub(crate) published: u64,
    /// By event: how many streams have it.
    received: Vec<u32>,
    /// How many events every stream has.
    pub(crate) complete: u64,
    pub(crate) deliveries: u64,
    pub(crate) bytes: u64,
    /// From publishing until a stream has it.
    pub(crate) latency: Histogram,
    /// From publishing until the last stream has it.
    pub(crate) completion: Histogram,
    /// From publishing until the publisher is answered.
    pub(crate) answer: Histogram,
    pub(crate) answered: u64,
    /// Refused publications and streams that ended.
    pub(crate) errors: u64,
}

#[derive(Debug)]
struct Stream {
    socket: TcpStream,
    state: State,
    /// What has come of an event that is not whole.
    carry: Vec<u8>,
    received: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Connecting,
    Head,
    Open,
    Ended,
}

#[derive(Debug)]
struct Publisher {
    socket: TcpStream,
    input: Vec<u8>,
    asked: Option<u64>,
}

impl Load {
    pub(crate) fn new(server: SocketAddr, size: usize) -> io::Result<Self> {
        Ok(Self {
            server,
            readers: epoll::create(CreateFlags::CLOEXEC)?,
            answers: epoll::create(CreateFlags::CLOEXEC)?,
            mark: Finder::new(MARK),
            buffer: vec![0; 256 << 10],
            streams: Vec::new(),
            publishers: Vec::new(),
            idle: Vec::new(),
            counts: Counts::default(),
            size,
            next: 0,
        })
    }

    /// Connects streams until there are so many, and all have the head of their response.
    pub(crate) fn connect(&mut self, streams: usize) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let open = self
                .streams
                .iter()
                .filter(|s| s.state == State::Open)
                .count();
            if open == streams {
                return Ok(());
            }
            if begun.elapsed() > CONNECTING || self.counts.errors > 0 {
                return Err(format!(
                    "only {open} of {streams} streams could be connected"
                ));
            }
            let attempts = self.streams.len() - open;
            for _ in 0..ATTEMPTS
                .saturating_sub(attempts)
                .min(streams - self.streams.len())
            {
                self.attempt()
                    .map_err(|error| format!("cannot connect: {error}"))?;
            }
            self.turn(Some(Duration::from_millis(10)));
        }
    }

    fn attempt(&mut self) -> io::Result<()> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let kind = SocketType::STREAM;
        let socket = rustix::net::socket_with(AddressFamily::INET, kind, flags, None)?;
        // No port waits for a while after its connection.
        sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
        let source = 2 + self.streams.len() / STREAMS_PER_SOURCE;
        let source = Ipv4Addr::new(127, 0, 0, u8::try_from(source).unwrap_or(1));
        rustix::net::bind(&socket, &SocketAddrV4::new(source, 0))?;
        match rustix::net::connect(&socket, &self.server) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let key = EventData::new_u64(self.streams.len() as u64);
        epoll::add(&self.readers, &socket, key, EventFlags::OUT)?;
        self.streams.push(Stream {
            socket: socket.into(),
            state: State::Connecting,
            carry: Vec::new(),
            received: 0,
        });
        Ok(())
    }

    /// Forgets what has been counted.
    pub(crate) fn begin(&mut self) {
        self.counts = Counts {
            first: self.next,
            ..Counts::default()
        };
        for stream in &mut self.streams {
            stream.received = 0;
        }
    }

    /// Publishes one event, on a publisher that has been answered or a new one.
    pub(crate) fn publish(&mut self) -> io::Result<()> {
        let index = loop {
            match self.idle.pop() {
                // The server may have closed it meanwhile.
                Some(index) if self.publishers[index].is_none() => {}
                Some(index) => break index,
                None => break self.add_publisher()?,
            }
        };
        let now = now();
        let tail = format!(r#"","n":{},"t":{now}}}"#, self.next);
        let padding = self.size.saturating_sub(r#"{"p":""#.len() + tail.len());
        let data = format!(r#"{{"p":"{}{tail}"#, "x".repeat(padding));
        let request = format!(
            "POST /pub HTTP/1.1\r\nhost: {}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{data}",
            self.server,
            data.len()
        );
        if let Some(publisher) = &mut self.publishers[index] {
            publisher.asked = Some(now);
            // A publication is small and the one before it has been answered.
            publisher.socket.write_all(request.as_bytes())?;
        }
        self.next += 1;
        self.counts.published += 1;
        self.counts.received.push(0);
        if self.streams.is_empty() {
            self.counts.complete += 1;
        }
        Ok(())
    }

    fn add_publisher(&mut self) -> io::Result<usize> {
        let socket = TcpStream::connect(self.server)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
        let index = self.publishers.len();
        let key = EventData::new_u64(index as u64);
        epoll::add(&self.answers, &socket, key, EventFlags::IN)?;
        let input = Vec::new();
        self.publishers.push(Some(Publisher {
            socket,
            input,
            asked: None,
        }));
        Ok(index)
    }

    /// Lets the publishers go: a server closes those that are quiet for long.
    pub(crate) fn drop_publishers(&mut self) {
        self.publishers.clear();
        self.idle.clear();
    }

    /// Reads what there is. Without a time to block, it looks and then pauses.
    pub(crate) fn turn(&mut self, block: Option<Duration>) {
        let mut events = Vec::<Event>::with_capacity(128);
        let spare = rustix::buffer::spare_capacity(&mut events);
        if epoll::wait(&self.answers, spare, Some(&Timespec::default())).is_ok() {
            for event in &events {
                self.answered(event.data.u64() as usize);
            }
        }
        let answered = !events.is_empty();
        events.clear();
        let time = block.map_or(Timespec::default(), |block| Timespec {
            tv_sec: block.as_secs() as i64,
            tv_nsec: block.subsec_nanos().into(),
        });
        let spare = rustix::buffer::spare_capacity(&mut events);
        let _ = epoll::wait(&self.readers, spare, Some(&time));
        for event in &events {
            self.readable(event.data.u64() as usize);
        }
        if events.is_empty() && !answered && block.is_none() {
            thread::sleep(PAUSE);
        }
    }

    fn answered(&mut self, index: usize) {
        let Some(publisher) = &mut self.publishers[index] else {
            return;
        };
        match publisher.socket.read(&mut self.buffer) {
            Ok(0) | Err(_) => {
                self.counts.errors += u64::from(publisher.asked.is_some());
                self.publishers[index] = None;
                return;
            }
            Ok(read) => publisher.input.extend_from_slice(&self.buffer[..read]),
        }
        if let Some((status, length)) = answer(&publisher.input) {
            publisher.input.drain(..length);
            if let Some(asked) = publisher.asked.take() {
                self.counts.answer.add(now() - asked);
            }
            self.counts.errors += u64::from(status / 100 != 2);
            self.counts.answered += 1;
            self.idle.push(index);
        }
    }

    fn readable(&mut self, index: usize) {
        let Some(stream) = self.streams.get_mut(index) else {
            return;
        };
        if stream.state == State::Connecting {
            if stream.ask(self.server).is_err() {
                self.counts.errors += 1;
                stream.end(&self.readers);
                return;
            }
            let key = EventData::new_u64(index as u64);
            let _ = epoll::modify(&self.readers, &stream.socket, key, EventFlags::IN);
            return;
        }
        let kept = stream.carry.len();
        self.buffer[..kept].copy_from_slice(&stream.carry);
        let read = match stream.socket.read(&mut self.buffer[kept..]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Ok(0) | Err(_) => {
                self.counts.errors += 1;
                stream.end(&self.readers);
                return;
            }
            Ok(read) => read,
        };
        self.counts.bytes += read as u64;
        let mut rest = &self.buffer[..kept + read];
        if stream.state == State::Head {
            if let Some(end) = memchr::memmem::find(rest, b"\r\n\r\n") {
                if !rest.starts_with(b"HTTP/1.1 200") {
                    self.counts.errors += 1;
                }
                stream.state = State::Open;
                rest = &rest[end + 4..];
            } else {
                stream.carry = rest.to_vec();
                return;
            }
        }
        let streams = self.streams.len() as u32;
        let stream = &mut self.streams[index];
        let now = now();
        let counts = &mut self.counts;
        loop {
            match event(rest, &self.mark) {
                Found::Event(number, time, end) => {
                    rest = &rest[end..];
                    if let Some(at) = number.checked_sub(counts.first) {
                        counts.deliveries += 1;
                        stream.received += 1;
                        let took = now.saturating_sub(time);
                        counts.latency.add(took);
                        if let Some(received) = counts.received.get_mut(at as usize) {
                            *received += 1;
                            if *received == streams {
                                counts.complete += 1;
                                counts.completion.add(took);
                            }
                        }
                    }
                }
                Found::Partial(at) => {
                    stream.carry.clear();
                    stream.carry.extend_from_slice(&rest[at..]);
                    break;
                }
            }
        }
    }

    /// Events that a stream has not got, over all streams, and events that one has got
    /// more often than once.
    pub(crate) fn missing_and_extra(&self) -> (u64, u64) {
        let published = self.counts.published;
        let missing = |s: &Stream| published.saturating_sub(s.received);
        let extra = |s: &Stream| s.received.saturating_sub(published);
        let twice = |n: &u32| u64::from(*n).saturating_sub(self.streams.len() as u64);
        (
            self.streams.iter().map(missing).sum(),
            self.streams.iter().map(extra).sum::<u64>()
                + self.counts.received.iter().map(twice).sum::<u64>(),
        )
    }
}

impl Stream {
    fn ask(&mut self, server: SocketAddr) -> io::Result<()> {
        sockopt::socket_error(&self.socket)??;
        let request =
            format!("GET /events HTTP/1.1\r\nhost: {server}\r\naccept: text/event-stream\r\n\r\n");
        self.socket.write_all(request.as_bytes())?;
        self.state = State::Head;
        Ok(())
    }

    fn end(&mut self, readers: &OwnedFd) {
        let _ = epoll::delete(readers, &self.socket);
        self.state = State::Ended;
    }
}

enum Found {
    /// Its number, its time, and where it ends.
    Event(u64, u64, usize),
    /// Nothing more is whole; what is not begins here.
    Partial(usize),
}

fn event(bytes: &[u8], mark: &Finder<'_>) -> Found {
    let mut from = 0;
    while let Some(at) = mark.find(&bytes[from..]).map(|at| from + at) {
        let digits = at + MARK.len();
        let Some((number, end)) = decimal(bytes, digits) else {
            return Found::Partial(at);
        };
        let Some(time) = bytes.get(end..end + TIME.len()) else {
            return Found::Partial(at);
        };
        if time != TIME {
            from = digits;
            continue;
        }
        return match decimal(bytes, end + TIME.len()) {
            Some((time, end)) => Found::Event(number, time, end),
            None => Found::Partial(at),
        };
    }
    // A mark that has only begun.
    let least = bytes.len().saturating_sub(MARK.len() - 1);
    let begun = (least..bytes.len()).find(|at| MARK.starts_with(&bytes[*at..]));
    Found::Partial(begun.unwrap_or(bytes.len()))
}

/// A number that is seen to end, and where it does.
fn decimal(bytes: &[u8], from: usize) -> Option<(u64, usize)> {
    let digits = bytes.get(from..)?;
    let length = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    let number = digits[..length].iter().fold(0_u64, |number, digit| {
        number
            .wrapping_mul(10)
            .wrapping_add(u64::from(digit - b'0'))
    });
    Some((number, from + length))
}

/// The status and the length of a response, if it is whole.
fn answer(input: &[u8]) -> Option<(u16, usize)> {
    let head = memchr::memmem::find(input, b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&input[..head]).to_ascii_lowercase();
    let status = text.split(' ').nth(1)?.parse().unwrap_or(0);
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length = length.map_or(0, |length| length.trim().parse().unwrap_or(0));
    (input.len() >= head + length).then_some((status, head + length))
}

/// `CLOCK_MONOTONIC` in ns.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cut anywhere, the same events come out.
    #[test]
    fn events_are_found_wherever_they_are_cut() {
        let text = "2A\r\nid: x-1\ndata: {\"p\":\"xx\",\"n\":17,\"t\":123456}\n\n\r\n3\r\n:\n\n\r\n\
            2A\r\ndata: {\"p\":\"\",\"n\":18,\"t\":5}\n\ndata: {\"p\":\",\"n\":1x\",\"n\":19,\"t\":6}\n\n\r\n";
        let mark = Finder::new(MARK);
        for cut in 0..=text.len() {
            let (mut carry, mut found) = (Vec::new(), Vec::new());
            for part in [&text[..cut], &text[cut..]] {
                carry.extend_from_slice(part.as_bytes());
                let mut from = 0;
                loop {
                    match event(&carry[from..], &mark) {
                        Found::Event(number, time, end) => {
                            found.push((number, time));
                            from += end;
                        }
                        Found::Partial(at) => {
                            carry.drain(..from + at);
                            break;
                        }
                    }
                }
            }
            assert_eq!(found, [(17, 123_456), (18, 5), (19, 6)], "{cut}");
            assert!(carry.is_empty(), "{cut}");
        }
    }

    #[test]
    fn an_answer_is_whole_or_not_there() {
        let text = b"HTTP/1.1 202 Accepted\r\nContent-Length: 3\r\n\r\nyesHTTP";
        for end in 0..text.len() {
            let whole = end >= text.len() - 4;
            assert_eq!(answer(&text[..end]), whole.then_some((202, text.len() - 4)));
        }
        assert_eq!(answer(b"HTTP/1.1 204 No Content\r\n\r\n"), Some((204, 27)));
    }
}
