//! What has been submitted and is not stored yet.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use tokio::sync::oneshot;

use super::{Append, AppendError};
use crate::error::SubmitError;
use crate::event::Event;
use crate::planted::planted;
use crate::position::Position;
use crate::topic::Topic;

/// What a submitter waits for.
pub(crate) type Answer = oneshot::Receiver<Result<Position, SubmitError>>;

/// A bounded queue of events, from many threads to one task.
#[derive(Debug)]
pub(super) struct Outbox {
    /// The most events that wait.
    most: usize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    letters: VecDeque<Letter>,
    bytes: usize,
    closed: bool,
    /// The task that waits for letters.
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Letter {
    append: Append,
    answer: oneshot::Sender<Result<Position, SubmitError>>,
}

/// What is handed to the engine at once, at most: as much as makes the way there cheap, and
/// no more than can be stored within its time-out.
const BATCH: usize = 1024;
const BATCH_BYTES: usize = 1 << 20;

/// The most bytes that wait.
const MOST_BYTES: usize = 64 << 20;

impl Outbox {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            queue: Mutex::default(),
        }
    }

    /// Puts events behind all others, together or not at all; hands them back if there is
    /// no room or nobody to store them.
    pub(super) fn put(
        &self,
        events: Vec<(Topic, Event, bool)>,
    ) -> Result<Vec<Answer>, (Refused, Vec<Event>)> {
        let bytes: usize = events.iter().map(|(_, event, _)| event.size()).sum();
        let mut queue = self.lock();
        let fits = queue.letters.is_empty()
            || queue.letters.len() + events.len() <= self.most
                && queue.bytes.saturating_add(bytes) <= MOST_BYTES;
        if queue.closed || !fits {
            let refused = if queue.closed {
                Refused::Closed
            } else {
                Refused::Full
            };
            drop(queue);
            return Err((
                refused,
                events.into_iter().map(|(_, event, _)| event).collect(),
            ));
        }
        queue.bytes += bytes;
        let answers = events.into_iter().map(|(topic, event, is_latest)| {
            let (answer, answered) = oneshot::channel();
            let append = Append {
                topic,
                event,
                is_latest,
            };
            queue.letters.push_back(Letter { append, answer });
            answered
        });
        let answers = answers.collect();
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(answers)
    }

    /// The oldest events, as soon as there are any; `None` after the last of a closed one.
    pub(super) async fn take(&self) -> Option<Batch> {
        poll_fn(|cx| {
            let mut queue = self.lock();
            let batch = queue.take();
            if !batch.appends.is_empty() {
                return Poll::Ready(Some(batch));
            }
            if queue.closed {
                return Poll::Ready(None);
            }
            let replaced = queue.waker.replace(cx.waker().clone());
            drop(queue);
            drop(replaced);
            Poll::Pending
        })
        .await
    }

    /// Takes no more; what is there is still stored.
    pub(super) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes no more, and nobody is there to store what is there.
    pub(super) fn refuse(&self) {
        self.close();
        let letters = std::mem::take(&mut self.lock().letters);
        for Letter { append, answer } in letters {
            let _ = answer.send(Err(SubmitError::Unavailable(append.event)));
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why events were not put there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Closed,
    Full,
}

impl Queue {
    fn take(&mut self) -> Batch {
        let mut batch = Batch::default();
        let mut bytes = 0;
        while batch.appends.len() < BATCH
            && let Some(letter) = self.letters.front()
            && (batch.appends.is_empty() || bytes + letter.append.event.size() <= BATCH_BYTES)
            && let Some(Letter { append, answer }) = self.letters.pop_front()
        {
            bytes += append.event.size();
            batch.appends.push(append);
            batch.answers.push(answer);
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        batch
    }
}

/// Events for the engine, and who waits for them.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) appends: Vec<Append>,
    answers: Vec<oneshot::Sender<Result<Position, SubmitError>>>,
}

impl Batch {
    /// Tells everybody what has become of their event; of those of which the engine says
    /// nothing, nothing is known.
    pub(super) fn answer(mut self, answers: Vec<Result<Position, AppendError>>) {
        self.tell(answers);
    }

    /// Nobody has been asked to store it.
    pub(super) fn refuse(mut self) {
        let all = self.appends.len();
        self.tell(vec![Err(AppendError::Unavailable); all]);
    }

    fn tell(&mut self, answers: Vec<Result<Position, AppendError>>) {
        let rest = std::iter::repeat_with(|| Err(AppendError::Unknown));
        let events = self.appends.drain(..).zip(self.answers.drain(..));
        for ((append, answer), told) in events.zip(answers.into_iter().chain(rest)) {
            let told = told.map_err(|error| match error {
                AppendError::Unavailable => SubmitError::Unavailable(append.event),
                AppendError::Unknown if planted("unknown-told-as-not-stored") => {
                    SubmitError::Unavailable(append.event)
                }
                AppendError::Unknown => SubmitError::Unknown(append.event),
                AppendError::Refused(reason) => SubmitError::Refused {
                    event: append.event,
                    reason,
                },
            });
            // Who does not wait does not want to know.
            let _ = answer.send(told);
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // It was under way when whoever stores it went away.
        self.tell(Vec::new());
    }
}
