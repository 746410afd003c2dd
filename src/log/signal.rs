//! The atomics of the crate, and why each ordering is enough.

use std::task::{Context, Poll};

use super::sync::{AtomicBool, AtomicUsize, Ordering};
use super::waiters::{Ticket, Waiters};

/// Something that happens once and is told to everyone who waits for it.
#[derive(Debug)]
pub(crate) struct Latch {
    set: AtomicBool,
    waiters: Waiters,
}

impl Latch {
    pub(crate) fn new() -> Self {
        Self {
            set: AtomicBool::new(false),
            waiters: Waiters::new(),
        }
    }

    pub(crate) fn set(&self) {
        // Release: who sees the latch set sees what was done before it was set.
        self.set.store(true, Ordering::Release);
        self.waiters.wake_all();
    }

    pub(crate) fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }

    /// Parks first and looks then: `set` stores before it takes the waiters' lock,
    /// so either it finds us parked, or our lock comes after its own and our load
    /// sees the store.
    pub(crate) fn poll_set(&self, cx: &mut Context<'_>, ticket: &mut Ticket) -> Poll<()> {
        if self.is_set() {
            return Poll::Ready(());
        }
        drop(self.waiters.park(ticket, cx.waker()));
        if self.is_set() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    pub(crate) fn leave(&self, ticket: &mut Ticket) {
        drop(self.waiters.leave(ticket));
    }
}

/// How many there are of something. A figure for people: relaxed, because nothing
/// is decided by it and no other memory is read on account of it.
#[derive(Debug)]
pub(crate) struct Gauge(AtomicUsize);

impl Gauge {
    pub(crate) fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}
