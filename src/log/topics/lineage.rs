//! The tags of a log that is kept elsewhere: what tells an event of this log from one that
//! had the same offset before the engine lost its end.

use std::collections::VecDeque;

use crate::planted::planted;
use crate::position::{Position, Tag};

/// The tags of the newest events, 4 bytes for each.
#[derive(Debug)]
pub(crate) struct Lineage {
    /// The offset of the first one.
    first: u64,
    tags: VecDeque<u32>,
    /// So many at most.
    most: usize,
    /// What stood behind `fork` before the engine lost it, the newest such loss alone.
    lost: Option<Branch>,
    /// Up to where the log before this one was the same, if that is known.
    shared: Option<u64>,
}

/// In place of a tag that is not known. An event that has it cannot be told from others.
const UNKNOWN: u32 = 0;

#[derive(Clone, Debug)]
struct Branch {
    /// The last offset that is of both.
    fork: u64,
    tags: Vec<u32>,
}

/// What an id says of who brings it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// It has had what stands here up to there.
    Same,
    /// It has had something else behind this offset.
    Forked(u64),
    /// It has had something else, from nobody knows where on.
    Diverged,
    /// It is of another log.
    Other,
    /// No log of this kind gives such ids.
    Foreign,
    /// It is ahead of this log.
    Ahead,
    /// Nobody knows any more: the tag of its event has been let go of.
    TooOld,
}

impl Lineage {
    /// Of a log whose events before `first` are not known.
    pub(crate) fn new(first: u64, most: usize) -> Self {
        Self {
            first,
            tags: VecDeque::new(),
            most: most.max(1),
            lost: None,
            shared: None,
        }
    }

    /// The next event has this tag.
    pub(crate) fn push(&mut self, tag: u32) {
        if self.tags.len() >= self.most {
            self.tags.pop_front();
            self.first += 1;
        }
        self.tags.push_back(tag);
    }

    /// The events before `next` are not known.
    pub(crate) fn skip_to(&mut self, next: u64) {
        let skipped = next.saturating_sub(self.next());
        if usize::try_from(skipped).map_or(true, |skipped| skipped >= self.most) {
            self.tags.clear();
            self.first = next;
        } else {
            (0..skipped).for_each(|_| self.push(UNKNOWN));
        }
    }

    pub(crate) fn next(&self) -> u64 {
        self.first + self.tags.len() as u64
    }

    pub(crate) fn tag(&self, offset: u64) -> Option<Tag> {
        let at = usize::try_from(offset.checked_sub(self.first)?).ok()?;
        let tag = self.tags.get(at).copied();
        tag.filter(|tag| *tag != UNKNOWN).map(Tag)
    }

    /// What an id of this epoch says, whose offset is not ahead of the log.
    pub(crate) fn judge(&self, id: Position) -> Judged {
        let Some(tag) = id.tag() else {
            // It was given where nobody knew the tag: at the very beginning there is none.
            return match id.offset() {
                0 => Judged::Same,
                _ => Judged::TooOld,
            };
        };
        match self.tag(id.offset()) {
            Some(known) if known == tag || planted("tag-ignored") => Judged::Same,
            known => match (self.fork(id), known) {
                (Some(fork), _) => Judged::Forked(fork),
                (None, Some(_)) => Judged::Diverged,
                (None, None) => Judged::TooOld,
            },
        }
    }

    /// Where the way of an id that is lost parts from this log, if that is known.
    pub(crate) fn fork(&self, id: Position) -> Option<u64> {
        let lost = self.lost.as_ref()?;
        let at = id.offset().checked_sub(lost.fork + 1)?;
        let tag = lost.tags.get(usize::try_from(at).ok()?)?;
        let is_known = *tag != UNKNOWN && id.tag() == Some(Tag(*tag));
        is_known.then_some(lost.fork)
    }

    /// The last offset that means the same here and in the log before this one, if that is
    /// known.
    pub(crate) fn shared(&self) -> Option<u64> {
        self.shared
    }

    /// Learns from the log before this one, of the same epoch: what is the same in both is
    /// known here, too, and what is not is what was lost.
    pub(crate) fn learn(&mut self, from: &Self) {
        let both = from.next().min(self.next());
        let mut known = (self.first.max(from.first)..both).rev();
        let same = known
            .find(|offset| self.tag(*offset).is_some() && self.tag(*offset) == from.tag(*offset));
        // Otherwise it may have parted anywhere before.
        let Some(fork) = same else {
            return;
        };
        let behind = fork + 1 - from.first;
        let behind = usize::try_from(behind).unwrap_or(usize::MAX);
        // Also those that are not known: they have to be in their places.
        let lost: Vec<_> = from.tags.iter().skip(behind).copied().collect();
        self.lost = if lost.is_empty() {
            // All of it was.
            self.shared = Some(u64::MAX - 1);
            from.lost.clone().filter(|lost| lost.fork <= fork)
        } else {
            self.shared = Some(fork);
            Some(Branch { fork, tags: lost })
        };
        // What stands before all that is known here, without a hole between.
        while self.tags.len() < self.most
            && let Some(before) = self.first.checked_sub(1)
            && before <= fork
            && let Some(Tag(tag)) = from.tag(before)
        {
            self.tags.push_front(tag);
            self.first = before;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(first: u64, tags: &[u32]) -> Lineage {
        let mut lineage = Lineage::new(first, 5);
        tags.iter().for_each(|tag| lineage.push(*tag));
        lineage
    }

    fn id(offset: u64, tag: u32) -> Position {
        Position::tagged(7, offset, tag)
    }

    #[test]
    fn an_event_is_known_by_its_tag() {
        let lineage = of(3, &[30, 40, 50]);
        assert_eq!(lineage.judge(id(4, 40)), Judged::Same);
        assert_eq!(lineage.judge(id(4, 41)), Judged::Diverged);
        assert_eq!(lineage.judge(id(2, 20)), Judged::TooOld);
        let untagged: Position = "AAAAAAAAAAA-0".parse().expect("an id");
        assert_eq!(lineage.judge(untagged), Judged::Same);
    }

    #[test]
    fn the_oldest_tags_are_let_go_of() {
        let lineage = of(1, &[1, 2, 3, 4, 5, 6, 7]);
        assert_eq!((lineage.tag(2), lineage.tag(3)), (None, Some(Tag(3))));
        assert_eq!(lineage.next(), 8);
    }

    #[test]
    fn what_is_missing_between_is_not_known() {
        let mut lineage = of(3, &[30]);
        lineage.skip_to(6);
        lineage.push(60);
        assert_eq!(lineage.judge(id(3, 30)), Judged::Same);
        assert_eq!(lineage.judge(id(5, 50)), Judged::TooOld);
        assert_eq!(lineage.judge(id(6, 60)), Judged::Same);
        lineage.skip_to(20);
        assert_eq!((lineage.next(), lineage.tag(6)), (20, None));
    }

    #[test]
    fn what_was_lost_parts_where_it_did() {
        let mut lineage = of(1, &[1, 2, 31, 41]);
        lineage.learn(&of(1, &[1, 2, 30, 40, 50]));
        assert_eq!(lineage.judge(id(2, 2)), Judged::Same);
        assert_eq!(lineage.judge(id(3, 30)), Judged::Forked(2));
        assert_eq!(lineage.judge(id(4, 40)), Judged::Forked(2));
        assert_eq!(lineage.fork(id(5, 50)), Some(2));
        assert_eq!(lineage.judge(id(3, 32)), Judged::Diverged);
    }

    #[test]
    fn what_was_lost_may_begin_with_what_is_not_known() {
        let mut old = of(1, &[1, 2, 3]);
        old.skip_to(5);
        old.push(50);
        let mut lineage = of(1, &[1, 2, 3, 41, 51]);
        lineage.learn(&old);
        assert_eq!(lineage.shared(), Some(3));
        assert_eq!(lineage.judge(id(5, 50)), Judged::Forked(3));
        assert_eq!(lineage.judge(id(4, 40)), Judged::Diverged);
    }

    #[test]
    fn an_end_that_was_lost_and_not_yet_written_again_is_known() {
        let mut lineage = of(1, &[1, 2]);
        lineage.learn(&of(1, &[1, 2, 3]));
        assert_eq!(lineage.fork(id(3, 3)), Some(2));
        assert_eq!(lineage.fork(id(3, 4)), None);
    }

    #[test]
    fn what_is_no_longer_kept_elsewhere_is_still_known_here() {
        let mut lineage = of(4, &[4, 5]);
        lineage.learn(&of(2, &[2, 3, 4]));
        assert_eq!(lineage.judge(id(2, 2)), Judged::Same);
        assert_eq!(lineage.judge(id(3, 9)), Judged::Diverged);
        let mut apart = of(9, &[9]);
        apart.learn(&of(2, &[2, 3, 4]));
        assert_eq!(apart.judge(id(3, 3)), Judged::TooOld);
        let mut next = of(5, &[]);
        next.learn(&of(2, &[2, 3, 4]));
        assert_eq!(next.judge(id(4, 4)), Judged::TooOld);
    }

    #[test]
    fn where_nothing_is_the_same_it_is_not_known_where_it_parted() {
        let mut lineage = of(2, &[21, 31]);
        lineage.learn(&of(2, &[2, 3, 4]));
        assert_eq!(lineage.judge(id(2, 2)), Judged::Diverged);
        assert_eq!(lineage.fork(id(4, 4)), None);
    }
}
