//! Who may have which stream, and until when.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::head::Head;
use crate::log::Start;
use crate::log::topics::Control;
use crate::observe::Refused;
use crate::store::Store;
use crate::subscription::Subscribe;
use crate::topic::Topics;

/// What a permission hook grants, see [`EventSource::permit`](crate::EventSource::permit).
#[derive(Clone, Default)]
#[must_use = "a permit does nothing until a hook returns it"]
pub struct Permit {
    pub(crate) store: Option<Arc<dyn Store>>,
    pub(crate) start: Option<Start>,
    pub(crate) key: Option<Arc<str>>,
    pub(crate) expires_in: Option<Duration>,
    /// But for where it begins.
    pub(crate) subscribe: Subscribe,
}

impl Permit {
    /// The stream that the [`EventSource`](crate::EventSource) was made for, without
    /// an end, to nobody in particular.
    pub fn new() -> Self {
        Self::default()
    }

    /// The stream of this store instead: the path or the user decides what is
    /// subscribed.
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// The stream of these topics, if the store is a [`Hub`](crate::Hub). Default: none,
    /// so what no hook grants nobody gets: it is answered with a stream, on which nothing
    /// comes until a [`Control`] adds a topic. Who asks for no topic and is not to
    /// wait for one is refused by the hook.
    pub fn topics(mut self, topics: impl Into<Topics>) -> Self {
        self.subscribe = self.subscribe.topics(topics);
        self
    }

    /// Only the newest event of each topic that there is when the client is ready for more,
    /// see [`Subscribe::conflate`](crate::Subscribe::conflate).
    pub fn conflate(mut self) -> Self {
        self.subscribe = self.subscribe.conflate();
        self
    }

    /// At least this time between two lots of events, see
    /// [`Subscribe::min_interval`](crate::Subscribe::min_interval).
    pub fn min_interval(mut self, interval: Duration) -> Self {
        self.subscribe = self.subscribe.min_interval(interval);
        self
    }

    /// Who this is to others, see [`Subscribe::name`](crate::Subscribe::name). The
    /// [key](Self::key) is told to nobody.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.subscribe = self.subscribe.name(name);
        self
    }

    /// Lets the topics be changed while the stream lives.
    pub fn control(mut self, control: &Control) -> Self {
        self.subscribe = self.subscribe.control(control);
        self
    }

    /// Where a client begins that brings no id. Default: what the
    /// [`EventSource`](crate::EventSource) says.
    pub fn start(mut self, start: Start) -> Self {
        self.start = Some(start);
        self
    }

    /// To whom it is granted, for example a user or a session: what
    /// [`revoke`](crate::EventSource::revoke) and the limit for each key go by.
    pub fn key(mut self, key: impl Into<Arc<str>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// For how long. The stream ends then; a client that comes back asks the hook
    /// again, and goes on where it was if it is still permitted.
    pub fn expires_in(mut self, time: Duration) -> Self {
        self.expires_in = Some(time);
        self
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the key: it may be a session's secret.
        f.debug_struct("Permit")
            .field("start", &self.start)
            .field("has_key", &self.key.is_some())
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}

/// What a permission hook answers instead of a stream. Nothing is registered.
///
/// A browser never comes back after any of these but [`LATER`](Self::LATER): its
/// `EventSource` is closed for good by every status but `200`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub(crate) Answer);

/// What stands in for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Status(StatusCode),
    Later,
}

impl Refusal {
    /// `401`: it is not known who asks.
    pub const UNAUTHORIZED: Self = Self(Answer::Status(StatusCode::UNAUTHORIZED));
    /// `403`: who asks may not have this.
    pub const FORBIDDEN: Self = Self(Answer::Status(StatusCode::FORBIDDEN));
    /// `404`: there is no such stream.
    pub const NOT_FOUND: Self = Self(Answer::Status(StatusCode::NOT_FOUND));
    /// `204`: there is nothing more to come.
    pub const DONE: Self = Self(Answer::Status(StatusCode::NO_CONTENT));
    /// Not now: `200`, a jittered `retry:` and the end, so that the client asks again. A
    /// WebSocket is opened and closed with `1013`.
    pub const LATER: Self = Self(Answer::Later);

    /// A status of `4xx` or `5xx`, or `204`. Any other would claim a stream that there
    /// is not, and becomes `403`.
    #[must_use]
    pub fn status(status: StatusCode) -> Self {
        if status.is_client_error() || status.is_server_error() || status == StatusCode::NO_CONTENT
        {
            Self(Answer::Status(status))
        } else {
            Self::FORBIDDEN
        }
    }

    pub(crate) fn why(&self) -> Refused {
        match self.0 {
            Answer::Status(status) => Refused::Hook(status.as_u16()),
            Answer::Later => Refused::Later,
        }
    }
}

/// A hook that answers at once.
pub(crate) type PermitNow = Arc<dyn Fn(&Head<'_>) -> Result<Permit, Refusal> + Send + Sync>;

/// A hook that has to ask somebody.
pub(crate) type PermitAsync = Arc<dyn Fn(&Head<'_>) -> Permitting + Send + Sync>;

pub(crate) type Permitting = Pin<Box<dyn Future<Output = Result<Permit, Refusal>> + Send>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_never_claims_a_stream() {
        for code in [100, 200, 201, 205, 206, 299, 301, 304, 307] {
            let status = StatusCode::from_u16(code).expect("a status");
            assert_eq!(Refusal::status(status), Refusal::FORBIDDEN, "{code}");
        }
        for code in [204, 400, 401, 404, 410, 429, 500, 503] {
            let status = StatusCode::from_u16(code).expect("a status");
            assert_eq!(Refusal::status(status), Refusal(Answer::Status(status)));
        }
    }

    #[test]
    fn a_key_is_never_printed() {
        let permit = Permit::new().key("secret-7");
        assert!(!format!("{permit:?}").contains("secret-7"));
    }
}
