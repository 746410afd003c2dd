//! Every error of the crate, each saying what state it leaves behind.
//!
//! [`Display`](std::fmt::Display) prints an error's own level only; what caused
//! it is its [`source`](std::error::Error::source). The wording is not a promise.

use std::string::FromUtf8Error;

use thiserror::Error;

use crate::event::Event;

/// Why an event was not taken. It is handed back, the store is as it was before,
/// and no subscriber sees anything of it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubmitError {
    /// The store has been closed; it takes no event any more.
    #[error("the store is closed")]
    Closed(Event),

    /// A store, or a topic, that waits for its slowest subscriber
    /// ([`Overflow::Wait`](crate::Overflow::Wait)) holds twice what its retention
    /// asks for. Await an earlier [`Submitted`](crate::Submitted), then submit
    /// this event again.
    #[error("the store or topic waits for its slowest subscriber and is full")]
    Full(Event),

    /// The hub is kept [elsewhere](crate::backplane), and what keeps it cannot be reached.
    /// The event has not been stored.
    #[error("what keeps the log cannot be reached")]
    Unavailable(Event),

    /// The hub is kept [elsewhere](crate::backplane), and what keeps it has not answered.
    /// Whether the event has been stored is not known: who submits it again may store it
    /// twice, unless it has a [key](Event::once).
    #[error("what keeps the log has not answered")]
    Unknown(Event),

    /// The hub is kept [elsewhere](crate::backplane), and what keeps it has refused the
    /// event: its disk or its memory is full, or what it keeps is not a log of ours. The
    /// event has not been stored.
    #[error("what keeps the log refused the event: {reason}")]
    Refused {
        /// What was submitted.
        event: Event,
        /// What the engine said, without any secret.
        reason: std::sync::Arc<str>,
    },

    /// The event has no topic, and the store is a [`Hub`](crate::Hub).
    #[error("the event has no topic")]
    NoTopic(Event),

    /// The event is larger than the store takes.
    #[error("the event has {size} bytes, the store takes {limit}")]
    TooLarge {
        /// What was submitted.
        event: Event,
        /// Its size in bytes, data and name together.
        size: usize,
        /// The largest size that this store takes.
        limit: usize,
    },
}

impl SubmitError {
    /// The event that was not taken.
    pub fn event(&self) -> &Event {
        match self {
            Self::Closed(event)
            | Self::Full(event)
            | Self::NoTopic(event)
            | Self::Unavailable(event)
            | Self::Unknown(event)
            | Self::Refused { event, .. }
            | Self::TooLarge { event, .. } => event,
        }
    }

    /// The event that was not taken.
    pub fn into_event(self) -> Event {
        match self {
            Self::Closed(event)
            | Self::Full(event)
            | Self::NoTopic(event)
            | Self::Unavailable(event)
            | Self::Unknown(event)
            | Self::Refused { event, .. }
            | Self::TooLarge { event, .. } => event,
        }
    }
}

/// Why a text is no event name.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidName {
    /// It is empty; an event without a name is a `message`.
    #[error("an event name cannot be empty")]
    Empty,

    /// It holds CR, LF or NUL, which would end the line or the field.
    #[error("an event name cannot hold CR, LF or NUL")]
    Control,

    /// It is `error` or `open`, which fire the page's own handlers, or `gap`,
    /// which tells of a loss.
    #[error("`error`, `open` and `gap` are reserved event names")]
    Reserved,
}

/// Why none of several events was taken ([`Hub::submit_all`](crate::Hub::submit_all)).
/// The hub is as it was before, and no subscriber sees anything of any of them.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("none of the events was taken")]
pub struct SubmitAllError {
    #[source]
    error: Box<SubmitError>,
    index: usize,
    others: Vec<Event>,
}

impl SubmitAllError {
    /// `at`: where in `events`, of which there is one at least, the one stands that is
    /// refused.
    pub(crate) fn new(
        mut events: Vec<Event>,
        at: usize,
        refuse: impl FnOnce(Event) -> SubmitError,
    ) -> Self {
        let event = if at < events.len() {
            events.remove(at)
        } else {
            Event::default()
        };
        Self {
            error: Box::new(refuse(event)),
            index: at,
            others: events,
        }
    }

    /// The first error, with the event that it is about.
    #[must_use]
    pub fn error(&self) -> &SubmitError {
        &self.error
    }

    /// Where that event stood among them, from 0 on.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// All events, in their order.
    #[must_use]
    pub fn into_events(self) -> Vec<Event> {
        let mut events = self.others;
        events.insert(self.index.min(events.len()), self.error.into_event());
        events
    }
}

/// Why a hub that is to be kept elsewhere cannot be opened
/// ([`HubBuilder::open`](crate::HubBuilder::open)). Nothing is left behind.
#[cfg(feature = "backplane")]
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The engine cannot be reached, or what it keeps is not a log.
    #[error("the log cannot be read")]
    Engine(#[from] crate::backplane::BackplaneError),

    /// A policy says [`Overflow::Wait`](crate::Overflow::Wait): who submits cannot wait for
    /// subscribers of other processes.
    #[error("a hub that is kept elsewhere cannot wait for its subscribers")]
    Waits,

    /// [Presence](crate::HubBuilder::presence) counts the subscribers of one process.
    #[error("a hub that is kept elsewhere cannot tell presence")]
    Presence,
}

/// How a [`Server`](crate::Server) has ended that did not end well.
#[cfg(feature = "serve")]
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The listener does not listen any more. Connections that there were go on.
    #[error("nothing can be accepted any more")]
    Listener(#[source] std::io::Error),

    /// So many connections had not ended in the [grace](crate::Server::grace), and were reset.
    #[error("{0} connections had not ended in time and were cut off")]
    CutOff(u32),
}

/// Why a text is no topic, or no pattern of topics.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidTopic {
    /// A level is empty: the whole text is, or a `/` begins or ends it, or two stand
    /// together.
    #[error("a topic has no empty level")]
    EmptyLevel,

    /// It holds a control character.
    #[error("a topic cannot hold a control character")]
    Control,

    /// It is longer than [`Topic::MAX_LEN`](crate::Topic::MAX_LEN).
    #[error("a topic has at most 255 bytes")]
    TooLong,

    /// It has more levels than [`Topic::MAX_LEVELS`](crate::Topic::MAX_LEVELS).
    #[error("a topic has at most 16 levels")]
    TooDeep,

    /// `+` and `#` stand in no topic; in a pattern each is a level of its own, and `#`
    /// the last.
    #[error("`+` and `#` are levels of patterns, `#` the last one")]
    Wildcard,
}

/// A text is not the id of any event: it is not `<epoch>-<offset>`, with or without a tag.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not an event id")]
#[non_exhaustive]
pub struct InvalidPosition;

/// A text is not an origin as browsers write it, so no page could ever match it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "{origin:?} is no origin: a scheme, a host and perhaps a port, in lower case and without a path"
)]
pub struct InvalidOrigin {
    origin: Box<str>,
}

impl InvalidOrigin {
    pub(crate) fn new(origin: &str) -> Self {
        Self {
            origin: origin.into(),
        }
    }

    /// The text that is none.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }
}

/// Bytes that were to be an event's data are not UTF-8.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("event data must be UTF-8")]
pub struct InvalidUtf8(#[source] FromUtf8Error);

impl InvalidUtf8 {
    pub(crate) fn new(source: FromUtf8Error) -> Self {
        Self(source)
    }

    /// The bytes that were given.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}

/// A value cannot be written as JSON, or a text is not JSON. No event was made.
#[cfg(feature = "json")]
#[derive(Debug, Error)]
#[error("not JSON")]
pub struct JsonError(#[source] pub(crate) serde_json::Error);
