//! A server that is killed, stopped and cut off, again and again, and its clients.
#![cfg(unix)]

#[path = "../support/proxy.rs"]
mod proxy;
mod proxy_tests;
