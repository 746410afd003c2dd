//! Server-Sent Events over HTTP.
//!
//! # What a client gets
//!
//! | request | answer |
//! |---|---|
//! | `GET` | `200` and the stream |
//! | `GET` with a `Last-Event-ID` | the same, after that event; a gap stands first if something is missing |
//! | `GET` that would begin with a gap, with [`OnGap::Stop`] | `204`: a browser does not come back |
//! | `HEAD` | the head of the `GET`, and no subscription |
//! | anything else | `405` with `allow: GET, HEAD`, and no subscription |
//!
//! # The head
//!
//! `content-type: text/event-stream`, without a charset: the format has only one.
//! `cache-control: no-store, no-transform`, so that nobody keeps or compresses it.
//! `x-accel-buffering: no`, which nginx and others heed. Never `connection`, which
//! HTTP/2 forbids. It leaves at once, together with a first comment, so that
//! `onopen` fires before there is any event.

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};

use super::event_body::{EventBody, OnGap};
use super::shutdown::Shutdown;
use crate::event::Event;
use crate::log::{LastEventId, Start};
use crate::store::Store;
use crate::subscription::Subscribe;
use crate::wire::sse;

/// Serves a store to browsers: the handler to mount in your web server.
///
/// Wherever a request comes from, [`respond`](Self::respond) answers it. It is also
/// a [`tower_service::Service`] and, with their features, what hyper, actix-web, warp
/// and rocket take.
///
/// ```
/// use http::Request;
/// use tornadose::{DataStore, EventSource};
///
/// let store = DataStore::with_initial("21.5")?;
/// let events = EventSource::new(store.clone());
///
/// let response = events.respond(&Request::get("/events").body(())?);
/// assert_eq!(response.status(), 200);
/// assert_eq!(store.subscribers(), 1);
///
/// drop(response);
/// assert_eq!(store.subscribers(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A cheap handle: clone it as often as you like. The settings are made before;
/// setting one on a clone leaves the others as they are.
#[derive(Clone)]
pub struct EventSource {
    store: Arc<dyn Store>,
    config: Arc<Config>,
}

#[derive(Clone, Debug)]
struct Config {
    start: Start,
    on_gap: OnGap,
    keep_alive: Option<Duration>,
    retry: Option<Duration>,
    farewell: (Duration, Duration),
    shutdown: Option<Shutdown>,
}

impl EventSource {
    /// A handler with the default settings.
    ///
    /// It holds the store, or a handle of it: a store is not closed by dropping the
    /// other handles while a handler can still subscribe to it.
    pub fn new(store: impl Store) -> Self {
        Self {
            store: Arc::new(store),
            config: Arc::new(Config {
                start: Start::Live,
                on_gap: OnGap::Tell,
                keep_alive: Some(Duration::from_secs(15)),
                retry: None,
                farewell: (Duration::from_secs(2), Duration::from_secs(6)),
                shutdown: None,
            }),
        }
    }

    /// Where a client begins that brings no id, or one that cannot be judged.
    /// Default: [`Start::Live`]. A [`DataStore`](crate::DataStore) always begins
    /// with its current value.
    #[must_use]
    pub fn start(self, start: Start) -> Self {
        self.with(|config| config.start = start)
    }

    /// What happens to a client that has missed events. Default: [`OnGap::Tell`].
    #[must_use]
    pub fn on_gap(self, on_gap: OnGap) -> Self {
        self.with(|config| config.on_gap = on_gap)
    }

    /// How long a stream may be quiet before it sends a comment; at least a
    /// millisecond, at most a day. Default: 15 s, which WHATWG HTML, 9.2.7 advises; idle time-outs
    /// of proxies begin at some 30 s.
    ///
    /// Cost: a timer for each stream and three bytes for each comment.
    #[must_use]
    pub fn keep_alive(self, interval: Duration) -> Self {
        let interval = interval.clamp(Duration::from_millis(1), Duration::from_secs(86_400));
        self.with(|config| config.keep_alive = Some(interval))
    }

    /// No keep-alive comments. A client that vanishes without closing its
    /// connection is then only noticed by the next event.
    #[must_use]
    pub fn without_keep_alive(self) -> Self {
        self.with(|config| config.keep_alive = None)
    }

    /// How long clients wait before they reconnect, told once at the beginning.
    /// Held between [`Event::MIN_RETRY`] and [`Event::MAX_RETRY`]. Default: not
    /// told; browsers wait about 3 s.
    #[must_use]
    pub fn retry(self, retry: Duration) -> Self {
        self.with(|config| config.retry = Some(clamp(retry)))
    }

    /// How long clients wait that we send away, because the store was closed or a
    /// [`Shutdown`] has begun: each is told another time between these two, so that
    /// they do not all come back at once. Held between [`Event::MIN_RETRY`] and
    /// [`Event::MAX_RETRY`]. Default: 2 s to 6 s.
    #[must_use]
    pub fn farewell(self, least: Duration, most: Duration) -> Self {
        let least = clamp(least);
        let most = clamp(most).max(least);
        self.with(|config| config.farewell = (least, most))
    }

    /// Ends the streams when this shutdown begins. Default: none.
    #[must_use]
    pub fn shutdown(self, shutdown: &Shutdown) -> Self {
        self.with(|config| config.shutdown = Some(shutdown.clone()))
    }

    /// Answers a request. Does not wait, needs no runtime, and registers nothing
    /// unless it answers with a stream.
    pub fn respond<B>(&self, request: &Request<B>) -> Response<EventBody> {
        match *request.method() {
            Method::GET => self.stream(last_event_id(request.headers())),
            Method::HEAD => head(EventBody::empty()),
            _ => {
                let mut response = status(StatusCode::METHOD_NOT_ALLOWED);
                let allow = HeaderValue::from_static("GET, HEAD");
                response.headers_mut().insert(ALLOW, allow);
                response
            }
        }
    }

    /// The answer to a client that has the event of this id, wherever the id came
    /// from: for servers whose requests are not [`http::Request`]s.
    pub fn stream(&self, last_event_id: Option<LastEventId>) -> Response<EventBody> {
        let config = &*self.config;
        let subscription = self.store.subscribe(Subscribe {
            start: config.start,
            last_event_id,
        });
        if config.on_gap == OnGap::Stop && subscription.first_gap().is_some() {
            return status(StatusCode::NO_CONTENT);
        }
        let preamble = sse::preamble(config.retry, subscription.bookmark());
        head(EventBody::open(
            subscription,
            preamble,
            config.keep_alive,
            config.shutdown.as_ref().map(Shutdown::notice),
            config.on_gap,
            between(config.farewell),
        ))
    }

    fn with(mut self, set: impl FnOnce(&mut Config)) -> Self {
        set(Arc::make_mut(&mut self.config));
        self
    }
}

impl<B> tower_service::Service<Request<B>> for EventSource {
    type Response = Response<EventBody>;
    type Error = Infallible;
    type Future = Ready<Result<Response<EventBody>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(self.respond(&request)))
    }
}

impl fmt::Debug for EventSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSource")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

fn head(body: EventBody) -> Response<EventBody> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-store, no-transform"),
    );
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

fn status(status: StatusCode) -> Response<EventBody> {
    let mut response = Response::new(EventBody::empty());
    *response.status_mut() = status;
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response
}

/// An empty id is none: a client sends its id only if it has one (WHATWG HTML,
/// 9.2.3), and some send the empty header. Two ids are none that can be judged.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Option<LastEventId> {
    let mut ids = headers.get_all(LAST_EVENT_ID).iter();
    let id = ids.next()?;
    if ids.next().is_some() {
        return Some(LastEventId::Malformed);
    }
    match id.as_bytes() {
        b"" => None,
        id => Some(LastEventId::parse(id)),
    }
}

fn clamp(retry: Duration) -> Duration {
    retry.clamp(Event::MIN_RETRY, Event::MAX_RETRY)
}

/// Some time between two, another one for each client.
fn between((least, most): (Duration, Duration)) -> Duration {
    let part = getrandom::u32().unwrap_or(u32::MAX / 2);
    least + (most - least).mul_f64(f64::from(part) / f64::from(u32::MAX))
}
