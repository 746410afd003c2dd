//! `Server` on real sockets, and clients that take their time.
#![cfg(all(unix, feature = "serve"))]

use tokio::net::{TcpListener, TcpStream};

/// For the words that are shared with `tests/http`.
type Connection = TcpStream;

fn listener(tcp: TcpListener) -> TcpListener {
    tcp
}

#[path = "../http/vocabulary.rs"]
#[allow(dead_code, reason = "a part of it is needed")]
mod vocabulary;

mod apps;
mod attacks;
mod bounds;
mod descriptors;
mod ends;
mod heads;
mod limits;
mod peers;
mod serving;
mod slow;
