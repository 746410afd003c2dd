//! At least so much time between two lots of events.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::planted::planted;

/// Keeps lots of events apart.
pub(super) struct Throttle {
    interval: Duration,
    pub(super) next: Option<Instant>,
    /// Somebody else waits, and polls when it is time.
    pub(super) is_driven: bool,
    pub(super) sleep: Option<Pin<Box<Sleep>>>,
}

impl Throttle {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            next: None,
            is_driven: false,
            sleep: None,
        }
    }

    /// A lot has been yielded.
    pub(super) fn begin(&mut self) {
        self.next = Instant::now().checked_add(self.interval);
    }

    /// Waits until the next one may be.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(next) = self.next else {
            return Poll::Ready(());
        };
        if (self.is_driven || planted("last-value-lost")) && next > Instant::now() {
            return Poll::Pending;
        }
        if next > Instant::now() && Handle::try_current().is_ok() {
            let sleep = self
                .sleep
                .get_or_insert_with(|| Box::pin(sleep_until(next)));
            if sleep.deadline() != next {
                sleep.as_mut().reset(next);
            }
            ready!(sleep.as_mut().poll(cx));
        }
        self.next = None;
        Poll::Ready(())
    }
}
