//! What an index does that holds what is kept elsewhere.

use std::collections::VecDeque;
use std::sync::Arc;

use super::scars::Scar;
use super::{After, Index, Want};
use crate::gap::GapReason;
use crate::log::topics::crowd::Crowd;
use crate::log::topics::elsewhere::{Stored, What};
use crate::log::topics::lineage::Lineage;
use crate::log::topics::state::Slot;
use crate::planted::planted;
use crate::position::Epoch;
use crate::topic::{Topic, Topics};

/// Where a reader by name or by a pattern begins.
pub(in crate::log::topics) type Begins = Vec<(Topics, u64, Vec<(Topic, u64)>)>;

impl Index {
    pub(in crate::log::topics) fn begin(&mut self, epoch: Epoch, lineage: Lineage) {
        self.epoch = epoch;
        self.began = lineage.next() - 1;
        // Nobody reads it yet.
        self.lose_up_to(lineage.next(), &mut After::default());
        self.lineage = Some(lineage);
    }

    pub(in crate::log::topics) fn apply(&mut self, stored: Stored, after: &mut After) {
        let offset = stored.position.offset();
        if offset > self.next && !planted("hole-not-told") {
            self.lose_up_to(offset, after);
        }
        if offset >= self.next {
            self.next = offset + 1;
            if let (Some(lineage), Some(tag)) = (&mut self.lineage, stored.position.tag()) {
                lineage.skip_to(offset);
                lineage.push(tag.0);
            }
        }
        match stored.what {
            What::Event(topic, event) => {
                self.put(&topic, event, stored.position, stored.at, after);
            }
            What::Corrupt(topic) => {
                after.wakes_all = true;
                self.scar(Scar {
                    first: offset,
                    offset,
                    topic,
                    reason: GapReason::Corrupt,
                    events: Some(1),
                });
            }
            What::Nothing => {}
        }
    }

    /// What is missing before this offset is told to who has not been told that far.
    pub(in crate::log::topics) fn lose_up_to(&mut self, next: u64, after: &mut After) {
        if next <= self.next {
            return;
        }
        let first = std::mem::replace(&mut self.next, next);
        if let Some(lineage) = &mut self.lineage {
            lineage.skip_to(next);
        }
        after.wakes_all = true;
        self.scar(Scar {
            first,
            offset: next - 1,
            topic: None,
            reason: GapReason::Evicted,
            events: None,
        });
    }

    /// Who reads it does so elsewhere now; what it held is handed out, to be dropped after
    /// the lock. Ids can still be told of it.
    pub(in crate::log::topics) fn drain(&mut self) -> Vec<VecDeque<Slot>> {
        self.superseded = true;
        let ids: Vec<_> = self.all().collect();
        let states = ids.into_iter().filter_map(|id| {
            let state = self.topics.get_mut(id.at)?;
            state.bytes = 0;
            Some(std::mem::take(&mut state.slots))
        });
        states.collect()
    }

    /// The engine is about to be asked what there is.
    pub(in crate::log::topics) fn begin_look(&mut self) -> u64 {
        self.begun += 1;
        self.begun
    }

    /// What there was when this look began is here.
    pub(in crate::log::topics) fn confirm(&mut self, look: u64, after: &mut After) {
        self.looked = self.looked.max(look);
        after.wakes_all |= std::mem::take(&mut self.doubted);
    }

    pub(in crate::log::topics) fn is_doubted(&self) -> bool {
        self.doubted
    }

    pub(in crate::log::topics) fn learn(&mut self, from: &Self) {
        if self.epoch == from.epoch
            && let (Some(lineage), Some(from)) = (&mut self.lineage, &from.lineage)
        {
            lineage.learn(from);
        }
    }

    pub(in crate::log::topics) fn set_away(&mut self, away: bool) -> Vec<Arc<Crowd>> {
        self.away = away;
        if away { self.crowds() } else { Vec::new() }
    }

    pub(in crate::log::topics) fn topics_wanted(&self, wants: &[Want]) -> Topics {
        let mut topics = Topics::new();
        for want in wants {
            topics = match want {
                Want::Topic { id, .. } => match self.state(*id) {
                    Some(state) => topics.topic(state.name.clone()),
                    None => topics,
                },
                Want::Group { id, .. } => match self.pattern(*id) {
                    Some(pattern) => topics.pattern(pattern.clone()),
                    None => topics,
                },
            };
        }
        topics
    }

    /// Where each of these begins, by names.
    pub(in crate::log::topics) fn begins(&self, wants: &[Want]) -> Begins {
        let begins = wants.iter().map(|want| {
            let topics = self.topics_wanted(std::slice::from_ref(want));
            match want {
                Want::Topic { from, .. } => (topics, *from, Vec::new()),
                Want::Group {
                    from, else_from, ..
                } => {
                    let special = from.iter();
                    let special = special
                        .filter_map(|(id, from)| Some((self.state(*id)?.name.clone(), *from)));
                    (topics, *else_from, special.collect())
                }
            }
        });
        begins.collect()
    }

    /// See [`Lineage::shared`].
    pub(in crate::log::topics) fn shared(&self) -> Option<u64> {
        self.lineage.as_ref()?.shared()
    }

    /// Lets each of these begin where it did in the log before this one, as far as offsets
    /// mean the same.
    pub(in crate::log::topics) fn begin_at(&self, wants: &mut [Want], begins: &Begins) {
        let Some(shared) = self.shared() else {
            return;
        };
        let own = shared + 1;
        for want in wants {
            let topics = self.topics_wanted(std::slice::from_ref(want));
            let Some((_, begins, special)) = begins.iter().find(|(of, ..)| *of == topics) else {
                continue;
            };
            let begins = (*begins).min(own);
            match want {
                Want::Topic { from, .. } => *from = begins,
                Want::Group {
                    from, else_from, ..
                } => {
                    *else_from = begins;
                    let special = special.iter();
                    *from = special
                        .filter_map(|(name, from)| Some((self.find(name)?, (*from).min(own))))
                        .collect();
                    from.sort_unstable();
                }
            }
        }
    }
}
