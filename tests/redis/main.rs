//! A log in Redis, on real servers that `tests/install` installs: what is promised of an
//! engine, what other programs may do to it, and everything that a server loses.

mod append;
mod cluster;
mod demo;
mod every;
mod failover;
mod faults;
mod follower;
mod foreign;
mod hubs;
mod once;
mod reading;
mod relay;
mod server;
#[cfg(feature = "redis-tls")]
mod tls;
mod words;

#[path = "../support/elsewhere.rs"]
mod elsewhere;
#[path = "../support/every_hub.rs"]
mod every_hub;
