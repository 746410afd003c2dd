//! Server-Sent Events over HTTP.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};

use super::access::{Access, Awaited, Hook, Now, Overload, Rules, When, between, clamped};
use super::cors::Cors;
use super::event_body::{EventBody, Grant, OnGap, Open, State};
use super::head::Head;
use super::permit::{Answer, Permit, PermitAsync, Refusal};
use super::shutdown::Shutdown;
use super::timer::Timer;
use crate::log::{LastEventId, Start};
use crate::observe::{Ended, Happening, Protocol, observe};
use crate::store::Store;
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
/// The type parameter says whether a permission hook has to wait for somebody:
/// [`Now`], or [`Awaited`] after [`permit_async`](EventSource::permit_async).
///
/// A cheap handle: clone it as often as you like. The settings are made before;
/// setting one on a clone leaves the others as they are.
///
/// # What a client gets
///
/// | request | answer |
/// |---|---|
/// | `GET` | `200` and the stream |
/// | `GET` with a `Last-Event-ID` | the same, after that event; a gap stands first if something is missing |
/// | `GET` that would begin with a gap, with [`OnGap::Stop`] | `204`: a browser does not come back |
/// | `GET` that the [permission hook](EventSource::permit) refuses | its [`Refusal`] |
/// | `GET` beyond a [limit](EventSource::max_streams) | what [`Overload`] says |
/// | `HEAD` | the head of a `GET` that is answered with a stream, and no subscription |
/// | `OPTIONS` of a browser that asks first, with [`Cors`] | `204` and what is allowed |
/// | anything else | `405` with `allow`, and no subscription |
///
/// Whatever is not answered with a stream registers nothing.
///
/// # The head
///
/// `content-type: text/event-stream`, without a charset: the format has only one.
/// `cache-control: no-store, no-transform`, so that nobody keeps or compresses it.
/// `x-accel-buffering: no`, which nginx and others heed. Never `connection`, which
/// HTTP/2 forbids. It leaves at once, together with a first comment, so that
/// `onopen` fires before there is any event.
pub struct EventSource<W: When = Now> {
    access: Access,
    config: Arc<Config>,
    when: PhantomData<fn() -> W>,
}

#[derive(Clone)]
struct Config {
    on_gap: OnGap,
    is_attached: bool,
    keep_alive: Option<Duration>,
    retry: Option<(Duration, Duration)>,
    cors: Option<Cors>,
}

impl EventSource {
    /// A handler with the default settings.
    ///
    /// It holds the store, or a handle of it: a store is not closed by dropping the
    /// other handles while a handler can still subscribe to it.
    #[must_use]
    pub fn new(store: impl Store) -> Self {
        Self {
            access: Access::new(store),
            config: Arc::new(Config {
                on_gap: OnGap::Tell,
                is_attached: false,
                keep_alive: Some(Duration::from_secs(15)),
                retry: None,
                cors: None,
            }),
            when: PhantomData,
        }
    }

    /// Asks this hook before every stream: what may be subscribed, by whom, until
    /// when, or why not. Default: everybody, for ever. Called for `GET` and `HEAD`, and
    /// for what opens a WebSocket.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tornadose::{EventSource, Permit, QueueStore, Refusal};
    ///
    /// let events = EventSource::new(QueueStore::new()).permit(|request| {
    ///     match request.header("authorization") {
    ///         None => Err(Refusal::UNAUTHORIZED),
    ///         Some("Bearer 7") => Ok(Permit::new().key("user 7").expires_in(Duration::from_secs(3600))),
    ///         Some(_) => Err(Refusal::FORBIDDEN),
    ///     }
    /// });
    /// ```
    #[must_use]
    pub fn permit(
        self,
        hook: impl Fn(&Head<'_>) -> Result<Permit, Refusal> + Send + Sync + 'static,
    ) -> Self {
        self.ruled(|rules| rules.hook = Hook::Now(Arc::new(hook)))
    }

    /// Asks this hook before every stream, as [`permit`](Self::permit) does, and waits
    /// for its answer. What it needs of the request it takes before it waits.
    ///
    /// ```
    /// use tornadose::{EventSource, Permit, QueueStore, Refusal};
    /// # async fn user_of(session: Option<String>) -> Option<String> { session }
    ///
    /// let events = EventSource::new(QueueStore::new()).permit_async(|request| {
    ///     let session = request.header("x-session").map(str::to_owned);
    ///     async move {
    ///         let user = user_of(session).await.ok_or(Refusal::UNAUTHORIZED)?;
    ///         Ok(Permit::new().key(user))
    ///     }
    /// });
    /// ```
    #[must_use]
    pub fn permit_async<F>(
        self,
        hook: impl Fn(&Head<'_>) -> F + Send + Sync + 'static,
    ) -> EventSource<Awaited>
    where
        F: Future<Output = Result<Permit, Refusal>> + Send + 'static,
    {
        let hook: PermitAsync = Arc::new(move |head| Box::pin(hook(head)));
        let source = self.ruled(|rules| rules.hook = Hook::Async(hook));
        EventSource {
            access: source.access,
            config: source.config,
            when: PhantomData,
        }
    }

    /// Answers a request. Does not wait, needs no runtime, and registers nothing
    /// unless it answers with a stream.
    #[must_use]
    pub fn respond<B>(&self, request: &Request<B>) -> Response<EventBody> {
        let head = Head::of(request);
        match self.ask(head) {
            Ok(asked) => self.answer(&asked, self.access.rules().hook.ask(head)),
            Err(answered) => *answered,
        }
    }
}

impl EventSource<Awaited> {
    /// Answers a request, once the hook has. Needs no runtime, and registers nothing
    /// unless it answers with a stream.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the hook's, and nothing is registered.
    pub fn respond<B>(
        &self,
        request: &Request<B>,
    ) -> impl Future<Output = Response<EventBody>> + Send + use<B> {
        let answer = self.serve(request);
        async move {
            let Ok(response) = answer.await;
            response
        }
    }
}

impl<W: When> EventSource<W> {
    /// The stream of what is granted here, for handlers that decide by themselves. The client
    /// has the event of this id, wherever the id came from.
    ///
    /// No hook is asked: who calls this is the hook. Limits and keys hold. The headers of
    /// [`Cors`] depend on a request, so they are not added.
    #[must_use]
    pub fn grant(&self, permit: Permit, last_event_id: Option<LastEventId>) -> Response<EventBody> {
        let asked = Asked {
            head_only: false,
            last_event_id,
            headers: HeaderMap::new(),
        };
        self.answer(&asked, Ok(permit))
    }

    /// Where a client begins that brings no id, or one that cannot be judged.
    /// Default: [`Start::Live`]. A [`DataStore`](crate::DataStore) always begins
    /// with its current value.
    #[must_use]
    pub fn start(self, start: Start) -> Self {
        self.ruled(|rules| rules.start = start)
    }

    /// Streams stay with the server, whatever listens: for a handler behind something that
    /// lets the first frame of a body pass as it is and changes later ones, or that counts
    /// on the response lasting as long as the stream. Without effect where streams stay
    /// anyway. Default: they leave where a [listener](crate#detached-streams) is.
    #[must_use]
    pub fn attached(self) -> Self {
        self.with(|config| config.is_attached = true)
    }

    /// What happens to a client that has missed events. Default: [`OnGap::Tell`].
    #[must_use]
    pub fn on_gap(self, on_gap: OnGap) -> Self {
        self.with(|config| config.on_gap = on_gap)
    }

    /// How long a stream may be quiet before it sends a comment; at least a
    /// millisecond, at most a day. Default: 15 s, which WHATWG HTML, 9.2.7 advises;
    /// idle time-outs of proxies begin at some 30 s.
    ///
    /// A stream of a [`Hub`](crate::Hub) whose position has moved is told it then, instead.
    ///
    /// Cost: a timer for each stream and three bytes for each comment.
    #[must_use]
    pub fn keep_alive(self, interval: Duration) -> Self {
        let interval = interval.clamp(Duration::from_millis(1), Duration::from_secs(86_400));
        self.with(|config| config.keep_alive = Some(interval))
    }

    /// No keep-alive comments. A client that vanishes without closing its
    /// connection is then only noticed by the next event, and a quiet stream of a
    /// [`Hub`](crate::Hub) whose topics are never submitted to may come back with a position
    /// that is no longer retained.
    #[must_use]
    pub fn without_keep_alive(self) -> Self {
        self.with(|config| config.keep_alive = None)
    }

    /// How long clients wait before they reconnect, told once at the beginning. It is the same
    /// for all, so after a crash they come back together: see
    /// [`retry_between`](Self::retry_between). Held between [`Event::MIN_RETRY`] and [`Event::MAX_RETRY`]. Default: not
    /// told; browsers wait about 3 s.
    ///
    /// [`Event::MIN_RETRY`]: crate::Event::MIN_RETRY
    /// [`Event::MAX_RETRY`]: crate::Event::MAX_RETRY
    #[must_use]
    pub fn retry(self, wait: Duration) -> Self {
        self.retry_between(wait..=wait)
    }

    /// How long clients wait before they reconnect, told once at the beginning: each stream
    /// another time of this range. Held as [`retry`](Self::retry) is, and in its place.
    #[must_use]
    pub fn retry_between(self, wait: RangeInclusive<Duration>) -> Self {
        self.with(|config| config.retry = Some(clamped(&wait)))
    }

    /// How long clients wait that we send away: because the store was closed, a
    /// [`Shutdown`] has begun, the time is up, they were too slow or there are too many.
    /// Each is told another time of this range, so that they do not all come back at
    /// once. Held between [`Event::MIN_RETRY`] and [`Event::MAX_RETRY`]. Default: 2 s to
    /// 6 s.
    ///
    /// [`Event::MIN_RETRY`]: crate::Event::MIN_RETRY
    /// [`Event::MAX_RETRY`]: crate::Event::MAX_RETRY
    #[must_use]
    pub fn farewell(self, wait: RangeInclusive<Duration>) -> Self {
        self.ruled(|rules| rules.farewell = clamped(&wait))
    }

    /// How old a stream may grow: each ends at between 80 % and 100 % of this and its
    /// client comes back, so that load moves to new servers. At most ten years. Default:
    /// no limit.
    #[must_use]
    pub fn max_age(self, age: Duration) -> Self {
        let ten_years = Duration::from_secs(10 * 365 * 86_400);
        self.ruled(|rules| rules.max_age = Some(age.min(ten_years)))
    }

    /// Ends the streams when this shutdown begins. Default: none.
    #[must_use]
    pub fn shutdown(self, shutdown: &Shutdown) -> Self {
        self.ruled(|rules| rules.shutdown = Some(shutdown.clone()))
    }

    /// Lets pages of other origins read the streams. Default: no headers, which means
    /// only pages of the same origin.
    #[must_use]
    pub fn cors(self, cors: Cors) -> Self {
        self.with(|config| config.cors = Some(cors))
    }

    /// How many streams may be open at once, of this handler, its clones and the
    /// WebSockets made of it. Default:
    /// no limit. What a client gets beyond it is [`overload`](Self::overload)'s.
    #[must_use]
    pub fn max_streams(self, streams: usize) -> Self {
        self.ruled(|rules| rules.limits.total = streams)
    }

    /// How many streams one [key](Permit::key) may have open at once. Default: no
    /// limit.
    #[must_use]
    pub fn max_streams_per_key(self, streams: usize) -> Self {
        self.ruled(|rules| rules.limits.per_key = streams)
    }

    /// What a client gets beyond a limit. Default: [`Overload::Later`].
    #[must_use]
    pub fn overload(self, overload: Overload) -> Self {
        self.ruled(|rules| rules.overload = overload)
    }

    /// How many streams are open now, of this handler, its clones and the WebSockets made
    /// of it.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.access.streams().count()
    }

    /// How many of the open streams have left their server for the threads of a
    /// [listener](crate#detached-streams).
    #[must_use]
    pub fn detached_streams(&self) -> usize {
        self.access.streams().detached()
    }

    /// Ends the streams that were permitted under this [key](Permit::key), at once:
    /// they send nothing more but their `retry:`, or a WebSocket its close with `1008`.
    /// Returns how many. Who comes back
    /// asks the hook again.
    pub fn revoke(&self, key: &str) -> usize {
        self.access.streams().revoke(key)
    }

    /// Answers a request, for services and adapters, whichever way the hook answers.
    pub(crate) fn serve<B>(
        &self,
        request: &Request<B>,
    ) -> W::Wait<Result<Response<EventBody>, Infallible>> {
        let head = Head::of(request);
        match self.ask(head) {
            Ok(asked) => {
                let source = self.clone();
                let answer = move |permitted| Ok(source.answer(&asked, permitted));
                W::decide(&self.access.rules().hook, head, answer)
            }
            Err(answered) => W::now(Ok(*answered)),
        }
    }

    /// What can be said before the hook is asked.
    fn ask(&self, head: Head<'_>) -> Result<Asked, Box<Response<EventBody>>> {
        let cors = self.config.cors.as_ref();
        let headers = cors.map_or_else(HeaderMap::new, |cors| cors.headers(head));
        match *head.method() {
            Method::GET | Method::HEAD => Ok(Asked {
                head_only: *head.method() == Method::HEAD,
                last_event_id: head.last_event_id(),
                headers,
            }),
            _ => {
                let mut response = match cors {
                    Some(cors) if Cors::is_preflight(head) => {
                        with(status(StatusCode::NO_CONTENT), &cors.preflight(head))
                    }
                    _ => with(status(StatusCode::METHOD_NOT_ALLOWED), &headers),
                };
                let allow = match cors {
                    Some(_) => "GET, HEAD, OPTIONS",
                    None => "GET, HEAD",
                };
                response
                    .headers_mut()
                    .insert(ALLOW, HeaderValue::from_static(allow));
                Err(Box::new(response))
            }
        }
    }

    fn answer(&self, asked: &Asked, permitted: Result<Permit, Refusal>) -> Response<EventBody> {
        let response = match permitted {
            Ok(_) if asked.head_only => head(EventBody::head()),
            Ok(permit) => self.open(asked.last_event_id, permit),
            Err(refusal) => {
                observe(&Happening::Refused(Protocol::EventStream, refusal.why()));
                match refusal.0 {
                    Answer::Status(code) => status(code),
                    Answer::Later => self.later(),
                }
            }
        };
        with(response, &asked.headers)
    }

    fn open(&self, last_event_id: Option<LastEventId>, permit: Permit) -> Response<EventBody> {
        let config = &*self.config;
        let entered = self
            .access
            .enter(permit, last_event_id, Protocol::EventStream);
        let Some(mut entered) = entered else {
            return match self.access.rules().overload {
                Overload::Later => self.later(),
                Overload::Unavailable => status(StatusCode::SERVICE_UNAVAILABLE),
                Overload::Stop => status(StatusCode::NO_CONTENT),
            };
        };
        let subscription = entered.subscription;
        if config.on_gap == OnGap::Stop && subscription.first_gap().is_some() {
            entered.watched.ends(Ended::Gap);
            return status(StatusCode::NO_CONTENT);
        }
        head(EventBody::open(Open {
            state: State::Opening(sse::preamble(
                config.retry.map(between),
                subscription.bookmark(),
            )),
            was_quiet: false,
            subscription,
            timer: Timer::new(config.keep_alive, entered.lifetime),
            grant: Grant {
                admitted: entered.admitted,
                watched: entered.watched,
                on_gap: config.on_gap,
                farewell: self.access.farewell(),
                is_attached: config.is_attached,
                departure: entered.departure,
            },
        }))
    }

    /// A stream that says when to come back.
    fn later(&self) -> Response<EventBody> {
        let farewell = sse::farewell(self.access.farewell());
        head(EventBody::once([sse::COMMENT, farewell].concat().into()))
    }

    #[cfg(feature = "websocket")]
    pub(crate) fn access(&self) -> &Access {
        &self.access
    }

    fn ruled(mut self, set: impl FnOnce(&mut Rules)) -> Self {
        self.access.set(set);
        self
    }

    fn with(mut self, set: impl FnOnce(&mut Config)) -> Self {
        set(Arc::make_mut(&mut self.config));
        self
    }
}

/// A request to which the hook's answer is still missing.
struct Asked {
    head_only: bool,
    last_event_id: Option<LastEventId>,
    /// What every answer to it carries.
    headers: HeaderMap,
}

impl<W: When> Clone for EventSource<W> {
    fn clone(&self) -> Self {
        Self {
            access: self.access.clone(),
            config: Arc::clone(&self.config),
            when: PhantomData,
        }
    }
}

impl<W: When> fmt::Debug for EventSource<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSource")
            .field("streams", &self.streams())
            .finish_non_exhaustive()
    }
}

impl<W: When, B> tower_service::Service<Request<B>> for EventSource<W> {
    type Response = Response<EventBody>;
    type Error = Infallible;
    type Future = W::Wait<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.serve(&request)
    }
}

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

fn with(mut response: Response<EventBody>, headers: &HeaderMap) -> Response<EventBody> {
    for (name, value) in headers {
        response.headers_mut().insert(name, value.clone());
    }
    response
}
