//! Submitters that wait for room in a topic.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::crowd::Crowd;
use super::index::{After, TopicId};
use super::{TopicLog, wake};
use crate::log::waiters::Ticket;
use crate::position::Position;

/// An event that was taken.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) position: Position,
    /// The topic it is in, and who waits for room in that, if it has none.
    pub(super) full: Option<(TopicId, Arc<Crowd>)>,
}

/// Room in a topic.
#[derive(Debug)]
pub(crate) struct Room {
    log: Arc<TopicLog>,
    topic: TopicId,
    crowd: Arc<Crowd>,
}

impl Room {
    /// `None` if there is room.
    pub(crate) fn after(taken: Taken, log: &Arc<TopicLog>) -> Option<Self> {
        let (topic, crowd) = taken.full?;
        let log = Arc::clone(log);
        Some(Self { log, topic, crowd })
    }

    /// How long the topic will wait at most before there is room; `None` if there is.
    pub(crate) fn has_no_room(&self) -> Option<Duration> {
        self.log
            .index
            .read()
            .blocked_for(self.topic, Instant::now())
    }

    pub(crate) fn poll_room(&self, cx: &mut Context<'_>, ticket: &mut Ticket) -> Poll<()> {
        let index = self.log.index.read();
        if index.no_room(self.topic).is_none() {
            return Poll::Ready(());
        }
        // Woken by who reads or leaves the topic, and by `close`.
        let replaced = self.crowd.waiters.park(ticket, cx.waker());
        drop(index);
        drop(replaced);
        Poll::Pending
    }

    pub(crate) fn leave_room(&self, ticket: &mut Ticket) {
        drop(self.crowd.waiters.leave(ticket));
    }

    /// Goes on without the readers that have stalled for too long.
    pub(crate) fn enforce_stall(&self) {
        let mut after = After::default();
        let mut index = self.log.index.write();
        index.enforce_stall(self.topic, Instant::now(), &mut after);
        drop(index);
        wake(&after.woken);
    }
}
