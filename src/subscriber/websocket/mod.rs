//! The same events over WebSockets (RFC 6455), also inside HTTP/2 (RFC 8441).

mod handshake;
mod io;
mod origins;
mod received;
mod session;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::runtime::Handle;
use tokio::time::timeout;

pub use self::origins::Origins;
pub use self::received::Received;
pub(crate) use self::session::Session;

use self::handshake::refusal;
use self::io::Inbound;
use super::access::{Access, Awaited, Now, Overload, When};
use super::event_body::EventBody;
use super::event_source::EventSource;
use super::head::Head;
use super::permit::{Answer, Permit, Refusal};
use crate::log::LastEventId;
use crate::observe::{Happening, Protocol, Refused, observe};
use crate::store::Store;
use crate::wire::ws::Envelope;

/// Serves a store over WebSockets: mount it where an [`EventSource`] would be.
///
/// Made of an event source it shares everything that decides who may listen: the
/// [hook](EventSource::permit), the limits and their counts, revocation, the start, the
/// maximum age, the farewell, the shutdown. It does not share what is HTTP's: the
/// keep-alive ([`ping`](Self::ping) is its own), `retry`, `Cors` ([`Origins`] are), and
/// `OnGap`: a gap is told.
///
/// ```
/// use tornadose::{EventSource, Origins, QueueStore, Shutdown};
///
/// let store = QueueStore::new();
/// let shutdown = Shutdown::new();
/// let events = EventSource::new(store.clone()).shutdown(&shutdown);
/// let socket = events.websocket().on_message(move |received| {
///     if let Some(text) = received.text()
///         && store.submit(text).is_err()
///     {
///         received.reply(r#"{"event":"refused"}"#); // what all messages are: JSON
///     }
/// });
/// // Mount `events` for pages that listen, `socket` for those that also speak.
/// # let _ = socket;
/// ```
///
/// Its [`respond`](Self::respond) answers a request and then speaks in a task of its
/// own, on the connection that hyper hands over: so hyper has to be told that it may
/// (`serve_connection_with_upgrades`), which axum, warp and salvo do by themselves. Over
/// HTTP/2 the server has to offer it (`enable_connect_protocol`), and the route has to take
/// every method: in axum `route_service` or `any`, not `get`.
///
/// A cheap handle: clone it as often as you like.
///
/// # What a client gets
///
/// Text messages, one JSON object each ([`Envelope`]):
///
/// ```text
/// {"id":"WUFZSxsBWn0-41","event":"open"}
/// {"id":"WUFZSxsBWn0-42","prev":"WUFZSxsBWn0-41","event":"tick","data":"12.5"}
/// {"id":"WUFZSxsBWn0-57","event":"gap","data":{"reason":"slow","missed":"15",..}}
/// ```
///
/// First `open`, at once, with the position at which the connection begins, or without
/// an id if a gap follows or the store does not tell one (a
/// [stream](crate::Subscription::from_stream)); then every event, with the id of the
/// message before it.
///
/// # What a client does
///
/// 1. It keeps the `id` of each message that has one, also of `open`, and comes back with
///    `?lastEventId=<id>`: it then gets what it missed, or a gap, just as an event stream
///    does, and from one to the other.
/// 2. Where `prev` is there and is not the id that it kept, it has lost something that it
///    was not told: which does not happen.
/// 3. Where the reason of a close is `retry: <milliseconds>` it waits that long.
///
/// # How it ends
///
/// | code | why |
/// |---|---|
/// | `1001` | the store was closed |
/// | `1012` | a [`Shutdown`](crate::Shutdown) has begun, or the time is up |
/// | `1013` | there are too many ([`Overload::Later`](crate::Overload)), or the hook said [later](crate::Refusal::LATER) |
/// | `1008` | revoked; too many pings or fragments |
/// | `1009` | a message of the client's was too big |
/// | `1002`, `1007` | the client broke the protocol |
/// | `4008` | the client was too slow ([`Overflow::Disconnect`](crate::Overflow)) |
///
/// With `1001`, `1012`, `1013` and `4008` the reason is `retry: <milliseconds>`, another
/// time for each client. It has 5 s to read a close, to answer it and to hang up.
///
/// A client that is silent for two intervals of the [ping](WebSocketSubscriber::ping), and
/// does not read either, is gone: its connection is dropped. (Inside HTTP/2 what waits for
/// it in the server stays until it reads or its connection ends.)
///
/// # What is refused
///
/// | status | what |
/// |---|---|
/// | `400` | a key that is none, a body, a request of HTTP/2 without a protocol |
/// | `403` | a page of another [origin](Origins) |
/// | `405` | a method other than `GET`, or `CONNECT` in HTTP/2 |
/// | `426` | a request for no WebSocket, or for another version of it |
/// | `501` | the server cannot hand its connection over |
/// | any | what the [hook](EventSource::permit) or [`Overload`](crate::Overload) says |
///
/// No subprotocol is chosen and nothing is compressed: a page that asks for a subprotocol
/// (`new WebSocket(url, [..])`) closes the connection, as browsers do.
///
/// # What a client may send
///
/// Messages of at most [64 KiB](WebSocketSubscriber::max_message_bytes), in at most [128
/// fragments](WebSocketSubscriber::max_fragments), to whoever
/// [listens](WebSocketSubscriber::on_message), and 100 pings and pongs in a second. While
/// 16 answers wait for a client that does not read, nothing more is read of it.
pub struct WebSocketSubscriber<W: When = Now> {
    access: Access,
    config: Arc<Config>,
    when: PhantomData<fn() -> W>,
}

#[derive(Clone)]
struct Config {
    origins: Origins,
    envelope: Envelope,
    ping: Duration,
    inbound: Inbound,
    on_message: Option<OnMessage>,
}

type OnMessage = Arc<dyn Fn(&mut Received<'_>) + Send + Sync>;

/// What a request is answered with, and what follows on its connection.
pub(crate) struct Handshake {
    pub(crate) response: Response<EventBody>,
    pub(crate) session: Option<Session>,
}

impl<W: When> EventSource<W> {
    /// The same store, to the same people, over WebSockets. Call it last: what is set on
    /// this event source afterwards, for example a shutdown, the WebSockets do not have.
    /// What is counted and [revoked](Self::revoke) stays one.
    #[must_use]
    pub fn websocket(&self) -> WebSocketSubscriber<W> {
        WebSocketSubscriber {
            access: self.access().clone(),
            config: Arc::new(Config {
                origins: Origins::same(),
                envelope: Envelope::Full,
                ping: Duration::from_secs(15),
                inbound: Inbound {
                    message: 64 << 10,
                    fragments: 128,
                },
                on_message: None,
            }),
            when: PhantomData,
        }
    }
}

impl WebSocketSubscriber {
    /// A handler with the default settings, for everybody. For anything else begin with
    /// an [`EventSource`].
    pub fn new(store: impl Store) -> Self {
        EventSource::new(store).websocket()
    }

    /// Answers a request, and speaks over its connection once that is handed over.
    /// Whatever is not answered `101`, or `200` to a `CONNECT`, registers nothing.
    ///
    /// Needs to be called in the runtime of the server: elsewhere, as with a server
    /// that does not hand connections over, the answer is `501`.
    ///
    /// What refuses a request, a layer or a middleware, has to do so before this is
    /// asked. An answer that is replaced afterwards leaves the subscription waiting for
    /// the connection for up to 10 s, and if the connection ends meanwhile hyper hands it
    /// over all the same.
    pub fn respond<B>(&self, request: &Request<B>) -> Response<EventBody> {
        let takeover = Takeover::of(request);
        let answer = self.shake(request, |shaken| Takeover::answer(takeover, shaken));
        answer.into_inner()
    }
}

impl WebSocketSubscriber<Awaited> {
    /// Answers a request, once the hook has, and speaks over its connection once that
    /// is handed over.
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

impl<W: When> WebSocketSubscriber<W> {
    /// Which pages may open one. Default: those of the [same origin](Origins::same).
    #[must_use]
    pub fn origins(self, origins: Origins) -> Self {
        self.with(|config| config.origins = origins)
    }

    /// How events are written. Default: [`Envelope::Full`].
    #[must_use]
    pub fn envelope(self, envelope: Envelope) -> Self {
        self.with(|config| config.envelope = envelope)
    }

    /// How long a client may be silent before it is sent a ping, which clients answer
    /// by themselves; after twice this time without a sign of life its connection is
    /// dropped. A sign of life is anything that it sends, and that it reads on after its
    /// connection was full. At least a millisecond, at most a day. Default: 15 s.
    ///
    /// Cost: a timer for each connection, and two bytes there and six back for each
    /// ping.
    #[must_use]
    pub fn ping(self, interval: Duration) -> Self {
        let interval = interval.clamp(Duration::from_millis(1), Duration::from_secs(86_400));
        self.with(|config| config.ping = interval)
    }

    /// How long a message of a client's may be, in bytes. A longer one closes its
    /// connection with `1009` before any of it is kept. At most 64 MiB. Default: 64 KiB.
    ///
    /// Cost: a client that announces a message keeps that much, and again as much if it
    /// comes in fragments, until its connection ends; without any, a connection keeps 8
    /// KiB to read into.
    #[must_use]
    pub fn max_message_bytes(self, bytes: usize) -> Self {
        let bytes = bytes.min(64 << 20);
        self.with(|config| config.inbound.message = bytes)
    }

    /// In how many fragments a message of a client's may come, empty ones included. One
    /// more closes its connection with `1008`. At least one. Default: 128.
    ///
    /// Cost: a client can have that many read, with six bytes or more of its own for
    /// each, before anybody hears of its message; empty ones are not counted by
    /// [`max_message_bytes`](Self::max_message_bytes).
    #[must_use]
    pub fn max_fragments(self, fragments: usize) -> Self {
        self.with(|config| config.inbound.fragments = fragments.max(1))
    }

    /// Hands over what clients send, text and binary, one at a time for each client, in
    /// its order. Must not block: nothing else is sent on that connection meanwhile.
    /// Default: it is read and dropped.
    ///
    /// Messages have no limit of rate: where each is submitted, one client can push
    /// everything else out of the store's retention. Count them by
    /// [key](Received::key) if clients are not trusted.
    #[must_use]
    pub fn on_message(self, listen: impl Fn(&mut Received<'_>) + Send + Sync + 'static) -> Self {
        self.with(|config| config.on_message = Some(Arc::new(listen)))
    }

    /// How many streams are open now, of this handler, its clones and the
    /// [`EventSource`] that it was made of.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.access.streams().count()
    }

    /// Ends the streams that were permitted under this [key](Permit::key), as
    /// [`EventSource::revoke`] does: with `1008` and nothing more before it. Returns
    /// how many.
    pub fn revoke(&self, key: &str) -> usize {
        self.access.streams().revoke(key)
    }

    /// Answers a request, for services and adapters, whichever way the hook answers.
    pub(crate) fn serve<B>(
        &self,
        request: &Request<B>,
    ) -> W::Wait<Result<Response<EventBody>, Infallible>> {
        let takeover = Takeover::of(request);
        self.shake(request, |shaken| Ok(Takeover::answer(takeover, shaken)))
    }

    /// Reads and judges a request; what follows is up to who called.
    pub(crate) fn shake<B, T: Send + 'static>(
        &self,
        request: &Request<B>,
        then: impl FnOnce(Handshake) -> T + Send + 'static,
    ) -> W::Wait<T> {
        let opening = match handshake::read(request) {
            Ok(opening) => opening,
            Err(unopened) => {
                let response = unopened.response(request.version());
                refused(Refused::Handshake(response.status().as_u16()));
                return W::now(then(Handshake::refused(response)));
            }
        };
        if !self.config.origins.allow(request) {
            refused(Refused::Origin);
            return W::now(then(Handshake::refused(refusal(StatusCode::FORBIDDEN))));
        }
        let head = Head::of(request);
        let last_event_id = head.last_event_id();
        let subscriber = self.clone();
        W::decide(&self.access.rules().hook, head, move |permitted| {
            then(match subscriber.open(permitted, last_event_id) {
                Ok(session) => Handshake {
                    response: opening.response(),
                    session: Some(session),
                },
                Err(status) => Handshake::refused(refusal(status)),
            })
        })
    }

    fn open(
        &self,
        permitted: Result<Permit, Refusal>,
        last_event_id: Option<LastEventId>,
    ) -> Result<Session, StatusCode> {
        let entered = match permitted {
            Ok(permit) => match self
                .access
                .enter(permit, last_event_id, Protocol::WebSocket)
            {
                Some(entered) => Some(entered),
                None => match self.access.rules().overload {
                    Overload::Later => None,
                    Overload::Unavailable => return Err(StatusCode::SERVICE_UNAVAILABLE),
                    Overload::Stop => return Err(StatusCode::NO_CONTENT),
                },
            },
            Err(refusal) => {
                refused(refusal.why());
                match refusal.0 {
                    Answer::Status(status) => return Err(status),
                    Answer::Later => None,
                }
            }
        };
        Ok(Session {
            entered,
            config: Arc::clone(&self.config),
            farewell: self.access.farewell(),
        })
    }

    fn with(mut self, set: impl FnOnce(&mut Config)) -> Self {
        set(Arc::make_mut(&mut self.config));
        self
    }
}

impl Handshake {
    fn refused(response: Response<EventBody>) -> Self {
        Self {
            response,
            session: None,
        }
    }
}

fn refused(why: Refused) {
    observe(&Happening::Refused(Protocol::WebSocket, why));
}

/// How long a server has to hand a connection over once it has our answer. It is a
/// moment, or never: if something behind us answers otherwise, hyper keeps the connection
/// and does not tell.
const HANDOVER: Duration = Duration::from_secs(10);

/// A connection that hyper will hand over, and where the task runs that waits for it.
struct Takeover {
    upgrade: OnUpgrade,
    runtime: Handle,
}

impl Takeover {
    fn of<B>(request: &Request<B>) -> Option<Self> {
        Some(Self {
            upgrade: request.extensions().get().cloned()?,
            runtime: Handle::try_current().ok()?,
        })
    }

    fn answer(takeover: Option<Self>, shaken: Handshake) -> Response<EventBody> {
        match (shaken.session, takeover) {
            (None, _) => shaken.response,
            (Some(_), None) => refusal(StatusCode::NOT_IMPLEMENTED),
            (Some(session), Some(Self { upgrade, runtime })) => {
                // Ends with the connection, which ends with the session.
                drop(runtime.spawn(async move {
                    if let Ok(Ok(connection)) = timeout(HANDOVER, upgrade).await {
                        session.run(TokioIo::new(connection)).await;
                    }
                }));
                shaken.response
            }
        }
    }
}

impl<W: When> Clone for WebSocketSubscriber<W> {
    fn clone(&self) -> Self {
        Self {
            access: self.access.clone(),
            config: Arc::clone(&self.config),
            when: PhantomData,
        }
    }
}

impl<W: When> fmt::Debug for WebSocketSubscriber<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketSubscriber")
            .field("streams", &self.streams())
            .finish_non_exhaustive()
    }
}

impl<W: When, B> tower_service::Service<Request<B>> for WebSocketSubscriber<W> {
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
