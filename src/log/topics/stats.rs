//! What is told of a hub and of its topics, see [`tally`](crate::log::tally).

use std::cmp::Reverse;
use std::collections::HashMap;
use std::task::Poll;

use super::index::{GroupId, Index, TopicId, Want};
use super::reader::Events;
use super::state::State;
use super::{Reader, TopicLog};
use crate::entry::Entry;
use crate::gap::Gap;
use crate::log::sync::{AtomicU64, Ordering};
use crate::log::tally::Told;
use crate::log::{End, Found};
use crate::stats::{Lagging, Stats};
use crate::topic::Topic;

/// A topic's figures that readers write, all of them, while they hold the log's lock for
/// reading. There are none before somebody reads it: most topics of many are never read.
#[derive(Debug, Default)]
pub(super) struct Tally(Option<Box<Figures>>);

#[derive(Debug)]
struct Figures {
    delivered: AtomicU64,
    told: Told,
}

/// What a subscription is to, so that it can be told how far it is behind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    what: What,
    /// The offset of the first event that it is to have, of topics that keep the latest
    /// alone and of others.
    latest_from: u64,
    from: u64,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Topic(TopicId),
    Group(GroupId),
}

/// Events of one topic that a reader takes one behind the other, to be counted at once.
pub(super) struct Delivered {
    topic: TopicId,
    events: u64,
}

impl Tally {
    /// Somebody reads the topic.
    pub(super) fn begin(&mut self) {
        self.0.get_or_insert_with(|| {
            Box::new(Figures {
                delivered: AtomicU64::new(0),
                told: Told::new(),
            })
        });
    }
}

fn figures(index: &Index, topic: TopicId) -> Option<&Figures> {
    index.state(topic)?.tally.0.as_deref()
}

/// Who reads a topic is told that events of it are gone.
pub(super) fn tell(index: &Index, topic: TopicId, missed: Option<u64>, subscribers: u64) {
    if let Some(figures) = figures(index, topic) {
        figures.told.gap(missed, subscribers);
    }
}

impl Delivered {
    /// An event of this topic is taken.
    pub(super) fn of(topic: TopicId) -> Self {
        Self { topic, events: 1 }
    }

    /// And another one.
    pub(super) fn one_more(&mut self, index: &Index, topic: TopicId, subscribers: u64) {
        if self.topic == topic {
            self.events += 1;
        } else {
            self.end(index, subscribers);
            *self = Self::of(topic);
        }
    }

    pub(super) fn end(&self, index: &Index, subscribers: u64) {
        if let Some(figures) = figures(index, self.topic) {
            let events = self.events.saturating_mul(subscribers);
            figures.delivered.fetch_add(events, Ordering::Relaxed);
        }
    }
}

impl Read {
    pub(super) fn all(index: &Index, wants: &[Want]) -> Vec<Self> {
        let mut all = Vec::with_capacity(wants.len());
        all.extend(wants.iter().map(|want| Self::of(index, want)));
        all
    }

    fn of(index: &Index, want: &Want) -> Self {
        match want {
            Want::Topic { id, from, .. } => Self {
                what: What::Topic(*id),
                latest_from: *from,
                from: *from,
            },
            Want::Group {
                id,
                from,
                else_from,
                ..
            } => {
                let least = |conflates| {
                    let special = from.iter();
                    let special = special.filter(|(id, _)| index.conflates(*id) == conflates);
                    special.map(|(_, from)| *from).min().unwrap_or(*else_from)
                };
                Self {
                    what: What::Group(*id),
                    latest_from: least(true),
                    from: least(false),
                }
            }
        }
    }

    /// The offset of the first event of a topic that somebody is to have who wants `next`.
    fn first(&self, next: u64, conflates: bool) -> u64 {
        let from = if conflates {
            self.latest_from
        } else {
            self.from
        };
        next.max(from)
    }
}

impl Reader {
    /// What presence says of it.
    pub(super) fn name(&self) -> Option<&str> {
        self.seated.name().map(AsRef::as_ref)
    }
}

impl State {
    /// How many events of it are held from an offset on.
    fn held_from(&self, offset: u64) -> usize {
        self.slots.len() - self.behind(offset.saturating_sub(1))
    }

    fn stats(&self) -> Stats {
        let mut stats = Stats {
            topic: Some(self.name.clone()),
            submitted: self.submitted(),
            retained: self.slots.len(),
            retained_bytes: self.bytes,
            ..Stats::default()
        };
        if self.policy.conflates {
            stats.replaced = self.gone;
        } else {
            stats.evicted = self.gone;
        }
        if let Some(figures) = &self.tally.0 {
            stats.delivered = figures.delivered.load(Ordering::Relaxed);
            figures.told.count(&mut stats);
        }
        stats
    }

    fn submitted(&self) -> u64 {
        self.gone + self.slots.len() as u64
    }
}

/// The events that are held of the topics of one pattern, from an offset on, in order.
#[derive(Default)]
struct Held {
    latest: Vec<u64>,
    others: Vec<u64>,
}

impl Held {
    fn of(index: &Index, group: GroupId, from: u64) -> Self {
        let mut held = Self::default();
        let topics = index.topics_of(group).iter();
        for state in topics.filter_map(|id| index.state(*id)) {
            let offsets = match state.policy.conflates {
                true => &mut held.latest,
                false => &mut held.others,
            };
            let begins = state.behind(from.saturating_sub(1));
            offsets.extend(state.slots.range(begins..).map(|slot| slot.offset()));
        }
        held.latest.sort_unstable();
        held.others.sort_unstable();
        held
    }

    fn behind(&self, next: u64, read: &Read) -> u64 {
        let from = |offsets: &[u64], conflates| {
            let first = read.first(next, conflates);
            offsets.len() - offsets.partition_point(|offset| *offset < first)
        };
        (from(&self.latest, true) + from(&self.others, false)) as u64
    }
}

impl TopicLog {
    /// What there is in all, and who reads it.
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats {
            store: self.name,
            ..Stats::default()
        };
        // Nobody reads meanwhile, so that what is counted fits together.
        let index = self.index.write();
        stats.submitted = index.count();
        stats.replaced = index.replaced();
        for state in index.all().filter_map(|id| index.state(id)) {
            stats.retained += state.slots.len();
            stats.retained_bytes += state.bytes;
            if state.policy.conflates {
                stats.replaced += state.gone;
            }
        }
        let held = stats.replaced + stats.retained as u64;
        // Of a log that is kept elsewhere values are held that are older than what is counted.
        stats.evicted = stats.submitted.saturating_sub(held);
        let mut slowest = index.next();
        self.register
            .for_each(|seat, _| slowest = slowest.min(seat.next()));
        let mut groups: HashMap<GroupId, Held> = HashMap::new();
        self.register.count(&mut stats, |next, reads| {
            if next >= index.next() {
                return 0;
            }
            let behind = reads.iter().map(|read| match read.what {
                What::Topic(id) => index.state(id).map_or(0, |state| {
                    state.held_from(read.first(next, state.policy.conflates)) as u64
                }),
                What::Group(id) => {
                    let held = groups.entry(id);
                    let held = held.or_insert_with(|| Held::of(&index, id, slowest));
                    held.behind(next, read)
                }
            });
            behind.sum()
        });
        // What a reader goes without of a topic of which it wants the latest is not known.
        stats.skipped = None;
        drop(index);
        stats
    }

    /// What there is of one topic, and who reads it. `None` if there is no such topic.
    pub(crate) fn stats_of(&self, topic: &Topic) -> Option<Stats> {
        let index = self.index.write();
        let id = index.find(topic)?;
        self.stats_of_these(&index, &[id]).pop()
    }

    /// The same of the topics to which most was submitted.
    pub(crate) fn topic_stats(&self, most: usize) -> Vec<Stats> {
        let index = self.index.write();
        let busy = index.all().filter_map(|id| {
            let state = index.state(id)?;
            Some((Reverse(state.submitted()), state.name.as_str(), id))
        });
        let mut busy: Vec<_> = busy.collect();
        if most < busy.len() {
            busy.select_nth_unstable(most);
            busy.truncate(most);
        }
        busy.sort_unstable();
        let topics: Vec<_> = busy.into_iter().map(|(_, _, id)| id).collect();
        self.stats_of_these(&index, &topics)
    }

    fn stats_of_these(&self, index: &Index, topics: &[TopicId]) -> Vec<Stats> {
        let states: Vec<_> = topics.iter().filter_map(|id| index.state(*id)).collect();
        let mut by_topic = HashMap::new();
        let mut by_group: HashMap<_, Vec<usize>> = HashMap::new();
        for (at, (id, state)) in topics.iter().zip(&states).enumerate() {
            by_topic.insert(*id, at);
            for group in &state.groups {
                by_group.entry(*group).or_default().push(at);
            }
        }
        let mut lagging: Vec<_> = states.iter().map(|_| Lagging::default()).collect();
        let mut behind: Vec<(usize, usize)> = Vec::new();
        self.register.for_each(|seat, reads| {
            for read in reads {
                let places = match read.what {
                    What::Topic(id) => by_topic.get(&id).map(std::slice::from_ref),
                    What::Group(id) => by_group.get(&id).map(Vec::as_slice),
                };
                behind.extend(places.unwrap_or_default().iter().filter_map(|at| {
                    let state = states.get(*at)?;
                    let first = read.first(seat.next(), state.policy.conflates);
                    Some((*at, state.held_from(first)))
                }));
            }
            // Who reads a topic in several ways is one reader of it.
            behind.sort_unstable_by_key(|(at, events)| (*at, Reverse(*events)));
            behind.dedup_by_key(|(at, _)| *at);
            for (at, events) in behind.drain(..) {
                if let Some(lagging) = lagging.get_mut(at) {
                    lagging.add(seat.name(), seat.readers(), events as u64);
                }
            }
        });
        let stats = states.iter().zip(lagging).map(|(state, lagging)| {
            let mut stats = state.stats();
            stats.store = self.name;
            lagging.count(&mut stats);
            stats
        });
        stats.collect()
    }

    /// `reader` is told of the gap with which it began.
    pub(crate) fn tell(&self, reader: &Reader, gap: &Gap) {
        self.register.tell(&reader.seated, gap);
    }

    pub(crate) fn store_name(&self) -> Option<&'static str> {
        self.name
    }

    /// What `reader` is to has changed.
    pub(super) fn read_others(&self, reader: &Reader, index: &Index) {
        let reads = Read::all(index, &reader.wants);
        self.register.update(&reader.seated, reads);
    }

    /// `reader` has found this. Called with the log's lock held.
    pub(super) fn count_found(&self, reader: &mut Reader, found: &Poll<Found<Events>>) {
        match found {
            Poll::Ready(Found::Events((_, more))) => {
                reader.seated.deliver(1 + more.len() as u64);
            }
            Poll::Ready(Found::Gap(gap)) => self.register.tell(&reader.seated, gap),
            Poll::Ready(Found::End(End::Slow)) => self.register.disconnect(&reader.seated),
            Poll::Ready(Found::End(End::Closed | End::Unavailable)) | Poll::Pending => {}
        }
    }

    /// `reader` takes an event that stands outside the order.
    pub(super) fn count_added(&self, reader: &mut Reader, added: &Entry) {
        let index = self.index.read();
        reader.seated.deliver(1);
        if let Some(id) = added.topic().and_then(|topic| index.find(topic)) {
            Delivered::of(id).end(&index, reader.seated.readers());
        }
    }
}
