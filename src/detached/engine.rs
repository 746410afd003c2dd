//! The shards of a listener: threads that own the sockets of detached streams.

use std::io;
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;

use super::inbox::{Adopted, Inbox};
use super::shard::{INBOX, Shard};
use crate::log::{Mutex, Turns};
use crate::socket::{Slot, Terms};
use crate::subscriber::Open;

/// Started when the first stream comes, and again if it is gone; a shard ends when the engine
/// is gone and its last stream has ended.
#[derive(Debug)]
pub(crate) struct Engine {
    shards: Box<[Mutex<Option<Arc<Inbox>>>]>,
    turns: Turns,
    terms: Terms,
}

/// More threads than anybody has cores.
const MOST: usize = 1024;

impl Engine {
    pub(super) fn new(shards: usize, terms: Terms) -> Self {
        let shards = shards.clamp(1, MOST);
        Self {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            turns: Turns::new(),
            terms,
        }
    }

    pub(crate) fn for_each_core(terms: Terms) -> Self {
        let cores = thread::available_parallelism();
        Self::new(cores.map_or(1, NonZeroUsize::get), terms)
    }

    /// Whether there is a thread to take streams, started if need be.
    pub(super) fn takes_streams(&self) -> bool {
        // Elsewhere readiness is not what these loops take it for.
        cfg!(unix) && (0..self.shards.len()).any(|shard| self.shard(shard).is_some())
    }

    /// Who is taken by nobody is hung up on, and comes back with the id that it has.
    pub(super) fn adopt(&self, socket: TcpStream, open: Box<Open>, slot: Option<Slot>) {
        let mut adopted = Adopted { socket, open, slot };
        let first = self.turns.take();
        for more in 0..self.shards.len() {
            if let Some(inbox) = self.shard(first.wrapping_add(more)) {
                match inbox.adopt(adopted) {
                    Ok(()) => return,
                    Err(back) => adopted = back,
                }
            }
        }
    }

    /// Resets every stream that there is.
    #[cfg(feature = "serve")]
    pub(crate) fn cut(&self) {
        for shard in &self.shards {
            if let Some(inbox) = &*shard.lock() {
                inbox.cut();
            }
        }
    }

    fn shard(&self, number: usize) -> Option<Arc<Inbox>> {
        let at = number % self.shards.len();
        let mut shard = self.shards.get(at)?.lock();
        if shard.as_ref().is_none_or(|inbox| inbox.is_dead()) {
            *shard = self.start(at).ok();
        }
        shard.clone()
    }

    fn start(&self, number: usize) -> io::Result<Arc<Inbox>> {
        let poll = mio::Poll::new()?;
        let inbox = Arc::new(Inbox::new(mio::Waker::new(poll.registry(), INBOX)?));
        let shard = Shard::new(poll, Arc::clone(&inbox), self.terms);
        let named = thread::Builder::new().name(format!("tornadose-{number}"));
        named.spawn(move || shard.run())?;
        Ok(inbox)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for shard in &self.shards {
            if let Some(inbox) = &*shard.lock() {
                inbox.close();
            }
        }
    }
}
