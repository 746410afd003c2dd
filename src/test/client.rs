//! An `EventSource` in memory.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, HOST, HeaderName, PRAGMA};
use http::{HeaderMap, HeaderValue, Request, Response, Uri, response};
use http_body::Body;
use tokio::task::coop::{Unconstrained, unconstrained};
use tokio::time::{Sleep, sleep, timeout};
use tower_service::Service;

use crate::test::delivery::Delivery;
use crate::test::incomplete::{Break, Incomplete, IncompleteReason, ReadyState};
use crate::test::source::{self, Answer, Ask};
use crate::test::stream::{Stop, Stream, refusal};

/// A browser's `EventSource`, in memory: it asks whatever answers requests, reads the body as
/// a browser does, and connects again where a browser would.
///
/// See the [module](crate::test) for what it follows, and for how time passes.
///
/// It reads only while one of its methods is awaited, and no more than it hands out: a client
/// that is not asked is a client that reads slowly. What it has not handed out when the
/// connection is cut is lost on the way, and comes again if the server resumes.
///
/// All that are `async` are cancel safe: what was not handed out is handed out by the next
/// call, but for what a `collect` or an `until` had already taken.
#[must_use]
pub struct Client {
    ask: Ask,
    uri: Uri,
    headers: HeaderMap,
    limit: Duration,
    reconnection_time: Duration,
    /// Of the connections that are over.
    last_event_id: String,
    requests: u64,
    response: Option<response::Parts>,
    last_break: Option<Break>,
    cut_after: Option<u64>,
    link: Link,
}

enum Link {
    New,
    Waiting(Pin<Box<Sleep>>),
    Asking(Answer),
    Open(Stream),
    Closed(IncompleteReason),
}

/// By how much a call is bounded.
struct Bound {
    limit: Duration,
    passed: Pin<Box<Unconstrained<Sleep>>>,
    /// What may still come.
    left: u64,
}

enum Step {
    Opened,
    Delivery(Delivery),
    Broke,
}

/// The smallest step of tokio's clock.
const TICK: Duration = Duration::from_millis(1);

const FLOOD: u64 = 64 << 20;

impl Client {
    /// Of a service: an [`EventSource`](crate::EventSource), an axum `Router`, any other tower
    /// service. It is cloned for each request, and dropped clients leave it.
    ///
    /// The address is a path, perhaps with a query, or a whole URI, of which the host becomes
    /// the `Host`, which is `localhost` otherwise. Nothing is asked before the first method
    /// that waits.
    ///
    /// # Panics
    ///
    /// If that is no address.
    #[track_caller]
    pub fn new<S, B>(service: S, uri: &str) -> Self
    where
        S: Service<Request<String>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Self::of(source::service(service), uri)
    }

    /// Of a function, which may also ask a server elsewhere. What it answers as an error is
    /// taken as a network that has failed.
    ///
    /// # Panics
    ///
    /// If that is no address.
    #[track_caller]
    pub fn from_fn<F, A, B, E>(answer: F, uri: &str) -> Self
    where
        F: FnMut(Request<String>) -> A + Send + 'static,
        A: Future<Output = Result<Response<B>, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Self::of(source::function(answer), uri)
    }

    #[track_caller]
    fn of(ask: Ask, uri: &str) -> Self {
        let uri: Uri = valid(uri.parse(), uri);
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
        let host = uri.authority().map_or("localhost", |host| host.as_str());
        headers.insert(HOST, valid(host.parse(), host));
        Self {
            ask,
            uri,
            headers,
            limit: Duration::from_secs(10),
            reconnection_time: Duration::from_secs(3),
            last_event_id: String::new(),
            requests: 0,
            response: None,
            last_break: None,
            cut_after: None,
            link: Link::New,
        }
    }

    /// A header of all its requests, in the place of any of that name: a `cookie`, say.
    ///
    /// # Panics
    ///
    /// If it is none.
    #[track_caller]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = valid(name.parse(), name);
        self.headers.insert(name, valid(value.parse(), value));
        self
    }

    /// The id that its first request brings as `Last-Event-ID`: none by default.
    pub fn after(mut self, last_event_id: impl Into<String>) -> Self {
        self.last_event_id = last_event_id.into();
        self
    }

    /// How long a call may take, of tokio's time: 10 s by default.
    pub fn limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// How long it waits before it connects again, until a `retry` says otherwise: 3 s by
    /// default, at least 1 ms.
    pub fn reconnection_time(self, reconnection_time: Duration) -> Self {
        Self {
            reconnection_time,
            ..self
        }
    }

    /// Waits until there is a stream, which there may be already. Nothing of it is read.
    ///
    /// A store gives a newcomer what is submitted from then on, unless its
    /// [`Start`](crate::Start) says otherwise: so this comes before the first submit.
    pub async fn open(&mut self) -> Result<(), Incomplete> {
        let mut bound = Bound::new(self.limit);
        match self.opened(&mut bound).await {
            Ok(()) => Ok(()),
            Err(reason) => Err(self.incomplete(reason, Vec::new())),
        }
    }

    /// The next message or gap, after a reconnection if need be.
    pub async fn next(&mut self) -> Result<Delivery, Incomplete> {
        let mut bound = Bound::new(self.limit);
        match self.delivered(&mut bound).await {
            Ok(delivery) => Ok(delivery),
            Err(reason) => Err(self.incomplete(reason, Vec::new())),
        }
    }

    /// The next `count` messages and gaps.
    pub async fn collect(&mut self, count: usize) -> Result<Vec<Delivery>, Incomplete> {
        let mut left = count;
        if left == 0 {
            return Ok(Vec::new());
        }
        self.collect_until(|_| {
            left = left.saturating_sub(1);
            left == 0
        })
        .await
    }

    /// What comes up to the first one of which that is true, which is the last one.
    pub async fn collect_until(
        &mut self,
        mut is_last: impl FnMut(&Delivery) -> bool,
    ) -> Result<Vec<Delivery>, Incomplete> {
        let mut bound = Bound::new(self.limit);
        let mut received = Vec::new();
        loop {
            match self.delivered(&mut bound).await {
                Ok(delivery) => {
                    let is_last = is_last(&delivery);
                    received.push(delivery);
                    if is_last {
                        return Ok(received);
                    }
                }
                Err(reason) => return Err(self.incomplete(reason, received)),
            }
        }
    }

    /// What comes until an open stream has brought nothing for so long. The limit of this
    /// call is longer by that.
    ///
    /// On a paused clock any time will do, 1 ms: the clock stands still until everything that
    /// can run has run.
    pub async fn until_quiet(&mut self, quiet: Duration) -> Result<Vec<Delivery>, Incomplete> {
        let mut bound = Bound::new(self.limit.saturating_add(quiet));
        let mut received = Vec::new();
        loop {
            if let Err(reason) = self.opened(&mut bound).await {
                return Err(self.incomplete(reason, received));
            }
            let stream = self.requests;
            let quiet = quiet.saturating_add(TICK);
            match timeout(quiet, self.delivered(&mut bound)).await {
                Ok(Ok(delivery)) => received.push(delivery),
                Ok(Err(reason)) => return Err(self.incomplete(reason, received)),
                Err(_) => {
                    if self.requests == stream && self.state() == ReadyState::Open {
                        return Ok(received);
                    }
                }
            }
        }
    }

    /// What comes until an open stream breaks, by its end or an error, as
    /// [`last_break`](Self::last_break) says then. If there is no stream, until one breaks that
    /// is opened first.
    pub async fn until_break(&mut self) -> Result<Vec<Delivery>, Incomplete> {
        let mut bound = Bound::new(self.limit);
        let mut received = Vec::new();
        loop {
            match self.step(&mut bound).await {
                Ok(Step::Opened) => {}
                Ok(Step::Delivery(delivery)) => received.push(delivery),
                Ok(Step::Broke) => return Ok(received),
                Err(reason) => return Err(self.incomplete(reason, received)),
            }
        }
    }

    /// Cuts the connection, if there is one or one is being made, as if the network broke.
    /// What was not handed out is lost. It connects again by itself, when it is asked for more
    /// and the reconnection time has passed.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time, if there is a connection.
    pub fn cut(&mut self) {
        if let Link::Asking(_) | Link::Open(_) = &self.link {
            self.broke(Break::Cut);
        }
    }

    /// Cuts the connection when so many more bytes of the body have been read; if it is not
    /// open, the next one. Once.
    pub fn cut_after(&mut self, bytes: u64) {
        self.cut_after = Some(bytes);
    }

    /// Whether there is a stream, as far as has been read: the end of one is noticed when it
    /// is read.
    #[must_use]
    pub fn state(&self) -> ReadyState {
        match &self.link {
            Link::New | Link::Waiting(_) | Link::Asking(_) => ReadyState::Connecting,
            Link::Open(_) => ReadyState::Open,
            Link::Closed(_) => ReadyState::Closed,
        }
    }

    /// What it brings as `Last-Event-ID` when it connects again; nothing, if it is empty.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        match &self.link {
            Link::Open(stream) => stream.decoder().last_event_id(),
            _ => &self.last_event_id,
        }
    }

    /// How many requests it has made.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// The head of the last answer, whatever its status was.
    #[must_use]
    pub fn response(&self) -> Option<&response::Parts> {
        self.response.as_ref()
    }

    /// How its last connection broke, if one has.
    #[must_use]
    pub fn last_break(&self) -> Option<&Break> {
        self.last_break.as_ref()
    }

    async fn opened(&mut self, bound: &mut Bound) -> Result<(), IncompleteReason> {
        while self.state() != ReadyState::Open {
            self.step(bound).await?;
        }
        Ok(())
    }

    async fn delivered(&mut self, bound: &mut Bound) -> Result<Delivery, IncompleteReason> {
        loop {
            if let Step::Delivery(delivery) = self.step(bound).await? {
                return Ok(delivery);
            }
        }
    }

    async fn step(&mut self, bound: &mut Bound) -> Result<Step, IncompleteReason> {
        poll_fn(|cx| {
            // What is there comes first, so that no limit hides it.
            if let Poll::Ready(step) = self.poll_step(cx, &mut bound.left) {
                return Poll::Ready(step);
            }
            let passed = bound.passed.as_mut().poll(cx);
            passed.map(|()| Err(IncompleteReason::Limit(bound.limit)))
        })
        .await
    }

    fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        left: &mut u64,
    ) -> Poll<Result<Step, IncompleteReason>> {
        loop {
            match &mut self.link {
                Link::New => self.connect(),
                Link::Waiting(until) => {
                    ready!(until.as_mut().poll(cx));
                    self.connect();
                }
                Link::Asking(answer) => match ready!(answer.as_mut().poll(cx)) {
                    Ok(response) => {
                        let (head, body) = response.into_parts();
                        self.link = match refusal(&head) {
                            Some(reason) => Link::Closed(reason),
                            None => Link::Open(Stream::new(body, &self.last_event_id)),
                        };
                        self.response = Some(head);
                        if self.state() == ReadyState::Open {
                            return Poll::Ready(Ok(Step::Opened));
                        }
                    }
                    Err(error) => self.broke(Break::Failed(error)),
                },
                Link::Open(stream) => {
                    return Poll::Ready(
                        match ready!(stream.poll_message(cx, &mut self.cut_after, left)) {
                            Ok(message) => Ok(Step::Delivery(Delivery::of(message))),
                            Err(Stop::Flood) => Err(IncompleteReason::Flood),
                            Err(Stop::Break(how)) => {
                                self.broke(how);
                                Ok(Step::Broke)
                            }
                        },
                    );
                }
                Link::Closed(reason) => return Poll::Ready(Err(reason.clone())),
            }
        }
    }

    fn connect(&mut self) {
        // Servers do not see what stands around a value.
        let id = self.last_event_id.trim_matches([' ', '\t']);
        let mut headers = self.headers.clone();
        if !self.last_event_id.is_empty() {
            let Ok(value) = HeaderValue::from_bytes(id.as_bytes()) else {
                let id = self.last_event_id.clone();
                self.link = Link::Closed(IncompleteReason::LastEventId(id));
                return;
            };
            headers.insert(HeaderName::from_static("last-event-id"), value);
        }
        let mut request = Request::new(String::new());
        *request.headers_mut() = headers;
        *request.uri_mut() = match self.uri.path_and_query() {
            Some(path) => Uri::from(path.clone()),
            None => Uri::default(),
        };
        self.requests = self.requests.saturating_add(1);
        self.link = Link::Asking((self.ask)(request));
    }

    fn broke(&mut self, how: Break) {
        if let Link::Open(stream) = &self.link {
            let decoder = stream.decoder();
            decoder.last_event_id().clone_into(&mut self.last_event_id);
            if let Some(time) = decoder.reconnection_time() {
                self.reconnection_time = time;
            }
        }
        self.last_break = Some(how);
        // Without any time between, a server that answers at once would be asked for ever.
        let time = self.reconnection_time.max(TICK);
        self.link = Link::Waiting(Box::pin(sleep(time)));
    }

    fn incomplete(&self, reason: IncompleteReason, received: Vec<Delivery>) -> Incomplete {
        Incomplete {
            reason,
            received,
            state: self.state(),
            requests: self.requests,
            last_break: self.last_break.clone(),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("uri", &self.uri)
            .field("state", &self.state())
            .field("last_event_id", &self.last_event_id())
            .field("requests", &self.requests)
            .field("last_break", &self.last_break)
            .finish_non_exhaustive()
    }
}

impl Bound {
    /// One tick more than the limit: what is due when that passes has then arrived, because a
    /// paused clock does not move on while anything can run.
    fn new(limit: Duration) -> Self {
        Self {
            limit,
            passed: Box::pin(unconstrained(sleep(limit.saturating_add(TICK)))),
            left: FLOOD,
        }
    }
}

/// What a test gives to a client.
#[track_caller]
#[allow(clippy::panic, reason = "in a test that is the place to say it")]
fn valid<T, E: fmt::Display>(result: Result<T, E>, text: &str) -> T {
    match result {
        Ok(valid) => valid,
        Err(error) => panic!("{text:?}: {error}"),
    }
}
