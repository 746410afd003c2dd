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
#[cfg(feature = "backplane")]
use crate::backplane::Answer;
use crate::error::SubmitError;
#[cfg(feature = "backplane")]
use crate::event::Event;
use crate::position::Position;

/// An event that has been taken by a store.
///
/// Of a store in memory it is in the log and visible to every present and future
/// subscriber; nothing needs to be done with this value, and dropping it takes nothing back.
///
/// Awaiting it is the back-pressure of a store, or of a topic, that waits for its slowest
/// subscriber ([`Overflow::Wait`](crate::Overflow::Wait)): it resolves as soon as that
/// holds no more than its retention. With every other store and topic in memory it is
/// ready at once.
///
/// Of a hub that is kept [elsewhere](crate::backplane) it resolves as soon as the engine
/// has stored the event, with its position, or has not, with an error that says whether it
/// may have been. What was submitted earlier is stored earlier.
///
/// # Cancel safety
///
/// Dropping it, before or while it is awaited, only gives up the back-pressure, or to know
/// what has become of the event.
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
pub struct Submitted(State);

enum State {
    Ready(Position),
    Waiting(Position, Box<Room>),
    #[cfg(feature = "backplane")]
    Sent(Answer),
    #[cfg(feature = "backplane")]
    Failed(Box<SubmitError>),
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
        Self(State::Ready(position))
    }

    #[cfg(feature = "backplane")]
    pub(crate) fn sent(answer: Answer) -> Self {
        Self(State::Sent(answer))
    }

    pub(crate) fn when_room(position: Position, log: &Arc<Log>) -> Self {
        let room = log.has_no_room().map(|_| Room {
            of: Of::Log(Arc::clone(log)),
            ticket: Ticket::default(),
            stall: None,
        });
        Self::after(position, room)
    }

    pub(crate) fn in_topic(taken: Taken, log: &Arc<TopicLog>) -> Self {
        let position = taken.position;
        let room = topics::Room::after(taken, log).map(|room| Room {
            of: Of::Topic(room),
            ticket: Ticket::default(),
            stall: None,
        });
        Self::after(position, room)
    }

    fn after(position: Position, room: Option<Room>) -> Self {
        Self(match room {
            None => State::Ready(position),
            Some(room) => State::Waiting(position, Box::new(room)),
        })
    }

    /// The event's position, its id. Of a hub that is kept [elsewhere](crate::backplane)
    /// that is not known before it is awaited: `None`.
    #[must_use]
    pub fn id(&self) -> Option<Position> {
        match &self.0 {
            State::Ready(position) | State::Waiting(position, _) => Some(*position),
            #[cfg(feature = "backplane")]
            State::Sent(_) | State::Failed(_) => None,
        }
    }

    /// Whether awaiting would not wait: the store, or the topic, has room, or the engine
    /// has answered.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match &self.0 {
            State::Ready(_) => true,
            State::Waiting(_, room) => room.of.has_no_room().is_none(),
            #[cfg(feature = "backplane")]
            State::Sent(answer) => !answer.is_empty() || answer.is_terminated(),
            #[cfg(feature = "backplane")]
            State::Failed(_) => true,
        }
    }

    /// Blocks this thread until there is room, or the engine has answered. Not for async
    /// code.
    ///
    /// # Errors
    ///
    /// None with the stores in memory; otherwise those of the future.
    pub fn wait(mut self) -> Result<Position, SubmitError> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut cx = Context::from_waker(&waker);
        let (position, room) = match &mut self.0 {
            State::Ready(position) => return Ok(*position),
            State::Waiting(position, room) => (*position, room),
            #[cfg(feature = "backplane")]
            State::Sent(answer) => loop {
                match poll_answer(answer, &mut cx) {
                    Poll::Ready(answer) => return answer,
                    Poll::Pending => thread::park(),
                }
            },
            #[cfg(feature = "backplane")]
            State::Failed(error) => return Err((**error).clone()),
        };
        while room.of.poll_room(&mut cx, &mut room.ticket).is_pending() {
            match room.of.has_no_room() {
                None => {}
                Some(left) if left.is_zero() => room.of.enforce_stall(),
                Some(left) => thread::park_timeout(left),
            }
        }
        Ok(position)
    }
}

/// What has become of an event; nobody who could say is one who did not.
#[cfg(feature = "backplane")]
fn poll_answer(answer: &mut Answer, cx: &mut Context<'_>) -> Poll<Result<Position, SubmitError>> {
    let answer = std::task::ready!(Pin::new(answer).poll(cx));
    Poll::Ready(answer.unwrap_or_else(|_| Err(SubmitError::Unknown(Event::default()))))
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
        let (position, room) = match &mut self.0 {
            State::Ready(position) => return Poll::Ready(Ok(*position)),
            State::Waiting(position, room) => (*position, room),
            #[cfg(feature = "backplane")]
            State::Sent(answer) => {
                let answer = std::task::ready!(poll_answer(answer, cx));
                self.0 = match &answer {
                    Ok(position) => State::Ready(*position),
                    Err(error) => State::Failed(Box::new(error.clone())),
                };
                return Poll::Ready(answer);
            }
            #[cfg(feature = "backplane")]
            State::Failed(error) => return Poll::Ready(Err((**error).clone())),
        };
        loop {
            // Woken by a reader that moves or leaves, by `close`, or by the timer.
            let Poll::Pending = room.of.poll_room(cx, &mut room.ticket) else {
                self.0 = State::Ready(position);
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
            .field("id", &self.id())
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
