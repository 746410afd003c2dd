//! What is said of a happening, in a log line as in a label.

use super::{Ended, Protocol, Refused};

impl Protocol {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::EventStream => "sse",
            #[cfg(feature = "websocket")]
            Self::WebSocket => "websocket",
        }
    }
}

impl Refused {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Hook(_) => "hook",
            Self::Later => "later",
            Self::Limit => "limit",
            #[cfg(feature = "websocket")]
            Self::Handshake(_) => "handshake",
            #[cfg(feature = "websocket")]
            Self::Origin => "origin",
        }
    }

    /// With which status, where that is not always the same.
    #[cfg(feature = "tracing")]
    pub(super) fn status(self) -> Option<u16> {
        match self {
            Self::Hook(status) => Some(status),
            #[cfg(feature = "websocket")]
            Self::Handshake(status) => Some(status),
            _ => None,
        }
    }
}

impl Ended {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Closed => "closed",
            Self::Slow => "slow",
            Self::Unavailable => "unavailable",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Shutdown => "shutdown",
            Self::Gap => "gap",
            #[cfg(feature = "websocket")]
            Self::Violation => "violation",
            #[cfg(feature = "websocket")]
            Self::Silent => "silent",
        }
    }
}
