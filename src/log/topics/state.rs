//! One topic: its events, and what it has let go of.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::crowd::Crowd;
use super::hold::Hold;
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
    /// Who holds its events back, if it waits for its readers.
    pub(super) hold: Option<Box<Hold>>,
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
    pub(super) fn push(&mut self, slot: Slot) {
        self.bytes += slot.weight;
        self.slots.push_back(slot);
        if let Some(hold) = &mut self.hold {
            hold.push();
        }
    }

    /// Lets go of what the retention no longer covers and nobody holds back. So many have
    /// come to the log.
    pub(super) fn evict(&mut self, now: Instant, comers: u64, after: &mut After) {
        let Retained { events, bytes, age } = self.policy.retained();
        let (mut held, mut weight) = (self.slots.len(), self.bytes);
        let mut hold = self.hold.take();
        let twice = self.policy.retained().twice();
        let blocked = hold.as_ref().and_then(|hold| hold.blocked_for(now));
        self.let_go(after, |slot| {
            let over = held > events || weight > bytes;
            let is_old = age.is_some_and(|age| now.saturating_duration_since(slot.at) >= age);
            if !over && !is_old {
                return false;
            }
            if let Some(hold) = &mut hold {
                // What not even twice the retention covers goes in any case: the presence
                // of others is told whether somebody waits or not.
                let is_full = held > twice.events || weight > twice.bytes;
                let is_stalled = over && blocked.is_some_and(|left| left.is_zero());
                if hold.is_held() && !is_stalled && !is_full {
                    return false;
                }
                hold.pop(comers);
            }
            held -= 1;
            weight -= slot.weight;
            true
        });
        if let Some(hold) = &mut hold
            && let Some(room) = hold.settle(blocked.is_some(), self.is_over(), now)
        {
            after.woken.push(Arc::clone(room));
        }
        self.hold = hold;
    }

    /// Whether more is held than the retention asks for.
    pub(super) fn is_over(&self) -> bool {
        let Retained { events, bytes, .. } = self.policy.retained();
        self.slots.len() > events || self.bytes > bytes
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

impl Retained {
    /// What a topic that waits holds at most.
    pub(super) fn twice(self) -> Self {
        Self {
            events: self.events.saturating_mul(2),
            bytes: self.bytes.saturating_mul(2),
            ..self
        }
    }
}
