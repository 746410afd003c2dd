//! Chunks of an HTTP/1.1 body (RFC 9112, section 7.1).

use std::io::Write;

use bytes::Bytes;

/// The end of a body, without trailers.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Writes one chunk. An empty one would end the body and is left out.
pub(crate) fn write(out: &mut Vec<u8>, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    // Into memory: it cannot fail.
    let _ = write!(out, "{:X}\r\n", data.len());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// The same in pieces, for data that is shared.
pub(crate) fn pieces(data: Bytes) -> impl Iterator<Item = Bytes> {
    let is_chunk = !data.is_empty();
    let size = Bytes::from(format!("{:X}\r\n", data.len()));
    let pieces = is_chunk.then(|| [size, data, Bytes::from_static(b"\r\n")]);
    pieces.into_iter().flatten()
}
