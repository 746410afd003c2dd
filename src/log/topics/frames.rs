//! Events as the messages of a WebSocket, written once for a crowd.

use std::iter;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::{Reader, TopicLog};
use crate::entry::Entry;
use crate::log::{Found, PAGE};
use crate::position::Position;
use crate::wire::ws::{self, Envelope};

/// What is written, and for whom: for those who were told `prev` and read the same
/// events.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    envelope: Envelope,
    prev: Option<Position>,
    first: Position,
    last: Position,
    events: usize,
}

impl TopicLog {
    /// The messages of the next events, as many as fit a page, and the position of the
    /// last of them, for a connection that has been told the position `prev`.
    pub(crate) fn poll_frames(
        &self,
        cx: &mut Context<'_>,
        reader: &mut Reader,
        envelope: Envelope,
        prev: Option<Position>,
    ) -> Poll<Found<(Bytes, Position)>> {
        let is_like_others = reader.is_like_others();
        self.poll_events(cx, reader, PAGE).map(|found| {
            found.map(|(first, more)| {
                let last = more.last().unwrap_or(&first);
                // What stands outside the order leaves the client where it is.
                let last = match prev {
                    Some(prev) if !last.is_in_order() => prev,
                    _ => last.id(),
                };
                let write = || write(envelope, prev, &first, &more);
                let bytes = match &*reader.places {
                    [place] if is_like_others && first.is_in_order() => {
                        let key = Key {
                            envelope,
                            prev,
                            first: first.id(),
                            last,
                            events: more.len(),
                        };
                        place.crowd.frames.get(key, write)
                    }
                    _ => write(),
                };
                (bytes, last)
            })
        })
    }
}

fn write(envelope: Envelope, prev: Option<Position>, first: &Entry, more: &[Entry]) -> Bytes {
    let (mut frames, mut prev) = (Vec::new(), prev);
    for entry in iter::once(first).chain(more) {
        ws::event(&mut frames, envelope, entry, prev);
        prev = Some(entry.id());
    }
    frames.into()
}
