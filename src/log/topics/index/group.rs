//! Those who read by a pattern.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::ahead::Ahead;
use super::next::{Mark, Next, View, Want};
use super::{After, Index, TopicId};
use crate::log::topics::crowd::Crowd;
use crate::topic::Pattern;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::log::topics) struct GroupId(pub(super) u32);

/// Those who read by one pattern.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) pattern: Pattern,
    /// Also those that have been forgotten since somebody looked.
    pub(super) topics: Vec<TopicId>,
    pub(super) gone: usize,
    /// Its newest events, so that who keeps up does not look at every topic.
    pub(super) recent: VecDeque<(u64, TopicId)>,
    /// The offset from which on `recent` has all.
    pub(super) recent_from: u64,
    /// The newest marks of lossless topics that have been forgotten since somebody reads.
    pub(super) lost: VecDeque<Lost>,
    pub(super) crowd: Arc<Crowd>,
    pub(super) readers: usize,
    /// How many of them topics wait for.
    pub(super) holders: usize,
    /// Whether one of its topics waits, or did.
    pub(super) waits: bool,
}

/// The mark of a topic that is gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lost {
    pub(super) offset: u64,
    pub(super) topic: TopicId,
    pub(super) disconnects: bool,
}

/// The newest events that a pattern keeps, 16 bytes for each, and the marks, 24 bytes.
pub(super) const RECENT: usize = 4096;

impl Index {
    /// Somebody reads by a pattern.
    pub(in crate::log::topics) fn read_pattern(
        &mut self,
        pattern: &Pattern,
        now: Instant,
        after: &mut After,
    ) -> (GroupId, Arc<Crowd>) {
        let id = match self.patterns.get(pattern) {
            Some(id) => *id,
            None => self.form(pattern),
        };
        self.expire_group(id, now, after);
        let crowd = match self.groups.get_mut(id.0) {
            Some(group) => {
                group.readers += 1;
                Arc::clone(&group.crowd)
            }
            None => Crowd::new(),
        };
        (id, crowd)
    }

    /// Somebody reads by it no longer.
    pub(super) fn leave_group(&mut self, id: GroupId) {
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
                    state.groups.retain(|group| *group != id);
                }
            }
        }
    }

    /// Which of these is to a pattern.
    pub(in crate::log::topics) fn wants_all(
        &self,
        wants: &[Want],
        pattern: &Pattern,
    ) -> Option<usize> {
        let wanted = self.patterns.get(pattern)?;
        wants
            .iter()
            .position(|want| matches!(want, Want::Group { id, .. } if id == wanted))
    }

    pub(in crate::log::topics) fn pattern(&self, id: GroupId) -> Option<&Pattern> {
        self.groups.get(id.0).map(|group| &group.pattern)
    }

    pub(in crate::log::topics) fn topics_of(&self, id: GroupId) -> &[TopicId] {
        self.groups.get(id.0).map_or(&[], |group| &group.topics)
    }

    /// The highest mark of the forgotten topics that a pattern matches.
    pub(in crate::log::topics) fn forgotten(&self, pattern: &Pattern) -> u64 {
        self.forgotten.marks(pattern)
    }

    pub(super) fn next_in_group(
        &self,
        id: GroupId,
        view: View,
        from: From<'_>,
        ahead: &mut Option<Box<Ahead>>,
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
        let topics = || group.topics.iter().map(|topic| (*topic, from.of(*topic)));
        self.next_ahead(ahead, view, topics)
    }

    /// The next mark of a topic of a pattern that has been forgotten.
    pub(super) fn lost_in_group(
        &self,
        id: GroupId,
        told: u64,
        from: From<'_>,
    ) -> Option<(u64, Next)> {
        let lost = &self.groups.get(id.0)?.lost;
        let begins = lost.partition_point(|lost| lost.offset <= told);
        let mut behind = lost.range(begins..);
        let next = behind.find(|lost| lost.offset >= from.of(lost.topic))?;
        let mark = Mark {
            topic: Some(next.topic),
            offset: next.offset,
            is_there: false,
            disconnects: next.disconnects,
        };
        Some(self.lost_at(mark, told))
    }

    fn form(&mut self, pattern: &Pattern) -> GroupId {
        let matching = self.names.iter().filter(|(name, _)| pattern.matches(name));
        let mut topics: Vec<_> = matching.map(|(_, id)| *id).collect();
        topics.sort_unstable();
        let id = GroupId(self.groups.insert(Group {
            pattern: pattern.clone(),
            topics: topics.clone(),
            gone: 0,
            recent: VecDeque::new(),
            recent_from: self.next,
            lost: VecDeque::new(),
            crowd: Crowd::new(),
            readers: 0,
            holders: 0,
            waits: false,
        }));
        let mut waits = false;
        for topic in topics {
            if let Some(state) = self.topics.get_mut(topic.at) {
                state.groups.push(id);
                state.tally.begin();
                waits |= state.hold.is_some();
            }
        }
        if let Some(group) = self.groups.get_mut(id.0) {
            group.waits = waits;
        }
        self.patterns.insert(pattern.clone(), id);
        id
    }
}

impl Group {
    pub(super) fn lose(&mut self, mark: Lost) {
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
pub(super) struct From<'a> {
    special: &'a [(TopicId, u64)],
    others: u64,
}

impl<'a> From<'a> {
    pub(super) fn new(special: &'a [(TopicId, u64)], others: u64) -> Self {
        Self { special, others }
    }

    pub(super) fn of(self, topic: TopicId) -> u64 {
        let special = self.special.binary_search_by_key(&topic, |(of, _)| *of);
        let special = special.ok().and_then(|at| self.special.get(at));
        special.map_or(self.others, |(_, from)| *from)
    }
}
