//! How far a client is, and what it has had.

use std::collections::HashMap;

use super::record::Stamp;
use super::truth::Known;

/// How far a client is in a topic.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reach {
    /// It has everything up to there, or was told that it has not. `None`: it is to have
    /// what comes next, wherever that is.
    pub(super) reached: Option<u64>,
    /// Told since that something is missing, and how much if that was said.
    pub(super) excused: Option<Option<u64>>,
    /// In memory, up to where.
    pub(super) excused_to: u64,
    /// Elsewhere, by when it was told: what is submitted later is not what is missing.
    pub(super) excused_by: Stamp,
}

impl Reach {
    pub(super) fn at(offset: u64) -> Self {
        Self {
            reached: Some(offset),
            ..Self::default()
        }
    }
}

/// What was told behind a position.
#[derive(Debug, Default)]
pub(super) struct Sums {
    behind: u64,
    /// How many are missing, of all gaps.
    pub(super) missed: u64,
    /// Of each topic how many it has had, and up to where.
    had: HashMap<String, (u64, u64)>,
}

impl Sums {
    pub(super) fn behind(offset: u64) -> Self {
        Self {
            behind: offset,
            ..Self::default()
        }
    }

    /// It has this event, too. How many are missing of the topics that it has had any of,
    /// up to there.
    pub(super) fn count(&mut self, known: &Known<'_>, topic: &str, offset: u64) -> u64 {
        if offset > self.behind {
            let (had, up_to) = self.had.entry(topic.to_owned()).or_default();
            *had += 1;
            *up_to = offset;
        }
        let missing = self.had.iter().map(|(topic, (had, up_to))| {
            let all = known.between(topic, self.behind, *up_to + 1).len() as u64;
            all.saturating_sub(*had)
        });
        missing.sum()
    }
}
