//! `WebSocketSubscriber` as clients see it: hyper 1 on one side; on the other a client
//! that is none of ours, and raw bytes where no proper client would send them.
#![cfg(feature = "websocket")]

mod attackers;
mod client;
mod ends;
mod handshake;
mod http2;
mod inbound;
mod leaving;
mod life;
mod limits;
mod messages;
mod raw;
mod resume;
mod server;
mod shared;
mod slow;
mod topics;
mod violations;
mod vocabulary;
