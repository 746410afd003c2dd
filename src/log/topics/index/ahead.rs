//! Many topics at once, for who does not look at all of them for each event.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::next::{Next, View};
use super::{Index, TopicId};

/// What comes next in each of a reader's topics, at or before `until`: at this offset or a
/// later one, and from where on the topic is wanted.
///
/// It stays right whatever is submitted and let go of, because what comes next in a topic
/// never comes to stand before where it stood: where an event was, there comes to be a
/// mark, or one behind it. It is right for the same topics only, and where the reader
/// only goes on.
#[derive(Debug)]
pub(in crate::log::topics) struct Ahead {
    nexts: BinaryHeap<Reverse<(u64, TopicId, u64)>>,
    until: u64,
}

/// The most that is kept ahead, 24 bytes for each: of more topics all are looked at once
/// more when so many events have been read.
const KEPT: usize = 4096;

impl Index {
    /// What comes next in any of these topics, each wanted from an offset on. Looks at all
    /// of them when what was ahead has been read and there is more.
    pub(super) fn next_ahead<I: Iterator<Item = (TopicId, u64)>>(
        &self,
        ahead: &mut Option<Box<Ahead>>,
        view: View,
        topics: impl Fn() -> I,
    ) -> Option<(u64, Next)> {
        let newest = self.next - 1;
        let ahead = ahead.get_or_insert_with(|| {
            Box::new(Ahead {
                nexts: BinaryHeap::new(),
                until: view.told,
            })
        });
        loop {
            while let Some(mut first) = ahead.nexts.peek_mut() {
                let Reverse((offset, topic, from)) = *first;
                match self.next_in(topic, view, from) {
                    Some((at, next)) if at == offset => return Some((at, next)),
                    Some((at, _)) if at <= ahead.until => *first = Reverse((at, topic, from)),
                    _ => drop(PeekMut::pop(first)),
                }
            }
            if ahead.until >= newest {
                return None;
            }
            let behind = view.from(view.told.max(ahead.until));
            ahead.until = newest;
            let nexts = topics().filter_map(|(topic, from)| {
                let (at, _) = self.next_in(topic, behind, from)?;
                Some(Reverse((at, topic, from)))
            });
            let mut nexts: Vec<_> = nexts.collect();
            if nexts.len() > KEPT {
                // The last that is kept bounds what is known.
                let (_, last, _) = nexts.select_nth_unstable_by_key(KEPT - 1, |next| next.0.0);
                ahead.until = last.0.0;
                nexts.truncate(KEPT);
                nexts.shrink_to_fit();
            }
            ahead.nexts = nexts.into();
        }
    }
}
