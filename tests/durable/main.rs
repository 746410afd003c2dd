//! The log in a file: what it stores, what it survives, how it fails.

mod contract;
mod damage;
mod every;
mod full;
mod hub;
mod keep;
mod kill;
mod support;

#[path = "../support/elsewhere.rs"]
mod elsewhere;
#[path = "../support/every_hub.rs"]
mod every_hub;
