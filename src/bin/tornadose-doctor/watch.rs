//! Watching a stream for a while.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::Pin;
use std::time::Duration;

use http_body::Body;
use tokio::time::timeout_at;

use crate::client::{self, Answer, Client};
use crate::seen::{End, Lump, Stream};
use crate::text::Text;

/// What comes within so much of each other has come together.
pub(crate) const TOGETHER: Duration = Duration::from_millis(50);

/// Of one stream no more is read.
const MOST: u64 = 8 << 20;

/// What is replayed comes at once.
const REPLAYED: Duration = Duration::from_millis(500);

/// Watches what follows a head until this time.
pub(crate) async fn watch(client: &Client, answer: Answer, until: Duration) -> Stream {
    read(client, answer, until, Duration::MAX).await
}

/// The same, and no longer than is needed to know how it begins.
pub(crate) async fn watch_replay(client: &Client, answer: Answer, until: Duration) -> Stream {
    read(client, answer, until, REPLAYED).await
}

/// So long behind the first event.
async fn read(
    client: &Client,
    mut answer: Answer,
    mut until: Duration,
    behind_first: Duration,
) -> Stream {
    let mut text = Text::default();
    let mut lumps: Vec<Lump> = Vec::new();
    let mut bytes = 0_u64;
    // What is compressed would be nothing but faults.
    let is_text = !answer.head.is_compressed();
    let end = loop {
        let frame = poll_fn(|context| Pin::new(&mut answer.body).poll_frame(context));
        let data = match timeout_at(client.at(until), frame).await {
            Err(_) => break End::Open,
            Ok(None) if answer.ends_with_connection() => break End::Closed,
            Ok(None) => break End::Complete,
            Ok(Some(Err(error))) => break ended(&error),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) if !data.is_empty() => data,
                _ => continue,
            },
        };
        let now = client.now();
        let before = (text.events, text.comments);
        if is_text {
            text.feed(&data, now);
        }
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        bytes = bytes.saturating_add(length);
        let mut lump = match lumps.pop_if(|last| now.saturating_sub(last.end) <= TOGETHER) {
            Some(last) => last,
            None => Lump::begun(now),
        };
        lump.end = now;
        lump.bytes = lump.bytes.saturating_add(length);
        lump.events = lump.events.saturating_add(more(text.events, before.0));
        lump.comments = lump.comments.saturating_add(more(text.comments, before.1));
        lump.is_cut = text.is_cut();
        lumps.push(lump);
        if before.0 == 0 && text.events > 0 {
            until = until.min(now.saturating_add(behind_first));
        }
        if bytes >= MOST {
            break End::Enough;
        }
    };
    Stream {
        head: answer.head,
        lumps,
        text,
        bytes,
        end,
        until: client.now(),
    }
}

fn more(now: u64, before: u64) -> u32 {
    u32::try_from(now.saturating_sub(before)).unwrap_or(u32::MAX)
}

fn ended(error: &hyper::Error) -> End {
    match client::kind(error) {
        Some(ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted) => End::Reset,
        Some(ErrorKind::UnexpectedEof) => End::Cut,
        _ if error.is_incomplete_message() => End::Cut,
        _ => End::Broken(client::told(error)),
    }
}
