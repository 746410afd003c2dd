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

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use super::crowd::Crowd;
use super::forgotten::Forgotten;
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
    /// How many events newer ones took the place of, in topics that were forgotten.
    replaced: u64,
}

/// Never that of another topic, although the place is given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TopicId {
    at: u32,
    born: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct GroupId(u32);

/// Those who read by one pattern.
#[derive(Debug)]
struct Group {
    pattern: Pattern,
    /// Also those that have been forgotten since somebody looked.
    topics: Vec<TopicId>,
    gone: usize,
    /// Its newest events, so that who keeps up does not look at every topic.
    recent: VecDeque<(u64, TopicId)>,
    /// The offset from which on `recent` has all.
    recent_from: u64,
    /// The newest marks of lossless topics that have been forgotten since somebody reads.
    lost: VecDeque<Lost>,
    crowd: Arc<Crowd>,
    readers: usize,
}

/// The mark of a topic that is gone.
#[derive(Clone, Copy, Debug)]
struct Lost {
    offset: u64,
    topic: TopicId,
    disconnects: bool,
}

/// The newest events that a pattern keeps, 16 bytes for each, and the marks, 24 bytes.
const RECENT: usize = 4096;

/// What comes next in each topic of a pattern, for who is far behind: at or before
/// `until`, at this offset or a later one.
#[derive(Debug)]
pub(super) struct Ahead {
    nexts: BinaryHeap<Reverse<(u64, TopicId)>>,
    until: u64,
}

/// One thing that a reader wants.
#[derive(Debug)]
pub(super) enum Want {
    Topic {
        id: TopicId,
        /// The offset of the first event that it is to have.
        from: u64,
        /// How many events of the topic stand before what it gets next, if that is known.
        seen: Option<u64>,
    },
    Group {
        id: GroupId,
        /// For topics in which it is to have older events than those after its offset,
        /// or fewer; by topic.
        from: Vec<(TopicId, u64)>,
        /// For all others.
        else_from: u64,
        /// The highest mark of the topics that were forgotten before it came.
        lost: u64,
        ahead: Option<Ahead>,
    },
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Event(TopicId),
    /// Everything of the topic up to here is gone. `disconnects` is what becomes of who
    /// is too slow.
    Lost {
        topic: Option<TopicId>,
        disconnects: bool,
    },
}

/// Of topics that are gone, too.
const LOST: Next = Next::Lost {
    topic: None,
    disconnects: false,
};

/// How a reader looks at topics: from where on, at the newest event of each alone, and
/// when.
#[derive(Clone, Copy, Debug)]
struct View {
    told: u64,
    newest: bool,
    now: Option<Instant>,
}

impl View {
    fn from(self, told: u64) -> Self {
        Self { told, ..self }
    }
}

/// What an append leaves to be done after the lock.
#[derive(Debug, Default)]
pub(super) struct After {
    pub(super) woken: Vec<Arc<Crowd>>,
    pub(super) evicted: Vec<Entry>,
}

impl Index {
    pub(super) fn new(policies: Policies) -> Self {
        Self {
            epoch: Epoch::random(),
            next: 1,
            closed: false,
            have_age: policies.have_age(),
            policies,
            names: HashMap::new(),
            topics: Slab::new(),
            patterns: HashMap::new(),
            groups: Slab::new(),
            forgotten: Forgotten::new(),
            hand: 0,
            born: 0,
            replaced: 0,
        }
    }

    pub(super) fn close(&mut self) -> Vec<Arc<Crowd>> {
        self.closed = true;
        let topics = self.topics.iter().filter_map(|state| state.crowd.clone());
        let groups = self.groups.iter().map(|group| Arc::clone(&group.crowd));
        topics.chain(groups).collect()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(super) fn position(&self, offset: u64) -> Position {
        Position::new(self.epoch, offset)
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
    ) -> Position {
        let id = self.enter(name);
        let position = Position::new(self.epoch, self.next);
        let offset = self.next;
        self.next += 1;
        let weight = ring::weight(&event);
        let Some(state) = self.topics.get_mut(id.at) else {
            return position;
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
        state.slots.push_back(Slot { entry, weight, at });
        state.bytes += weight;
        state.evict(now, after);
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
        position
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
                    state.evict(now, after);
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

    /// Which of these is to a pattern.
    pub(super) fn wants_all(&self, wants: &[Want], pattern: &Pattern) -> Option<usize> {
        let wanted = self.patterns.get(pattern)?;
        wants
            .iter()
            .position(|want| matches!(want, Want::Group { id, .. } if id == wanted))
    }

    /// Whether any of these is to a topic, by name or by a pattern.
    pub(super) fn reads(&self, wants: &[Want], topic: TopicId) -> bool {
        let groups = self.state(topic).map_or(&[][..], |state| &state.groups);
        wants.iter().any(|want| match want {
            Want::Topic { id, .. } => *id == topic,
            Want::Group { id, .. } => groups.contains(id),
        })
    }

    /// Somebody reads by a pattern.
    pub(super) fn read_pattern(&mut self, pattern: &Pattern) -> (GroupId, Arc<Crowd>) {
        let id = match self.patterns.get(pattern) {
            Some(id) => *id,
            None => self.form(pattern),
        };
        let crowd = match self.groups.get_mut(id.0) {
            Some(group) => {
                group.readers += 1;
                Arc::clone(&group.crowd)
            }
            None => Crowd::new(),
        };
        (id, crowd)
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
            Want::Group { id, .. } => {
                let Some(group) = self.groups.get_mut(id.0) else {
                    return;
                };
                group.readers -= 1;
                if group.readers == 0
                    && let Some(group) = self.groups.remove(id.0)
                {
                    self.patterns.remove(&group.pattern);
                    for topic in group.topics {
                        // Of a topic that has taken the place there is nothing to remove
                        // but what is to be removed.
                        if let Some(state) = self.topics.get_mut(topic.at) {
                            state.groups.retain(|group| group != id);
                        }
                    }
                }
            }
        }
    }

    /// What comes next behind `told`, and its offset; of each topic its newest event alone
    /// if `newest`.
    pub(super) fn next_of(
        &self,
        wants: &mut [Want],
        told: u64,
        newest: bool,
        now: Option<Instant>,
    ) -> Option<(u64, Next)> {
        let view = View { told, newest, now };
        let nexts = wants.iter_mut().filter_map(|want| match want {
            Want::Topic { id, from, .. } => self.next_in(*id, view, *from),
            Want::Group {
                id,
                from,
                else_from,
                lost,
                ahead,
            } => {
                let from = From {
                    special: from,
                    others: *else_from,
                };
                let next = self.next_in_group(*id, view, from, ahead);
                if newest {
                    return next;
                }
                let lost = (*lost > told).then_some((*lost, LOST));
                let gone = self.lost_in_group(*id, told, from);
                let nexts = [next, gone, lost].into_iter().flatten();
                nexts.min_by_key(|(offset, _)| *offset)
            }
        });
        nexts.min_by_key(|(offset, _)| *offset)
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
        Some(state.gone + state.expired(now) as u64)
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

    pub(super) fn conflates(&self, id: TopicId) -> bool {
        self.state(id).is_some_and(|state| state.policy.conflates)
    }

    pub(super) fn topics_of(&self, id: GroupId) -> &[TopicId] {
        self.groups.get(id.0).map_or(&[], |group| &group.topics)
    }

    /// The highest mark of the forgotten topics that a pattern matches.
    pub(super) fn forgotten(&self, pattern: &Pattern) -> u64 {
        self.forgotten.marks(pattern)
    }

    fn next_in(&self, id: TopicId, view: View, from: u64) -> Option<(u64, Next)> {
        let View { told, newest, now } = view;
        let state = self.state(id)?;
        let expired = state.expired(now);
        if newest {
            let slot = state.slots.back().filter(|_| expired < state.slots.len())?;
            let is_next = slot.offset() > told && slot.offset() >= from;
            return is_next.then_some((slot.offset(), Next::Event(id)));
        }
        if !state.policy.conflates {
            let mark = match expired.checked_sub(1).and_then(|at| state.slots.get(at)) {
                Some(slot) => slot.offset(),
                None => state.evicted,
            };
            if mark > told && mark >= from {
                let disconnects = state.policy.disconnects;
                let topic = Some(id);
                return Some((mark, Next::Lost { topic, disconnects }));
            }
        }
        let after = told.max(from.saturating_sub(1));
        let slot = state.slots.get(state.behind(after).max(expired))?;
        Some((slot.offset(), Next::Event(id)))
    }

    fn next_in_group(
        &self,
        id: GroupId,
        view: View,
        from: From<'_>,
        ahead: &mut Option<Ahead>,
    ) -> Option<(u64, Next)> {
        let (group, told) = (self.groups.get(id.0)?, view.told);
        if from.special.is_empty() && told + 1 >= group.recent_from {
            *ahead = None;
            let begins = group.recent.partition_point(|(offset, _)| *offset <= told);
            return group.recent.range(begins..).find_map(|(offset, topic)| {
                let next = self.next_in(*topic, view.from(offset - 1), from.others);
                next.filter(|(next, _)| next == offset)
            });
        }
        loop {
            let newest = self.next - 1;
            let ahead = ahead.get_or_insert_with(|| Ahead {
                nexts: BinaryHeap::new(),
                until: told,
            });
            // What comes next in a topic never comes to stand before where it stood.
            while let Some(mut first) = ahead.nexts.peek_mut() {
                let Reverse((offset, topic)) = *first;
                match self.next_in(topic, view, from.of(topic)) {
                    Some((at, next)) if at == offset => return Some((at, next)),
                    Some((at, _)) if at <= ahead.until => *first = Reverse((at, topic)),
                    _ => drop(PeekMut::pop(first)),
                }
            }
            if ahead.until >= newest {
                return None;
            }
            let behind = view.from(told.max(ahead.until));
            ahead.until = newest;
            let nexts = group.topics.iter().filter_map(|topic| {
                let (at, _) = self.next_in(*topic, behind, from.of(*topic))?;
                Some(Reverse((at, *topic)))
            });
            ahead.nexts = nexts.collect();
        }
    }

    /// The next mark of a topic of a pattern that has been forgotten.
    fn lost_in_group(&self, id: GroupId, told: u64, from: From<'_>) -> Option<(u64, Next)> {
        let lost = &self.groups.get(id.0)?.lost;
        let begins = lost.partition_point(|lost| lost.offset <= told);
        let mut behind = lost.range(begins..);
        let next = behind.find(|lost| lost.offset >= from.of(lost.topic))?;
        let lost = Next::Lost {
            topic: None,
            disconnects: next.disconnects,
        };
        Some((next.offset, lost))
    }

    /// The place of a topic, which is made if there is none.
    fn enter(&mut self, name: &Topic) -> TopicId {
        if let Some(id) = self.names.get(name) {
            return *id;
        }
        let groups = self.patterns.iter();
        let groups = groups.filter(|(pattern, _)| pattern.matches(name));
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
            groups: groups.map(|(_, id)| *id).collect(),
            tally: Tally::default(),
        };
        if !state.groups.is_empty() {
            state.tally.begin();
        }
        let groups = state.groups.clone();
        let id = TopicId {
            at: self.topics.insert(state),
            born,
        };
        for group in groups {
            if let Some(group) = self.groups.get_mut(group.0) {
                group.topics.push(id);
            }
        }
        self.names.insert(name.clone(), id);
        id
    }

    fn form(&mut self, pattern: &Pattern) -> GroupId {
        let matching = self.names.iter().filter(|(name, _)| pattern.matches(name));
        let topics: Vec<_> = matching.map(|(_, id)| *id).collect();
        let id = GroupId(self.groups.insert(Group {
            pattern: pattern.clone(),
            topics: topics.clone(),
            gone: 0,
            recent: VecDeque::new(),
            recent_from: self.next,
            lost: VecDeque::new(),
            crowd: Crowd::new(),
            readers: 0,
        }));
        for topic in topics {
            if let Some(state) = self.topics.get_mut(topic.at) {
                state.groups.push(id);
                state.tally.begin();
            }
        }
        self.patterns.insert(pattern.clone(), id);
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
                let disconnects = state.policy.disconnects;
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

impl Group {
    fn lose(&mut self, mark: Lost) {
        let at = self.lost.partition_point(|lost| lost.offset < mark.offset);
        self.lost.insert(at, mark);
        if self.lost.len() > RECENT {
            // Who has not been told of it is told by the next one.
            self.lost.pop_front();
        }
    }
}

/// Where a reader by a pattern begins in each topic.
#[derive(Clone, Copy)]
struct From<'a> {
    special: &'a [(TopicId, u64)],
    others: u64,
}

impl From<'_> {
    fn of(self, topic: TopicId) -> u64 {
        let special = self.special.binary_search_by_key(&topic, |(of, _)| *of);
        let special = special.ok().and_then(|at| self.special.get(at));
        special.map_or(self.others, |(_, from)| *from)
    }
}
