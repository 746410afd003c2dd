//! One cursor that reads for many subscribers.
//!
//! Who has read everything and wants what everybody wants need not read for itself: a
//! shared cursor stands for all of them, and is never told of a gap or an end, because that
//! is for each of them to hear. What is counted of it counts for each.

use std::task::{Context, Poll};

use bytes::Bytes;

use super::{Cursor, Found, Lag, Log, Ticket};

/// How far a cursor has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Read {
    pub(crate) delivered: u64,
    pub(crate) skipped: u64,
}

impl Read {
    pub(crate) fn and(self, more: Self) -> Self {
        Self {
            delivered: self.delivered + more.delivered,
            skipped: self.skipped + more.skipped,
        }
    }
}

impl Cursor {
    pub(crate) fn next(&self) -> u64 {
        self.next
    }
}

impl Log {
    /// Where a reader is that could as well share a cursor with others.
    pub(crate) fn shared_place(&self, cursor: &Cursor) -> Option<u64> {
        let is_like_others =
            !cursor.conflates && !self.counts_readers() && cursor.seated.name().is_none();
        is_like_others.then_some(cursor.next)
    }

    /// A cursor that stands for nobody yet. It must be given back to
    /// [`unsubscribe`](Self::unsubscribe).
    pub(crate) fn share(&self, next: u64) -> Cursor {
        let ring = self.ring.read();
        let seated = self.register.enter_for(0, None, next, ());
        drop(ring);
        Cursor {
            next,
            conflates: false,
            ticket: Ticket::default(),
            seated,
        }
    }

    /// One of those for whom the one cursor read is the other's from now on. At every
    /// moment it is counted once.
    pub(crate) fn hand_over(&self, from: &mut Cursor, to: &mut Cursor) {
        self.register.hand_over(&mut from.seated, &mut to.seated);
    }

    /// `cursor` reads for so many subscribers from now on.
    pub(crate) fn stand_for(&self, cursor: &mut Cursor, subscribers: usize) {
        self.register.stand_for(&mut cursor.seated, subscribers);
    }

    /// One of those for whom `cursor` reads has not got this after all.
    pub(crate) fn take_back(&self, cursor: &mut Cursor, read: Read) {
        let ring = self.ring.read();
        cursor.seated.take_back(read.delivered, read.skipped);
        drop(ring);
    }

    /// The blocks of the next events, as many as fit a page, in one piece. `None` if
    /// something else comes next, which everybody has to hear by themselves.
    pub(crate) fn poll_shared(
        &self,
        cx: &mut Context<'_>,
        cursor: &mut Cursor,
    ) -> Poll<Option<(Bytes, Read)>> {
        let now = self.now();
        let ring = self.ring.read();
        let (before, oldest) = (cursor.next, ring.window(now).oldest);
        if self.config.lag != Lag::Conflate && before < oldest {
            return Poll::Ready(None);
        }
        let (found, replaced) = self.find(cx.waker(), &ring, now, cursor, |ring, from| {
            self.run(ring, from)
        });
        drop(ring);
        drop(replaced);
        found.map(|found| match found {
            Found::Events(bytes) => {
                let first = before.max(oldest);
                let read = Read {
                    delivered: cursor.next - first,
                    skipped: first - before,
                };
                Some((bytes, read))
            }
            Found::Gap(_) | Found::End(_) => None,
        })
    }
}
