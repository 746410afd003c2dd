//! Who reads a log, how far each of them is and what they have had: figures for people.
//!
//! Each reader has a [`Seat`], which it alone writes, while it holds the log's lock for
//! reading. Who looks at all of them holds that lock for writing. So what is seen fits
//! together, whatever goes on: no event is counted that was not delivered, and none twice.
//! Nothing is decided by a figure, so the log's lock is all the order that there is, and
//! every access is relaxed.
//!
//! A delivery costs a few words of memory that belong to the reader; the list of seats
//! ([`Register`]) is locked where somebody comes, goes or looks, behind the log's lock.
//! What is rare, a gap, is counted once for all.
//!
//! # One reader for many
//!
//! A reader may stand for many subscribers that get what it gets:
//! [`stand_for`](Register::stand_for) says for how many. From then on each delivery, skip
//! and gap of it counts so often, and so many are at its position.

use std::sync::Arc;

use super::slab::Slab;
use super::sync::{AtomicU64, Mutex, Ordering};
use crate::gap::Gap;
use crate::stats::{Lagging, Stats};

/// The readers of a log; of each also what only the log knows.
#[derive(Debug)]
pub(crate) struct Register<T> {
    seats: Mutex<Seats<T>>,
    told: Told,
}

#[derive(Debug)]
struct Seats<T> {
    seats: Slab<(Arc<Seat>, T)>,
    /// For how many subscribers all of them stand.
    readers: u64,
    /// What those who are gone had.
    gone: Served,
}

/// One reader's figures.
#[derive(Debug)]
pub(crate) struct Seat {
    name: Option<Arc<str>>,
    /// For how many subscribers it stands.
    readers: AtomicU64,
    /// The offset that it wants next.
    next: AtomicU64,
    delivered: AtomicU64,
    skipped: AtomicU64,
}

/// A reader's place in the register. It must be given back to
/// [`leave`](Register::leave).
#[derive(Debug)]
pub(crate) struct Seated {
    seat: Arc<Seat>,
    at: u32,
}

/// Sums over readers.
#[derive(Clone, Copy, Debug, Default)]
struct Served {
    delivered: u64,
    skipped: u64,
}

/// What was told, of a log or of one of its topics.
#[derive(Debug)]
pub(crate) struct Told {
    gaps: AtomicU64,
    missed: AtomicU64,
    /// The gaps of which nobody knows how many events they were.
    uncounted: AtomicU64,
    disconnected: AtomicU64,
}

impl<T> Register<T> {
    pub(crate) fn new() -> Self {
        Self {
            seats: Mutex::new(Seats {
                seats: Slab::new(),
                readers: 0,
                gone: Served::default(),
            }),
            told: Told::new(),
        }
    }

    /// Somebody has come and wants `next`. Called with the log's lock held.
    pub(crate) fn enter(&self, name: Option<Arc<str>>, next: u64, of: T) -> Seated {
        self.enter_for(1, name, next, of)
    }

    /// A reader that stands for so many subscribers, which may be none.
    pub(crate) fn enter_for(
        &self,
        readers: u64,
        name: Option<Arc<str>>,
        next: u64,
        of: T,
    ) -> Seated {
        let seat = Arc::new(Seat {
            name,
            readers: AtomicU64::new(readers),
            next: AtomicU64::new(next),
            delivered: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
        });
        let mut seats = self.seats.lock();
        seats.readers += readers;
        let at = seats.seats.insert((Arc::clone(&seat), of));
        Seated { seat, at }
    }

    pub(crate) fn leave(&self, seated: &Seated) {
        let mut seats = self.seats.lock();
        let left = seats.seats.remove(seated.at);
        seats.readers -= seated.readers();
        seats.gone.add(&seated.seat);
        drop(seats);
        drop(left);
    }

    /// What the log knows of a reader has changed.
    pub(crate) fn update(&self, seated: &Seated, of: T) {
        if let Some((_, last)) = self.seats.lock().seats.get_mut(seated.at) {
            *last = of;
        }
    }

    /// A reader stands for so many subscribers from now on, which may be none.
    #[cfg(feature = "detached")]
    pub(crate) fn stand_for(&self, seated: &mut Seated, subscribers: usize) {
        let subscribers = subscribers as u64;
        let mut seats = self.seats.lock();
        seats.readers = seats.readers - seated.readers() + subscribers;
        seated.seat.readers.store(subscribers, Ordering::Relaxed);
    }

    /// One of those for whom the one reader stood is the other's from now on.
    #[cfg(feature = "detached")]
    pub(crate) fn hand_over(&self, from: &mut Seated, to: &mut Seated) {
        let seats = self.seats.lock();
        from.seat
            .readers
            .store(from.readers().saturating_sub(1), Ordering::Relaxed);
        to.seat.readers.store(to.readers() + 1, Ordering::Relaxed);
        drop(seats);
    }

    /// A reader is told of a gap.
    pub(crate) fn tell(&self, seated: &Seated, gap: &Gap) {
        self.told.gap(gap.missed, seated.readers());
    }

    /// A reader is sent away for being slow.
    pub(crate) fn disconnect(&self, seated: &Seated) {
        add(&self.told.disconnected, seated.readers());
    }

    /// Adds what the readers have had and were told, and how far each is, which is what
    /// `behind` says of where it is and of what the log knows of it. Called with the log's
    /// lock held for writing.
    pub(crate) fn count(&self, stats: &mut Stats, mut behind: impl FnMut(u64, &T) -> u64) {
        let seats = self.seats.lock();
        let mut served = seats.gone;
        let mut lagging = Lagging::default();
        for (seat, of) in seats.seats.iter() {
            served.add(seat);
            let behind = behind(seat.next(), of);
            lagging.add(seat.name.as_ref(), seat.readers(), behind);
        }
        stats.delivered = served.delivered;
        stats.skipped = Some(served.skipped);
        self.told.count(stats);
        lagging.count(stats);
    }

    /// Looks at every reader. Called with the log's lock held for writing.
    pub(crate) fn for_each(&self, mut look: impl FnMut(&Seat, &T)) {
        let seats = self.seats.lock();
        seats.seats.iter().for_each(|(seat, of)| look(seat, of));
    }

    /// For how many subscribers all readers stand.
    pub(crate) fn readers(&self) -> usize {
        usize::try_from(self.seats.lock().readers).unwrap_or(usize::MAX)
    }
}

impl Seat {
    pub(crate) fn name(&self) -> Option<&Arc<str>> {
        self.name.as_ref()
    }

    pub(crate) fn readers(&self) -> u64 {
        self.readers.load(Ordering::Relaxed)
    }

    /// The offset that it wants next.
    pub(crate) fn next(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }
}

impl Seated {
    pub(crate) fn name(&self) -> Option<&Arc<str>> {
        self.seat.name()
    }

    pub(crate) fn readers(&self) -> u64 {
        self.seat.readers()
    }

    /// Each for whom the reader stands has so many more events.
    pub(crate) fn deliver(&mut self, events: u64) {
        let events = events.saturating_mul(self.readers());
        add_alone(&self.seat.delivered, events);
    }

    /// One for whom the reader stands has not got, and not skipped, so many events after all.
    #[cfg(feature = "detached")]
    pub(crate) fn take_back(&mut self, delivered: u64, skipped: u64) {
        add_alone(&self.seat.delivered, delivered.wrapping_neg());
        add_alone(&self.seat.skipped, skipped.wrapping_neg());
    }

    /// Each for whom the reader stands goes on without so many events, untold.
    pub(crate) fn skip(&mut self, events: u64) {
        let events = events.saturating_mul(self.readers());
        add_alone(&self.seat.skipped, events);
    }

    /// The reader wants this offset next.
    pub(crate) fn move_to(&mut self, next: u64) {
        self.seat.next.store(next, Ordering::Relaxed);
    }
}

impl Served {
    fn add(&mut self, seat: &Seat) {
        let (delivered, skipped) = (&seat.delivered, &seat.skipped);
        self.delivered = self
            .delivered
            .wrapping_add(delivered.load(Ordering::Relaxed));
        self.skipped = self.skipped.wrapping_add(skipped.load(Ordering::Relaxed));
    }
}

impl Told {
    pub(crate) fn new() -> Self {
        Self {
            gaps: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            uncounted: AtomicU64::new(0),
            disconnected: AtomicU64::new(0),
        }
    }

    /// So many subscribers are told of a gap.
    pub(crate) fn gap(&self, missed: Option<u64>, subscribers: u64) {
        add(&self.gaps, subscribers);
        match missed {
            Some(missed) => add(&self.missed, missed.saturating_mul(subscribers)),
            None => add(&self.uncounted, subscribers),
        }
    }

    pub(crate) fn count(&self, stats: &mut Stats) {
        stats.gaps = self.gaps.load(Ordering::Relaxed);
        stats.missed = self.missed.load(Ordering::Relaxed);
        stats.uncounted = self.uncounted.load(Ordering::Relaxed);
        stats.disconnected = self.disconnected.load(Ordering::Relaxed);
    }
}

/// Wraps at 2^64, as an atomic does.
fn add(figure: &AtomicU64, more: u64) {
    figure.fetch_add(more, Ordering::Relaxed);
}

/// For who is the only one that writes: cheaper than to add.
fn add_alone(figure: &AtomicU64, more: u64) {
    let sum = figure.load(Ordering::Relaxed).wrapping_add(more);
    figure.store(sum, Ordering::Relaxed);
}

#[cfg(all(test, feature = "detached", not(tornadose_loom)))]
mod tests {
    use crate::log::{Config, Found, Lag, Log, Overflow, Retention, Start};
    use std::task::{Context, Poll, Waker};

    #[test]
    fn a_reader_counts_for_those_for_whom_it_stands() {
        let log = Log::new(Config {
            name: None,
            retention: Retention::new().events(2),
            lag: Lag::Overflow(Overflow::DropOldest),
            max_event_bytes: 1024,
        });
        let mut cx = Context::from_waker(Waker::noop());
        let submit = || log.append("x".into()).expect("taken");
        let (mut many, _) = log.subscribe(&Start::Live.into());
        let (mut one, _) = log.subscribe(&Start::Live.into());
        log.stand_for(&mut many, 3);
        assert_eq!(log.subscriptions(), 4);
        submit();
        assert!(log.poll_run(&mut cx, &mut many).is_ready());
        let stats = log.stats();
        assert_eq!((stats.delivered, stats.subscribers), (3, 4));
        assert_eq!((stats.lag.sum(), stats.lag.count()), (1, 4));

        // One of them leaves; the others are overtaken.
        log.stand_for(&mut many, 2);
        for _ in 0..3 {
            submit();
        }
        let Poll::Ready(Found::Gap(gap)) = log.poll_run(&mut cx, &mut many) else {
            panic!("it is overtaken");
        };
        assert_eq!(gap.missed, Some(1));
        let stats = log.stats();
        assert_eq!(
            (stats.gaps, stats.missed, stats.lag.sum()),
            (2, 2, 2 * 2 + 4)
        );
        assert_eq!(stats.slowest.len(), 3);
        log.unsubscribe(&mut many);
        log.unsubscribe(&mut one);
        assert_eq!((log.subscriptions(), log.stats().delivered), (0, 3));
    }
}
