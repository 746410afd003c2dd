//! `EventSource` behind real sockets: hyper 1 on one side, raw bytes on the other.
#![cfg(feature = "hyper")]

mod attackers;
mod ending;
mod head;
mod http2;
mod leaving;
mod methods;
mod resume;
mod slow;
mod vocabulary;
