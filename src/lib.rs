//! Publish/subscribe over Server-Sent Events and WebSockets, in the web server you
//! already have.
//!
//! Make a store, mount an [`EventSource`] on it, submit from any thread. Every
//! browser that is connected has the event; every browser that was away gets what
//! it missed when it returns, or is told exactly how much it lost.
//!
//! ```
//! use tornadose::{EventSource, QueueStore};
//!
//! let store = QueueStore::new();
//! let events = EventSource::new(store.clone());   // mount this: it answers requests
//!
//! store.submit("hello")?;                         // from any thread, async or not
//! # let request = http::Request::get("/").body(()).unwrap();
//! # assert_eq!(events.respond(&request).status(), 200);
//! # Ok::<(), tornadose::SubmitError>(())
//! ```
//!
//! In the page, nothing is needed but what every browser has:
//!
//! ```js
//! const events = new EventSource("/events");
//! events.onmessage = (event) => console.log(event.data);
//! events.addEventListener("gap", (event) => console.log("missed", event.data));
//! ```
//!
//! This page is a tour. In the repository there are a guide from `cargo new` on
//! (`docs/guide`), every default with its cost (`docs/defaults.md`), what goes over the wire, to the
//! byte (`docs/wire.md`), and how all of it is made (`docs/architecture.md`).
//!
//! # The picture
//!
//! **A store is a log; a subscriber is a position in it.**
//!
//! ```text
//!  submit ──► encode once ──► append ──► log  [oldest … next)
//!                                         │      ▲   ▲
//!                                         │      │   └─ subscription ─► EventSource ─► your server ─► browser
//!                                         │      └───── subscription ─► a Subscriber of your own
//!                                         └► what the retention no longer covers
//! ```
//!
//! An event is written out once, outside every lock, and its bytes are shared by
//! everybody. A subscription is an offset and a place among the waiters: no queue
//! stands behind it, so a slow reader costs nothing but its position, and leaving
//! is dropping. `Last-Event-ID` is such a position, so replay is where a reader
//! begins, not another mechanism.
//!
//! # The words
//!
//! | word | what it is |
//! |---|---|
//! | [event](Event) | what is submitted: data, perhaps a name and a reconnection time |
//! | [store](Store) | where it is submitted and subscribed to: a log and a policy |
//! | [topic](Topic) | what an event is about, where one store is for many things: a [`Hub`] |
//! | log | the retained events in one order |
//! | [entry](Entry) | an event in a log, with its position: what is delivered |
//! | [position](Position) | an event's place: the log's epoch and an offset. Printed, it is the SSE `id` |
//! | [retention](Retention) | what a log keeps, by count, bytes and age |
//! | [subscription](Subscription) | a position that moves |
//! | [subscriber](Subscriber) | who is told: an [`EventSource`], a `WebSocketSubscriber`, or yours |
//! | [gap](Gap) | what a subscriber is told in the place of events that it will not get |
//! | [backplane] | an engine that keeps a log for several processes |
//!
//! # Stores
//!
//! | | [`QueueStore`] | [`DataStore`] |
//! |---|---|---|
//! | for | events that all matter: messages, changes, logs | one value that changes: a price, a position, a status |
//! | a newcomer gets | what its [`Start`] says, the next event by default | the current value |
//! | who returns gets | everything since, or a gap and what is left | the current value, unless it has it |
//! | who is slow | is told its gap, is disconnected, or is waited for ([`Overflow`]) | skips to the latest |
//! | memory | the [`Retention`] | one event |
//!
//! A [`Hub`] has many topics of either kind in one order, each with its own answer to slow
//! readers: one connection can be to any of them, and a plain browser `EventSource`
//! resumes them all from its one id.
//!
//! ```
//! use tornadose::{Event, EventSource, Hub, Permit, Policy, Refusal, Topic, Topics};
//!
//! let hub = Hub::builder().policy("price/#".parse()?, Policy::latest()).build();
//!
//! // GET /events?topic=rooms/7&topic=price/oil
//! let events = EventSource::new(hub.clone()).permit(|request| {
//!     let topics: Result<Topics, _> = request.queries("topic").map(Topic::new).collect();
//!     Ok(Permit::new().topics(topics.map_err(|_| Refusal::NOT_FOUND)?))
//! });
//!
//! hub.submit(Event::new("hello").topic("rooms/7".parse()?))?;
//! # let _ = events;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! All end well: [`close`](QueueStore::close) a store, or [begin](Shutdown::begin)
//! a [`Shutdown`], and every stream sends what it still has, says when to come
//! back, and ends: all at once or [a batch at a time](Shutdown::paced).
//!
//! # Who may listen
//!
//! By default everybody who can reach the handler. A [hook](EventSource::permit), which
//! may [wait](EventSource::permit_async), decides on the head of each request: which
//! store, from where, as whom, until when, or why not.
//!
//! ```
//! use std::time::Duration;
//! use tornadose::{Cors, EventSource, Permit, QueueStore, Refusal};
//!
//! let events = EventSource::new(QueueStore::new())
//!     .permit(|request| match request.header("x-user") {
//!         None => Err(Refusal::UNAUTHORIZED),
//!         Some(user) => Ok(Permit::new().key(user).expires_in(Duration::from_secs(3600))),
//!     })
//!     .max_streams_per_key(8)
//!     .cors(Cors::origins(["https://example.org"])?);
//!
//! events.revoke("mallory"); // ends the streams of that user
//! # Ok::<(), tornadose::InvalidOrigin>(())
//! ```
//!
//! # WebSockets
//!
//! A browser's `EventSource` reconnects and resumes by itself, and needs nothing but
//! HTTP. For a page that also has something to say, the feature `websocket` serves the
//! same store to the same people: [`events.websocket()`](EventSource) is a handler to
//! mount beside the other. Its messages carry the same ids, and a client goes on with
//! `?lastEventId=`, from the one to the other if it likes.
//!
//! # Kept elsewhere
//!
//! The log of a [`Hub`] can outlive its process, and be read by several: with the feature
//! `backplane` its tail is in an engine, and nothing else changes. An id means the same in
//! every process, so a client that loses one goes on in another, from its `Last-Event-ID`.
//! What is submitted is awaited, because it is stored elsewhere:
//!
//! ```text
//! let hub = Hub::builder().open(engine).await?;    // in place of build()
//! let id = hub.submit(event)?.await?;              // stored, or an error that says if it may be
//! ```
//!
//! What the engine loses is told as a gap. See [`backplane`] for how, and for what an engine
//! of your own has to do.
//!
//! # Detached streams
//!
//! A server keeps a task and buffers for each open stream, 11 KiB in hyper and 20 KiB in
//! axum, and runs through all of that for each event. With the feature `detached` there is
//! a listener to wrap yours in, and nothing else changes:
//! `axum::serve(Listener::new(tcp), app)`. A stream then leaves the server when its head is
//! out, and a thread for each core keeps its socket and its position and writes the events
//! of all of them, at close to what the system calls alone cost. Streams for which that
//! cannot be done (HTTP/2, TLS, compressed bodies, systems other than Unix) stay where they are, with
//! the same promises.
//!
//! What the server and its layers see is a response that has ended. So a layer that changes
//! the bytes of later events but not the comment with which a stream begins, or that counts
//! or limits what is open, must have its handler [stay](EventSource::attached); what is open
//! is limited by [`EventSource::max_streams`].
//!
//! # A server
//!
//! Who has none takes ours, with the feature `serve`: `Server::new(tcp).serve(app).await` serves an
//! [`EventSource`], an axum `Router` or any other tower service over HTTP/1 and HTTP/2, closes
//! what takes forever to ask, resets who does not read, bounds what each connection costs and
//! ends with a [`Shutdown`]. `axum::serve` of axum 0.8 has no time-out for the head of a
//! request; hyper and hyper-util leave all of this to you.
//!
//! # Promises
//!
//! - **Order.** A log has one order; of two submits, one of which returned before
//!   the other began, everybody sees the first one first. Each connection sees each
//!   event at most once.
//! - **No silent loss.** Between two events that a lossless store delivers there is
//!   no other one, or there is a gap. There is no gap where nothing is missing.
//! - **Nothing unasked.** A stream of a hub has the topics that the hook granted and no
//!   others, live, in what is replayed and in what is told of losses.
//! - **Nothing unpermitted.** What the hook refuses registers nothing; what has expired
//!   or is revoked sends nothing more.
//! - **Bounded.** A store's memory is its retention (twice that with
//!   [`Overflow::Wait`]), however many subscribers there
//!   are and however slowly they read.
//! - **Nothing injectable.** No text, wherever it came from, can add a field or an
//!   event to a stream.
//!
//! Delivery is to the client's parser. That a page has *processed* an event
//! exactly once is more than any server can know, and is not promised.
//!
//! # Seeing inside
//!
//! [`QueueStore::stats`], [`DataStore::stats`] and [`Hub::stats`] are snapshots of what was
//! submitted, delivered, let go of and missed, and of who is behind and by how much; of a hub
//! also [of one topic](Hub::stats_of) and of [the busiest](Hub::topic_stats). With the feature
//! `metrics` they are recorded under the [name](QueueStoreBuilder::name) of the store; a topic
//! is a label only where the program asks for it.
//!
//! With the feature `tracing` there is a log line, of the target `tornadose`, for a stream that
//! is opened, refused or ended, with why (`DEBUG`); a gap that is told, a store that is closed
//! and a shutdown that begins (`INFO`); and a subscriber that is disconnected as slow (`WARN`).
//! No line is written for an event, and none holds anything that a client or an event brought:
//! no data, topic, name, id, key, header or query.
//!
//! # Runtimes
//!
//! Submitting and answering requests need none, but for WebSockets, which live in a task
//! of the server's; detached streams have threads of their own. Keep-alive comments and the stall
//! time-out of [`Overflow::Wait`] need tokio's time in the runtime that polls, which
//! `#[tokio::main]` and `enable_all` enable; every server this crate knows of runs on
//! tokio.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `hyper` | yes | `hyper::service::Service` for [`EventSource`] |
//! | `actix-web` | no | `actix_web::Handler` for [`EventSource`], `MessageBody` for [`EventBody`] |
//! | `axum` | no | `Option<`[`LastEventId`]`>` as an extractor, and with `detached` its listener; all else fits without it |
//! | `rocket` | no | `Vec<rocket::Route>` from an [`EventSource`] |
//! | `warp` | no | `warp::filters::BoxedFilter` from an [`EventSource`] |
//! | `json` | no | [`Event::json`], from any `serde::Serialize`, and `Event::from_json` |
//! | `websocket` | no | `WebSocketSubscriber`, for all of these servers; brings `hyper` |
//! | `metrics` | no | [`Stats::record`] and counts of streams, for the `metrics` facade |
//! | `tracing` | no | a log line where a stream or a store begins, ends or tells a gap |
//! | `backplane` | no | [`HubBuilder::open`]: a hub whose log is kept by an engine |
//! | `redis` | no | `backplane::Redis`: that engine is Redis or Valkey |
//! | `redis-tls` | no | the same over TLS |
//! | `nats` | no | [`backplane::Nats`]: a log in NATS JetStream |
//! | `detached` | no | `Listener`: streams that leave their server |
//! | `serve` | no | `Server`: hyper on a listener, with time-outs and bounds |
//! | `durable` | no | [`backplane::Durable`](backplane): a hub whose log is in a file and outlives the process |
//! | `browser` | no | `Script`: 3 KB of JavaScript with which all tabs of a browser share one stream |
//! | `test` | no | [`test`](mod@test): a browser in memory, for tests of your own |
//! | `doctor` | no | the program `tornadose-doctor`, which tells why a stream is late or broken; nothing in the library |
//! | `full` | no | all of them but `doctor` |
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(test),
    warn(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

#[cfg(any(
    feature = "actix-web",
    feature = "axum",
    feature = "hyper",
    feature = "rocket",
    feature = "warp"
))]
mod adapter;
#[cfg(feature = "backplane")]
pub mod backplane;
#[cfg(feature = "browser")]
mod browser;
#[cfg(feature = "detached")]
mod detached;
#[cfg(not(feature = "detached"))]
#[path = "detached/none.rs"]
mod detached;
mod entry;
mod error;
mod event;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod gap;
mod log;
mod observe;
mod planted;
mod position;
#[cfg(feature = "serve")]
mod server;
#[cfg(any(feature = "detached", feature = "serve"))]
mod socket;
mod stats;
mod store;
mod subscriber;
mod subscription;
#[cfg(feature = "test")]
pub mod test;
mod topic;
mod wire;

#[cfg(feature = "browser")]
pub use crate::browser::Script;
#[cfg(feature = "detached")]
pub use crate::detached::{Io, Listener};
pub use crate::entry::Entry;
#[cfg(feature = "json")]
pub use crate::error::JsonError;
#[cfg(feature = "backplane")]
pub use crate::error::OpenError;
#[cfg(feature = "serve")]
pub use crate::error::ServeError;
pub use crate::error::{
    InvalidName, InvalidOrigin, InvalidPosition, InvalidTopic, InvalidUtf8, SubmitAllError,
    SubmitError,
};
pub use crate::event::{Event, EventName};
pub use crate::gap::{Gap, GapReason};
pub use crate::log::topics::{Control, Policy};
pub use crate::log::{End, LastEventId, Overflow, Retention, Start, Submitted};
pub use crate::position::Position;
#[cfg(feature = "serve")]
pub use crate::server::Server;
pub use crate::stats::{Lags, Stats, Straggler};
pub use crate::store::{
    DataStore, DataStoreBuilder, Hub, HubBuilder, QueueStore, QueueStoreBuilder, Store,
};
pub use crate::subscriber::{
    Awaited, Cors, EventBody, EventSource, Head, Now, OnGap, Overload, Permit, Refusal, Shutdown,
    Subscriber, When,
};
#[cfg(feature = "websocket")]
pub use crate::subscriber::{Origins, Received, WebSocketSubscriber};
pub use crate::subscription::{Delivery, Subscribe, Subscription};
pub use crate::topic::{Pattern, Topic, Topics};
#[cfg(feature = "websocket")]
pub use crate::wire::ws::Envelope;

/// The project's own texts, tested with the crate. `tests/texts.rs` looks that none is missing.
#[cfg(doctest)]
mod texts {
    #[cfg(all(feature = "serve", feature = "websocket"))]
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[cfg(feature = "durable")]
    #[doc = include_str!("../docs/durable.md")]
    mod durable {}
    #[cfg(feature = "nats")]
    #[doc = include_str!("../docs/nats.md")]
    mod nats {}
    #[doc = include_str!("../docs/migration/README.md")]
    mod migration {}
    #[doc = include_str!("../docs/migration/from-axum.md")]
    mod from_axum {}
    #[cfg(all(feature = "json", feature = "serve"))]
    #[doc = include_str!("../docs/migration/from-better-sse.md")]
    mod from_better_sse {}
    #[cfg(feature = "serve")]
    #[doc = include_str!("../docs/migration/from-go-sse.md")]
    mod from_go_sse {}
    #[cfg(all(feature = "redis", feature = "serve", feature = "websocket"))]
    #[doc = include_str!("../docs/migration/from-python.md")]
    mod from_python {}
    #[cfg(feature = "redis")]
    #[doc = include_str!("../docs/redis.md")]
    mod redis {}
    #[doc = include_str!("../docs/guide/01-first-stream.md")]
    mod guide_first_stream {}
    #[doc = include_str!("../docs/guide/02-stores.md")]
    mod guide_stores {}
    #[doc = include_str!("../docs/guide/03-topics.md")]
    mod guide_topics {}
    #[doc = include_str!("../docs/guide/04-resuming.md")]
    mod guide_resuming {}
    #[cfg(feature = "websocket")]
    #[doc = include_str!("../docs/guide/05-permissions.md")]
    mod guide_permissions {}
    #[doc = include_str!("../docs/guide/06-slow-clients.md")]
    mod guide_slow_clients {}
    #[cfg(feature = "serve")]
    #[doc = include_str!("../docs/guide/07-shutdown.md")]
    mod guide_shutdown {}
    #[cfg(all(feature = "durable", feature = "redis", feature = "nats"))]
    #[doc = include_str!("../docs/guide/08-scaling-out.md")]
    mod guide_scaling_out {}
    #[doc = include_str!("../docs/guide/09-operating.md")]
    mod guide_operating {}
    #[doc = include_str!("../docs/guide/10-testing.md")]
    mod guide_testing {}
    #[cfg(feature = "browser")]
    #[doc = include_str!("../docs/browser.md")]
    mod browser {}
    #[doc = include_str!("../docs/wire.md")]
    mod wire {}
}
