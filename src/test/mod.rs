//! For tests of your own application: a browser's `EventSource` in memory, what a test says
//! of all that it received, and a network that fails.
//!
//! ```
//! use axum::Router;
//! use tornadose::test::{Client, assert_contiguous, assert_conserved};
//! use tornadose::{EventSource, QueueStore};
//!
//! // What is tested.
//! fn app(store: &QueueStore) -> Router {
//!     Router::new().route_service("/events", EventSource::new(store.clone()))
//! }
//!
//! #[tokio::main(flavor = "current_thread")] // in a test: #[tokio::test(start_paused = true)]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! #   tokio::time::pause();
//!     let store = QueueStore::new();
//!     let mut page = Client::new(app(&store), "/events");
//!     page.open().await?;
//!
//!     store.submit("one")?;
//!     let mut received = page.collect(1).await?;
//!     assert_eq!(received, ["one"]);
//!
//!     page.cut(); // the network breaks; what is submitted meanwhile is not lost
//!     store.submit("two")?;
//!     store.submit("three")?;
//!     received.extend(page.collect(2).await?);
//!
//!     assert_eq!(received, ["one", "two", "three"]);
//!     assert_eq!(page.requests(), 2);
//!     assert_contiguous(&received);
//!     assert_conserved(&received, 3);
//!     Ok(())
//! }
//! ```
//!
//! Add it where it is compiled for tests alone: `tornadose` with the feature `test` among your
//! `dev-dependencies`. With the feature come parts of tokio (`net`, `io-util`, `macros`) and
//! socket2.
//!
//! # The client
//!
//! A [`Client`] follows the standard (WHATWG HTML, 9.2), and is as patient as a browser:
//!
//! - It asks with `GET`, `Accept: text/event-stream`, `Cache-Control: no-cache` and
//!   `Pragma: no-cache`, and, if it has an id, `Last-Event-ID`. There is no `Origin`, and
//!   there are no cookies but those that a test [sets](Client::header).
//! - Any status but 200, and any type but `text/event-stream`, is the end for good. So a 204
//!   ends a client, a 401 does, and a 503 does, too. A redirect is not followed.
//! - When the body ends or fails, or the service does, it connects again, after the last
//!   `retry` that it was told, or [3 s](Client::reconnection_time); always after the same time.
//! - The id is that of the last block that has ended, also where that had no data. An empty
//!   one makes it forget; nothing else does, a new connection neither. A block that the stream
//!   breaks off is nothing.
//! - A [`Decoder`] reads the bytes. It shares no code with what writes them.
//!
//! Nothing is spawned and nothing is on a wire: the service is asked, and its body polled, in
//! the task that awaits a method of the client. What a server would do between (compression,
//! time-outs, chunks) is not there; for that, serve it, and ask with
//! [`from_fn`](Client::from_fn) and an HTTP client.
//!
//! A gap is a [`Delivery::Gap`] with its reason and how much is missing; all else is a
//! [`Message`].
//!
//! # Time
//!
//! Each call ends: with what was asked for, or with an [`Incomplete`] that holds what there
//! is, when its [limit](Client::limit) has passed, 10 s of tokio's time by default; when the
//! client has failed for good; or when a stream never stops and never has it.
//!
//! On a paused clock (`#[tokio::test(start_paused = true)]`, with tokio's feature `test-util`)
//! a test takes no time and needs no sleep: tokio moves a paused clock only when nothing in
//! the runtime can run, and then to the next timer. So a reconnection time, a keep-alive or a
//! limit passes at once, and whatever is due by then comes first: a limit is not over before
//! everything has run that could run when it passed. What `spawn_blocking` does holds the
//! clock, too.
//!
//! What comes from elsewhere does not: a thread of your own, another process, a socket. Of
//! those tokio knows nothing, and the clock jumps while they work. There submit from a task,
//! or let the clock run.
//!
//! # What is asserted
//!
//! | | of |
//! |---|---|
//! | [`assert_gap_free`] | no gap; ids of one log, which rise |
//! | [`assert_contiguous`] | the same, and nothing left out |
//! | [`assert_conserved`] | received and missed are together what was submitted |
//!
//! They panic with the first offence.
//!
//! # The network
//!
//! A [`Proxy`] stands before a server on the loopback interface, and delays, trickles,
//! [holds](Way::hold), splits, damages and [cuts](Cut) what passes, as a [`Script`] tells.

mod assertions;
mod client;
mod decoder;
mod delivery;
mod incomplete;
mod proxy;
mod script;
mod source;
mod stream;

pub use assertions::{assert_conserved, assert_contiguous, assert_gap_free};
pub use client::Client;
pub use decoder::{Decoder, Message, decode, normalised};
pub use delivery::Delivery;
pub use incomplete::{Break, Incomplete, IncompleteReason, ReadyState};
pub use proxy::Proxy;
pub use script::{At, Cut, Script, Way};
