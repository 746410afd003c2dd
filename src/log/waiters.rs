//! The wakers of those who wait for something that happens to all of them.
//!
//! - A [`Ticket`] is one waiter's place; it is taken at the first park, kept, and
//!   given back by [`leave`](Waiters::leave). Whoever owns a ticket must do that
//!   when dropped: a waker that is left behind would keep its whole task alive.
//! - Waking empties the list; who wants to be woken again parks again.
//! - Wakers are woken and dropped with no lock held, because both run foreign
//!   code (which may well drop a ticket of the same list). Methods that unpark a
//!   waker therefore hand it out, to be dropped by the caller after its own locks.
//! - Sharded, so that thousands who park at once do not queue for one lock.
//! - [`wake_parked`](Waiters::wake_parked) costs one load where nobody is parked, but
//!   wants a lock that orders it with who parks; [`wake_all`](Waiters::wake_all) wants
//!   nothing.
//! - In a steady state nothing is allocated: the list that was woken is kept and
//!   filled again.

use std::mem;
use std::task::Waker;

use super::sync::{AtomicUsize, Mutex, Ordering, fence};
use crate::planted::planted;

/// Chosen arbitrarily: enough that two cores seldom meet, few enough that a
/// submit with nobody waiting costs little.
const SHARDS: usize = if cfg!(tornadose_loom) { 1 } else { 8 };

/// In `Place::parked`: not parked.
const NOWHERE: u32 = u32::MAX;

#[derive(Debug)]
pub(crate) struct Waiters<const N: usize = SHARDS> {
    shards: [Mutex<Shard>; N],
    /// How often each shard has been woken, from 1 on. Written under the shard's lock,
    /// before those are woken who were in it.
    rounds: [AtomicUsize; N],
    /// A bit for each shard in which somebody is parked. Written under the shard's
    /// lock. Relaxed: who relies on it has another lock to order it by.
    parked: AtomicUsize,
    /// Deals the tickets out to the shards. Relaxed: any shard is right.
    turn: AtomicUsize,
}

/// A place among the waiters, or none yet.
#[derive(Debug, Default)]
pub(crate) struct Ticket {
    /// The shard, and the place in it.
    place: Option<(u32, u32)>,
    /// The shard's round in which it was parked last.
    round: usize,
}

/// Guarded by its mutex as a whole.
#[derive(Debug, Default)]
struct Shard {
    /// Who is parked, with the place that it belongs to.
    parked: Vec<(u32, Waker)>,
    /// The emptied list of the last wake-up, for the next one.
    spare: Vec<(u32, Waker)>,
    /// For each ticket, where in `parked` it stands; for each free place, unused.
    places: Vec<u32>,
    free: Vec<u32>,
}

impl<const N: usize> Waiters<N> {
    pub(crate) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::new(Shard::default())),
            rounds: std::array::from_fn(|_| AtomicUsize::new(1)),
            parked: AtomicUsize::new(0),
            turn: AtomicUsize::new(0),
        }
    }

    /// Leaves `waker` to be woken by the next [`wake_all`](Self::wake_all).
    /// Returns the waker that it replaces.
    #[must_use = "drop the replaced waker with no lock held"]
    pub(crate) fn park(&self, ticket: &mut Ticket, waker: &Waker) -> Option<Waker> {
        let (shard, place) = match ticket.place {
            Some((shard, place)) => (shard, Some(place)),
            None => ((self.turn.fetch_add(1, Ordering::Relaxed) % N) as u32, None),
        };
        let mut guard = self.shards.get(shard as usize)?.lock();
        let place = match place {
            Some(place) => place,
            None => {
                let place = guard.take_place();
                ticket.place = Some((shard, place));
                place
            }
        };
        if guard.parked.is_empty() {
            self.parked.fetch_or(1 << shard, Ordering::Relaxed);
        }
        if let Some(round) = self.rounds.get(shard as usize) {
            ticket.round = round.load(Ordering::Relaxed);
        }
        guard.park(place, waker)
    }

    /// Whether nobody has been woken since the ticket was parked, so that its waker is
    /// still to be woken. Takes no lock.
    ///
    /// A wake-up of a task that is about to run anyway does nothing, and orders nothing. So
    /// there is a fence here, behind the beginning of the poll, and one in
    /// [`wake`](Self::wake), before the wakers: either we see that a round has ended, or
    /// whoever ends it sees that the task is running already, and has it polled again.
    pub(crate) fn is_parked(&self, ticket: &Ticket) -> bool {
        let round = ticket
            .place
            .and_then(|(shard, _)| self.rounds.get(shard as usize));
        fence(Ordering::SeqCst);
        round.is_some_and(|round| round.load(Ordering::Relaxed) == ticket.round)
    }

    /// Gives the ticket back. Returns the waker that was parked with it.
    #[must_use = "drop the waker with no lock held"]
    pub(crate) fn leave(&self, ticket: &mut Ticket) -> Option<Waker> {
        let (shard, place) = ticket.place.take()?;
        let mut guard = self.shards.get(shard as usize)?.lock();
        let waker = guard.unpark(place);
        guard.free.push(place);
        waker
    }

    /// Wakes everyone who is parked now.
    pub(crate) fn wake_all(&self) {
        (0..N).for_each(|shard| self.wake(shard));
    }

    /// Wakes everyone who parked while holding a lock that the caller has held since.
    pub(crate) fn wake_parked(&self) {
        let mut parked = self.parked.load(Ordering::Relaxed);
        while parked != 0 {
            self.wake(parked.trailing_zeros() as usize);
            parked &= parked - 1;
        }
    }

    fn wake(&self, index: usize) {
        let Some(shard) = self.shards.get(index) else {
            return;
        };
        let mut woken = {
            let mut guard = shard.lock();
            if guard.parked.is_empty() {
                return;
            }
            self.parked.fetch_and(!(1 << index), Ordering::Relaxed);
            if let Some(round) = self.rounds.get(index) {
                round.fetch_add(1, Ordering::Relaxed);
            }
            guard.take_parked()
        };
        fence(Ordering::SeqCst);
        for (_, waker) in woken.drain(..) {
            waker.wake();
        }
        shard.lock().keep(woken);
    }
}

impl Shard {
    fn take_place(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.places.push(NOWHERE);
            (self.places.len() - 1) as u32
        })
    }

    fn park(&mut self, place: u32, waker: &Waker) -> Option<Waker> {
        let at = self.places.get_mut(place as usize)?;
        if let Some((_, parked)) = self.parked.get_mut(*at as usize) {
            if parked.will_wake(waker) {
                return None;
            }
            return Some(mem::replace(parked, waker.clone()));
        }
        *at = self.parked.len() as u32;
        self.parked.push((place, waker.clone()));
        None
    }

    fn unpark(&mut self, place: u32) -> Option<Waker> {
        let at = mem::replace(self.places.get_mut(place as usize)?, NOWHERE) as usize;
        if at >= self.parked.len() {
            return None;
        }
        let (_, waker) = self.parked.swap_remove(at);
        if let Some((moved, _)) = self.parked.get(at)
            && !planted("wake-lost-on-drop")
            && let Some(place) = self.places.get_mut(*moved as usize)
        {
            *place = at as u32;
        }
        Some(waker)
    }

    fn take_parked(&mut self) -> Vec<(u32, Waker)> {
        for (place, _) in &self.parked {
            if let Some(at) = self.places.get_mut(*place as usize) {
                *at = NOWHERE;
            }
        }
        mem::replace(&mut self.parked, mem::take(&mut self.spare))
    }

    fn keep(&mut self, emptied: Vec<(u32, Waker)>) {
        if emptied.capacity() > self.spare.capacity() {
            self.spare = emptied;
        }
    }
}

#[cfg(all(test, not(tornadose_loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Count {
        fn get(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    #[test]
    fn who_is_parked_is_woken_once() {
        let (waiters, count) = (<Waiters>::new(), Arc::new(Count::default()));
        let waker = Waker::from(Arc::clone(&count));
        let mut tickets: Vec<_> = (0..20).map(|_| Ticket::default()).collect();
        for ticket in &mut tickets {
            assert!(waiters.park(ticket, &waker).is_none());
            // Under Miri a waker does not always know itself, and then it comes back.
            assert!(waiters.park(ticket, &waker).is_none() || cfg!(miri));
        }
        waiters.wake_all();
        assert_eq!(count.get(), 20);
        waiters.wake_all();
        assert_eq!(count.get(), 20);
    }

    #[test]
    fn who_left_is_not_woken_and_leaves_no_waker_behind() {
        let (waiters, count) = (<Waiters>::new(), Arc::new(Count::default()));
        let mut tickets: Vec<_> = (0..100).map(|_| Ticket::default()).collect();
        for ticket in &mut tickets {
            drop(waiters.park(ticket, &Waker::from(Arc::clone(&count))));
        }
        for ticket in tickets.iter_mut().step_by(3) {
            drop(waiters.leave(ticket));
        }
        assert_eq!(Arc::strong_count(&count), 1 + 66);
        waiters.wake_all();
        assert_eq!(count.get(), 66);
        assert_eq!(Arc::strong_count(&count), 1);
        for ticket in &mut tickets {
            assert!(waiters.leave(ticket).is_none());
        }
    }

    #[test]
    fn churn_reuses_its_places() {
        let (waiters, count) = (<Waiters>::new(), Arc::new(Count::default()));
        for _ in 0..10_000 {
            let mut ticket = Ticket::default();
            drop(waiters.park(&mut ticket, &Waker::from(Arc::clone(&count))));
            drop(waiters.leave(&mut ticket));
        }
        assert_eq!(Arc::strong_count(&count), 1);
        let places: usize = waiters
            .shards
            .iter()
            .map(|shard| shard.lock().places.len())
            .sum();
        assert!(places <= SHARDS, "{places}");
    }

    /// A task that drops its ticket from inside `wake` must not meet a held lock.
    #[test]
    fn a_waker_may_come_back_into_the_list() {
        struct Leaves(Arc<Waiters>, std::sync::Mutex<Ticket>);
        impl Wake for Leaves {
            fn wake(self: Arc<Self>) {
                drop(self.0.leave(&mut self.1.lock().expect("not poisoned")));
            }
        }
        let waiters = Arc::new(<Waiters>::new());
        let leaves = Arc::new(Leaves(Arc::clone(&waiters), Default::default()));
        let waker = Waker::from(Arc::clone(&leaves));
        drop(waiters.park(&mut leaves.1.lock().expect("not poisoned"), &waker));
        waiters.wake_all();
        assert!(leaves.1.lock().expect("not poisoned").place.is_none());
    }
}
