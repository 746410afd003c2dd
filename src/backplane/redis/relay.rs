//! `PUBLISH`: what other programs say on channels becomes events, by one process at a time.
//!
//! Redis does not keep what is published. So what comes while nobody relays, or while the one
//! who does it loses the server, is gone, and nobody is told: at most once.

use std::collections::hash_map::RandomState;
use std::future::poll_fn;
use std::hash::BuildHasher;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{Msg, Value};
use tokio::select;
use tokio::task::{AbortHandle, spawn};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::append::Appender;
use super::log::{Log, epoch};
use super::server::{Connection, Failure};
use crate::backplane::{Append, Latest};
use crate::event::Event;
use crate::topic::{Pattern, Topic};

/// For so long nobody relays after the one who did has died.
const LEASE: Duration = Duration::from_secs(5);
const RENEW: Duration = Duration::from_secs(1);
/// So many messages are appended at once.
const BATCH: usize = 256;

/// Answers whether the lease is still held.
const RENEW_LEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then \
                           return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0";

/// Channels of a prefix and a topic.
#[derive(Clone, Debug)]
pub(super) struct Channels {
    pub(super) prefix: String,
    pub(super) topics: Pattern,
}

impl Channels {
    /// A pattern of Redis, which matches at least these channels.
    fn glob(&self) -> String {
        let mut glob = String::new();
        let literal = |glob: &mut String, text: &str| {
            for character in text.chars() {
                if matches!(character, '*' | '?' | '[' | ']' | '^' | '\\') {
                    glob.push('\\');
                }
                glob.push(character);
            }
        };
        literal(&mut glob, &self.prefix);
        let levels = self.topics.as_str().split('/');
        let literals: Vec<_> = levels
            .take_while(|level| !matches!(*level, "+" | "#"))
            .collect();
        let is_literal = literals.len() == self.topics.as_str().split('/').count();
        literal(&mut glob, &literals.join("/"));
        if !is_literal {
            glob.push('*');
        }
        glob
    }

    fn topic(&self, channel: &str) -> Option<Topic> {
        let topic = Topic::new(channel.strip_prefix(&self.prefix)?).ok()?;
        self.topics.matches(&topic).then_some(topic)
    }
}

/// The task; it ends with this.
#[derive(Debug)]
pub(super) struct Relay(AbortHandle);

impl Relay {
    pub(super) fn spawn(log: Arc<Log>, latest: Latest) -> Self {
        let node = format!("{:016x}", RandomState::new().hash_one(epoch()));
        let task = spawn(async move {
            loop {
                // Whatever went wrong, another turn may go better.
                let _ = turn(&log, &latest, &node).await;
                sleep(RENEW).await;
            }
        });
        Self(task.abort_handle())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits for the lease, and relays for as long as it is held.
async fn turn(log: &Log, latest: &Latest, node: &str) -> Result<(), Failure> {
    let mut connection = log.connect().await?;
    let mut take = redis::cmd("SET");
    take.arg(&log.keys.lease)
        .arg(node)
        .arg("NX")
        .arg("PX")
        .arg(LEASE.as_millis() as u64);
    while connection.ask(&take).await? == Value::Nil {
        sleep(RENEW).await;
    }
    let (mut sink, mut messages) = subscribe(log, &connection).await?;
    let mut appender = Appender::default();
    let mut renewals = interval(RENEW);
    renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let first = select! {
            message = next(&mut messages) => message,
            _ = renewals.tick() => {
                renew(log, &mut connection, node).await?;
                // A connection that nobody is at the other end of says nothing by itself.
                timeout(log.servers.timeout, sink.ping::<Value>())
                    .await
                    .map_err(|_| Failure::Silent("it has not answered"))?
                    .map_err(|_| Failure::Silent("the connection is lost"))?;
                continue;
            }
        };
        let Some(first) = first else {
            return Err(Failure::Silent("the connection is lost"));
        };
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Some(Some(message)) = now(next(&mut messages)).await
        {
            batch.push(message);
        }
        let events: Vec<_> = batch
            .iter()
            .filter_map(|message| event(log, latest, message))
            .collect();
        let answers = appender.append(log, &events, node).await;
        if answers.iter().any(Result::is_err) {
            return Err(Failure::Silent("it has not stored everything"));
        }
    }
}

async fn subscribe(
    log: &Log,
    connection: &Connection,
) -> Result<(PubSubSink, PubSubStream), Failure> {
    let subscribed = async {
        let mut channels = connection.client().get_async_pubsub().await?;
        for wanted in &log.channels {
            channels.psubscribe(wanted.glob()).await?;
        }
        redis::RedisResult::Ok(channels.split())
    };
    match timeout(log.servers.timeout, subscribed).await {
        Ok(Ok(split)) => Ok(split),
        _ => Err(Failure::Away("its channels cannot be subscribed to")),
    }
}

async fn renew(log: &Log, connection: &mut Connection, node: &str) -> Result<(), Failure> {
    let mut renew = redis::cmd("EVAL");
    renew
        .arg(RENEW_LEASE)
        .arg(1)
        .arg(&log.keys.lease)
        .arg(node)
        .arg(LEASE.as_millis() as u64);
    match connection.ask(&renew).await? {
        Value::Int(1) => Ok(()),
        _ => Err(Failure::Away("it is another one's turn")),
    }
}

async fn next(messages: &mut PubSubStream) -> Option<Msg> {
    poll_fn(|cx| Pin::new(&mut *messages).poll_next(cx)).await
}

/// What this is already, if it is.
async fn now<F: Future>(future: F) -> Option<F::Output> {
    select! {
        biased;
        output = future => Some(output),
        () = std::future::ready(()) => None,
    }
}

/// What is no text, or on no channel of ours, is nobody's.
fn event(log: &Log, latest: &Latest, message: &Msg) -> Option<Append> {
    let channel = message.get_channel_name();
    let mut channels = log.channels.iter();
    let (of, topic) = channels.find_map(|of| Some((of, of.topic(channel)?)))?;
    // It comes once for each pattern of Redis that matches.
    let pattern: String = message.get_pattern().ok()?;
    if pattern != of.glob() {
        return None;
    }
    let event = Event::from_utf8(message.get_payload_bytes()).ok()?;
    Some(Append {
        is_latest: latest.contains(&topic),
        event,
        topic,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels(prefix: &str, topics: &str) -> Channels {
        Channels {
            prefix: prefix.to_owned(),
            topics: topics.parse().expect("a pattern"),
        }
    }

    #[test]
    fn a_pattern_becomes_one_of_redis() {
        for (prefix, topics, glob) in [
            ("", "#", "*"),
            ("sse:", "price/+", "sse:price*"),
            ("", "a/b", "a/b"),
            ("[x]*?^\\", "a*", "\\[x\\]\\*\\?\\^\\\\a\\*"),
        ] {
            assert_eq!(channels(prefix, topics).glob(), glob);
        }
    }

    #[test]
    fn a_channel_is_a_prefix_and_a_topic() {
        let topic = |channel| {
            channels("sse:", "price/+")
                .topic(channel)
                .map(|topic| topic.to_string())
        };
        assert_eq!(topic("sse:price/oil"), Some("price/oil".to_owned()));
        for other in [
            "price/oil",
            "sse:price",
            "sse:price/a/b",
            "sse:price/",
            "sse:",
        ] {
            assert_eq!(topic(other), None, "{other:?}");
        }
    }
}
