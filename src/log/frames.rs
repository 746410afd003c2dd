//! Events as the messages of a WebSocket, joined, and written once for everybody who
//! has read equally far.
//!
//! They are written when they are first read, not when they are submitted: a log that
//! nobody reads over WebSockets pays nothing. Only the last page is kept, so what a
//! log holds is still what its retention says.

use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::ring::Ring;
use super::sync::Mutex;
use super::{Cursor, Found, Log, PAGE, Run};
use crate::entry::Entry;
use crate::planted::planted;
use crate::position::Position;
use crate::wire::ws::{self, Envelope};

/// The page that was written last, in each envelope. Locked after `ring`, or alone
/// while one is written; who holds `ring` does not wait for that.
#[derive(Debug, Default)]
pub(super) struct Cache {
    full: Mutex<Option<Run>>,
    data: Mutex<Option<Run>>,
}

impl Cache {
    fn of(&self, envelope: Envelope) -> &Mutex<Option<Run>> {
        match envelope {
            Envelope::Full => &self.full,
            Envelope::Data => &self.data,
        }
    }
}

enum Taken {
    /// Written before, for somebody else.
    Written(Bytes),
    /// To be written for everybody, without a lock.
    Page(Vec<Entry>),
    /// Behind another event than for everybody else.
    Alone(Entry),
}

impl Log {
    /// The messages of the next events, as many as fit a page (measured as blocks, which
    /// JSON makes longer: text by little, control characters up to six times), and the
    /// position of the last of them, for a connection that has been told the position `prev`.
    pub(crate) fn poll_frames(
        &self,
        cx: &mut Context<'_>,
        cursor: &mut Cursor,
        envelope: Envelope,
        prev: Option<Position>,
    ) -> Poll<Found<(Bytes, Position)>> {
        let cache = self.frames.of(envelope);
        let found = ready!(self.poll_with(cx, cursor, |ring, from| {
            let (taken, to) = take(ring, from, envelope, prev, cache)?;
            let last = ring.window(None).before(to);
            Some(((taken, from, to, last), to))
        }));
        Poll::Ready(found.map(|(taken, from, to, last)| {
            let bytes = match taken {
                Taken::Written(bytes) => bytes,
                Taken::Alone(entry) => {
                    let mut frames = Vec::new();
                    ws::event(&mut frames, envelope, &entry, prev);
                    frames.into()
                }
                Taken::Page(entries) => once(cache, from, to, || write(&entries, envelope)),
            };
            (bytes, last)
        }))
    }
}

/// The bytes of this run, which are made if they were not the last ones.
fn once(cache: &Mutex<Option<Run>>, from: u64, to: u64, make: impl FnOnce() -> Bytes) -> Bytes {
    let mut cached = cache.lock();
    match &*cached {
        Some(run) if run.from == from && run.to == to => run.bytes.clone(),
        _ => {
            let bytes = make();
            *cached = Some(Run {
                from,
                to,
                bytes: bytes.clone(),
            });
            bytes
        }
    }
}

fn take(
    ring: &Ring,
    from: u64,
    envelope: Envelope,
    prev: Option<Position>,
    cache: &Mutex<Option<Run>>,
) -> Option<(Taken, u64)> {
    let first = ring.get(from)?;
    let is_alone = prev != Some(first.id().before()) && !planted("prev-of-another");
    if envelope == Envelope::Full && is_alone {
        return Some((Taken::Alone(first.clone()), from + 1));
    }
    if let Some(cached) = cache.try_lock()
        && let Some(run) = &*cached
        && run.from == from
    {
        return Some((Taken::Written(run.bytes.clone()), run.to));
    }
    let mut size = 0;
    let page: Vec<_> = ring
        .range(from)
        .take_while(|entry| {
            let fits = size == 0 || size + entry.sse().len() <= PAGE;
            size += entry.sse().len();
            fits
        })
        .cloned()
        .collect();
    let to = from + page.len() as u64;
    Some((Taken::Page(page), to))
}

fn write(entries: &[Entry], envelope: Envelope) -> Bytes {
    let mut frames = Vec::new();
    for entry in entries {
        ws::event(&mut frames, envelope, entry, Some(entry.id().before()));
    }
    frames.into()
}
