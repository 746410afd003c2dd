//! A hub that is kept elsewhere: what it promises whatever its engine loses.

mod every;
mod losses;
mod simulated;
mod stored;
mod streams;

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/elsewhere.rs"]
mod elsewhere;
#[path = "../support/engine.rs"]
mod engine;
#[path = "../support/every_hub.rs"]
mod every_hub;
