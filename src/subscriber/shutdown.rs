//! Telling every open stream that it is time to go, and waiting until all have gone.

use std::fmt;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::log::{Latch, Notice, Turns};
use crate::observe::{Happening, observe};

/// Ends every stream of the [`EventSource`](crate::EventSource)s that it was given
/// to, and lets the rest of a server wait for the same moment.
///
/// A server's own graceful shutdown waits until its responses have ended, and an
/// event stream never ends by itself. So begin this first, then stop the server. What
/// is left then are clients that do not read; they are worth no more than a while.
///
/// `Server::shutdown` (feature `serve`) does all of this. With hyper:
///
/// ```
/// # #[cfg(all(unix, feature = "hyper"))]
/// # async fn example(store: tornadose::QueueStore) -> std::io::Result<()> {
/// use std::time::Duration;
///
/// use hyper::server::conn::http1;
/// use hyper_util::{rt::TokioIo, server::graceful::GracefulShutdown};
/// use tokio::net::TcpListener;
/// use tokio::signal::unix::{SignalKind, signal};
/// use tornadose::{EventSource, Shutdown};
///
/// let shutdown = Shutdown::new();
/// let events = EventSource::new(store).shutdown(&shutdown);
///
/// let listener = TcpListener::bind("127.0.0.1:9000").await?;
/// let mut sigterm = signal(SignalKind::terminate())?;
/// let connections = GracefulShutdown::new();
/// loop {
///     tokio::select! {
///         accepted = listener.accept() => {
///             let io = TokioIo::new(accepted?.0);
///             let connection = http1::Builder::new().serve_connection(io, events.clone());
///             tokio::spawn(connections.watch(connection));
///         }
///         _ = sigterm.recv() => break,
///     }
/// }
/// drop(listener);
///
/// shutdown.begin();
/// let stopped = async {
///     connections.shutdown().await;
///     shutdown.ended().await;
/// };
/// if tokio::time::timeout(Duration::from_secs(10), stopped).await.is_err() {
///     eprintln!("not every client has read to the end");
/// }
/// # Ok(())
/// # }
/// ```
///
/// With axum, whose own shutdown begins when a future is ready:
///
/// ```
/// # #[cfg(unix)]
/// # async fn example(store: tornadose::QueueStore) -> std::io::Result<()> {
/// use std::{future::IntoFuture, time::Duration};
///
/// use axum::Router;
/// use tokio::net::TcpListener;
/// use tokio::signal::unix::{SignalKind, signal};
/// use tornadose::{EventSource, Shutdown};
///
/// let shutdown = Shutdown::new();
/// let events = EventSource::new(store).shutdown(&shutdown);
///
/// let listener = TcpListener::bind("127.0.0.1:9000").await?;
/// let mut sigterm = signal(SignalKind::terminate())?;
/// let app = Router::new().route_service("/events", events);
/// let server = axum::serve(listener, app).with_graceful_shutdown({
///     let shutdown = shutdown.clone();
///     async move {
///         sigterm.recv().await;
///         shutdown.begin();
///     }
/// });
/// let server = tokio::spawn(server.into_future());
///
/// shutdown.begun().await;
/// let stopped = async {
///     server.await??;
///     shutdown.ended().await;
///     Ok(())
/// };
/// match tokio::time::timeout(Duration::from_secs(10), stopped).await {
///     Ok(stopped) => stopped,
///     Err(_) => Ok(eprintln!("not every client has read to the end")),
/// }
/// # }
/// ```
///
/// # How a stream ends
///
/// It sends what there was when it noticed, then a jittered `retry:`, and ends
/// cleanly (a WebSocket: with `1012`, and then its client has 5 s to answer and to hang up;
/// no server waits for those, so [`ended`](Self::ended) is the only wait); a stream whose client does not read ends when that client reads again
/// or its connection is closed. Requests that come later get a stream that ends in
/// the same way.
///
/// By default all streams end at once, and the clients come back spread over what
/// [`farewell`](crate::EventSource::farewell) says. For a server that shall not lose all
/// of its clients in one moment there is [`paced`](Self::paced).
///
/// A cheap handle: clones are the same shutdown.
#[derive(Clone)]
pub struct Shutdown {
    shared: Arc<Shared>,
}

struct Shared {
    begun: Arc<Latch>,
    /// When, written before the latch is set.
    moment: OnceLock<Instant>,
    pace: Option<Pace>,
    /// Each departure holds a receiver of it; nothing is ever sent. Tokio has not said
    /// that it is unwind safe, but of what only counts there is no half.
    open: AssertUnwindSafe<watch::Sender<()>>,
}

impl Shutdown {
    /// A shutdown that has not begun, and that will end all streams at once.
    #[must_use]
    pub fn new() -> Self {
        Self::with(None)
    }

    /// A shutdown that has not begun, and that will end no more than `batch` streams at
    /// once: so many when it begins, and so many after each `interval`. A batch is at
    /// least one; an interval is at most a day.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tornadose::Shutdown;
    ///
    /// // 10,000 streams end within 5 s: 200 of them every 100 ms.
    /// let shutdown = Shutdown::paced(200, Duration::from_millis(100));
    /// ```
    ///
    /// A stream takes its turn when it notices that the shutdown has begun. Until then
    /// it goes on: it sends events and keep-alive comments. Then it sends what there is
    /// and ends as [described](Self#how-a-stream-ends). These do not wait:
    ///
    /// - a request that comes after the shutdown has begun: its stream takes no turn and
    ///   ends at once, so that clients that come back cannot keep the shutdown going;
    /// - a stream that notices after its turn, because its client did not read: it ends
    ///   when it notices;
    /// - a stream that is over before its turn: it ends then;
    /// - a stream that is polled outside a tokio runtime, where there are no timers: it
    ///   ends when it has sent what there is.
    ///
    /// Cost: the shutdown takes `streams / batch * interval`, for which the time-out around
    /// the server's own shutdown must leave room; and a timer for each stream that waits,
    /// which is the one of its keep-alive. Rocket's shutdown does not wait for turns.
    #[must_use]
    pub fn paced(batch: usize, interval: Duration) -> Self {
        Self::with(Some(Pace {
            batch: batch.max(1),
            interval: interval.min(Duration::from_secs(86_400)),
            turns: Turns::new(),
        }))
    }

    fn with(pace: Option<Pace>) -> Self {
        Self {
            shared: Arc::new(Shared {
                begun: Arc::new(Latch::new()),
                moment: OnceLock::new(),
                pace,
                open: AssertUnwindSafe(watch::Sender::new(())),
            }),
        }
    }

    /// Begins it. Beginning twice is beginning once. Does not wait.
    pub fn begin(&self) {
        let is_new = self.shared.moment.set(Instant::now()).is_ok();
        self.shared.begun.set();
        if is_new {
            observe(&Happening::ShutdownBegun);
        }
    }

    /// Whether it has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.shared.begun.is_set()
    }

    /// Waits until it begins.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn begun(&self) {
        let mut notice = Notice::of(&self.shared.begun);
        poll_fn(|cx| notice.poll_set(cx)).await;
    }

    /// Waits until it has begun and every stream that was given to it has ended: either
    /// its last bytes are with the server, or its client has left. That the server has
    /// written them is for the server's own graceful shutdown to wait for.
    ///
    /// A client that does not read keeps it waiting, so put a time-out around it. It
    /// looks at the streams that are open, not at those that are to come: first let the
    /// server accept nothing more.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn ended(&self) {
        self.begun().await;
        self.shared.open.closed().await;
    }

    /// One more that has to leave.
    pub(crate) fn departure(&self) -> Departure {
        Departure {
            // Whoever comes late has no turn: it would come back, and back again.
            has_turn: !self.has_begun(),
            notice: Notice::of(&self.shared.begun),
            shared: Arc::clone(&self.shared),
            _open: self.shared.open.subscribe(),
        }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown")
            .field("begun", &self.has_begun())
            .finish()
    }
}

/// What one who has to leave holds: it is told when a shutdown begins and when to leave,
/// and the shutdown has not ended before this is dropped. Dropping it is all there is to
/// clean up; it is the last thing to drop.
pub(crate) struct Departure {
    has_turn: bool,
    notice: Notice,
    shared: Arc<Shared>,
    _open: watch::Receiver<()>,
}

impl Departure {
    /// Whether the shutdown has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.notice.is_set()
    }

    /// Waits until the shutdown begins.
    pub(crate) fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.notice.poll_set(cx)
    }

    /// When to leave, asked once after the shutdown has begun; `None` is at once. It may
    /// be over already.
    pub(crate) fn take_turn(&mut self) -> Option<Instant> {
        if !std::mem::take(&mut self.has_turn) {
            return None;
        }
        let wait = self.shared.pace.as_ref()?.next()?;
        self.shared.moment.get()?.checked_add(wait)
    }
}

#[cfg(feature = "detached")]
impl Departure {
    /// Leaves it to somebody else to hear of the beginning.
    pub(crate) fn waived(self) -> Waived {
        Waived {
            has_turn: self.has_turn,
            shared: self.shared,
            open: self._open,
        }
    }
}

/// A departure for which somebody else hears that the shutdown begins: a third of its size.
#[cfg(feature = "detached")]
pub(crate) struct Waived {
    has_turn: bool,
    shared: Arc<Shared>,
    open: watch::Receiver<()>,
}

#[cfg(feature = "detached")]
impl Waived {
    /// Hears of it by itself again.
    pub(crate) fn alone(self) -> Departure {
        Departure {
            has_turn: self.has_turn,
            notice: self.notice(),
            shared: self.shared,
            _open: self.open,
        }
    }

    /// Whether the shutdown has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.shared.begun.is_set()
    }

    /// To hear of the beginning for all that have the same [`id`](Self::id).
    pub(crate) fn notice(&self) -> Notice {
        Notice::of(&self.shared.begun)
    }

    /// Which shutdown it is, while this lives.
    pub(crate) fn id(&self) -> usize {
        Arc::as_ptr(&self.shared) as usize
    }
}

/// So many at once, and so many after each interval.
struct Pace {
    batch: usize,
    interval: Duration,
    turns: Turns,
}

impl Pace {
    /// How long after the beginning it is the next one's turn; `None` is at once.
    fn next(&self) -> Option<Duration> {
        let before = self.turns.take() / self.batch;
        let intervals = u32::try_from(before).unwrap_or(u32::MAX);
        (intervals > 0).then(|| self.interval.saturating_mul(intervals))
    }
}
