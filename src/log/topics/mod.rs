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
//! `index` (what is retained, and who reads what), then a crowd's `waiters` or `run`. As
//! in a log of one topic, a reader parks while it still holds `index`, and an appender
//! wakes after it has let go of it.
//!
//! A reader parks with each crowd that it is of. It is woken by the topics that it reads
//! and by no others.

mod crowd;
mod forgotten;
mod index;
mod policy;

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::time::Instant;

pub(crate) use self::policy::Policies;
pub use self::policy::Policy;

use self::crowd::{Crowd, Run};
use self::index::{After, Index, Next, Want};
use super::signal::Gauge;
use super::start::{LastEventId, Start};
use super::sync::RwLock;
use super::waiters::Ticket;
use super::{End, Found, PAGE, ring};
use crate::entry::Entry;
use crate::error::{SubmitAllError, SubmitError};
use crate::event::Event;
use crate::gap::{Gap, GapReason};
use crate::position::Position;
use crate::subscription::Subscribe;
use crate::topic::Topic;
use crate::wire::sse::{self, Encoded};

#[derive(Debug)]
pub(crate) struct TopicLog {
    index: RwLock<Index>,
    subscriptions: Gauge,
    max_event_bytes: usize,
    /// Whether a reader has to know the time.
    have_age: bool,
}

/// Where a subscription is, and what it is to. Only the log it came from may move it.
#[derive(Debug)]
pub(crate) struct Reader {
    /// The offset up to which it has everything, or was told that it has not.
    told: u64,
    /// The newest offset when it came.
    joined: u64,
    wants: Vec<Want>,
    /// Its place in the crowd of each of these.
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    crowd: Arc<Crowd>,
    ticket: Ticket,
}

/// How many topics each submit looks at for what is too old.
const SWEPT: usize = 2;

impl Reader {
    /// Whether everything before `offset` has been read, or told as a gap.
    pub(crate) fn has_reached(&self, offset: u64) -> bool {
        self.told + 1 >= offset
    }
}

impl TopicLog {
    pub(crate) fn new(policies: Policies, max_event_bytes: usize) -> Self {
        Self {
            have_age: policies.have_age(),
            index: RwLock::new(Index::new(policies)),
            subscriptions: Gauge::new(),
            max_event_bytes,
        }
    }

    /// Appends an event and wakes who reads its topic. Never blocks on a reader.
    pub(crate) fn append(&self, event: Event) -> Result<Position, SubmitError> {
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
        let position = index.append(&topic, encoded, now, &mut after);
        index.sweep(SWEPT, now, &mut after);
        drop(index);
        wake(&after.woken);
        Ok(position)
    }

    /// Appends events one right behind the other, so that nobody sees one of them before
    /// all are there; or none of them.
    pub(crate) fn append_all(&self, events: Vec<Event>) -> Result<Vec<Position>, SubmitAllError> {
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
        let positions = admitted
            .into_iter()
            .map(|(topic, encoded)| index.append(&topic, encoded, now, &mut after))
            .collect();
        index.sweep(SWEPT, now, &mut after);
        drop(index);
        wake(&after.woken);
        Ok(positions)
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
        let limit = self.index.read().policy(topic).retained().bytes;
        let size = ring::weight(&encoded);
        if size > limit {
            return Err(too_large(size, limit));
        }
        Ok((topic.clone(), encoded))
    }

    pub(crate) fn close(&self) {
        let woken = self.index.write().close();
        wake(&woken);
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
        self.subscriptions.get()
    }

    /// Registers a subscription; every one must be given back to
    /// [`unsubscribe`](Self::unsubscribe).
    pub(crate) fn subscribe(&self, subscribe: &Subscribe) -> (Reader, Option<Gap>) {
        let now = self.now();
        let mut index = self.index.write();
        let newest = index.next() - 1;
        let (begin, reason) = match subscribe.last_event_id {
            None => (Begin::By(subscribe.start), None),
            Some(LastEventId::At(id)) if id.epoch() != index.epoch() => (
                Begin::By(subscribe.start),
                Some((GapReason::Epoch, Some(id))),
            ),
            Some(LastEventId::At(id)) if id.offset() > newest => {
                (Begin::By(Start::Oldest), Some((GapReason::Ahead, Some(id))))
            }
            Some(LastEventId::At(id)) => (Begin::After(id.offset()), None),
            Some(LastEventId::Malformed) => (
                Begin::By(subscribe.start),
                Some((GapReason::Malformed, None)),
            ),
        };
        let (mut wants, mut places) = (Vec::new(), Vec::new());
        for topic in &subscribe.topics.topics {
            let (id, crowd) = index.read_topic(topic);
            let from = begin.of(&index, id, now);
            wants.push(Want::Topic { id, from });
            places.push(Place::of(crowd));
        }
        for pattern in &subscribe.topics.patterns {
            let (id, crowd) = index.read_pattern(pattern);
            wants.push(match begin {
                Begin::After(_) => Want::Group {
                    id,
                    from: Vec::new(),
                    else_from: 0,
                    lost: index.forgotten(pattern),
                    ahead: None,
                },
                Begin::By(_) => {
                    let topics = index.topics_of(id).iter();
                    let from = topics.map(|topic| (*topic, begin.of(&index, *topic, now)));
                    let mut from: Vec<_> = from.filter(|(_, from)| *from <= newest).collect();
                    from.sort_unstable();
                    Want::Group {
                        id,
                        from,
                        else_from: newest + 1,
                        lost: 0,
                        ahead: None,
                    }
                }
            });
            places.push(Place::of(crowd));
        }
        let told = match begin {
            Begin::After(told) => told,
            Begin::By(_) => first(&wants).map_or(newest, |first| first.min(newest + 1) - 1),
        };
        let gap = reason.map(|(reason, from)| Gap::new(reason, None, from, index.position(told)));
        drop(index);
        self.subscriptions.add();
        let reader = Reader {
            told,
            joined: newest,
            wants,
            places,
        };
        (reader, gap)
    }

    pub(crate) fn unsubscribe(&self, reader: &mut Reader) {
        for place in &mut reader.places {
            drop(place.crowd.waiters.leave(&mut place.ticket));
        }
        let mut index = self.index.write();
        for want in reader.wants.drain(..) {
            index.leave(&want);
        }
        drop(index);
        self.subscriptions.sub();
    }

    /// The position up to which `reader` has everything.
    pub(crate) fn position(&self, reader: &Reader) -> Position {
        self.index.read().position(reader.told)
    }

    /// Whether a reader has nothing to read now.
    pub(crate) fn is_at_end(&self, reader: &Reader) -> bool {
        let (index, now) = (self.index.read(), self.now());
        !index.has_next(&reader.wants, reader.told, now)
    }

    /// The next event.
    pub(crate) fn poll_event(
        &self,
        cx: &mut Context<'_>,
        reader: &mut Reader,
    ) -> Poll<Found<Entry>> {
        self.poll_events(cx, reader, 0).map(|found| match found {
            Found::Events((entry, _)) => Found::Events(entry),
            Found::Gap(gap) => Found::Gap(gap),
            Found::End(end) => Found::End(end),
        })
    }

    /// The blocks of the next events, as many as fit a page, in one piece.
    pub(crate) fn poll_run(&self, cx: &mut Context<'_>, reader: &mut Reader) -> Poll<Found<Bytes>> {
        let is_like_others = reader.is_like_others();
        self.poll_events(cx, reader, PAGE).map(|found| match found {
            Found::Events((first, more)) if more.is_empty() => Found::Events(first.sse().clone()),
            Found::Events((first, more)) => Found::Events(match &*reader.places {
                [place] if is_like_others => place.crowd.join(&first, &more),
                _ => join(&first, &more),
            }),
            Found::Gap(gap) => Found::Gap(gap),
            Found::End(end) => Found::End(end),
        })
    }

    /// The next events, of so many bytes in all, but at least one.
    pub(crate) fn poll_events(
        &self,
        cx: &mut Context<'_>,
        reader: &mut Reader,
        bytes: usize,
    ) -> Poll<Found<(Entry, Vec<Entry>)>> {
        let now = self.now();
        let index = self.index.read();
        let Some((offset, next)) = index.next_of(&mut reader.wants, reader.told, now) else {
            reader.tell(index.next() - 1);
            if index.is_closed() {
                return Poll::Ready(Found::End(End::Closed));
            }
            // Woken by `append` and `close`.
            let places = reader.places.iter_mut();
            let replaced: Vec<_> = places
                .filter_map(|place| place.crowd.waiters.park(&mut place.ticket, cx.waker()))
                .collect();
            drop(index);
            drop(replaced);
            return Poll::Pending;
        };
        let id = match next {
            Next::Event(id) => id,
            next if reader.ends_by(offset, next) => {
                return Poll::Ready(Found::End(End::Slow));
            }
            Next::Lost { .. } => return Poll::Ready(Found::Gap(reader.lose(&index, offset, now))),
        };
        let Some(first) = index.event(id, offset) else {
            debug_assert!(false, "what comes next is there");
            return Poll::Ready(Found::End(End::Closed));
        };
        let (first, mut more) = (first.clone(), Vec::new());
        reader.tell(offset);
        let mut size = first.sse().len();
        while size < bytes
            && let Some((offset, Next::Event(id))) =
                index.next_of(&mut reader.wants, reader.told, now)
            && let Some(entry) = index.event(id, offset)
            && size + entry.sse().len() <= bytes
        {
            size += entry.sse().len();
            more.push(entry.clone());
            reader.tell(offset);
        }
        drop(index);
        Poll::Ready(Found::Events((first, more)))
    }

    /// The time, where it matters to a reader.
    fn now(&self) -> Option<Instant> {
        self.have_age.then(Instant::now)
    }
}

impl Reader {
    /// Whether it wants all that the others of its crowd do behind its offset.
    fn is_like_others(&self) -> bool {
        match &*self.wants {
            [Want::Topic { .. }] => true,
            [Want::Group { from, .. }] => from.is_empty(),
            _ => false,
        }
    }

    fn tell(&mut self, offset: u64) {
        self.told = offset;
        if offset >= self.joined {
            // From here on no topic is a special one.
            for want in &mut self.wants {
                if let Want::Group { from, .. } = want
                    && !from.is_empty()
                {
                    *from = Vec::new();
                }
            }
        }
    }

    /// Whether it is sent away for having lost this.
    fn ends_by(&self, offset: u64, next: Next) -> bool {
        offset > self.joined && next == Next::Lost { disconnects: true }
    }

    /// Tells of the mark at `offset`, together with those between which and it there is
    /// no event.
    fn lose(&mut self, index: &Index, offset: u64, now: Option<Instant>) -> Gap {
        let from = index.position(self.told);
        let reason = if offset > self.joined {
            GapReason::Slow
        } else {
            GapReason::Evicted
        };
        self.tell(offset);
        while let Some((offset, next @ Next::Lost { .. })) =
            index.next_of(&mut self.wants, self.told, now)
            && !self.ends_by(offset, next)
        {
            self.tell(offset);
        }
        Gap::new(reason, None, Some(from), index.position(self.told))
    }
}

impl Place {
    fn of(crowd: Arc<Crowd>) -> Self {
        Self {
            crowd,
            ticket: Ticket::default(),
        }
    }
}

impl Crowd {
    fn join(&self, first: &Entry, more: &[Entry]) -> Bytes {
        let (from, to) = (
            first.id().offset(),
            more.last().unwrap_or(first).id().offset(),
        );
        let mut run = self.run.lock();
        match &*run {
            Some(run) if (run.first, run.last, run.events) == (from, to, more.len()) => {
                run.bytes.clone()
            }
            _ => {
                let bytes = join(first, more);
                *run = Some(Run {
                    first: from,
                    last: to,
                    events: more.len(),
                    bytes: bytes.clone(),
                });
                bytes
            }
        }
    }
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug)]
enum Begin {
    After(u64),
    By(Start),
}

impl Begin {
    /// The offset of the first event of a topic that it is to have.
    fn of(self, index: &Index, topic: index::TopicId, now: Option<Instant>) -> u64 {
        match self {
            Self::After(_) => 0,
            Self::By(_) if index.conflates(topic) => index.last(topic, 1, now),
            Self::By(Start::Live) => index.next(),
            Self::By(Start::Oldest) => index.last(topic, u64::MAX, now),
            Self::By(Start::Last(last)) => index.last(topic, last, now),
        }
    }
}

/// The least offset that is wanted.
fn first(wants: &[Want]) -> Option<u64> {
    let first = |want: &Want| match want {
        Want::Topic { from, .. } => *from,
        Want::Group {
            from, else_from, ..
        } => {
            let from = from.iter().map(|(_, from)| *from);
            from.min().unwrap_or(*else_from)
        }
    };
    wants.iter().map(first).min()
}

fn join(first: &Entry, more: &[Entry]) -> Bytes {
    let entries = || std::iter::once(first).chain(more);
    let len = entries().map(|entry| entry.sse().len()).sum();
    let mut joined = Vec::with_capacity(len);
    entries().for_each(|entry| joined.extend_from_slice(entry.sse()));
    joined.into()
}

fn wake(crowds: &[Arc<Crowd>]) {
    for crowd in crowds {
        crowd.waiters.wake_parked();
    }
}

type Refuse = Box<dyn FnOnce(Event) -> SubmitError>;

#[cfg(feature = "websocket")]
impl TopicLog {
    /// The messages of the next events, as many as fit a page, and the position of the
    /// last of them, for a connection that has been told the position `prev`.
    pub(crate) fn poll_frames(
        &self,
        cx: &mut Context<'_>,
        reader: &mut Reader,
        envelope: crate::wire::ws::Envelope,
        prev: Option<Position>,
    ) -> Poll<Found<(Bytes, Position)>> {
        self.poll_events(cx, reader, PAGE).map(|found| match found {
            Found::Events((first, more)) => {
                let (mut frames, mut prev) = (Vec::new(), prev);
                let last = more.last().unwrap_or(&first).id();
                for entry in std::iter::once(&first).chain(&more) {
                    crate::wire::ws::event(&mut frames, envelope, entry, prev);
                    prev = Some(entry.id());
                }
                Found::Events((frames.into(), last))
            }
            Found::Gap(gap) => Found::Gap(gap),
            Found::End(end) => Found::End(end),
        })
    }
}
