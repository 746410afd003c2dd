//! Every event, in order.

use std::fmt;
use std::sync::Arc;

use super::{MAX_EVENT_BYTES, Owner, Store};
use crate::error::SubmitError;
use crate::event::Event;
use crate::log::{Config, Lag, Overflow, Retention, Submitted};
use crate::position::Position;
use crate::stats::Stats;
use crate::subscription::{Subscribe, Subscription};

/// A lossless store: every subscriber gets every event, in order, within the
/// store's [`Retention`].
///
/// - Who connects without an id begins where its [`Start`](crate::Start) says,
///   with the next event by default.
/// - Who comes back with the id of its last event gets every later one, once,
///   without a seam between what was kept and what is new.
/// - Who is too late, or too slow, is told exactly how many events it missed
///   ([`Gap`](crate::Gap)), or is treated as the [`Overflow`] says.
///
/// Memory: the retention's bound, whatever the subscribers do.
///
/// A cheap handle: clones share one store. With the last handle the store is
/// closed.
///
/// ```
/// use tornadose::{QueueStore, Start};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tornadose::SubmitError> {
/// let store = QueueStore::new();
/// store.submit("one")?;
/// store.submit("two")?;
///
/// let mut late = store.subscribe(Start::Oldest);
/// assert_eq!(late.recv().await.unwrap().event().unwrap().data(), "one");
/// assert_eq!(late.recv().await.unwrap().event().unwrap().data(), "two");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct QueueStore {
    owner: Arc<Owner>,
}

impl QueueStore {
    /// A store with the defaults of [`builder`](Self::builder).
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Settings for a store.
    pub fn builder() -> QueueStoreBuilder {
        QueueStoreBuilder {
            retention: Retention::new(),
            overflow: Overflow::DropOldest,
            max_event_bytes: MAX_EVENT_BYTES,
            name: None,
        }
    }

    /// Appends an event and wakes every subscriber.
    ///
    /// Callable from any thread, inside a runtime or not; it never waits for a
    /// subscriber. When it returns, the event has its place and every subscriber
    /// will see it there: of two submits, one of which returned before the other
    /// began, everybody sees the first one first.
    ///
    /// What it returns may be dropped, or awaited for back-pressure
    /// ([`Overflow::Wait`]).
    ///
    /// # Errors
    ///
    /// [`SubmitError`] hands the event back; nobody sees anything of it.
    pub fn submit(&self, event: impl Into<Event>) -> Result<Submitted, SubmitError> {
        let log = &self.owner.0;
        Ok(Submitted::when_room(log.append(event.into())?, log))
    }

    /// Begins a subscription.
    pub fn subscribe(&self, subscribe: impl Into<Subscribe>) -> Subscription {
        Subscription::new(&self.owner.0, &subscribe.into())
    }

    /// How many subscriptions there are now.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.owner.0.subscriptions()
    }

    /// The position of the newest event, which a subscriber that has everything
    /// is at, whether the event is still retained or not. `None` before the first.
    #[must_use]
    pub fn latest(&self) -> Option<Position> {
        self.owner.0.head()
    }

    /// What there is, what was done, and who is behind: a snapshot, at its [cost](Stats#cost).
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.owner.0.stats()
    }

    /// Takes no more events. Subscribers get what was submitted before and then
    /// end ([`End::Closed`](crate::End::Closed)). Closing twice is closing once.
    pub fn close(&self) {
        self.owner.0.close();
    }

    /// Whether the store is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.owner.0.is_closed()
    }
}

impl Default for QueueStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for QueueStore {
    fn submit(&self, event: Event) -> Result<Submitted, SubmitError> {
        self.submit(event)
    }

    fn subscribe(&self, subscribe: Subscribe) -> Subscription {
        self.subscribe(subscribe)
    }
}

impl fmt::Debug for QueueStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueStore")
            .field("latest", &self.latest())
            .field("subscribers", &self.subscribers())
            .finish_non_exhaustive()
    }
}

/// Settings for a [`QueueStore`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct QueueStoreBuilder {
    retention: Retention,
    overflow: Overflow,
    max_event_bytes: usize,
    name: Option<&'static str>,
}

impl QueueStoreBuilder {
    /// What is kept. Default: [`Retention::new`], 10,000 events in 16 MiB.
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// What happens to subscribers that are slower than that. Default:
    /// [`Overflow::DropOldest`].
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// The largest event that is taken, in bytes of data and name together.
    /// Default: 1 MiB. Each line break of the data costs up to 7 bytes more on the
    /// wire.
    pub fn max_event_bytes(mut self, bytes: usize) -> Self {
        self.max_event_bytes = bytes;
        self
    }

    /// What the store is called in its [figures](crate::Stats::store) and in log lines: a
    /// word of the program's own, of which there are few. Default: none.
    pub fn name(mut self, name: &'static str) -> Self {
        self.name = Some(name);
        self
    }

    /// The store.
    #[must_use]
    pub fn build(self) -> QueueStore {
        QueueStore {
            owner: Owner::new(Config {
                retention: self.retention,
                lag: Lag::Overflow(self.overflow),
                name: self.name,
                max_event_bytes: self.max_event_bytes,
            }),
        }
    }
}
