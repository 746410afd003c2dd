//! The log: events in one order, and those who wait for more.
//!
//! ```text
//!               oldest                    next
//!                  │                        │
//!     evicted ...  [ 5 ][ 6 ][ 7 ][ 8 ][ 9 ]   ◄── append
//!                         ▲              ▲
//!                    subscription   subscription, waiting
//! ```
//!
//! An event's offset is its index plus the oldest offset, so every lookup is one
//! subtraction. A subscription is an offset and a place among the waiters; the
//! log knows no more of it.
//!
//! # Locks
//!
//! Four, taken in this order: `ring` (what is retained), then either `run` or `frames`
//! (the last joined bytes), a shard of `waiters` / `room`, or `register` (who reads). No
//! foreign code runs while one is held, but for the clone of a waker, which runtimes do by
//! counting.
//!
//! A reader parks while it still holds `ring`, after it has found nothing. An
//! appender takes `ring` to append and lets go of it before it wakes. So either
//! the reader sees the event, or the appender finds it parked: no wake-up is lost.
//! Submitters that wait for room park and are woken in the same way.

#[cfg(feature = "websocket")]
mod frames;
mod retention;
mod ring;
#[cfg(feature = "detached")]
mod shared;
mod signal;
mod slab;
mod start;
mod submitted;
mod sync;
mod tally;
#[cfg(all(test, tornadose_loom))]
mod tests_loom;
pub(crate) mod topics;
mod waiters;

use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::time::Instant;

pub use self::retention::{Overflow, Retention};
#[cfg(feature = "detached")]
pub(crate) use self::shared::Read;
#[cfg(any(feature = "detached", feature = "serve"))]
pub(crate) use self::signal::Gauge;
pub(crate) use self::signal::{Latch, Notice, Turns};
#[cfg(feature = "detached")]
pub(crate) use self::slab::Slab;
pub use self::start::{LastEventId, Start};
pub use self::submitted::Submitted;
pub(crate) use self::sync::Mutex;
#[cfg(feature = "detached")]
pub(crate) use self::sync::MutexGuard;

use self::ring::{Evicted, Ring};
use self::sync::RwLock;
use self::tally::{Register, Seated};
pub(crate) use self::waiters::Ticket;
use self::waiters::Waiters;
use crate::entry::Entry;
use crate::error::SubmitError;
use crate::event::Event;
use crate::gap::{Gap, GapReason};
use crate::observe::{Happening, observe};
use crate::planted::planted;
use crate::position::Position;
use crate::stats::Stats;
use crate::subscription::Subscribe;
use crate::wire::sse::{self, Encoded};

/// The most that is joined for one subscriber at a time. A client that stops
/// reading pins no more than this and what its connection has already taken;
/// 16 KiB is one TLS record and 150 events of 100 bytes.
const PAGE: usize = 16 << 10;

#[derive(Debug)]
pub(crate) struct Log {
    ring: RwLock<Ring>,
    /// The bytes that were joined last. A crowd that has read equally far wants
    /// the same ones, so they are joined once for all of it.
    run: Mutex<Option<Run>>,
    #[cfg(feature = "websocket")]
    frames: frames::Cache,
    /// Subscriptions that have read everything.
    waiters: Waiters,
    /// Submitters that wait for the slowest subscriber.
    room: Waiters,
    /// Who reads, and what they have had.
    register: Register<()>,
    config: Config,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    /// For those who look at its figures.
    pub(crate) name: Option<&'static str>,
    pub(crate) retention: Retention,
    pub(crate) lag: Lag,
    pub(crate) max_event_bytes: usize,
}

/// What becomes of a reader that wants an event which is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lag {
    /// It goes on with what there is, and is told nothing: latest value.
    Conflate,
    Overflow(Overflow),
}

/// Where a subscription is. Only the log it came from may move it.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// The offset that it wants next.
    next: u64,
    /// It wants the newest event alone.
    conflates: bool,
    ticket: Ticket,
    seated: Seated,
}

impl Cursor {
    /// Whether everything before `offset` has been read, or told as a gap.
    pub(crate) fn has_reached(&self, offset: u64) -> bool {
        self.next >= offset
    }

    fn move_to(&mut self, next: u64) {
        self.next = next;
        self.seated.move_to(next);
    }

    fn skip_to(&mut self, next: u64) {
        if next > self.next {
            self.seated.skip(next - self.next);
            self.move_to(next);
        }
    }
}

/// What a reader finds.
#[derive(Debug)]
pub(crate) enum Found<T> {
    Events(T),
    Gap(Gap),
    End(End),
}

impl<T> Found<T> {
    pub(crate) fn map<U>(self, of: impl FnOnce(T) -> U) -> Found<U> {
        match self {
            Self::Events(events) => Found::Events(of(events)),
            Self::Gap(gap) => Found::Gap(gap),
            Self::End(end) => Found::End(end),
        }
    }
}

/// Why a subscription has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum End {
    /// The store was closed; everything that was submitted before has been
    /// delivered.
    Closed,
    /// The subscriber was overtaken by the retention and the store disconnects
    /// such subscribers ([`Overflow::Disconnect`]).
    Slow,
    /// What keeps the log has been away for too long
    /// ([`HubBuilder::patience`](crate::HubBuilder::patience)). Who comes back gets what it
    /// has not had.
    Unavailable,
}

/// Joined blocks of the events `from..to`.
#[derive(Debug)]
struct Run {
    from: u64,
    to: u64,
    bytes: Bytes,
}

impl Log {
    pub(crate) fn new(config: Config) -> Self {
        let wait = match config.lag {
            Lag::Overflow(Overflow::Wait { stall }) => Some(stall),
            Lag::Overflow(Overflow::DropOldest | Overflow::Disconnect) | Lag::Conflate => None,
        };
        Self {
            ring: RwLock::new(Ring::new(config.retention, wait)),
            run: Mutex::new(None),
            #[cfg(feature = "websocket")]
            frames: frames::Cache::default(),
            waiters: Waiters::new(),
            room: Waiters::new(),
            register: Register::new(),
            config,
        }
    }

    /// Appends an event and wakes who waits for it. Never blocks on a reader.
    pub(crate) fn append(&self, event: Event) -> Result<Position, SubmitError> {
        self.append_unless(event, |_, _| false)
    }

    /// Appends an event unless the newest one makes it needless, judged under the
    /// lock; then it is the newest one's position that is returned.
    pub(crate) fn append_unless(
        &self,
        event: Event,
        needless: impl FnOnce(&Entry, &Event) -> bool,
    ) -> Result<Position, SubmitError> {
        let (event, encoded) = self.admit(event)?;
        if planted("wake-before-append") {
            self.waiters.wake_parked();
        }
        let now = Instant::now();
        let mut ring = self.ring.write();
        if ring.is_closed() {
            return Err(SubmitError::Closed(event));
        }
        if let Some(latest) = ring.latest()
            && needless(latest, &event)
        {
            return Ok(latest.id());
        }
        if ring.counts_readers() && ring.is_full_for(&encoded) {
            // A stall that has run out makes room even if nobody awaits it.
            let evicted = ring.evict(now);
            if ring.is_full_for(&encoded) {
                drop(ring);
                drop(evicted);
                return Err(SubmitError::Full(event));
            }
        }
        let (position, evicted) = ring.append(encoded, now);
        let room = ring.counts_readers() && !ring.is_over();
        drop(ring);
        if !planted("wake-before-append") {
            self.waiters.wake_parked();
        }
        if room && !evicted.is_empty() {
            self.room.wake_parked();
        }
        Ok(position)
    }

    /// Encodes an event, outside every lock, if it is not too large.
    fn admit(&self, event: Event) -> Result<(Event, Encoded), SubmitError> {
        let (size, limit) = (event.size(), self.config.max_event_bytes);
        if size > limit {
            return Err(SubmitError::TooLarge { event, size, limit });
        }
        let encoded = sse::encode(&event);
        let (size, limit) = (ring::weight(&encoded), self.config.retention.bytes);
        if size > limit {
            return Err(SubmitError::TooLarge { event, size, limit });
        }
        Ok((event, encoded))
    }

    pub(crate) fn close(&self) {
        let is_new = self.ring.write().close();
        self.waiters.wake_parked();
        self.room.wake_parked();
        if is_new {
            observe(&Happening::StoreClosed {
                store: self.config.name,
            });
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.ring.read().is_closed()
    }

    pub(crate) fn latest(&self) -> Option<Entry> {
        self.ring.read().latest().cloned()
    }

    /// The position of the newest event, whether it is still held or not.
    pub(crate) fn head(&self) -> Option<Position> {
        let head = self.ring.read().window(None).head();
        (head.offset() > 0).then_some(head)
    }

    pub(crate) fn subscriptions(&self) -> usize {
        self.register.readers()
    }

    /// Registers a subscription; every one must be given back to
    /// [`unsubscribe`](Self::unsubscribe).
    pub(crate) fn subscribe(&self, subscribe: &Subscribe) -> (Cursor, Option<Gap>) {
        let (start, last) = (subscribe.start, subscribe.last_event_id);
        let now = self.now();
        let begin = |ring: &Ring| match self.config.lag {
            Lag::Conflate => (ring.window(now).begin_latest(last), None),
            Lag::Overflow(_) => ring.window(now).begin(start, last),
        };
        let sit = |next| self.register.enter(subscribe.name.clone(), next, ());
        let (next, gap, seated) = if self.counts_readers() && !subscribe.conflate {
            let mut ring = self.ring.write();
            let (next, gap) = begin(&ring);
            ring.enter(next);
            (next, gap, sit(next))
        } else {
            let ring = self.ring.read();
            let (next, gap) = begin(&ring);
            (next, gap, sit(next))
        };
        let cursor = Cursor {
            next,
            conflates: subscribe.conflate,
            ticket: Ticket::default(),
            seated,
        };
        (cursor, gap)
    }

    pub(crate) fn unsubscribe(&self, cursor: &mut Cursor) {
        drop(self.waiters.leave(&mut cursor.ticket));
        if self.counts(cursor) && !planted("held-by-the-gone") {
            let mut ring = self.ring.write();
            ring.leave(cursor.next);
            self.let_go(ring);
        }
        if !planted("entry-leak") {
            self.register.leave(&cursor.seated);
        }
    }

    /// What there is, and who reads it.
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats {
            store: self.config.name,
            ..Stats::default()
        };
        // Nobody reads meanwhile, so that what is counted fits together.
        let ring = self.ring.write();
        let (next, (retained, bytes)) = (ring.next(), ring.held());
        let gone = next - 1 - retained as u64;
        stats.submitted = next - 1;
        (stats.retained, stats.retained_bytes) = (retained, bytes);
        match self.config.lag {
            Lag::Conflate => stats.replaced = gone,
            Lag::Overflow(_) => stats.evicted = gone,
        }
        self.register
            .count(&mut stats, |wanted, ()| next.saturating_sub(wanted));
        drop(ring);
        stats
    }

    pub(crate) fn store_name(&self) -> Option<&'static str> {
        self.config.name
    }

    /// `cursor` is told of the gap with which it began.
    pub(crate) fn tell(&self, cursor: &Cursor, gap: &Gap) {
        self.register.tell(&cursor.seated, gap);
    }

    /// The position before which `cursor` has read everything.
    pub(crate) fn position(&self, cursor: &Cursor) -> Position {
        self.ring.read().window(None).before(cursor.next)
    }

    /// Whether a reader at `cursor` has nothing to read now.
    pub(crate) fn is_at_end(&self, cursor: &Cursor) -> bool {
        self.end() == cursor.next
    }

    /// The offset that the next event will get.
    pub(crate) fn end(&self) -> u64 {
        self.ring.read().next()
    }

    /// Whether a reader whose last poll was pending is still parked with the waker of that
    /// poll. Takes no lock.
    pub(crate) fn is_parked(&self, cursor: &Cursor) -> bool {
        self.waiters.is_parked(&cursor.ticket)
    }

    /// Whether who reads too slowly loses events.
    pub(crate) fn is_lossless(&self) -> bool {
        self.config.lag != Lag::Conflate
    }

    /// The next event.
    pub(crate) fn poll_event(
        &self,
        cx: &mut Context<'_>,
        cursor: &mut Cursor,
    ) -> Poll<Found<Entry>> {
        self.poll_with(cx, cursor, |ring, from| {
            let entry = ring.get(from)?.clone();
            Some((entry, from + 1))
        })
    }

    /// The blocks of the next events, as many as fit a page, in one piece.
    pub(crate) fn poll_run(&self, cx: &mut Context<'_>, cursor: &mut Cursor) -> Poll<Found<Bytes>> {
        self.poll_with(cx, cursor, |ring, from| self.run(ring, from))
    }

    fn poll_with<T>(
        &self,
        cx: &mut Context<'_>,
        cursor: &mut Cursor,
        take: impl FnOnce(&Ring, u64) -> Option<(T, u64)>,
    ) -> Poll<Found<T>> {
        if self.counts(cursor) {
            let mut ring = self.ring.write();
            let before = cursor.next;
            // Nothing that a connected reader still wants is too old for it.
            let (found, replaced) = self.find(cx.waker(), &ring, None, cursor, take);
            if cursor.next == before {
                drop(ring);
            } else {
                ring.leave(before);
                ring.enter(cursor.next);
                self.let_go(ring);
            }
            drop(replaced);
            return found;
        }
        let now = self.now();
        let ring = self.ring.read();
        let (found, replaced) = self.find(cx.waker(), &ring, now, cursor, take);
        drop(ring);
        drop(replaced);
        found
    }

    /// Moves the cursor over what it finds, or parks it. A waker that is replaced
    /// is handed out, to be dropped after the lock.
    fn find<T>(
        &self,
        waker: &Waker,
        ring: &Ring,
        now: Option<Instant>,
        cursor: &mut Cursor,
        take: impl FnOnce(&Ring, u64) -> Option<(T, u64)>,
    ) -> (Poll<Found<T>>, Option<Waker>) {
        let window = ring.window(now);
        if cursor.conflates {
            // Also where it is older than the oldest: then there is none.
            let newest = cursor.next.max(window.next - 1).max(window.oldest);
            cursor.skip_to(newest);
        }
        if cursor.next < window.oldest {
            match self.config.lag {
                Lag::Conflate => cursor.skip_to(window.oldest),
                Lag::Overflow(_) if planted("swallowed-lag") => cursor.skip_to(window.oldest),
                Lag::Overflow(Overflow::Disconnect) => {
                    self.register.disconnect(&cursor.seated);
                    return (Poll::Ready(Found::End(End::Slow)), None);
                }
                Lag::Overflow(Overflow::DropOldest | Overflow::Wait { .. }) => {
                    let gap = window.gap_before(window.oldest, GapReason::Slow, cursor.next);
                    self.register.tell(&cursor.seated, &gap);
                    cursor.move_to(window.oldest);
                    return (Poll::Ready(Found::Gap(gap)), None);
                }
            }
        }
        if !(planted("end-before-the-last") && ring.is_closed())
            && let Some((taken, next)) = take(ring, cursor.next)
        {
            cursor.seated.deliver(next - cursor.next);
            cursor.move_to(next);
            return (Poll::Ready(Found::Events(taken)), None);
        }
        if ring.is_closed() {
            return (Poll::Ready(Found::End(End::Closed)), None);
        }
        // Woken by `append` and `close`.
        let replaced = self.waiters.park(&mut cursor.ticket, waker);
        (Poll::Pending, replaced)
    }

    fn run(&self, ring: &Ring, from: u64) -> Option<(Bytes, u64)> {
        let first = ring.get(from)?.sse();
        let alone = ring
            .get(from + 1)
            .is_none_or(|second| first.len() + second.sse().len() > PAGE);
        if alone {
            return Some((first.clone(), from + 1));
        }
        let mut run = self.run.lock();
        if let Some(run) = &*run
            && run.from == from
        {
            return Some((run.bytes.clone(), run.to));
        }
        let mut joined = Vec::with_capacity(PAGE.min(64 + first.len() * 4));
        let mut to = from;
        for entry in ring.range(from) {
            if to > from && joined.len() + entry.sse().len() > PAGE {
                to += u64::from(planted("skip-at-page"));
                break;
            }
            joined.extend_from_slice(entry.sse());
            to += 1;
        }
        let bytes = Bytes::from(joined);
        *run = Some(Run {
            from,
            to,
            bytes: bytes.clone(),
        });
        Some((bytes, to))
    }

    /// Evicts what the readers have let go of, and tells who waits for that.
    fn let_go(&self, mut ring: impl std::ops::DerefMut<Target = Ring>) {
        let evicted: Evicted = ring.evict(Instant::now());
        let room = !ring.is_over();
        drop(ring);
        if room && !evicted.is_empty() {
            self.room.wake_parked();
        }
    }

    /// Whether it is held for where it stands. Who wants the newest event alone is not.
    fn counts(&self, cursor: &Cursor) -> bool {
        self.counts_readers() && !cursor.conflates
    }

    fn counts_readers(&self) -> bool {
        matches!(self.config.lag, Lag::Overflow(Overflow::Wait { .. }))
    }

    /// The time, where it matters to a reader.
    fn now(&self) -> Option<Instant> {
        self.config.retention.age.map(|_| Instant::now())
    }
}
