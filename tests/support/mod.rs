//! The words that the tests speak.
#![allow(
    dead_code,
    reason = "every test target takes only the words that it needs"
)]

pub(crate) mod clock;
pub(crate) mod position;
pub(crate) mod reader;
pub(crate) mod store;
