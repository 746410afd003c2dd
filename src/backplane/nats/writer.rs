//! Storing events: all of a batch are sent, then all acknowledgements are awaited.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use async_nats::client::PublishErrorKind;
use async_nats::{StatusCode, Subscriber};
use bytes::Bytes;
use futures_core::Stream;
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};

use super::message;
use super::options::Options;
use super::session::{Session, Trouble, refusal};
use super::{stream, text};
use crate::backplane::{Append, AppendError};
use crate::position::Position;

/// JetStream's word for: the same key is being stored just now.
const BEING_STORED: u64 = 10158;

type Answer = Result<Position, AppendError>;

pub(super) struct Writer {
    open: Option<Open>,
    /// Where the tags come from.
    random: u64,
}

/// A connection, and the log that it was opened for.
struct Open {
    session: Session,
    inbox: String,
    acks: Subscriber,
    epoch: u64,
    /// The number of the first acknowledgement that has not been asked for.
    next_ack: u64,
    /// Whether an answer has not come in time.
    is_doubtful: bool,
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
        // Who is dropped in the middle of this leaves no connection behind.
        let opening = timeout(2 * options.patience, self.open(options)).await;
        let mut open = match opening.unwrap_or(Err(Trouble::SILENT)) {
            Ok(open) => open,
            Err(trouble) => return events.iter().map(|_| Err(not_stored(&trouble))).collect(),
        };
        let tags: Vec<u32> = events.iter().map(|_| self.tag()).collect();
        let mut batch = Batch::new(&mut open, options, events, &tags);
        batch.send().await;
        let (session, stream) = (batch.open.session.clone(), &options.stream);
        let deadline = Instant::now() + options.patience;
        // Asked behind the events, on the same connection: if the log is the same by now, it
        // was the same when they were stored.
        let ((), log) = tokio::join!(
            batch.collect(options.patience),
            timeout_at(deadline, stream::info(&session, stream)),
        );
        let mut is_over = false;
        match log {
            Ok(Ok(info)) if info.epoch == batch.open.epoch => {}
            Ok(Err(Trouble::SILENT)) | Err(_) => {
                batch.open.is_doubtful = true;
                batch.doubt();
            }
            Ok(_) => {
                is_over = true;
                batch.doubt();
            }
        }
        let answers = batch.finish(options).await;
        if !is_over && !open.session.is_lost() {
            self.open = Some(open);
        }
        answers
    }

    async fn open(&mut self, options: &Options) -> Result<Open, Trouble> {
        if let Some(mut open) = self.open.take().filter(|open| !open.session.is_lost()) {
            if !open.is_doubtful {
                return Ok(open);
            }
            // The same connection, so that what was sent on it comes before what will be.
            if let Ok(info) = stream::info(&open.session, &options.stream).await
                && info.epoch == open.epoch
            {
                open.is_doubtful = false;
                return Ok(open);
            }
            return Err(Trouble::SILENT);
        }
        let session = Session::connect(options).await?;
        let info = stream::ensure(&session, options).await?;
        let (inbox, acks) = session.inbox().await?;
        Ok(Open {
            session,
            inbox,
            acks,
            epoch: info.epoch,
            next_ack: 0,
            is_doubtful: false,
        })
    }

    fn tag(&mut self) -> u32 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        text::upper(text::mix(self.random))
    }
}

/// Events that are being stored.
struct Batch<'a> {
    open: &'a mut Open,
    options: &'a Options,
    events: &'a [Append],
    tags: &'a [u32],
    first_ack: u64,
    answers: Vec<Option<Ack>>,
    missing: usize,
}

/// What is known of an event.
enum Ack {
    /// It was stored, and here it is.
    Stored(u64),
    /// Another one with its key was stored before, there.
    Duplicate(u64),
    Not(AppendError),
}

impl<'a> Batch<'a> {
    fn new(
        open: &'a mut Open,
        options: &'a Options,
        events: &'a [Append],
        tags: &'a [u32],
    ) -> Self {
        let first_ack = open.next_ack;
        open.next_ack = first_ack.wrapping_add(events.len() as u64);
        Self {
            open,
            options,
            events,
            tags,
            first_ack,
            answers: events.iter().map(|_| None).collect(),
            missing: events.len(),
        }
    }

    /// Hands all events over to the connection, in order.
    async fn send(&mut self) {
        let client = self.open.session.client().clone();
        let deadline = Instant::now() + self.options.patience;
        let mut is_closed = false;
        let (events, tags) = (self.events, self.tags);
        for (at, (event, tag)) in (0..).zip(events.iter().zip(tags)) {
            if is_closed || self.open.session.is_lost() {
                // It has never been handed over, so it will never be sent.
                self.tell(at, Ack::Not(AppendError::Unavailable));
                continue;
            }
            let subject = text::subject(&self.options.prefix, &event.topic, event.is_latest);
            let reply = format!("{}.{}", self.open.inbox, self.first_ack.wrapping_add(at));
            let headers = message::headers(event, *tag);
            let data = Bytes::copy_from_slice(event.event.data().as_bytes());
            let sending = client.publish_with_reply_and_headers(subject, reply, headers, data);
            match timeout_at(deadline, sending).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                    let no = "larger than the server takes";
                    self.tell(at, Ack::Not(AppendError::Refused(no.into())));
                }
                Ok(Err(_)) | Err(_) => {
                    is_closed = true;
                    self.tell(at, Ack::Not(AppendError::Unavailable));
                }
            }
        }
    }

    /// Awaits the acknowledgements, each for so long after the one before it.
    async fn collect(&mut self, patience: Duration) {
        let end = Instant::now() + 2 * patience;
        while self.missing > 0 {
            let deadline = end.min(Instant::now() + patience);
            match timeout_at(deadline, next(&mut self.open.acks)).await {
                Ok(Some(message)) => self.acknowledge(&message),
                // Nothing more can come of this connection.
                Ok(None) => return,
                Err(_) => {
                    self.open.is_doubtful = true;
                    return;
                }
            }
        }
    }

    fn acknowledge(&mut self, message: &async_nats::Message) {
        let number = message.subject.rsplit('.').next();
        let number = number.and_then(|number| number.parse::<u64>().ok());
        // Those of earlier batches come too late.
        let Some(at) = number.and_then(|number| number.checked_sub(self.first_ack)) else {
            return;
        };
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            // Nobody takes these subjects: there is no stream any more.
            return self.tell(at, Ack::Not(AppendError::Unavailable));
        }
        let Ok(ack) = serde_json::from_slice::<Value>(&message.payload) else {
            return self.tell(at, Ack::Not(AppendError::Unknown));
        };
        self.tell(at, self.judge(&ack));
    }

    fn judge(&self, ack: &Value) -> Ack {
        match refusal(ack) {
            Some(Trouble::No(BEING_STORED, _)) => return Ack::Not(AppendError::Unknown),
            Some(trouble) => return Ack::Not(not_stored(&trouble)),
            None => {}
        }
        let stream = ack.get("stream").and_then(Value::as_str);
        let seq = ack.get("seq").and_then(Value::as_u64);
        match seq.filter(|_| stream == Some(&*self.options.stream)) {
            Some(seq) if ack.get("duplicate").and_then(Value::as_bool) == Some(true) => {
                Ack::Duplicate(seq)
            }
            Some(seq) => Ack::Stored(seq),
            None => Ack::Not(AppendError::Unknown),
        }
    }

    fn tell(&mut self, at: u64, ack: Ack) {
        let slot = usize::try_from(at)
            .ok()
            .and_then(|at| self.answers.get_mut(at));
        if let Some(slot) = slot
            && slot.is_none()
        {
            *slot = Some(ack);
            self.missing = self.missing.saturating_sub(1);
        }
    }

    /// It is not known of which log the acknowledgements speak.
    fn doubt(&mut self) {
        for answer in &mut self.answers {
            if matches!(answer, Some(Ack::Stored(_) | Ack::Duplicate(_))) {
                *answer = Some(Ack::Not(AppendError::Unknown));
            }
        }
    }

    async fn finish(self, options: &Options) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(self.answers.len());
        let epoch = self.open.epoch;
        let deadline = Instant::now() + options.patience;
        for (ack, tag) in self.answers.into_iter().zip(self.tags) {
            answers.push(match ack {
                Some(Ack::Stored(seq)) => Ok(Position::tagged(epoch, seq, *tag)),
                Some(Ack::Duplicate(seq)) => {
                    let getting = stream::get(&self.open.session, &options.stream, seq, false);
                    match timeout_at(deadline, getting).await {
                        Ok(Ok(Some(stored))) => Ok(Position::tagged(epoch, seq, stored.tag())),
                        // It is gone already, and nobody can have another one there.
                        Ok(Ok(None)) => Ok(Position::tagged(epoch, seq, *tag)),
                        _ => Err(AppendError::Unknown),
                    }
                }
                Some(Ack::Not(error)) => Err(error),
                None => Err(AppendError::Unknown),
            });
        }
        answers
    }
}

/// What is answered where nothing was stored.
fn not_stored(trouble: &Trouble) -> AppendError {
    match trouble {
        Trouble::Away(_) => AppendError::Unavailable,
        Trouble::No(_, words) => AppendError::Refused(words.clone()),
    }
}

/// The next message, `None` when the connection is over.
pub(super) async fn next(messages: &mut Subscriber) -> Option<async_nats::Message> {
    std::future::poll_fn(|cx| std::pin::Pin::new(&mut *messages).poll_next(cx)).await
}
