//! The configurations of `docs/deployment`, run by the servers that they are for.
#![cfg(unix)]

mod app;
mod client;
mod contract;
mod controls;
#[path = "../support/decoder.rs"]
#[allow(dead_code, reason = "it has more words than are needed here")]
mod decoder;
#[cfg(feature = "detached")]
mod detached;
mod page;
mod quiet;
mod recipe;
mod reload;
mod tls;
