//! What happens, told to those who watch: the one door to `tracing` and `metrics`.
//!
//! A [`Happening`] is made of words that stand in this file, of numbers, and of the name
//! that the program itself gave a store. There is no room in it for what a client sent, a
//! key, an id or an event, so none of that can come into a log line or a label.
//!
//! Told is what happens to a stream or a store, never what happens for each event.

#[cfg(feature = "metrics")]
mod figures;

#[cfg(feature = "tracing")]
mod lines;
#[cfg(not(all(feature = "metrics", feature = "tracing")))]
mod silent;
#[cfg(any(feature = "metrics", feature = "tracing"))]
mod words;

#[cfg(not(feature = "metrics"))]
use self::silent as figures;
#[cfg(not(feature = "tracing"))]
use self::silent as lines;
use crate::gap::GapReason;

/// Something of which there is one for each stream or store, not for each event.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "tracing"), allow(dead_code, reason = "nobody watches"))]
pub(crate) enum Happening {
    Opened(Protocol),
    Refused(Protocol, Refused),
    Ended(Protocol, Ended),
    Gap {
        store: Option<&'static str>,
        reason: GapReason,
        missed: Option<u64>,
    },
    Slow {
        store: Option<&'static str>,
    },
    StoreClosed {
        store: Option<&'static str>,
    },
    ShutdownBegun,
    /// What keeps a log does not answer.
    #[cfg(feature = "backplane")]
    EngineAway {
        store: Option<&'static str>,
        engine: &'static str,
    },
    #[cfg(feature = "backplane")]
    EngineBack {
        store: Option<&'static str>,
        engine: &'static str,
    },
    /// What keeps a log has lost something of it, and it was read anew.
    #[cfg(feature = "backplane")]
    LogReplaced {
        store: Option<&'static str>,
        engine: &'static str,
    },
    /// What stands in a log in place of an event cannot be read.
    #[cfg(feature = "backplane")]
    Corrupt {
        store: Option<&'static str>,
        engine: &'static str,
    },
}

/// Tells it to who watches. Called with no lock held: what watches is foreign code.
pub(crate) fn observe(happening: &Happening) {
    figures::observe(happening);
    lines::observe(happening);
}

/// How a stream is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    EventStream,
    #[cfg(feature = "websocket")]
    WebSocket,
}

/// Why there was no stream.
#[cfg_attr(not(feature = "tracing"), allow(dead_code, reason = "nobody watches"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// By the hook, with this status.
    Hook(u16),
    /// By the hook, for now.
    Later,
    /// There are too many already.
    Limit,
    #[cfg(feature = "websocket")]
    Handshake(u16),
    #[cfg(feature = "websocket")]
    Origin,
}

/// Why a stream has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The client left, or the server dropped it.
    Left,
    Closed,
    Slow,
    /// What keeps the log has been away for too long.
    Unavailable,
    Revoked,
    /// It was permitted for no longer, or has grown too old.
    Expired,
    Shutdown,
    /// The client has missed events and is not to go on.
    Gap,
    /// The client broke the protocol or a limit.
    #[cfg(feature = "websocket")]
    Violation,
    /// The client does not answer.
    #[cfg(feature = "websocket")]
    Silent,
}

/// An open stream: tells of its end when it is dropped.
#[derive(Debug)]
pub(crate) struct Watched {
    protocol: Protocol,
    ended: Ended,
}

impl Watched {
    pub(crate) fn new(protocol: Protocol) -> Self {
        observe(&Happening::Opened(protocol));
        Self {
            protocol,
            ended: Ended::Left,
        }
    }

    /// Why it is about to end; what is said first counts.
    pub(crate) fn ends(&mut self, why: Ended) {
        if self.ended == Ended::Left {
            self.ended = why;
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        observe(&Happening::Ended(self.protocol, self.ended));
    }
}
