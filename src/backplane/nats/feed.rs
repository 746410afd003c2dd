//! What a stream delivers, from one message on: a consumer of its own, and requests for more.

use std::time::Duration;

use async_nats::{Message, Subscriber};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::message::{Fields, Stored};
use super::session::{Session, Trouble, next};

/// How many messages are asked for at once.
const MOST: u64 = 1024;

/// How many bytes, unless one message may be larger.
const MOST_BYTES: usize = 4 << 20;

/// How long a request for messages stands.
const STANDS: Duration = Duration::from_secs(20);

/// How long the server keeps a consumer that nobody asks for messages.
const KEPT: Duration = Duration::from_secs(60);

const BROKEN: Trouble = Trouble::Away("the consumer is gone");

pub(super) struct Feed {
    session: Session,
    messages: Subscriber,
    inbox: String,
    subject: String,
    /// The least number that the next message can have.
    next: u64,
    /// How many have been delivered: they are numbered, so none can be lost on the way.
    delivered: u64,
    /// How many there were behind the one that was delivered last.
    pending: u64,
    /// The number from which on nothing may be delivered.
    limit: u64,
    request: Request,
}

/// What was asked for last.
struct Request {
    number: u64,
    /// How many more will come.
    open: u64,
    until: Instant,
}

impl Feed {
    pub(super) async fn new(
        session: &Session,
        stream: &str,
        from: u64,
        limit: u64,
    ) -> Result<Self, Trouble> {
        let (inbox, messages) = session.inbox().await?;
        let config = json!({
            "stream_name": stream,
            "config": {
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": from.max(1),
                "ack_policy": "none",
                "replay_policy": "instant",
                "max_deliver": 1,
                "mem_storage": true,
                "num_replicas": 1,
                "inactive_threshold": nanoseconds(KEPT),
            },
        });
        let call = format!("CONSUMER.CREATE.{stream}");
        let answer = session.call(&call, Some(&config)).await?;
        let name = answer.get("name").and_then(Value::as_str).ok_or(BROKEN)?;
        let pending = answer.get("num_pending").and_then(Value::as_u64);
        Ok(Self {
            session: session.clone(),
            messages,
            inbox,
            subject: session.api_subject(&format!("CONSUMER.MSG.NEXT.{stream}.{name}")),
            next: from,
            delivered: 0,
            pending: pending.unwrap_or(1),
            limit,
            request: Request {
                number: 0,
                open: 0,
                until: Instant::now(),
            },
        })
    }

    /// The least number that the next message can have.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Whether it stops somewhere.
    pub(super) fn is_limited(&self) -> bool {
        self.limit != u64::MAX
    }

    /// Whether it has come to its limit.
    pub(super) fn is_over(&self) -> bool {
        self.next >= self.limit
    }

    /// Whether, as far as it has been told, there are more.
    pub(super) fn has_more(&self) -> bool {
        self.pending > 0 && !self.is_over()
    }

    /// The next message, `None` if none has come by then. Dropped before, it has taken
    /// nothing.
    pub(super) async fn take(&mut self, deadline: Instant) -> Result<Option<Stored>, Trouble> {
        loop {
            if self.is_over() {
                return Ok(None);
            }
            let now = Instant::now();
            if self.request.open == 0 || self.request.until < now {
                self.ask(now).await?;
            }
            // A request that has run out is renewed, also if nobody tells so.
            let until = deadline.min(self.request.until + Duration::from_millis(1));
            match timeout_at(until, next(&mut self.messages)).await {
                Ok(Some(message)) => {
                    if let Some(stored) = self.judge(message)? {
                        return Ok(Some(stored));
                    }
                }
                Ok(None) => return Err(Trouble::LOST),
                Err(_) if Instant::now() >= deadline => return Ok(None),
                Err(_) => {}
            }
        }
    }

    async fn ask(&mut self, now: Instant) -> Result<(), Trouble> {
        let client = self.session.client();
        let bytes = MOST_BYTES.max(client.max_payload().saturating_mul(2));
        let batch = MOST.min(self.limit.saturating_sub(self.next));
        let request = json!({
            "batch": batch,
            "max_bytes": bytes,
            "expires": nanoseconds(STANDS),
        });
        let number = self.request.number.wrapping_add(1);
        let reply = format!("{}.{number}", self.inbox);
        let request = request.to_string().into();
        let asking = client.publish_with_reply(self.subject.clone(), reply, request);
        match timeout_at(now + self.session.patience(), asking).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(Trouble::LOST),
            Err(_) => return Err(Trouble::SILENT),
        }
        self.request = Request {
            number,
            open: batch,
            until: now + STANDS,
        };
        Ok(())
    }

    /// The message of the stream that this is, or what it says of the last request.
    fn judge(&mut self, message: Message) -> Result<Option<Stored>, Trouble> {
        let below = message.subject.strip_prefix(self.inbox.as_str());
        if let Some(number) = below.and_then(|below| below.strip_prefix('.')) {
            if number.parse() == Ok(self.request.number) {
                self.ended(&message)?;
            }
            return Ok(None);
        }
        let place = message.reply.as_deref().and_then(Place::read);
        let place = place.ok_or(BROKEN)?;
        self.delivered = self.delivered.wrapping_add(1);
        if place.delivered != self.delivered {
            return Err(Trouble::Away("messages were lost on the way"));
        }
        self.request.open = self.request.open.saturating_sub(1);
        self.pending = place.pending;
        if place.seq < self.next {
            // The end of the stream is gone, and this is a new one.
            return Ok(None);
        }
        self.next = place.seq.saturating_add(1);
        Ok(Some(Stored {
            seq: place.seq,
            nanos: place.nanos,
            fields: Some(Fields::new(message.headers.as_ref())),
            subject: message.subject.into_string(),
            data: message.payload,
        }))
    }

    fn ended(&mut self, message: &Message) -> Result<(), Trouble> {
        let code = message.status.map(|status| status.as_u16());
        let words = message.description.as_deref().unwrap_or_default();
        match code {
            // It still stands.
            Some(100) => {}
            Some(404 | 408) => self.request.open = 0,
            Some(409)
                if words.starts_with("Batch Completed") || words.starts_with("Message Size") =>
            {
                self.request.open = 0;
            }
            _ => return Err(BROKEN),
        }
        Ok(())
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What the subject says to which a message would be acknowledged.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    seq: u64,
    delivered: u64,
    nanos: u64,
    pending: u64,
}

impl Place {
    /// `$JS.ACK.<stream>.<consumer>.<times>.<seq>.<delivered>.<time>.<pending>`, of newer
    /// servers with a domain and an account behind `ACK` and a token at the end.
    fn read(subject: &str) -> Option<Self> {
        let rest = subject.strip_prefix("$JS.ACK.")?;
        let behind = match rest.split('.').count() {
            7 => 3,
            9.. => 5,
            _ => return None,
        };
        let mut numbers = rest.split('.').skip(behind).map(str::parse);
        let mut number = || numbers.next()?.ok();
        Some(Self {
            seq: number()?,
            delivered: number()?,
            nanos: number()?,
            pending: number()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        let expected = Some(Place {
            seq: 20,
            delivered: 3,
            nanos: 1_600_000_000_000_000_001,
            pending: 7,
        });
        for subject in [
            "$JS.ACK.log.c.1.20.3.1600000000000000001.7",
            "$JS.ACK._.acc.log.c.1.20.3.1600000000000000001.7",
            "$JS.ACK.hub.acc.log.c.1.20.3.1600000000000000001.7.token",
        ] {
            assert_eq!(Place::read(subject), expected, "{subject}");
        }
        for subject in [
            "",
            "$JS.ACK.",
            "$JS.ACK.log.c.1.20.3.1600000000000000001",
            "$JS.ACK.log.c.1.-20.3.1600000000000000001.7",
            "$JS.ACK.log.c.1.20.3.1600000000000000001.99999999999999999999",
            "_INBOX.x.1",
        ] {
            assert_eq!(Place::read(subject), None, "{subject}");
        }
    }
}
