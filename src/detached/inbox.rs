//! What the rest of the program leaves for a shard, and how the shard hears of it.
//!
//! # Why each ordering is enough
//!
//! Two flags, each set by who leaves something and cleared by the shard *before* it looks:
//! `poked` for the inbox, `queued` for one waker. Who finds a flag set leaves it at that,
//! because the shard has yet to clear it and to look. Both sides use read-modify-write
//! operations with `AcqRel`, so the shard's clearing has seen everything that was done
//! before any setting that it clears. The lists have a lock besides.

use std::mem;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use crate::log::Mutex;
use crate::subscriber::Open;

#[derive(Debug)]
pub(super) struct Inbox {
    waker: mio::Waker,
    poked: AtomicBool,
    lists: Mutex<Lists>,
}

/// Guarded by the inbox's mutex as a whole.
#[derive(Debug, Default)]
pub(super) struct Lists {
    pub(super) adopted: Vec<Adopted>,
    pub(super) woken: Vec<Who>,
    /// Nobody will leave another stream.
    pub(super) is_closed: bool,
    /// The shard is gone.
    is_dead: bool,
}

/// A stream that has left its server.
pub(super) struct Adopted {
    pub(super) socket: TcpStream,
    pub(super) open: Box<Open>,
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
            poked: AtomicBool::new(false),
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
        drop(lists);
        self.poke();
        Ok(())
    }

    pub(super) fn is_dead(&self) -> bool {
        self.lists.lock().is_dead
    }

    /// There will be no more streams; the shard ends with its last one.
    pub(super) fn close(&self) {
        self.lists.lock().is_closed = true;
        self.poke();
    }

    /// The shard ends.
    pub(super) fn die(&self) -> Vec<Adopted> {
        let mut lists = self.lists.lock();
        lists.is_dead = true;
        mem::take(&mut lists.adopted)
    }

    /// What has been left since; the lists that are given are filled next.
    pub(super) fn take(&self, empty: &mut Lists) {
        if self.poked.swap(false, Ordering::AcqRel) {
            let mut lists = self.lists.lock();
            mem::swap(&mut lists.adopted, &mut empty.adopted);
            mem::swap(&mut lists.woken, &mut empty.woken);
            empty.is_closed = lists.is_closed;
        }
    }

    fn poke(&self) {
        if !self.poked.swap(true, Ordering::AcqRel) {
            // It fails only if the system has no memory for eight bytes in a pipe of
            // nearly none; the next one to come pokes again.
            if self.waker.wake().is_err() {
                self.poked.store(false, Ordering::Release);
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
            self.inbox.lists.lock().woken.push(self.who);
            self.inbox.poke();
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
