//! One subscription to topics: where it is, and how it moves.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use super::crowd::Crowd;
use super::index::{After, Ahead, Index, Mark, Next, TopicId, Want};
use super::stats::{self, Delivered};
use crate::entry::Entry;
use crate::gap::{Gap, GapReason};
use crate::log::tally::Seated;
use crate::log::waiters::Ticket;
use crate::log::{End, Found, Start};
use crate::planted::planted;
use crate::position::Position;

/// The next event, and those behind it.
pub(super) type Events = (Entry, Vec<Entry>);

/// Where a subscription is, and what it is to. Only the log it came from may move it.
#[derive(Debug)]
pub(crate) struct Reader {
    /// The offset up to which it has everything, or was told that it has not.
    pub(super) told: u64,
    /// The newest offset when it came.
    pub(super) joined: u64,
    /// The offset that the client knows, by an event, a gap or a bookmark.
    pub(super) known: u64,
    /// The offset up to which it was told of what is missing of any topic.
    pub(super) scarred: u64,
    /// What its client brought, if it is of this log.
    pub(super) came: Option<Position>,
    /// Its client brought an id that is not known here, and perhaps only not yet. It is told
    /// nothing before that is decided.
    pub(super) doubt: Option<Doubt>,
    /// It has not yet come to the end of what there was when it came.
    pub(super) is_replaying: bool,
    /// It wants the newest event of each topic alone.
    pub(super) conflates: bool,
    /// It is counted where it stands in topics that wait.
    pub(super) is_counted: bool,
    /// One of its topics waits.
    pub(super) holds: bool,
    /// In which of those that wait it is further than it is counted.
    pub(super) passed: Vec<TopicId>,
    /// Also holds what presence says of it.
    pub(super) seated: Seated,
    pub(super) wants: Vec<Want>,
    /// What comes next in the topics that it wants by name, if they are many.
    pub(super) ahead: Option<Box<Ahead>>,
    /// Its place in the crowd of each of these.
    pub(super) places: Vec<Place>,
    /// Current values of topics that were added, whose place in the order is past.
    pub(super) added: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Doubt {
    pub(super) id: Position,
    /// How many looks at the engine had begun when it came.
    pub(super) looked: u64,
    #[cfg_attr(
        not(feature = "backplane"),
        allow(dead_code, reason = "only of a log that is kept elsewhere")
    )]
    pub(super) start: Start,
}

impl Doubt {
    /// Whether there is an answer now.
    pub(super) fn is_decided(&self, index: &Index) -> bool {
        index.looked() > self.looked
            || self.id.epoch() == index.epoch() && self.id.offset() < index.next()
    }
}

#[derive(Debug)]
pub(super) struct Place {
    pub(super) crowd: Arc<Crowd>,
    pub(super) ticket: Ticket,
}

impl Reader {
    /// Whether it has everything before `offset`, and nothing besides is waiting for it.
    pub(crate) fn has_all(&self, offset: u64) -> bool {
        self.added.is_empty() && self.has_reached(offset)
    }

    /// Whether everything before `offset` has been read, or told as a gap.
    pub(crate) fn has_reached(&self, offset: u64) -> bool {
        self.told + 1 >= offset
    }
}

impl Reader {
    /// The next events, of so many bytes in all, but at least one; or parks it. The wakers
    /// that are replaced are handed out, to be dropped after the lock.
    pub(super) fn find(
        &mut self,
        cx: &Context<'_>,
        index: &Index,
        bytes: usize,
        now: Option<Instant>,
    ) -> (Poll<Found<Events>>, Vec<Waker>) {
        // Where it goes on is found by who polls.
        let is_over = index.is_superseded() || self.doubt.is_some_and(|of| of.is_decided(index));
        if is_over || self.doubt.is_some() && index.is_closed() {
            return (Poll::Ready(Found::End(End::Closed)), Vec::new());
        }
        let next = match self.doubt {
            Some(_) => None,
            None => self.next(index, now),
        };
        let Some((offset, next)) = next else {
            // What it knows is another matter: nobody has told it yet.
            if self.doubt.is_none() {
                self.reach(index.next() - 1);
            }
            if index.is_closed() {
                return (Poll::Ready(Found::End(End::Closed)), Vec::new());
            }
            if index.is_away() {
                return (Poll::Ready(Found::End(End::Unavailable)), Vec::new());
            }
            // Woken by `append` and `close`.
            let places = self.places.iter_mut();
            let replaced =
                places.filter_map(|place| place.crowd.waiters.park(&mut place.ticket, cx.waker()));
            return (Poll::Pending, replaced.collect());
        };
        (
            Poll::Ready(self.take(index, offset, next, bytes, now)),
            Vec::new(),
        )
    }

    fn take(
        &mut self,
        index: &Index,
        offset: u64,
        next: Next,
        bytes: usize,
        now: Option<Instant>,
    ) -> Found<Events> {
        let id = match next {
            Next::Event(id) => id,
            next if self.ends_by(next) => return Found::End(End::Slow),
            next => return Found::Gap(self.lose(index, next, now)),
        };
        let Some(first) = index.event(id, offset) else {
            debug_assert!(false, "what comes next is there");
            return Found::End(End::Closed);
        };
        let (first, mut more) = (first.clone(), Vec::new());
        let mut delivered = Delivered::of(id);
        self.count(index, id, offset);
        let mut size = first.sse().len();
        while size < bytes
            && let Some((offset, Next::Event(id))) = self.next(index, now)
            && let Some(entry) = index.event(id, offset)
            && size + entry.sse().len() <= bytes
        {
            size += entry.sse().len();
            more.push(entry.clone());
            delivered.one_more(index, id, self.seated.readers());
            self.count(index, id, offset);
        }
        delivered.end(index, self.seated.readers());
        Found::Events((first, more))
    }

    pub(super) fn want(&mut self, index: &mut Index, want: Want, crowd: Arc<Crowd>) {
        if self.is_counted {
            index.hold(&want, self.told);
            self.holds |= index.hold_for([&want].into_iter());
        }
        self.wants.push(want);
        self.places.push(Place::of(crowd));
    }

    /// Whether it wants all that the others of its crowd do behind its offset.
    pub(super) fn is_like_others(&self) -> bool {
        match &*self.wants {
            _ if self.conflates => false,
            [Want::Topic { .. }] => true,
            [Want::Group { from, .. }] => from.is_empty(),
            _ => false,
        }
    }

    pub(super) fn next(&mut self, index: &Index, now: Option<Instant>) -> Option<(u64, Next)> {
        let next = index.next_of(
            &mut self.wants,
            &mut self.ahead,
            self.told,
            self.conflates,
            now,
        );
        if self.conflates {
            return next;
        }
        match (index.next_scar(&self.wants, self.scarred), next) {
            (Some((scar, _)), Some((offset, _))) if offset < scar => next,
            (Some(scar), _) => Some(scar),
            (None, _) => next,
        }
    }

    fn tell(&mut self, topic: Option<TopicId>, offset: u64) {
        self.known = offset;
        self.reach(offset);
        if self.holds {
            self.passed.extend(topic);
        }
    }

    /// There is nothing more for it up to here.
    fn reach(&mut self, offset: u64) {
        self.told = offset;
        // A scar is told before anything behind it.
        self.scarred = self.scarred.max(offset);
        self.seated.move_to(offset + 1);
    }

    /// It was told up to here before it read; it is counted where it is now.
    pub(super) fn pass(&mut self, index: &mut Index, told: u64, after: &mut After) {
        if self.passed.is_empty() {
            return;
        }
        self.passed.sort_unstable();
        self.passed.dedup();
        let moved = (told, self.told);
        index.pass(&self.wants, &self.passed, moved, Instant::now(), after);
        self.passed.clear();
    }

    /// Forgets of topics that they are special ones where they no longer are.
    pub(super) fn settle(&mut self) {
        let told = self.told;
        if told < self.joined {
            return;
        }
        for want in &mut self.wants {
            if let Want::Group { from, .. } = want
                && !from.is_empty()
            {
                from.retain(|(_, from)| *from > told + 1);
                if from.is_empty() {
                    *from = Vec::new();
                }
            }
        }
    }

    /// Whether it is sent away for having lost this.
    fn ends_by(&self, next: Next) -> bool {
        match next {
            Next::Lost(mark) => mark.disconnects && mark.offset > self.joined,
            Next::Event(_) | Next::Scar { .. } => false,
        }
    }

    /// It has this event of this topic.
    fn count(&mut self, index: &Index, topic: TopicId, offset: u64) {
        self.tell(Some(topic), offset);
        if let Some(seen) = self.seen(topic).filter(|_| !planted("missed-too-many")) {
            *seen = index.number(topic, offset);
        }
    }

    fn seen(&mut self, topic: TopicId) -> Option<&mut Option<u64>> {
        self.wants.iter_mut().find_map(|want| match want {
            Want::Topic { id, seen, .. } if *id == topic => Some(seen),
            Want::Topic { .. } | Want::Group { .. } => None,
        })
    }

    /// Tells of the mark at `offset`, together with those between which and it there is
    /// no event.
    pub(super) fn lose(&mut self, index: &Index, next: Next, now: Option<Instant>) -> Gap {
        let from = self.position(index);
        let reason = match next {
            Next::Scar { reason, .. } => reason,
            Next::Lost(mark) if mark.offset > self.joined => GapReason::Slow,
            Next::Lost(_) | Next::Event(_) => GapReason::Evicted,
        };
        let mut missed = self.pass_over(index, next, now);
        while let Some((_, next)) = self.next(index, now)
            && !matches!(next, Next::Event(_))
            && !self.ends_by(next)
        {
            let more = self.pass_over(index, next, now);
            missed = missed.zip(more).map(|(missed, more)| missed + more);
        }
        self.known = self.told;
        Gap::new(reason, missed, Some(from), self.position(index))
    }

    /// Where it is; as its client knows that, if it has not moved.
    pub(super) fn position(&self, index: &Index) -> Position {
        if let Some(doubt) = self.doubt {
            return doubt.id;
        }
        match self.came {
            Some(came) if came.offset() == self.told => came,
            _ => index.position(self.told),
        }
    }

    /// Goes on behind what is no event. How many events that were, if it is known.
    fn pass_over(&mut self, index: &Index, next: Next, now: Option<Instant>) -> Option<u64> {
        match next {
            Next::Event(_) => None,
            Next::Lost(mark) => {
                let topic = mark.topic.filter(|_| mark.is_there);
                let missed = self.miss(index, topic, now);
                if index.is_elsewhere() {
                    self.begin_behind(mark);
                } else {
                    self.tell(topic, mark.offset);
                }
                missed
            }
            Next::Scar { offset, events, .. } => {
                self.scarred = offset;
                events
            }
        }
    }

    /// It has been told of a loss that stands further behind than it is.
    fn begin_behind(&mut self, mark: Mark) {
        // What came next was looked for from where it began before.
        self.ahead = None;
        let begin = mark.offset + 1;
        for want in &mut self.wants {
            match (want, mark.topic) {
                (Want::Topic { id, from, .. }, Some(topic)) if *id == topic => {
                    *from = begin.max(*from);
                }
                (Want::Group { from, ahead, .. }, Some(topic)) => {
                    *ahead = None;
                    match from.binary_search_by_key(&topic, |(id, _)| *id) {
                        Ok(at) => {
                            if let Some((_, from)) = from.get_mut(at) {
                                *from = begin.max(*from);
                            }
                        }
                        Err(at) => from.insert(at, (topic, begin)),
                    }
                }
                (Want::Group { lost, .. }, None) if *lost == mark.offset => *lost = 0,
                _ => {}
            }
        }
    }

    /// How many events of a topic it will not get, if that is known.
    fn miss(&mut self, index: &Index, topic: Option<TopicId>, now: Option<Instant>) -> Option<u64> {
        let topic = topic?;
        let gone = index.gone(topic, now);
        let seen = self.seen(topic).and_then(|seen| seen.replace(gone?));
        let missed = gone
            .zip(seen)
            .and_then(|(gone, seen)| gone.checked_sub(seen));
        stats::tell(index, topic, missed, self.seated.readers());
        missed
    }
}

impl Place {
    pub(super) fn of(crowd: Arc<Crowd>) -> Self {
        Self {
            crowd,
            ticket: Ticket::default(),
        }
    }
}
