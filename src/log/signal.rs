//! The atomics of the crate, and why each ordering is enough.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::sync::{AtomicBool, AtomicUsize, Ordering, fence};
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
        // See `poll_set`.
        fence(Ordering::SeqCst);
        self.waiters.wake_all();
    }

    pub(crate) fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }
}

/// One who waits for a latch.
#[derive(Debug)]
pub(crate) struct Notice {
    latch: Arc<Latch>,
    ticket: Ticket,
    parked: Option<Waker>,
}

impl Notice {
    pub(crate) fn of(latch: &Arc<Latch>) -> Self {
        Self {
            latch: Arc::clone(latch),
            ticket: Ticket::default(),
            parked: None,
        }
    }

    pub(crate) fn is_of(&self, latch: &Arc<Latch>) -> bool {
        Arc::ptr_eq(&self.latch, latch)
    }

    pub(crate) fn is_set(&self) -> bool {
        self.latch.is_set()
    }

    /// Waits for the latch; a waker that is parked already is not parked again, since
    /// only `set` takes it out.
    ///
    /// Parks first and looks then: `set` stores before it takes the waiters' lock,
    /// so either it finds us parked, or our lock comes after its own and our load
    /// sees the store. Who is parked already takes no lock: then it is the fences, of which
    /// one comes first. Either our load sees the store, or `set` sees that the task which it
    /// wakes is running, and has it polled again.
    pub(crate) fn poll_set(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_set() {
            return Poll::Ready(());
        }
        let parked = self.parked.as_ref();
        fence(Ordering::SeqCst);
        if !parked.is_some_and(|parked| parked.will_wake(cx.waker())) {
            drop(self.latch.waiters.park(&mut self.ticket, cx.waker()));
            self.parked = Some(cx.waker().clone());
        }
        if self.is_set() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        drop(self.latch.waiters.leave(&mut self.ticket));
    }
}

/// How many there are of something. Relaxed, because no other memory is read on account of
/// it.
#[cfg(any(feature = "detached", feature = "serve"))]
#[derive(Debug)]
pub(crate) struct Gauge(AtomicUsize);

#[cfg(any(feature = "detached", feature = "serve"))]
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

/// Deals out numbers from 0 on, each of them once. Relaxed: who gets which is all the
/// same, and no other memory is read on account of it.
#[derive(Debug)]
pub(crate) struct Turns(AtomicUsize);

impl Turns {
    pub(crate) fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    pub(crate) fn take(&self) -> usize {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}
