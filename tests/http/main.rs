//! `EventSource` behind real sockets: hyper 1 on one side, raw bytes on the other.
#![cfg(feature = "hyper")]

use tokio::net::{TcpListener, TcpStream};

/// What accepts, and what is accepted. `detached.rs` has others, and the same tests.
type Connection = TcpStream;

/// Whether a connection can be used again when its stream has ended.
const IS_KEPT: bool = true;

fn listener(tcp: TcpListener) -> TcpListener {
    tcp
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
