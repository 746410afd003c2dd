//! An engine in memory that can be made to lose things.
#![allow(dead_code, reason = "every target takes only the words that it needs")]

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::timeout;
use tornadose::backplane::{
    Append, AppendError, Backplane, BackplaneError, Content, Latest, Reading, Record, Window,
};
use tornadose::{Event, Position, Topic};

/// Clones are one engine.
#[derive(Clone)]
pub(crate) struct Engine {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

struct State {
    epoch: u64,
    next: u64,
    /// What is retained.
    log: BTreeMap<u64, Record>,
    /// More than this is let go of.
    most: usize,
    latest: BTreeMap<String, Record>,
    once: HashMap<String, Position>,
    /// Everything that was ever stored, whatever became of it.
    stored: Vec<(Position, Topic, String)>,
    tags: u32,
    /// Does not answer.
    away: bool,
    /// Stores, and does not say so.
    mute: bool,
    /// Never answers.
    hangs: bool,
    /// Says no.
    full: bool,
    /// Connections that were opened before this one are cut.
    cut: u64,
    opened: u64,
    stalled: u64,
    appends: usize,
}

impl Engine {
    pub(crate) fn new() -> Self {
        Self::of(usize::MAX)
    }

    /// One that retains so many events.
    pub(crate) fn of(most: usize) -> Self {
        let state = State {
            epoch: 7,
            next: 1,
            log: BTreeMap::new(),
            most,
            latest: BTreeMap::new(),
            once: HashMap::new(),
            stored: Vec::new(),
            tags: 100,
            away: false,
            mute: false,
            hangs: false,
            full: false,
            cut: 0,
            opened: 0,
            stalled: 0,
            appends: 0,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            changed: Arc::new(Notify::new()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics here")
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_waiters();
    }

    /// It answers nobody, and every connection is lost.
    pub(crate) fn leave(&self) {
        self.change(|state| {
            state.away = true;
            state.cut = state.opened;
        });
    }

    pub(crate) fn come_back(&self) {
        self.change(|state| state.away = false);
    }

    /// Every connection is lost.
    pub(crate) fn cut(&self) {
        self.change(|state| state.cut = state.opened);
    }

    /// It stores, and its answers are lost.
    pub(crate) fn mute(&self, mute: bool) {
        self.change(|state| state.mute = mute);
    }

    /// It never answers, and no connection is lost.
    pub(crate) fn hang(&self, hangs: bool) {
        self.change(|state| state.hangs = hangs);
    }

    async fn hanging(&self) {
        while self.state().hangs {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// It refuses to store.
    pub(crate) fn fill(&self, full: bool) {
        self.change(|state| state.full = full);
    }

    /// The log is deleted, and there is another one.
    pub(crate) fn delete(&self) {
        self.change(|state| {
            state.epoch += 1;
            state.next = 1;
            state.log.clear();
            state.latest.clear();
            state.once.clear();
        });
    }

    /// The newest events are lost, and their offsets will be given again.
    pub(crate) fn forget(&self, events: u64) {
        self.change(|state| {
            state.next = state.next.saturating_sub(events).max(1);
            let next = state.next;
            state.log.split_off(&next);
            state
                .latest
                .retain(|_, record| record.position.offset() < next);
        });
    }

    /// The same, and these topics had these values before, by their offsets.
    pub(crate) fn take_back(&self, events: u64, values: &[(&str, u64)]) {
        self.change(|state| {
            for (topic, offset) in values {
                let before = state.log.get(offset).expect("an event").clone();
                state.latest.insert((*topic).to_owned(), before);
            }
        });
        self.forget(events);
    }

    /// The connection of this number is told nothing for as long as that.
    pub(crate) fn stall(&self, connection: u64) {
        self.change(|state| state.stalled = connection);
    }

    /// Only so many of the newest are kept.
    pub(crate) fn trim(&self, events: u64) {
        self.change(|state| {
            let oldest = state.next.saturating_sub(events);
            state.log = state.log.split_off(&oldest);
        });
    }

    /// What is retained was stored so long ago.
    pub(crate) fn grow_old(&self, age: Duration) {
        self.change(|state| {
            for record in state.log.values_mut() {
                record.age = Some(age);
            }
        });
    }

    /// Takes one event out of the middle.
    pub(crate) fn remove(&self, offset: u64) {
        self.change(|state| {
            state.log.remove(&offset);
        });
    }

    /// Somebody else writes what is no event.
    pub(crate) fn scrawl(&self, topic: Option<&str>) {
        let topic = topic.map(|topic| topic.parse().expect("a topic"));
        self.change(|state| {
            let position = state.place();
            let record = Record::new(position, Content::Corrupt(topic));
            state.log.insert(position.offset(), record);
            state.evict();
        });
    }

    /// How often something was to be stored.
    pub(crate) fn appends(&self) -> usize {
        self.state().appends
    }

    pub(crate) fn opened(&self) -> u64 {
        self.state().opened
    }

    /// Everything that was ever stored, and where.
    pub(crate) fn stored(&self) -> Vec<(Position, Topic, String)> {
        self.state().stored.clone()
    }

    /// The identity of the log, as it stands in ids.
    pub(crate) fn epoch(&self) -> String {
        // The first 11 characters are the epoch, which may have dashes of its own.
        Position::tagged(self.state().epoch, 1, 0).to_string()[..11].to_owned()
    }

    /// What the log is now, of all that was ever stored: on the way that led here.
    pub(crate) fn truth(&self) -> Vec<(Position, Topic, String)> {
        let state = self.state();
        let mut truth: BTreeMap<u64, _> = BTreeMap::new();
        for (position, topic, data) in &state.stored {
            // The first 11 characters are the epoch, which may have dashes of its own.
            let id = position.to_string();
            let own = Position::tagged(state.epoch, 1, 0).to_string();
            if id[..11] == own[..11] {
                truth.split_off(&position.offset());
                truth.insert(position.offset(), (*position, topic.clone(), data.clone()));
            }
        }
        truth.split_off(&state.next);
        truth.into_values().collect()
    }
}

impl State {
    fn place(&mut self) -> Position {
        self.tags += 1;
        let position = Position::tagged(self.epoch, self.next, self.tags);
        self.next += 1;
        position
    }

    fn store(&mut self, append: &Append) -> Position {
        if let Some(key) = append.event.once_key()
            && let Some(position) = self.once.get(key)
        {
            return *position;
        }
        let position = self.place();
        let content = Content::Event(append.topic.clone(), append.event.clone());
        let record = Record::new(position, content);
        self.log.insert(position.offset(), record.clone());
        if append.is_latest {
            let topic = append.topic.as_str().to_owned();
            self.latest.insert(topic, record);
        }
        if let Some(key) = append.event.once_key() {
            self.once.insert(key.to_owned(), position);
        }
        let data = append.event.data().to_owned();
        self.stored.push((position, append.topic.clone(), data));
        self.evict();
        position
    }

    fn evict(&mut self) {
        while self.log.len() > self.most {
            self.log.pop_first();
        }
    }
}

fn away() -> BackplaneError {
    BackplaneError::new("memory", "away")
}

#[async_trait]
impl Backplane for Engine {
    async fn append(&self, events: &[Append]) -> Vec<Result<Position, AppendError>> {
        // Not at once, as nobody does.
        tokio::task::yield_now().await;
        self.hanging().await;
        let mut answers = Vec::new();
        self.change(|state| {
            state.appends += 1;
            answers.extend(events.iter().map(|append| {
                if state.away {
                    return Err(AppendError::Unavailable);
                }
                if state.full {
                    return Err(AppendError::Refused("full".into()));
                }
                let position = state.store(append);
                if state.mute {
                    return Err(AppendError::Unknown);
                }
                Ok(position)
            }));
        });
        answers
    }

    async fn open(&self, _: &Latest) -> Result<Box<dyn Reading>, BackplaneError> {
        let mut state = self.state();
        if state.away {
            return Err(away());
        }
        state.opened += 1;
        Ok(Box::new(Connection {
            engine: self.clone(),
            number: state.opened,
        }))
    }

    fn name(&self) -> &'static str {
        "memory"
    }
}

struct Connection {
    engine: Engine,
    number: u64,
}

impl Connection {
    fn state(&self) -> Result<MutexGuard<'_, State>, BackplaneError> {
        let state = self.engine.state();
        if state.away || self.number <= state.cut {
            return Err(away());
        }
        Ok(state)
    }
}

#[async_trait]
impl Reading for Connection {
    async fn window(&mut self) -> Result<Window, BackplaneError> {
        self.engine.hanging().await;
        while self.state()?.stalled == self.number {
            self.engine.changed.notified().await;
        }
        let state = self.state()?;
        let oldest = state.log.keys().next().copied().unwrap_or(state.next);
        Ok(Window::new(state.epoch, oldest, state.next))
    }

    async fn read(&mut self, from: u64, most: usize) -> Result<Vec<Record>, BackplaneError> {
        let state = self.state()?;
        Ok(state
            .log
            .range(from..)
            .take(most)
            .map(|(_, record)| record.clone())
            .collect())
    }

    async fn wait(
        &mut self,
        from: u64,
        most: usize,
        patience: Duration,
    ) -> Result<Vec<Record>, BackplaneError> {
        self.engine.hanging().await;
        let engine = self.engine.clone();
        let wait = async {
            loop {
                let changed = engine.changed.notified();
                if engine.state().stalled == self.number {
                    changed.await;
                    continue;
                }
                let records = self.read(from, most).await?;
                if !records.is_empty() {
                    return Ok(records);
                }
                changed.await;
            }
        };
        timeout(patience, wait).await.unwrap_or(Ok(Vec::new()))
    }

    async fn latest(&mut self) -> Result<Vec<Record>, BackplaneError> {
        Ok(self.state()?.latest.values().cloned().collect())
    }
}

/// An event of this topic.
pub(crate) fn event(topic: &str, data: impl Into<Event>) -> Event {
    data.into().topic(topic.parse().expect("a topic"))
}
