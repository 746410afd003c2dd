//! What a live subscription is to, changed from elsewhere.

use std::fmt;
use std::sync::Arc;
use std::task::Waker;

use crate::log::sync::Mutex;
use crate::log::waiters::{Ticket, Waiters};
use crate::topic::Topics;

/// Adds topics to a live subscription and removes them: from another request of the same
/// user, or from a message that came over its WebSocket.
///
/// Give it to the stream with [`Permit::control`](crate::Permit::control) and keep a clone.
/// Nothing is asked again: what is added is granted by whoever adds it.
///
/// - An event of a topic that was added comes if it was submitted after the addition was
///   noticed, which is before anything else is sent. Of a topic with the latest value its
///   current one comes first, without an id, because its place in the order is past.
/// - Of a topic that was removed nothing more comes once the removal was noticed.
/// - The position stays one, and no event of other topics is lost or comes twice. Who comes
///   back has to ask for the topics that it has by then.
///
/// ```
/// use tornadose::{Control, EventSource, Hub, Permit, Topic, Topics};
///
/// let control = Control::new(); // one for each stream; keep it under the user's session
/// let granted = control.clone();
/// let events = EventSource::new(Hub::new()).permit(move |_| {
///     Ok(Permit::new().topics(Topics::new()).control(&granted))
/// });
///
/// control.add("rooms/7".parse::<Topic>()?);
/// # let _ = events;
/// # Ok::<(), tornadose::InvalidTopic>(())
/// ```
///
/// A cheap handle: clones are the same. One that is given to several streams is heard by
/// one of them.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

struct Shared {
    change: Mutex<Change>,
    waiters: Waiters<1>,
}

/// What has been asked for since it was last noticed; no topic stands in both.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) add: Topics,
    pub(crate) remove: Topics,
}

impl Control {
    /// Of no stream yet; what is changed until it is of one is changed then.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                change: Mutex::new(Change::default()),
                waiters: Waiters::new(),
            }),
        }
    }

    /// Adds topics. Those that are there already stay as they are, and those beyond
    /// [`Topics::MAX`] are left out.
    pub fn add(&self, topics: impl Into<Topics>) {
        let topics = topics.into();
        let mut change = self.shared.change.lock();
        change.remove.remove_all(&topics);
        change.add.add_all(topics);
        drop(change);
        self.shared.waiters.wake_all();
    }

    /// Removes topics and patterns, by the text by which they were added.
    pub fn remove(&self, topics: impl Into<Topics>) {
        let topics = topics.into();
        let mut change = self.shared.change.lock();
        change.add.remove_all(&topics);
        change.remove.add_all(topics);
        drop(change);
        self.shared.waiters.wake_all();
    }

    /// Parks first and looks then, so that no change goes unnoticed.
    pub(crate) fn take(&self, ticket: &mut Ticket, waker: &Waker) -> Option<Change> {
        drop(self.shared.waiters.park(ticket, waker));
        let mut change = self.shared.change.lock();
        if change.add.is_empty() && change.remove.is_empty() {
            return None;
        }
        Some(std::mem::take(&mut *change))
    }

    pub(crate) fn leave(&self, ticket: &mut Ticket) {
        drop(self.shared.waiters.leave(ticket));
    }
}

impl Default for Control {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Control {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Eq for Control {}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}
