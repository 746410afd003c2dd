//! Messages that the client cannot take.
//!
//! Who publishes may write headers that are none. The client gives up the connection when it
//! is delivered such a message, and would on every other one. So where a connection was lost,
//! what comes next is asked for one by one: then it is data within an answer, and known to be
//! corrupt. Everything else is delivered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

use super::message::Stored;
use super::session::{Session, Trouble};
use super::stream;

/// How far careful reading goes on behind the last message that needed it.
const FURTHER: u64 = 256;

/// How many messages are asked for at once.
const AT_ONCE: u64 = 64;

/// How many streams are remembered.
const STREAMS: usize = 16;

/// Which parts of which streams are read with care.
#[derive(Clone, Debug, Default)]
pub(super) struct Care(Arc<Mutex<HashMap<String, Parts>>>);

#[derive(Clone, Copy, Debug, Default)]
struct Parts {
    /// Where a connection was lost last.
    suspect: Part,
    /// Where there are such messages.
    known: Part,
    /// Whether delivery does not stop in time before them, because there are holes.
    is_wide: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    from: u64,
    until: u64,
}

/// How to read on from a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Delivered, but nothing from there on.
    Delivered(u64),
    /// Asked for, before this number.
    Asked(u64),
}

impl Care {
    pub(super) fn way(&self, stream: &str, from: u64) -> Way {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let parts = known.get(stream).copied().unwrap_or_default();
        let mut limit = u64::MAX;
        for part in [parts.suspect, parts.known] {
            if part.until <= from || part.until == part.from {
                continue;
            }
            if part.from <= from || parts.is_wide {
                return Way::Asked(part.until);
            }
            limit = limit.min(part.from);
        }
        Way::Delivered(limit)
    }

    /// A connection was lost where this was the next to come, though delivery was to stop
    /// before such a message if it `was_limited`.
    pub(super) fn lost(&self, stream: &str, next: u64, was_limited: bool) {
        self.change(stream, |parts| {
            let is_again = |part: Part| part.from <= next && next < part.until;
            parts.is_wide |= was_limited && (is_again(parts.suspect) || is_again(parts.known));
            parts.suspect = Part {
                from: next,
                until: next.saturating_add(FURTHER),
            };
        });
    }

    fn found(&self, stream: &str, seq: u64) {
        self.change(stream, |parts| {
            let until = seq.saturating_add(FURTHER);
            let is_first = parts.known.until == 0;
            parts.known = Part {
                from: if is_first {
                    seq
                } else {
                    parts.known.from.min(seq)
                },
                until: parts.known.until.max(until),
            };
        });
    }

    /// Nothing such stands there, from one number on and before another.
    fn cleared(&self, stream: &str, from: u64, end: u64) {
        self.change(stream, |parts| {
            let suspect = &mut parts.suspect;
            if from <= suspect.from && suspect.from < end {
                suspect.from = end.min(suspect.until);
            }
            if suspect.from == suspect.until && parts.known.until == 0 {
                *parts = Parts::default();
            }
        });
    }

    fn change(&self, stream: &str, change: impl FnOnce(&mut Parts)) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains_key(stream) && known.len() >= STREAMS {
            // Most are copies of logs that are gone.
            known.clear();
        }
        change(known.entry(stream.to_owned()).or_default());
    }

    /// At most so many of those that stand there, and some mebibytes; and where to go on.
    pub(super) async fn ask(
        &self,
        session: &Session,
        stream: &str,
        (mut from, until): (u64, u64),
        most: usize,
        most_bytes: usize,
    ) -> Result<(Vec<Stored>, u64), Trouble> {
        let begin = from;
        let mut all = Vec::new();
        let mut bytes = 0;
        let (mut is_dense, mut is_clear) = (true, true);
        while from < until && all.len() < most && bytes < most_bytes {
            let (mut found, end) = if is_dense {
                let room = u64::try_from(most - all.len()).unwrap_or(u64::MAX);
                let end = from.saturating_add(AT_ONCE.min(room)).min(until);
                let found = each(session, stream, from, end).await?;
                is_dense = found.len() as u64 * 2 > end - from;
                (found, end)
            } else {
                let found = stream::get(session, stream, from, true).await?;
                let found = found.filter(|stored| stored.seq < until);
                let end = found
                    .as_ref()
                    .map_or(until, |stored| stored.seq.saturating_add(1));
                is_dense = end == from.saturating_add(1);
                (found.into_iter().collect(), end)
            };
            for stored in &found {
                bytes += stored.size();
                if !stored.is_deliverable() {
                    is_clear = false;
                    self.found(stream, stored.seq);
                }
            }
            all.append(&mut found);
            from = end;
        }
        if is_clear {
            self.cleared(stream, begin, from);
        }
        Ok((all, from))
    }
}

/// Those with these numbers that there are.
async fn each(
    session: &Session,
    stream: &str,
    from: u64,
    end: u64,
) -> Result<Vec<Stored>, Trouble> {
    let mut asked = JoinSet::new();
    for seq in from..end {
        let (session, stream) = (session.clone(), stream.to_owned());
        asked.spawn(async move { stream::get(&session, &stream, seq, false).await });
    }
    let mut found = Vec::new();
    while let Some(answer) = asked.join_next().await {
        found.extend(answer.map_err(|_| Trouble::LOST)??);
    }
    found.sort_unstable_by_key(|stored| stored.seq);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_suspect_and_what_is_found_is_known() {
        let care = Care::default();
        assert_eq!(care.way("log", 1), Way::Delivered(u64::MAX));
        care.lost("log", 1000, false);
        assert_eq!(care.way("log", 1), Way::Delivered(1000));
        assert_eq!(care.way("log", 1000), Way::Asked(1256));
        assert_eq!(care.way("log", 1255), Way::Asked(1256));
        assert_eq!(care.way("log", 1256), Way::Delivered(u64::MAX));
        assert_eq!(care.way("other", 1000), Way::Delivered(u64::MAX));

        care.lost("log", 5000, false);
        assert_eq!(care.way("log", 1000), Way::Delivered(5000));
        care.found("log", 5003);
        care.found("log", 5200);
        assert_eq!(care.way("log", 5000), Way::Asked(5256));
        assert_eq!(care.way("log", 5256), Way::Asked(5456));
        care.lost("log", 9000, false);
        assert_eq!(care.way("log", 1), Way::Delivered(5003));
        assert_eq!(care.way("log", 5456), Way::Delivered(9000));

        care.lost("log", 9000, false);
        assert_eq!(
            care.way("log", 1),
            Way::Delivered(5003),
            "it may be the network"
        );
        care.lost("log", 9000, true);
        assert_eq!(care.way("log", 1), Way::Asked(9256));
        assert_eq!(care.way("log", u64::MAX), Way::Delivered(u64::MAX));
    }

    #[test]
    fn what_is_read_and_clear_is_suspect_no_more() {
        let care = Care::default();
        care.lost("log", 1000, false);
        care.lost("log", 1000, true);
        assert_eq!(care.way("log", 1), Way::Asked(1256));
        care.cleared("log", 900, 1000);
        assert_eq!(care.way("log", 1), Way::Asked(1256));
        care.cleared("log", 900, 1100);
        assert_eq!(care.way("log", 1100), Way::Asked(1256));
        care.cleared("log", 1100, 1256);
        for from in [1, 1000, 1100, 1255] {
            assert_eq!(care.way("log", from), Way::Delivered(u64::MAX));
        }
        care.lost("log", 2000, false);
        assert_eq!(
            care.way("log", 1),
            Way::Delivered(2000),
            "not wide any more"
        );
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let care = Care::default();
        for number in 0..100 {
            care.lost(&format!("log-{number}"), 1, false);
        }
        assert!(care.0.lock().expect("no panic").len() <= STREAMS);
        assert_eq!(care.way("log-99", 1), Way::Asked(257));
    }
}
