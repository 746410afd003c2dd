//! What a submit returns.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep};

use super::topics::{self, Taken, TopicLog};
use super::{Log, Ticket};
use crate::error::SubmitError;
use crate::position::Position;

/// An event that has been taken by a store.
///
/// It is in the log and visible to every present and future subscriber; nothing
/// needs to be done with this value, and dropping it takes nothing back.
///
/// Awaiting it is the back-pressure of a store, or of a topic, that waits for its slowest
/// subscriber ([`Overflow::Wait`](crate::Overflow::Wait)): it resolves as soon as that
/// holds no more than its retention. With every other store and topic of this crate it is
/// ready at once.
///
/// # Cancel safety
///
/// Dropping it, before or while it is awaited, only gives up the back-pressure.
///
/// # Runtime
///
/// Where it has to wait, the stall timeout needs a tokio runtime with time; a
/// plain thread waits with [`wait`](Self::wait).
///
/// # Panics
///
/// Where it has to wait, polling panics, as all timers of tokio do, inside a tokio
/// runtime that was built without time.
pub struct Submitted {
    position: Position,
    room: Option<Room>,
}

struct Room {
    of: Of,
    ticket: Ticket,
    stall: Option<Pin<Box<Sleep>>>,
}

/// What has no room.
enum Of {
    Log(Arc<Log>),
    Topic(topics::Room),
}

impl Submitted {
    /// For stores of your own: an event that is safely at `position`.
    #[must_use]
    pub fn ready(position: Position) -> Self {
        Self {
            position,
            room: None,
        }
    }

    pub(crate) fn when_room(position: Position, log: &Arc<Log>) -> Self {
        let room = log.has_no_room().map(|_| Room {
            of: Of::Log(Arc::clone(log)),
            ticket: Ticket::default(),
            stall: None,
        });
        Self { position, room }
    }

    pub(crate) fn in_topic(taken: Taken, log: &Arc<TopicLog>) -> Self {
        let position = taken.position;
        let room = topics::Room::after(taken, log).map(|room| Room {
            of: Of::Topic(room),
            ticket: Ticket::default(),
            stall: None,
        });
        Self { position, room }
    }

    /// The event's position, its id.
    #[must_use]
    pub fn id(&self) -> Position {
        self.position
    }

    /// Whether the store, or the topic, has room, that is, awaiting would not wait.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.room
            .as_ref()
            .is_none_or(|room| room.of.has_no_room().is_none())
    }

    /// Blocks this thread until there is room. Not for async code.
    ///
    /// # Errors
    ///
    /// None with the stores in memory.
    pub fn wait(mut self) -> Result<Position, SubmitError> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut cx = Context::from_waker(&waker);
        while let Some(room) = &mut self.room
            && room.of.poll_room(&mut cx, &mut room.ticket).is_pending()
        {
            match room.of.has_no_room() {
                None => {}
                Some(left) if left.is_zero() => room.of.enforce_stall(),
                Some(left) => thread::park_timeout(left),
            }
        }
        Ok(self.position)
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Future for Submitted {
    type Output = Result<Position, SubmitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let position = self.position;
        let Some(room) = &mut self.room else {
            return Poll::Ready(Ok(position));
        };
        loop {
            // Woken by a reader that moves or leaves, by `close`, or by the timer.
            let Poll::Pending = room.of.poll_room(cx, &mut room.ticket) else {
                self.room = None;
                return Poll::Ready(Ok(position));
            };
            let Some(left) = room.of.has_no_room() else {
                continue;
            };
            if left.is_zero() {
                room.of.enforce_stall();
                continue;
            }
            if Handle::try_current().is_err() {
                return Poll::Pending;
            }
            // A stall beyond a day is looked at again after a day.
            let deadline = Instant::now() + left.min(Duration::from_secs(86_400));
            let stall = room
                .stall
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            stall.as_mut().reset(deadline);
            std::task::ready!(stall.as_mut().poll(cx));
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.of.leave_room(&mut self.ticket);
    }
}

impl fmt::Debug for Submitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submitted")
            .field("id", &self.position)
            .finish_non_exhaustive()
    }
}

impl Of {
    fn has_no_room(&self) -> Option<Duration> {
        match self {
            Self::Log(log) => log.has_no_room(),
            Self::Topic(room) => room.has_no_room(),
        }
    }

    fn poll_room(&self, cx: &mut Context<'_>, ticket: &mut Ticket) -> Poll<()> {
        match self {
            Self::Log(log) => log.poll_room(cx, ticket),
            Self::Topic(room) => room.poll_room(cx, ticket),
        }
    }

    fn leave_room(&self, ticket: &mut Ticket) {
        match self {
            Self::Log(log) => log.leave_room(ticket),
            Self::Topic(room) => room.leave_room(ticket),
        }
    }

    fn enforce_stall(&self) {
        match self {
            Self::Log(log) => log.enforce_stall(),
            Self::Topic(room) => room.enforce_stall(),
        }
    }
}

impl Log {
    /// How long the log will wait at most before there is room; `None` if there is.
    fn has_no_room(&self) -> Option<Duration> {
        if !self.counts_readers() {
            return None;
        }
        let ring = self.ring.read();
        if ring.has_room() {
            return None;
        }
        ring.blocked_for(Instant::now())
    }

    fn poll_room(&self, cx: &mut Context<'_>, ticket: &mut Ticket) -> Poll<()> {
        let ring = self.ring.read();
        if ring.has_room() {
            return Poll::Ready(());
        }
        let replaced = self.room.park(ticket, cx.waker());
        drop(ring);
        drop(replaced);
        Poll::Pending
    }

    fn leave_room(&self, ticket: &mut Ticket) {
        drop(self.room.leave(ticket));
    }

    /// Goes on without the readers that have stalled for too long.
    fn enforce_stall(&self) {
        self.let_go(self.ring.write());
    }
}
