//! The classes of cases of Autobahn|Testsuite (see `tests/autobahn/run`), with an echo
//! made of `WebSocketSubscriber` on one side and raw bytes on the other.
#![cfg(feature = "websocket")]

mod client;
mod closing;
mod control;
mod echo;
mod fragments;
mod framing;
mod utf8;
