//! What a hub and its engine have between them.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::outbox::{Answer, Outbox, Refused};
use super::{Backplane, BackplaneError, follow};
use crate::error::{SubmitAllError, SubmitError};
use crate::event::Event;
use crate::log::topics::{Policies, TopicLog};
use crate::observe::{Happening, observe};
use crate::position::Position;
use crate::topic::Topic;

/// How a hub is kept elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) policies: Arc<Policies>,
    pub(crate) max_event_bytes: usize,
    pub(crate) name: Option<&'static str>,
    /// How long streams stay while the engine is away.
    pub(crate) patience: Duration,
    /// How many of the newest events are read, and their tags kept.
    pub(crate) window: usize,
    /// How many events wait to be stored.
    pub(crate) queue: usize,
}

/// What this process has of a log that is kept elsewhere, and the way there.
pub(crate) struct Link {
    pub(super) settings: Settings,
    engine: &'static str,
    /// What has been read of it: another one after the engine has lost something.
    log: RwLock<Arc<TopicLog>>,
    outbox: Outbox,
    /// Whether the engine is there. Changed by the one task that reads.
    is_there: watch::Sender<bool>,
    /// How far it has been read, for those who wait for that.
    read: watch::Sender<Read>,
    /// Nothing more comes.
    is_finished: watch::Sender<bool>,
}

#[derive(Clone, Copy, Debug)]
struct Read {
    epoch: u64,
    next: u64,
    /// How many logs have taken the place of another one.
    logs: u64,
}

impl Link {
    /// Reads the log of this engine, and begins to follow it in tasks of this runtime.
    pub(crate) async fn open(
        settings: Settings,
        engine: Arc<dyn Backplane>,
    ) -> Result<Arc<Self>, BackplaneError> {
        let (reading, log) = follow::load(&settings, &*engine, None).await?;
        let (epoch, next) = log.place();
        let link = Arc::new(Self {
            outbox: Outbox::new(settings.queue),
            settings,
            engine: engine.name(),
            log: RwLock::new(log),
            is_there: watch::Sender::new(true),
            read: watch::Sender::new(Read {
                epoch,
                next,
                logs: 0,
            }),
            is_finished: watch::Sender::new(false),
        });
        tokio::spawn(follow::follow(
            Arc::clone(&link),
            Arc::clone(&engine),
            reading,
        ));
        tokio::spawn(store(Arc::clone(&link), engine));
        Ok(link)
    }

    pub(crate) fn log(&self) -> Arc<TopicLog> {
        Arc::clone(&self.log.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn submit(&self, event: Event) -> Result<Answer, SubmitError> {
        let event = self.admit(event).map_err(|refused| *refused)?;
        match self.outbox.put(vec![event]) {
            Ok(mut answers) => answers
                .pop()
                .ok_or_else(|| SubmitError::Closed(Event::default())),
            Err((refused, mut events)) => Err(refused.of(events.pop().unwrap_or_default())),
        }
    }

    pub(crate) fn submit_all(&self, events: Vec<Event>) -> Result<Vec<Answer>, SubmitAllError> {
        let mut admitted = Vec::with_capacity(events.len());
        let mut rest = events.into_iter();
        while let Some(event) = rest.next() {
            match self.admit(event) {
                Ok(event) => admitted.push(event),
                Err(refused) => {
                    let at = admitted.len();
                    let mut events: Vec<_> =
                        admitted.into_iter().map(|(_, event, _)| event).collect();
                    let mut refused = Some(refused);
                    events.push(Event::default());
                    events.extend(rest);
                    return Err(SubmitAllError::new(events, at, |event| {
                        refused
                            .take()
                            .map_or(SubmitError::Closed(event), |refused| *refused)
                    }));
                }
            }
        }
        let put = self.outbox.put(admitted);
        put.map_err(|(refused, events)| SubmitAllError::new(events, 0, |event| refused.of(event)))
    }

    /// Whether the engine takes such an event, as far as that is known here.
    fn admit(&self, event: Event) -> Result<(Topic, Event, bool), Box<SubmitError>> {
        let Some(topic) = event.topic_name().cloned() else {
            return Err(Box::new(SubmitError::NoTopic(event)));
        };
        let (size, limit) = (event.size(), self.settings.max_event_bytes);
        if size > limit {
            return Err(Box::new(SubmitError::TooLarge { event, size, limit }));
        }
        let policies = &self.settings.policies;
        if let Some((size, limit)) = policies.too_large(&topic, &event) {
            return Err(Box::new(SubmitError::TooLarge { event, size, limit }));
        }
        let is_latest = policies.conflates(&topic);
        Ok((topic, event, is_latest))
    }

    /// Whether the engine is there, and everything that was stored when it came back.
    pub(crate) fn is_there(&self) -> bool {
        *self.is_there.borrow()
    }

    /// Waits until this process has read an event that has been stored, or whatever stands
    /// there instead; or until it will not, which is `false`.
    pub(crate) async fn reached(&self, position: Position) -> bool {
        let mut read = self.read.subscribe();
        let logs = read.borrow().logs;
        let is_there =
            |read: &Read| read.epoch == position.epoch().number() && read.next > position.offset();
        // Where another log takes the place of this one, it may not be there any more.
        let has_come = |read: &Read| is_there(read) || read.logs != logs;
        tokio::select! {
            biased;
            // It lives as long as `self`.
            read = read.wait_for(has_come) => read.is_ok_and(|read| is_there(&read)),
            () = self.finished() => false,
        }
    }

    /// Takes no more. What has been submitted is stored, and who reads gets it.
    pub(crate) fn close(&self) {
        self.outbox.close();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.outbox.is_closed()
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        self.outbox.close();
        self.log().close();
        self.is_finished.send_replace(true);
    }

    /// Resolves when nothing more comes.
    pub(super) async fn finished(&self) {
        let mut finished = self.is_finished.subscribe();
        let _ = finished.wait_for(|is_finished| *is_finished).await;
    }

    /// The engine is away, or there again.
    pub(super) fn set_there(&self, is_there: bool) {
        let was_there = self.is_there.send_replace(is_there);
        if was_there != is_there && !*self.is_finished.borrow() {
            let (store, engine) = (self.settings.name, self.engine);
            observe(&if is_there {
                Happening::EngineBack { store, engine }
            } else {
                Happening::EngineAway { store, engine }
            });
        }
    }

    /// Something of it has been read.
    pub(super) fn has_read(&self) {
        let (epoch, next) = self.log().place();
        self.read
            .send_modify(|read| (read.epoch, read.next) = (epoch, next));
    }

    /// From now on this is what is there.
    pub(super) fn replace(&self, log: Arc<TopicLog>) {
        let mut current = self.log.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *current, Arc::clone(&log));
        drop(current);
        if *self.is_finished.borrow() {
            log.close();
        }
        old.supersede(log);
        self.read.send_modify(|read| read.logs += 1);
        self.has_read();
        observe(&Happening::LogReplaced {
            store: self.settings.name,
            engine: self.engine,
        });
    }

    pub(super) fn corrupt(&self, records: usize) {
        for _ in 0..records {
            observe(&Happening::Corrupt {
                store: self.settings.name,
                engine: self.engine,
            });
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("engine", &self.engine)
            .field("is_there", &self.is_there())
            .finish_non_exhaustive()
    }
}

impl Refused {
    fn of(self, event: Event) -> SubmitError {
        match self {
            Self::Closed => SubmitError::Closed(event),
            Self::Full => SubmitError::Full(event),
        }
    }
}

/// How long an engine may take to store a batch.
const STORED: Duration = Duration::from_secs(30);

/// How long is left, when the hub is closed, to store what was submitted before, and then for
/// who reads to get it.
const LAST: Duration = Duration::from_secs(5);

/// Stores what is submitted, one batch after the other: so the order in which it was
/// submitted here is the order in which it is stored, and what comes while one batch is
/// under way is the next.
async fn store(link: Arc<Link>, engine: Arc<dyn Backplane>) {
    let _gone = Gone(&link);
    let mut last = None;
    let mut end = None;
    while let Some(batch) = link.outbox.take().await {
        tokio::task::coop::consume_budget().await;
        let mut patience = STORED;
        if link.outbox.is_closed() {
            // What is left then is refused.
            let end = *end.get_or_insert_with(|| Instant::now() + LAST);
            patience = patience.min(end.saturating_duration_since(Instant::now()));
            if patience.is_zero() {
                batch.refuse();
                break;
            }
        }
        // Without an answer nothing is known of any of them.
        let answers = timeout(patience, engine.append(&batch.appends)).await;
        let answers = answers.unwrap_or_default();
        last = answers
            .iter()
            .filter_map(|of| of.as_ref().ok())
            .copied()
            .next_back()
            .or(last);
        batch.answer(answers);
    }
    if let Some(last) = last {
        let _ = timeout(LAST, link.reached(last)).await;
    }
}

/// Where nothing is stored any more, for whatever reason, nobody waits for it.
struct Gone<'a>(&'a Link);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.outbox.refuse();
        self.0.end();
    }
}
