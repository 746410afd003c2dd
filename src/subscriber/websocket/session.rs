//! One open WebSocket.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_sink::Sink;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_websockets::{
    CloseCode, Config as Codec, Error, Limits, Message, ServerBuilder, WebSocketStream,
};

use super::Config;
use super::io::{Io, Violation};
use super::received::Received;
use crate::log::End;
use crate::log::topics::Control;
use crate::observe::{Ended, Watched};
use crate::planted::planted;
use crate::position::Position;
use crate::subscriber::access::Entered;
use crate::subscriber::shutdown::Departure;
use crate::subscriber::streams::Admitted;
use crate::subscriber::timer::{Due, Timer};
use crate::subscription::Subscription;
use crate::wire::ws::{self, Envelope};

/// How long the other side has to read a close, to answer it and to hang up.
const CLOSING: Duration = Duration::from_secs(5);

/// Why a connection is closed (RFC 6455, 7.4, and its registry; 4000 and above are the
/// application's).
mod code {
    pub(super) const GOING_AWAY: u16 = 1001;
    pub(super) const NO_TEXT: u16 = 1007;
    pub(super) const POLICY: u16 = 1008;
    pub(super) const TOO_BIG: u16 = 1009;
    pub(super) const RESTART: u16 = 1012;
    pub(super) const TRY_AGAIN_LATER: u16 = 1013;
    pub(super) const TOO_SLOW: u16 = 4008;
}

/// How many answers may wait to be sent before nothing more is read.
const MAX_UNSENT: usize = 16;

/// How many pages are sent before others may run: half a megabyte.
const MAX_PAGES: usize = 32;

/// A WebSocket that a handshake has promised and that waits for its connection.
///
/// It is subscribed already: what is submitted while the answer travels is not lost.
pub(crate) struct Session {
    /// `None`: to be told to come back later.
    pub(super) entered: Option<Entered>,
    pub(super) config: Arc<Config>,
    pub(super) farewell: Duration,
}

impl Session {
    /// Speaks over this connection, from behind the handshake to the end.
    pub(crate) async fn run<I: AsyncRead + AsyncWrite + Unpin>(self, io: I) {
        self.run_until(io, std::future::pending()).await;
    }

    /// As [`run`](Self::run), and ends as with a shutdown when a server's own begins.
    pub(crate) async fn run_until<I: AsyncRead + AsyncWrite + Unpin>(
        self,
        io: I,
        shutdown: impl Future<Output = ()>,
    ) {
        let mut connection = Connection::open(self, io);
        let mut shutdown = std::pin::pin!(shutdown);
        let mut has_begun = false;
        poll_fn(|cx| {
            if !has_begun && shutdown.as_mut().poll(cx).is_ready() {
                has_begun = true;
                connection.drain();
            }
            connection.poll(cx)
        })
        .await;
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

struct Connection<I> {
    socket: WebSocketStream<Io<I>>,
    /// While open: the ping and the end of what is permitted. Then: the end of patience.
    timer: Timer,
    state: State,
    /// A ping is on its way and nothing has come since.
    is_pinged: bool,
    /// Answers since everything was last sent.
    unsent: usize,
    config: Arc<Config>,
    farewell: Duration,
    /// The last one to drop: a shutdown has ended when the close has been sent.
    departure: Option<Departure>,
}

enum State {
    Open(Box<Open>),
    /// Our close is on its way, or in answer to theirs.
    Closing,
    /// Nothing more will be said or heard; the connection is kept until the other side
    /// has had time to read the close, which a reset would take away from it.
    Lingering {
        is_shut: bool,
    },
}

struct Open {
    subscription: Subscription,
    admitted: Admitted,
    watched: Watched,
    control: Option<Control>,
    stage: Stage,
    /// The position that was sent last.
    told: Option<Position>,
    /// A bookmark goes with each ping.
    bookmark_due: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Streaming,
    /// A shutdown has begun; until it is this connection's turn, nothing changes.
    Leaving,
    /// It is time to go; what there was by then is still sent.
    Draining,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Connection<I> {
    fn open(session: Session, io: I) -> Self {
        let Session {
            entered,
            config,
            farewell,
        } = session;
        // Messages of ours are not split, and the library has nothing to hold back.
        let codec = Codec::default().frame_size(usize::MAX).flush_threshold(1);
        let limits = Limits::default().max_payload_len(Some(config.inbound.message));
        let server = ServerBuilder::new().config(codec).limits(limits);
        let timer = match &entered {
            Some(entered) => Timer::new(Some(config.ping), entered.lifetime),
            None => Timer::new(None, Some(CLOSING)),
        };
        let mut connection = Self {
            socket: server.serve(Io::new(io, config.inbound)),
            timer,
            state: State::Closing,
            is_pinged: false,
            unsent: 0,
            config,
            farewell,
            departure: None,
        };
        match entered {
            Some(entered) => connection.begin(entered),
            None => connection.close_for_a_while(code::TRY_AGAIN_LATER),
        }
        connection
    }

    fn begin(&mut self, entered: Entered) {
        let told = match entered.subscription.first_gap() {
            Some(_) => None,
            None => entered.subscription.position(),
        };
        let mut frames = Vec::new();
        ws::open(&mut frames, self.config.envelope, told);
        self.socket.get_mut().send(frames.into());
        self.state = State::Open(Box::new(Open {
            subscription: entered.subscription,
            admitted: entered.admitted,
            watched: entered.watched,
            control: entered.control,
            stage: Stage::Streaming,
            told,
            bookmark_due: false,
        }));
        self.departure = entered.departure;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut pages = 0;
        loop {
            if self.is_to_end() {
                return Poll::Ready(());
            }
            let is_sent = match Pin::new(&mut self.socket).poll_flush(cx) {
                Poll::Ready(Ok(())) => true,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => false,
            };
            if is_sent {
                self.unsent = 0;
            }
            if let State::Lingering { .. } = self.state {
                return self.poll_hung_up(cx, is_sent);
            }
            if self.unsent < MAX_UNSENT && self.poll_receive(cx).is_ready() {
                continue;
            }
            if is_sent && self.poll_send(cx).is_ready() {
                // What is received counts against the task's budget. What is sent does
                // not, so that who talks without end still gets its events.
                pages += 1;
                if pages == MAX_PAGES {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                continue;
            }
            return match self.poll_notice(cx) {
                Poll::Ready(Next::Go) => continue,
                Poll::Ready(Next::End) => Poll::Ready(()),
                Poll::Pending => Poll::Pending,
            };
        }
    }

    /// Whoever is no longer permitted gets nothing more, whatever is waiting for it;
    /// whoever does not answer a close is not waited for.
    fn is_to_end(&mut self) -> bool {
        match &self.state {
            State::Open(open) if open.admitted.is_revoked() => {
                self.ends(Ended::Revoked);
                self.close(code::POLICY, "revoked");
            }
            State::Open(_) if self.timer.is_over() => {
                self.ends(Ended::Expired);
                self.close_for_a_while(code::RESTART);
            }
            State::Open(_) => {}
            State::Closing | State::Lingering { .. } => return self.timer.is_over(),
        }
        false
    }

    /// Takes what comes in.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // One read brings a thousand small messages; others must run between them, too.
        let budget = ready!(tokio::task::coop::poll_proceed(cx));
        let received = Pin::new(&mut self.socket).poll_next(cx);
        if self.socket.get_mut().heard() {
            self.is_pinged = false;
            self.timer.sent();
        }
        if received.is_ready() {
            budget.made_progress();
        }
        match received {
            Poll::Ready(Some(Ok(message))) => {
                self.receive(&message);
                Poll::Ready(())
            }
            // The library answers for what breaks the protocol, and ends then.
            Poll::Ready(Some(Err(error))) => {
                if matches!(error, Error::Io(_)) {
                    self.linger();
                } else {
                    self.ends(Ended::Violation);
                    self.leave();
                }
                Poll::Ready(())
            }
            Poll::Ready(None) => {
                self.linger();
                Poll::Ready(())
            }
            Poll::Pending => match (&self.state, self.socket.get_ref().violation()) {
                (State::Open(_), Some(violation)) => {
                    let (code, reason) = match violation {
                        Violation::Length => (code::TOO_BIG, "message too big"),
                        Violation::Fragments => (code::POLICY, "too many fragments"),
                        Violation::Pings => (code::POLICY, "too many pings"),
                    };
                    self.refuse(code, reason);
                    Poll::Ready(())
                }
                _ => Poll::Pending,
            },
        }
    }

    fn receive(&mut self, message: &Message) {
        // A ping has been answered by the library, a close is being so.
        if message.is_ping() {
            self.unsent += 1;
        } else if message.is_close() {
            self.leave();
        }
        let State::Open(open) = &self.state else {
            return;
        };
        if !message.is_text() && !message.is_binary() {
            return;
        }
        let Some(mut received) = Received::new(message, open.admitted.key(), open.control.as_ref())
        else {
            return self.refuse(code::NO_TEXT, "not UTF-8");
        };
        if let Some(on_message) = &self.config.on_message {
            on_message(&mut received);
        }
        for reply in received.into_replies() {
            self.unsent += 1;
            self.say(reply);
        }
    }

    /// Sends what is subscribed.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let State::Open(open) = &mut self.state else {
            return Poll::Pending;
        };
        match open.stage {
            Stage::Streaming => {
                if self.departure.as_ref().is_some_and(Departure::has_begun) {
                    open.leave(self.departure.as_mut(), &mut self.timer);
                }
            }
            Stage::Leaving => {
                if self.timer.take_turn() {
                    open.drain();
                }
            }
            Stage::Draining => {}
        }
        let envelope = self.config.envelope;
        let Poll::Ready(frames) = open.subscription.poll_frames(cx, envelope, &mut open.told)
        else {
            return match open.bookmark(envelope) {
                Some(bookmark) => {
                    self.socket.get_mut().send(bookmark);
                    Poll::Ready(())
                }
                None => Poll::Pending,
            };
        };
        let (code, why) = match (frames, open.subscription.end()) {
            (Some(frames), _) => {
                self.is_pinged &= !planted("alive-while-sending");
                self.socket.get_mut().send(frames);
                return Poll::Ready(());
            }
            (None, Some(End::Slow)) => (code::TOO_SLOW, Ended::Slow),
            (None, Some(End::Unavailable)) => (code::TRY_AGAIN_LATER, Ended::Unavailable),
            (None, _) if open.stage == Stage::Draining => (code::RESTART, Ended::Shutdown),
            (None, _) => (code::GOING_AWAY, Ended::Closed),
        };
        self.ends(why);
        self.close_for_a_while(code);
        Poll::Ready(())
    }

    /// What else there is to wait for: a shutdown, a revocation, the timer.
    fn poll_notice(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if let State::Open(open) = &mut self.state {
            if open.stage == Stage::Streaming
                && let Some(departure) = &mut self.departure
                && departure.poll_begun(cx).is_ready()
            {
                open.leave(self.departure.as_mut(), &mut self.timer);
                return Poll::Ready(Next::Go);
            }
            if open.admitted.poll_revoked(cx).is_ready() {
                return Poll::Ready(Next::Go);
            }
        }
        match self.timer.poll_due(cx) {
            Poll::Ready(Due::KeepAlive) if self.is_pinged => {
                self.ends(Ended::Silent);
                Poll::Ready(Next::End)
            }
            Poll::Ready(Due::KeepAlive) => {
                self.is_pinged = true;
                if let State::Open(open) = &mut self.state {
                    open.bookmark_due = true;
                }
                self.say(Message::ping(Bytes::new()));
                Poll::Ready(Next::Go)
            }
            Poll::Ready(Due::Turn) => {
                self.drain();
                Poll::Ready(Next::Go)
            }
            Poll::Ready(Due::Deadline) => Poll::Ready(Next::Go),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Hangs up, once everything is sent, and waits until the other side has. It may have
    /// done so with its half of the connection, and still read.
    fn poll_hung_up(&mut self, cx: &mut Context<'_>, is_sent: bool) -> Poll<()> {
        let io = self.socket.get_mut();
        if is_sent
            && let State::Lingering { is_shut } = &mut self.state
            && !*is_shut
        {
            match Pin::new(&mut *io).poll_shutdown(cx) {
                Poll::Ready(Ok(())) => *is_shut = true,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
        }
        // Deaf, it is only ready at the end.
        let mut nothing = [0; 4 << 10];
        match Pin::new(io).poll_read(cx, &mut ReadBuf::new(&mut nothing)) {
            Poll::Ready(Ok(())) if is_sent => Poll::Ready(()),
            Poll::Ready(Err(_)) => Poll::Ready(()),
            _ => self.timer.poll_due(cx).map(drop),
        }
    }

    fn drain(&mut self) {
        if let State::Open(open) = &mut self.state
            && open.stage != Stage::Draining
        {
            open.drain();
        }
    }

    /// Closes it for something that the client did, and takes nothing more of it: no
    /// answer either, so none is waited for.
    fn refuse(&mut self, code: u16, reason: &str) {
        self.ends(Ended::Violation);
        self.close(code, reason);
        self.linger();
    }

    /// Closes it with the time after which the client is to come back.
    fn close_for_a_while(&mut self, code: u16) {
        let reason = format!("retry: {}", self.farewell.as_millis());
        self.close(code, &reason);
    }

    fn close(&mut self, code: u16, reason: &str) {
        self.say(Message::close(CloseCode::try_from(code).ok(), reason));
        self.leave();
    }

    /// Says why the stream is about to end, if it is still there.
    fn ends(&mut self, why: Ended) {
        if let State::Open(open) = &mut self.state {
            open.watched.ends(why);
        }
    }

    /// Lets go of what is subscribed, now and not when the other side has answered.
    fn leave(&mut self) {
        if let State::Open(_) = self.state {
            self.state = State::Closing;
            self.timer = Timer::new(None, Some(CLOSING));
        }
    }

    fn linger(&mut self) {
        self.leave();
        self.state = State::Lingering { is_shut: false };
        self.socket.get_mut().deafen();
    }

    /// Puts a message behind what is to be sent. If the other side has closed, it is
    /// not said.
    fn say(&mut self, message: Message) {
        let _ = Pin::new(&mut self.socket).start_send(message);
    }
}

impl Open {
    /// A shutdown has begun: ends at once, or goes on until it is its turn.
    fn leave(&mut self, departure: Option<&mut Departure>, timer: &mut Timer) {
        match departure.and_then(Departure::take_turn) {
            None => self.drain(),
            Some(turn) => {
                timer.leave_at(turn);
                self.stage = Stage::Leaving;
            }
        }
    }

    /// The position that the client does not know yet, as a message.
    fn bookmark(&mut self, envelope: Envelope) -> Option<Bytes> {
        let always = std::mem::take(&mut self.bookmark_due);
        let position = self.subscription.next_bookmark(always)?;
        let mut frames = Vec::new();
        ws::bookmark(&mut frames, envelope, position);
        if frames.is_empty() {
            return None;
        }
        self.told = Some(position);
        Some(frames.into())
    }

    fn drain(&mut self) {
        self.stage = Stage::Draining;
        self.subscription.finish();
    }
}

enum Next {
    Go,
    End,
}
