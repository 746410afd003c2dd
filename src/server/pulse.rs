//! What a connection does, as its parts tell it, and how long it may do nothing.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::log::Gauge;

/// A ping of HTTP/2, or its answer, is no sign that a client still takes one of ours.
const SMALL: usize = 64;

/// Told by the parts of one connection, each by itself. Whoever tells of something has the
/// connection's task polled, too, or is it.
#[derive(Debug)]
pub(super) struct Pulse {
    /// Requests whose head has come.
    requests: Gauge,
    /// Those that are not over: their answer has not been given, or not its last byte.
    open: Gauge,
    /// Of more than one request at a time.
    multiplexed: Gauge,
    read: Gauge,
    written: Gauge,
}

/// A request that is not over.
#[derive(Debug)]
pub(super) struct Request {
    pulse: Arc<Pulse>,
    stays: bool,
}

impl Request {
    /// It is not over when its answer is, but goes on out of sight, to the connection's end.
    pub(super) fn stays(&mut self) {
        self.stays = true;
    }
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            requests: Gauge::new(),
            open: Gauge::new(),
            multiplexed: Gauge::new(),
            read: Gauge::new(),
            written: Gauge::new(),
        }
    }

    pub(super) fn request(self: &Arc<Self>, is_multiplexed: bool) -> Request {
        self.requests.add();
        self.open.add();
        if is_multiplexed && self.multiplexed.get() == 0 {
            self.multiplexed.add();
        }
        Request {
            pulse: Arc::clone(self),
            stays: false,
        }
    }

    pub(super) fn has_read(&self) {
        self.read.add();
    }

    pub(super) fn has_written(&self, bytes: usize) {
        if bytes > SMALL {
            self.written.add();
        }
    }

    fn beat(&self) -> Beat {
        Beat {
            requests: self.requests.get(),
            // What else comes over HTTP/2 is answers to our pings, or as good as that.
            read: match self.multiplexed.get() {
                0 => self.read.get(),
                _ => 0,
            },
            written: self.written.get(),
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if !self.stays {
            self.pulse.open.sub();
        }
    }
}

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For a head.
    pub(super) head: Duration,
    /// Between two requests.
    pub(super) idle: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Beat {
    requests: usize,
    read: usize,
    written: usize,
}

/// Watches a connection.
#[derive(Debug)]
pub(super) struct Watch {
    pulse: Arc<Pulse>,
    patience: Patience,
    phase: Phase,
    since: Instant,
    last: Beat,
    timer: Pin<Box<Sleep>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A head is awaited, or has begun.
    Head,
    /// A request is open.
    Busy,
    /// The last answer is on its way or out, and nothing has come since.
    Idle,
}

impl Watch {
    pub(super) fn new(pulse: Arc<Pulse>, patience: Patience) -> Self {
        let now = Instant::now();
        Self {
            phase: Phase::Head,
            since: now,
            last: pulse.beat(),
            timer: Box::pin(sleep_until(later(now, patience.head))),
            pulse,
            patience,
        }
    }

    /// Whether it has asked for nothing yet.
    pub(super) fn is_new(&self) -> bool {
        self.pulse.requests.get() == 0
    }

    /// Ready when the client has had its time. To be polled behind the connection.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.look();
        let due = match self.phase {
            Phase::Busy => return Poll::Pending,
            Phase::Head => later(self.since, self.patience.head),
            Phase::Idle => later(self.since, self.patience.idle),
        };
        // A timer that is early is cheaper than one that is moved with each request.
        if self.timer.deadline() > due {
            self.timer.as_mut().reset(due);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(due);
        }
        Poll::Pending
    }

    fn look(&mut self) {
        let (is_busy, beat) = (self.pulse.open.get() > 0, self.pulse.beat());
        let phase = match self.phase {
            _ if is_busy => Phase::Busy,
            Phase::Busy => Phase::Idle,
            // One has come and is over already.
            _ if beat.requests != self.last.requests => Phase::Idle,
            Phase::Idle if beat.read != self.last.read => Phase::Head,
            phase => phase,
        };
        let goes_on = phase == self.phase && beat.requests == self.last.requests;
        if !goes_on || (phase == Phase::Idle && beat.written != self.last.written) {
            self.since = Instant::now();
        }
        self.phase = phase;
        self.last = beat;
    }
}

/// A century is without end.
fn later(from: Instant, by: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    from.checked_add(by.min(CENTURY)).unwrap_or(from)
}
