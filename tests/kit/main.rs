//! The kit for tests: that it follows the standard, never waits for ever, and finds what it
//! is to find.

mod app;
mod assertions;
mod client;
mod clock;
mod decoder;
mod proxy;
mod scripted;
