//! Where a subscription begins: the resume table.

use crate::gap::{Gap, GapReason};
use crate::planted::planted;
use crate::position::{Epoch, Position};

/// Where a subscription begins that brings no id, or one that cannot be judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Start {
    /// With the next event that is submitted.
    #[default]
    Live,
    /// With the oldest event that is retained.
    Oldest,
    /// With the last so many events, or as many as are retained.
    Last(u64),
}

/// What a client brings as the id of the last event that it has.
///
/// | what the client brings | where it begins |
/// |---|---|
/// | nothing | the start policy |
/// | this epoch, and all that follows is retained | right after it, without a gap |
/// | this epoch, but what follows was evicted | [`Evicted`](GapReason::Evicted) with the exact number, then the oldest |
/// | this epoch, ahead of the log | [`Ahead`](GapReason::Ahead), then the oldest |
/// | another epoch | [`Epoch`](GapReason::Epoch), then the start policy |
/// | anything else | [`Malformed`](GapReason::Malformed), then the start policy |
///
/// A log of one (latest value) tells no gap: it begins after the client's id if
/// that is the current version, else with the current value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LastEventId {
    /// An id that can be read.
    At(Position),
    /// Something else. It is a gap, never an error: the client is served.
    Malformed,
}

impl LastEventId {
    /// The longest id that is looked at, in bytes; ours have at most 39.
    pub const MAX_LEN: usize = 128;

    /// Reads the value of a `Last-Event-ID` header or of a query parameter.
    ///
    /// Any bytes are taken: what is not an id is [`Malformed`](Self::Malformed).
    #[must_use]
    pub fn parse(id: &[u8]) -> Self {
        if id.len() > Self::MAX_LEN {
            return Self::Malformed;
        }
        str::from_utf8(id)
            .ok()
            .and_then(|id| id.parse().ok())
            .map_or(Self::Malformed, Self::At)
    }
}

impl From<Position> for LastEventId {
    fn from(position: Position) -> Self {
        Self::At(position)
    }
}

/// The two ends of a log: it holds the offsets `oldest..next`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) epoch: Epoch,
    pub(crate) oldest: u64,
    pub(crate) next: u64,
}

impl Window {
    /// The first offset that a subscription gets, and the gap that stands before it.
    pub(crate) fn begin(self, start: Start, last: Option<LastEventId>) -> (u64, Option<Gap>) {
        match last {
            None => (self.start(start), None),
            Some(LastEventId::Malformed) => self.unknown(start, GapReason::Malformed, None),
            // No log in memory gives tags.
            Some(LastEventId::At(id)) if id.tag().is_some() && id.epoch() == self.epoch => {
                self.unknown(start, GapReason::Malformed, None)
            }
            Some(LastEventId::At(id)) if id.epoch() != self.epoch => {
                if planted("no-gap-on-epoch") {
                    return (self.start(start), None);
                }
                self.unknown(start, GapReason::Epoch, Some(id))
            }
            Some(LastEventId::At(id)) if id.offset() >= self.next => {
                if planted("ahead-is-live") {
                    return (self.next, None);
                }
                self.unknown(Start::Oldest, GapReason::Ahead, Some(id))
            }
            Some(LastEventId::At(id))
                if id.offset() + u64::from(!planted("false-gap")) < self.oldest =>
            {
                let gap = self.gap_before(self.oldest, GapReason::Evicted, id.offset() + 1);
                (self.oldest, Some(gap))
            }
            Some(LastEventId::At(id)) if planted("skip-at-splice") => (id.offset() + 2, None),
            Some(LastEventId::At(id)) => (id.offset() + 1, None),
        }
    }

    /// Where a reader of a log of one begins.
    pub(crate) fn begin_latest(self, last: Option<LastEventId>) -> u64 {
        match last {
            Some(LastEventId::At(id))
                if id.epoch() == self.epoch && id.offset() < self.next && id.tag().is_none() =>
            {
                id.offset() + u64::from(!planted("value-told-again"))
            }
            _ => self.oldest,
        }
    }

    /// The gap of a reader that wanted `wanted` and gets `first`.
    pub(crate) fn gap_before(self, first: u64, reason: GapReason, wanted: u64) -> Gap {
        Gap::new(
            reason,
            Some(first - wanted),
            Some(self.before(wanted)),
            self.before(first),
        )
    }

    /// The position of the newest event; offset 0 if there has been none.
    pub(crate) fn head(self) -> Position {
        self.before(self.next)
    }

    /// The position just before an offset, which is at least 1.
    pub(crate) fn before(self, offset: u64) -> Position {
        Position::new(self.epoch, offset - 1)
    }

    fn start(self, start: Start) -> u64 {
        match start {
            Start::Live => self.next,
            Start::Oldest => self.oldest,
            Start::Last(n) => self.next.saturating_sub(n).max(self.oldest),
        }
    }

    fn unknown(
        self,
        start: Start,
        reason: GapReason,
        from: Option<Position>,
    ) -> (u64, Option<Gap>) {
        let first = self.start(start);
        (
            first,
            Some(Gap::new(reason, None, from, self.before(first))),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Tag;

    const EPOCH: Epoch = Epoch::zero();

    /// A log that has evicted 1..=4 and holds 5..=9.
    const WINDOW: Window = Window {
        epoch: EPOCH,
        oldest: 5,
        next: 10,
    };

    fn id(offset: u64) -> Option<LastEventId> {
        Some(Position::new(EPOCH, offset).into())
    }

    fn begin(last: Option<LastEventId>) -> (u64, Option<(GapReason, Option<u64>, u64)>) {
        let (first, gap) = WINDOW.begin(Start::Live, last);
        (
            first,
            gap.map(|gap| (gap.reason, gap.missed, gap.resume.offset())),
        )
    }

    #[test]
    fn a_tag_is_of_another_kind_of_log() {
        let tagged = Position::new(EPOCH, 7).with_tag(Some(Tag(1)));
        let begun = begin(Some(tagged.into()));
        assert_eq!(begun, (10, Some((GapReason::Malformed, None, 9))));
        assert_eq!(WINDOW.begin_latest(Some(tagged.into())), 5);
    }

    #[test]
    fn no_id_begins_by_policy() {
        for (start, first) in [
            (Start::Live, 10),
            (Start::Oldest, 5),
            (Start::Last(0), 10),
            (Start::Last(2), 8),
            (Start::Last(5), 5),
            (Start::Last(6), 5),
            (Start::Last(u64::MAX), 5),
        ] {
            assert_eq!(WINDOW.begin(start, None), (first, None), "{start:?}");
        }
    }

    #[test]
    fn a_retained_id_goes_on_after_it() {
        for offset in 4..=9 {
            assert_eq!(begin(id(offset)), (offset + 1, None));
        }
    }

    #[test]
    fn an_evicted_id_is_told_exactly_what_it_missed() {
        for offset in 0..=3 {
            assert_eq!(
                begin(id(offset)),
                (5, Some((GapReason::Evicted, Some(4 - offset), 4)))
            );
        }
    }

    #[test]
    fn an_id_ahead_of_the_log_begins_with_the_oldest() {
        for offset in [10, 11, u64::MAX - 1, u64::MAX] {
            assert_eq!(begin(id(offset)), (5, Some((GapReason::Ahead, None, 4))));
        }
    }

    #[test]
    fn another_epoch_and_no_id_at_all_begin_by_policy() {
        let other = Some(Position::new(Epoch::random(), 7).into());
        assert_eq!(begin(other), (10, Some((GapReason::Epoch, None, 9))));
        let malformed = Some(LastEventId::parse(b"17"));
        assert_eq!(
            begin(malformed),
            (10, Some((GapReason::Malformed, None, 9)))
        );
        let (first, gap) = WINDOW.begin(Start::Last(2), malformed);
        assert_eq!((first, gap.map(|gap| gap.resume.offset())), (8, Some(7)));
    }

    #[test]
    fn an_empty_log_has_nothing_to_miss() {
        let empty = Window {
            epoch: EPOCH,
            oldest: 1,
            next: 1,
        };
        for start in [Start::Live, Start::Oldest, Start::Last(3)] {
            assert_eq!(empty.begin(start, None), (1, None));
            assert_eq!(empty.begin(start, id(0)), (1, None));
        }
    }

    #[test]
    fn a_log_of_one_tells_the_current_value_unless_it_is_known() {
        let latest = Window {
            epoch: EPOCH,
            oldest: 9,
            next: 10,
        };
        assert_eq!(latest.begin_latest(None), 9);
        assert_eq!(latest.begin_latest(id(9)), 10);
        assert_eq!(latest.begin_latest(id(10)), 9);
        assert_eq!(latest.begin_latest(id(u64::MAX)), 9);
        assert_eq!(latest.begin_latest(Some(LastEventId::Malformed)), 9);
        assert_eq!(
            latest.begin_latest(Some(Position::new(Epoch::random(), 9).into())),
            9
        );
    }

    #[test]
    fn ids_are_read_as_bytes() {
        let position = Position::new(EPOCH, 3);
        assert_eq!(
            LastEventId::parse(position.to_string().as_bytes()),
            LastEventId::At(position)
        );
        for bytes in [
            &b"\xff\xfe"[..],
            "…".as_bytes(),
            &[b'A'; 128],
            &[b'A'; 129],
            b"",
        ] {
            assert_eq!(LastEventId::parse(bytes), LastEventId::Malformed);
        }
    }
}
