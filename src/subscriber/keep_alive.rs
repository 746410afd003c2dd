//! A sign of life on a quiet stream.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until};

/// Fires when nothing has been sent for the interval.
///
/// The timer is not moved with every event, which would cost more than the event:
/// it fires where it was set, looks how long the stream has been quiet, and sleeps
/// for the rest.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    interval: Option<Duration>,
    sent: Instant,
    /// Made at the first wait, inside the server's runtime. Boxed, so that bodies
    /// are `Unpin`.
    timer: Option<Pin<Box<Sleep>>>,
}

impl KeepAlive {
    pub(crate) fn new(interval: Option<Duration>) -> Self {
        Self {
            interval,
            sent: Instant::now(),
            timer: None,
        }
    }

    /// Something was sent.
    pub(crate) fn sent(&mut self) {
        self.sent = Instant::now();
    }

    /// Ready when it is time for a comment, from which the next interval counts.
    pub(crate) fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(interval) = self.interval else {
            return Poll::Pending;
        };
        if Handle::try_current().is_err() {
            // No runtime, no timer; the stream itself does not need one.
            return Poll::Pending;
        }
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(self.sent + interval)));
        loop {
            ready!(timer.as_mut().poll(cx));
            let due = self.sent + interval;
            let now = Instant::now();
            if now >= due {
                self.sent = now;
                timer.as_mut().reset(now + interval);
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
    }
}
