//! The one timer of a stream: a sign of life when it is quiet, its turn to leave, and its
//! end.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, Sleep, sleep_until};

/// Fires when nothing has been sent for the keep-alive interval, at the turn and at the
/// deadline.
///
/// The timer is not moved with every event, which would cost more than the event: it
/// fires where it was set, looks how long the stream has been quiet, and sleeps for
/// the rest.
#[derive(Debug)]
pub(crate) struct Timer {
    keep_alive: Option<Duration>,
    deadline: Option<Instant>,
    turn: Option<Instant>,
    /// When it was last quiet, which is known when it is asked what is due.
    sent: Instant,
    has_sent: bool,
    /// Somebody else waits, and polls when it is time.
    is_driven: bool,
    /// Made at the first wait, inside the server's runtime. Boxed, so that bodies
    /// are `Unpin`.
    sleep: Option<Pin<Box<Sleep>>>,
    /// When the sleep ends and whom it wakes then, so that it is not touched before.
    asleep: Option<(Instant, Waker)>,
}

/// What it is time for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    KeepAlive,
    Turn,
    Deadline,
}

impl Timer {
    /// A lifetime that a clock cannot hold is none.
    pub(crate) fn new(keep_alive: Option<Duration>, lifetime: Option<Duration>) -> Self {
        let now = Instant::now();
        Self {
            keep_alive,
            deadline: lifetime.and_then(|lifetime| now.checked_add(lifetime)),
            turn: None,
            sent: now,
            has_sent: false,
            is_driven: false,
            sleep: None,
            asleep: None,
        }
    }

    /// From here on nothing is waited for: whoever polls does so at [`due`](Self::due).
    #[cfg(feature = "detached")]
    pub(crate) fn drive(&mut self) {
        self.is_driven = true;
        self.sleep = None;
        self.asleep = None;
    }

    /// When there is something to do without an event.
    #[cfg(feature = "detached")]
    pub(crate) fn due(&self) -> Option<Instant> {
        self.next().map(|(at, _)| at)
    }

    /// The keep-alive interval and the deadline.
    #[cfg(feature = "detached")]
    pub(crate) fn terms(&self) -> (Option<Duration>, Option<Instant>) {
        (self.keep_alive, self.deadline)
    }

    /// One that was driven.
    #[cfg(feature = "detached")]
    pub(crate) fn driven(
        keep_alive: Option<Duration>,
        deadline: Option<Instant>,
        sent: Instant,
    ) -> Self {
        Self {
            keep_alive,
            deadline,
            turn: None,
            sent,
            has_sent: false,
            is_driven: true,
            sleep: None,
            asleep: None,
        }
    }

    /// Something was sent. The clock is read once, when there is nothing more to send.
    pub(crate) fn sent(&mut self) {
        self.has_sent = true;
    }

    /// Whether the deadline has passed, for a stream that never waits.
    pub(crate) fn is_over(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| deadline <= Instant::now())
    }

    /// It will be time to leave.
    pub(crate) fn leave_at(&mut self, turn: Instant) {
        self.turn = Some(turn);
        self.asleep = None;
    }

    /// Whether it is time to leave, for a stream that never waits. Said once.
    pub(crate) fn take_turn(&mut self) -> bool {
        let now = Instant::now();
        self.turn.take_if(|turn| *turn <= now).is_some()
    }

    /// Whether it sleeps for whoever asks.
    pub(crate) fn is_asleep(&self, cx: &Context<'_>) -> bool {
        let asleep = self.asleep.as_ref();
        asleep.is_some_and(|(wakes, waker)| waker.will_wake(cx.waker()) && Instant::now() < *wakes)
    }

    /// A keep-alive that is due is taken: the next interval counts from now. So is a
    /// turn: there is no other.
    pub(crate) fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<Due> {
        if self.sleep.is_none() && !self.is_driven && Handle::try_current().is_err() {
            // No runtime, no timer; the stream itself does not need one, and what nobody
            // would wake it for it does not wait for.
            return match self.turn.take() {
                Some(_) => Poll::Ready(Due::Turn),
                None => Poll::Pending,
            };
        }
        loop {
            let now = Instant::now();
            if std::mem::take(&mut self.has_sent) {
                self.sent = now;
            }
            let Some((at, due)) = self.next() else {
                return Poll::Pending;
            };
            if at <= now {
                match due {
                    Due::KeepAlive => self.sent = now,
                    Due::Turn => self.turn = None,
                    Due::Deadline => {}
                }
                return Poll::Ready(due);
            }
            if self.is_driven {
                return Poll::Pending;
            }
            // It may fire too early, after something was sent, but never too late.
            if let Some((wakes, waker)) = &self.asleep
                && now < *wakes
                && *wakes <= at
                && waker.will_wake(cx.waker())
            {
                return Poll::Pending;
            }
            match &mut self.sleep {
                None => self.sleep = Some(Box::pin(sleep_until(at))),
                Some(sleep) if sleep.is_elapsed() || sleep.deadline() > at => {
                    sleep.as_mut().reset(at);
                }
                Some(_) => {}
            }
            // Without budget a sleep is pending and has not heard of the waker.
            let has_heard = has_budget_remaining();
            if let Some(sleep) = &mut self.sleep
                && sleep.as_mut().poll(cx).is_pending()
            {
                let wakes = sleep.deadline();
                self.asleep = has_heard.then(|| (wakes, cx.waker().clone()));
                return Poll::Pending;
            }
        }
    }

    fn next(&self) -> Option<(Instant, Due)> {
        let keep_alive = self.keep_alive.map(|interval| self.sent + interval);
        // Of two that are due together, the first: an end before a word before it.
        let dues = [
            (self.deadline, Due::Deadline),
            (self.turn, Due::Turn),
            (keep_alive, Due::KeepAlive),
        ];
        let dues = dues.into_iter().filter_map(|(at, due)| Some((at?, due)));
        dues.min_by_key(|(at, _)| *at)
    }
}
