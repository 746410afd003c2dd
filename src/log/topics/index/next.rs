//! What a reader wants, and what comes next for it.

use tokio::time::Instant;

use super::ahead::Ahead;
use super::group::{From, GroupId};
use super::{Index, TopicId};
use crate::gap::GapReason;

/// One thing that a reader wants.
#[derive(Debug)]
pub(in crate::log::topics) enum Want {
    Topic {
        id: TopicId,
        /// The offset of the first event that it is to have.
        from: u64,
        /// How many events of the topic stand before what it gets next, if that is known.
        seen: Option<u64>,
        /// Who came with it; see [`Index::come`].
        since: u64,
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
        ahead: Option<Box<Ahead>>,
        since: u64,
    },
}

impl Want {
    /// A topic that is wanted by name, and from where on.
    fn by_name(&self) -> Option<(TopicId, u64)> {
        match self {
            Self::Topic { id, from, .. } => Some((*id, *from)),
            Self::Group { .. } => None,
        }
    }
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log::topics) enum Next {
    Event(TopicId),
    /// Everything of the topic up to its mark is gone.
    Lost(Mark),
    /// See [`Scar`](super::Scar).
    Scar {
        offset: u64,
        reason: GapReason,
        events: Option<u64>,
    },
}

/// What is gone of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log::topics) struct Mark {
    /// The topic; `None` of several that were forgotten.
    pub(in crate::log::topics) topic: Option<TopicId>,
    /// The offset of the last event that is gone.
    pub(in crate::log::topics) offset: u64,
    /// Whether the topic is still there, so that it can be said how many they were.
    pub(in crate::log::topics) is_there: bool,
    /// What becomes of who is too slow.
    pub(in crate::log::topics) disconnects: bool,
}

/// So many topics are looked at one by one; of more it is kept what comes next in each.
const FEW: usize = 8;

/// How a reader looks at topics: from where on, at the newest event of each alone, and
/// when.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) told: u64,
    pub(super) newest: bool,
    pub(super) now: Option<Instant>,
}

impl View {
    pub(super) fn from(self, told: u64) -> Self {
        Self { told, ..self }
    }
}

impl Index {
    /// What comes next behind `told`, and its offset; of each topic its newest event alone
    /// if `newest`.
    pub(in crate::log::topics) fn next_of(
        &self,
        wants: &mut [Want],
        ahead: &mut Option<Box<Ahead>>,
        told: u64,
        newest: bool,
        now: Option<Instant>,
    ) -> Option<(u64, Next)> {
        let view = View { told, newest, now };
        let by_name = || wants.iter().filter_map(Want::by_name);
        let by_name = if wants.len() > FEW {
            self.next_ahead(ahead, view, by_name)
        } else {
            *ahead = None;
            let nexts = by_name().filter_map(|(id, from)| self.next_in(id, view, from));
            nexts.min_by_key(|(offset, _)| *offset)
        };
        let by_pattern = wants.iter_mut().filter_map(|want| match want {
            Want::Topic { .. } => None,
            Want::Group {
                id,
                from,
                else_from,
                lost,
                ahead,
                ..
            } => {
                let from = From::new(from, *else_from);
                let next = self.next_in_group(*id, view, from, ahead);
                if newest {
                    return next;
                }
                let mark = Mark {
                    topic: None,
                    offset: *lost,
                    is_there: false,
                    disconnects: false,
                };
                let lost = (*lost > told).then(|| self.lost_at(mark, told));
                let gone = self.lost_in_group(*id, told, from);
                let nexts = [next, gone, lost].into_iter().flatten();
                nexts.min_by_key(|(offset, _)| *offset)
            }
        });
        let nexts = by_name.into_iter().chain(by_pattern);
        nexts.min_by_key(|(offset, _)| *offset)
    }

    /// Where a mark stands for who has everything of the topic up to `told`. In a log in
    /// memory that is where it is. Of one that is kept elsewhere another process may have
    /// its mark elsewhere: who goes there next has to have been told of what it went
    /// without here, so it is told before anything else.
    pub(super) fn lost_at(&self, mark: Mark, told: u64) -> (u64, Next) {
        let at = if self.lineage.is_some() {
            told + 1
        } else {
            mark.offset
        };
        (at, Next::Lost(mark))
    }

    pub(super) fn next_in(&self, id: TopicId, view: View, from: u64) -> Option<(u64, Next)> {
        let View { told, newest, now } = view;
        let state = self.state(id)?;
        // What a topic holds back for its readers is not too old for them.
        let is_held = state.hold.is_some() && !newest;
        let expired = state.expired(now.filter(|_| !is_held));
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
                let lost = Mark {
                    topic: Some(id),
                    offset: mark,
                    is_there: true,
                    disconnects: state.policy.disconnects(),
                };
                return Some(self.lost_at(lost, told.max(from.saturating_sub(1))));
            }
        }
        let after = told.max(from.saturating_sub(1));
        let slot = state.slots.get(state.behind(after).max(expired))?;
        Some((slot.offset(), Next::Event(id)))
    }
}
