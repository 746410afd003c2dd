//! The same as in `main.rs`, with streams that leave hyper.
#![cfg(all(unix, feature = "hyper", feature = "detached"))]

use tokio::net::TcpListener;
use tornadose::{Io, Listener};

type Connection = Io;

/// Whether a connection can be used again when its stream has ended.
const IS_KEPT: bool = false;

fn listener(tcp: TcpListener) -> Listener {
    Listener::new(tcp)
}

mod attackers;
mod ending;
mod head;
mod http2;
mod leaving;
mod methods;
mod resume;
mod slow;
mod vocabulary;
