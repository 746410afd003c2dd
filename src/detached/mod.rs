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
//! # What leaves, and what stays
//!
//! What leaves is an [`EventSource`](crate::EventSource)'s answer in chunks over plain
//! HTTP/1.1. The [`Io`] recognises it by the very bytes of its first frame, at their
//! address (`offer.rs`): whatever is between the two and copies, compresses, re-frames or
//! encrypts them keeps it from being recognised, and then the stream stays with its server
//! as it does everywhere else, with the same promises. So stay: HTTP/2, TLS, HTTP/1.0,
//! `HEAD`, compressed bodies, a hyper that is told `writev(false)` or
//! `pipeline_flush(true)`, stores of your own that make subscriptions of streams, Windows,
//! and what is told to stay
//! ([`EventSource::attached`](crate::EventSource::attached)).
//!
//! A layer that lets the first frame, which is a comment, pass as it is and changes later
//! ones cannot be seen: such a handler must be told to stay.
//!
//! # What a server sees
//!
//! A response that has ended: limits of concurrency, time-outs of bodies, and logs of what
//! ends no longer count the stream. [`EventSource::streams`](crate::EventSource::streams)
//! does. A request that a client has sent behind the one for the stream, without waiting, is
//! handled, and its answer goes nowhere.
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

mod engine;
mod feed;
mod inbox;
mod io;
mod listener;
mod offer;
mod shard;
mod stream;
mod wire;

pub use self::io::Io;
pub use self::listener::Listener;
pub(crate) use self::offer::{Offering, Outcome};
