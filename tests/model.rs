//! Both stores against a model of each: a plain list of everything that was ever
//! submitted, from which it follows what every subscription must hear, when it must
//! be woken, and what it must not be told.
//!
//! `PROPTEST_CASES` sets how many histories are tried.

mod support;

use std::task::Poll;
use std::time::Duration;

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use tokio_test::task::{Spawn, spawn};
use tornadose::{
    DataStore, Delivery, End, GapReason, LastEventId, Overflow, Position, QueueStore, Retention,
    Start, SubmitError, Submitted, Subscribe, Subscription,
};

use support::clock::Clock;
use support::position::{foreign, place};
use support::reader::{Reader, reader};

// What can happen

/// The id that a client brings.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Id {
    /// An offset of this log, which may be ahead of it.
    Here(u64),
    Elsewhere(u64),
    Malformed,
}

#[derive(Clone, Debug)]
pub(crate) enum Happens {
    Submit(u8),
    Subscribe(Start, Option<Id>),
    /// Whoever has this place reads once.
    Poll(usize),
    /// Whoever has this place reads until there is nothing more.
    Drain(usize),
    Drop(usize),
    /// Who waits for room looks whether there is some.
    AwaitRoom,
    Advance(u64),
    Close,
}

/// What a read finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    Event(u64),
    Gap {
        reason: GapReason,
        missed: Option<u64>,
        from: Option<u64>,
        resume: u64,
    },
    End(End),
}

/// What must have come of the last thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// Nothing that could be seen.
    Unseen,
    Taken {
        offset: u64,
        room: bool,
    },
    Full,
    Closed,
    Heard(Vec<Heard>),
    Room(bool),
}

fn start() -> impl Strategy<Value = Start> {
    prop_oneof![
        Just(Start::Live),
        Just(Start::Oldest),
        (0..6_u64).prop_map(Start::Last)
    ]
}

fn id(submitted: u64) -> impl Strategy<Value = Id> {
    prop_oneof![
        12 => (0..=submitted).prop_map(Id::Here),
        1 => (submitted + 1..submitted + 3).prop_map(Id::Here),
        1 => Just(Id::Here(u64::MAX)),
        1 => (0..=submitted).prop_map(Id::Elsewhere),
        1 => Just(Id::Malformed),
    ]
}

/// What may happen to a store with so many events and these places taken.
fn happens(submitted: u64, places: &[Option<Reading>]) -> BoxedStrategy<Happens> {
    let subscribe = (start(), proptest::option::of(id(submitted)))
        .prop_map(|(start, id)| Happens::Subscribe(start, id));
    let alone = prop_oneof![
        180 => (0..3_u8).prop_map(Happens::Submit),
        60 => subscribe,
        36 => (1..20_u64).prop_map(Happens::Advance),
        36 => Just(Happens::AwaitRoom),
        1 => Just(Happens::Close),
    ];
    let taken: Vec<_> = (0..places.len())
        .filter(|at| places[*at].is_some())
        .collect();
    if taken.is_empty() {
        return alone.boxed();
    }
    let place = proptest::sample::select(taken);
    prop_oneof![
        5 => alone,
        4 => place.clone().prop_map(Happens::Poll),
        1 => place.clone().prop_map(Happens::Drain),
        1 => place.prop_map(Happens::Drop),
    ]
    .boxed()
}

/// One subscription of a model.
#[derive(Clone, Debug)]
struct Reading {
    /// The offset that it wants next.
    next: u64,
    /// The gap that stands before its first event.
    gap: Option<Heard>,
    end: Option<End>,
    parked: bool,
    woken: bool,
}

impl Reading {
    fn new(next: u64, gap: Option<Heard>) -> Self {
        Self {
            next,
            gap,
            end: None,
            parked: false,
            woken: false,
        }
    }

    /// The offset after which one can subscribe again and miss nothing untold.
    fn position(&self) -> Option<u64> {
        match self.gap {
            Some(Heard::Gap { from, .. }) => from,
            _ => Some(self.next - 1),
        }
    }

    fn wake(&mut self) {
        self.woken |= std::mem::take(&mut self.parked);
    }
}

fn wake_all(places: &mut [Option<Reading>]) {
    places.iter_mut().flatten().for_each(Reading::wake);
}

fn is_taken(places: &[Option<Reading>], happens: &Happens) -> bool {
    match happens {
        Happens::Poll(at) | Happens::Drain(at) | Happens::Drop(at) => {
            places.get(*at).is_some_and(Option::is_some)
        }
        _ => true,
    }
}

// The queue

pub(crate) const STALL: u64 = 30;

#[derive(Clone, Debug)]
pub(crate) struct Queue {
    keeps: u64,
    age: Option<u64>,
    overflow: Overflow,
    /// In seconds.
    now: u64,
    /// When each event was submitted; the first of them has the offset 1.
    submitted: Vec<u64>,
    closed: bool,
    places: Vec<Option<Reading>>,
    /// For a queue that waits: the oldest event that it holds, and since when it has
    /// been waiting for who wants that one.
    oldest_held: u64,
    blocked_since: Option<u64>,
    outcome: Outcome,
}

impl Queue {
    pub(crate) fn new(keeps: u64, age: Option<u64>, overflow: Overflow) -> Self {
        Self {
            keeps,
            age,
            overflow,
            now: 0,
            submitted: Vec::new(),
            closed: false,
            places: Vec::new(),
            oldest_held: 1,
            blocked_since: None,
            outcome: Outcome::Unseen,
        }
    }

    fn next(&self) -> u64 {
        self.submitted.len() as u64 + 1
    }

    fn waits(&self) -> bool {
        matches!(self.overflow, Overflow::Wait { .. })
    }

    fn is_too_old(&self, offset: u64) -> bool {
        let at = self.submitted[offset as usize - 1];
        self.age.is_some_and(|age| self.now - at >= age)
    }

    /// The oldest event that a newcomer can have.
    fn oldest(&self) -> u64 {
        let held = if self.waits() {
            self.oldest_held
        } else {
            self.next().saturating_sub(self.keeps).max(1)
        };
        let in_time = (held..self.next()).find(|offset| !self.is_too_old(*offset));
        in_time.unwrap_or(self.next())
    }

    /// The oldest event that a connected reader can have.
    fn oldest_to_read(&self) -> u64 {
        if self.waits() {
            self.oldest_held
        } else {
            self.oldest()
        }
    }

    fn is_over(&self) -> bool {
        self.next() - self.oldest_held > self.keeps
    }

    fn has_room(&self) -> bool {
        !self.waits() || self.closed || !self.is_over()
    }

    /// Whether who holds the queue up has done so for too long.
    fn is_stalled(&self) -> bool {
        self.blocked_since
            .is_some_and(|since| self.now - since >= STALL)
    }

    /// A queue that waits lets go of what nobody holds any more.
    fn let_go(&mut self) {
        let stalled = self.is_stalled();
        while self.oldest_held < self.next() {
            let over = self.is_over();
            let wanted = self
                .places
                .iter()
                .flatten()
                .any(|reading| reading.next == self.oldest_held);
            let goes = over || self.is_too_old(self.oldest_held);
            if !goes || (wanted && !(stalled && over)) {
                break;
            }
            self.oldest_held += 1;
            self.blocked_since = None;
        }
        self.blocked_since = self
            .is_over()
            .then(|| self.blocked_since.unwrap_or(self.now));
    }

    fn submit(&mut self) -> Outcome {
        if self.closed {
            return Outcome::Closed;
        }
        if self.waits() {
            let is_full = |queue: &Self| queue.next() - queue.oldest_held >= 2 * queue.keeps;
            if is_full(self) {
                self.let_go();
                if is_full(self) {
                    return Outcome::Full;
                }
            }
        }
        self.submitted.push(self.now);
        if self.waits() {
            self.let_go();
        }
        wake_all(&mut self.places);
        Outcome::Taken {
            offset: self.next() - 1,
            room: self.has_room(),
        }
    }

    fn subscribe(&mut self, start: Start, id: Option<Id>) {
        let (oldest, next) = (self.oldest(), self.next());
        let by_policy = match start {
            Start::Live => next,
            Start::Oldest => oldest,
            Start::Last(n) => next.saturating_sub(n).max(oldest),
            _ => unreachable!("there are three"),
        };
        let gap = |reason, missed, from, first: u64| {
            Some(Heard::Gap {
                reason,
                missed,
                from,
                resume: first - 1,
            })
        };
        let (first, gap) = match id {
            None => (by_policy, None),
            Some(Id::Malformed) => (by_policy, gap(GapReason::Malformed, None, None, by_policy)),
            Some(Id::Elsewhere(id)) => {
                (by_policy, gap(GapReason::Epoch, None, Some(id), by_policy))
            }
            Some(Id::Here(id)) if id >= next => {
                (oldest, gap(GapReason::Ahead, None, Some(id), oldest))
            }
            Some(Id::Here(id)) if id + 1 >= oldest => (id + 1, None),
            Some(Id::Here(id)) => {
                let missed = Some(oldest - id - 1);
                (oldest, gap(GapReason::Evicted, missed, Some(id), oldest))
            }
        };
        self.places.push(Some(Reading::new(first, gap)));
    }

    fn read(&mut self, at: usize) -> Heard {
        let (oldest, next, closed) = (self.oldest_to_read(), self.next(), self.closed);
        let disconnects = self.overflow == Overflow::Disconnect;
        let Some(reading) = &mut self.places[at] else {
            unreachable!("the place is taken");
        };
        reading.woken = false;
        if let Some(end) = reading.end {
            return Heard::End(end);
        }
        if let Some(gap) = reading.gap.take() {
            return gap;
        }
        let heard = if reading.next < oldest && disconnects {
            reading.end = Some(End::Slow);
            Heard::End(End::Slow)
        } else if reading.next < oldest {
            let wanted = std::mem::replace(&mut reading.next, oldest);
            Heard::Gap {
                reason: GapReason::Slow,
                missed: Some(oldest - wanted),
                from: Some(wanted - 1),
                resume: oldest - 1,
            }
        } else if reading.next < next {
            reading.next += 1;
            Heard::Event(reading.next - 1)
        } else if closed {
            reading.end = Some(End::Closed);
            Heard::End(End::Closed)
        } else {
            reading.parked = true;
            Heard::Nothing
        };
        if self.waits() && matches!(heard, Heard::Event(_) | Heard::Gap { .. }) {
            self.let_go();
        }
        heard
    }
}

fn read_until_nothing(mut read: impl FnMut() -> Heard) -> Vec<Heard> {
    let mut all = Vec::new();
    loop {
        let heard = read();
        all.push(heard);
        if matches!(heard, Heard::Nothing | Heard::End(_)) {
            return all;
        }
    }
}

impl ReferenceStateMachine for Queue {
    type State = Self;
    type Transition = Happens;

    fn init_state() -> BoxedStrategy<Self> {
        let stall = Duration::from_secs(STALL);
        let overflow = prop_oneof![
            Just(Overflow::DropOldest),
            Just(Overflow::Disconnect),
            Just(Overflow::Wait { stall }),
        ];
        let age = proptest::option::of(1..60_u64);
        (1..8_u64, age, overflow)
            .prop_map(|(keeps, age, overflow)| Self::new(keeps, age, overflow))
            .boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Happens> {
        happens(state.next() - 1, &state.places)
    }

    fn preconditions(state: &Self, happens: &Happens) -> bool {
        is_taken(&state.places, happens)
    }

    fn apply(mut state: Self, happens: &Happens) -> Self {
        state.outcome = match *happens {
            Happens::Submit(_) => state.submit(),
            Happens::Subscribe(start, id) => {
                state.subscribe(start, id);
                Outcome::Unseen
            }
            Happens::Poll(at) => Outcome::Heard(vec![state.read(at)]),
            Happens::Drain(at) => Outcome::Heard(read_until_nothing(|| state.read(at))),
            Happens::Drop(at) => {
                state.places[at] = None;
                if state.waits() {
                    state.let_go();
                }
                Outcome::Unseen
            }
            Happens::AwaitRoom => {
                if !state.closed && state.is_stalled() {
                    state.let_go();
                }
                Outcome::Room(state.has_room())
            }
            Happens::Advance(seconds) => {
                state.now += seconds;
                Outcome::Unseen
            }
            Happens::Close => {
                state.closed = true;
                wake_all(&mut state.places);
                Outcome::Unseen
            }
        };
        state
    }
}

// The latest value

#[derive(Clone, Debug)]
struct Latest {
    only_changes: bool,
    submitted: Vec<u8>,
    closed: bool,
    places: Vec<Option<Reading>>,
    outcome: Outcome,
}

impl Latest {
    fn version(&self) -> u64 {
        self.submitted.len() as u64
    }

    fn submit(&mut self, value: u8) -> Outcome {
        if self.closed {
            return Outcome::Closed;
        }
        if !(self.only_changes && self.submitted.last() == Some(&value)) {
            self.submitted.push(value);
            wake_all(&mut self.places);
        }
        Outcome::Taken {
            offset: self.version(),
            room: true,
        }
    }

    fn subscribe(&mut self, id: Option<Id>) {
        let first = match id {
            Some(Id::Here(id)) if id <= self.version() => id + 1,
            _ => self.version().max(1),
        };
        self.places.push(Some(Reading::new(first, None)));
    }

    fn read(&mut self, at: usize) -> Heard {
        let (version, closed) = (self.version(), self.closed);
        let Some(reading) = &mut self.places[at] else {
            unreachable!("the place is taken");
        };
        reading.woken = false;
        if reading.next <= version {
            reading.next = version + 1;
            return Heard::Event(version);
        }
        if closed {
            return Heard::End(End::Closed);
        }
        reading.parked = true;
        Heard::Nothing
    }
}

impl ReferenceStateMachine for Latest {
    type State = Self;
    type Transition = Happens;

    fn init_state() -> BoxedStrategy<Self> {
        any::<bool>()
            .prop_map(|only_changes| Self {
                only_changes,
                submitted: Vec::new(),
                closed: false,
                places: Vec::new(),
                outcome: Outcome::Unseen,
            })
            .boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Happens> {
        happens(state.version(), &state.places)
    }

    fn preconditions(state: &Self, happens: &Happens) -> bool {
        is_taken(&state.places, happens)
    }

    fn apply(mut state: Self, happens: &Happens) -> Self {
        state.outcome = match *happens {
            Happens::Submit(value) => state.submit(value),
            Happens::Subscribe(_, id) => {
                state.subscribe(id);
                Outcome::Unseen
            }
            Happens::Poll(at) => Outcome::Heard(vec![state.read(at)]),
            Happens::Drain(at) => Outcome::Heard(read_until_nothing(|| state.read(at))),
            Happens::Drop(at) => {
                state.places[at] = None;
                Outcome::Unseen
            }
            Happens::AwaitRoom => Outcome::Room(true),
            Happens::Advance(_) => Outcome::Unseen,
            Happens::Close => {
                state.closed = true;
                wake_all(&mut state.places);
                Outcome::Unseen
            }
        };
        state
    }
}

// The real ones

enum Store {
    Queue(QueueStore),
    Latest(DataStore),
}

impl Store {
    fn submit(&self, value: u8) -> Result<Submitted, SubmitError> {
        match self {
            Self::Queue(store) => store.submit(value.to_string()),
            Self::Latest(store) => store.submit(value.to_string()),
        }
    }

    fn subscribe(&self, subscribe: impl Into<Subscribe>) -> Subscription {
        match self {
            Self::Queue(store) => store.subscribe(subscribe),
            Self::Latest(store) => store.subscribe(subscribe),
        }
    }

    fn subscribers(&self) -> usize {
        match self {
            Self::Queue(store) => store.subscribers(),
            Self::Latest(store) => store.subscribers(),
        }
    }

    fn close(&self) {
        match self {
            Self::Queue(store) => store.close(),
            Self::Latest(store) => store.close(),
        }
    }
}

/// A real store, its readers, and who waits for room in it.
pub(crate) struct Real {
    store: Store,
    /// Any position of its log.
    known: Position,
    readers: Vec<Option<Reader>>,
    waiting: Vec<Spawn<Submitted>>,
    clock: Clock,
}

impl Real {
    fn new(store: Store) -> Self {
        let any = store.subscribe(Start::Live);
        Self {
            known: any.position().expect("a position"),
            store,
            readers: Vec::new(),
            waiting: Vec::new(),
            clock: Clock::paused(),
        }
    }

    fn happens(&mut self, happens: &Happens) -> Outcome {
        let clock = &self.clock;
        match *happens {
            Happens::Submit(value) => {
                let submitted = clock.at_once(|| self.store.submit(value));
                match submitted {
                    Ok(submitted) => clock.at_once(|| taken(submitted, &mut self.waiting)),
                    Err(SubmitError::Full(event)) => {
                        assert_eq!(event.data(), value.to_string());
                        Outcome::Full
                    }
                    Err(SubmitError::Closed(_)) => Outcome::Closed,
                    Err(error) => panic!("{error}"),
                }
            }
            Happens::Subscribe(start, id) => {
                let mut subscribe = Subscribe::from(start);
                subscribe.last_event_id = id.map(|id| match id {
                    Id::Here(offset) => place(self.known, offset).into(),
                    Id::Elsewhere(offset) => foreign(offset).into(),
                    Id::Malformed => LastEventId::Malformed,
                });
                let subscription = clock.at_once(|| self.store.subscribe(subscribe));
                self.readers.push(Some(reader(subscription)));
                Outcome::Unseen
            }
            Happens::Poll(at) => Outcome::Heard(vec![self.read(at)]),
            Happens::Drain(at) => Outcome::Heard(read_until_nothing(|| self.read(at))),
            Happens::Drop(at) => {
                clock.at_once(|| self.readers[at] = None);
                Outcome::Unseen
            }
            Happens::AwaitRoom => clock.at_once(|| {
                let before = self.waiting.len();
                self.waiting
                    .retain_mut(|submitted| submitted.poll().is_pending());
                let room = self.waiting.is_empty();
                assert!(
                    room || self.waiting.len() == before,
                    "all have room or none"
                );
                Outcome::Room(room)
            }),
            Happens::Advance(seconds) => {
                clock.advance(Duration::from_secs(seconds));
                Outcome::Unseen
            }
            Happens::Close => {
                clock.at_once(|| self.store.close());
                Outcome::Unseen
            }
        }
    }

    fn read(&mut self, at: usize) -> Heard {
        let reader = self.readers[at].as_mut().expect("the place is taken");
        match self.clock.at_once(|| reader.poll_next()) {
            Poll::Pending => Heard::Nothing,
            Poll::Ready(None) => Heard::End(reader.end().expect("a reason")),
            Poll::Ready(Some(Delivery::Event(entry))) => Heard::Event(entry.id().offset()),
            Poll::Ready(Some(Delivery::Gap(gap))) => Heard::Gap {
                reason: gap.reason,
                missed: gap.missed,
                from: gap.from.map(Position::offset),
                resume: gap.resume.offset(),
            },
            Poll::Ready(Some(_)) => unreachable!("there are events and gaps"),
        }
    }

    fn check(&self, places: &[Option<Reading>], has_room: bool) {
        for (at, (reader, reading)) in self.readers.iter().zip(places).enumerate() {
            let is_woken = reader.as_ref().map(Spawn::is_woken);
            let must_be = reading.as_ref().map(|reading| reading.woken);
            assert_eq!(is_woken, must_be, "whether {at} is woken");
            let position_must_be = reading.as_ref().and_then(Reading::position);
            assert_eq!(position(reader), position_must_be, "how far {at} is");
        }
        assert_eq!(self.store.subscribers(), places.iter().flatten().count());
        if has_room {
            assert!(self.waiting.iter().all(Spawn::is_woken), "there is room");
        }
    }
}

fn taken(submitted: Submitted, waiting: &mut Vec<Spawn<Submitted>>) -> Outcome {
    let (offset, room) = (
        submitted.id().expect("in memory").offset(),
        submitted.is_ready(),
    );
    let mut submitted = spawn(submitted);
    assert_eq!(submitted.poll().is_ready(), room);
    if !room {
        waiting.push(submitted);
    }
    Outcome::Taken { offset, room }
}

/// What the readers of a real store were told, checked without the model.
#[derive(Default)]
pub(crate) struct Account {
    /// For each reader, the offset up to which all is told, if one can know where it
    /// began.
    up_to: Vec<Option<u64>>,
}

impl Account {
    fn of_everything(&mut self, real: &Real, happens: &Happens, outcome: &Outcome) {
        match (happens, outcome) {
            (Happens::Subscribe(_, id), _) => self.up_to.push(match id {
                Some(Id::Elsewhere(_)) => None,
                _ => real.readers.last().and_then(position),
            }),
            (Happens::Poll(at) | Happens::Drain(at), Outcome::Heard(heard)) => {
                for heard in heard {
                    self.up_to[*at] = next_to(self.up_to[*at], *heard);
                }
            }
            _ => {}
        }
    }

    fn of_the_latest(&mut self, happens: &Happens, outcome: &Outcome) {
        match (happens, outcome) {
            (Happens::Subscribe(..), _) => self.up_to.push(None),
            (Happens::Poll(at) | Happens::Drain(at), Outcome::Heard(heard)) => {
                for heard in heard {
                    match *heard {
                        Heard::Event(offset) => {
                            assert!(self.up_to[*at].is_none_or(|up_to| up_to < offset));
                            self.up_to[*at] = Some(offset);
                        }
                        Heard::Gap { .. } => panic!("a latest value has no gaps"),
                        Heard::Nothing | Heard::End(_) => {}
                    }
                }
            }
            _ => {}
        }
    }
}

fn position(reader: &Option<Reader>) -> Option<u64> {
    Some(reader.as_ref()?.position()?.offset())
}

/// Nothing is left out and nothing is told twice.
fn next_to(up_to: Option<u64>, heard: Heard) -> Option<u64> {
    match (heard, up_to) {
        (Heard::Nothing | Heard::End(_), up_to) => up_to,
        (Heard::Event(offset), Some(up_to)) => {
            assert_eq!(offset, up_to + 1);
            Some(offset)
        }
        (
            Heard::Gap {
                missed: Some(missed),
                resume,
                ..
            },
            Some(up_to),
        ) => {
            assert!(missed > 0, "a gap in which nothing is missing");
            assert_eq!(resume, up_to + missed);
            Some(resume)
        }
        (
            Heard::Gap {
                missed: None,
                resume,
                ..
            },
            _,
        ) => Some(resume),
        (heard, None) => panic!("{heard:?} before the gap that must come first"),
    }
}

pub(crate) struct RealQueue;

impl StateMachineTest for RealQueue {
    type SystemUnderTest = (Real, Account);
    type Reference = Queue;

    fn init_test(model: &Queue) -> Self::SystemUnderTest {
        let mut retention = Retention::new().events(model.keeps as usize);
        if let Some(age) = model.age {
            retention = retention.age(Duration::from_secs(age));
        }
        let store = QueueStore::builder()
            .retention(retention)
            .overflow(model.overflow)
            .build();
        (Real::new(Store::Queue(store)), Account::default())
    }

    fn apply(
        (mut real, mut account): Self::SystemUnderTest,
        model: &Queue,
        happens: Happens,
    ) -> Self::SystemUnderTest {
        let outcome = real.happens(&happens);
        account.of_everything(&real, &happens, &outcome);
        assert_eq!(outcome, model.outcome);
        real.check(&model.places, model.has_room());
        (real, account)
    }

    fn teardown((mut real, mut account): Self::SystemUnderTest, model: Queue) {
        for at in 0..real.readers.len() {
            if real.readers[at].is_none() {
                continue;
            }
            let drain = Happens::Drain(at);
            let outcome = real.happens(&drain);
            account.of_everything(&real, &drain, &outcome);
            let Outcome::Heard(heard) = outcome else {
                unreachable!("it was a read");
            };
            if heard.last() != Some(&Heard::End(End::Slow)) {
                assert_eq!(
                    account.up_to[at],
                    Some(model.next() - 1),
                    "all is accounted for"
                );
            }
        }
    }
}

struct RealLatest;

impl StateMachineTest for RealLatest {
    type SystemUnderTest = (Real, Account);
    type Reference = Latest;

    fn init_test(model: &Latest) -> Self::SystemUnderTest {
        let store = DataStore::builder()
            .only_changes(model.only_changes)
            .build();
        (Real::new(Store::Latest(store)), Account::default())
    }

    fn apply(
        (mut real, mut account): Self::SystemUnderTest,
        model: &Latest,
        happens: Happens,
    ) -> Self::SystemUnderTest {
        let outcome = real.happens(&happens);
        account.of_the_latest(&happens, &outcome);
        assert_eq!(outcome, model.outcome);
        real.check(&model.places, true);
        let Store::Latest(store) = &real.store else {
            unreachable!("it is the latest");
        };
        let value = model.submitted.last().map(u8::to_string);
        assert_eq!(store.get().map(|entry| entry.data().to_owned()), value);
        (real, account)
    }

    fn teardown((mut real, _): Self::SystemUnderTest, model: Latest) {
        for at in 0..real.readers.len() {
            if real.readers[at].is_some() {
                real.happens(&Happens::Drain(at));
                assert_eq!(
                    position(&real.readers[at]),
                    Some(model.version()),
                    "at the last"
                );
            }
        }
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_queue_is_its_model(sequential 1..200 => RealQueue);

    #[test]
    fn a_latest_value_is_its_model(sequential 1..200 => RealLatest);
}
