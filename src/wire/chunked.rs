//! Chunks of an HTTP/1.1 body (RFC 9112, section 7.1).

use std::io::Write;

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
