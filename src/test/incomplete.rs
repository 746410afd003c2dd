//! Why a client has not received what it was asked for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use thiserror::Error;

use crate::test::delivery::Delivery;

/// A [`Client`](crate::test::Client) has not received what it was asked for. What it has is
/// handed back, and it can be asked again: it goes on behind that.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{reason}; {} received, {state}, requests: {requests}{}", received.len(), told(last_break.as_ref()))]
#[non_exhaustive]
pub struct Incomplete {
    /// Why.
    pub reason: IncompleteReason,
    /// What was received by this call.
    pub received: Vec<Delivery>,
    /// The state of the client then.
    pub state: ReadyState,
    /// How many requests it had made in all.
    pub requests: u64,
    /// How its last connection broke, if one has.
    pub last_break: Option<Break>,
}

/// Why it has not.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum IncompleteReason {
    /// The limit has passed.
    #[error("not within {0:?}")]
    Limit(Duration),
    /// Far more has come than any test waits for: 64 MiB in one call, of which each piece of
    /// a body counts 64 bytes more than it has.
    #[error("not among all that came")]
    Flood,
    /// The client has failed for good: this status is not 200. That is what 204 is for.
    #[error("failed for good by the status {0}")]
    Status(StatusCode),
    /// The client has failed for good: the answer is not `text/event-stream`.
    #[error("failed for good by the content type {0:?}")]
    ContentType(Option<String>),
    /// The client has failed for good: a server would refuse this id as the value of a header.
    #[error("failed for good by the id {0:?}, which no header can hold")]
    LastEventId(String),
}

/// How a connection broke after which a client connects again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Break {
    /// The body has ended.
    Ended,
    /// The service or the body has failed, with this error.
    Failed(Arc<str>),
    /// The client was [cut off](crate::test::Client::cut).
    Cut,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended => f.write_str("the stream ended"),
            Self::Failed(error) => write!(f, "it failed: {error}"),
            Self::Cut => f.write_str("it was cut"),
        }
    }
}

/// The `readyState` of an `EventSource`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadyState {
    /// There is no stream, but one is wanted.
    Connecting,
    /// There is a stream.
    Open,
    /// The client has failed for good.
    Closed,
}

impl fmt::Display for ReadyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connecting => "connecting",
            Self::Open => "open",
            Self::Closed => "closed",
        })
    }
}

fn told(last_break: Option<&Break>) -> String {
    match last_break {
        Some(last_break) => format!(", the last break: {last_break}"),
        None => String::new(),
    }
}
