//! What makes up a log: where it is, its keys, its scripts.

use std::sync::Arc;
use std::time::Duration;

use redis::Cmd;

use super::relay::Channels;
use super::server::{Connection, Failure, Servers};
use super::{InvalidRedis, entry};
use crate::position::Epoch;

/// A log, as it is configured.
#[derive(Clone)]
pub(super) struct Log {
    pub(super) servers: Servers,
    pub(super) keys: Keys,
    pub(super) scripts: Scripts,
    pub(super) channels: Vec<Channels>,
    pub(super) max_events: usize,
    pub(super) max_event_bytes: usize,
    pub(super) once_for: Duration,
    pub(super) replicas: u32,
}

impl Log {
    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        self.servers.connect(&self.keys.stream).await
    }

    /// How long the replicas are waited for.
    pub(super) fn replicas_for(&self) -> Duration {
        match self.replicas {
            0 => Duration::ZERO,
            _ => self.servers.timeout,
        }
    }
}

#[derive(Clone)]
pub(super) struct Keys {
    pub(super) stream: String,
    pub(super) newest: String,
    pub(super) aside: String,
    pub(super) lease: String,
    once: String,
}

impl Keys {
    pub(super) fn new(stream: String) -> Result<Self, InvalidRedis> {
        let tag = stream
            .split_once('{')
            .and_then(|(_, rest)| rest.split_once('}'))
            .map(|(tag, _)| tag);
        let prefix = match tag {
            // It would be the other keys of another log, too.
            Some(tag) if tag.is_empty() || stream.len() == tag.len() + 2 => {
                return Err(InvalidRedis::Key);
            }
            Some(_) => stream.clone(),
            None if stream.is_empty() || stream.contains(['{', '}']) => {
                return Err(InvalidRedis::Key);
            }
            None => format!("{{{stream}}}"),
        };
        Ok(Self {
            newest: format!("{prefix}:latest"),
            aside: format!("{prefix}:aside"),
            lease: format!("{prefix}:relay"),
            once: format!("{prefix}:once:"),
            stream,
        })
    }

    pub(super) fn once(&self, key: &str) -> String {
        format!("{}{key}", self.once)
    }
}

#[derive(Clone)]
pub(super) struct Scripts {
    pub(super) append: Script,
    pub(super) window: Script,
    pub(super) keep: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        let script = |text: &'static str| Script {
            text,
            sha1: sha1_smol::Sha1::from(text).digest().to_string().into(),
        };
        Self {
            append: script(concat!(include_str!("log.lua"), include_str!("append.lua"))),
            window: script(concat!(include_str!("log.lua"), include_str!("window.lua"))),
            keep: script(concat!(include_str!("log.lua"), include_str!("keep.lua"))),
        }
    }
}

#[derive(Clone)]
pub(super) struct Script {
    text: &'static str,
    sha1: Arc<str>,
}

impl Script {
    /// The beginning of a call: by its name, or in full where the server may not know it.
    pub(super) fn call(&self, is_known: bool) -> Cmd {
        let (command, script) = match is_known {
            true => ("EVALSHA", &*self.sha1),
            false => ("EVAL", self.text),
        };
        let mut command = redis::cmd(command);
        command.arg(script);
        command
    }
}

/// For a log that has to be made.
pub(super) fn epoch() -> u64 {
    loop {
        let random = Epoch::random().number();
        if random >= entry::FIRST_EPOCH {
            return random;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_are_in_one_slot() {
        let newest = |key: &str| Keys::new(key.to_owned()).map(|keys| keys.newest);
        assert_eq!(newest("events"), Ok("{events}:latest".to_owned()));
        assert_eq!(newest("a:{b}:c"), Ok("a:{b}:c:latest".to_owned()));
        for bad in ["", "{", "}", "{}", "a}{b", "{}a{b}"] {
            assert_eq!(newest(bad), Err(InvalidRedis::Key), "{bad:?}");
        }
    }

    #[test]
    fn epochs_are_greater_than_any_clock() {
        assert!((0..1000).all(|_| epoch().to_string().len() == 20));
    }
}
