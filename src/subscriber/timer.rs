//! The one timer of a stream: a sign of life when it is quiet, and its end.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until};

/// Fires when nothing has been sent for the keep-alive interval, and at the deadline.
///
/// The timer is not moved with every event, which would cost more than the event: it
/// fires where it was set, looks how long the stream has been quiet, and sleeps for
/// the rest.
#[derive(Debug)]
pub(crate) struct Timer {
    keep_alive: Option<Duration>,
    deadline: Option<Instant>,
    sent: Instant,
    /// Made at the first wait, inside the server's runtime. Boxed, so that bodies
    /// are `Unpin`.
    sleep: Option<Pin<Box<Sleep>>>,
}

/// What it is time for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    KeepAlive,
    Deadline,
}

impl Timer {
    /// A lifetime that a clock cannot hold is none.
    pub(crate) fn new(keep_alive: Option<Duration>, lifetime: Option<Duration>) -> Self {
        let now = Instant::now();
        Self {
            keep_alive,
            deadline: lifetime.and_then(|lifetime| now.checked_add(lifetime)),
            sent: now,
            sleep: None,
        }
    }

    /// Something was sent.
    pub(crate) fn sent(&mut self) {
        self.sent = Instant::now();
    }

    /// Whether the deadline has passed, for a stream that never waits.
    pub(crate) fn is_over(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| deadline <= Instant::now())
    }

    /// A keep-alive that is due is taken: the next interval counts from now.
    pub(crate) fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<Due> {
        if Handle::try_current().is_err() {
            // No runtime, no timer; the stream itself does not need one.
            return Poll::Pending;
        }
        loop {
            let Some((at, due)) = self.next() else {
                return Poll::Pending;
            };
            if at <= Instant::now() {
                self.sent();
                return Poll::Ready(due);
            }
            match &mut self.sleep {
                None => self.sleep = Some(Box::pin(sleep_until(at))),
                // It may fire too early, after something was sent, but never too late.
                Some(sleep) if sleep.is_elapsed() || sleep.deadline() > at => {
                    sleep.as_mut().reset(at);
                }
                Some(_) => {}
            }
            if let Some(sleep) = &mut self.sleep {
                ready!(sleep.as_mut().poll(cx));
            }
        }
    }

    fn next(&self) -> Option<(Instant, Due)> {
        let keep_alive = self
            .keep_alive
            .map(|interval| (self.sent + interval, Due::KeepAlive));
        let deadline = self.deadline.map(|deadline| (deadline, Due::Deadline));
        match (keep_alive, deadline) {
            (Some(keep_alive), Some(deadline)) if deadline.0 <= keep_alive.0 => Some(deadline),
            (keep_alive, deadline) => keep_alive.or(deadline),
        }
    }
}
