//! A subscription: a position that moves.
//!
//! It holds a place in a log and nothing else. There is no queue behind it: a
//! subscription that is never read costs its place, and dropping it is all there
//! is to leaving.
//!
//! # What it yields
//!
//! [`Delivery::Event`] in the order of the log, each at most once, and
//! [`Delivery::Gap`] where events are missing that it should have had. After the
//! last one it yields `None`, for ever; [`end`](Subscription::end) tells why.

mod throttle;

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
#[cfg(feature = "detached")]
use tokio::time::Instant;

use self::throttle::Throttle;
use crate::entry::Entry;
use crate::gap::Gap;
use crate::log::topics::{Control, Reader, TopicLog};
use crate::log::{Cursor, End, Found, LastEventId, Log, Start, Ticket};
use crate::observe::{Happening, observe};
use crate::planted::planted;
use crate::position::Position;
use crate::topic::Topics;
use crate::wire::sse;
#[cfg(feature = "websocket")]
use crate::wire::ws::{self, Envelope};

/// What a subscription asks a store for.
///
/// ```
/// use tornadose::{LastEventId, QueueStore, Start, Subscribe};
///
/// let store = QueueStore::new();
/// let live = store.subscribe(Start::Live);
/// let resumed = store.subscribe(Subscribe::default().after(LastEventId::parse(b"no id of ours")));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subscribe {
    /// Where to begin without an id, or with one that cannot be judged. Default:
    /// [`Start::Live`].
    pub start: Start,
    /// The last event that the client has, if it says so.
    pub last_event_id: Option<LastEventId>,
    /// What it is to, if the store is a [`Hub`](crate::Hub). Default: to nothing.
    pub topics: Topics,
    /// See [`conflate`](Self::conflate).
    pub conflate: bool,
    /// See [`min_interval`](Self::min_interval).
    pub min_interval: Option<Duration>,
    /// See [`name`](Self::name).
    pub name: Option<Arc<str>>,
    /// See [`control`](Self::control).
    pub control: Option<Control>,
}

impl Subscribe {
    /// To go on after the last event that a client has.
    #[must_use]
    pub fn after(mut self, id: impl Into<LastEventId>) -> Self {
        self.last_event_id = Some(id.into());
        self
    }

    /// Only the newest event of each topic that there is when the subscriber is ready for
    /// more, whatever the store keeps: nothing is told of those between. Who always keeps
    /// up gets every event.
    #[must_use]
    pub fn conflate(mut self) -> Self {
        self.conflate = true;
        self
    }

    /// At least this time between two lots of events, which then come together; with
    /// [`conflate`](Self::conflate) the newest of each topic. The last event always comes.
    /// Default: none. Needs a tokio runtime with time; polled outside of one, it has no
    /// effect.
    #[must_use]
    pub fn min_interval(mut self, interval: Duration) -> Self {
        self.min_interval = Some(interval);
        self
    }

    /// Who this is, for the [presence](crate::HubBuilder::presence) of a hub. It is told to
    /// others: not a secret.
    #[must_use]
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Lets the topics of a [`Hub`](crate::Hub) be changed while it lives.
    #[must_use]
    pub fn control(mut self, control: &Control) -> Self {
        self.control = Some(control.clone());
        self
    }

    /// To these topics of a [`Hub`](crate::Hub).
    #[must_use]
    pub fn topics(mut self, topics: impl Into<Topics>) -> Self {
        self.topics = topics.into();
        self
    }
}

impl From<Start> for Subscribe {
    fn from(start: Start) -> Self {
        Self {
            start,
            ..Self::default()
        }
    }
}

/// What a subscription yields.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// The next event.
    Event(Entry),
    /// Events are missing here.
    Gap(Gap),
}

impl Delivery {
    /// The event, if it is one.
    #[must_use]
    pub fn event(&self) -> Option<&Entry> {
        match self {
            Self::Event(entry) => Some(entry),
            Self::Gap(_) => None,
        }
    }

    /// The event itself, if it is one.
    #[must_use]
    pub fn into_event(self) -> Option<Entry> {
        match self {
            Self::Event(entry) => Some(entry),
            Self::Gap(_) => None,
        }
    }

    /// The gap, if it is one.
    #[must_use]
    pub fn gap(&self) -> Option<&Gap> {
        match self {
            Self::Event(_) => None,
            Self::Gap(gap) => Some(gap),
        }
    }
}

/// One reader of a store, made by [`Store::subscribe`](crate::Store::subscribe).
///
/// Also a [`Stream`] of [`Delivery`].
///
/// ```
/// # async fn example(store: tornadose::QueueStore) {
/// use tornadose::{Delivery, Start};
///
/// let mut subscription = store.subscribe(Start::Oldest);
/// while let Some(delivery) = subscription.recv().await {
///     match delivery {
///         Delivery::Event(event) => println!("{}: {}", event.id(), event.data()),
///         Delivery::Gap(gap) => println!("missed {:?} events", gap.missed),
///         _ => {}
///     }
/// }
/// # }
/// ```
#[must_use = "a subscription that is dropped receives nothing"]
pub struct Subscription {
    source: Source,
    /// The offset at which it ends although the log goes on.
    until: Option<u64>,
    /// Why it yields nothing more.
    end: Option<End>,
    /// Boxed, like what follows: hardly anybody has one.
    throttle: Option<Box<Throttle>>,
    control: Option<Box<(Control, Ticket)>>,
}

enum Source {
    Log {
        log: Arc<Log>,
        cursor: Cursor,
        /// Stands before the first event. Boxed, like the reader of topics: so that what is
        /// read for each event of a log stands close together.
        gap: Option<Box<Gap>>,
    },
    Topics {
        log: Arc<TopicLog>,
        reader: Box<Reader>,
        gap: Option<Box<Gap>>,
    },
    /// The mutex makes the stream `Sync`; it is never locked.
    Stream(Mutex<Pin<Box<dyn Stream<Item = Delivery> + Send>>>),
}

impl Subscription {
    pub(crate) fn new(log: &Arc<Log>, subscribe: &Subscribe) -> Self {
        let (cursor, gap) = log.subscribe(subscribe);
        Self {
            source: Source::Log {
                log: Arc::clone(log),
                cursor,
                gap: gap.map(Box::new),
            },
            until: None,
            end: None,
            throttle: subscribe.min_interval.map(Throttle::new).map(Box::new),
            control: None,
        }
    }

    pub(crate) fn of_topics(log: &Arc<TopicLog>, subscribe: &Subscribe) -> Self {
        let (reader, gap) = log.subscribe(subscribe);
        Self {
            source: Source::Topics {
                log: Arc::clone(log),
                reader: Box::new(reader),
                gap: gap.map(Box::new),
            },
            until: None,
            end: None,
            throttle: subscribe.min_interval.map(Throttle::new).map(Box::new),
            control: subscribe
                .control
                .clone()
                .map(|control| Box::new((control, Ticket::default()))),
        }
    }

    /// One that has ended before it began.
    #[cfg(feature = "backplane")]
    pub(crate) fn unavailable() -> Self {
        let mut none = Self::from_stream(Nothing);
        none.end = Some(End::Unavailable);
        none
    }

    /// A subscription to anything, for stores of your own that do not build on one
    /// of ours. The stream must keep the order of positions and tell its gaps.
    pub fn from_stream(stream: impl Stream<Item = Delivery> + Send + 'static) -> Self {
        Self {
            source: Source::Stream(Mutex::new(Box::pin(stream))),
            until: None,
            end: None,
            throttle: None,
            control: None,
        }
    }

    /// The next event or gap; `None` after the last.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if this future is dropped before it is ready, nothing has been
    /// taken, and the next call yields what this one would have.
    pub async fn recv(&mut self) -> Option<Delivery> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// [`recv`](Self::recv) by hand. Where it is pending, the waker of the last
    /// call is woken by the next event and by the end.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        // A reader that always finds something must let others run, too.
        let budget = ready!(tokio::task::coop::poll_proceed(cx));
        let delivery = ready!(self.poll_delivery(cx));
        budget.made_progress();
        Poll::Ready(delivery)
    }

    /// The position up to which everything has been taken, or told as a gap: who
    /// subscribes again after it misses nothing untold. `None` for a subscription made
    /// of a stream, and for one that begins with the gap of an id that cannot be read
    /// and has not told it yet.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        match &self.source {
            Source::Log { gap: Some(gap), .. } | Source::Topics { gap: Some(gap), .. } => gap.from,
            Source::Log {
                log,
                cursor,
                gap: None,
            } => Some(log.position(cursor)),
            Source::Topics {
                log,
                reader,
                gap: None,
            } => Some(log.position(reader)),
            Source::Stream(_) => None,
        }
    }

    /// Why it has ended, once it has yielded `None`.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Whether a poll with the same waker as the last, which was pending, would be, too;
    /// `false` where that is not known at once.
    pub(crate) fn is_quiet(&self) -> bool {
        match &self.source {
            Source::Log { log, cursor, .. } => log.is_parked(cursor),
            Source::Topics { .. } | Source::Stream(_) => false,
        }
    }

    /// Whether it is of a log of ours, which needs no runtime to be polled in.
    pub(crate) fn is_of_log(&self) -> bool {
        !matches!(self.source, Source::Stream(_))
    }

    /// Where it is, if it has read everything and wants what everybody wants: then one
    /// reader can read for all that are there.
    #[cfg(feature = "detached")]
    pub(crate) fn place(&self) -> Option<(&Arc<Log>, u64)> {
        match &self.source {
            Source::Log {
                log,
                cursor,
                gap: None,
            } if self.until.is_none() && self.end.is_none() && self.throttle.is_none() => {
                Some((log, log.shared_place(cursor)?))
            }
            _ => None,
        }
    }

    /// Leaves it to a shared cursor at its [place](Self::place) to read for it. What is left
    /// is to be dropped.
    #[cfg(feature = "detached")]
    pub(crate) fn hand_over(&mut self, to: &mut Cursor) {
        if let Source::Log { log, cursor, .. } = &mut self.source {
            log.hand_over(cursor, to);
        }
    }

    /// One that reads by itself again what a shared cursor has read for it, from `next` on.
    #[cfg(feature = "detached")]
    pub(crate) fn take_over(log: &Arc<Log>, next: u64, from: &mut Cursor) -> Self {
        let mut cursor = log.share(next);
        log.hand_over(from, &mut cursor);
        Self {
            source: Source::Log {
                log: Arc::clone(log),
                cursor,
                gap: None,
            },
            until: None,
            end: None,
            throttle: None,
            control: None,
        }
    }

    /// From here on no timer is waited for: whoever polls does so at [`due`](Self::due).
    #[cfg(feature = "detached")]
    pub(crate) fn drive(&mut self) {
        if let Some(throttle) = &mut self.throttle {
            throttle.is_driven = true;
            throttle.sleep = None;
        }
    }

    /// When there may be something to read that nobody is woken for.
    #[cfg(feature = "detached")]
    pub(crate) fn due(&self) -> Option<Instant> {
        self.throttle.as_ref()?.next
    }

    /// The gap with which it begins, if it does.
    pub(crate) fn first_gap(&self) -> Option<&Gap> {
        match &self.source {
            Source::Log { gap, .. } | Source::Topics { gap, .. } => gap.as_deref(),
            Source::Stream(_) => None,
        }
    }

    /// Where it begins, for a reader to whom nothing can be sent yet but who would
    /// lose events if it came back without an id.
    pub(crate) fn bookmark(&self) -> Option<Position> {
        match &self.source {
            Source::Log {
                log,
                cursor,
                gap: None,
            } if log.is_lossless() && log.is_at_end(cursor) => Some(log.position(cursor)),
            Source::Topics { log, .. } if planted("bookmark-early") => log.head(),
            Source::Topics {
                log,
                reader,
                gap: None,
            } => Some(log.position(reader)),
            _ => None,
        }
    }

    /// The position that a client would go on from, if it does not know it yet: behind
    /// what was replayed, and then, if `always`, whenever it is asked for. Only where the
    /// position moves without events, which in a log of one topic it does not.
    pub(crate) fn next_bookmark(&mut self, always: bool) -> Option<Position> {
        match &mut self.source {
            Source::Topics {
                log,
                reader,
                gap: None,
            } => log.bookmark(reader, always),
            Source::Topics { .. } | Source::Log { .. } | Source::Stream(_) => None,
        }
    }

    /// Ends it with what there is now, however fast more is submitted. Of a stream it
    /// cannot be known what there is, so that one ends at once.
    pub(crate) fn finish(&mut self) {
        match &self.source {
            Source::Log { log, .. } => self.until = Some(log.end()),
            Source::Topics { log, .. } => self.until = Some(log.end()),
            Source::Stream(_) => self.end = Some(End::Closed),
        }
    }

    /// The next blocks of an event stream, as many as fit a page.
    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        let found = ready!(
            self.poll_found(cx, Log::poll_run, TopicLog::poll_run, |entry| {
                entry.sse().clone()
            })
        );
        Poll::Ready(match found {
            Found::Events(bytes) => Some(Chunk::Events(bytes)),
            Found::Gap(gap) => Some(Chunk::Gap(sse::gap(&gap))),
            Found::End(_) => None,
        })
    }

    /// The next messages of a WebSocket, as many as fit a page. `told` is the position
    /// of the message before them, and then of the last of them.
    #[cfg(feature = "websocket")]
    pub(crate) fn poll_frames(
        &mut self,
        cx: &mut Context<'_>,
        envelope: Envelope,
        told: &mut Option<Position>,
    ) -> Poll<Option<Bytes>> {
        let prev = *told;
        let found = ready!(self.poll_found(
            cx,
            |log, cx, cursor| log.poll_frames(cx, cursor, envelope, prev),
            |log, cx, reader| log.poll_frames(cx, reader, envelope, prev),
            |entry| {
                let mut frames = Vec::new();
                ws::event(&mut frames, envelope, &entry, prev);
                (frames.into(), entry.id())
            },
        ));
        Poll::Ready(match found {
            Found::Events((frames, last)) => {
                *told = Some(last);
                Some(frames)
            }
            Found::Gap(gap) => {
                *told = Some(gap.resume);
                let mut frames = Vec::new();
                ws::gap(&mut frames, envelope, &gap);
                Some(frames.into())
            }
            Found::End(_) => None,
        })
    }

    fn poll_delivery(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let found =
            ready!(self.poll_found(cx, Log::poll_event, TopicLog::poll_event, |entry| entry));
        Poll::Ready(match found {
            Found::Events(entry) => Some(Delivery::Event(entry)),
            Found::Gap(gap) => Some(Delivery::Gap(gap)),
            Found::End(_) => None,
        })
    }

    /// What comes next, in the form that a log has it in or that is made of an entry.
    fn poll_found<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll_log: impl FnOnce(&Log, &mut Context<'_>, &mut Cursor) -> Poll<Found<T>>,
        poll_topics: impl Fn(&TopicLog, &mut Context<'_>, &mut Reader) -> Poll<Found<T>>,
        of_entry: impl FnOnce(Entry) -> T,
    ) -> Poll<Found<T>> {
        self.source.follow(&mut self.until);
        if let Some(end) = self.end {
            return Poll::Ready(Found::End(end));
        }
        if let Some((control, ticket)) = self.control.as_deref_mut()
            && let Source::Topics { log, reader, .. } = &mut self.source
            && let Some(change) = control.take(ticket, cx.waker())
        {
            log.change(reader, &change);
        }
        if let Some(throttle) = &mut self.throttle
            && self.until.is_none()
        {
            ready!(throttle.poll(cx));
        }
        let found = match &mut self.source {
            Source::Log { log, cursor, gap } => match gap.take() {
                Some(gap) => {
                    log.tell(cursor, &gap);
                    Found::Gap(*gap)
                }
                None if self.until.is_some_and(|until| cursor.has_reached(until)) => {
                    Found::End(End::Closed)
                }
                None => ready!(poll_log(log, cx, cursor)),
            },
            source @ Source::Topics { .. } => loop {
                match ready!(source.poll_topics(cx, self.until, &poll_topics)) {
                    // Another log has taken the place of this one.
                    Found::End(End::Closed) if source.follow(&mut self.until) => {}
                    found => break found,
                }
            },
            Source::Stream(stream) => {
                let stream = stream.get_mut().unwrap_or_else(PoisonError::into_inner);
                match ready!(stream.as_mut().poll_next(cx)) {
                    Some(Delivery::Event(entry)) => Found::Events(of_entry(entry)),
                    Some(Delivery::Gap(gap)) => Found::Gap(gap),
                    None => Found::End(End::Closed),
                }
            }
        };
        self.source.watch(&found);
        match (&found, &mut self.throttle) {
            (Found::End(end), _) => {
                self.end = Some(*end);
                if let Source::Topics { log, reader, .. } = &mut self.source {
                    log.let_go(reader);
                }
            }
            (Found::Events(_), Some(throttle)) => throttle.begin(),
            _ => {}
        }
        Poll::Ready(found)
    }
}

impl Source {
    fn poll_topics<T>(
        &mut self,
        cx: &mut Context<'_>,
        until: Option<u64>,
        poll: impl Fn(&TopicLog, &mut Context<'_>, &mut Reader) -> Poll<Found<T>>,
    ) -> Poll<Found<T>> {
        let Self::Topics { log, reader, gap } = self else {
            return Poll::Ready(Found::End(End::Closed));
        };
        if let Some(gap) = gap.take() {
            log.tell(reader, &gap);
            return Poll::Ready(Found::Gap(*gap));
        }
        if until.is_some_and(|until| reader.has_all(until)) {
            return Poll::Ready(Found::End(End::Closed));
        }
        match poll(log, cx, reader) {
            // It is also further where there was nothing for it to read.
            Poll::Pending if until.is_some_and(|until| reader.has_reached(until)) => {
                Poll::Ready(Found::End(End::Closed))
            }
            next => next,
        }
    }

    /// Goes on in the log that has taken the place of this one, if one has.
    #[cfg(feature = "backplane")]
    fn follow(&mut self, until: &mut Option<u64>) -> bool {
        let Self::Topics { log, reader, gap } = self else {
            return false;
        };
        let mut has_moved = false;
        loop {
            let (next, (moved, told)) = match log.successor().map(Arc::clone) {
                Some(next) => {
                    let moved = next.move_from(log, reader, gap.as_deref());
                    (next, moved)
                }
                None => match log.decide(reader) {
                    Some(decided) => (Arc::clone(log), decided),
                    None => return has_moved,
                },
            };
            log.unsubscribe(reader);
            *until = until.map(|_| next.end());
            (*log, **reader, *gap) = (next, moved, told.map(Box::new));
            has_moved = true;
        }
    }

    #[cfg(not(feature = "backplane"))]
    #[allow(clippy::unused_self, reason = "no log in memory is ever replaced")]
    fn follow(&mut self, _until: &mut Option<u64>) -> bool {
        false
    }

    /// Tells who watches of what is more than an event.
    fn watch<T>(&self, found: &Found<T>) {
        if let Found::Events(_) = found {
            return;
        }
        let store = match self {
            Self::Log { log, .. } => log.store_name(),
            Self::Topics { log, .. } => log.store_name(),
            // What it is made of has told it, or is not ours.
            Self::Stream(_) => return,
        };
        match found {
            Found::Gap(gap) => observe(&Happening::Gap {
                store,
                reason: gap.reason,
                missed: gap.missed,
            }),
            Found::End(End::Slow) => observe(&Happening::Slow { store }),
            Found::Events(_) | Found::End(End::Closed | End::Unavailable) => {}
        }
    }
}

/// A stream of nothing.
#[cfg(feature = "backplane")]
struct Nothing;

#[cfg(feature = "backplane")]
impl Stream for Nothing {
    type Item = Delivery;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Delivery>> {
        Poll::Ready(None)
    }
}

/// Blocks of an event stream.
pub(crate) enum Chunk {
    Events(Bytes),
    Gap(Bytes),
}

impl Stream for Subscription {
    type Item = Delivery;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.get_mut().poll_recv(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        match &mut self.source {
            Source::Log { log, cursor, .. } => log.unsubscribe(cursor),
            Source::Topics { log, reader, .. } => log.unsubscribe(reader),
            Source::Stream(_) => {}
        }
        if let Some((control, ticket)) = self.control.as_deref_mut() {
            control.leave(ticket);
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("position", &self.position())
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
