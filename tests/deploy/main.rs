//! The configurations of `docs/deployment`, run by the servers that they are for.
#![cfg(unix)]

mod app;
mod client;
mod contract;
mod controls;
#[cfg(feature = "detached")]
mod detached;
mod page;
mod quiet;
mod recipe;
mod reload;
mod tls;
