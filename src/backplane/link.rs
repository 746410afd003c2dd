//! What a hub and its engine have between them.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::ahead::Ahead;
use super::outbox::{Answer, Outbox, Refused};
use super::{Backplane, BackplaneError, Window, follow};
use crate::error::{SubmitAllError, SubmitError};
use crate::event::Event;
use crate::log::LastEventId;
use crate::log::topics::{Policies, TopicLog};
use crate::observe::{Happening, observe};
use crate::position::Position;
use crate::subscription::Subscribe;
use crate::topic::Topic;

/// How a hub is kept elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) policies: Policies,
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
    /// Who has read more than this process.
    ahead: Ahead,
    /// Whether the engine is there. Changed by the one task that reads.
    is_there: watch::Sender<bool>,
    /// The next offset that is to be read, for those who wait for one.
    read: watch::Sender<(u64, u64)>,
}

impl Link {
    /// Reads the log of this engine, and begins to follow it in tasks of this runtime.
    pub(crate) async fn open(
        settings: Settings,
        engine: Arc<dyn Backplane>,
    ) -> Result<Arc<Self>, BackplaneError> {
        let (reading, log) = follow::load(&settings, &*engine, None).await?;
        let place = log.place();
        let link = Arc::new(Self {
            outbox: Outbox::new(settings.queue),
            ahead: Ahead::default(),
            settings,
            engine: engine.name(),
            log: RwLock::new(log),
            is_there: watch::Sender::new(true),
            read: watch::Sender::new(place),
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
        let is_latest = self.settings.policies.conflates(&topic);
        Ok((topic, event, is_latest))
    }

    /// Whether the engine is there, so that what is read here is all that there is.
    pub(crate) fn is_there(&self) -> bool {
        *self.is_there.borrow()
    }

    /// Whether it can be known now what this subscription is to get: the engine is there, and
    /// its id is not of what this process may still have to read.
    pub(crate) fn takes(&self, subscribe: &Subscribe) -> bool {
        let is_ahead = match subscribe.last_event_id {
            Some(LastEventId::At(id)) if self.log().is_behind(id) => self.ahead.may_come(id),
            _ => false,
        };
        self.is_there() && !is_ahead
    }

    /// The engine was asked at this time what there is, and has said this.
    pub(super) fn asked(&self, at: Instant, window: Window) {
        self.ahead.asked(at, window);
    }

    /// Waits until this process has read an event that has been stored, or whatever stands
    /// there instead.
    pub(crate) async fn reached(&self, position: Position) {
        let mut read = self.read.subscribe();
        let has_come = |(epoch, next): &(u64, u64)| {
            *epoch != position.epoch().number() || *next > position.offset()
        };
        // It lives as long as `self`.
        let _ = read.wait_for(has_come).await;
    }

    pub(crate) fn close(&self) {
        self.outbox.close();
        self.log().close();
        self.is_there.send_modify(|_| {});
    }

    pub(super) fn is_closed(&self) -> bool {
        self.outbox.is_closed()
    }

    /// Resolves when the hub is closed.
    pub(super) async fn closed(&self) {
        let mut changes = self.is_there.subscribe();
        let _ = changes.wait_for(|_| self.is_closed()).await;
    }

    /// The engine is away, or there again.
    pub(super) fn set_there(&self, is_there: bool) {
        let was_there = self.is_there.send_replace(is_there);
        if was_there != is_there {
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
        self.read.send_replace(self.log().place());
    }

    /// From now on this is what is there.
    pub(super) fn replace(&self, log: Arc<TopicLog>) {
        let mut current = self.log.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *current, Arc::clone(&log));
        drop(current);
        if self.is_closed() {
            log.close();
        }
        old.supersede(log);
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

/// Stores what is submitted, one batch after the other: so the order in which it was
/// submitted here is the order in which it is stored, and what comes while one batch is
/// under way is the next.
async fn store(link: Arc<Link>, engine: Arc<dyn Backplane>) {
    while let Some(batch) = link.outbox.take().await {
        let answers = engine.append(&batch.appends).await;
        batch.answer(answers);
    }
}
