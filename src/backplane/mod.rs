//! A hub whose log is kept elsewhere: in a file, in Redis, in NATS.
//!
//! The log is the same and its tail is somewhere else. What is submitted goes to the engine;
//! what the engine has stored comes back, in the engine's order, to every process that reads
//! it, and from there to the streams:
//!
//! ```text
//!  submit ──► engine: store, number ──► each process: the hub, in memory ──► streams
//!     ▲          │
//!     └─ stored ─┘
//! ```
//!
//! One process has one connection for reading, however many clients and topics it has. A
//! stream reads the memory of its process and never the engine.
//!
//! # Positions
//!
//! The engine numbers the events, from 1 on and without a hole, under an epoch that is stored
//! with them and dies with them. So an id means the same in every process, and outlives all
//! of them. Each event also has a tag: an engine that fails over to a copy that was behind
//! goes on with numbers that it has given before, and the tag tells the two events apart.
//!
//! # What an engine loses
//!
//! Engines lose events: trimmed too early, flushed, deleted, restored from an old copy. The
//! process finds that out when it reads and whenever nothing comes: by an epoch that is
//! another one, a number that is missing or smaller than it should be, a tag that differs.
//! It then reads the log anew, and every stream goes on as a client that comes back with its
//! id does: with a told gap, or without one if it has lost nothing. Where nothing is left to
//! show that nothing was lost, it is told that something may have been.
//!
//! An id that is ahead of what a process has read may have been given by one that is a little
//! faster. It is judged as soon as the process knows that it has everything that was stored
//! before, within a second or so.
//!
//! # An engine of your own
//!
//! A [`Backplane`] stores, and opens [`Reading`]s. It decides nothing: all of what is said
//! above is done by the hub.

#[cfg(feature = "durable")]
pub(crate) mod durable;
mod follow;
mod link;
#[cfg(feature = "nats")]
pub(crate) mod nats;
mod outbox;
#[cfg(feature = "redis")]
pub(crate) mod redis;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What the traits here are written with, for engines of your own.
#[doc(no_inline)]
pub use async_trait::async_trait;
use thiserror::Error;

#[cfg(feature = "durable")]
pub use self::durable::{Durable, DurableBuilder, DurableError, Fsync};
pub(crate) use self::link::{Link, Settings};
#[cfg(feature = "nats")]
pub use self::nats::{InvalidNats, Nats};
pub(crate) use self::outbox::Answer;
#[cfg(feature = "redis")]
pub use self::redis::{InvalidRedis, Redis};

use crate::event::Event;
use crate::log::topics::{Policies, Policy};
use crate::position::Position;
use crate::topic::{Pattern, Topic};

/// What keeps the log of a [`Hub`](crate::Hub).
///
/// # Implementing
///
/// Both methods are called again and again as long as there is a hub, from one task each,
/// and are awaited to their end, unless that takes longer than 30 seconds (`append`) or 15,
/// or the runtime ends: then they are dropped, and `append` has not answered. They do not
/// retry. `open` is called again, with a growing pause; what is to be appended is not, by
/// anybody but who submitted it. They should know within seconds whether the engine answers.
/// Write `#[tornadose::backplane::async_trait]` before the `impl`. Methods that come later
/// will have a default.
#[async_trait]
pub trait Backplane: Send + Sync + 'static {
    /// Stores these events, in this order and behind everything that has been stored, and
    /// says of each where it stands, or why it does not. One answer for each event.
    ///
    /// An event is stored when it will survive what this engine promises to survive; only
    /// then is it answered with its position. That is [`tagged`](Position::tagged): its
    /// tag differs from that of any other event that ever had the same epoch and offset.
    async fn append(&self, events: &[Append]) -> Vec<Result<Position, AppendError>>;

    /// Opens a connection of its own for reading, and makes the log if there is none.
    /// `latest` says of which topics the engine has to keep the newest event, whatever else
    /// it lets go of.
    async fn open(&self, latest: &Latest) -> Result<Box<dyn Reading>, BackplaneError>;

    /// What it is called in log lines and labels, such as `redis`.
    fn name(&self) -> &'static str;
}

/// A connection to the log, which one task reads. One that has failed is dropped, and
/// another one is opened.
///
/// A connection sees one history. If the engine may have lost something that was read
/// through it, because it failed over or was restored, every connection that was opened
/// before must fail: what was read is compared with what is there when another one is
/// opened. A log that was deleted and made anew is another one, under another epoch, and is
/// seen as that.
///
/// What is yielded has offsets from 1 on.
#[async_trait]
pub trait Reading: Send {
    /// What there is, asked of the engine now.
    async fn window(&mut self) -> Result<Window, BackplaneError>;

    /// What is retained from this offset on, in order, at most so many records and some
    /// mebibytes: empty if there is nothing. Does not wait for more.
    async fn read(&mut self, from: u64, most: usize) -> Result<Vec<Record>, BackplaneError>;

    /// The same, but if there is nothing it waits until there is, for so long. If the log
    /// is another one by now, it may yield records of that.
    async fn wait(
        &mut self,
        from: u64,
        most: usize,
        patience: Duration,
    ) -> Result<Vec<Record>, BackplaneError>;

    /// The newest event of each [latest-value](Latest) topic that there is, in any order;
    /// also those that [`read`](Self::read) yields.
    async fn latest(&mut self) -> Result<Vec<Record>, BackplaneError>;
}

/// An event that is to be stored.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Append {
    /// What it is about.
    pub topic: Topic,
    /// The event. Its [key](Event::once_key), if it has one, is stored once.
    pub event: Event,
    /// Whether of its topic the newest event is kept, whatever else is let go of.
    pub is_latest: bool,
}

impl Append {
    /// An event of this topic, of which every event matters.
    #[must_use]
    pub fn new(topic: Topic, event: Event) -> Self {
        Self {
            topic,
            event,
            is_latest: false,
        }
    }

    /// The same, of a topic of which the newest event is kept.
    #[must_use]
    pub fn latest(mut self) -> Self {
        self.is_latest = true;
        self
    }
}

/// Which topics are latest-value topics.
#[derive(Clone)]
pub struct Latest(Arc<Policies>);

impl Latest {
    /// The topics that match one of these patterns: for trying an engine without a hub.
    #[must_use]
    pub fn of(patterns: impl IntoIterator<Item = Pattern>) -> Self {
        let rules = patterns.into_iter();
        Self(Arc::new(Policies {
            rules: rules.map(|pattern| (pattern, Policy::latest())).collect(),
            ..Policies::default()
        }))
    }

    pub(crate) fn new(policies: &Arc<Policies>) -> Self {
        Self(Arc::clone(policies))
    }

    /// Whether of this topic the newest event is kept, whatever else is let go of.
    #[must_use]
    pub fn contains(&self, topic: &Topic) -> bool {
        self.0.conflates(topic)
    }
}

impl fmt::Debug for Latest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latest").finish_non_exhaustive()
    }
}

/// What an engine retains of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Window {
    /// The identity of the log: another one after it has been deleted and made anew.
    pub epoch: u64,
    /// The offset of the oldest event that is retained, `next` if there is none.
    pub oldest: u64,
    /// The offset that the next event will get.
    pub next: u64,
}

impl Window {
    /// The events from `oldest` up to, and without, `next`.
    #[must_use]
    pub fn new(epoch: u64, oldest: u64, next: u64) -> Self {
        Self {
            epoch,
            oldest,
            next,
        }
    }
}

/// What stands at one place of a log.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// Its place, with its tag.
    pub position: Position,
    /// What it is.
    pub content: Content,
    /// How long ago it was stored, where the engine knows.
    pub age: Option<Duration>,
}

impl Record {
    /// A record whose age is not known.
    #[must_use]
    pub fn new(position: Position, content: Content) -> Self {
        Self {
            position,
            content,
            age: None,
        }
    }

    /// The same, stored so long ago.
    #[must_use]
    pub fn age(mut self, age: Duration) -> Self {
        self.age = Some(age);
        self
    }
}

/// What a record holds.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Content {
    /// An event and its topic.
    Event(Topic, Event),
    /// Something that is no event, by whoever wrote it. Who reads the topic is told a
    /// [gap](crate::GapReason::Corrupt); if not even the topic can be read, everybody is.
    Corrupt(Option<Topic>),
    /// Something that nobody misses.
    Nothing,
}

/// Why an event was not stored.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum AppendError {
    /// The engine cannot be reached. The event has not been stored.
    #[error("the engine cannot be reached")]
    Unavailable,

    /// The engine has not answered. Whether the event has been stored is not known.
    #[error("the engine has not answered")]
    Unknown,

    /// The engine has refused it, saying this, in which no secret stands. The event has not
    /// been stored.
    #[error("the engine refused the event: {0}")]
    Refused(Arc<str>),
}

/// Why a log cannot be read now: the engine is away, or does not do what it should.
///
/// Its text holds no secret: no password, no address.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{engine}: {what}")]
pub struct BackplaneError {
    engine: &'static str,
    what: Arc<str>,
}

impl BackplaneError {
    /// What has gone wrong with which engine, in words that hold no secret.
    #[must_use]
    pub fn new(engine: &'static str, what: impl Into<Arc<str>>) -> Self {
        Self {
            engine,
            what: what.into(),
        }
    }
}
