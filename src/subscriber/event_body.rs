//! The body of an event stream.

use std::convert::Infallible;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use http_body::{Body, Frame, SizeHint};

use super::shutdown::Departure;
use super::streams::Admitted;
use super::timer::{Due, Timer};
use crate::detached::{Offering, Outcome};
use crate::log::End;
use crate::observe::{Ended, Watched};
use crate::planted::planted;
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
/// stream is [without keep-alive](crate::EventSource::without_keep_alive), is not to end
/// at a certain age and does not wait for its turn in a
/// [paced shutdown](crate::Shutdown::paced).
pub struct EventBody {
    /// Not boxed, because servers box bodies.
    stream: Option<Stage>,
    /// Stands for a stream, whose length is not known, though it has none.
    is_head: bool,
}

#[allow(clippy::large_enum_variant, reason = "nearly all are open")]
enum Stage {
    Open(Open),
    /// Its first frame is out, and the connection may want the rest of it.
    Offered(Open, Offering),
    Once(Bytes),
    /// Between two others, or at the end.
    Over,
}

/// What happens to a client that has missed events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnGap {
    /// It is told by an event of the name `gap`, and the stream goes on. The
    /// default.
    #[default]
    Tell,
    /// Its stream ends, and its return is answered `204`, after which a browser
    /// does not come back: for clients that do not listen for `gap` and must not
    /// go on as if nothing had happened. With a store of your own that makes its
    /// subscriptions of streams, a gap is only found on the way, so the return is
    /// answered with a stream that ends again.
    Stop,
}

/// A stream, whoever carries it.
pub(crate) struct Open {
    pub(crate) state: State,
    /// Whether the last poll has found nothing.
    pub(crate) was_quiet: bool,
    pub(crate) subscription: Subscription,
    pub(crate) timer: Timer,
    pub(crate) grant: Grant,
}

/// What a stream has from the request on until it ends.
pub(crate) struct Grant {
    pub(crate) admitted: Admitted,
    pub(crate) watched: Watched,
    pub(crate) on_gap: OnGap,
    /// Told at the end, so that not all clients come back at once.
    pub(crate) farewell: Duration,
    /// It does not leave its server.
    pub(crate) is_attached: bool,
    /// The last one to drop: who sees the end of a shutdown sees nothing of its streams.
    pub(crate) departure: Option<Departure>,
}

#[derive(Debug)]
pub(crate) enum State {
    Opening(Bytes),
    Streaming,
    /// A shutdown has begun; until it is this stream's turn, nothing changes.
    Leaving,
    /// It is time to go; what there was by then is still sent.
    Draining,
    Closing,
}

impl EventBody {
    pub(crate) fn empty() -> Self {
        Self {
            stream: None,
            is_head: false,
        }
    }

    /// What a `HEAD` gets: nothing, of which no server may tell the length.
    pub(crate) fn head() -> Self {
        Self {
            stream: None,
            is_head: true,
        }
    }

    pub(crate) fn open(open: Open) -> Self {
        Self {
            stream: Some(Stage::Open(open)),
            is_head: false,
        }
    }

    /// These bytes and the end.
    pub(crate) fn once(bytes: Bytes) -> Self {
        Self {
            stream: Some(Stage::Once(bytes)),
            is_head: false,
        }
    }

    /// Ends the stream as a shutdown does, from a poll on that finds it streaming.
    #[cfg(feature = "rocket")]
    pub(crate) fn drain(&mut self) {
        if let Some(Stage::Open(open) | Stage::Offered(open, _)) = self.stream.as_mut()
            && matches!(open.state, State::Streaming | State::Leaving)
        {
            open.drain();
        }
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(stage) = self.stream.as_mut() else {
            return Poll::Ready(None);
        };
        if let Stage::Offered(_, offering) = stage {
            let outcome = ready!(offering.poll(cx));
            *stage = stage.resolve(outcome);
        }
        let (bytes, last) = match stage {
            Stage::Once(bytes) => (Some(mem::take(bytes)), true),
            Stage::Open(open) => {
                let is_first = matches!(open.state, State::Opening(_));
                let mut bytes = ready!(open.poll_bytes(cx));
                let last = bytes.is_none() || open.is_over();
                if is_first
                    && let Some(first) = &mut bytes
                    && let Some(offering) = open.offer(first)
                {
                    *stage = stage.offered(offering);
                }
                (bytes, last)
            }
            Stage::Offered(..) | Stage::Over => (None, true),
        };
        if last {
            // What was subscribed is let go of now, not when the connection ends.
            self.stream = None;
        }
        Poll::Ready(bytes)
    }
}

impl Stage {
    fn offered(&mut self, offering: Offering) -> Self {
        match mem::replace(self, Self::Over) {
            Self::Open(open) => Self::Offered(open, offering),
            other => other,
        }
    }

    fn resolve(&mut self, outcome: Outcome) -> Self {
        match (mem::replace(self, Self::Over), outcome) {
            (Self::Offered(open, _), Outcome::Kept) => Self::Open(open),
            (Self::Offered(open, offering), Outcome::Wanted) => {
                offering.give(Box::new(open));
                Self::Over
            }
            (other, _) => other,
        }
    }
}

impl Open {
    /// Offers the stream to the connection, if it may leave its server. `first` is what it
    /// begins with.
    fn offer(&self, first: &mut Bytes) -> Option<Offering> {
        if self.grant.is_attached || !self.subscription.is_of_log() {
            return None;
        }
        let (offering, named) = Offering::make(first)?;
        *first = named;
        Some(offering)
    }

    /// Whether nothing comes any more.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Closing)
    }

    /// The next blocks. `Closing` is entered with the last of them, or with none.
    pub(crate) fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        // Servers ask again before they write what they have got, and when they have.
        let is_quiet = mem::take(&mut self.was_quiet) && self.is_quiet(cx);
        let polled = match is_quiet {
            true => Poll::Pending,
            false => self.poll_next(cx),
        };
        self.was_quiet = polled.is_pending();
        polled
    }

    /// Whether nothing can have happened since nothing was found, and whoever asks now is
    /// woken as it was said then.
    fn is_quiet(&self, cx: &Context<'_>) -> bool {
        let grant = &self.grant;
        matches!(self.state, State::Streaming)
            && self.subscription.is_quiet()
            && !grant.departure.as_ref().is_some_and(Departure::has_begun)
            && !grant.admitted.is_revoked()
            && self.timer.is_asleep(cx)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match &mut self.state {
            State::Opening(preamble) => {
                let preamble = mem::take(preamble);
                self.state = State::Streaming;
                return Poll::Ready(Some(preamble));
            }
            State::Streaming => {
                if self
                    .grant
                    .departure
                    .as_ref()
                    .is_some_and(Departure::has_begun)
                {
                    self.leave();
                }
            }
            State::Leaving => {
                if self.timer.take_turn() {
                    self.drain();
                }
            }
            State::Draining => {}
            State::Closing => return Poll::Ready(None),
        }
        // Who is no longer permitted gets nothing more, whatever is waiting for it.
        if self.grant.admitted.is_revoked() && !planted("revoked-still-sent") {
            return self.close(Ended::Revoked);
        }
        if self.timer.is_over() {
            return self.close(Ended::Expired);
        }
        loop {
            return match self.subscription.poll_chunk(cx) {
                // What was submitted behind a revocation has been found, too.
                Poll::Ready(Some(_))
                    if self.grant.admitted.is_revoked() && !planted("revoked-still-sent") =>
                {
                    self.close(Ended::Revoked)
                }
                Poll::Ready(Some(Chunk::Gap(_))) if self.grant.on_gap == OnGap::Stop => {
                    // The client comes back with the id it has, and gets its 204 then.
                    self.grant.watched.ends(Ended::Gap);
                    self.state = State::Closing;
                    Poll::Ready(None)
                }
                Poll::Ready(Some(Chunk::Events(bytes) | Chunk::Gap(bytes))) => {
                    self.timer.sent();
                    Poll::Ready(Some(bytes))
                }
                Poll::Ready(None) => match (self.subscription.end(), &self.state) {
                    (Some(End::Slow), _) => self.close(Ended::Slow),
                    (Some(End::Unavailable), _) => self.close(Ended::Unavailable),
                    (_, State::Draining) => self.close(Ended::Shutdown),
                    _ => self.close(Ended::Closed),
                },
                // Woken by the subscription, the shutdown, a revocation or the timer.
                Poll::Pending => {
                    if matches!(self.state, State::Streaming)
                        && let Some(departure) = &mut self.grant.departure
                        && departure.poll_begun(cx).is_ready()
                    {
                        self.leave();
                        continue;
                    }
                    if self.grant.admitted.poll_revoked(cx).is_ready() {
                        return self.close(Ended::Revoked);
                    }
                    if let Some(position) = self.subscription.next_bookmark(false) {
                        return Poll::Ready(Some(sse::bookmark(position)));
                    }
                    match self.timer.poll_due(cx) {
                        Poll::Ready(Due::KeepAlive) => {
                            let bookmark = self.subscription.next_bookmark(true);
                            Poll::Ready(Some(bookmark.map_or(sse::COMMENT, sse::bookmark)))
                        }
                        Poll::Ready(Due::Turn) => {
                            self.drain();
                            continue;
                        }
                        Poll::Ready(Due::Deadline) => self.close(Ended::Expired),
                        Poll::Pending => Poll::Pending,
                    }
                }
            };
        }
    }

    /// A shutdown has begun: ends at once, or goes on until it is its turn.
    fn leave(&mut self) {
        let turn = self.grant.departure.as_mut().and_then(Departure::take_turn);
        match turn {
            None => self.drain(),
            Some(turn) => {
                self.timer.leave_at(turn);
                self.state = State::Leaving;
            }
        }
    }

    fn drain(&mut self) {
        self.state = State::Draining;
        self.subscription.finish();
    }

    fn close(&mut self, why: Ended) -> Poll<Option<Bytes>> {
        self.grant.watched.ends(why);
        self.state = State::Closing;
        if planted("drain-without-retry") {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(sse::farewell(self.grant.farewell)))
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
            None if !self.is_head => SizeHint::with_exact(0),
            _ => SizeHint::new(),
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
        let subscription = match self.stream.as_ref() {
            Some(Stage::Open(open) | Stage::Offered(open, _)) => Some(&open.subscription),
            Some(Stage::Once(_) | Stage::Over) | None => None,
        };
        f.debug_struct("EventBody")
            .field("subscription", &subscription)
            .finish_non_exhaustive()
    }
}
