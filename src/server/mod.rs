//! A server for those who have none: hyper on a listener, with a bound for everything that a
//! client can take its time with.
//!
//! ```text
//!  accept ─► Slot ─► Guard ─► hyper ─► App ─► your service
//!            │ of     │ who takes      │ which requests
//!            │ so     │ nothing is     │ are open
//!            │ many   │ reset          ▼
//!            │        └──────────► Pulse ─► Watch: who says nothing is closed
//!            └► goes where the socket goes: to a WebSocket's task, to a shard
//! ```
//!
//! The parts of a connection do not know each other: what they see they tell its *pulse*, and
//! its *watch* looks there for how long the client has had. A *slot* is a place among the
//! connections that there may be; whoever has the socket has it, so what is counted is sockets,
//! and a server has ended when it has all its slots back.
//!
//! What is bounded, by what, and what that costs stands at [`Server`].

mod app;
mod connection;
mod guard;
#[cfg(not(feature = "detached"))]
#[path = "attached.rs"]
mod home;
#[cfg(feature = "detached")]
#[path = "detached.rs"]
mod home;
mod pulse;
mod settings;

use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use self::home::Home;
use self::settings::Settings;
use crate::error::ServeError;
use crate::socket::Slot;

/// How long nothing is accepted where the system has no room for another connection.
const PAUSE: Duration = Duration::from_millis(100);

/// How long those who are cut off may take to notice.
const CUT: Duration = Duration::from_secs(1);

/// A web server: HTTP/1.0, HTTP/1.1 and HTTP/2 without TLS on a TCP listener, for any
/// [`tower_service::Service`]: an axum `Router`, an [`EventSource`](crate::EventSource), your
/// own.
///
/// ```no_run
/// # #[cfg(unix)]
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::Router;
/// use tokio::signal::unix::{SignalKind, signal};
/// use tornadose::{EventSource, QueueStore, Server, Shutdown};
///
/// let shutdown = Shutdown::new();
/// let events = EventSource::new(QueueStore::new()).shutdown(&shutdown);
/// let app = Router::new().route_service("/events", events);
///
/// let tcp = tokio::net::TcpListener::bind("127.0.0.1:9000").await?;
/// let server = Server::new(tcp).shutdown(&shutdown);
///
/// let mut sigterm = signal(SignalKind::terminate())?;
/// tokio::spawn(async move {
///     sigterm.recv().await;
///     shutdown.begin();
/// });
/// server.serve(app).await?; // until then, and until everybody has left
/// # Ok(())
/// # }
/// ```
///
/// # What a client may take its time with
///
/// | what | default | then | setting |
/// |---|---|---|---|
/// | the head of a request, from its first byte; on a new connection from its beginning | 10 s | closed | [`header_timeout`](Self::header_timeout) |
/// | a request with a body, from its head to its answer's | 60 s | `408` | [`body_timeout`](Self::body_timeout) |
/// | between two requests | 60 s | closed | [`idle_timeout`](Self::idle_timeout) |
/// | to take some of what waits for it | 30 s | reset | [`stall_timeout`](Self::stall_timeout), [`least_drain`](Self::least_drain) |
/// | to acknowledge what was sent, or a question whether it is there | 30 s | closed | the same |
/// | to answer a ping over HTTP/2, sent every 20 s | 10 s | closed | |
/// | to leave when the server ends | 10 s | reset | [`grace`](Self::grace) |
///
/// A time-out of [`Duration::MAX`] is none. These also hold for WebSockets, which have
/// pings of their own, too.
///
/// # What a client may cost
///
/// | what | default | setting |
/// |---|---|---|
/// | connections | 10,000; the next ones wait in the system's backlog | [`max_connections`](Self::max_connections) |
/// | read and not yet handled, or written and not yet taken by the system, HTTP/1: bytes of each connection | 16 KiB each | [`max_buf_size`](Self::max_buf_size) |
/// | taken by the system and not yet sent, which a client that does not read lets stand | 16 KiB | [`notsent_lowat`](Self::notsent_lowat), [`send_buffer`](Self::send_buffer) |
/// | requests at a time, HTTP/2 | 100 | [`max_concurrent_streams`](Self::max_concurrent_streams) |
/// | written to each of those and not yet sent | 16 KiB | |
/// | received of each and of all of them, and not yet read by your service | 64 KiB, 256 KiB | |
/// | the head of a request, HTTP/2 | 16 KiB | |
///
/// The head of a request of HTTP/1 has to fit into its buffer, and has at most 100 lines:
/// if not, the answer is `431`.
///
/// # Cost
///
/// A connection has a task and a few timers. With an event stream it takes about 20 KiB, and
/// if its client does not read less than 48 KiB and 32 KiB of the system's memory; with a
/// WebSocket less; with a stream that has left it (feature `detached`) less than 24 KiB, and
/// next to nothing while it keeps up. Each request costs two allocations beyond hyper's own. A request carries the
/// address of its client as an extension, a [`SocketAddr`].
///
/// # What it cannot
///
/// TLS; a bound on one client's many connections, for which it would have to know who
/// stands behind an address. A client of HTTP/2 that grants its streams no room, but answers
/// pings, holds what it may cost until [`EventSource::max_age`](crate::EventSource::max_age).
#[derive(Debug)]
#[must_use = "a server does nothing unless it serves"]
pub struct Server {
    tcp: TcpListener,
    settings: Settings,
}

impl Server {
    /// A server on this listener, with the defaults of the settings below.
    pub fn new(tcp: TcpListener) -> Self {
        Self {
            tcp,
            settings: Settings::new(),
        }
    }

    /// The address that it listens at.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Serves until the [shutdown](Self::shutdown) has begun and everybody has left, or for
    /// ever.
    ///
    /// When it begins, the listener is closed; connections on which no request is open are
    /// closed; the others may finish what is open. Whoever has not left after the
    /// [grace](Self::grace) is reset.
    ///
    /// What the system says when a connection cannot be accepted is not the end: what
    /// concerns one client is passed over, and where there are no more file descriptors or no
    /// more memory, it is tried again after 100 ms.
    ///
    /// # Errors
    ///
    /// [`ServeError::CutOff`] if somebody had to be reset at the end, and
    /// [`ServeError::Listener`] if the listener has been shut down by somebody else.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it accepts nothing more. What is open goes on, in its tasks.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with its time and its network. A panic of your service
    /// ends the connection on which it happens.
    pub async fn serve<S, B>(self, app: S) -> Result<(), ServeError>
    where
        S: tower_service::Service<Request<Incoming>, Response = Response<B>>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let Self { tcp, settings } = self;
        let shared = Arc::new(settings.shared());
        let home = Home::new(settings.is_detached, &shared);
        let slots = Arc::new(Semaphore::new(settings.connections as usize));

        let mut begun = pin!(settings.shutdown.begun());
        loop {
            let mut next = pin!(accept(&tcp, &slots));
            let next = poll_fn(|cx| match begun.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(None),
                Poll::Pending => next.as_mut().poll(cx).map(Some),
            });
            let Some(accepted) = next.await else {
                break;
            };
            let (socket, peer, slot) = accepted.map_err(ServeError::Listener)?;
            shared.terms.tune(&SockRef::from(&socket));
            home.start(&shared, (socket, slot), peer, app.clone());
        }
        drop(tcp);

        shared.drain.set();
        let all = || slots.acquire_many(settings.connections);
        if timeout(settings.grace, all()).await.is_ok() {
            return Ok(());
        }
        let free = u32::try_from(slots.available_permits()).unwrap_or(u32::MAX);
        shared.cut.set();
        home.cut();
        // Their tasks may want to be polled before the runtime ends.
        let _ = timeout(CUT, all()).await;
        Err(ServeError::CutOff(
            settings.connections.saturating_sub(free),
        ))
    }
}

/// The next connection, when there is a slot for it.
async fn accept(
    tcp: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, Slot)> {
    let slot = Arc::clone(slots).acquire_owned().await;
    let slot = slot.map_err(io::Error::other)?;
    loop {
        match tcp.accept().await {
            Ok((socket, peer)) => return Ok((socket, peer, slot)),
            Err(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset => {}
                // It does not listen any more.
                io::ErrorKind::InvalidInput => return Err(error),
                _ => sleep(PAUSE).await,
            },
        }
    }
}
