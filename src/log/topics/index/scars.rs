//! Places where something is missing, of one topic or of all.
//!
//! A topic's own losses are its mark. A scar is what a log that is kept elsewhere has
//! besides: events that the engine lost before they were read, and what cannot be read as
//! an event. It is read as a gap by who has not been told of it, before anything that may
//! stand behind the first of what is missing.

use std::collections::VecDeque;

use super::group::From;
use super::next::{Next, Want};
use super::{Index, TopicId};
use crate::gap::GapReason;
use crate::topic::Topic;

#[derive(Debug)]
pub(in crate::log::topics) struct Scar {
    /// The offsets of what may be missing.
    pub(in crate::log::topics) first: u64,
    pub(in crate::log::topics) offset: u64,
    /// `None`: of any topic.
    pub(in crate::log::topics) topic: Option<Topic>,
    pub(in crate::log::topics) reason: GapReason,
    /// How many events were there, at most, if that is known.
    pub(in crate::log::topics) events: Option<u64>,
}

/// So many are kept. The oldest become one of all topics.
const KEPT: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Scars(VecDeque<Scar>);

impl Scars {
    fn push(&mut self, scar: Scar) {
        if self.0.len() >= KEPT
            && let Some(oldest) = self.0.pop_front()
            && let Some(next) = self.0.front_mut()
        {
            next.events = None;
            next.first = next.first.min(oldest.first);
            next.topic = next
                .topic
                .take()
                .filter(|topic| Some(topic) == oldest.topic.as_ref());
        }
        let at = self.0.partition_point(|other| other.offset <= scar.offset);
        self.0.insert(at, scar);
    }
}

impl Index {
    pub(in crate::log::topics) fn scar(&mut self, scar: Scar) {
        self.scars.push(scar);
    }

    /// The first scar behind an offset that is one for who wants this.
    pub(in crate::log::topics) fn next_scar(
        &self,
        wants: &[Want],
        behind: u64,
    ) -> Option<(u64, Next)> {
        let Scars(scars) = &self.scars;
        if scars.is_empty() {
            return None;
        }
        let first = scars.partition_point(|scar| scar.offset <= behind);
        let mut scars = scars.range(first..);
        let scar = scars.find(|scar| match &scar.topic {
            Some(topic) => match self.find(topic) {
                Some(id) => self.is_wanted_at(wants, id, scar.offset),
                None => self.is_matched_at(wants, topic, scar.offset),
            },
            None => wants.iter().any(|want| self.misses_at(want, scar.offset)),
        })?;
        let next = Next::Scar {
            offset: scar.offset,
            reason: scar.reason,
            events: scar.events,
        };
        Some((scar.first, next))
    }

    /// Whether who wants this is told of what it has not had.
    pub(in crate::log::topics) fn wants_lossless(&self, wants: &[Want]) -> bool {
        wants.iter().any(|want| self.misses_at(want, u64::MAX))
    }

    /// Whether an event that is missing there is missed: of a topic of which every event
    /// counts, and which began before that.
    fn misses_at(&self, want: &Want, offset: u64) -> bool {
        match want {
            Want::Topic { id, from, .. } => *from <= offset && !self.conflates(*id),
            Want::Group {
                id,
                from,
                else_from,
                ..
            } => {
                let begins = |(id, from): &(TopicId, u64)| *from <= offset && !self.conflates(*id);
                let may_miss = self
                    .pattern(*id)
                    .is_none_or(|pattern| self.policies.queue_any(pattern));
                may_miss && (*else_from <= offset || from.iter().any(begins))
            }
        }
    }

    /// The same of a topic of which there is nothing here.
    fn is_matched_at(&self, wants: &[Want], topic: &Topic, offset: u64) -> bool {
        wants.iter().any(|want| match want {
            Want::Topic { .. } => false,
            Want::Group { id, else_from, .. } => {
                let pattern = self.pattern(*id);
                *else_from <= offset && pattern.is_some_and(|pattern| pattern.matches(topic))
            }
        })
    }

    /// Whether a topic is wanted by any of these from before this offset on.
    fn is_wanted_at(&self, wants: &[Want], topic: TopicId, offset: u64) -> bool {
        let groups = self.state(topic).map_or(&[][..], |state| &state.groups);
        wants.iter().any(|want| match want {
            Want::Topic { id, from, .. } => *id == topic && *from <= offset,
            Want::Group {
                id,
                from,
                else_from,
                ..
            } => groups.contains(id) && From::new(from, *else_from).of(topic) <= offset,
        })
    }
}
