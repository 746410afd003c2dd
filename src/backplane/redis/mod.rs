//! [`Redis`]: a log that is one stream of Redis or Valkey.
//!
//! # Ids
//!
//! The id of an entry is `<epoch>-<offset>`. A stream gives ids that grow: behind an id whose
//! first part is greater than the clock, `XADD key *` only counts the second part up. So the
//! first part is the epoch, which is greater than any clock, and the second one the offset:
//! contiguous, whoever appends, and gone together with the stream.
//!
//! Scripts do what has to be done at once (`log.lua`, `append.lua`, `window.lua`,
//! `keep.lua`): make the stream, append, remember what is stored once, keep the newest event
//! of a topic. A stream that another program has begun, with times for ids, is moved into
//! one of ours.

mod append;
mod entry;
#[cfg(fuzzing)]
pub mod fuzzing;
mod log;
mod reading;
mod relay;
mod server;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use thiserror::Error;
use tokio::sync::Mutex;

use self::append::Appender;
use self::log::{Keys, Log, Scripts};
use self::reading::Reader;
use self::relay::{Channels, Relay};
use self::server::Servers;
use super::{Append, AppendError, Backplane, BackplaneError, Latest, Reading};
use crate::position::Position;
use crate::topic::Pattern;

const NAME: &str = "redis";

/// Keeps the log of a [`Hub`](crate::Hub) in a stream of Redis 6.2 or later, or of Valkey,
/// for any number of processes. Other programs append to it with
/// `XADD tornadose * topic rooms/7 data hello`.
///
/// ```
/// use tornadose::backplane::Redis;
///
/// let redis = Redis::new("redis://user:secret@127.0.0.1:6379/0")?
///     .key("events")?
///     .max_events(1_000_000);
/// # assert!(!format!("{redis:?}").contains("secret"));
/// # Ok::<(), tornadose::backplane::InvalidRedis>(())
/// ```
///
/// ```no_run
/// # async fn open(redis: tornadose::backplane::Redis) -> Result<(), Box<dyn std::error::Error>> {
/// use tornadose::{Event, Hub, Policy};
///
/// let hub = Hub::builder().policy("price/#".parse()?, Policy::latest()).open(redis).await?;
/// let event = Event::new("hello").topic("rooms/7".parse()?);
/// let id = hub.submit(event)?.await?; // stored
/// # Ok(())
/// # }
/// ```
///
/// An event is stored when Redis has it in its memory: what that survives is what Redis is
/// configured to survive (`appendfsync`), and [`replicas`](Self::replicas). Whatever it
/// loses is told.
///
/// All processes of one log must be configured alike. Each has two connections, one more
/// where it [relays](Self::relay) and two more while it is the one that does.
///
/// With TLS (feature `redis-tls`) the first connection chooses rustls's provider for the whole
/// process, *ring*, unless the program has chosen one before. A program that wants another one
/// installs it at its beginning.
///
/// # Panics
///
/// What it does needs tokio, with time and IO enabled. Making and configuring it needs
/// nothing.
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub struct Redis {
    log: Arc<Log>,
    appender: Mutex<Appender>,
    relay: OnceLock<Relay>,
}

impl Redis {
    /// A log on the server at
    /// `redis://[[user]:password@]host[:port][/database]`, `rediss://` for TLS (feature
    /// `redis-tls`), `redis+unix:///path` for a socket. Connects to nothing yet.
    ///
    /// If the server is one of a cluster, the log is on the one that has the slot of its
    /// [key](Self::key), and is found there.
    ///
    /// # Errors
    ///
    /// [`InvalidRedis`] if it is no such URL.
    pub fn new(url: &str) -> Result<Self, InvalidRedis> {
        Ok(Self {
            log: Arc::new(Log {
                servers: Servers {
                    seeds: vec![parse(url)?],
                    sentinels: None,
                    #[cfg(feature = "redis-tls")]
                    root_certificate: None,
                    timeout: Duration::from_secs(3),
                },
                keys: Keys::new("tornadose".to_owned())?,
                scripts: Scripts::new(),
                channels: Vec::new(),
                max_events: 100_000,
                max_event_bytes: 16 * 1024 * 1024,
                once_for: Duration::from_secs(120),
                replicas: 0,
            }),
            appender: Mutex::default(),
            relay: OnceLock::new(),
        })
    }

    /// Another server that may have the log, for example because it is the replica that
    /// becomes the primary, or of the same cluster. The first that answers and is a primary
    /// has it; each gets an equal share of the [time](Self::timeout).
    ///
    /// # Errors
    ///
    /// [`InvalidRedis`] if it is no URL as in [`new`](Self::new).
    pub fn or_at(mut self, url: &str) -> Result<Self, InvalidRedis> {
        let info = parse(url)?;
        self.edit().servers.seeds.push(info);
        Ok(self)
    }

    /// Asks these sentinels which server is the primary of this name. Of the URL that was
    /// given to [`new`](Self::new) the user, the password, the database and whether it is
    /// TLS still count, and the address no longer does. The URLs of the sentinels have
    /// credentials of their own.
    ///
    /// # Errors
    ///
    /// [`InvalidRedis`] if one is no URL as in [`new`](Self::new).
    pub fn sentinels(
        mut self,
        name: impl Into<String>,
        urls: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, InvalidRedis> {
        let infos = urls
            .into_iter()
            .map(|url| parse(url.as_ref()))
            .collect::<Result<_, _>>()?;
        self.edit().servers.sentinels = Some((name.into(), infos));
        Ok(self)
    }

    /// The certificate, in PEM, of who signs those of the servers. Default: those that the
    /// system trusts.
    #[cfg(feature = "redis-tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "redis-tls")))]
    #[must_use]
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.edit().servers.root_certificate = Some(pem.into());
        self
    }

    /// The key of the stream, by which logs on one server differ. Default: `tornadose`. What
    /// else there is of the log has keys that begin with `{key}:`, or with the key itself if
    /// it has a hash tag; so all of it is in one slot of a cluster.
    ///
    /// # Errors
    ///
    /// [`InvalidRedis::Key`] if it is empty, or has braces and no hash tag.
    pub fn key(mut self, key: impl Into<String>) -> Result<Self, InvalidRedis> {
        self.edit().keys = Keys::new(key.into())?;
        Ok(self)
    }

    /// How many events are kept, at least: Redis lets go of some hundred at once. Default:
    /// 100,000. Each takes its bytes and 50 to 200 more of the memory of the server.
    #[must_use]
    pub fn max_events(mut self, events: usize) -> Self {
        // Redis counts with a sign.
        let most = usize::try_from(i64::MAX).unwrap_or(usize::MAX);
        self.edit().max_events = events.clamp(1, most);
        self
    }

    /// An entry with more bytes, which another program has appended, is
    /// [corrupt](super::Content::Corrupt). Default: 16 MiB.
    #[must_use]
    pub fn max_event_bytes(mut self, bytes: usize) -> Self {
        self.edit().max_event_bytes = bytes;
        self
    }

    /// For how long the key of an event that is stored [once](crate::Event::once) is
    /// remembered. Default: 2 minutes. Each takes about 220 bytes of the memory of the
    /// server.
    #[must_use]
    pub fn once_for(mut self, time: Duration) -> Self {
        self.edit().once_for = time;
        self
    }

    /// So many replicas must have an event, or it is [unknown](AppendError::Unknown) whether
    /// it is stored. Default: 0. Costs each batch the way to the replicas, and at most the
    /// [time](Self::timeout). It makes loss unlikely when the primary fails, not impossible:
    /// it may be another replica that becomes the primary.
    #[must_use]
    pub fn replicas(mut self, replicas: u32) -> Self {
        self.edit().replicas = replicas;
        self
    }

    /// A server that has not answered, or taken a connection, for so long is away. Default:
    /// 3 seconds; at least 10 milliseconds.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Self {
        self.edit().servers.timeout = time.max(Duration::from_millis(10));
        self
    }

    /// Appends what other programs `PUBLISH` on channels whose names are this prefix and a
    /// topic that matches. Default: none; may be called several times.
    ///
    /// One of the processes does it at a time, which holds a lease. Each message is appended
    /// at most once, and **lost without a word** if it comes while there is nobody: for up
    /// to 6 seconds after that process has died, or while it loses the server. So this is
    /// for [latest-value topics](crate::Policy::latest), whose next value mends it. What must
    /// not be lost is appended with `XADD`.
    #[must_use]
    pub fn relay(mut self, prefix: impl Into<String>, topics: Pattern) -> Self {
        let prefix = prefix.into();
        self.edit().channels.push(Channels { prefix, topics });
        self
    }

    fn edit(&mut self) -> &mut Log {
        Arc::make_mut(&mut self.log)
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("key", &self.log.keys.stream)
            .field("max_events", &self.log.max_events)
            .field("once_for", &self.log.once_for)
            .field("replicas", &self.log.replicas)
            .field("relay", &self.log.channels)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Backplane for Redis {
    async fn append(&self, events: &[Append]) -> Vec<Result<Position, AppendError>> {
        self.appender
            .lock()
            .await
            .append(&self.log, events, "")
            .await
    }

    async fn open(&self, latest: &Latest) -> Result<Box<dyn Reading>, BackplaneError> {
        let reader = Reader::open(Arc::clone(&self.log), latest.clone()).await?;
        if !self.log.channels.is_empty() {
            self.relay
                .get_or_init(|| Relay::spawn(Arc::clone(&self.log), latest.clone()));
        }
        Ok(Box::new(reader))
    }

    fn name(&self) -> &'static str {
        NAME
    }
}

/// Why there cannot be such a log. Holds nothing of what was given.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub enum InvalidRedis {
    /// It is not `redis://[[user]:password@]host[:port][/database]`, `rediss://..` or
    /// `redis+unix:///path`.
    #[error("not a URL of a Redis server")]
    Url,

    /// It begins with `rediss://`, and the feature `redis-tls` is not enabled.
    #[error("TLS needs the feature `redis-tls`")]
    Tls,

    /// The key is empty, or has braces and no hash tag.
    #[error("a key is not empty, and has a hash tag or no braces")]
    Key,
}

fn parse(url: &str) -> Result<ConnectionInfo, InvalidRedis> {
    let is_tls = ["rediss:", "valkeys:"]
        .iter()
        .any(|scheme| url.starts_with(scheme));
    if is_tls && cfg!(not(feature = "redis-tls")) {
        return Err(InvalidRedis::Tls);
    }
    let info = url.into_connection_info().map_err(|_| InvalidRedis::Url)?;
    let is_checked = !matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. });
    is_checked.then_some(info).ok_or(InvalidRedis::Url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_judged_and_not_shown() {
        for good in [
            "redis://h",
            "redis://:p@h:1/2",
            "redis+unix:///tmp/s",
            "valkey://u:p@[::1]",
        ] {
            let redis = Redis::new(good).unwrap_or_else(|error| panic!("{good}: {error}"));
            assert_eq!(
                format!("{redis:?}"),
                "Redis { key: \"tornadose\", max_events: 100000, once_for: 120s, replicas: 0, relay: [], .. }"
            );
        }
        for bad in ["", "h:1", "http://h", "redis://", "redis://h/x"] {
            assert_eq!(
                Redis::new(bad).map(|_| ()),
                Err(InvalidRedis::Url),
                "{bad:?}"
            );
        }
        #[cfg(not(feature = "redis-tls"))]
        assert_eq!(Redis::new("rediss://h").map(|_| ()), Err(InvalidRedis::Tls));
        #[cfg(feature = "redis-tls")]
        assert_eq!(
            Redis::new("rediss://h/#insecure").map(|_| ()),
            Err(InvalidRedis::Url)
        );
    }
}
