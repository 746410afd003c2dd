//! Who holds back the events of a topic that waits for its slowest reader.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::crowd::Crowd;

/// Where the readers of a topic are: beside each of its events the number of those who
/// want it next.
#[derive(Debug)]
pub(super) struct Hold {
    stall: Duration,
    /// One for each event that the topic holds.
    wanted: VecDeque<usize>,
    /// How many have read everything.
    at_end: usize,
    /// Since when the topic is over its bound and nothing has gone.
    blocked: Option<Instant>,
    /// How many had come to the log when the topic last went on without somebody; 0 if it
    /// never did.
    left_behind: u64,
    /// Submitters that wait for room.
    room: Arc<Crowd>,
}

impl Hold {
    pub(super) fn new(stall: Duration, at_end: usize) -> Box<Self> {
        Box::new(Self {
            stall,
            wanted: VecDeque::new(),
            at_end,
            blocked: None,
            left_behind: 0,
            room: Crowd::new(),
        })
    }

    /// There is one more event. Who had read everything wants it next.
    pub(super) fn push(&mut self) {
        self.wanted.push_back(mem::take(&mut self.at_end));
    }

    /// The oldest event goes, of whose readers so many had come to the log.
    pub(super) fn pop(&mut self, comers: u64) {
        if self.wanted.pop_front().is_some_and(|wanted| wanted > 0) {
            self.left_behind = comers;
        }
        self.blocked = None;
    }

    /// Whether somebody wants the oldest event.
    pub(super) fn is_held(&self) -> bool {
        self.wanted.front().is_some_and(|wanted| *wanted > 0)
    }

    /// How many of the oldest events nobody wants.
    pub(super) fn unheld(&self) -> usize {
        let first = self.wanted.iter().position(|wanted| *wanted > 0);
        first.unwrap_or(self.wanted.len())
    }

    /// Whether nobody is counted at all.
    pub(super) fn is_unread(&self) -> bool {
        self.at_end == 0 && self.unheld() == self.wanted.len()
    }

    /// Whether the topic went on without who came as this number and had not read all
    /// that is gone.
    pub(super) fn has_left_behind(&self, since: u64) -> bool {
        self.left_behind >= since
    }

    /// Nothing more goes for now. Returns who waits for room, if there is room again.
    pub(super) fn settle(
        &mut self,
        was_blocked: bool,
        over: bool,
        now: Instant,
    ) -> Option<&Arc<Crowd>> {
        if over {
            self.blocked.get_or_insert(now);
            return None;
        }
        self.blocked = None;
        was_blocked.then_some(&self.room)
    }

    /// How long the topic will still wait for who holds it up.
    pub(super) fn blocked_for(&self, now: Instant) -> Option<Duration> {
        let waited = now.saturating_duration_since(self.blocked?);
        Some(self.stall.saturating_sub(waited))
    }

    pub(super) fn room(&self) -> &Arc<Crowd> {
        &self.room
    }

    /// A reader now wants the event at this place, or what comes behind the last.
    pub(super) fn enter(&mut self, place: usize) {
        *self.at(place) += 1;
    }

    /// A reader no longer wants it.
    pub(super) fn leave(&mut self, place: usize) {
        let count = self.at(place);
        debug_assert!(*count > 0, "who leaves was counted");
        *count = count.saturating_sub(1);
    }

    fn at(&mut self, place: usize) -> &mut usize {
        self.wanted.get_mut(place).unwrap_or(&mut self.at_end)
    }
}
