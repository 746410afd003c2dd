//! Accepting connections that streams can take over.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::engine::{Engine, Terms};
use super::io::Io;

/// A TCP listener whose event streams leave the server when their head is out, and are
/// served by threads of their own. See the [module](super) for what that changes.
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
/// With hyper, serve what [`accept`](Self::accept) returns:
/// `http1::Builder::new().serve_connection(TokioIo::new(io), events)`; it must not be told
/// `writev(false)`, which would hide the streams from it.
///
/// Dropping it, as servers do when they shut down, ends no stream.
pub struct Listener {
    tcp: TcpListener,
    settings: Settings,
    /// Made with the first connection.
    engine: Option<Arc<Engine>>,
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
                terms: Terms {
                    send_buffer: None,
                    stall: Duration::from_secs(60),
                },
            },
            engine: None,
        }
    }

    /// How many threads serve detached streams. Default: one for each core. Each is started
    /// when it gets its first stream and sleeps while there is nothing to send.
    #[must_use]
    pub fn shards(self, shards: NonZeroUsize) -> Self {
        self.with(|settings| settings.shards = Some(shards.get()))
    }

    /// The most that the kernel keeps for a detached stream whose client does not read, in
    /// bytes (`SO_SNDBUF`, which Linux doubles for its own needs). Default: what the system
    /// says, which on Linux grows up to 4 MiB. A smaller one bounds what many stalled
    /// clients take, and the throughput of a distant one to this much in each round trip.
    #[must_use]
    pub fn send_buffer(self, bytes: NonZeroUsize) -> Self {
        self.with(|settings| settings.terms.send_buffer = Some(bytes.get()))
    }

    /// For how long a client may take nothing while something waits for it; then its
    /// connection is reset, and it comes back with the id that it has. Default: 60 s. At
    /// least 10 ms.
    #[must_use]
    pub fn stall_timeout(self, stall: Duration) -> Self {
        let stall = stall.max(Duration::from_millis(10));
        self.with(|settings| settings.terms.stall = stall)
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
    pub async fn accept(&mut self) -> io::Result<(Io, SocketAddr)> {
        let (tcp, peer) = self.tcp.accept().await?;
        Ok((self.wrap(tcp), peer))
    }

    /// A connection that was accepted otherwise.
    pub fn wrap(&mut self, tcp: TcpStream) -> Io {
        let settings = self.settings;
        let engine = self.engine.get_or_insert_with(|| {
            let cores = || thread::available_parallelism().map_or(1, NonZeroUsize::get);
            let shards = settings.shards.unwrap_or_else(cores);
            Arc::new(Engine::new(shards, settings.terms))
        });
        Io::new(tcp, Arc::clone(engine))
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
        self.engine = None;
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
