//! The body of an answer, read as far as is asked for.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{StatusCode, response};
use tokio::task::coop::poll_proceed;

use crate::test::decoder::{Decoder, Message};
use crate::test::incomplete::{Break, IncompleteReason};
use crate::test::source::Chunks;

/// What each piece of a body counts beside its bytes, so that empty ones count.
const PIECE: u64 = 64;

/// Why a client must not go on after this answer, if it must not.
pub(crate) fn refusal(head: &response::Parts) -> Option<IncompleteReason> {
    if head.status != StatusCode::OK {
        return Some(IncompleteReason::Status(head.status));
    }
    let value = head.headers.get_all(CONTENT_TYPE).iter().next_back();
    let value = value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let essence = value.as_deref().unwrap_or_default().split(';').next();
    let essence = essence.unwrap_or_default().trim_matches([' ', '\t']);
    match essence.eq_ignore_ascii_case("text/event-stream") {
        true => None,
        false => Some(IncompleteReason::ContentType(value)),
    }
}

/// An open body.
pub(crate) struct Stream {
    body: Pin<Box<dyn Chunks>>,
    decoder: Decoder,
    /// What has come and was not read.
    unread: Bytes,
}

pub(crate) enum Stop {
    Break(Break),
    Flood,
}

impl Stream {
    pub(crate) fn new(body: Pin<Box<dyn Chunks>>, last_event_id: &str) -> Self {
        Self {
            body,
            decoder: Decoder::after(last_event_id),
            unread: Bytes::new(),
        }
    }

    pub(crate) fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// The next message, of no more bytes than that until the stream is cut, and of no more
    /// than are left of what the call may read.
    pub(crate) fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
        cut_after: &mut Option<u64>,
        left: &mut u64,
    ) -> Poll<Result<Message, Stop>> {
        loop {
            if *cut_after == Some(0) {
                *cut_after = None;
                return Poll::Ready(Err(Stop::Break(Break::Cut)));
            }
            if self.unread.is_empty() {
                if *left == 0 {
                    return Poll::Ready(Err(Stop::Flood));
                }
                ready!(poll_proceed(cx)).made_progress();
                self.unread = match ready!(self.body.as_mut().poll_chunk(cx)) {
                    Some(Ok(chunk)) => chunk,
                    Some(Err(error)) => {
                        return Poll::Ready(Err(Stop::Break(Break::Failed(error))));
                    }
                    None => return Poll::Ready(Err(Stop::Break(Break::Ended))),
                };
                let cost = PIECE.saturating_add(self.unread.len() as u64);
                *left = left.saturating_sub(cost);
                continue;
            }
            let line = self.line(*cut_after);
            if let Some(bytes) = cut_after {
                *bytes = bytes.saturating_sub(line.len() as u64);
            }
            // A line ends one event at most.
            if let Some(message) = self.decoder.feed(&line).pop() {
                return Poll::Ready(Ok(message));
            }
        }
    }

    /// What there is of the next line, and no more than that many bytes.
    fn line(&mut self, most: Option<u64>) -> Bytes {
        let end = memchr::memchr2(b'\n', b'\r', &self.unread);
        let len = end.map_or(self.unread.len(), |end| end.saturating_add(1));
        let most = most.and_then(|most| usize::try_from(most).ok());
        self.unread.split_to(len.min(most.unwrap_or(len)))
    }
}
