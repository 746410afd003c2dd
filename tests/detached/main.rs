//! Streams that leave their server, judged by raw bytes: who leaves and who stays, that
//! nothing shows at the seam, and how it ends. What is promised of every stream over HTTP
//! is asked of these in `tests/http/detached.rs`.
#![cfg(all(unix, feature = "hyper"))]

use tokio::net::TcpListener;
use tornadose::{Io, Listener};

/// What is accepted, for the words that are shared with `tests/http`.
type Connection = Io;

fn listener(tcp: TcpListener) -> Listener {
    Listener::new(tcp)
}

#[path = "../http/vocabulary.rs"]
#[allow(dead_code, reason = "a part of it is needed")]
mod vocabulary;

mod clients;
mod ends;
mod leaves;
mod quiet;
mod same;
mod seams;
mod servers;
mod slow;
mod stays;
mod stress;
mod threads;
mod transcript;
