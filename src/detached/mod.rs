//! Streams that leave their server: the loops that own sockets after the head.
//!
//! A server is needed to read a request and to write a head. After that it holds, for each
//! event stream, a task, buffers and a state machine, in order to do what comes down to
//! `send(socket, bytes)`. So behind a [`Listener`] a stream leaves when its head is out: the
//! server sees a response that has ended and a client that has hung up, and lets go of
//! everything; the socket goes to a *shard*, a thread that keeps a socket and a position.
//!
//! ```text
//!  accept ─► Io ─► hyper, axum ─► EventSource ─► EventBody
//!            │ sees the first frame of the body pass     │ offers itself
//!            └──────────────► shard ◄────────────────────┘
//!                             socket + position
//! ```
//!
//! What leaves, what stays and what a server sees of it is told at [`Listener`].
//!
//! # Shards
//!
//! A stream that has read everything is one number in a *feed* (`feed.rs`): one cursor reads
//! for all of them, what it reads is framed once, and a pass writes that slice to every
//! socket. Whoever is slow, or leaves, or has something of its own to be told, goes on by
//! itself (`stream.rs`): the same state machine as in a body, with the socket in the place
//! of the server. Streams of a [`Hub`](crate::Hub), of a store that waits for its slowest
//! reader, or with a minimum interval are always such ones.
//!
//! A publisher wakes a feed, not its streams, and never writes to a socket.

mod client;
mod engine;
mod feed;
mod inbox;
mod io;
mod listener;
mod offer;
mod rest;
mod shard;
mod stream;

#[cfg(feature = "serve")]
pub(crate) use self::engine::Engine;
pub use self::io::Io;
pub use self::listener::Listener;
pub(crate) use self::offer::{Offering, Outcome};
