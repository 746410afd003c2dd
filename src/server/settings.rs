//! What can be said to a server, and what it does unless told otherwise.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;

use super::Server;
use super::connection::Shared;
use super::pulse::Patience;
use crate::Shutdown;
use crate::log::Latch;
use crate::socket::Terms;

/// What hyper needs of a buffer.
const LEAST_BUFFER: usize = 8 << 10;

/// More connections than anybody has ports.
const MOST: u32 = 1 << 28;

/// Of each stream of HTTP/2.
const SEND_BUFFER: usize = 16 << 10;

/// So long a head may be over HTTP/2, in bytes.
const HEAD: u32 = 16 << 10;

/// So much may come before it is asked for, over HTTP/2, in bytes: of a request and of all.
const WINDOWS: (u32, u32) = (64 << 10, 256 << 10);

/// Over HTTP/2: a ping so often, and so long for an answer.
const PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

#[derive(Debug)]
pub(super) struct Settings {
    pub(super) shutdown: Shutdown,
    pub(super) grace: Duration,
    pub(super) connections: u32,
    pub(super) is_detached: bool,
    patience: Patience,
    body: Duration,
    terms: Terms,
    buffer: usize,
    streams: u32,
}

impl Settings {
    pub(super) fn new() -> Self {
        Self {
            shutdown: Shutdown::new(),
            grace: Duration::from_secs(10),
            connections: 10_000,
            is_detached: false,
            patience: Patience {
                head: Duration::from_secs(10),
                idle: Duration::from_secs(60),
            },
            body: Duration::from_secs(60),
            terms: Terms::DEFAULT,
            buffer: 16 << 10,
            streams: 100,
        }
    }

    pub(super) fn shared(&self) -> Shared {
        let mut http = Builder::new(TokioExecutor::new());
        // hyper's time for a head begins with the end of the request before, and only when it
        // knows the version of HTTP.
        http.http1()
            .header_read_timeout(None)
            .max_buf_size(self.buffer);
        // WebSockets over HTTP/2 begin with a CONNECT.
        http.http2()
            .timer(TokioTimer::new())
            .enable_connect_protocol()
            .max_concurrent_streams(self.streams)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(HEAD)
            .initial_stream_window_size(WINDOWS.0)
            .initial_connection_window_size(WINDOWS.1)
            .keep_alive_interval(PING.0)
            .keep_alive_timeout(PING.1);
        Shared {
            http,
            terms: self.terms,
            patience: self.patience,
            body: self.body,
            drain: Arc::new(Latch::new()),
            cut: Arc::new(Latch::new()),
        }
    }
}

impl Server {
    /// The shutdown with which it ends. Give the same one to what it serves: it ends the
    /// streams, and the server waits for them. Default: none, and it serves for ever.
    pub fn shutdown(self, shutdown: &Shutdown) -> Self {
        self.with(|settings| settings.shutdown = shutdown.clone())
    }

    /// How long clients may take to leave once the shutdown has begun; then they are reset.
    /// Default: 10 s. A [paced](Shutdown::paced) shutdown needs as long as its turns take, and
    /// WebSockets have 5 s to answer their close.
    pub fn grace(self, grace: Duration) -> Self {
        self.with(|settings| settings.grace = grace)
    }

    /// How many connections there may be, WebSockets and streams that have left included.
    /// Default: 10,000, which cost less than half a GiB if none of their clients reads.
    ///
    /// At the limit nothing is accepted: who comes waits in the system's backlog, where it
    /// costs the process nothing, until somebody leaves. To turn clients away instead, which
    /// browsers answer by coming back every few seconds, limit the
    /// [streams](crate::EventSource::max_streams). The process needs as many file descriptors
    /// (`ulimit -n`) and some for itself; where they run out, the next connections wait, too.
    /// At least 1, at most 2^28.
    pub fn max_connections(self, connections: u32) -> Self {
        self.with(|settings| settings.connections = connections.clamp(1, MOST))
    }

    /// How long the head of a request may take, however it trickles: from its first byte, or
    /// on a new connection from the beginning. Default: 10 s. Then the connection is closed.
    pub fn header_timeout(self, header: Duration) -> Self {
        self.with(|settings| settings.patience.head = header)
    }

    /// How long it may take until a request that has a body is answered: the client may take
    /// its time to send the body, and your service to handle it. Default: 60 s. Then the
    /// answer is `408 Request Timeout`, your service's future is dropped, and over HTTP/1
    /// the connection is closed. The body of the answer may take as long as it likes, and a
    /// request without a body, too.
    pub fn body_timeout(self, body: Duration) -> Self {
        self.with(|settings| settings.body = body)
    }

    /// How long a connection may be without a request, once it has had one, counted from the
    /// last bytes of the answer that the system took. Default: 60 s. One of HTTP/2 that has had
    /// a WebSocket has no such time: it is pinged.
    pub fn idle_timeout(self, idle: Duration) -> Self {
        self.with(|settings| settings.patience.idle = idle)
    }

    /// For how long a client may take [next to nothing](Self::least_drain) while something
    /// waits for it; then its connection is reset, and it comes back with the id that it has.
    /// Default: 30 s. At least 10 ms. On Linux the system itself gives up on who acknowledges
    /// nothing, or has no room, for as long, and no less than 10 s (`TCP_USER_TIMEOUT`).
    ///
    /// The system makes room in steps of half of the [unsent](Self::notsent_lowat): who takes
    /// less than that in this time takes nothing.
    pub fn stall_timeout(self, stall: Duration) -> Self {
        let stall = stall.max(Terms::SHORTEST);
        self.with(|settings| settings.terms.stall = stall)
    }

    /// How many bytes a client has to take in each [stall time-out](Self::stall_timeout)
    /// while something waits for it. Default: 1, so that only who takes nothing is reset.
    /// Who has taken everything that was written, at most a page of 16 KiB, has taken enough,
    /// whatever this says. What the system keeps for a client counts as taken.
    pub fn least_drain(self, bytes: usize) -> Self {
        self.with(|settings| settings.terms.drain = bytes.max(1))
    }

    /// The most that the system keeps for a connection, in bytes (`SO_SNDBUF`, which Linux
    /// doubles for its own needs). Default: what the system says, which on Linux grows up to
    /// 4 MiB as the client keeps up; for one that does not read it is the
    /// [unsent](Self::notsent_lowat) that count. A small one bounds the throughput of a
    /// distant client to this much in each round trip.
    pub fn send_buffer(self, bytes: usize) -> Self {
        self.with(|settings| settings.terms.send_buffer = Some(bytes.max(1)))
    }

    /// How much the system takes before it has sent what it took before, in bytes
    /// (`TCP_NOTSENT_LOWAT`; Linux and Android, elsewhere nothing). Default: 16 KiB. More lets
    /// a burst leave in fewer steps; each client that does not read costs so much more of the
    /// system's memory.
    pub fn notsent_lowat(self, bytes: usize) -> Self {
        self.with(|settings| settings.terms.unsent = bytes.max(1))
    }

    /// How much of a connection of HTTP/1 is kept in each direction, in bytes: what has come
    /// and is not a whole head, and what is written and not yet taken by the system, which may
    /// be one piece more. Default: 16 KiB. At least 8 KiB. Longer heads are refused.
    pub fn max_buf_size(self, bytes: usize) -> Self {
        let bytes = bytes.max(LEAST_BUFFER);
        self.with(|settings| settings.buffer = bytes)
    }

    /// How many requests a client of HTTP/2 may have open at a time on one connection, event
    /// streams and WebSockets included. Default: 100.
    pub fn max_concurrent_streams(self, streams: u32) -> Self {
        self.with(|settings| settings.streams = streams.max(1))
    }

    /// Has event streams leave the server when their head is out, as behind a
    /// [`Listener`](crate::Listener), with all that is told there. The settings of this server
    /// hold for them, too, and they count as its connections.
    ///
    /// Not the default, also where the feature is on: layers see such a stream as a response
    /// that has ended, and a feature that another crate needs is not to change what they see.
    #[cfg(feature = "detached")]
    pub fn detached(self) -> Self {
        self.with(|settings| settings.is_detached = true)
    }

    fn with(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(&mut self.settings);
        self
    }
}
