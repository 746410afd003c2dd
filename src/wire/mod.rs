//! The only room that writes a line break, a field name or the head of a frame.

#[cfg(feature = "detached")]
pub(crate) mod chunked;
pub(crate) mod json;
pub(crate) mod sse;
#[cfg(feature = "websocket")]
pub(crate) mod ws;
