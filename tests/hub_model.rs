//! The hub against a plain list of everything that was ever submitted to it. From the
//! list it follows what each topic still holds; what every subscription was told is kept
//! account of, and the two must agree.
//!
//! `PROPTEST_CASES` sets how many histories are tried.

mod support;

use std::task::Poll;
use std::time::Duration;

use proptest::prelude::*;
use tokio_test::task::{Spawn, spawn};
use tornadose::{
    Delivery, End, Event, Gap, GapReason, Hub, LastEventId, Overflow, Pattern, Policy, Position,
    Retention, Start, SubmitError, Submitted, Subscribe, Topic, Topics,
};

use support::clock::Clock;
use support::position::{foreign, place};
use support::reader::{Reader, reader};

// What there is

/// What the first letter of a topic stands for: `l`atest or `q`ueue, whose slow readers
/// are `s`ent away or `w`aited for if it is not that, and in capitals what also grows old.
pub(crate) const NAMES: [&str; 19] = [
    "q/a", "q/b", "s/a", "s/b", "l/a", "l/b", "Q/a", "Q/b", "Q/c", "Q/a/d", "S/a", "S/b", "L/a",
    "L/b", "L/c", "L", "w/a", "w/b", "w/c",
];

pub(crate) const PATTERNS: [&str; 13] = [
    "#", "+/a", "+/b", "q/+", "s/#", "l/#", "Q/+", "S/#", "L/#", "+/a/#", "Q/c", "none/#", "w/#",
];

fn topic(at: usize) -> Topic {
    NAMES[at].parse().expect("a topic")
}

fn pattern(at: usize) -> Pattern {
    PATTERNS[at].parse().expect("a pattern")
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) keeps: usize,
    /// In seconds.
    pub(crate) age: u64,
    /// In seconds.
    pub(crate) stall: u64,
}

fn hub(Settings { keeps, age, stall }: Settings) -> Hub {
    let queue = Policy::queue(Retention::new().events(keeps));
    let age = Duration::from_secs(age);
    let stall = Duration::from_secs(stall);
    let of = |text: &str| text.parse().expect("a pattern");
    Hub::builder()
        .policy(of("s/#"), queue.overflow(Overflow::Disconnect))
        .policy(of("S/#"), queue.overflow(Overflow::Disconnect).age(age))
        .policy(of("Q/#"), queue.age(age))
        .policy(of("w/#"), queue.overflow(Overflow::Wait { stall }))
        .policy(of("l/#"), Policy::latest())
        .policy(of("L/#"), Policy::latest().age(age))
        .default_policy(queue)
        .build()
}

// What can happen

/// The id that a client brings.
#[derive(Clone, Debug)]
pub(crate) enum Id {
    /// One that was given, whoever it was for.
    Here(usize),
    Ahead(u64),
    Elsewhere(u64),
    Malformed,
}

/// What a subscription is to.
#[derive(Clone, Debug)]
pub(crate) struct To {
    pub(crate) topics: Vec<usize>,
    pub(crate) patterns: Vec<usize>,
}

impl To {
    fn topics(&self) -> Topics {
        let topics = self.topics.iter().map(|at| topic(*at)).collect();
        let patterns = self.patterns.iter().map(|at| pattern(*at));
        patterns.fold(topics, Topics::pattern)
    }

    fn is_to(&self, at: usize) -> bool {
        let mut patterns = self.patterns.iter().map(|at| pattern(*at));
        self.topics.contains(&at) || patterns.any(|pattern| pattern.matches(&topic(at)))
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Happens {
    Submit(usize),
    SubmitAll(Vec<usize>),
    Subscribe {
        to: To,
        start: Start,
        id: Option<Id>,
    },
    /// Somebody reads once.
    Poll(usize),
    /// Somebody reads until there is nothing more.
    Drain(usize),
    Drop(usize),
    /// Somebody leaves and comes back with the position that it had.
    Return(usize),
    Advance(u64),
}

fn happens() -> impl Strategy<Value = Happens> {
    let name = 0..NAMES.len();
    let start = prop_oneof![
        Just(Start::Live),
        Just(Start::Oldest),
        (0..4_u64).prop_map(Start::Last),
    ];
    let id = prop_oneof![
        10 => any::<usize>().prop_map(Id::Here),
        1 => (1..3_u64).prop_map(Id::Ahead),
        1 => (0..99_u64).prop_map(Id::Elsewhere),
        1 => Just(Id::Malformed),
    ];
    // Who reads many looks at them in another way.
    let topics = prop_oneof![
        3 => prop::collection::vec(name.clone(), 0..4),
        1 => prop::collection::vec(name.clone(), 12..24),
    ];
    let subscribe = (
        topics,
        prop::collection::vec(0..PATTERNS.len(), 0..3),
        start,
        prop::option::of(id),
    );
    let subscribe = subscribe.prop_map(|(topics, patterns, start, id)| Happens::Subscribe {
        to: To { topics, patterns },
        start,
        id,
    });
    prop_oneof![
        40 => name.clone().prop_map(Happens::Submit),
        10 => (16..NAMES.len()).prop_map(Happens::Submit),
        8 => prop::collection::vec(name, 0..6).prop_map(Happens::SubmitAll),
        12 => subscribe,
        20 => any::<usize>().prop_map(Happens::Poll),
        8 => any::<usize>().prop_map(Happens::Drain),
        3 => any::<usize>().prop_map(Happens::Drop),
        6 => any::<usize>().prop_map(Happens::Return),
        8 => (1..6_u64).prop_map(Happens::Advance),
    ]
}

// The list

/// All that was submitted; the first event has the offset 1.
struct History {
    settings: Settings,
    /// In seconds.
    now: u64,
    /// The topic and the time of each.
    submitted: Vec<(usize, u64)>,
    /// The offsets in each topic.
    offsets: [Vec<u64>; NAMES.len()],
    /// Of topics that wait: how many events are gone, and since when they are over their
    /// bound and nothing has gone.
    gone: [usize; NAMES.len()],
    blocked_since: [Option<u64>; NAMES.len()],
}

impl History {
    fn newest(&self) -> u64 {
        self.submitted.len() as u64
    }

    fn topic_of(&self, offset: u64) -> usize {
        self.submitted[offset as usize - 1].0
    }

    fn add(&mut self, topic: usize) -> u64 {
        self.submitted.push((topic, self.now));
        self.offsets[topic].push(self.newest());
        self.newest()
    }

    /// The offsets of what the topic holds.
    fn held(&self, topic: usize) -> &[u64] {
        let offsets = &self.offsets[topic];
        if waits(topic) {
            return &offsets[self.gone[topic]..];
        }
        let keeps = if conflates(topic) {
            1
        } else {
            self.settings.keeps
        };
        let kept = &offsets[offsets.len().saturating_sub(keeps)..];
        let is_old = |offset: &u64| {
            let (_, at) = self.submitted[*offset as usize - 1];
            grows_old(topic) && self.now - at >= self.settings.age
        };
        &kept[kept.partition_point(is_old)..]
    }

    fn is_lost(&self, offset: u64) -> bool {
        !self.held(self.topic_of(offset)).contains(&offset)
    }

    /// The last event that the topic has lost; 0 if it has lost none.
    fn mark(&self, topic: usize) -> u64 {
        let lost = self.offsets[topic].len() - self.held(topic).len();
        lost.checked_sub(1)
            .map_or(0, |last| self.offsets[topic][last])
    }

    /// A topic that waits lets go of what nobody wants any more, or of what is waited for
    /// too long.
    fn let_go(&mut self, topic: usize, readers: &mut [(Reader, Account)]) {
        let stall = self.settings.stall;
        let since = self.blocked_since[topic];
        let is_stalled = since.is_some_and(|since| self.now - since >= stall);
        while self.is_over(topic) {
            let front = self.held(topic)[0];
            let accounts = readers.iter_mut().map(|(_, account)| account);
            let holders: Vec<_> = accounts
                .filter(|account| account.next_in(self, topic) == Some(front))
                .collect();
            if !holders.is_empty() && !is_stalled {
                break;
            }
            for account in holders {
                account.is_left_behind[topic] = true;
            }
            self.gone[topic] += 1;
            self.blocked_since[topic] = None;
        }
        let since = self.blocked_since[topic].unwrap_or(self.now);
        self.blocked_since[topic] = self.is_over(topic).then_some(since);
    }

    fn is_over(&self, topic: usize) -> bool {
        waits(topic) && self.held(topic).len() > self.settings.keeps
    }

    /// Whether so many more would be more than twice what a topic that waits is to hold.
    fn is_full_for(&self, topic: usize, events: usize, readers: &[(Reader, Account)]) -> bool {
        let accounts = readers.iter().map(|(_, account)| account);
        let Some(next) = accounts
            .filter_map(|account| account.next_in(self, topic))
            .min()
        else {
            return false;
        };
        let unread = self.held(topic).iter().filter(|offset| **offset >= next);
        waits(topic) && unread.count() + events > 2 * self.settings.keeps
    }
}

fn waits(topic: usize) -> bool {
    NAMES[topic].starts_with('w')
}

fn conflates(topic: usize) -> bool {
    NAMES[topic].starts_with(['l', 'L'])
}

fn disconnects(topic: usize) -> bool {
    NAMES[topic].starts_with(['s', 'S'])
}

fn grows_old(topic: usize) -> bool {
    NAMES[topic].starts_with(char::is_uppercase)
}

// What a subscription was told

struct Account {
    to: To,
    /// For each topic the offset of the first event that it is to have; `None` if none.
    begin: [Option<u64>; NAMES.len()],
    /// The gap that stands before everything.
    first: Option<(GapReason, Option<Position>, u64)>,
    /// Whether it goes on after an id.
    is_back: bool,
    /// The newest offset when it came.
    joined: u64,
    /// Up to where it was told.
    told: u64,
    /// For each topic the last lost event that it has passed and has not been told of.
    owed: [u64; NAMES.len()],
    /// Topics that went on without it, which it has not been told yet.
    is_left_behind: [bool; NAMES.len()],
    /// Whether it waits, whether it must have been woken since, and whether it may: who
    /// waits for several topics is not taken out of the others when one of them wakes it.
    parked: bool,
    must_be_woken: bool,
    may_be_woken: bool,
    end: Option<End>,
}

impl Account {
    /// The offset of the first event of this topic that it is to have, without an id.
    fn begin(history: &History, topic: usize, start: Start) -> u64 {
        let held = history.held(topic);
        let last = match start {
            _ if conflates(topic) => 1,
            Start::Live => 0,
            Start::Oldest => held.len(),
            Start::Last(last) => last as usize,
            _ => unreachable!("there are three"),
        };
        let first = held.get(held.len() - last.min(held.len()));
        first.copied().unwrap_or(history.newest() + 1)
    }

    fn new(history: &History, to: To, start: Start, id: Option<(LastEventId, bool)>) -> Self {
        let newest = history.newest();
        let wants: [bool; NAMES.len()] = std::array::from_fn(|at| to.is_to(at));
        let by = |start| {
            let topics = 0..NAMES.len();
            let begin = topics.map(|at| wants[at].then(|| Self::begin(history, at, start)));
            let begin: Vec<_> = begin.collect();
            let first = begin.iter().flatten().min().copied();
            let told = first.map_or(newest, |first| first.min(newest + 1) - 1);
            (begin.try_into().expect("one for each"), told)
        };
        let is_back = matches!(&id, Some((LastEventId::At(id), true)) if id.offset() <= newest);
        let (begin, told, first) = match id {
            None => {
                let (begin, told) = by(start);
                (begin, told, None)
            }
            Some((LastEventId::Malformed, _)) => {
                let (begin, told) = by(start);
                (begin, told, Some((GapReason::Malformed, None, told)))
            }
            Some((LastEventId::At(id), false)) => {
                let (begin, told) = by(start);
                (begin, told, Some((GapReason::Epoch, Some(id), told)))
            }
            Some((LastEventId::At(id), true)) if id.offset() > newest => {
                let (begin, told) = by(Start::Oldest);
                (begin, told, Some((GapReason::Ahead, Some(id), told)))
            }
            Some((LastEventId::At(id), true)) => {
                (wants.map(|wants| wants.then_some(0)), id.offset(), None)
            }
            Some(_) => unreachable!("ids are of two kinds"),
        };
        Self {
            to,
            begin,
            first,
            is_back,
            joined: newest,
            told,
            owed: [0; NAMES.len()],
            is_left_behind: [false; NAMES.len()],
            parked: false,
            must_be_woken: false,
            may_be_woken: false,
            end: None,
        }
    }

    fn wants(&self, topic: usize, offset: u64) -> bool {
        self.begin[topic].is_some_and(|begin| begin <= offset)
    }

    /// What it wants next in a topic, if it is waited for there: something that is held, or
    /// whatever comes.
    fn next_in(&self, history: &History, topic: usize) -> Option<u64> {
        if self.end.is_some() || self.is_left_behind[topic] || self.begin[topic].is_none() {
            return None;
        }
        let mut held = history.held(topic).iter().copied();
        let next = held.find(|offset| *offset > self.told && self.wants(topic, *offset));
        Some(next.unwrap_or(u64::MAX))
    }

    /// Whether it is sent away for having lost this.
    fn ends_by(&self, topic: usize, lost: u64) -> bool {
        disconnects(topic) && lost > self.joined && self.wants(topic, lost)
    }

    /// Goes on to this offset: what stands before it and was wanted must be lost.
    fn go_to(&mut self, history: &History, offset: u64) {
        for passed in self.told + 1..=offset {
            let topic = history.topic_of(passed);
            if self.wants(topic, passed) {
                assert!(history.is_lost(passed), "{passed} is left out");
                if !conflates(topic) {
                    self.owed[topic] = passed;
                }
            }
        }
        self.told = offset;
    }

    fn hear(&mut self, history: &History, known: Position, heard: &Heard) {
        assert!(self.end.is_none(), "nothing comes behind the end");
        if let Some((reason, from, resume)) = self.first.take() {
            let Heard::Gap(gap) = heard else {
                panic!("{heard:?} before the gap that must come first");
            };
            let resume = place(known, resume);
            assert_eq!(*gap, Gap::new(reason, None, from, resume));
            return;
        }
        match heard {
            Heard::Event(offset, data) => {
                let (offset, topic) = (*offset, history.topic_of(*offset));
                assert!(offset > self.told, "{offset} comes too late");
                assert!(self.wants(topic, offset), "{offset} is not for it");
                assert!(!history.is_lost(offset), "{offset} is lost");
                assert_eq!(*data, said(topic, offset));
                self.go_to(history, offset - 1);
                assert_eq!(self.owed[topic], 0, "lost before {offset}, untold");
                // Told where the last of it stood; of topics that were forgotten before
                // somebody came back, where the last of all of them did.
                let is_told_later =
                    |at: usize| self.owed[at] == 0 || history.mark(at) > offset || self.is_back;
                assert!((0..NAMES.len()).all(is_told_later), "told too late");
                self.told = offset;
            }
            Heard::Gap(gap) => {
                assert_eq!(gap.from, Some(place(known, self.told)));
                let (from, resume) = (self.told, gap.resume.offset());
                if let Some(missed) = gap.missed {
                    // Exactly how many is said in tests/hub.rs.
                    let due = (1..=resume).filter(|offset| {
                        let topic = history.topic_of(*offset);
                        history.is_lost(*offset) && !conflates(topic) && self.wants(topic, *offset)
                    });
                    assert!((1..=due.count() as u64).contains(&missed), "{missed}");
                }
                assert!(resume > from, "a gap in which nothing is missing");
                let topic = history.topic_of(resume);
                assert!(!conflates(topic), "a latest value has no gaps");
                assert!(self.wants(topic, resume), "a gap of another's");
                self.go_to(history, resume);
                let mut is_old = false;
                for topic in 0..NAMES.len() {
                    let lost = self.owed[topic];
                    let mark = history.mark(topic);
                    let ends = self.ends_by(topic, lost) && mark <= resume;
                    assert!(lost == 0 || !ends, "{lost} ends it");
                    is_old |= lost != 0
                        && history.offsets[topic].iter().any(|offset| {
                            *offset <= self.joined && *offset <= lost && self.wants(topic, *offset)
                        });
                    self.owed[topic] = 0;
                }
                match gap.reason {
                    GapReason::Evicted => assert!(is_old, "nobody was late"),
                    GapReason::Slow => assert!(resume > self.joined, "nobody was slow"),
                    reason => panic!("{reason} in the middle"),
                }
            }
            Heard::Nothing => {
                self.go_to(history, history.newest());
                assert_eq!(self.owed, [0; NAMES.len()], "untold");
                self.parked = true;
            }
            Heard::End(end) => {
                assert_eq!(*end, End::Slow);
                let ends = |at: usize| {
                    let mark = history.mark(at);
                    (mark > self.told || self.owed[at] > 0) && self.ends_by(at, mark)
                };
                assert!((0..NAMES.len()).any(ends), "it has lost nothing");
                self.end = Some(*end);
            }
        }
    }
}

fn said(topic: usize, offset: u64) -> String {
    format!("{offset} of {}", NAMES[topic])
}

/// What a read finds.
#[derive(Debug)]
enum Heard {
    Nothing,
    Event(u64, String),
    Gap(Gap),
    End(End),
}

// The real one

pub(crate) struct Real {
    hub: Hub,
    /// Any position of its log.
    known: Position,
    clock: Clock,
    history: History,
    readers: Vec<(Reader, Account)>,
    /// Submits that wait for room in their topic.
    pending: Vec<(usize, Spawn<Submitted>)>,
}

impl Real {
    pub(crate) fn new(settings: Settings) -> Self {
        let hub = hub(settings);
        Self {
            known: hub.subscribe(Start::Live).position().expect("a position"),
            hub,
            clock: Clock::paused(),
            history: History {
                settings,
                now: 0,
                submitted: Vec::new(),
                offsets: Default::default(),
                gone: [0; NAMES.len()],
                blocked_since: [None; NAMES.len()],
            },
            readers: Vec::new(),
            pending: Vec::new(),
        }
    }

    pub(crate) fn happens(&mut self, happens: Happens) {
        match happens {
            Happens::Submit(at) => self.submit(&[at]),
            Happens::SubmitAll(topics) => self.submit(&topics),
            Happens::Subscribe { to, start, id } => {
                let newest = self.history.newest();
                let id = id.map(|id| match id {
                    Id::Here(at) => (place(self.known, at as u64 % (newest + 1)).into(), true),
                    Id::Ahead(by) => (place(self.known, newest + by).into(), true),
                    Id::Elsewhere(offset) => (foreign(offset).into(), false),
                    Id::Malformed => (LastEventId::Malformed, false),
                });
                self.subscribe(to, start, id, [0; NAMES.len()]);
            }
            Happens::Advance(seconds) => {
                self.clock.advance(Duration::from_secs(seconds));
                self.history.now += seconds;
                // The stall has run out for some, or something went in the meantime.
                self.pending.retain_mut(|(topic, submitted)| {
                    if !submitted.is_woken() {
                        return true;
                    }
                    let polled = self.clock.at_once(|| submitted.poll());
                    self.history.let_go(*topic, &mut self.readers);
                    assert_eq!(polled.is_ready(), !self.history.is_over(*topic));
                    polled.is_pending()
                });
            }
            Happens::Poll(_) | Happens::Drain(_) | Happens::Drop(_) | Happens::Return(_)
                if self.readers.is_empty() => {}
            Happens::Poll(at) => drop(self.read(at % self.readers.len())),
            Happens::Drain(at) => self.drain(at % self.readers.len()),
            Happens::Drop(at) => drop(self.remove(at % self.readers.len())),
            Happens::Return(at) => {
                let (id, account) = self.remove(at % self.readers.len());
                // Who brought an id that is no good would bring it again.
                if let (Some(id), None) = (id, account.first) {
                    let id = Some((id.into(), true));
                    self.subscribe(account.to, Start::Live, id, account.owed);
                }
            }
        }
        self.check();
    }

    fn submit(&mut self, topics: &[usize]) {
        let newest = self.history.newest();
        let events = (newest + 1..).zip(topics);
        let events = events.map(|(offset, at)| Event::new(said(*at, offset)).topic(topic(*at)));
        let events: Vec<_> = events.collect();
        let full = (0..topics.len()).find(|at| {
            let topic = topics[*at];
            let events = topics[..=*at].iter().filter(|at| **at == topic).count();
            if self.history.is_full_for(topic, events, &self.readers) {
                self.history.let_go(topic, &mut self.readers);
            }
            self.history.is_full_for(topic, events, &self.readers)
        });
        let taken = self.clock.at_once(|| self.hub.submit_all(events.clone()));
        if let Some(full) = full {
            let refused = taken.expect_err("it is full");
            assert!(matches!(refused.error(), SubmitError::Full(_)));
            assert_eq!((refused.index(), refused.into_events()), (full, events));
            return;
        }
        for at in topics {
            self.history.add(*at);
            self.history.let_go(*at, &mut self.readers);
        }
        for (_, account) in &mut self.readers {
            if topics.iter().any(|at| account.begin[*at].is_some()) {
                account.must_be_woken |= std::mem::take(&mut account.parked);
                account.may_be_woken = true;
            }
        }
        for (offset, (taken, topic)) in
            (newest + 1..).zip(taken.expect("taken").into_iter().zip(topics))
        {
            assert_eq!(taken.id().expect("in memory").offset(), offset);
            assert_eq!(taken.is_ready(), !self.history.is_over(*topic));
            let mut taken = spawn(taken);
            if self.clock.at_once(|| taken.poll()).is_pending() {
                self.pending.push((*topic, taken));
            }
        }
    }

    /// Somebody leaves. Its position, and what it was told.
    fn remove(&mut self, at: usize) -> (Option<Position>, Account) {
        let (reader, account) = self.readers.swap_remove(at);
        let id = reader.position();
        self.clock.at_once(|| drop(reader));
        if account.end.is_none() {
            self.let_go_of(&account.begin);
        }
        (id, account)
    }

    /// Lets go of what somebody wanted who does not any more.
    fn let_go_of(&mut self, begin: &[Option<u64>; NAMES.len()]) {
        for topic in (0..NAMES.len()).filter(|at| begin[*at].is_some()) {
            self.history.let_go(topic, &mut self.readers);
        }
    }

    fn subscribe(
        &mut self,
        to: To,
        start: Start,
        id: Option<(LastEventId, bool)>,
        owed: [u64; NAMES.len()],
    ) {
        let topics = to.topics();
        for topic in (0..NAMES.len()).filter(|at| to.is_to(*at)) {
            self.history.let_go(topic, &mut self.readers);
        }
        let mut account = Account::new(&self.history, to, start, id);
        account.owed = owed;
        let mut subscribe = Subscribe::from(start).topics(topics);
        subscribe.last_event_id = id.map(|(id, _)| id);
        let subscription = self.clock.at_once(|| self.hub.subscribe(subscribe));
        self.readers.push((reader(subscription), account));
    }

    fn read(&mut self, at: usize) -> Heard {
        let (reader, account) = &mut self.readers[at];
        let heard = match self.clock.at_once(|| reader.poll_next()) {
            Poll::Pending => Heard::Nothing,
            Poll::Ready(None) => Heard::End(reader.end().expect("a reason")),
            Poll::Ready(Some(Delivery::Event(entry))) => {
                Heard::Event(entry.id().offset(), entry.data().to_owned())
            }
            Poll::Ready(Some(Delivery::Gap(gap))) => Heard::Gap(gap),
            Poll::Ready(Some(_)) => unreachable!("there are events and gaps"),
        };
        (account.must_be_woken, account.may_be_woken) = (false, false);
        if account.end.is_none() {
            let told = account.told;
            account.hear(&self.history, self.known, &heard);
            let (told, begin) = (told + 1..=account.told, account.begin);
            // Where it has been told an event or the mark.
            let is_passed = |at: &usize| {
                let event = match heard {
                    Heard::Event(offset, _) => Some(self.history.topic_of(offset)),
                    _ => None,
                };
                let is_marked = told.contains(&self.history.mark(*at)) && begin[*at].is_some();
                is_marked || event == Some(*at)
            };
            let passed: Vec<_> = (0..NAMES.len()).filter(is_passed).collect();
            for topic in &passed {
                account.is_left_behind[*topic] &= account.told < self.history.mark(*topic);
            }
            let is_over = account.end.is_some();
            for topic in passed {
                self.history.let_go(topic, &mut self.readers);
            }
            if is_over {
                self.let_go_of(&begin);
            }
        } else {
            assert!(
                matches!(heard, Heard::End(End::Slow)),
                "{heard:?} behind the end"
            );
        }
        heard
    }

    fn drain(&mut self, at: usize) {
        while !matches!(self.read(at), Heard::Nothing | Heard::End(_)) {}
    }

    pub(crate) fn drain_all(&mut self) {
        (0..self.readers.len()).for_each(|at| self.drain(at));
    }

    fn check(&mut self) {
        for (topic, mut submitted) in std::mem::take(&mut self.pending) {
            let has_room = !self.history.is_over(topic);
            // Of who was woken by the time, it is known already.
            let polled = self
                .clock
                .at_once(|| (submitted.is_woken(), submitted.poll()));
            assert_eq!(polled.1.is_ready(), has_room, "room in {}", NAMES[topic]);
            assert_eq!(polled.0, has_room, "woken for {}", NAMES[topic]);
            if !has_room {
                self.pending.push((topic, submitted));
            }
        }
        for (reader, account) in &self.readers {
            let is_woken = reader.is_woken();
            assert!(is_woken || !account.must_be_woken, "it is not woken");
            assert!(!is_woken || account.may_be_woken, "it is woken for nothing");
            let position = reader.position().map(Position::offset);
            match account.first {
                None => assert_eq!(position, Some(account.told)),
                Some((_, from, _)) => assert_eq!(position, from.map(Position::offset)),
            }
        }
        assert_eq!(self.hub.subscribers(), self.readers.len());
        for at in 0..NAMES.len() {
            let newest = self.history.held(at).last().copied();
            let got = self.clock.at_once(|| self.hub.get(&topic(at)));
            assert_eq!(got.map(|entry| entry.id().offset()), newest);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_hub_is_its_list(
        keeps in 1..4_usize,
        age in 2..12_u64,
        stall in 2..20_u64,
        all in prop::collection::vec(happens(), 1..300),
    ) {
        let mut real = Real::new(Settings { keeps, age, stall });
        for happens in all {
            real.happens(happens);
        }
        real.drain_all();
    }
}
