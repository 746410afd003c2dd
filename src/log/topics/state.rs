//! One topic: its events, and what it has let go of.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::crowd::Crowd;
use super::index::{After, GroupId};
use super::policy::Policy;
use super::stats::Tally;
use crate::entry::Entry;
use crate::topic::Topic;

/// A topic.
#[derive(Debug)]
pub(super) struct State {
    pub(super) name: Topic,
    pub(super) born: u32,
    pub(super) policy: Policy,
    pub(super) slots: VecDeque<Slot>,
    /// The sum of the slots' weights.
    pub(super) bytes: usize,
    /// The offset of the last event that it let go of; 0 if of none.
    pub(super) evicted: u64,
    /// How many it let go of, since it was made.
    pub(super) gone: u64,
    /// Who reads it by name, and how many.
    pub(super) crowd: Option<Arc<Crowd>>,
    pub(super) readers: usize,
    /// The patterns that match it.
    pub(super) groups: Vec<GroupId>,
    pub(super) tally: Tally,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) entry: Entry,
    pub(super) weight: usize,
    pub(super) at: Instant,
}

impl State {
    /// Lets go of what the retention no longer covers.
    pub(super) fn evict(&mut self, now: Instant, after: &mut After) {
        let Retained { events, bytes, age } = self.policy.retained();
        let (mut held, mut weight) = (self.slots.len(), self.bytes);
        self.let_go(after, |slot| {
            let is_old = age.is_some_and(|age| now.saturating_duration_since(slot.at) >= age);
            let goes = held > events || weight > bytes || is_old;
            held -= 1;
            weight -= slot.weight;
            goes
        });
    }

    pub(super) fn let_go(&mut self, after: &mut After, mut goes: impl FnMut(&Slot) -> bool) {
        while self.slots.front().is_some_and(&mut goes)
            && let Some(oldest) = self.slots.pop_front()
        {
            self.bytes -= oldest.weight;
            self.evicted = oldest.offset();
            self.gone += 1;
            after.evicted.push(oldest.entry);
        }
    }

    /// How many of its events are too old.
    pub(super) fn expired(&self, now: Option<Instant>) -> usize {
        let (Some(now), Some(age)) = (now, self.policy.retention.age) else {
            return 0;
        };
        self.slots
            .partition_point(|slot| now.saturating_duration_since(slot.at) >= age)
    }

    /// Where the first event behind an offset stands.
    pub(super) fn behind(&self, offset: u64) -> usize {
        // Who keeps up wants what is at the end.
        match self.slots.back() {
            Some(newest) if newest.offset() > offset => {
                self.slots.partition_point(|slot| slot.offset() <= offset)
            }
            _ => self.slots.len(),
        }
    }
}

impl Slot {
    pub(super) fn offset(&self) -> u64 {
        self.entry.id().offset()
    }
}

/// What a policy lets a topic hold.
pub(super) struct Retained {
    pub(super) events: usize,
    pub(super) bytes: usize,
    pub(super) age: Option<Duration>,
}
