//! Without the feature `detached`, or on a platform that has no such thing, no body is
//! ever offered to a connection.

use std::task::{Context, Poll};

use bytes::Bytes;

use crate::subscriber::Open;

pub(crate) enum Offering {}

#[allow(dead_code, reason = "nothing is ever offered")]
pub(crate) enum Outcome {
    Kept,
    Wanted,
}

impl Offering {
    pub(crate) fn make(_: &Bytes) -> Option<(Self, Bytes)> {
        None
    }

    pub(crate) fn poll(&mut self, _: &mut Context<'_>) -> Poll<Outcome> {
        match *self {}
    }

    pub(crate) fn give(self, _: Box<Open>) {
        match self {}
    }
}
