//! How a body and the connection that carries it find each other.
//!
//! Between the two stands a server that knows of neither. The first frame of a body is an
//! allocation of its own, so its address is a name that nobody else has while it lives:
//! the body offers itself under that name, and an [`Io`](super::Io) that is asked to write
//! these very bytes, in one chunk of an HTTP/1.1 response and with nothing behind them,
//! knows that what it carries is that body, unchanged.
//!
//! ```text
//!  body     Offered ──────► Claimed ──────► Written ──────► Given
//!              │     io sees    io has written   body is polled
//!              ▼     the bytes  them to the end  and hands itself over
//!            Kept: the body is polled again and nobody has claimed it
//! ```
//!
//! # Locks
//!
//! `OFFERS`, then an offer's `state`; neither is held while a waker is woken or a stream
//! dropped. Who moves `state` away from `Offered` decides: so a body either goes on or is
//! taken, never both.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::mem;
use std::sync::Arc;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::log::{Gauge, Mutex};
use crate::subscriber::Open;

/// What is offered and neither claimed nor kept, by the address of its first frame.
static OFFERS: LazyLock<Mutex<BTreeMap<usize, Arc<Offer>>>> = LazyLock::new(Mutex::default);

/// How many connections there are that can take a stream. While there is none, no body
/// offers itself.
static TAKERS: LazyLock<Gauge> = LazyLock::new(Gauge::new);

/// How many offers there are, so that every other chunk is written without a look at them.
/// Who writes an offered frame has been handed it since the offer was made.
static COUNT: LazyLock<Gauge> = LazyLock::new(Gauge::new);

pub(super) struct Offer {
    /// Held, so that the address is nobody else's.
    first: Bytes,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    phase: Phase,
    body: Option<Waker>,
    reader: Option<Waker>,
}

#[derive(Default)]
enum Phase {
    #[default]
    Offered,
    Claimed,
    Written,
    Given(Box<Open>),
    /// Kept, taken, or dropped by one of the two.
    Over,
}

/// A body's side of an offer. Dropped, it is withdrawn.
pub(crate) struct Offering {
    offer: Arc<Offer>,
    was_polled: bool,
}

/// What becomes of an offer.
pub(crate) enum Outcome {
    /// Nobody wanted it: the body goes on.
    Kept,
    /// The connection waits for the stream.
    Wanted,
}

impl Offering {
    /// Offers the body that begins with these bytes; they are what it must begin with.
    /// `None` if there is nobody who could want it.
    pub(crate) fn make(first: &Bytes) -> Option<(Self, Bytes)> {
        if TAKERS.get() == 0 {
            return None;
        }
        let first = Bytes::copy_from_slice(first);
        let offer = Arc::new(Offer {
            first: first.clone(),
            state: Mutex::default(),
        });
        OFFERS.lock().insert(address(&first), Arc::clone(&offer));
        COUNT.add();
        let offering = Self {
            offer,
            was_polled: false,
        };
        Some((offering, first))
    }

    /// Servers ask for a second frame before they write the first one. So this is pending
    /// once, and only then asks whether somebody has seen it.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let mut state = self.offer.state.lock();
        match state.phase {
            Phase::Offered if self.was_polled => {
                state.phase = Phase::Over;
                drop(state);
                Poll::Ready(Outcome::Kept)
            }
            Phase::Offered => {
                drop(state);
                self.was_polled = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Phase::Claimed => {
                let before = state.body.replace(cx.waker().clone());
                drop(state);
                drop(before);
                Poll::Pending
            }
            Phase::Written => Poll::Ready(Outcome::Wanted),
            Phase::Given(_) | Phase::Over => Poll::Ready(Outcome::Kept),
        }
    }

    /// Hands the stream over to the connection, which may be gone by now.
    pub(crate) fn give(self, open: Box<Open>) {
        let mut state = self.offer.state.lock();
        if !matches!(state.phase, Phase::Written) {
            return;
        }
        state.phase = Phase::Given(open);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Drop for Offering {
    fn drop(&mut self) {
        OFFERS.lock().remove(&address(&self.offer.first));
        COUNT.sub();
        let mut state = self.offer.state.lock();
        let reader = match state.phase {
            Phase::Given(_) => None,
            _ => {
                state.phase = Phase::Over;
                state.reader.take()
            }
        };
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

/// A connection's side of an offer.
pub(super) struct Claim(Arc<Offer>);

impl Claim {
    /// Claims what these slices of a response end with, if it is offered and somebody
    /// `takes` it.
    pub(super) fn of(slices: &[IoSlice<'_>], takes: impl FnOnce() -> bool) -> Option<Self> {
        // In this order: every chunk of every response comes by.
        if COUNT.get() == 0 {
            return None;
        }
        let [.., size, first, end] = slices else {
            return None;
        };
        if **end != *b"\r\n" || **size != *format!("{:X}\r\n", first.len()).as_bytes() {
            return None;
        }
        let offer = {
            let offers = OFFERS.lock();
            let offer = offers.get(&(first.as_ptr() as usize))?;
            if offer.first.len() != first.len() {
                return None;
            }
            Arc::clone(offer)
        };
        if !takes() {
            return None;
        }
        let mut state = offer.state.lock();
        if !matches!(state.phase, Phase::Offered) {
            return None;
        }
        state.phase = Phase::Claimed;
        drop(state);
        Some(Self(offer))
    }

    /// Everything up to the end of the first frame has been written. `false` if the body is
    /// gone by now.
    pub(super) fn written(&self) -> bool {
        let mut state = self.0.state.lock();
        let is_there = matches!(state.phase, Phase::Claimed);
        if is_there {
            state.phase = Phase::Written;
        }
        let body = state.body.take();
        drop(state);
        if let Some(body) = body {
            body.wake();
        }
        is_there
    }

    /// Waits until the body has handed over what it had, or is gone.
    pub(super) fn poll_given(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.state.lock();
        if matches!(state.phase, Phase::Given(_) | Phase::Over) {
            return Poll::Ready(());
        }
        let before = state.reader.replace(cx.waker().clone());
        drop(state);
        drop(before);
        Poll::Pending
    }

    /// The stream, if it was handed over.
    pub(super) fn take(self) -> Option<Box<Open>> {
        let mut state = self.0.state.lock();
        match mem::replace(&mut state.phase, Phase::Over) {
            Phase::Given(open) => Some(open),
            _ => None,
        }
    }
}

impl Drop for Claim {
    /// A connection that is gone before it has written what it claimed: the body goes on, for
    /// whoever else may hold it.
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        let given = mem::replace(&mut state.phase, Phase::Over);
        let body = state.body.take();
        drop(state);
        drop(given);
        if let Some(body) = body {
            body.wake();
        }
    }
}

/// Says that there is somebody who takes streams, while it lives.
#[derive(Debug)]
pub(super) struct Taker(());

impl Taker {
    pub(super) fn new() -> Self {
        TAKERS.add();
        Self(())
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        TAKERS.sub();
    }
}

fn address(first: &Bytes) -> usize {
    first.as_ptr() as usize
}

#[cfg(all(test, not(tornadose_loom)))]
mod tests {
    use super::*;

    /// A body need not be dropped with its connection: a task of a layer may hold it.
    #[test]
    fn a_connection_that_breaks_before_it_has_written_lets_the_body_go_on() {
        let _taker = Taker::new();
        let (mut offering, first) = Offering::make(&Bytes::from_static(b":\n\n")).expect("a taker");
        let mut cx = Context::from_waker(Waker::noop());
        assert!(offering.poll(&mut cx).is_pending());
        let slices = [&b"head"[..], b"3\r\n", &first, b"\r\n"].map(IoSlice::new);
        let claim = Claim::of(&slices, || true).expect("it is offered");
        assert!(offering.poll(&mut cx).is_pending());
        drop(claim);
        assert!(matches!(offering.poll(&mut cx), Poll::Ready(Outcome::Kept)));
    }
}
