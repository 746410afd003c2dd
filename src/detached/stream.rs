//! A detached stream that has itself to look after.
//!
//! It is the stream that was begun in the server, with all that it promises, and a socket:
//! whenever the stream has something, it is written; what the socket does not take is kept,
//! and nothing more is asked of the stream until it is gone.

use std::io::{self, ErrorKind, Write};
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mio::net::TcpStream;
use tokio::time::Instant;

use super::inbox::Bell;
use crate::log::Log;
use crate::observe::Watched;
use crate::subscriber::{Admitted, Departure, Grant, OnGap, Open, State, Timer, Waived};
use crate::subscription::Subscription;
use crate::wire::chunked::{self, LAST_CHUNK};

/// So much is asked for before the socket is asked to take it.
const PAGE: usize = 16 << 10;

/// So many writes in a row, then it is another's turn.
const WRITES: usize = 8;

pub(super) struct Own {
    open: Open,
    bell: Arc<Bell>,
    waker: Waker,
    /// What the socket has not taken yet.
    rest: Vec<u8>,
    /// Nothing comes behind that.
    is_last: bool,
    stalled: Option<Stalled>,
}

/// Of a socket that is full: since when it has taken nothing.
struct Stalled {
    since: Instant,
}

/// How far one got.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Driven {
    /// It is woken by its bell, by its socket or at its time.
    Waits,
    /// There is more, but it is another's turn.
    More,
    /// It has ended, or its client is gone.
    Over,
    /// Its client takes nothing any more.
    Stalled,
}

/// What a socket took.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    All,
    /// So many bytes; it says when there is room again.
    Full(usize),
    Gone,
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
            rest: Vec::new(),
            is_last: false,
            stalled: None,
        }
    }

    /// Goes on until there is nothing to do, or for one turn. `page` is anybody's.
    pub(super) fn drive(&mut self, socket: &mut TcpStream, page: &mut Vec<u8>) -> Driven {
        self.bell.heed();
        if !self.rest.is_empty() {
            let rest = mem::take(&mut self.rest);
            if let Some(driven) = self.send(socket, rest) {
                return driven;
            }
        }
        for _ in 0..WRITES {
            if self.is_last {
                // The end of the response has been written; so the connection ends, too.
                return Driven::Over;
            }
            page.clear();
            let waits = self.fill(page);
            if let Some(driven) = self.send_page(socket, page) {
                return driven;
            }
            if waits {
                return Driven::Waits;
            }
        }
        Driven::More
    }

    /// Writes what the stream has. `true` if it has nothing more.
    fn fill(&mut self, page: &mut Vec<u8>) -> bool {
        let mut cx = Context::from_waker(&self.waker);
        while page.len() < PAGE {
            match self.open.poll_bytes(&mut cx) {
                Poll::Pending => return true,
                Poll::Ready(bytes) => {
                    if let Some(bytes) = &bytes {
                        chunked::write(page, bytes);
                    }
                    if bytes.is_none() || self.open.is_over() {
                        page.extend_from_slice(LAST_CHUNK);
                        self.is_last = true;
                        return false;
                    }
                }
            }
        }
        false
    }

    fn send_page(&mut self, socket: &mut TcpStream, page: &[u8]) -> Option<Driven> {
        match send(socket, page) {
            Sent::All => None,
            Sent::Gone => Some(Driven::Over),
            Sent::Full(taken) => {
                self.keep(page.get(taken..).unwrap_or_default().to_vec(), true);
                Some(Driven::Waits)
            }
        }
    }

    /// What was kept.
    fn send(&mut self, socket: &mut TcpStream, rest: Vec<u8>) -> Option<Driven> {
        match send(socket, &rest) {
            Sent::All => {
                self.stalled = None;
                None
            }
            Sent::Gone => Some(Driven::Over),
            Sent::Full(0) => {
                self.keep(rest, false);
                Some(Driven::Waits)
            }
            Sent::Full(taken) => {
                self.keep(rest.get(taken..).unwrap_or_default().to_vec(), true);
                Some(Driven::Waits)
            }
        }
    }

    /// `moved`: the socket has taken something.
    fn keep(&mut self, rest: Vec<u8>, moved: bool) {
        self.rest = rest;
        if moved || self.stalled.is_none() {
            self.stalled = Some(Stalled {
                since: Instant::now(),
            });
        }
    }

    /// Whether its client has taken nothing for so long.
    pub(super) fn has_stalled(&self, stall: Duration) -> bool {
        self.stalled
            .as_ref()
            .is_some_and(|stalled| stalled.since.elapsed() >= stall)
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

    /// Leaves its reading to somebody else, who has counted it again. `look` is woken when
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

    /// Reads for itself again, from `next` on and behind `rest`, which its socket has not
    /// taken.
    pub(super) fn own(
        self,
        log: &Arc<Log>,
        next: u64,
        keep_alive: Option<Duration>,
        rest: &[u8],
        bell: Arc<Bell>,
    ) -> Own {
        let open = Open {
            subscription: Subscription::resume(log, next),
            state: State::Streaming,
            was_quiet: false,
            timer: Timer::driven(keep_alive, self.deadline),
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
            own.keep(rest.to_vec(), true);
        }
        own
    }
}

/// Writes until all is written or the socket is full. Only then does it say when it has
/// room again.
pub(super) fn send(socket: &mut TcpStream, bytes: &[u8]) -> Sent {
    let mut taken = 0;
    while let Some(left) = bytes.get(taken..)
        && !left.is_empty()
    {
        match socket.write(left) {
            Ok(0) => return Sent::Gone,
            Ok(more) => taken += more,
            Err(full) if full.kind() == ErrorKind::WouldBlock => return Sent::Full(taken),
            Err(again) if again.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Sent::Gone,
        }
    }
    Sent::All
}

/// So that the kernel forgets what waits for a client that takes nothing.
pub(super) fn reset(socket: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO))
}
