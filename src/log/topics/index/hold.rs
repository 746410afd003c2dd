//! Readers that topics wait for.
//!
//! A reader is counted once for each of its wants in each topic that waits: at the event
//! that it wants next there. It moves only in the topic that it reads an event of, because
//! in all others it wants nothing before that. So nothing is counted of topics that do not
//! wait.
//!
//! A topic that has stalled lets go of events together with the readers that stand at
//! them. They are counted again when they have read the mark.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::group::{From, GroupId};
use super::next::Want;
use super::{After, Index, State, TopicId};
use crate::log::slab::Slab;
use crate::log::topics::crowd::Crowd;
use crate::log::topics::state::Retained;
use crate::topic::Topic;

impl Index {
    /// A number for somebody who comes, higher than those of all who came before.
    pub(in crate::log::topics) fn come(&mut self) -> u64 {
        self.comers += 1;
        self.comers
    }

    /// Whether any of these is to a topic that waits.
    pub(in crate::log::topics) fn hold_for<'a>(
        &self,
        mut wants: impl Iterator<Item = &'a Want>,
    ) -> bool {
        wants.any(|want| match want {
            Want::Topic { id, .. } => self.state(*id).is_some_and(|state| state.hold.is_some()),
            Want::Group { id, .. } => self.groups.get(id.0).is_some_and(|group| group.waits),
        })
    }

    /// Counts a reader that has been told up to an offset.
    pub(in crate::log::topics) fn hold(&mut self, want: &Want, told: u64) {
        if let Want::Group { id, .. } = want
            && let Some(group) = self.groups.get_mut(id.0)
        {
            group.holders += 1;
        }
        self.for_each_waiting(want, |id, state| {
            if let Some(place) = place(state, want, id, told)
                && let Some(hold) = &mut state.hold
            {
                hold.enter(place);
            }
        });
    }

    /// Counts it no longer.
    pub(in crate::log::topics) fn release(
        &mut self,
        want: &Want,
        told: u64,
        now: Instant,
        after: &mut After,
    ) {
        if let Want::Group { id, .. } = want
            && let Some(group) = self.groups.get_mut(id.0)
        {
            group.holders -= 1;
        }
        let comers = self.comers;
        self.for_each_waiting(want, |id, state| {
            if let Some(place) = place(state, want, id, told)
                && let Some(hold) = &mut state.hold
            {
                hold.leave(place);
            }
            state.evict(now, comers, after);
        });
    }

    /// A reader that is counted has been told further, of events or marks of these topics.
    pub(in crate::log::topics) fn pass(
        &mut self,
        wants: &[Want],
        passed: &[TopicId],
        (before, told): (u64, u64),
        now: Instant,
        after: &mut After,
    ) {
        for id in passed {
            let Some(state) = waiting(&mut self.topics, *id) else {
                continue;
            };
            for want in wants {
                if !is_to(want, *id, state) {
                    continue;
                }
                let was = place(state, want, *id, before);
                let is = place(state, want, *id, told);
                if was != is
                    && let Some(hold) = &mut state.hold
                {
                    was.into_iter().for_each(|place| hold.leave(place));
                    is.into_iter().for_each(|place| hold.enter(place));
                }
            }
            state.evict(now, self.comers, after);
        }
    }

    /// Whether so many more events, which weigh so much in all, would not even fit into
    /// the room for those who wait: as much again as the retention.
    pub(in crate::log::topics) fn is_full_for(
        &mut self,
        name: &Topic,
        (events, weight): (usize, usize),
        now: Instant,
        after: &mut After,
    ) -> bool {
        let comers = self.comers;
        let Some(id) = self.names.get(name) else {
            let policy = self.policies.of(name);
            return policy.stall().is_some()
                && self.holders_of(name) > 0
                && is_too_much(policy.retained(), events, weight);
        };
        let Some(state) = waiting(&mut self.topics, *id) else {
            return false;
        };
        if state.is_full_for(events, weight) {
            // A stall that has run out makes room even if nobody awaits it.
            state.evict(now, comers, after);
            return state.is_full_for(events, weight);
        }
        false
    }

    /// Who waits for room in a topic, if it has none.
    pub(in crate::log::topics) fn no_room(&self, id: TopicId) -> Option<&Arc<Crowd>> {
        if self.closed {
            return None;
        }
        let state = self.state(id)?;
        let hold = state.hold.as_ref()?;
        state.is_over().then(|| hold.room())
    }

    /// How long a topic will wait at most before there is room; `None` if there is.
    pub(in crate::log::topics) fn blocked_for(
        &self,
        id: TopicId,
        now: Instant,
    ) -> Option<Duration> {
        self.no_room(id)?;
        self.state(id)?.hold.as_ref()?.blocked_for(now)
    }

    /// Goes on without the readers that have stalled for too long.
    pub(in crate::log::topics) fn enforce_stall(
        &mut self,
        id: TopicId,
        now: Instant,
        after: &mut After,
    ) {
        let comers = self.comers;
        if let Some(state) = waiting(&mut self.topics, id) {
            state.evict(now, comers, after);
        }
    }

    /// How many are counted in a topic, as soon as there is one, because of a pattern.
    pub(super) fn holders_in(&self, groups: &[GroupId]) -> usize {
        let groups = groups.iter().filter_map(|id| self.groups.get(id.0));
        groups.map(|group| group.holders).sum()
    }

    fn holders_of(&self, name: &Topic) -> usize {
        let groups = self.groups.iter();
        let groups = groups.filter(|group| group.holders > 0 && group.pattern.matches(name));
        groups.map(|group| group.holders).sum()
    }

    /// Lets go of what nobody wants any more, before somebody comes who is not to have it.
    pub(super) fn expire_group(&mut self, id: GroupId, now: Instant, after: &mut After) {
        let Some(group) = self.groups.get(id.0).filter(|group| group.waits) else {
            return;
        };
        for topic in &group.topics {
            if let Some(state) = waiting(&mut self.topics, *topic) {
                state.evict(now, self.comers, after);
            }
        }
    }

    fn for_each_waiting(&mut self, want: &Want, mut then: impl FnMut(TopicId, &mut State)) {
        let topics = match want {
            Want::Topic { id, .. } => std::slice::from_ref(id),
            Want::Group { id, .. } => match self.groups.get(id.0) {
                Some(group) if group.waits => &group.topics,
                _ => return,
            },
        };
        for id in topics {
            if let Some(state) = waiting(&mut self.topics, *id) {
                then(*id, state);
            }
        }
    }
}

impl State {
    fn is_full_for(&self, events: usize, weight: usize) -> bool {
        let is_too_much = |held: usize, bytes: usize| {
            let (events, weight) = (held.saturating_add(events), bytes.saturating_add(weight));
            is_too_much(self.policy.retained(), events, weight)
        };
        let Some(hold) = &self.hold else {
            return false;
        };
        if !is_too_much(self.slots.len(), self.bytes) || hold.is_unread() {
            return false;
        }
        // What nobody wants goes as soon as there is no room.
        let unheld = hold.unheld();
        let weights = self.slots.iter().skip(unheld).map(|slot| slot.weight);
        is_too_much(self.slots.len() - unheld, weights.sum())
    }
}

/// Whether it is more than twice what a topic is to hold.
fn is_too_much(retained: Retained, events: usize, weight: usize) -> bool {
    let Retained {
        events: most,
        bytes,
        ..
    } = retained.twice();
    events > most || weight > bytes
}

/// A topic, if it waits.
fn waiting(topics: &mut Slab<State>, id: TopicId) -> Option<&mut State> {
    let state = topics.get_mut(id.at)?;
    (state.born == id.born && state.hold.is_some()).then_some(state)
}

fn is_to(want: &Want, topic: TopicId, state: &State) -> bool {
    match want {
        Want::Topic { id, .. } => *id == topic,
        Want::Group { id, .. } => state.groups.contains(id),
    }
}

/// Where in a topic stands what a reader wants next and is counted at; `None` if the topic
/// has gone on without it.
fn place(state: &State, want: &Want, topic: TopicId, told: u64) -> Option<usize> {
    let (from, since) = match want {
        Want::Topic { from, since, .. } => (*from, *since),
        Want::Group {
            from,
            else_from,
            since,
            ..
        } => (From::new(from, *else_from).of(topic), *since),
    };
    if state.evicted > told && state.evicted >= from {
        let is_left_behind = state.hold.as_ref()?.has_left_behind(since);
        return (!is_left_behind).then_some(0);
    }
    Some(state.behind(told.max(from.saturating_sub(1))))
}
