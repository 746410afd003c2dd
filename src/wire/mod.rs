//! Bytes: the only room that writes a line break or a field name. No lock, no
//! clock, no await.

pub(crate) mod sse;
