//! The body of an event stream.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use http_body::{Body, Frame, SizeHint};

use super::keep_alive::KeepAlive;
use super::shutdown::Notice;
use crate::subscription::{Chunk, Subscription};
use crate::wire::sse;

/// The response body of an [`EventSource`](crate::EventSource): both an
/// [`http_body::Body`] and a [`Stream`] of bytes, so that it fits every server.
///
/// Each frame is one or more whole blocks, so nothing ever stands inside an event.
/// It never fails. Dropping it is how a client leaves: nothing of it stays behind.
///
/// # Runtime
///
/// Polled inside a tokio runtime it sends keep-alive comments; polled anywhere else
/// it sends only events.
///
/// # Panics
///
/// Polling panics, as all timers of tokio do, inside a tokio runtime that was built
/// without time (`#[tokio::main]` and `enable_all` build it with time), unless the
/// stream is [without keep-alive](crate::EventSource::without_keep_alive).
pub struct EventBody {
    stream: Option<Box<Open>>,
}

/// What happens to a client that has missed events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnGap {
    /// It is told by an event of the name `gap`, and the stream goes on. The
    /// default.
    #[default]
    Tell,
    /// Its stream ends, and its return is answered `204`, after which a browser
    /// does not come back: for clients that do not listen for `gap` and must not
    /// go on as if nothing had happened.
    Stop,
}

struct Open {
    subscription: Subscription,
    state: State,
    keep_alive: KeepAlive,
    shutdown: Option<Notice>,
    on_gap: OnGap,
    /// Told at the end, so that not all clients come back at once.
    farewell: Duration,
}

#[derive(Debug)]
enum State {
    Opening(Bytes),
    Streaming,
    /// A shutdown has begun; what there was by then is still sent.
    Draining,
    Closing,
}

impl EventBody {
    pub(crate) fn empty() -> Self {
        Self { stream: None }
    }

    pub(crate) fn open(
        subscription: Subscription,
        preamble: Bytes,
        keep_alive: Option<Duration>,
        shutdown: Option<Notice>,
        on_gap: OnGap,
        farewell: Duration,
    ) -> Self {
        Self {
            stream: Some(Box::new(Open {
                subscription,
                state: State::Opening(preamble),
                keep_alive: KeepAlive::new(keep_alive),
                shutdown,
                on_gap,
                farewell,
            })),
        }
    }

    /// Ends the stream as a shutdown does, from a poll on that finds it streaming.
    #[allow(dead_code, reason = "for servers that tell us of their own shutdown")]
    pub(crate) fn drain(&mut self) {
        if let Some(open) = &mut self.stream
            && matches!(open.state, State::Streaming)
        {
            open.drain();
        }
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(open) = &mut self.stream else {
            return Poll::Ready(None);
        };
        let bytes = std::task::ready!(open.poll_bytes(cx));
        if bytes.is_none() || matches!(open.state, State::Closing) {
            // What was subscribed is let go of now, not when the connection ends.
            self.stream = None;
        }
        Poll::Ready(bytes)
    }
}

impl Open {
    /// `Closing` is entered with the last bytes, or with none.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match &mut self.state {
            State::Opening(preamble) => {
                let preamble = std::mem::take(preamble);
                self.state = State::Streaming;
                return Poll::Ready(Some(preamble));
            }
            State::Streaming => {
                if self.shutdown.as_ref().is_some_and(Notice::has_begun) {
                    self.drain();
                }
            }
            State::Draining => {}
            State::Closing => return Poll::Ready(None),
        }
        loop {
            return match self.subscription.poll_chunk(cx) {
                Poll::Ready(Some(Chunk::Gap(_))) if self.on_gap == OnGap::Stop => {
                    // The client comes back with the id it has, and gets its 204 then.
                    self.state = State::Closing;
                    Poll::Ready(None)
                }
                Poll::Ready(Some(Chunk::Events(bytes) | Chunk::Gap(bytes))) => {
                    self.keep_alive.sent();
                    Poll::Ready(Some(bytes))
                }
                Poll::Ready(None) => self.close(),
                // Woken by the subscription, by the shutdown or by the timer.
                Poll::Pending => {
                    if let Some(shutdown) = &mut self.shutdown
                        && shutdown.poll_begun(cx).is_ready()
                    {
                        self.drain();
                        continue;
                    }
                    self.keep_alive.poll_due(cx).map(|()| Some(sse::COMMENT))
                }
            };
        }
    }

    fn drain(&mut self) {
        self.state = State::Draining;
        self.shutdown = None;
        self.subscription.finish();
    }

    fn close(&mut self) -> Poll<Option<Bytes>> {
        self.state = State::Closing;
        Poll::Ready(Some(sse::farewell(self.farewell)))
    }
}

impl Body for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.get_mut()
            .poll_bytes(cx)
            .map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.stream {
            None => SizeHint::with_exact(0),
            Some(_) => SizeHint::new(),
        }
    }
}

impl Stream for EventBody {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_bytes(cx).map(|bytes| bytes.map(Ok))
    }
}

impl fmt::Debug for EventBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventBody")
            .field(
                "subscription",
                &self.stream.as_ref().map(|open| &open.subscription),
            )
            .finish_non_exhaustive()
    }
}
