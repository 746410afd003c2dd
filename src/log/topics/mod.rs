//! One log of many topics: one epoch, one order, and of each reader only a position.
//!
//! ```text
//!   order        1   2   3   4   5   6   7   8   9   next
//!   rooms/1      ■       ■                   ■
//!   rooms/2          ■           ■       ■
//!   price                    □       □           ■            □ replaced
//!                                ▲
//!                        a reader of rooms/1 and price that has been told up to 4
//!                        gets 8 and 9; one of rooms/2 has 5 and gets 7
//! ```
//!
//! # Locks
//!
//! `index` (what is retained, and who reads what), then a crowd's `waiters` or `run`, or
//! `register` (how far who reads is). As in a log of one topic, a reader parks while it
//! still holds `index`, and an appender wakes after it has let go of it.
//!
//! A reader parks with each crowd that it is of. It is woken by the topics that it reads
//! and by no others.
//!
//! Who reads a topic that waits for its readers takes `index` for writing, because it is
//! counted where it stands. Submitters that wait park while they hold `index`, with a
//! crowd of their own; who makes room wakes them after it has let go of it.

mod control;
mod crowd;
#[cfg(feature = "backplane")]
mod elsewhere;
mod forgotten;
#[cfg(feature = "websocket")]
mod frames;
mod hold;
mod index;
#[cfg_attr(
    not(feature = "backplane"),
    allow(dead_code, reason = "a log in memory has none")
)]
mod lineage;
mod policy;
mod presence;
mod reader;
mod room;
mod state;
mod stats;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::time::Instant;

pub use self::control::Control;
#[cfg(feature = "backplane")]
pub(crate) use self::elsewhere::{Stored, What};
pub(crate) use self::policy::Policies;
pub use self::policy::Policy;
pub(crate) use self::reader::Reader;
pub(crate) use self::room::{Room, Taken};

use self::control::Change;
use self::crowd::Crowd;
use self::index::{After, Index, Next, TopicId, Want};
use self::lineage::Judged;
use self::reader::{Doubt, Place};
use self::stats::Read;
use super::start::{LastEventId, Start};
use super::sync::RwLock;
use super::tally::Register;
use super::{End, Found, PAGE, ring};
use crate::entry::Entry;
use crate::error::{SubmitAllError, SubmitError};
use crate::event::Event;
use crate::gap::{Gap, GapReason};
use crate::observe::{Happening, observe};
use crate::planted::planted;
use crate::position::Position;
use crate::subscription::Subscribe;
use crate::topic::{Topic, Topics};
use crate::wire::sse::{self, Encoded};

#[derive(Debug)]
pub(crate) struct TopicLog {
    index: RwLock<Index>,
    /// Who reads, and what they have had.
    register: Register<Vec<Read>>,
    /// For those who look at its figures.
    name: Option<&'static str>,
    max_event_bytes: usize,
    policies: Policies,
    /// The log that took the place of this one, if it is kept elsewhere.
    successor: OnceLock<Arc<Self>>,
    /// What fits into every topic.
    least_bytes: usize,
    /// Whether a reader has to know the time.
    have_age: bool,
    /// Whether there are topics that wait for their readers.
    wait: bool,
}

/// How many topics each submit looks at for what is too old.
const SWEPT: usize = 2;

impl TopicLog {
    pub(crate) fn new(
        policies: Policies,
        max_event_bytes: usize,
        name: Option<&'static str>,
    ) -> Self {
        Self {
            have_age: policies.have_age(),
            wait: policies.wait(),
            least_bytes: policies.least_bytes(),
            index: RwLock::new(Index::new(policies.clone())),
            policies,
            register: Register::new(),
            successor: OnceLock::new(),
            name,
            max_event_bytes,
        }
    }

    /// Appends an event and wakes who reads its topic. Never blocks on a reader.
    pub(crate) fn append(&self, event: Event) -> Result<Taken, SubmitError> {
        let (topic, encoded) = match self.admit(&event) {
            Ok(admitted) => admitted,
            Err(refuse) => return Err(refuse(event)),
        };
        let now = Instant::now();
        let mut after = After::default();
        let mut index = self.index.write();
        if index.is_closed() {
            return Err(SubmitError::Closed(event));
        }
        let one = (1, ring::weight(&encoded));
        if self.wait && index.is_full_for(&topic, one, now, &mut after) {
            drop(index);
            wake(&after.woken);
            return Err(SubmitError::Full(event));
        }
        let (position, id) = index.append(&topic, encoded, now, &mut after);
        index.sweep(SWEPT, now, &mut after);
        let full = index.no_room(id).map(|crowd| (id, Arc::clone(crowd)));
        drop(index);
        wake(&after.woken);
        Ok(Taken { position, full })
    }

    /// Appends events one right behind the other, so that nobody sees one of them before
    /// all are there; or none of them.
    pub(crate) fn append_all(&self, events: Vec<Event>) -> Result<Vec<Taken>, SubmitAllError> {
        let mut admitted = Vec::with_capacity(events.len());
        for (at, event) in events.iter().enumerate() {
            match self.admit(event) {
                Ok(event) => admitted.push(event),
                Err(refuse) => return Err(SubmitAllError::new(events, at, refuse)),
            }
        }
        let now = Instant::now();
        let mut after = After::default();
        let mut index = self.index.write();
        if index.is_closed() {
            drop(index);
            return Err(SubmitAllError::new(events, 0, SubmitError::Closed));
        }
        if self.wait
            && let Some(at) = first_too_many(&mut index, &admitted, now, &mut after)
        {
            drop(index);
            wake(&after.woken);
            return Err(SubmitAllError::new(events, at, SubmitError::Full));
        }
        let appended: Vec<_> = admitted
            .into_iter()
            .map(|(topic, encoded)| index.append(&topic, encoded, now, &mut after))
            .collect();
        index.sweep(SWEPT, now, &mut after);
        let taken = appended.into_iter().map(|(position, id)| {
            let full = index.no_room(id).map(|crowd| (id, Arc::clone(crowd)));
            Taken { position, full }
        });
        let taken = taken.collect();
        drop(index);
        wake(&after.woken);
        Ok(taken)
    }

    /// Encodes an event, outside every lock, if it has a topic and is not too large.
    fn admit(&self, event: &Event) -> Result<(Topic, Encoded), Refuse> {
        let Some(topic) = event.topic_name() else {
            return Err(Box::new(SubmitError::NoTopic));
        };
        let too_large = |size, limit| -> Refuse {
            Box::new(move |event| SubmitError::TooLarge { event, size, limit })
        };
        let (size, limit) = (event.size(), self.max_event_bytes);
        if size > limit {
            return Err(too_large(size, limit));
        }
        let encoded = sse::encode(event);
        let size = ring::weight(&encoded);
        if size > self.least_bytes {
            let limit = self.policies.of(topic).retained().bytes;
            if size > limit {
                return Err(too_large(size, limit));
            }
        }
        Ok((topic.clone(), encoded))
    }

    pub(crate) fn close(&self) {
        let mut index = self.index.write();
        let is_new = !index.is_closed();
        let woken = index.close();
        drop(index);
        wake(&woken);
        if is_new {
            observe(&Happening::StoreClosed { store: self.name });
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.index.read().is_closed()
    }

    /// The position of the newest event.
    pub(crate) fn head(&self) -> Option<Position> {
        let index = self.index.read();
        let newest = index.next() - 1;
        (newest > 0).then(|| index.position(newest))
    }

    /// The offset that the next event will get.
    pub(crate) fn end(&self) -> u64 {
        self.index.read().next()
    }

    pub(crate) fn latest(&self, topic: &Topic) -> Option<Entry> {
        let now = self.now();
        self.index.read().latest(topic, now).cloned()
    }

    pub(crate) fn topics(&self) -> usize {
        self.index.read().topics()
    }

    pub(crate) fn readers(&self, topic: &Topic) -> usize {
        self.index.read().readers(topic)
    }

    pub(crate) fn subscriptions(&self) -> usize {
        self.register.readers()
    }

    /// Registers a subscription; every one must be given back to
    /// [`unsubscribe`](Self::unsubscribe).
    pub(crate) fn subscribe(&self, subscribe: &Subscribe) -> (Reader, Option<Gap>) {
        self.subscribe_as(subscribe, None, true)
    }

    /// The same for one of whose id it is known already what it says, or for one whose id
    /// has been doubted and is no longer.
    fn subscribe_as(
        &self,
        subscribe: &Subscribe,
        judged: Option<Judged>,
        may_doubt: bool,
    ) -> (Reader, Option<Gap>) {
        let now = self.now();
        let mut index = self.index.write();
        let newest = index.next() - 1;
        let mut is_too_old = false;
        let judged = match subscribe.last_event_id {
            Some(LastEventId::At(id)) => Some((id, judged.unwrap_or_else(|| index.judge(id)))),
            _ => None,
        };
        let doubt = judged
            .filter(|(_, of)| may_doubt && *of == Judged::Ahead)
            .filter(|_| index.is_elsewhere())
            .map(|(id, _)| Doubt {
                id,
                looked: index.doubt(),
                start: subscribe.start,
            });
        let by_policy = Begin::By(subscribe.start);
        let (begin, reason) = match judged {
            None if subscribe.last_event_id.is_none() => (by_policy, None),
            None => (by_policy, Some((GapReason::Malformed, None))),
            Some((id, judged)) => {
                let tell = |reason| Some((reason, Some(id)));
                match judged {
                    _ if doubt.is_some() => (Begin::By(Start::Live), None),
                    Judged::Same if planted("repeat-at-splice") => {
                        (Begin::After(id.offset().saturating_sub(1)), None)
                    }
                    Judged::Same => (Begin::After(id.offset()), None),
                    Judged::Other => (by_policy, tell(GapReason::Epoch)),
                    Judged::Foreign => (by_policy, Some((GapReason::Malformed, None))),
                    Judged::Ahead => (Begin::By(Start::Oldest), tell(GapReason::Ahead)),
                    Judged::Forked(fork) => (Begin::After(fork), tell(GapReason::Diverged)),
                    Judged::Diverged => (Begin::By(Start::Oldest), tell(GapReason::Diverged)),
                    Judged::TooOld => {
                        is_too_old = true;
                        (Begin::After(id.offset()), tell(GapReason::Evicted))
                    }
                }
            }
        };
        let most = subscribe.topics.len();
        let (mut wants, mut places) = (Vec::with_capacity(most), Vec::with_capacity(most));
        let mut after = After::default();
        let is_counted = self.wait && !subscribe.conflate;
        // At once: the presence of the next one may be an event of this one.
        let held = |index: &mut Index, wants: &[Want]| {
            if is_counted && let Some(want) = wants.last() {
                index.hold(want, begin.told());
            }
        };
        // The least offset that is wanted.
        let mut first = newest + 1;
        for topic in &subscribe.topics.topics {
            let (id, crowd) =
                index.read_topic(topic, subscribe.name.as_deref(), now_or(now), &mut after);
            let from = begin.of(&index, id, now);
            first = first.min(from);
            let begins = match begin {
                Begin::After(told) => told,
                Begin::By(_) => from - 1,
            };
            let seen = index.number(id, begins);
            wants.push(Want::Topic {
                id,
                from,
                seen,
                since: index.come(),
            });
            places.push(Place::of(crowd));
            held(&mut index, &wants);
        }
        for pattern in &subscribe.topics.patterns {
            let (id, crowd) = index.read_pattern(pattern, now_or(now), &mut after);
            wants.push(match begin {
                Begin::After(_) => Want::Group {
                    id,
                    from: Vec::new(),
                    else_from: 0,
                    lost: index.forgotten(pattern),
                    ahead: None,
                    since: index.come(),
                },
                Begin::By(_) => {
                    let topics = index.topics_of(id).iter();
                    let from = topics.map(|topic| (*topic, begin.of(&index, *topic, now)));
                    let mut from: Vec<_> = from.filter(|(_, from)| *from <= newest).collect();
                    from.sort_unstable();
                    let begins = from.iter().map(|(_, from)| *from).min();
                    first = begins.map_or(first, |begins| first.min(begins));
                    Want::Group {
                        id,
                        from,
                        else_from: newest + 1,
                        lost: 0,
                        ahead: None,
                        since: index.come(),
                    }
                }
            });
            places.push(Place::of(crowd));
            held(&mut index, &wants);
        }
        let told = match begin {
            Begin::After(told) => told,
            Begin::By(_) => first - 1,
        };
        let holds = is_counted && index.hold_for(wants.iter());
        let reads = Read::all(&index, &wants);
        let seated = self.register.enter(subscribe.name.clone(), told + 1, reads);
        let mut reader = Reader {
            told,
            joined: newest,
            // Who brings no id is told where it begins.
            known: told,
            scarred: told,
            came: judged
                .filter(|(_, of)| matches!(of, Judged::Same | Judged::TooOld))
                .map(|(id, _)| id),
            doubt,
            is_replaying: false,
            conflates: subscribe.conflate,
            is_counted,
            holds,
            passed: Vec::new(),
            seated,
            wants,
            ahead: None,
            places,
            added: Vec::new(),
        };
        if let Some((_, Judged::Forked(fork))) = judged {
            // Values that it has been told since are none.
            reader.added = index.values_up_to(&reader.wants, fork);
        }
        let mut next = reader.next(&index, now).filter(|_| doubt.is_none());
        // Of values nothing is missed but the value.
        let reason = reason.filter(|_| !is_too_old || index.wants_lossless(&reader.wants));
        let gap = reason.map(|(reason, from)| {
            // What is also gone behind that is told with it.
            if let Some((_, lost)) = next
                && !matches!(lost, Next::Event(_))
            {
                reader.lose(&index, lost, now);
                next = reader.next(&index, now);
            }
            Gap::new(reason, None, from, reader.position(&index))
        });
        reader.known = reader.told;
        reader.is_replaying = next.is_some();
        drop(index);
        wake(&after.woken);
        (reader, gap)
    }

    pub(crate) fn unsubscribe(&self, reader: &mut Reader) {
        for place in &mut reader.places {
            drop(place.crowd.waiters.leave(&mut place.ticket));
        }
        self.let_go(reader);
        let (now, mut after) = (Instant::now(), After::default());
        let mut index = self.index.write();
        for want in std::mem::take(&mut reader.wants) {
            index.leave(&want, reader.name(), now, &mut after);
        }
        self.register.leave(&reader.seated);
        drop(index);
        wake(&after.woken);
    }

    /// Holds nothing back for a reader any more: it has ended.
    pub(crate) fn let_go(&self, reader: &mut Reader) {
        if !std::mem::take(&mut reader.is_counted) {
            return;
        }
        reader.holds = false;
        let (now, mut after) = (Instant::now(), After::default());
        let mut index = self.index.write();
        for want in &reader.wants {
            index.release(want, reader.told, now, &mut after);
        }
        drop(index);
        wake(&after.woken);
    }

    /// Changes what a subscription is to.
    pub(crate) fn change(&self, reader: &mut Reader, change: &Change) {
        // It was of other topics.
        reader.ahead = None;
        self.remove(reader, &change.remove);
        self.add(reader, &change.add);
    }

    fn add(&self, reader: &mut Reader, topics: &Topics) {
        let (now, mut after) = (Instant::now(), After::default());
        let mut index = self.index.write();
        let next = index.next();
        for topic in &topics.topics {
            if reader.wants.len() >= Topics::MAX || index.wants(&reader.wants, topic).is_some() {
                continue;
            }
            let (id, crowd) = index.read_topic(topic, reader.name(), now, &mut after);
            if index.conflates(id)
                && !index.reads(&reader.wants, id)
                && let Some(current) = index.event(id, index.last(id, 1, Some(now)))
                && current.id().offset() <= reader.told
            {
                reader.added.push(current.clone().out_of_order());
            }
            // What it holds of later events than the reader has been told is still to come.
            let from = if index.conflates(id) { 0 } else { next };
            let seen = index.number(id, next - 1);
            let since = index.come();
            let want = Want::Topic {
                id,
                from,
                seen,
                since,
            };
            reader.want(&mut index, want, crowd);
        }
        for pattern in &topics.patterns {
            if reader.wants.len() >= Topics::MAX
                || index.wants_all(&reader.wants, pattern).is_some()
            {
                continue;
            }
            let (id, crowd) = index.read_pattern(pattern, now, &mut after);
            for topic in index.topics_of(id) {
                if index.conflates(*topic)
                    && !index.reads(&reader.wants, *topic)
                    && let Some(current) = index.event(*topic, index.last(*topic, 1, Some(now)))
                {
                    reader.added.push(current.clone().out_of_order());
                }
            }
            let want = Want::Group {
                id,
                from: Vec::new(),
                else_from: next,
                lost: 0,
                ahead: None,
                since: index.come(),
            };
            reader.want(&mut index, want, crowd);
        }
        self.read_others(reader, &index);
        drop(index);
        wake(&after.woken);
    }

    fn remove(&self, reader: &mut Reader, topics: &Topics) {
        let (now, mut after) = (Instant::now(), After::default());
        let mut index = self.index.write();
        let of_topics = topics.topics.iter().map(Ok);
        for gone in of_topics.chain(topics.patterns.iter().map(Err)) {
            let at = match gone {
                Ok(topic) => index.wants(&reader.wants, topic),
                Err(pattern) => index.wants_all(&reader.wants, pattern),
            };
            let Some(at) = at else {
                continue;
            };
            let want = reader.wants.swap_remove(at);
            let mut place = reader.places.swap_remove(at);
            drop(place.crowd.waiters.leave(&mut place.ticket));
            if reader.is_counted {
                index.release(&want, reader.told, now, &mut after);
            }
            index.leave(&want, reader.name(), now, &mut after);
        }
        self.read_others(reader, &index);
        let wants = &reader.wants;
        reader.added.retain(|entry| {
            let topic = entry.topic().and_then(|topic| index.find(topic));
            topic.is_some_and(|topic| index.reads(wants, topic))
        });
        drop(index);
        wake(&after.woken);
    }

    /// The position that a client would go on from, if it does not know it yet: behind
    /// what was replayed, and then, if `always`, whenever it is asked for.
    pub(crate) fn bookmark(&self, reader: &mut Reader, always: bool) -> Option<Position> {
        let is_replayed = std::mem::take(&mut reader.is_replaying);
        if !(always || is_replayed) || reader.told <= reader.known {
            return None;
        }
        reader.known = reader.told;
        Some(self.position(reader))
    }

    /// The position up to which `reader` has everything.
    pub(crate) fn position(&self, reader: &Reader) -> Position {
        reader.position(&self.index.read())
    }

    /// The next event.
    pub(crate) fn poll_event(
        &self,
        cx: &mut Context<'_>,
        reader: &mut Reader,
    ) -> Poll<Found<Entry>> {
        self.poll_events(cx, reader, 0)
            .map(|found| found.map(|(entry, _)| entry))
    }

    /// The blocks of the next events, as many as fit a page, in one piece.
    pub(crate) fn poll_run(&self, cx: &mut Context<'_>, reader: &mut Reader) -> Poll<Found<Bytes>> {
        let is_like_others = reader.is_like_others();
        self.poll_events(cx, reader, PAGE).map(|found| {
            found.map(|(first, more)| match (more.last(), &*reader.places) {
                (None, _) => first.sse().clone(),
                (Some(last), [place]) if is_like_others => {
                    let key = (first.id().offset(), last.id().offset(), more.len());
                    place.crowd.run.get(key, || join(&first, &more))
                }
                (Some(_), _) => join(&first, &more),
            })
        })
    }

    /// The next events, of so many bytes in all, but at least one.
    pub(crate) fn poll_events(
        &self,
        cx: &mut Context<'_>,
        reader: &mut Reader,
        bytes: usize,
    ) -> Poll<Found<(Entry, Vec<Entry>)>> {
        if self.successor.get().is_some() {
            // What is left of it may not be what the engine has any more.
            return Poll::Ready(Found::End(End::Closed));
        }
        if !reader.added.is_empty() {
            let current = reader.added.remove(0);
            self.count_added(reader, &current);
            return Poll::Ready(Found::Events((current, Vec::new())));
        }
        let (told, now) = (reader.told, self.now());
        if !reader.holds {
            let index = self.index.read();
            // A topic that came since, of a pattern.
            let is_group = |want: &&Want| matches!(want, Want::Group { .. });
            reader.holds =
                reader.is_counted && index.hold_for(reader.wants.iter().filter(is_group));
            if !reader.holds {
                let (found, replaced) = reader.find(cx, &index, bytes, now);
                self.count_found(reader, &found);
                drop(index);
                drop(replaced);
                reader.settle();
                return found;
            }
        }
        let mut after = After::default();
        let mut index = self.index.write();
        let (found, replaced) = reader.find(cx, &index, bytes, now);
        self.count_found(reader, &found);
        reader.pass(&mut index, told, &mut after);
        drop(index);
        drop(replaced);
        reader.settle();
        wake(&after.woken);
        found
    }

    /// The time, where it matters to a reader.
    fn now(&self) -> Option<Instant> {
        self.have_age.then(Instant::now)
    }
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug)]
enum Begin {
    After(u64),
    By(Start),
}

impl Begin {
    /// What a reader has been told if it begins so, in each topic that it does not begin
    /// in later.
    fn told(self) -> u64 {
        match self {
            Self::After(told) => told,
            Self::By(_) => 0,
        }
    }

    /// The offset of the first event of a topic that it is to have.
    fn of(self, index: &Index, topic: TopicId, now: Option<Instant>) -> u64 {
        match self {
            Self::After(_) => 0,
            Self::By(_) if index.conflates(topic) => index.last(topic, 1, now),
            Self::By(Start::Live) => index.next(),
            Self::By(Start::Oldest) => index.last(topic, u64::MAX, now),
            Self::By(Start::Last(last)) => index.last(topic, last, now),
        }
    }
}

fn join(first: &Entry, more: &[Entry]) -> Bytes {
    let entries = || std::iter::once(first).chain(more);
    let len = entries().map(|entry| entry.sse().len()).sum();
    let mut joined = Vec::with_capacity(len);
    entries().for_each(|entry| joined.extend_from_slice(entry.sse()));
    joined.into()
}

/// The first of these events for which a topic that waits has no room.
fn first_too_many(
    index: &mut Index,
    events: &[(Topic, Encoded)],
    now: Instant,
    after: &mut After,
) -> Option<usize> {
    let mut sums = HashMap::new();
    events.iter().position(|(topic, event)| {
        let (events, weight) = sums.entry(topic).or_insert((0, 0_usize));
        *events += 1;
        *weight = weight.saturating_add(ring::weight(event));
        index.is_full_for(topic, (*events, *weight), now, after)
    })
}

fn now_or(now: Option<Instant>) -> Instant {
    now.unwrap_or_else(Instant::now)
}

fn wake(crowds: &[Arc<Crowd>]) {
    for crowd in crowds {
        crowd.waiters.wake_parked();
    }
}

type Refuse = Box<dyn FnOnce(Event) -> SubmitError>;
