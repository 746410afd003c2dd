//! Telling every open stream that it is time to go.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use crate::log::{Latch, Notice};

/// Ends every stream of the [`EventSource`](crate::EventSource)s that it was given
/// to, and lets the rest of a server wait for the same moment.
///
/// A server's own graceful shutdown waits until its responses have ended, and an
/// event stream never ends by itself. So begin this first:
///
/// ```
/// # async fn example(store: tornadose::QueueStore) {
/// use tornadose::{EventSource, Shutdown};
///
/// let shutdown = Shutdown::new();
/// let events = EventSource::new(store).shutdown(&shutdown);
/// // ... serve `events` ...
///
/// // On SIGTERM:
/// shutdown.begin();
/// # }
/// ```
///
/// Each stream sends what there was when it noticed, then a jittered `retry:`, and ends
/// cleanly; a stream whose client does not read ends when that client reads again
/// or its connection is closed. Requests that come later get a stream that ends in
/// the same way.
///
/// A cheap handle: clones are the same shutdown.
#[derive(Clone)]
pub struct Shutdown {
    latch: Arc<Latch>,
}

impl Shutdown {
    /// A shutdown that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self {
            latch: Arc::new(Latch::new()),
        }
    }

    /// Begins it. Beginning twice is beginning once.
    pub fn begin(&self) {
        self.latch.set();
    }

    /// Whether it has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.latch.is_set()
    }

    /// Waits until it begins.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn begun(&self) {
        let mut notice = self.notice();
        poll_fn(|cx| notice.poll_set(cx)).await;
    }

    pub(crate) fn notice(&self) -> Notice {
        Notice::of(&self.latch)
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
