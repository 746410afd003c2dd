//! Doors for `tests/fuzz` to what reads bytes and cannot be reached cheaply from outside.
//! They are there with `--cfg fuzzing` alone.

use bytes::Bytes;

#[cfg(feature = "durable")]
pub use crate::backplane::durable::fuzzing as durable;
#[cfg(feature = "nats")]
pub use crate::backplane::nats::fuzzing as nats;
#[cfg(feature = "redis")]
pub use crate::backplane::redis::fuzzing as redis;

#[cfg(feature = "detached")]
use crate::wire::chunked;

/// These as chunks of an HTTP/1.1 body and its end, written in one piece and in many.
#[cfg(feature = "detached")]
pub fn chunks(body: &[Bytes]) -> (Vec<u8>, Vec<Bytes>) {
    let (mut whole, mut pieces) = (Vec::new(), Vec::new());
    for data in body {
        chunked::write(&mut whole, data);
        pieces.extend(chunked::pieces(data.clone()));
    }
    whole.extend_from_slice(chunked::LAST_CHUNK);
    pieces.push(Bytes::from_static(chunked::LAST_CHUNK));
    (whole, pieces)
}
