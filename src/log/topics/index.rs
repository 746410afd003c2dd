//! Many topics in one order. Single-threaded and without a clock of its own: whoever
//! calls holds the lock and says what time it is.
//!
//! Every event has an offset in the one order of all topics, and stands in its topic. A
//! reader is an offset and the topics that it wants; what comes next is the event with the
//! least offset behind its own, of those topics and no others.
//!
//! # What is lost
//!
//! A topic lets go of its oldest events first and remembers the offset of the last one
//! that it let go of. For a reader that has not been told that far, a mark stands there:
//! it reads the mark as a gap, in its place among the events, and once.
//!
//! A topic that holds nothing and that nobody reads is forgotten; its mark is not
//! ([`Forgotten`]).

mod ahead;
#[cfg(feature = "backplane")]
mod elsewhere;
mod group;
mod hold;
mod next;
#[cfg_attr(
    not(feature = "backplane"),
    allow(dead_code, reason = "a log in memory has none")
)]
mod scars;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

pub(super) use self::ahead::Ahead;
pub(super) use self::group::GroupId;
pub(super) use self::next::{Mark, Next, Want};

use self::group::{Group, Lost, RECENT};
use self::scars::Scars;
use super::crowd::Crowd;
use super::forgotten::Forgotten;
use super::hold::Hold;
use super::lineage::{Judged, Lineage};
use super::policy::Policies;
use super::presence;
use super::state::{Slot, State};
use super::stats::Tally;
use crate::entry::Entry;
use crate::event::EventName;
use crate::log::ring;
use crate::log::slab::Slab;
use crate::position::{Epoch, Position};
use crate::topic::{Pattern, Topic};
use crate::wire::sse::{self, Encoded};

#[derive(Debug)]
pub(super) struct Index {
    epoch: Epoch,
    /// The offset of the next event.
    next: u64,
    closed: bool,
    /// What keeps the log has been away for too long.
    away: bool,
    /// The tags of its events, if it is kept elsewhere.
    lineage: Option<Lineage>,
    /// Another log has taken its place.
    superseded: bool,
    /// How many looks at the engine have begun, and the last of them of which everything
    /// that was stored before is here.
    begun: u64,
    looked: u64,
    /// Somebody waits for that.
    doubted: bool,
    /// The offset of the last event before those that are known here.
    began: u64,
    scars: Scars,
    policies: Policies,
    /// Whether anything ever becomes too old.
    have_age: bool,
    names: HashMap<Topic, TopicId>,
    topics: Slab<State>,
    patterns: HashMap<Pattern, GroupId>,
    groups: Slab<Group>,
    forgotten: Forgotten,
    /// Which topic is looked at next for events that are too old.
    hand: usize,
    /// How many topics have been made.
    born: u32,
    /// How many wants there have been.
    comers: u64,
    /// How many events newer ones took the place of, in topics that were forgotten.
    replaced: u64,
}

/// Never that of another topic, although the place is given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TopicId {
    at: u32,
    born: u32,
}

/// What an append leaves to be done after the lock.
#[derive(Debug, Default)]
pub(super) struct After {
    pub(super) woken: Vec<Arc<Crowd>>,
    /// Everybody is to be woken.
    #[cfg_attr(
        not(feature = "backplane"),
        allow(dead_code, reason = "only of a log that is kept elsewhere")
    )]
    pub(super) wakes_all: bool,
    pub(super) evicted: Vec<Entry>,
}

impl Index {
    pub(super) fn new(policies: Policies) -> Self {
        Self {
            epoch: Epoch::random(),
            next: 1,
            closed: false,
            away: false,
            lineage: None,
            superseded: false,
            begun: 0,
            looked: 0,
            doubted: false,
            began: 0,
            scars: Scars::default(),
            have_age: policies.have_age(),
            policies,
            names: HashMap::new(),
            topics: Slab::new(),
            patterns: HashMap::new(),
            groups: Slab::new(),
            forgotten: Forgotten::new(),
            hand: 0,
            born: 0,
            comers: 0,
            replaced: 0,
        }
    }

    pub(super) fn close(&mut self) -> Vec<Arc<Crowd>> {
        self.closed = true;
        self.crowds()
    }

    /// Everybody.
    pub(super) fn crowds(&self) -> Vec<Arc<Crowd>> {
        let topics = self.topics.iter().filter_map(|state| state.crowd.clone());
        let groups = self.groups.iter().map(|group| Arc::clone(&group.crowd));
        let waiting = self.topics.iter().filter_map(|state| state.hold.as_ref());
        let rooms = waiting.map(|hold| Arc::clone(hold.room()));
        topics.chain(groups).chain(rooms).collect()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether the log is kept elsewhere.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.lineage.is_some()
    }

    /// The last look at the engine of which everything that was stored before is here.
    pub(super) fn looked(&self) -> u64 {
        self.looked
    }

    /// Somebody brings an id that is not known here, and perhaps only not yet.
    pub(super) fn doubt(&mut self) -> u64 {
        self.doubted = true;
        self.begun
    }

    pub(super) fn is_superseded(&self) -> bool {
        self.superseded
    }

    pub(super) fn is_away(&self) -> bool {
        self.away
    }

    /// What an id says.
    pub(super) fn judge(&self, id: Position) -> Judged {
        if id.epoch() != self.epoch {
            return Judged::Other;
        }
        let is_ahead = id.offset() >= self.next;
        match &self.lineage {
            Some(lineage) if is_ahead => match lineage.fork(id) {
                Some(fork) => Judged::Forked(fork),
                None => Judged::Ahead,
            },
            Some(lineage) => lineage.judge(id),
            None if id.tag().is_some() => Judged::Foreign,
            None if is_ahead => Judged::Ahead,
            None => Judged::Same,
        }
    }

    /// How many events there have been that are known here.
    pub(super) fn count(&self) -> u64 {
        self.next - 1 - self.began
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(super) fn position(&self, offset: u64) -> Position {
        let tag = self
            .lineage
            .as_ref()
            .and_then(|lineage| lineage.tag(offset));
        Position::new(self.epoch, offset).with_tag(tag)
    }

    pub(super) fn topics(&self) -> usize {
        self.names.len()
    }

    pub(super) fn readers(&self, name: &Topic) -> usize {
        let state = self.names.get(name).and_then(|id| self.state(*id));
        state.map_or(0, |state| {
            let groups = state.groups.iter().filter_map(|id| self.groups.get(id.0));
            state.readers + groups.map(|group| group.readers).sum::<usize>()
        })
    }

    /// The newest event of a topic, if it is not too old.
    pub(super) fn latest(&self, name: &Topic, now: Option<Instant>) -> Option<&Entry> {
        let state = self.state(*self.names.get(name)?)?;
        let newest = state.slots.back()?;
        (state.expired(now) < state.slots.len()).then_some(&newest.entry)
    }

    /// Appends an event. What retention no longer covers goes.
    pub(super) fn append(
        &mut self,
        name: &Topic,
        event: Encoded,
        now: Instant,
        after: &mut After,
    ) -> (Position, TopicId) {
        let position = self.position(self.next);
        self.next += 1;
        (position, self.put(name, event, position, now, after))
    }

    /// Puts an event behind all of its topic.
    pub(super) fn put(
        &mut self,
        name: &Topic,
        event: Encoded,
        position: Position,
        now: Instant,
        after: &mut After,
    ) -> TopicId {
        let id = self.enter(name);
        let offset = position.offset();
        let weight = ring::weight(&event);
        let Some(state) = self.topics.get_mut(id.at) else {
            return id;
        };
        if state.policy.conflates {
            // First, so that one slot is all that a topic of one event ever needs.
            state.let_go(after, |_| true);
        }
        if state.slots.len() == state.slots.capacity() {
            // Most topics of many have few events: not four places for the first.
            state.slots.reserve_exact(state.slots.len().max(1));
        }
        let at = state.slots.back().map_or(now, |newest| newest.at.max(now));
        let entry = Entry::stamped(position, event).about(name.clone());
        state.push(Slot { entry, weight, at });
        state.evict(now, self.comers, after);
        if let Some(crowd) = &state.crowd {
            after.woken.push(Arc::clone(crowd));
        }
        for group in &state.groups {
            if let Some(group) = self.groups.get_mut(group.0) {
                group.recent.push_back((offset, id));
                if group.recent.len() > RECENT
                    && let Some((gone, _)) = group.recent.pop_front()
                {
                    group.recent_from = gone + 1;
                }
                after.woken.push(Arc::clone(&group.crowd));
            }
        }
        id
    }

    /// Looks at so many topics for events that are too old, so that what nobody submits
    /// to is let go of as well.
    pub(super) fn sweep(&mut self, topics: usize, now: Instant, after: &mut After) {
        if !self.have_age {
            return;
        }
        for _ in 0..topics.min(self.topics.len()) {
            self.hand = (self.hand + 1) % self.topics.len();
            let at = self.hand as u32;
            if let Some(state) = self.topics.get_mut(at) {
                if state.policy.retention.age.is_some() {
                    state.evict(now, self.comers, after);
                }
                let born = state.born;
                self.forget_if_idle(TopicId { at, born });
            }
        }
    }

    /// Somebody reads a topic by name.
    pub(super) fn read_topic(
        &mut self,
        name: &Topic,
        who: Option<&str>,
        now: Instant,
        after: &mut After,
    ) -> (TopicId, Arc<Crowd>) {
        let id = self.enter(name);
        let Some(state) = self.topics.get_mut(id.at) else {
            return (id, Crowd::new());
        };
        if state.hold.is_some() {
            // Who comes is not to have what nobody wants any more.
            state.evict(now, self.comers, after);
        }
        state.readers += 1;
        state.tally.begin();
        let readers = state.readers;
        let crowd = Arc::clone(state.crowd.get_or_insert_with(Crowd::new));
        self.announce(name, presence::JOIN, who, readers, now, after);
        (id, crowd)
    }

    /// Says who reads a topic, if that is said of it.
    fn announce(
        &mut self,
        name: &Topic,
        what: EventName,
        who: Option<&str>,
        readers: usize,
        now: Instant,
        after: &mut After,
    ) {
        if !self.closed
            && let Some(topic) = self.policies.presence_of(name)
        {
            let event = sse::encode(&presence::event(name, what, who, readers));
            self.append(&topic, event, now, after);
        }
    }

    /// Which of these is to a topic by name.
    pub(super) fn wants(&self, wants: &[Want], name: &Topic) -> Option<usize> {
        let wanted = self.names.get(name)?;
        wants
            .iter()
            .position(|want| matches!(want, Want::Topic { id, .. } if id == wanted))
    }

    /// Whether any of these is to a topic, by name or by a pattern.
    pub(super) fn reads(&self, wants: &[Want], topic: TopicId) -> bool {
        let groups = self.state(topic).map_or(&[][..], |state| &state.groups);
        wants.iter().any(|want| match want {
            Want::Topic { id, .. } => *id == topic,
            Want::Group { id, .. } => groups.contains(id),
        })
    }

    /// Somebody reads it no longer.
    pub(super) fn leave(
        &mut self,
        want: &Want,
        who: Option<&str>,
        now: Instant,
        after: &mut After,
    ) {
        match want {
            Want::Topic { id, .. } => {
                if let Some(state) = self.topics.get_mut(id.at) {
                    state.readers -= 1;
                    if state.readers == 0 {
                        state.crowd = None;
                    }
                    let (name, readers) = (state.name.clone(), state.readers);
                    self.announce(&name, presence::LEAVE, who, readers, now, after);
                    self.forget_if_idle(*id);
                }
            }
            Want::Group { id, .. } => self.leave_group(*id),
        }
    }

    /// How many events of a topic stand up to an offset, if that can be told of what it
    /// holds.
    pub(super) fn number(&self, id: TopicId, offset: u64) -> Option<u64> {
        let state = self.state(id)?;
        (state.evicted <= offset).then(|| state.gone + state.behind(offset) as u64)
    }

    /// How many events of a topic nobody can have any more.
    pub(super) fn gone(&self, id: TopicId, now: Option<Instant>) -> Option<u64> {
        let state = self.state(id)?;
        // What a topic holds back for its readers is not too old for them.
        let expired = state.expired(now.filter(|_| state.hold.is_none()));
        Some(state.gone + expired as u64)
    }

    /// The event of this offset in this topic.
    pub(super) fn event(&self, id: TopicId, offset: u64) -> Option<&Entry> {
        let state = self.state(id)?;
        let slot = state.slots.get(state.behind(offset - 1))?;
        Some(&slot.entry)
    }

    /// The offset of the oldest of the last `last` events that are held of a topic,
    /// behind its newest if there is none.
    pub(super) fn last(&self, id: TopicId, last: u64, now: Option<Instant>) -> u64 {
        let Some(state) = self.state(id) else {
            return self.next;
        };
        let held = state.slots.len() - state.expired(now);
        let last = usize::try_from(last).unwrap_or(usize::MAX).min(held);
        let first = state.slots.get(state.slots.len() - last);
        first.map_or(self.next, Slot::offset)
    }

    /// The values of the topics that these want, as far as they stand up to an offset: for
    /// who has been told later ones that are no longer.
    pub(super) fn values_up_to(&self, wants: &[Want], offset: u64) -> Vec<Entry> {
        let ids = wants.iter().flat_map(|want| match want {
            Want::Topic { id, .. } => std::slice::from_ref(id),
            Want::Group { id, .. } => self.topics_of(*id),
        });
        let states = ids.filter_map(|id| self.state(*id).filter(|of| of.policy.conflates));
        let values = states.filter_map(|state| state.slots.back());
        let values = values.filter(|value| value.offset() <= offset);
        values
            .map(|value| value.entry.clone().out_of_order())
            .collect()
    }

    pub(super) fn conflates(&self, id: TopicId) -> bool {
        self.state(id).is_some_and(|state| state.policy.conflates)
    }

    /// The place of a topic, which is made if there is none.
    fn enter(&mut self, name: &Topic) -> TopicId {
        if let Some(id) = self.names.get(name) {
            return *id;
        }
        let groups = self.patterns.iter();
        let groups = groups.filter(|(pattern, _)| pattern.matches(name));
        // In one order, so that what happens again happens in the same way.
        let mut groups: Vec<_> = groups.map(|(_, id)| *id).collect();
        groups.sort_unstable();
        self.born = self.born.wrapping_add(1);
        let born = self.born;
        let mut state = State {
            name: name.clone(),
            born,
            policy: self.policies.of(name),
            slots: VecDeque::new(),
            bytes: 0,
            evicted: self.forgotten.recall(name),
            gone: 0,
            crowd: None,
            readers: 0,
            hold: None,
            groups: groups.clone(),
            tally: Tally::default(),
        };
        if !state.groups.is_empty() {
            state.tally.begin();
        }
        let waits = state.policy.stall();
        state.hold = waits.map(|stall| Hold::new(stall, self.holders_in(&groups)));
        let id = TopicId {
            at: self.topics.insert(state),
            born,
        };
        for group in groups {
            if let Some(group) = self.groups.get_mut(group.0) {
                group.topics.push(id);
                group.waits |= waits.is_some();
            }
        }
        self.names.insert(name.clone(), id);
        id
    }

    fn forget_if_idle(&mut self, id: TopicId) {
        let is_idle = |state: &State| state.readers == 0 && state.slots.is_empty();
        if !self.state(id).is_some_and(is_idle) {
            return;
        }
        let Some(state) = self.topics.remove(id.at) else {
            return;
        };
        self.names.remove(&state.name);
        let mark = if state.policy.conflates {
            self.replaced += state.gone;
            0
        } else {
            state.evicted
        };
        for group in state.groups {
            let Some(group) = self.groups.get_mut(group.0) else {
                continue;
            };
            group.gone += 1;
            if 2 * group.gone > group.topics.len() {
                let is_there = |id: &TopicId| {
                    let state = self.topics.get(id.at);
                    state.is_some_and(|state| state.born == id.born)
                };
                group.topics.retain(is_there);
                group.gone = 0;
            }
            if mark > 0 {
                let disconnects = state.policy.disconnects();
                group.lose(Lost {
                    offset: mark,
                    topic: id,
                    disconnects,
                });
            }
        }
        if mark > 0 {
            self.forgotten.keep(state.name, mark);
        }
    }

    pub(super) fn find(&self, name: &Topic) -> Option<TopicId> {
        self.names.get(name).copied()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = TopicId> + '_ {
        self.names.values().copied()
    }

    /// How many events newer ones took the place of, in topics that were forgotten.
    pub(super) fn replaced(&self) -> u64 {
        self.replaced
    }

    pub(super) fn state(&self, id: TopicId) -> Option<&State> {
        let state = self.topics.get(id.at)?;
        (state.born == id.born).then_some(state)
    }
}
