//! The latest value.

use std::fmt;
use std::sync::Arc;

use super::{MAX_EVENT_BYTES, Owner, Store};
use crate::entry::Entry;
use crate::error::SubmitError;
use crate::event::Event;
use crate::log::{Config, Lag, Retention, Submitted};
use crate::stats::Stats;
use crate::subscription::{Subscribe, Subscription};

/// A store of one value: what has not been read yet is replaced by what is newer.
///
/// - Who connects gets the current value at once, unless it comes back with the id
///   of just that value. Where a subscription asks to [start](crate::Start) makes
///   no difference.
/// - Every subscriber sees newer and newer values. One that is slow skips values,
///   and is not told so: that is what the store is for.
/// - When submits pause, every subscriber ends at the last value.
///
/// Memory: one event, whatever the subscribers do.
///
/// A cheap handle: clones share one store. With the last handle the store is
/// closed.
///
/// ```
/// use tornadose::{DataStore, Start};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tornadose::SubmitError> {
/// let store = DataStore::with_initial("0")?;
/// let mut subscription = store.subscribe(Start::Live);
/// assert_eq!(subscription.recv().await.unwrap().event().unwrap().data(), "0");
///
/// store.submit("1")?;
/// store.submit("2")?;
/// assert_eq!(subscription.recv().await.unwrap().event().unwrap().data(), "2");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DataStore {
    owner: Arc<Owner>,
    only_changes: bool,
}

impl DataStore {
    /// A store without a value, with the defaults of [`builder`](Self::builder).
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A store with a first value, which counts like any other.
    ///
    /// # Errors
    ///
    /// [`SubmitError::TooLarge`] if it is larger than 1 MiB.
    pub fn with_initial(event: impl Into<Event>) -> Result<Self, SubmitError> {
        let store = Self::new();
        store.submit(event)?;
        Ok(store)
    }

    /// Settings for a store.
    pub fn builder() -> DataStoreBuilder {
        DataStoreBuilder {
            only_changes: false,
            max_event_bytes: MAX_EVENT_BYTES,
            name: None,
        }
    }

    /// Replaces the value and wakes every subscriber.
    ///
    /// Callable from any thread, inside a runtime or not; it never waits. What it
    /// returns is ready at once and may be dropped.
    ///
    /// # Errors
    ///
    /// [`SubmitError`] hands the event back; the value is as it was.
    pub fn submit(&self, event: impl Into<Event>) -> Result<Submitted, SubmitError> {
        let unchanged = |latest: &Entry, event: &Event| {
            self.only_changes
                && latest.data() == event.data()
                && latest.name() == event.event_name().as_str()
        };
        let position = self.owner.0.append_unless(event.into(), unchanged)?;
        Ok(Submitted::ready(position))
    }

    /// The current value, for example to answer a plain `GET`. `None` before the
    /// first.
    #[must_use]
    pub fn get(&self) -> Option<Entry> {
        self.owner.0.latest()
    }

    /// Begins a subscription, with the current value.
    pub fn subscribe(&self, subscribe: impl Into<Subscribe>) -> Subscription {
        Subscription::new(&self.owner.0, &subscribe.into())
    }

    /// How many subscriptions there are now.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.owner.0.subscriptions()
    }

    /// What there is, what was done, and who is behind: a snapshot, at its [cost](Stats#cost).
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.owner.0.stats()
    }

    /// Takes no more values. Subscribers get the last one and then end
    /// ([`End::Closed`](crate::End::Closed)). Closing twice is closing once.
    pub fn close(&self) {
        self.owner.0.close();
    }

    /// Whether the store is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.owner.0.is_closed()
    }
}

impl Default for DataStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for DataStore {
    fn submit(&self, event: Event) -> Result<Submitted, SubmitError> {
        self.submit(event)
    }

    fn subscribe(&self, subscribe: Subscribe) -> Subscription {
        self.subscribe(subscribe)
    }
}

impl fmt::Debug for DataStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataStore")
            .field("latest", &self.get().map(|entry| entry.id()))
            .field("subscribers", &self.subscribers())
            .finish_non_exhaustive()
    }
}

/// Settings for a [`DataStore`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct DataStoreBuilder {
    only_changes: bool,
    max_event_bytes: usize,
    name: Option<&'static str>,
}

impl DataStoreBuilder {
    /// Whether a submit of the same data under the same name as the current value
    /// is no news and wakes nobody. Default: no, every submit is delivered.
    ///
    /// Such a submit returns the position of the value that stands. Cost: one
    /// comparison of the data under the log's lock.
    pub fn only_changes(mut self, only_changes: bool) -> Self {
        self.only_changes = only_changes;
        self
    }

    /// The largest event that is taken, in bytes of data and name together.
    /// Default: 1 MiB.
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

    /// The store, without a value.
    #[must_use]
    pub fn build(self) -> DataStore {
        DataStore {
            owner: Owner::new(Config {
                retention: Retention::new().events(1).bytes(usize::MAX),
                lag: Lag::Conflate,
                name: self.name,
                max_event_bytes: self.max_event_bytes,
            }),
            only_changes: self.only_changes,
        }
    }
}
