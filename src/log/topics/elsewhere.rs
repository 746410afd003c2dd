//! A log of topics that is kept elsewhere: here is what this process has read of it.
//!
//! Nothing is appended here but what the engine has stored, with the offsets and tags that
//! it has there ([`Stored`]). What the engine turns out not to have any more is not taken
//! back: a log is read anew and takes the place of this one, and who reads this one goes on
//! in that, as a client that comes back with its id would. So there is one table of what is
//! told to whom, and it is the one of resuming.

use std::sync::Arc;

use tokio::time::Instant;

use super::index::{After, Index};
use super::lineage::{Judged, Lineage};
use super::policy::Policies;
use super::{Reader, SWEPT, TopicLog, wake};
use crate::gap::Gap;
use crate::log::{LastEventId, Start};
use crate::position::{Epoch, Position};
use crate::subscription::Subscribe;
use crate::topic::Topic;
use crate::wire::sse::Encoded;

/// Something that the engine has, in its place.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) position: Position,
    pub(crate) what: What,
    pub(crate) at: Instant,
}

#[derive(Debug)]
pub(crate) enum What {
    Event(Topic, Encoded),
    Corrupt(Option<Topic>),
    Nothing,
}

impl TopicLog {
    /// A log of which the events before `first` are not known. Ids are judged by the tags
    /// of its newest events, so many at most.
    pub(crate) fn elsewhere(
        policies: &Policies,
        name: Option<&'static str>,
        epoch: u64,
        first: u64,
        most: usize,
    ) -> Self {
        let log = Self::new(policies.clone(), usize::MAX, name);
        let lineage = Lineage::new(first, most);
        log.index.write().begin(Epoch::of(epoch), lineage);
        log
    }

    /// Appends what the engine has stored, and wakes who reads it. What is missing between is
    /// told. What stands before the next offset is put where it belongs, if nothing behind
    /// it is there yet.
    pub(crate) fn apply(&self, stored: Vec<Stored>) {
        let swept = stored.len() * SWEPT;
        self.change_elsewhere(|index, after| {
            for stored in stored {
                index.apply(stored, after);
            }
            index.sweep(swept, Instant::now(), after);
        });
    }

    /// The events before `next` are lost: who has not been told that far is told so.
    pub(crate) fn lose_up_to(&self, next: u64) {
        self.change_elsewhere(|index, after| index.lose_up_to(next, after));
    }

    /// The engine is about to be asked what there is.
    pub(crate) fn begin_look(&self) -> u64 {
        self.index.write().begin_look()
    }

    /// Everything that there was when this look began is here.
    pub(crate) fn confirm(&self, look: u64) {
        self.change_elsewhere(|index, after| index.confirm(look, after));
    }

    /// Whether somebody waits for that.
    pub(crate) fn is_doubted(&self) -> bool {
        self.index.read().is_doubted()
    }

    fn change_elsewhere(&self, change: impl FnOnce(&mut Index, &mut After)) {
        let mut after = After::default();
        let mut index = self.index.write();
        change(&mut index, &mut after);
        if after.wakes_all {
            after.woken = index.crowds();
        }
        drop(index);
        wake(&after.woken);
    }

    /// Learns from the log whose place this one is to take.
    pub(crate) fn learn(&self, from: &Self) {
        let from = from.index.read();
        self.index.write().learn(&from);
    }

    /// The epoch, and the offset that the next event will get.
    pub(crate) fn place(&self) -> (u64, u64) {
        let index = self.index.read();
        (index.epoch().number(), index.next())
    }

    /// The position of this offset, with its tag if that is known.
    pub(crate) fn position_of(&self, offset: u64) -> Position {
        self.index.read().position(offset)
    }

    /// From now on this one stands in the place of it: who reads it goes on there.
    pub(crate) fn supersede(&self, by: Arc<Self>) {
        if self.successor.set(by).is_err() {
            return;
        }
        let mut index = self.index.write();
        let woken = index.close();
        let held = index.drain();
        drop(index);
        wake(&woken);
        drop(held);
    }

    /// The log that has taken its place.
    pub(crate) fn successor(&self) -> Option<&Arc<Self>> {
        self.successor.get()
    }

    /// Ends everybody who reads it and has everything, until it is there again.
    pub(crate) fn set_away(&self, away: bool) {
        let mut index = self.index.write();
        let woken = index.set_away(away);
        drop(index);
        wake(&woken);
    }

    /// One whose id was doubted here, if there is an answer now.
    pub(crate) fn decide(&self, reader: &Reader) -> Option<(Reader, Option<Gap>)> {
        let doubt = reader.doubt?;
        let index = self.index.read();
        if !doubt.is_decided(&index) {
            return None;
        }
        let subscribe = Subscribe {
            start: doubt.start,
            last_event_id: Some(LastEventId::At(doubt.id)),
            ..asked_by(reader, &index)
        };
        drop(index);
        Some(self.subscribe_as(&subscribe, None, false))
    }

    /// One who has read that log until now, and the gap that it is told: with one that it
    /// has not been told yet, a single one.
    pub(crate) fn move_from(
        &self,
        log: &Self,
        reader: &mut Reader,
        untold: Option<&Gap>,
    ) -> (Reader, Option<Gap>) {
        let old = log.index.read();
        let mut told = reader.position(&old);
        let index = self.index.read();
        let is_same = index.epoch() == old.epoch();
        let shared = index.shared().filter(|_| is_same);
        drop(index);
        if let Some(doubt) = reader.doubt {
            let subscribe = Subscribe {
                start: doubt.start,
                last_event_id: Some(LastEventId::At(doubt.id)),
                ..asked_by(reader, &old)
            };
            drop(old);
            return self.subscribe_as(&subscribe, None, true);
        }
        let judged = shared.map(|shared| {
            if reader.told <= shared {
                return Judged::Same;
            }
            if reader.known <= shared {
                // Of what is lost it has been told nothing.
                told = old.position(shared);
                return Judged::Same;
            }
            Judged::Forked(shared)
        });
        let subscribe = Subscribe {
            // Of another log it has had nothing.
            start: Start::Oldest,
            last_event_id: Some(LastEventId::At(told)),
            ..asked_by(reader, &old)
        };
        let begins = old.begins(&reader.wants);
        drop(old);
        let (mut moved, gap) = self.subscribe_as(&subscribe, judged, false);
        if let Some(shared) = shared {
            // It is not to have what came before it, nor to be told again.
            self.index.read().begin_at(&mut moved.wants, &begins);
            moved.known = reader.known.min(moved.told);
            moved.scarred = moved.scarred.max(reader.scarred.min(shared));
        }
        if is_same {
            moved.added.append(&mut reader.added);
        }
        let gap = match (untold, gap) {
            (Some(untold), Some(gap)) => Some(Gap {
                missed: None,
                resume: gap.resume,
                ..*untold
            }),
            (untold, gap) => gap.or(untold.copied()),
        };
        (moved, gap)
    }
}

/// What a reader asked for, but for where it begins.
fn asked_by(reader: &Reader, index: &Index) -> Subscribe {
    Subscribe {
        topics: index.topics_wanted(&reader.wants),
        conflate: reader.conflates,
        name: reader.name().map(Arc::from),
        ..Subscribe::default()
    }
}
