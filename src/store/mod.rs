//! Stores decide what is kept and for whom.
//!
//! - [`QueueStore`]: every event, in order, within a retention; nobody misses one
//!   without being told.
//! - [`DataStore`]: the latest value; a newcomer gets it first, and who is slow
//!   skips to it.
//!
//! - [`Hub`]: many topics of either kind, in one order.
//!
//! The first two are the same log under two policies.

mod data;
mod hub;
mod queue;

pub use self::data::{DataStore, DataStoreBuilder};
pub use self::hub::{Hub, HubBuilder};
pub use self::queue::{QueueStore, QueueStoreBuilder};

use std::sync::Arc;

use crate::error::SubmitError;
use crate::event::Event;
use crate::log::{Config, Log, Submitted};
use crate::subscription::{Subscribe, Subscription};

/// The largest event that a store takes unless it is told otherwise.
const MAX_EVENT_BYTES: usize = 1 << 20;

/// Where events are submitted and subscribed to; one of the crate's own, or yours.
///
/// # Implementing
///
/// Most stores of your own are one of ours with something before or behind it: a
/// filter, a transformation, a copy kept elsewhere. Hold the inner store and hand
/// [`subscribe`](Self::subscribe) on. A store that has nothing in common with
/// ours makes its subscriptions with [`Subscription::from_stream`].
///
/// - `submit` is called from any thread, inside a runtime or not: it must not
///   block on a subscriber and must not need a runtime.
/// - An event for which `submit` has returned `Ok` reaches every subscription made
///   before or, as far as it is retained, after it.
/// - All subscriptions see events in one order. What is missing is told by a
///   [`Delivery::Gap`](crate::Delivery::Gap) in its place.
/// - Dropping a subscription is all that a subscriber does to leave.
///
/// ```
/// use tornadose::{DataStore, Event, QueueStore, Start, Store, Submitted, SubmitError, Subscribe, Subscription};
///
/// /// Keeps every event for its subscribers and the latest for everybody.
/// #[derive(Clone, Default)]
/// struct Remembering {
///     events: QueueStore,
///     latest: DataStore,
/// }
///
/// impl Store for Remembering {
///     fn submit(&self, event: Event) -> Result<Submitted, SubmitError> {
///         self.latest.submit(event.clone())?;
///         self.events.submit(event)
///     }
///
///     fn subscribe(&self, subscribe: Subscribe) -> Subscription {
///         self.events.subscribe(subscribe)
///     }
/// }
///
/// let store = Remembering::default();
/// store.submit("on".into())?;
/// assert_eq!(store.latest.get().unwrap().data(), "on");
/// let source = tornadose::EventSource::new(store).start(Start::Oldest);
/// # Ok::<(), SubmitError>(())
/// ```
pub trait Store: Send + Sync + 'static {
    /// Takes an event, or hands it back in the error.
    ///
    /// # Errors
    ///
    /// [`SubmitError`]: the store is as it was before.
    fn submit(&self, event: Event) -> Result<Submitted, SubmitError>;

    /// Begins a subscription. Does not wait: what there is to receive is received
    /// from the subscription.
    fn subscribe(&self, subscribe: Subscribe) -> Subscription;
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn submit(&self, event: Event) -> Result<Submitted, SubmitError> {
        (**self).submit(event)
    }

    fn subscribe(&self, subscribe: Subscribe) -> Subscription {
        (**self).subscribe(subscribe)
    }
}

impl<S: Store + ?Sized> Store for Box<S> {
    fn submit(&self, event: Event) -> Result<Submitted, SubmitError> {
        (**self).submit(event)
    }

    fn subscribe(&self, subscribe: Subscribe) -> Subscription {
        (**self).subscribe(subscribe)
    }
}

/// The handle of a log that stores share: with the last of them the log is closed,
/// so that subscriptions end that nobody can feed any more.
#[derive(Debug)]
struct Owner(Arc<Log>);

impl Owner {
    fn new(config: Config) -> Arc<Self> {
        Arc::new(Self(Arc::new(Log::new(config))))
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.close();
    }
}
