//! One reader of a log for all detached streams that have read equally far.
//!
//! Nearly all streams of a store are at its end and want the same next event. So they need
//! no subscription each: a feed has one cursor, and of each stream only its number. What it
//! reads is framed once, into one slice, and written to every socket in turn; what came
//! meanwhile is one slice again.
//!
//! A socket that does not take all of it leaves the feed with what it has not got, and goes
//! on by itself from there, as does everybody to whom something else than an event happens.

use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::inbox::Bell;
use super::rest::Rest;
use super::stream::Own;
use crate::log::{Cursor, Log, Read};
use crate::planted::planted;
use crate::subscription::Subscription;
use crate::wire::{chunked, sse};

/// So much, or one event that is larger, is written to each socket at a time: enough for a burst to cost one write, and
/// little enough to stay in the processor's cache.
const BATCH: usize = 64 << 10;

/// Who can have one feed: of the same log, with the same keep-alive.
pub(super) type Key = (usize, Option<Duration>);

pub(super) struct Feed {
    log: Arc<Log>,
    cursor: Cursor,
    keep_alive: Option<Duration>,
    bell: Arc<Bell>,
    waker: Waker,
    members: Vec<Member>,
    /// What is being written to everybody.
    batch: Vec<u8>,
    /// What was wanted next before it.
    begin: u64,
    /// The chunks of the batch.
    marks: Vec<Mark>,
    /// Which of all batches it is.
    pass: u32,
    /// How many members, counted from the first, have yet to be looked at.
    left: usize,
    /// Whether there may be more behind the batch.
    has_more: bool,
    sent: Instant,
    /// Whether it is among those that have something to do.
    pub(super) is_queued: bool,
    /// When the shard looks at it in any case.
    pub(super) timer: Option<Instant>,
}

struct Mark {
    data: Bytes,
    /// Where in the batch it ends.
    end: usize,
    /// What is wanted next behind it.
    next: u64,
    read: Read,
}

struct Member {
    stream: u32,
    /// The last batch that it has.
    pass: u32,
}

/// How much of a batch a stream has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Taken {
    All,
    /// So many bytes.
    Part(usize),
    Nothing,
}

/// What there is to write.
pub(super) enum Collected {
    Nothing,
    Batch,
    /// What comes next is not the same for all: everybody goes on by themselves.
    Scatter,
}

impl Feed {
    pub(super) fn key(log: &Arc<Log>, keep_alive: Option<Duration>) -> Key {
        (Arc::as_ptr(log) as usize, keep_alive)
    }

    /// A feed for those who have everything before `next`.
    pub(super) fn new(
        log: &Arc<Log>,
        next: u64,
        keep_alive: Option<Duration>,
        bell: Arc<Bell>,
    ) -> Self {
        Self {
            log: Arc::clone(log),
            cursor: log.share(next),
            keep_alive,
            waker: bell.waker(),
            bell,
            members: Vec::new(),
            batch: Vec::new(),
            begin: next,
            marks: Vec::new(),
            pass: 0,
            left: 0,
            has_more: false,
            sent: Instant::now(),
            is_queued: false,
            timer: None,
        }
    }

    /// What its members want next, when they have the batch.
    pub(super) fn next(&self) -> u64 {
        self.cursor.next()
    }

    pub(super) fn log(&self) -> &Arc<Log> {
        &self.log
    }

    pub(super) fn keep_alive(&self) -> Option<Duration> {
        self.keep_alive
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether somebody has yet to get the batch.
    pub(super) fn is_passing(&self) -> bool {
        self.left > 0
    }

    /// Whether the member at this place has it.
    pub(super) fn has_batch(&self, place: u32) -> bool {
        let member = self.members.get(place as usize);
        member.is_none_or(|member| member.pass == self.pass)
    }

    /// Whether somebody has yet to get the batch, or there may be another: it may have been
    /// woken in the middle of a pass, when it was queued already.
    pub(super) fn is_busy(&self) -> bool {
        self.left > 0 || self.has_more || self.bell.is_rung()
    }

    /// When it has sent something last.
    pub(super) fn sent(&self) -> Instant {
        self.sent
    }

    /// When it is to send a sign of life.
    pub(super) fn due(&self) -> Option<Instant> {
        self.sent.checked_add(self.keep_alive?)
    }

    /// Takes in one who has everything up to the end of the batch. Returns its place.
    pub(super) fn join(&mut self, stream: u32, own: &mut Own) -> u32 {
        own.hand_over(&mut self.cursor);
        self.members.push(Member {
            stream,
            pass: self.pass,
        });
        (self.members.len() - 1) as u32
    }

    /// Lets go of the member at this place. Returns who has it now.
    pub(super) fn leave(&mut self, place: u32) -> Option<u32> {
        let place = place as usize;
        if place >= self.members.len() {
            return None;
        }
        // Passes go from the last to the first, so who takes the place of one that was not
        // yet looked at has its batch already, and is seen to have it.
        self.members.swap_remove(place);
        self.log.stand_for(&mut self.cursor, self.members.len());
        Some(self.members.get(place)?.stream)
    }

    /// The last member, to whom the feed has become useless.
    pub(super) fn last(&self) -> Option<u32> {
        Some(self.members.last()?.stream)
    }

    /// Reads what comes next, when everybody has what came before.
    pub(super) fn collect(&mut self, room: &mut Vec<u8>) -> Collected {
        self.bell.heed();
        self.batch = mem::take(room);
        self.batch.clear();
        self.marks.clear();
        self.has_more = false;
        self.begin = self.cursor.next();
        let waker = self.waker.clone();
        let mut cx = Context::from_waker(&waker);
        let mut scatters = false;
        loop {
            match self.log.poll_shared(&mut cx, &mut self.cursor) {
                Poll::Pending => break,
                Poll::Ready(Some((bytes, read))) => {
                    self.add(bytes, read);
                    if self.batch.len() >= BATCH {
                        self.has_more = true;
                        break;
                    }
                }
                Poll::Ready(None) => {
                    self.has_more = true;
                    scatters = true;
                    break;
                }
            }
        }
        if self.batch.is_empty() {
            if scatters {
                return Collected::Scatter;
            }
            if self.due().is_none_or(|due| due > Instant::now()) {
                return Collected::Nothing;
            }
            self.add(sse::COMMENT, Read::default());
        }
        self.sent = Instant::now();
        self.pass = self.pass.wrapping_add(1);
        self.left = self.members.len();
        Collected::Batch
    }

    fn add(&mut self, data: Bytes, read: Read) {
        chunked::write(&mut self.batch, &data);
        self.marks.push(Mark {
            data,
            end: self.batch.len(),
            next: self.cursor.next(),
            read,
        });
    }

    /// Everybody has the batch: its room is for the next one that has any, unless one large
    /// event has made it large. There may be as many feeds as streams.
    pub(super) fn let_go(&mut self, room: &mut Vec<u8>) {
        self.marks = Vec::new();
        let mut batch = mem::take(&mut self.batch);
        if batch.capacity() <= 4 * BATCH && batch.capacity() > room.capacity() {
            batch.clear();
            *room = batch;
        }
    }

    /// The next one to get the batch.
    pub(super) fn next_member(&mut self) -> Option<u32> {
        while self.left > 0 {
            self.left -= 1;
            if let Some(member) = self.members.get_mut(self.left)
                && (member.pass != self.pass || planted("double-fan-out"))
            {
                member.pass = self.pass;
                return Some(member.stream);
            }
        }
        None
    }

    pub(super) fn batch(&self) -> &[u8] {
        &self.batch
    }

    /// What is still to be written to one that has taken this, to the end of a chunk.
    pub(super) fn rest(&self, taken: Taken) -> Rest {
        let mut begin = 0;
        if let Taken::Part(taken) = taken {
            for mark in &self.marks {
                if mark.end >= taken {
                    let mut rest = Rest::of([mark.data.clone()], false);
                    rest.advance(taken - begin);
                    return rest;
                }
                begin = mark.end;
            }
        }
        Rest::default()
    }

    /// One who has taken this reads on by itself, where what follows is counted again. It is
    /// to [leave](Self::leave) then.
    pub(super) fn part(&mut self, taken: Taken) -> Subscription {
        let next = self.take_back(taken);
        Subscription::take_over(&self.log, next, &mut self.cursor)
    }

    /// One gets no more of the batch than this. Returns what it would want next.
    pub(super) fn take_back(&mut self, taken: Taken) -> u64 {
        let has = match taken {
            Taken::All => self.marks.len(),
            Taken::Nothing => 0,
            // The chunk that was begun is written to its end.
            Taken::Part(taken) => {
                let begun = self.marks.iter().position(|mark| mark.end >= taken);
                begun.map_or(self.marks.len(), |begun| begun + 1)
            }
        };
        let lacks = self.marks.get(has..).unwrap_or_default().iter();
        let lacks = lacks.fold(Read::default(), |sum, mark| sum.and(mark.read));
        self.log.take_back(&mut self.cursor, lacks);
        match has.checked_sub(1).and_then(|last| self.marks.get(last)) {
            Some(last) => last.next,
            None if matches!(taken, Taken::All) => self.cursor.next(),
            None => self.begin,
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.log.unsubscribe(&mut self.cursor);
    }
}
