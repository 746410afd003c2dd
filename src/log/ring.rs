//! The retained events, numbered without a hole. Single-threaded and without a
//! clock of its own: whoever calls holds the log's lock and says what time it is.

use std::collections::VecDeque;
use std::mem;
use std::time::Duration;

use tokio::time::Instant;

use super::retention::Retention;
use super::start::Window;
use crate::entry::Entry;
use crate::planted::planted;
use crate::position::{Epoch, Position};
use crate::wire::sse::Encoded;

#[derive(Debug)]
pub(crate) struct Ring {
    epoch: Epoch,
    retention: Retention,
    slots: VecDeque<Slot>,
    /// The offset of the next event; the newest slot has the one before.
    next: u64,
    /// The sum of the slots' weights.
    bytes: usize,
    closed: bool,
    /// Where the readers are, if they hold events back.
    readers: Option<Readers>,
}

#[derive(Debug)]
struct Slot {
    entry: Entry,
    weight: usize,
    at: Instant,
    /// How many subscriptions want this event next. Kept only with [`Readers`].
    readers: usize,
}

/// For a log that waits for its slowest reader.
#[derive(Debug)]
struct Readers {
    /// How many subscriptions have read everything.
    at_end: usize,
    /// Since when the log is over its bound and nothing has been evicted.
    blocked: Option<Instant>,
    stall: Duration,
}

/// What fell out of the ring, to be dropped after the lock: freeing is not free.
#[derive(Debug, Default)]
pub(crate) struct Evicted {
    first: Option<Entry>,
    more: Vec<Entry>,
}

impl Evicted {
    fn push(&mut self, entry: Entry) {
        // Nearly always one goes for the one that came; that needs no list.
        match self.first {
            None => self.first = Some(entry),
            Some(_) => self.more.push(entry),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}

impl Ring {
    pub(crate) fn new(retention: Retention, wait: Option<Duration>) -> Self {
        Self {
            epoch: Epoch::random(),
            retention,
            slots: VecDeque::new(),
            next: 1,
            bytes: 0,
            closed: false,
            readers: wait.map(|stall| Readers {
                at_end: 0,
                blocked: None,
                stall,
            }),
        }
    }

    pub(crate) fn append(&mut self, event: Encoded, now: Instant) -> (Position, Evicted) {
        let weight = weight(&event);
        let position = Position::new(self.epoch, self.next);
        self.slots.push_back(Slot {
            entry: Entry::stamped(position, event),
            weight,
            // Callers read the clock before they take the lock, so two of them may
            // come in the wrong order; `oldest` searches by time.
            at: self.slots.back().map_or(now, |newest| newest.at.max(now)),
            readers: self
                .readers
                .as_mut()
                .map_or(0, |readers| mem::take(&mut readers.at_end)),
        });
        self.next += 1;
        self.bytes += weight;
        (position, self.evict(now))
    }

    /// Lets go of what the retention no longer covers.
    pub(crate) fn evict(&mut self, now: Instant) -> Evicted {
        let mut evicted = Evicted::default();
        let stalled = self.blocked_for(now).is_some_and(|left| left.is_zero());
        while let Some(oldest) = self.slots.front() {
            let over = self.is_over();
            if !over && !self.is_expired(oldest, now) {
                break;
            }
            if oldest.readers > 0 && !(stalled && over) && !planted("evict-the-unread") {
                break;
            }
            if let Some(readers) = &mut self.readers {
                readers.blocked = None;
            }
            if let Some(oldest) = self.slots.pop_front() {
                self.bytes -= oldest.weight;
                evicted.push(oldest.entry);
            }
        }
        let over = self.is_over();
        if let Some(readers) = &mut self.readers {
            if !over {
                readers.blocked = None;
            } else if readers.blocked.is_none() {
                readers.blocked = Some(now);
            }
        }
        evicted
    }

    /// How long the log will still wait for a reader that holds it up.
    pub(crate) fn blocked_for(&self, now: Instant) -> Option<Duration> {
        let readers = self.readers.as_ref()?;
        let waited = now.saturating_duration_since(readers.blocked?);
        Some(readers.stall.saturating_sub(waited))
    }

    /// Whether more is held than the retention asks for.
    pub(crate) fn is_over(&self) -> bool {
        let held = self.slots.len() + usize::from(planted("evict-one-too-many"));
        held > self.retention.events || self.bytes > self.retention.bytes
    }

    /// Whether a submitter need not wait.
    pub(crate) fn has_room(&self) -> bool {
        self.closed || !self.is_over()
    }

    /// Whether an event would not even fit into the room for those who wait: as much
    /// again as the retention.
    pub(crate) fn is_full_for(&self, event: &Encoded) -> bool {
        self.slots.len() >= self.retention.events.saturating_mul(2)
            || self.bytes.saturating_add(weight(event)) > self.retention.bytes.saturating_mul(2)
    }

    /// Whether it was open.
    pub(crate) fn close(&mut self) -> bool {
        !mem::replace(&mut self.closed, true)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether readers must say where they are.
    pub(crate) fn counts_readers(&self) -> bool {
        self.readers.is_some()
    }

    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// What a newcomer can have at this time.
    pub(crate) fn window(&self, now: Option<Instant>) -> Window {
        Window {
            epoch: self.epoch,
            oldest: self.oldest(now),
            next: self.next,
        }
    }

    /// The offset of the oldest event that may still be read. Without a time:
    /// that is still held.
    pub(crate) fn oldest(&self, now: Option<Instant>) -> u64 {
        let first = self.next - self.slots.len() as u64;
        match (now, self.slots.front()) {
            (Some(now), Some(oldest)) if self.is_expired(oldest, now) => {
                first
                    + self
                        .slots
                        .partition_point(|slot| self.is_expired(slot, now))
                        as u64
            }
            _ => first,
        }
    }

    /// How many events are held, and the sum of their weights.
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.slots.len(), self.bytes)
    }

    pub(crate) fn get(&self, offset: u64) -> Option<&Entry> {
        Some(&self.slots.get(self.index(offset)?)?.entry)
    }

    pub(crate) fn latest(&self) -> Option<&Entry> {
        Some(&self.slots.back()?.entry)
    }

    /// The entries from `offset` on.
    pub(crate) fn range(&self, offset: u64) -> impl Iterator<Item = &Entry> {
        let from = self
            .index(offset)
            .unwrap_or(self.slots.len())
            .min(self.slots.len());
        self.slots.range(from..).map(|slot| &slot.entry)
    }

    /// A reader now wants `offset` next.
    pub(crate) fn enter(&mut self, offset: u64) {
        if let Some(count) = self.readers_at(offset) {
            *count += 1;
        }
    }

    /// A reader no longer wants `offset`.
    pub(crate) fn leave(&mut self, offset: u64) {
        if let Some(count) = self.readers_at(offset) {
            *count = count.saturating_sub(1);
        }
    }

    fn readers_at(&mut self, offset: u64) -> Option<&mut usize> {
        if offset == self.next {
            return Some(&mut self.readers.as_mut()?.at_end);
        }
        let index = self.index(offset)?;
        Some(&mut self.slots.get_mut(index)?.readers)
    }

    fn index(&self, offset: u64) -> Option<usize> {
        let first = self.next - self.slots.len() as u64;
        usize::try_from(offset.checked_sub(first)?).ok()
    }

    fn is_expired(&self, slot: &Slot, now: Instant) -> bool {
        self.retention
            .age
            .is_some_and(|age| now.saturating_duration_since(slot.at) >= age)
    }
}

/// What an event counts against the retention's bytes.
pub(crate) fn weight(event: &Encoded) -> usize {
    event.weight() + Retention::BYTES_PER_EVENT
}

#[cfg(all(test, not(tornadose_loom)))]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::wire::sse::encode;

    const SECOND: Duration = Duration::from_secs(1);

    fn ring(retention: Retention) -> Ring {
        Ring::new(retention, None)
    }

    fn push(ring: &mut Ring, data: &str, now: Instant) -> usize {
        let (_, evicted) = ring.append(encode(&Event::new(data)), now);
        usize::from(evicted.first.is_some()) + evicted.more.len()
    }

    fn held(ring: &Ring) -> Vec<u64> {
        ring.range(0).map(|entry| entry.id().offset()).collect()
    }

    #[test]
    fn count_bounds() {
        let (mut ring, now) = (ring(Retention::new().events(3)), Instant::now());
        for n in 1..=10 {
            assert_eq!(push(&mut ring, "x", now), usize::from(n > 3));
        }
        assert_eq!(
            ring.range(8)
                .map(|entry| entry.id().offset())
                .collect::<Vec<_>>(),
            [8, 9, 10]
        );
        assert_eq!((ring.oldest(None), ring.next()), (8, 11));
        assert!(ring.get(7).is_none() && ring.get(11).is_none() && ring.get(u64::MAX).is_none());
        assert_eq!(ring.get(9).map(|entry| entry.id().offset()), Some(9));
    }

    #[test]
    fn bytes_bound_and_are_given_back() {
        let one = weight(&encode(&Event::new("x".repeat(100))));
        let (mut ring, now) = (ring(Retention::new().bytes(3 * one)), Instant::now());
        for _ in 0..7 {
            push(&mut ring, &"x".repeat(100), now);
        }
        assert_eq!(ring.bytes, 3 * one);
        assert_eq!(push(&mut ring, &"x".repeat(250), now), 2);
        assert_eq!(ring.bytes, 2 * one + 150);
    }

    #[test]
    fn age_bounds_by_the_given_clock() {
        let (mut ring, start) = (ring(Retention::new().age(10 * SECOND)), Instant::now());
        for second in 0..5 {
            push(&mut ring, "x", start + second * SECOND);
        }
        assert_eq!(ring.oldest(Some(start + 9 * SECOND)), 1);
        assert_eq!(ring.oldest(Some(start + 10 * SECOND)), 2);
        assert_eq!(ring.oldest(Some(start + 12 * SECOND)), 4);
        assert_eq!(ring.oldest(Some(start + 100 * SECOND)), 6);
        assert_eq!(push(&mut ring, "x", start + 12 * SECOND), 3);
    }

    #[test]
    fn a_clock_read_out_of_order_does_not_disturb_the_search() {
        let (mut ring, start) = (ring(Retention::new().age(10 * SECOND)), Instant::now());
        push(&mut ring, "x", start + 5 * SECOND);
        push(&mut ring, "x", start);
        assert_eq!(ring.oldest(Some(start + 14 * SECOND)), 1);
        assert_eq!(ring.oldest(Some(start + 15 * SECOND)), 3);
    }

    #[test]
    fn readers_hold_what_they_have_not_read() {
        let mut ring = Ring::new(Retention::new().events(2), Some(30 * SECOND));
        let now = Instant::now();
        ring.enter(1);
        for _ in 0..4 {
            assert_eq!(push(&mut ring, "x", now), 0);
        }
        assert!(ring.is_over() && ring.is_full_for(&encode(&Event::new("x"))));
        ring.leave(1);
        ring.enter(3);
        assert!(!ring.evict(now).is_empty());
        assert_eq!((ring.oldest(None), ring.is_over()), (3, false));
        ring.leave(3);
        push(&mut ring, "x", now);
        assert_eq!(ring.oldest(None), 4);
        assert_eq!(
            held(&ring).len(),
            0,
            "an offset before the oldest has no range"
        );
    }

    #[test]
    fn a_stalled_reader_holds_no_longer_than_the_stall() {
        let mut ring = Ring::new(Retention::new().events(2), Some(30 * SECOND));
        let start = Instant::now();
        ring.enter(1);
        for _ in 0..4 {
            push(&mut ring, "x", start);
        }
        assert_eq!(ring.blocked_for(start + 10 * SECOND), Some(20 * SECOND));
        assert!(ring.evict(start + 29 * SECOND).is_empty());
        assert!(!ring.evict(start + 30 * SECOND).is_empty());
        assert_eq!((ring.oldest(None), ring.blocked_for(start)), (3, None));
        // It was at 1, which is gone: nothing to leave, nothing held by it.
        ring.leave(1);
        ring.enter(3);
        push(&mut ring, "x", start + 30 * SECOND);
        assert_eq!(ring.oldest(None), 3);
    }
}
