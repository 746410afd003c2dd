//! The atomics of the crate, and why each ordering is enough.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::sync::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
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
    /// sees the store.
    pub(crate) fn poll_set(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_set() {
            return Poll::Ready(());
        }
        let parked = self.parked.as_ref();
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
#[cfg(feature = "detached")]
#[derive(Debug)]
pub(crate) struct Gauge(AtomicUsize);

#[cfg(feature = "detached")]
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

/// Where a log ends, for who is parked at its end and asks whether it still does.
///
/// Written under the log's lock, before anybody is woken. Release and acquire: who was
/// woken sees what it was woken for. Who asks for another reason may see an older end, and
/// is still parked then, so it will be woken.
#[derive(Debug)]
pub(crate) struct Tail(AtomicU64);

impl Tail {
    /// Of an empty log.
    pub(crate) fn new(next: u64) -> Self {
        Self(AtomicU64::new(next))
    }

    pub(crate) fn set(&self, next: u64) {
        self.0.store(next, Ordering::Release);
    }

    /// Nobody who is parked is at the end any more: there will be nothing else.
    pub(crate) fn close(&self) {
        self.set(u64::MAX);
    }

    pub(crate) fn is_at(&self, next: u64) -> bool {
        self.0.load(Ordering::Acquire) == next
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
