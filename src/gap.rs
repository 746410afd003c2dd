//! What a subscriber is told instead of losing something silently.

use std::fmt;

use crate::position::Position;

/// Events that this subscriber should have had and will not get.
///
/// A gap stands exactly where the events are missing. Two delivered events of a
/// lossless store with no gap between them are neighbours, and no gap is ever
/// told when nothing is missing, with one honest exception: where the id that a
/// client brings cannot be judged ([`Epoch`](GapReason::Epoch),
/// [`Ahead`](GapReason::Ahead), [`Diverged`](GapReason::Diverged),
/// [`Malformed`](GapReason::Malformed), and of a log that is kept
/// [elsewhere](crate::backplane) an id so old that nothing is left there to judge it by) it
/// is told that it *may* have missed something, and `missed` is `None`.
///
/// To a browser it is an event of the name `gap` whose data is JSON, numbers as
/// text because they may be larger than 2^53:
///
/// ```text
/// event: gap
/// id: WUFZSxsBWn0-42
/// data: {"reason":"evicted","missed":"17","from":"WUFZSxsBWn0-25","resume":"WUFZSxsBWn0-42"}
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Gap {
    /// Why they are missing.
    pub reason: GapReason,
    /// How many are missing, where that can be known.
    pub missed: Option<u64>,
    /// The last position that the subscriber had, if it had one that can be read.
    pub from: Option<Position>,
    /// Where it goes on: the position just before the next event that it gets.
    pub resume: Position,
}

impl Gap {
    /// A gap, for stores of your own.
    #[must_use]
    pub fn new(
        reason: GapReason,
        missed: Option<u64>,
        from: Option<Position>,
        resume: Position,
    ) -> Self {
        Self {
            reason,
            missed,
            from,
            resume,
        }
    }
}

/// Why events are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GapReason {
    /// What was written in the log in place of an event cannot be read as one.
    Corrupt,
    /// The engine that keeps the log has lost its end, which the client had seen, and went
    /// on without it. What stands there now follows, as far as it is known from where on;
    /// otherwise everything that is retained.
    Diverged,
    /// The id that the client brought is ahead of the log: not an id that this
    /// log has given. Everything that is retained follows.
    Ahead,
    /// The id is of another log; usually the process was restarted and its memory
    /// is gone. The store's start policy follows.
    Epoch,
    /// The client came back too late: what followed its id has been evicted. The
    /// oldest event that is retained follows.
    Evicted,
    /// What the client brought is no id, or more than one. The store's start
    /// policy follows.
    Malformed,
    /// The subscriber read too slowly and was overtaken by the retention. The
    /// oldest event that is retained follows.
    Slow,
}

impl GapReason {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Corrupt => "corrupt",
            Self::Diverged => "diverged",
            Self::Ahead => "ahead",
            Self::Epoch => "epoch",
            Self::Evicted => "evicted",
            Self::Malformed => "malformed",
            Self::Slow => "slow",
        }
    }
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
