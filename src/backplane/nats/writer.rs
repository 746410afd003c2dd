//! Storing events, in batches that the copy of the newest can follow.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use async_nats::Subscriber;
use tokio::time::{Instant, sleep, timeout};

use super::batch::Batch;
use super::options::Options;
use super::session::{Session, Trouble};
use super::stream::{self, Info};
use super::text;
use crate::backplane::{Append, AppendError};
use crate::position::Position;

/// How much of what the log holds may come behind a latest value that has not been copied:
/// one in so many. The rest is for those who store at the same time.
const PART: u64 = 4;

/// After how many batches with latest values the log is looked at anew.
const BATCHES: u32 = 4;

/// How often the copy is asked how far it is.
const OFTEN: Duration = Duration::from_millis(5);

type Answer = Result<Position, AppendError>;

pub(super) struct Writer {
    open: Option<Open>,
    /// Where the tags come from.
    random: u64,
}

/// A connection, and the log that it was opened for.
pub(super) struct Open {
    pub(super) session: Session,
    pub(super) inbox: String,
    pub(super) acks: Subscriber,
    /// The log as it was when it was looked at last.
    pub(super) log: Info,
    /// The number of the first acknowledgement that has not been asked for.
    pub(super) next_ack: u64,
    /// Whether an answer has not come in time.
    pub(super) is_doubtful: bool,
    /// Where to ask whether the log is still the same.
    pub(super) witness: String,
    /// How many batches have been stored since the log was looked at.
    batches: u32,
    /// The first and the last of the latest values that may not have been copied yet.
    uncopied: Option<(u64, u64)>,
}

impl Writer {
    pub(super) fn new() -> Self {
        let random = getrandom::u64();
        Self {
            open: None,
            random: random.unwrap_or_else(|_| RandomState::new().hash_one(())),
        }
    }

    pub(super) async fn append(&mut self, options: &Options, events: &[Append]) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(events.len());
        let mut rest = events;
        while !rest.is_empty() {
            // Who is dropped in the middle of this leaves no connection behind.
            let opening = timeout(2 * options.patience, self.open(options, rest)).await;
            let (mut open, count) = match opening.unwrap_or(Err(Trouble::SILENT)) {
                Ok(open) => open,
                Err(trouble) => {
                    answers.extend(rest.iter().map(|_| Err(not_stored(&trouble))));
                    break;
                }
            };
            let (batch, others) = rest.split_at(count.min(rest.len()));
            let is_sound = self.store(&mut open, options, batch, &mut answers).await;
            if is_sound || (open.is_doubtful && !open.session.is_lost()) {
                self.open = Some(open);
            }
            rest = others;
            if !is_sound {
                // They would come before what may be on its way.
                answers.extend(rest.iter().map(|_| Err(AppendError::Unavailable)));
                break;
            }
        }
        answers
    }

    /// Whether the connection can be trusted and the log is the same.
    async fn store(
        &mut self,
        open: &mut Open,
        options: &Options,
        events: &[Append],
        answers: &mut Vec<Answer>,
    ) -> bool {
        let tags: Vec<u32> = events.iter().map(|_| self.tag()).collect();
        let mut batch = Batch::new(open, options, events, &tags);
        batch.send().await;
        batch.collect(options.patience).await;
        let mut is_over = false;
        match batch.is_same() {
            Some(true) => {}
            // The witness is gone; mostly because nobody has asked it for long.
            Some(false) => {
                is_over = batch.open.look(options).await.is_err();
                if is_over {
                    batch.doubt();
                }
            }
            None => {
                batch.open.is_doubtful = true;
                batch.doubt();
            }
        }
        let before = answers.len();
        answers.extend(batch.finish(options).await);
        let stored = events.iter().zip(answers.iter().skip(before));
        for (event, answer) in stored {
            let Ok(position) = answer else { continue };
            let at = position.offset();
            open.log.next = open.log.next.max(at.saturating_add(1));
            if event.is_latest {
                let (first, last) = open.uncopied.unwrap_or((at, at));
                open.uncopied = Some((first.min(at), last.max(at)));
            }
        }
        open.batches += 1;
        !is_over && !open.is_doubtful && !open.session.is_lost()
    }

    /// A connection, and how many of these events may be stored now.
    async fn open(
        &mut self,
        options: &Options,
        events: &[Append],
    ) -> Result<(Open, usize), Trouble> {
        let mut open = match self.open.take().filter(|open| !open.session.is_lost()) {
            Some(mut open) if open.is_doubtful => {
                // The same connection, so that what was sent on it comes before what will be.
                open.refresh(options).await?;
                open.is_doubtful = false;
                open
            }
            Some(open) => open,
            None => Open::new(options).await?,
        };
        let is_free = open.uncopied.is_none() && events.iter().all(|event| !event.is_latest);
        if !is_free && open.batches >= BATCHES {
            open.refresh(options).await?;
        }
        let room = open.log.holds / PART;
        let count = usize::try_from(room.max(1)).unwrap_or(usize::MAX);
        let count = if is_free {
            events.len()
        } else {
            count.min(events.len())
        };
        open.await_copy(options, count as u64, room).await?;
        Ok((open, count))
    }

    fn tag(&mut self) -> u32 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        text::upper(text::mix(self.random))
    }
}

impl Open {
    async fn new(options: &Options) -> Result<Self, Trouble> {
        let session = Session::connect(options).await?;
        let log = stream::ensure(&session, options).await?;
        // Whoever stored before us may have left some.
        let subjects = stream::latest_subjects(options);
        let newest = stream::newest(&session, &options.stream, &subjects).await?;
        let copy = stream::info(&session, &stream::copy_of(options, log.epoch)).await?;
        let newest = newest.filter(|newest| newest.seq >= copy.next);
        let uncopied = newest.map(|newest| (log.first.max(copy.next), newest.seq));
        let (inbox, acks) = session.inbox().await?;
        let mut open = Self {
            session,
            inbox,
            acks,
            log,
            next_ack: 0,
            is_doubtful: false,
            witness: String::new(),
            batches: 0,
            uncopied,
        };
        open.look(options).await?;
        Ok(open)
    }

    /// Finds another witness of the log, if that is still the same.
    async fn look(&mut self, options: &Options) -> Result<(), Trouble> {
        self.witness = stream::witness(&self.session, options).await?;
        self.refresh(options).await
    }

    /// Looks at the log, which has to be the same.
    async fn refresh(&mut self, options: &Options) -> Result<(), Trouble> {
        let log = stream::info(&self.session, &options.stream).await?;
        if log.epoch != self.log.epoch {
            return Err(Trouble::Away("the stream is another one by now"));
        }
        self.log = log;
        self.batches = 0;
        Ok(())
    }

    /// Waits until the log would not let go of a latest value that has not been copied, if
    /// so many more were stored.
    async fn await_copy(
        &mut self,
        options: &Options,
        count: u64,
        room: u64,
    ) -> Result<(), Trouble> {
        let name = stream::copy_of(options, self.log.epoch);
        let deadline = Instant::now() + options.patience;
        while let Some((first, last)) = self.uncopied {
            let behind = self.log.next.saturating_sub(first).saturating_add(count);
            if behind <= room {
                return Ok(());
            }
            let copy = stream::info(&self.session, &name).await?;
            self.uncopied = (copy.next <= last).then_some((first.max(copy.next), last));
            if self.uncopied.is_some_and(|(now, _)| now == first) {
                if Instant::now() >= deadline {
                    return Err(Trouble::Away("the copy of the newest values is behind"));
                }
                sleep(OFTEN).await;
            }
        }
        Ok(())
    }
}

/// What is answered where nothing was stored.
pub(super) fn not_stored(trouble: &Trouble) -> AppendError {
    match trouble {
        Trouble::Away(_) => AppendError::Unavailable,
        Trouble::No(_, words) => AppendError::Refused(words.clone()),
    }
}
