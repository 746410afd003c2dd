//! The socket of a connection, with an eye on its client.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep_until};

use super::pulse::Pulse;
use crate::log::{Latch, Notice};
use crate::socket::{Slot, Stall, Terms, reset};

/// What a guard stands before.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// `None` if it has gone elsewhere.
    fn tcp(&self) -> Option<&TcpStream>;
}

impl Socket for TcpStream {
    fn tcp(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

/// Resets a client that has something to take and takes next to nothing, and everybody when
/// the server has waited long enough. It stays with the socket where a connection leaves
/// hyper, as WebSockets do.
pub(super) struct Guard<S: Socket> {
    socket: S,
    pulse: Arc<Pulse>,
    terms: Terms,
    stall: Stall,
    /// While something waits for room.
    timer: Option<Pin<Box<Sleep>>>,
    cut: Notice,
    _slot: Option<Slot>,
}

impl<S: Socket> Guard<S> {
    pub(super) fn new(
        socket: S,
        pulse: Arc<Pulse>,
        terms: Terms,
        cut: &Arc<Latch>,
        slot: Option<Slot>,
    ) -> Self {
        Self {
            socket,
            pulse,
            terms,
            stall: Stall::default(),
            timer: None,
            cut: Notice::of(cut),
            _slot: slot,
        }
    }

    /// What follows from what the socket has taken.
    fn judge(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                self.pulse.has_written(bytes);
                self.stall.took(bytes);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                self.stall.waits();
                ready!(self.poll_stalled(cx));
                self.reset();
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        written
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.stall.is_over(&self.terms) {
                return Poll::Ready(());
            }
            let Some(due) = self.stall.due(&self.terms) else {
                return Poll::Pending;
            };
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
            ready!(timer.as_mut().poll(cx));
        }
    }

    fn reset(&self) {
        if let Some(tcp) = self.socket.tcp() {
            // If it cannot be reset it is closed, and the kernel has patience with it.
            let _ = reset(&SockRef::from(tcp));
        }
    }

    fn is_cut(&self) -> io::Result<()> {
        match self.cut.is_set() {
            true => Err(io::ErrorKind::ConnectionAborted.into()),
            false => Ok(()),
        }
    }
}

impl<S: Socket> AsyncRead for Guard<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.cut.poll_set(cx).is_ready() {
            this.is_cut()?;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.socket).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            this.pulse.has_read();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Socket> AsyncWrite for Guard<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.is_cut()?;
        let written = Pin::new(&mut this.socket).poll_write(cx, buf);
        this.judge(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.is_cut()?;
        let written = Pin::new(&mut this.socket).poll_write_vectored(cx, bufs);
        this.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    /// Asked for when everything has been written.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.stall.clear();
        this.timer = None;
        Pin::new(&mut this.socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

impl<S: Socket> Drop for Guard<S> {
    fn drop(&mut self) {
        if self.cut.is_set() {
            self.reset();
        }
    }
}
