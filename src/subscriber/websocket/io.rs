//! A connection on which whole frames are already written.
//!
//! The WebSocket library reads, answers pings and closes. What it does not know stands
//! between it and the wire:
//!
//! - **pages**: frames that were written once for everybody go out as they are, when
//!   the library has nothing half written;
//! - **limits** on what comes in that go by frames: a message's length, summed over
//!   the heads of its fragments before any of it is kept, their number, empty ones
//!   included, and the rate of pings.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Io<I> {
    inner: I,
    page: Bytes,
    guard: Guard,
    /// The other side has sent something, or has read what it had not.
    heard: bool,
    /// It had not read.
    was_full: bool,
    /// Nothing more is looked at.
    is_deaf: bool,
}

/// The limit that a client has broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Violation {
    Length,
    Fragments,
    Pings,
}

/// What a client may send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inbound {
    /// In bytes, the fragments of a message together.
    pub(super) message: usize,
    /// For each message.
    pub(super) fragments: usize,
}

impl<I> Io<I> {
    pub(super) fn new(inner: I, limits: Inbound) -> Self {
        Self {
            inner,
            page: Bytes::new(),
            guard: Guard::new(limits),
            heard: false,
            was_full: false,
            is_deaf: false,
        }
    }

    /// Sends these frames next. Only after a flush: neither the library nor we may have
    /// something half written.
    pub(super) fn send(&mut self, page: Bytes) {
        debug_assert!(self.page.is_empty(), "flushed before");
        self.page = page;
    }

    /// Whether there was a sign of life since this was last asked: anything that has come,
    /// or room again where there was none.
    pub(super) fn heard(&mut self) -> bool {
        std::mem::take(&mut self.heard)
    }

    pub(super) fn violation(&self) -> Option<Violation> {
        self.guard.violation
    }

    /// Reads on, so that the other side is not reset while it still sends, but takes
    /// nothing in.
    pub(super) fn deafen(&mut self) {
        self.is_deaf = true;
    }
}

/// The most that is written at a time: a stream of HTTP/2 takes a copy of whatever it is
/// given, at once and whether or not the other side reads.
const PART: usize = 16 << 10;

impl<I> Io<I> {
    /// Who reads on is alive, though it may be a long way from the ping.
    fn note<T>(&mut self, written: Poll<T>) -> Poll<T> {
        let was_full = std::mem::replace(&mut self.was_full, written.is_pending());
        self.heard |= was_full && written.is_ready();
        written
    }
}

impl<I: AsyncWrite + Unpin> Io<I> {
    fn poll_page(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.page.is_empty() {
            let part = self.page.get(..PART).unwrap_or(&self.page);
            let written = Pin::new(&mut self.inner).poll_write(cx, part);
            let written = ready!(self.note(written))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.page.advance(written);
        }
        // An empty part would keep the whole page.
        self.page = Bytes::new();
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Io<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
            let came = buf.filled().get(before..).unwrap_or_default();
            if came.is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.heard = true;
            let good = if this.is_deaf || this.guard.violation.is_some() {
                0
            } else {
                this.guard.examine(came)
            };
            buf.set_filled(before + good);
            if good > 0 {
                return Poll::Ready(Ok(()));
            }
            if this.guard.violation.is_some() && !this.is_deaf {
                // To be closed for it first; then we are polled again.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Io<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_page(cx))?;
        let part = buf.get(..PART).unwrap_or(buf);
        let written = Pin::new(&mut this.inner).poll_write(cx, part);
        this.note(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_page(cx))?;
        let written = Pin::new(&mut this.inner).poll_write_vectored(cx, bufs);
        this.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_page(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_page(cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

/// Reads the heads of frames (RFC 6455, 5.2), and nothing else; whether they are right is
/// the library's to judge.
#[derive(Debug)]
struct Guard {
    limits: Inbound,
    head: [u8; Self::LONGEST],
    /// How much of the head has come.
    have: usize,
    /// How much of the payload is still to come.
    payload: u64,
    /// Of the message that has begun.
    message: u64,
    fragments: usize,
    /// Control frames since the moment.
    controls: (u32, Option<Instant>),
    violation: Option<Violation>,
}

impl Guard {
    const LONGEST: usize = 14;
    /// Control frames in a second; a client that means well sends one in many seconds.
    const CONTROLS: u32 = 100;

    fn new(limits: Inbound) -> Self {
        Self {
            limits,
            head: [0; Self::LONGEST],
            have: 0,
            payload: 0,
            message: 0,
            fragments: 0,
            controls: (0, None),
            violation: None,
        }
    }

    /// How many of these bytes may be taken in: those before the head that breaks a
    /// limit.
    fn examine(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.payload > 0 {
                let part = usize::try_from(self.payload).map_or(rest.len(), |n| n.min(rest.len()));
                self.payload -= part as u64;
                rest.advance(part);
                continue;
            }
            let begins = bytes.len() - rest.len();
            while self.have < self.head_len() && !rest.is_empty() {
                if let Some(place) = self.head.get_mut(self.have) {
                    *place = rest.get_u8();
                }
                self.have += 1;
            }
            if self.have == self.head_len() {
                self.have = 0;
                self.violation = self.judge();
                if self.violation.is_some() {
                    return begins;
                }
            }
        }
        bytes.len()
    }

    /// The length of the head, as far as it can be told yet.
    fn head_len(&self) -> usize {
        if self.have < 2 {
            return 2;
        }
        let [_, second, ..] = self.head;
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        match second & 0x7f {
            127 => 10 + mask,
            126 => 4 + mask,
            _ => 2 + mask,
        }
    }

    fn judge(&mut self) -> Option<Violation> {
        let [first, second, a, b, c, d, e, f, g, h, ..] = self.head;
        self.payload = match second & 0x7f {
            127 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            126 => u16::from_be_bytes([a, b]).into(),
            len => len.into(),
        };
        match first & 0x0f {
            8.. => return self.control(),
            0 => {
                self.message = self.message.saturating_add(self.payload);
                self.fragments = self.fragments.saturating_add(1);
            }
            _ => {
                self.message = self.payload;
                self.fragments = 1;
            }
        }
        if self.message > self.limits.message as u64 {
            return Some(Violation::Length);
        }
        (self.fragments > self.limits.fragments).then_some(Violation::Fragments)
    }

    fn control(&mut self) -> Option<Violation> {
        let now = Instant::now();
        match &mut self.controls {
            (count, Some(since)) if now.duration_since(*since) < Duration::from_secs(1) => {
                *count += 1;
                (*count > Self::CONTROLS).then_some(Violation::Pings)
            }
            controls => {
                *controls = (1, Some(now));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Inbound = Inbound {
        message: 1000,
        fragments: 3,
    };

    fn frame(first: u8, len: usize) -> Vec<u8> {
        let mut frame = vec![first];
        match len {
            0..126 => frame.push(0x80 | u8::try_from(len).expect("short")),
            _ => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(len).expect("short").to_be_bytes());
            }
        }
        frame.extend([1, 2, 3, 4]);
        frame.extend(vec![0x55; len]);
        frame
    }

    /// Judges these bytes in pieces of this size: how many pass, and what is wrong.
    fn judged(bytes: &[u8], size: usize) -> (usize, Option<Violation>) {
        let mut guard = Guard::new(LIMITS);
        let mut passed = 0;
        for piece in bytes.chunks(size) {
            passed += guard.examine(piece);
            if guard.violation.is_some() {
                break;
            }
        }
        (passed, guard.violation)
    }

    #[test]
    fn what_is_within_the_limits_passes_in_any_pieces() {
        let bytes = [
            frame(0x81, 1000),
            frame(0x01, 400),
            frame(0x89, 5),
            frame(0x00, 0),
            frame(0x80, 600),
            frame(0x82, 126),
        ]
        .concat();
        for size in 1..=bytes.len() {
            assert_eq!(judged(&bytes, size), (bytes.len(), None), "{size}");
        }
    }

    #[test]
    fn a_length_is_refused_before_its_payload_has_come() {
        let good = frame(0x81, 5);
        for len in [1001u64, 65_536, 1 << 32, 1 << 63, u64::MAX] {
            let mut bytes = good.clone();
            bytes.extend([0x81, 0x80 | 127]);
            bytes.extend(len.to_be_bytes());
            bytes.extend([1, 2, 3, 4]);
            assert_eq!(
                judged(&bytes, bytes.len()),
                (good.len(), Some(Violation::Length))
            );
            assert_eq!(judged(&bytes, 1).1, Some(Violation::Length));
        }
        let split = [frame(0x01, 600), frame(0x80, 401)].concat();
        assert_eq!(judged(&split, split.len()), (608, Some(Violation::Length)));
    }

    #[test]
    fn empty_fragments_count() {
        let three = [frame(0x01, 0), frame(0x00, 0), frame(0x00, 0)].concat();
        assert_eq!(judged(&three, 4), (18, None));
        let four = [three, frame(0x00, 0)].concat();
        assert_eq!(judged(&four, 24), (18, Some(Violation::Fragments)));
    }

    #[tokio::test(start_paused = true)]
    async fn pings_have_a_rate() {
        let mut guard = Guard::new(LIMITS);
        for _ in 0..3 {
            for _ in 0..Guard::CONTROLS {
                guard.examine(&frame(0x89, 0));
                assert_eq!(guard.violation, None);
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        for _ in 0..=Guard::CONTROLS {
            guard.examine(&frame(0x8a, 0));
        }
        assert_eq!(guard.violation, Some(Violation::Pings));
    }
}
