//! A detached stream that has itself to look after.
//!
//! It is the stream that was begun in the server, with all that it promises, and a socket:
//! whenever the stream has something, it is written; what the socket does not take is kept,
//! and nothing more is asked of the stream until it is gone.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use mio::net::TcpStream;
use tokio::time::Instant;

use super::engine::Terms;
use super::inbox::Bell;
use super::rest::{Rest, Sent, send};
use crate::log::{Cursor, Log};
use crate::observe::Watched;
use crate::planted::planted;
use crate::subscriber::{Admitted, Departure, Grant, OnGap, Open, State, Timer, Waived};
use crate::subscription::Subscription;
use crate::wire::chunked::{self, LAST_CHUNK};

/// So much is asked for before the socket is asked to take it.
const PAGE: usize = 16 << 10;

/// Up to here it is cheaper to copy than to hand the kernel pieces.
const FLAT: usize = 4 << 10;

/// So many writes in a row, then it is another's turn.
const WRITES: usize = 8;

pub(super) struct Own {
    open: Open,
    bell: Arc<Bell>,
    waker: Waker,
    /// What the socket has not taken yet.
    rest: Rest,
    /// Nothing comes behind that.
    is_last: bool,
    stalled: Option<Stalled>,
}

/// Of a socket that is full: what it has taken since it was looked at last.
struct Stalled {
    since: Instant,
    taken: usize,
}

/// How far one got.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Driven {
    /// It is woken by its bell, by its socket or at its time.
    Waits,
    /// There is more, but it is another's turn.
    More,
    /// The end of the response has been written.
    Ended,
    /// Its client is gone.
    Gone,
    /// Its client takes nothing any more.
    Stalled,
}

/// Room for what is about to be written, of all streams of a shard.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) page: Vec<u8>,
    chunks: Vec<Bytes>,
}

/// What is left of a stream while somebody else reads for it.
pub(super) struct Lean {
    admitted: Admitted,
    watched: Watched,
    deadline: Option<Instant>,
    on_gap: OnGap,
    farewell: Duration,
    /// The last one to drop.
    departure: Option<Waived>,
}

impl Own {
    pub(super) fn new(mut open: Open, bell: Arc<Bell>) -> Self {
        open.timer.drive();
        open.subscription.drive();
        Self {
            open,
            waker: bell.waker(),
            bell,
            rest: Rest::default(),
            is_last: false,
            stalled: None,
        }
    }

    /// Goes on until there is nothing to do, or for one turn.
    pub(super) fn drive(&mut self, socket: &mut TcpStream, scratch: &mut Scratch) -> Driven {
        self.bell.heed();
        if !self.rest.is_empty() {
            let sent = self.rest.send(socket);
            if let Some(driven) = self.sent(&sent) {
                return driven;
            }
        }
        for _ in 0..WRITES {
            if self.is_last {
                return Driven::Ended;
            }
            let (waits, size) = self.fill(&mut scratch.chunks);
            let sent = self.write(socket, scratch, size);
            if let Some(driven) = self.sent(&sent) {
                return driven;
            }
            if waits {
                return Driven::Waits;
            }
        }
        Driven::More
    }

    /// Takes what the stream has. `true` if it has nothing more; and how many bytes.
    fn fill(&mut self, chunks: &mut Vec<Bytes>) -> (bool, usize) {
        chunks.clear();
        let (mut size, mut cx) = (0, Context::from_waker(&self.waker));
        while size < PAGE {
            match self.open.poll_bytes(&mut cx) {
                Poll::Pending => return (true, size),
                Poll::Ready(bytes) => {
                    self.is_last = bytes.is_none() || self.open.is_over();
                    if let Some(bytes) = bytes {
                        size += bytes.len();
                        chunks.push(bytes);
                    }
                    if self.is_last {
                        break;
                    }
                }
            }
        }
        (false, size)
    }

    /// Writes what was taken, small things in one piece.
    fn write(&mut self, socket: &mut TcpStream, scratch: &mut Scratch, size: usize) -> Sent {
        let Scratch { page, chunks } = scratch;
        if size > FLAT {
            self.rest = Rest::of(chunks.drain(..), self.is_last);
            return self.rest.send(socket);
        }
        page.clear();
        chunks.iter().for_each(|chunk| chunked::write(page, chunk));
        if self.is_last {
            page.extend_from_slice(LAST_CHUNK);
        }
        let sent = send(socket, page);
        if let Sent::Full(taken) = sent {
            self.rest = Rest::of(chunks.drain(..), self.is_last);
            self.rest.advance(taken);
        }
        chunks.clear();
        sent
    }

    /// What follows from what the socket took, if it did not take all.
    fn sent(&mut self, sent: &Sent) -> Option<Driven> {
        match sent {
            Sent::All => {
                self.stalled = None;
                None
            }
            Sent::Gone => Some(Driven::Gone),
            Sent::Full(taken) => {
                self.stall(*taken);
                Some(Driven::Waits)
            }
        }
    }

    /// The socket is full, and has taken so many bytes.
    fn stall(&mut self, taken: usize) {
        match &mut self.stalled {
            Some(stalled) if planted("stall-reset-by-events") => stalled.since = Instant::now(),
            Some(stalled) => stalled.taken = stalled.taken.saturating_add(taken),
            none => {
                *none = Some(Stalled {
                    since: Instant::now(),
                    taken: 0,
                });
            }
        }
    }

    /// Whether its client has taken less than it has to, in the time that it has for that.
    /// If it has not, it has as much time again.
    pub(super) fn has_stalled(&mut self, terms: Terms) -> bool {
        let Some(stalled) = &mut self.stalled else {
            return false;
        };
        if stalled.since.elapsed() < terms.stall {
            return false;
        }
        let has_stalled = stalled.taken < terms.drain;
        *stalled = Stalled {
            since: Instant::now(),
            taken: 0,
        };
        has_stalled
    }

    /// Whether it waits for its socket.
    pub(super) fn is_full(&self) -> bool {
        !self.rest.is_empty()
    }

    /// When it is to be driven although nobody wakes it.
    pub(super) fn due(&self, stall: Duration) -> Option<Instant> {
        if let Some(stalled) = &self.stalled {
            return stalled.since.checked_add(stall);
        }
        let dues = [self.open.timer.due(), self.open.subscription.due()];
        dues.into_iter().flatten().min()
    }

    /// Where it could be fed by a shared reader, if it is like others: it has sent what
    /// there is, and nothing is about to happen to it.
    pub(super) fn place(&self) -> Option<(&Arc<Log>, u64, Option<Duration>)> {
        if !self.rest.is_empty() || !matches!(self.open.state, State::Streaming) {
            return None;
        }
        let (log, next) = self.open.subscription.place()?;
        Some((log, next, self.open.timer.terms().0))
    }

    /// Has its reading left to a shared cursor. What is left is to be made [lean](Self::lean).
    pub(super) fn hand_over(&mut self, to: &mut Cursor) {
        self.open.subscription.hand_over(to);
    }

    /// What is left when its reading is left to somebody else. `look` is woken when
    /// it is revoked; that a shutdown begins is for the caller to hear.
    pub(super) fn lean(self, look: &Waker) -> Lean {
        let Grant {
            mut admitted,
            watched,
            on_gap,
            farewell,
            is_attached: _,
            departure,
        } = self.open.grant;
        // Whether it is by now is asked by the caller, as ever.
        let _ = admitted.poll_revoked(&mut Context::from_waker(look));
        Lean {
            admitted,
            watched,
            deadline: self.open.timer.terms().1,
            on_gap,
            farewell,
            departure: departure.map(Departure::waived),
        }
    }
}

impl Lean {
    /// When it is over, whatever there is to read.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// What tells that it is time to leave.
    pub(super) fn departure(&self) -> Option<&Waived> {
        self.departure.as_ref()
    }

    /// Whether it is to look after itself again.
    pub(super) fn has_to_leave(&self) -> bool {
        self.is_over() || self.departure.as_ref().is_some_and(Waived::has_begun)
    }

    /// Whether it gets nothing more but its end.
    pub(super) fn is_over(&self) -> bool {
        self.admitted.is_revoked() || self.deadline.is_some_and(|at| at <= Instant::now())
    }

    /// Reads for itself again, behind `rest`, which its socket has not taken.
    pub(super) fn own(
        self,
        subscription: Subscription,
        (keep_alive, sent): (Option<Duration>, Instant),
        rest: Rest,
        bell: Arc<Bell>,
    ) -> Own {
        let open = Open {
            subscription,
            state: State::Streaming,
            was_quiet: false,
            timer: Timer::driven(keep_alive, self.deadline, sent),
            grant: Grant {
                admitted: self.admitted,
                watched: self.watched,
                on_gap: self.on_gap,
                farewell: self.farewell,
                is_attached: false,
                departure: self.departure.map(Waived::alone),
            },
        };
        let mut own = Own::new(open, bell);
        if !rest.is_empty() {
            own.rest = rest;
            own.stall(0);
        }
        own
    }
}

/// So that the kernel forgets what waits for a client that takes nothing.
pub(super) fn reset(socket: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO))
}
