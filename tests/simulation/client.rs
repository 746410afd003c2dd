//! Clients that come back: from nothing but sockets, over either protocol.

use std::time::Duration;

use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};
use turmoil::net::TcpStream;

use crate::history::{Connection, Decoding, Ended, Filter, Id, Start, Told, Transport};
use crate::http::{Answer, Piece};
use crate::plan::millis;
use crate::shared::{Phase, Shared};

/// Where nodes listen.
pub(crate) const PORT: u16 = 80;

pub(crate) struct Client {
    shared: Shared,
    rng: Rng,
    /// Its number among the clients, which is its name.
    number: u64,
    chain: u64,
    filter: Filter,
    last: Option<String>,
    node: usize,
    retry: Duration,
}

/// How a connection is read.
#[derive(Clone, Copy, Debug)]
struct Habit {
    /// The most bytes at once.
    bytes: usize,
    /// Between two reads.
    pause: Duration,
    /// It leaves after so many bytes.
    cut: Option<usize>,
    /// It leaves then, whatever has come.
    until: Option<Instant>,
}

impl Client {
    pub(crate) fn new(shared: &Shared, number: u64) -> Self {
        let mut rng = shared.rng(0x00c1_0000 + number);
        Self {
            filter: shared.plan.filter(&mut rng),
            node: rng.usize(..shared.plan.nodes),
            chain: shared.chain(),
            shared: shared.clone(),
            rng,
            number,
            last: None,
            retry: Duration::from_millis(300),
        }
    }

    /// Connects, reads, leaves and comes back until everybody goes.
    pub(crate) async fn run(mut self) {
        sleep(millis(&mut self.rng, 0..500)).await;
        while self.shared.phase() != Phase::Leaving {
            self.connect().await;
            sleep(self.retry).await;
        }
    }

    fn is_chaos(&self) -> bool {
        self.shared.phase() == Phase::Chaos
    }

    async fn connect(&mut self) {
        if self.rng.u32(..self.shared.plan.hops) == 0 {
            self.node = self.rng.usize(..self.shared.plan.nodes);
        }
        if self.is_chaos() {
            self.forget();
        }
        let transport = match self.rng.u32(..3) {
            0 => Transport::WebSocket,
            _ => Transport::Sse,
        };
        let node = format!("node{}", self.node);
        let mut connection = Connection {
            chain: self.chain,
            node: node.clone(),
            transport,
            requested: self.last.clone(),
            start: match self.shared.plan.start {
                tornadose::Start::Live => Start::Live,
                _ => Start::Older,
            },
            filter: self.filter.clone(),
            opened: 0,
            granted: None,
            revoked: None,
            status: None,
            received: Vec::new(),
            ended: Ended::Open,
            closed: 0,
            stays: !self.is_chaos(),
        };
        connection.opened = self.shared.stamp();
        let at = self.shared.open(connection);
        let ended = self.follow(at, &node, transport).await;
        self.shared.change(at, |connection, now| {
            connection.ended = ended;
            connection.closed = now;
        });
    }

    /// Comes back as somebody else, or with another id than that which it has.
    fn forget(&mut self) {
        let chance = self.rng.u32(..60);
        let last = self.last.as_deref().and_then(Id::parse);
        let id = match (chance, last) {
            (0, _) => None,
            (1, Some(id)) => {
                let offset = self.rng.u64(..=id.offset);
                // Of another offset the tag is not known.
                let is_tagged = !id.tag.is_empty() && offset != id.offset;
                (!is_tagged).then(|| Id { offset, ..id }.to_string())
            }
            (2, Some(id)) => {
                let offset = id.offset + self.rng.u64(1..1000);
                Some(Id { offset, ..id }.to_string())
            }
            (3, _) => Some(format!("AAAAAAAAAAA-{}", self.rng.u64(..50))),
            (4, _) => Some("what is this".to_owned()),
            _ => return,
        };
        self.chain = self.shared.chain();
        self.last = id;
    }

    fn habit(&mut self) -> Habit {
        let mut habit = Habit {
            bytes: self.rng.usize(1..4000),
            pause: Duration::ZERO,
            cut: None,
            until: None,
        };
        if !self.is_chaos() {
            habit.bytes = 16 << 10;
            return habit;
        }
        match self.rng.u32(..12) {
            0..2 => {
                self.shared.fault("a slow reader");
                habit.pause = millis(&mut self.rng, 20..400);
            }
            2 => {
                self.shared.fault("who never reads");
                habit.pause = Duration::from_secs(3600);
                habit.until = Some(Instant::now() + millis(&mut self.rng, 500..5000));
            }
            3..6 => {
                self.shared.fault("a cut at a byte");
                habit.cut = Some(self.rng.usize(..6000));
            }
            6..9 => habit.until = Some(Instant::now() + millis(&mut self.rng, 100..4000)),
            _ => {}
        }
        habit
    }

    /// One connection, to its end.
    async fn follow(&mut self, at: usize, node: &str, transport: Transport) -> Ended {
        let patience = Duration::from_secs(1);
        let connected = timeout(patience, TcpStream::connect((node, PORT))).await;
        let Ok(Ok(mut stream)) = connected else {
            return Ended::Cut;
        };
        let head = self.head(at, transport);
        if stream.write_all(head.as_bytes()).await.is_err() {
            return Ended::Cut;
        }
        let habit = self.habit();
        let mut reading = Reading {
            answer: Answer::default(),
            decoding: Decoding::of(transport),
            ended: None,
            pongs: Vec::new(),
        };
        let mut bytes = vec![0; habit.bytes];
        let mut count = 0;
        // Long enough for keep-alives, and for what is on its way.
        let idle = 4 * self.shared.plan.keep_alive + Duration::from_millis(500);
        let mut heard = Instant::now();
        loop {
            if !self.is_allowed(at) {
                return Ended::Left;
            }
            let most = habit.cut.map_or(bytes.len(), |cut| cut - count);
            if most == 0 || habit.until.is_some_and(|until| until <= Instant::now()) {
                return self.leave(&mut stream, transport).await;
            }
            let most = most.min(bytes.len());
            let read = timeout(Duration::from_millis(100), stream.read(&mut bytes[..most])).await;
            let read = match read {
                Ok(Ok(0)) | Ok(Err(_)) => return Ended::Cut,
                Ok(Ok(read)) => read,
                Err(_) if heard.elapsed() > idle => return Ended::Cut,
                Err(_) => continue,
            };
            heard = Instant::now();
            count += read;
            if let Err(wrong) = self.take(at, &mut reading, &bytes[..read]) {
                self.shared.wrong(format!("on connection {at}: {wrong}"));
                return Ended::Cut;
            }
            for pong in std::mem::take(&mut reading.pongs) {
                let pong = self.frame(10, &pong);
                if stream.write_all(&pong).await.is_err() {
                    return Ended::Cut;
                }
            }
            if let Some(ended) = reading.ended {
                if transport == Transport::WebSocket {
                    let close = self.frame(8, &[]);
                    let _ = stream.write_all(&close).await;
                }
                return ended;
            }
            self.pause(habit).await;
        }
    }

    async fn pause(&self, habit: Habit) {
        let step = Duration::from_millis(100);
        let until = Instant::now() + habit.pause;
        while Instant::now() < until && self.is_chaos() {
            if habit.until.is_some_and(|until| until <= Instant::now()) {
                return;
            }
            sleep(step.min(until - Instant::now())).await;
        }
    }

    /// Whether it goes on as it is: who was there before everything was mended comes back
    /// once more, and reads from then on.
    fn is_allowed(&self, at: usize) -> bool {
        let state = self.shared.state();
        match state.phase {
            Phase::Chaos => true,
            Phase::Healed | Phase::Last => state.history.connections[at].stays,
            Phase::Leaving => false,
        }
    }

    async fn leave(&mut self, stream: &mut TcpStream, transport: Transport) -> Ended {
        if transport == Transport::WebSocket && self.rng.bool() {
            let close = self.frame(8, &[]);
            let _ = stream.write_all(&close).await;
        }
        Ended::Left
    }

    /// Takes what has come, and says so.
    fn take(&mut self, at: usize, reading: &mut Reading, bytes: &[u8]) -> Result<(), String> {
        for piece in reading.answer.feed(bytes)? {
            match piece {
                Piece::Head(status) => {
                    self.shared
                        .change(at, |connection, _| connection.status = Some(status));
                    if !matches!(status, 101 | 200) {
                        reading.ended = Some(Ended::Cleanly);
                    }
                }
                Piece::Body(body) => {
                    for told in reading.decoding.feed(&body) {
                        self.hear(reading, told);
                    }
                    self.shared.change(at, |connection, now| {
                        connection.received.push((now, body));
                    });
                }
                Piece::End => reading.ended = Some(Ended::Cleanly),
            }
        }
        Ok(())
    }

    fn hear(&mut self, reading: &mut Reading, told: Told) {
        if let Some(id) = told.id() {
            self.last = Some(id.to_string());
        }
        match told {
            Told::Retry(millis) => self.retry = Duration::from_millis(millis),
            Told::Ping(payload) => reading.pongs.push(payload),
            Told::Close(_, reason) => {
                let millis = reason.strip_prefix("retry: ");
                if let Some(millis) = millis.and_then(|millis| millis.parse().ok()) {
                    self.retry = Duration::from_millis(millis);
                }
                reading.ended = Some(Ended::Cleanly);
            }
            _ => {}
        }
    }

    fn head(&mut self, at: usize, transport: Transport) -> String {
        let mut query = format!("client={}&connection={at}", self.number);
        if let Filter::Topics(topics) = &self.filter {
            for topic in topics {
                let topic = topic.replace('+', "%2B").replace('#', "%23");
                query += &format!("&topic={topic}");
            }
        }
        let id = self.last.as_deref();
        match transport {
            Transport::Sse => {
                let id = id.map(|id| format!("last-event-id: {id}\r\n"));
                let id = id.unwrap_or_default();
                format!("GET /events?{query} HTTP/1.1\r\nhost: node\r\n{id}\r\n")
            }
            Transport::WebSocket => {
                if let Some(id) = id {
                    query += &format!("&lastEventId={}", id.replace(' ', "%20"));
                }
                format!(
                    "GET /socket?{query} HTTP/1.1\r\nhost: node\r\nconnection: upgrade\r\n\
                     upgrade: websocket\r\nsec-websocket-version: 13\r\n\
                     sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                )
            }
        }
    }

    /// A frame of a client's, which is masked.
    fn frame(&mut self, opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mask = self.rng.u32(..).to_be_bytes();
        let len = u8::try_from(payload.len()).unwrap_or(0) & 0x7f;
        let mut frame = vec![0x80 | opcode, 0x80 | len];
        frame.extend_from_slice(&mask);
        let masked = payload.iter().zip(mask.iter().cycle());
        frame.extend(masked.take(len.into()).map(|(byte, mask)| byte ^ mask));
        frame
    }
}

/// What there is of an answer.
struct Reading {
    answer: Answer,
    decoding: Decoding,
    ended: Option<Ended>,
    pongs: Vec<Vec<u8>>,
}
