//! A connection that its stream can take over.

use std::fmt;
use std::io::{self, IoSlice};
use std::mem;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::engine::Engine;
use super::offer::{Claim, Taker};
use crate::socket::Slot;
use crate::wire::chunked::LAST_CHUNK;

/// A connection that a [`Listener`](super::Listener) accepted: a TCP stream that carries
/// whatever its server reads and writes, until an event stream takes it over.
///
/// From then on the server sees a client that has hung up behind a complete response: the
/// end of that response goes nowhere, then what it reads is the end, and what it writes is
/// an error. It drops the connection, and the stream goes on without it.
pub struct Io {
    /// Until it is handed over.
    tcp: Option<TcpStream>,
    phase: Phase,
    engine: Arc<Engine>,
    _taker: Taker,
    /// Whoever has the socket has this.
    slot: Option<Slot>,
}

enum Phase {
    Attached,
    /// So many bytes of the head and the first frame are still to be written.
    Claimed(Claim, usize),
    Detached(Claim),
    /// The server has ended the response, and the stream is gone with the socket.
    Gone,
}

impl Io {
    pub(crate) fn new(tcp: TcpStream, engine: Arc<Engine>, slot: Option<Slot>) -> Self {
        Self {
            tcp: Some(tcp),
            phase: Phase::Attached,
            engine,
            _taker: Taker::new(),
            slot,
        }
    }

    /// Whether small writes leave at once (`TCP_NODELAY`). A stream that takes the
    /// connection over sets it for itself.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.tcp()?.set_nodelay(nodelay)
    }

    /// Whose connection it is.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp()?.peer_addr()
    }

    /// Which of our addresses it came to.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp()?.local_addr()
    }

    pub(crate) fn tcp(&self) -> io::Result<&TcpStream> {
        self.tcp.as_ref().ok_or_else(gone)
    }

    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        match &mut self.tcp {
            Some(tcp) => Ok(Pin::new(tcp)),
            None => Err(gone()),
        }
    }

    fn is_detached(&self) -> bool {
        matches!(self.phase, Phase::Detached(_) | Phase::Gone)
    }

    /// What the server writes behind what has been written: the end of the response, or, if
    /// its client has sent another request, something that nobody will read. With the end
    /// the socket is handed over, however long the server keeps the connection for that.
    fn ignore(&mut self, bytes: usize) -> io::Result<usize> {
        if matches!(self.phase, Phase::Detached(_)) && bytes == LAST_CHUNK.len() {
            self.hand_over();
            return Ok(bytes);
        }
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn hand_over(&mut self) {
        if let Phase::Detached(claim) = mem::replace(&mut self.phase, Phase::Gone)
            && let Some(tcp) = self.tcp.take()
            && let Some(open) = claim.take()
            && let Ok(tcp) = tcp.into_std()
        {
            self.engine.adopt(tcp, open, self.slot.take());
        }
    }

    /// So many bytes are about to be written. If they are others than those that were
    /// claimed, something writes behind the first frame: then the stream stays.
    fn check(&mut self, bytes: usize) {
        if let Phase::Claimed(_, left) = self.phase
            && left != bytes
        {
            self.phase = Phase::Attached;
        }
    }

    /// So many bytes were written.
    fn wrote(&mut self, bytes: usize) {
        let Phase::Claimed(_, left) = &mut self.phase else {
            return;
        };
        *left = left.saturating_sub(bytes);
        if *left > 0 {
            return;
        }
        if let Phase::Claimed(claim, _) = mem::replace(&mut self.phase, Phase::Attached)
            && claim.written()
        {
            self.phase = Phase::Detached(claim);
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match &this.phase {
            // The end, but not before the body has its last poll: a server drops the body
            // of a client that hangs up too early.
            Phase::Detached(claim) => return claim.poll_given(cx).map(Ok),
            Phase::Gone => return Poll::Ready(Ok(())),
            Phase::Attached | Phase::Claimed(..) => {}
        }
        this.stream()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_detached() {
            return Poll::Ready(this.ignore(buf.len()));
        }
        this.check(buf.len());
        let written = ready!(this.stream()?.poll_write(cx, buf))?;
        this.wrote(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let all = || bufs.iter().map(|buf| buf.len()).sum();
        match this.phase {
            Phase::Detached(_) | Phase::Gone => return Poll::Ready(this.ignore(all())),
            Phase::Attached => {
                if let Some(claim) = Claim::of(bufs, || this.engine.takes_streams()) {
                    this.phase = Phase::Claimed(claim, all());
                }
            }
            Phase::Claimed(..) => this.check(all()),
        }
        let written = ready!(this.stream()?.poll_write_vectored(cx, bufs))?;
        this.wrote(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_detached() {
            return Poll::Ready(Ok(()));
        }
        this.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_detached() {
            return Poll::Ready(Ok(()));
        }
        this.stream()?.poll_shutdown(cx)
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        self.hand_over();
    }
}

/// The stream has taken the connection over.
fn gone() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io")
            .field("tcp", &self.tcp)
            .field("is_detached", &self.is_detached())
            .finish_non_exhaustive()
    }
}
