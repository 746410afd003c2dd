//! Accepting connections that streams can take over.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::engine::Engine;
use super::io::Io;
use crate::socket::Terms;

/// A TCP listener whose event streams leave the server when their head is out, and are
/// served by threads of their own.
///
/// ```no_run
/// # #[cfg(feature = "axum")]
/// # async fn example(store: tornadose::QueueStore) -> std::io::Result<()> {
/// use axum::Router;
/// use tornadose::{EventSource, Listener};
///
/// let app = Router::new().route_service("/events", EventSource::new(store));
/// let tcp = tokio::net::TcpListener::bind("127.0.0.1:9000").await?;
/// axum::serve(Listener::new(tcp), app).await
/// # }
/// ```
///
/// The `Server` of the feature `serve` does the same if it is told `detached()`. With hyper,
/// serve what [`accept`](Self::accept) returns:
/// `http1::Builder::new().serve_connection(TokioIo::new(io), events)`; it must not be told
/// `writev(false)`, which would hide the streams from it.
///
/// # What leaves
///
/// An [`EventSource`](crate::EventSource)'s answer in chunks over plain HTTP/1.1. The
/// connection recognises it by the very bytes of its first frame, at their address: whatever
/// copies, compresses, re-frames or encrypts them keeps it from being recognised, and then
/// the stream stays with its server as it does everywhere else, with the same promises. So
/// HTTP/2, TLS, HTTP/1.0, `HEAD` and compressed bodies stay; so do a hyper that is told
/// `writev(false)` or `pipeline_flush(true)`, stores of your own that make subscriptions of streams, Windows, and what
/// is told to stay ([`EventSource::attached`](crate::EventSource::attached)). A client that
/// shuts down its writing half is gone, also where hyper was told `half_close(true)`.
///
/// A layer that lets the first frame, which is a comment, pass as it is and changes later
/// ones cannot be seen: a handler behind such a layer must be told to stay.
///
/// # What the server sees
///
/// A response that has ended and a client that has hung up. So limits of concurrency,
/// time-outs of bodies, logs of what ends, and the server's own graceful shutdown no longer
/// count the stream; [`EventSource::streams`](crate::EventSource::streams) does, and
/// [`Shutdown::ended`](crate::Shutdown::ended) waits for it. A stream's connection ends with
/// the stream. What a client sends behind its request is read and thrown away; a request
/// that it sends there, without waiting, may be handled, and is not answered.
///
/// Dropping the listener, as servers do when they shut down, ends no stream; when the
/// process ends, they are cut off.
///
/// # Cost
///
/// A thread for each core, asleep while there is nothing to send. A stream that keeps up
/// with a [`QueueStore`](crate::QueueStore) or a [`DataStore`](crate::DataStore) costs about
/// 250 bytes; one of a [`Hub`](crate::Hub), or one with settings of its own, its
/// subscription besides, about 1 KiB.
pub struct Listener {
    tcp: TcpListener,
    settings: Settings,
    /// Made with the first connection.
    engine: OnceLock<Arc<Engine>>,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    shards: Option<usize>,
    terms: Terms,
}

impl Listener {
    /// Takes a listener with the defaults of the settings below.
    #[must_use]
    pub fn new(tcp: TcpListener) -> Self {
        Self {
            tcp,
            settings: Settings {
                shards: None,
                terms: Terms::DEFAULT,
            },
            engine: OnceLock::new(),
        }
    }

    /// How many threads serve detached streams, at most 1,024. Default: one for each core. Each is started
    /// when it gets its first stream and sleeps while there is nothing to send.
    #[must_use]
    pub fn shards(self, shards: usize) -> Self {
        self.with(|settings| settings.shards = Some(shards.max(1)))
    }

    /// The most that the kernel keeps for a detached stream, in bytes (`SO_SNDBUF`, which Linux
    /// doubles for its own needs). Default: what the system says, which on Linux grows up to
    /// 4 MiB as the client keeps up; for one that does not read it is the
    /// [unsent](Self::notsent_lowat) that count. A small one bounds the throughput of a
    /// distant client to this much in each round trip.
    #[must_use]
    pub fn send_buffer(self, bytes: usize) -> Self {
        self.with(|settings| settings.terms.send_buffer = Some(bytes.max(1)))
    }

    /// How much the kernel takes for a detached stream before it has sent what it took before,
    /// in bytes (`TCP_NOTSENT_LOWAT`; Linux and Android, elsewhere nothing). Default: 16 KiB.
    /// More lets a burst leave in fewer steps; each client that does not read costs so much
    /// more of the kernel's memory.
    #[must_use]
    pub fn notsent_lowat(self, bytes: usize) -> Self {
        self.with(|settings| settings.terms.unsent = bytes.max(1))
    }

    /// For how long a client may take [next to nothing](Self::least_drain) while something
    /// waits for it; then its connection is reset, and it comes back with the id that it has.
    /// Default: 30 s. At least 10 ms. On Linux the system itself gives up on who acknowledges
    /// nothing, or has no room, for as long, and no less than 10 s (`TCP_USER_TIMEOUT`).
    #[must_use]
    pub fn stall_timeout(self, stall: Duration) -> Self {
        let stall = stall.max(Terms::SHORTEST);
        self.with(|settings| settings.terms.stall = stall)
    }

    /// How many bytes a client has to take in each [stall time-out](Self::stall_timeout)
    /// while something waits for it. Default: 1, so that only who takes nothing is reset.
    /// What the kernel keeps for a client counts as taken, and it makes room in large steps:
    /// less than the [send buffer](Self::send_buffer) tells little.
    #[must_use]
    pub fn least_drain(self, bytes: usize) -> Self {
        self.with(|settings| settings.terms.drain = bytes.max(1))
    }

    /// The next connection.
    ///
    /// # Errors
    ///
    /// Those of the system, most of which concern one connection alone or pass when others
    /// are closed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no connection is lost.
    pub async fn accept(&self) -> io::Result<(Io, SocketAddr)> {
        let (tcp, peer) = self.tcp.accept().await?;
        Ok((self.wrap(tcp), peer))
    }

    /// A connection that was accepted otherwise.
    pub fn wrap(&self, tcp: TcpStream) -> Io {
        let settings = self.settings;
        let engine = self.engine.get_or_init(|| {
            Arc::new(match settings.shards {
                Some(shards) => Engine::new(shards, settings.terms),
                None => Engine::for_each_core(settings.terms),
            })
        });
        Io::new(tcp, Arc::clone(engine), None)
    }

    /// The address that it listens at.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    fn with(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(&mut self.settings);
        // Who has been accepted by now keeps what was said then.
        self.engine = OnceLock::new();
        self
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("tcp", &self.tcp)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
