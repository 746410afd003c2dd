//! Events on their way: all are sent, then all acknowledgements are awaited.

use std::time::Duration;

use async_nats::StatusCode;
use async_nats::client::PublishErrorKind;
use bytes::Bytes;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::options::Options;
use super::session::{Trouble, next, refusal};
use super::writer::{Open, not_stored};
use super::{message, stream, text};
use crate::backplane::{Append, AppendError};
use crate::position::Position;

/// JetStream's word for: the same key is being stored just now.
const BEING_STORED: u64 = 10158;

/// A request for messages that does not wait for any.
const ASK: &[u8] = br#"{"batch":1,"no_wait":true}"#;

/// How long the witness is waited for when all is acknowledged.
const WITNESS: Duration = Duration::from_millis(100);

/// Events that are being stored.
pub(super) struct Batch<'a> {
    pub(super) open: &'a mut Open,
    options: &'a Options,
    events: &'a [Append],
    tags: &'a [u32],
    first_ack: u64,
    answers: Vec<Option<Ack>>,
    missing: usize,
    /// Whether the log was the same when all had been sent, once that is known.
    is_same: Option<bool>,
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
    pub(super) fn new(
        open: &'a mut Open,
        options: &'a Options,
        events: &'a [Append],
        tags: &'a [u32],
    ) -> Self {
        let first_ack = open.next_ack;
        open.next_ack = first_ack.wrapping_add(events.len() as u64).wrapping_add(1);
        Self {
            open,
            options,
            events,
            tags,
            first_ack,
            answers: events.iter().map(|_| None).collect(),
            missing: events.len(),
            is_same: None,
        }
    }

    /// Hands all events over to the connection, in order.
    pub(super) async fn send(&mut self) {
        let deadline = Instant::now() + self.options.patience;
        let mut handed = 0;
        let _ = timeout_at(deadline, self.hand_over(&mut handed)).await;
        for at in handed..self.events.len() as u64 {
            // It has never been handed over, so it will never be sent.
            self.tell(at, Ack::Not(AppendError::Unavailable));
        }
    }

    /// Counts them, so that it can be dropped in the middle of it. Stops where the
    /// connection has ended.
    async fn hand_over(&mut self, handed: &mut u64) {
        let client = self.open.session.client().clone();
        for (event, tag) in self.events.iter().zip(self.tags) {
            if self.open.session.is_lost() {
                return;
            }
            let subject = text::subject(self.options.prefix(), &event.topic, event.is_latest);
            let headers = message::headers(event, *tag);
            let data = Bytes::copy_from_slice(event.event.data().as_bytes());
            let reply = self.reply(*handed);
            match client
                .publish_with_reply_and_headers(subject, reply, headers, data)
                .await
            {
                Ok(()) => {}
                Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                    let no = "larger than the server takes";
                    self.tell(*handed, Ack::Not(AppendError::Refused(no.into())));
                }
                Err(_) => return,
            }
            *handed += 1;
        }
        // Asked behind the events, on the same connection: if the log is the same by now, it
        // was the same when they got there.
        let (witness, reply) = (self.open.witness.clone(), self.reply(*handed));
        let asking = client.publish_with_reply(witness, reply, Bytes::from_static(ASK));
        let _ = asking.await;
    }

    fn reply(&self, at: u64) -> String {
        format!("{}.{}", self.open.inbox, self.first_ack.wrapping_add(at))
    }

    /// Whether the log is known to be the same; `false` if it has to be looked at, `None` if
    /// not even the acknowledgements have come.
    pub(super) fn is_same(&self) -> Option<bool> {
        self.is_same
    }

    /// Awaits the acknowledgements, each for so long after the one before it.
    pub(super) async fn collect(&mut self, patience: Duration) {
        let end = Instant::now() + 2 * patience;
        while self.missing > 0 || self.is_same.is_none() {
            let patience = if self.missing > 0 { patience } else { WITNESS };
            let deadline = end.min(Instant::now() + patience);
            match timeout_at(deadline, next(&mut self.open.acks)).await {
                Ok(Some(message)) => self.acknowledge(&message),
                // Nothing more can come of this connection.
                Ok(None) => return,
                Err(_) if self.missing > 0 => {
                    self.open.is_doubtful = true;
                    return;
                }
                // A consumer that is gone says nothing.
                Err(_) => self.is_same = Some(false),
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
        if at == self.events.len() as u64 {
            self.is_same = Some(message.status == Some(StatusCode::NOT_FOUND));
            return;
        }
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
    pub(super) fn doubt(&mut self) {
        for answer in &mut self.answers {
            if matches!(answer, Some(Ack::Stored(_) | Ack::Duplicate(_))) {
                *answer = Some(Ack::Not(AppendError::Unknown));
            }
        }
    }

    pub(super) async fn finish(self, options: &Options) -> Vec<Result<Position, AppendError>> {
        let mut answers = Vec::with_capacity(self.answers.len());
        let epoch = self.open.log.epoch;
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
