//! Places where something is missing, of one topic or of all.
//!
//! A topic's own losses are its mark. A scar is what a log that is kept elsewhere has
//! besides: events that the engine lost before they were read, and what cannot be read as
//! an event. It stands right behind the event of its offset, if there is one, and is read
//! as a gap by who has not been told that far.

use std::collections::VecDeque;

use super::Index;
use super::next::{Next, Want};
use crate::gap::GapReason;
use crate::topic::Topic;

#[derive(Debug)]
pub(in crate::log::topics) struct Scar {
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
            next.topic = next
                .topic
                .take()
                .filter(|topic| Some(topic) == oldest.topic.as_ref());
        }
        self.0.push_back(scar);
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
            Some(topic) => self.find(topic).is_some_and(|id| self.reads(wants, id)),
            None => self.wants_lossless(wants),
        })?;
        let next = Next::Scar {
            reason: scar.reason,
            events: scar.events,
        };
        Some((scar.offset, next))
    }

    /// Whether who wants this is told of what it has not had.
    pub(in crate::log::topics) fn wants_lossless(&self, wants: &[Want]) -> bool {
        wants.iter().any(|want| match want {
            Want::Topic { id, .. } => !self.conflates(*id),
            Want::Group { id, .. } => self
                .pattern(*id)
                .is_none_or(|of| self.policies.queue_any(of)),
        })
    }
}
