//! What the rest of the program leaves for a shard, and how the shard hears of it.
//!
//! # Who wakes whom
//!
//! Whoever leaves something does so under the lock, and wakes the shard if it sleeps, which
//! it says under the same lock when it has found nothing. So nothing is left unheard, and a
//! shard that is at work is not called: a submit costs no system call then.
//!
//! A [`Bell`] that has been rung is not left again until the shard has cleared it, *before*
//! it looks at what the bell is for. Both sides use read-modify-write operations with
//! `AcqRel`, so that clearing has seen everything that was done before any ring that it
//! clears.

use std::mem;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use crate::log::{Mutex, MutexGuard};
use crate::socket::Slot;
use crate::subscriber::Open;

#[derive(Debug)]
pub(super) struct Inbox {
    waker: mio::Waker,
    lists: Mutex<Lists>,
}

/// Guarded by the inbox's mutex as a whole.
#[derive(Debug, Default)]
pub(super) struct Lists {
    pub(super) adopted: Vec<Adopted>,
    pub(super) woken: Vec<Who>,
    /// Nobody will leave another stream.
    pub(super) is_closed: bool,
    /// Everybody is to be reset.
    pub(super) is_cut: bool,
    sleeps: bool,
    /// The shard is gone.
    is_dead: bool,
}

/// A stream that has left its server.
pub(super) struct Adopted {
    pub(super) socket: TcpStream,
    pub(super) open: Box<Open>,
    pub(super) slot: Option<Slot>,
}

/// Who has something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    Stream(u32),
    Feed(u32),
    /// Some of those who are fed have to leave, but not which.
    Some,
}

impl Inbox {
    pub(super) fn new(waker: mio::Waker) -> Self {
        Self {
            waker,
            lists: Mutex::default(),
        }
    }

    /// Hands the stream back if there is no shard any more.
    pub(super) fn adopt(&self, adopted: Adopted) -> Result<(), Adopted> {
        let mut lists = self.lists.lock();
        if lists.is_dead {
            return Err(adopted);
        }
        lists.adopted.push(adopted);
        self.call(lists);
        Ok(())
    }

    pub(super) fn is_dead(&self) -> bool {
        self.lists.lock().is_dead
    }

    /// There will be no more streams; the shard ends with its last one.
    pub(super) fn close(&self) {
        let mut lists = self.lists.lock();
        lists.is_closed = true;
        self.call(lists);
    }

    /// The shard ends, and resets its streams.
    #[cfg(feature = "serve")]
    pub(super) fn cut(&self) {
        let mut lists = self.lists.lock();
        lists.is_cut = true;
        self.call(lists);
    }

    /// The shard ends.
    pub(super) fn die(&self) -> Vec<Adopted> {
        let mut lists = self.lists.lock();
        lists.is_dead = true;
        mem::take(&mut lists.adopted)
    }

    /// What has been left since; the lists that are given are filled next. If that is
    /// nothing and there is nothing else to do, the shard `rests`: it is called from here
    /// on. Returns whether it may sleep.
    pub(super) fn take(&self, empty: &mut Lists, rests: bool) -> bool {
        let mut lists = self.lists.lock();
        mem::swap(&mut lists.adopted, &mut empty.adopted);
        mem::swap(&mut lists.woken, &mut empty.woken);
        let ends = lists.is_cut || (lists.is_closed && !empty.is_closed);
        empty.is_closed = lists.is_closed;
        empty.is_cut = lists.is_cut;
        lists.sleeps = rests && !ends && empty.adopted.is_empty() && empty.woken.is_empty();
        lists.sleeps
    }

    fn call(&self, mut lists: MutexGuard<'_, Lists>) {
        if mem::take(&mut lists.sleeps) {
            drop(lists);
            // It fails only where eight bytes cannot be written to an object of the kernel
            // that is there for nothing else; then the next one tries again.
            if self.waker.wake().is_err() {
                self.lists.lock().sleeps = true;
            }
        }
    }
}

/// What a stream or a feed is woken by.
#[derive(Debug)]
pub(super) struct Bell {
    inbox: Arc<Inbox>,
    who: Who,
    queued: AtomicBool,
}

impl Bell {
    pub(super) fn new(inbox: &Arc<Inbox>, who: Who) -> Arc<Self> {
        Arc::new(Self {
            inbox: Arc::clone(inbox),
            who,
            queued: AtomicBool::new(false),
        })
    }

    pub(super) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    /// To be called before a look at what it may have been rung for.
    pub(super) fn heed(&self) {
        self.queued.swap(false, Ordering::AcqRel);
    }

    /// Whether it has been rung and nobody has looked. Whatever was done before something
    /// that the caller has seen has rung it by now.
    pub(super) fn is_rung(&self) -> bool {
        self.queued.load(Ordering::Acquire)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            let mut lists = self.inbox.lists.lock();
            lists.woken.push(self.who);
            self.inbox.call(lists);
        }
    }
}

impl std::fmt::Debug for Adopted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Adopted")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}
