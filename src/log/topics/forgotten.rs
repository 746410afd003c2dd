//! The marks of topics that are gone.

use std::collections::HashMap;

use crate::topic::{Pattern, Topic};

/// Up to where each topic that was forgotten had lost its events, so that who comes back
/// to one is told of its loss, and nobody else is told of any.
///
/// So many are kept; of those beyond only the highest mark is known, which then stands
/// for every topic that is not known: a client whose id is older than that is told that
/// it may have missed something.
#[derive(Debug)]
pub(super) struct Forgotten {
    marks: HashMap<Topic, u64>,
    /// Of the topics whose names are gone as well.
    horizon: u64,
}

impl Forgotten {
    const MAX: usize = 1 << 16;

    pub(super) fn new() -> Self {
        Self {
            marks: HashMap::new(),
            horizon: 0,
        }
    }

    pub(super) fn keep(&mut self, name: Topic, mark: u64) {
        if mark <= self.horizon {
            return;
        }
        if self.marks.len() >= Self::MAX {
            let mut marks: Vec<_> = self.marks.values().copied().collect();
            let middle = marks.len() / 2;
            let (_, horizon, _) = marks.select_nth_unstable(middle);
            self.horizon = self.horizon.max(*horizon);
            let horizon = self.horizon;
            self.marks.retain(|_, mark| *mark > horizon);
        }
        self.marks.insert(name, mark);
    }

    /// The mark of a topic that is about to be there again.
    pub(super) fn recall(&mut self, name: &Topic) -> u64 {
        self.marks.remove(name).unwrap_or(self.horizon)
    }

    /// The highest mark of those that match.
    pub(super) fn marks(&self, pattern: &Pattern) -> u64 {
        let matching = self.marks.iter().filter(|(name, _)| pattern.matches(name));
        matching
            .map(|(_, mark)| *mark)
            .max()
            .unwrap_or(0)
            .max(self.horizon)
    }
}
