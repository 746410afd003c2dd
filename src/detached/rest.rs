//! What a socket has yet to take, in chunks of an HTTP/1.1 body.

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice, Write};

use bytes::{Buf, Bytes};
use mio::net::TcpStream;

use crate::planted::planted;
use crate::wire::chunked;

/// Nothing of it is copied: an event that a thousand stalled clients have not taken is
/// there once.
#[derive(Debug, Default)]
pub(super) struct Rest {
    pieces: VecDeque<Bytes>,
}

/// What a socket took.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    All,
    /// So many bytes; it says when there is room again.
    Full(usize),
    Gone,
}

/// So many pieces in one write.
const PIECES: usize = 16;

impl Rest {
    /// One chunk for each of these, and perhaps the end of the body.
    pub(super) fn of(chunks: impl IntoIterator<Item = Bytes>, is_last: bool) -> Self {
        let mut pieces = VecDeque::new();
        for data in chunks {
            pieces.extend(chunked::pieces(data));
        }
        if is_last {
            pieces.push_back(Bytes::from_static(chunked::LAST_CHUNK));
        }
        Self { pieces }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// So many bytes of it have been taken.
    pub(super) fn advance(&mut self, mut bytes: usize) {
        while let Some(first) = self.pieces.front_mut() {
            if bytes < first.len() {
                first.advance(if planted("chunk-torn") { 0 } else { bytes });
                return;
            }
            bytes -= first.len();
            self.pieces.pop_front();
        }
    }

    /// Writes until all is written or the socket is full.
    pub(super) fn send(&mut self, socket: &mut TcpStream) -> Sent {
        let mut taken = 0;
        while !self.is_empty() {
            let mut slices = [IoSlice::new(&[]); PIECES];
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                *slice = IoSlice::new(piece);
            }
            match socket.write_vectored(&slices) {
                Ok(0) => return Sent::Gone,
                Ok(more) => {
                    taken += more;
                    self.advance(more);
                }
                Err(full) if full.kind() == ErrorKind::WouldBlock => return Sent::Full(taken),
                Err(again) if again.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Sent::Gone,
            }
        }
        Sent::All
    }
}

/// Writes until all is written or the socket is full. Only then does it say when it has
/// room again.
pub(super) fn send(socket: &mut TcpStream, bytes: &[u8]) -> Sent {
    let mut taken = 0;
    while let Some(left) = bytes.get(taken..)
        && !left.is_empty()
    {
        match socket.write(left) {
            Ok(0) => return Sent::Gone,
            Ok(more) => taken += more,
            Err(full) if full.kind() == ErrorKind::WouldBlock => return Sent::Full(taken),
            Err(again) if again.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Sent::Gone,
        }
    }
    Sent::All
}

#[cfg(all(test, not(tornadose_loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_what_has_not_been_taken() {
        let chunks = [&b"first"[..], b"", b"a second one"].map(Bytes::from_static);
        let mut whole = Vec::new();
        chunks
            .iter()
            .for_each(|chunk| chunked::write(&mut whole, chunk));
        whole.extend_from_slice(chunked::LAST_CHUNK);
        for taken in 0..=whole.len() {
            let mut rest = Rest::of(chunks.clone(), true);
            rest.advance(taken);
            assert_eq!(
                rest.pieces.iter().flatten().copied().collect::<Vec<_>>(),
                whole[taken..]
            );
            assert_eq!(rest.is_empty(), taken == whole.len());
        }
    }
}
