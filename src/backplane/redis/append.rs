//! Appending: a batch is a pipeline of some calls of one script, each of which runs as a
//! whole, so a stored event is also remembered and kept.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use redis::{Cmd, Value};

use super::entry;
use super::log::{Log, epoch};
use super::server::{Connection, Failure, list, text};
use crate::backplane::{Append, AppendError};
use crate::position::Position;

/// A call keeps everybody else of the server waiting, so it does not do too much.
const CALL_EVENTS: usize = 128;
const CALL_BYTES: usize = 256 * 1024;

type Answer = Result<Position, AppendError>;

/// Who appends, with a connection of its own.
#[derive(Default)]
pub(super) struct Appender {
    connection: Option<Connection>,
}

impl Appender {
    /// `lease`: whose turn it has to be, or nothing is stored.
    pub(super) async fn append(
        &mut self,
        log: &Log,
        events: &[Append],
        lease: &str,
    ) -> Vec<Answer> {
        if events.is_empty() {
            return Vec::new();
        }
        let connection = match self.connected(log).await {
            Ok(connection) => connection,
            Err(failure) => return vec![Err(nothing_stored(&failure)); events.len()],
        };
        let calls = calls(events);
        let (answers, is_usable) = send(connection, log, &calls, lease).await;
        if !is_usable {
            self.connection = None;
        }
        answers
    }

    async fn connected(&mut self, log: &Log) -> Result<&mut Connection, Failure> {
        // Better to know it now than after having sent something.
        let kept = self.connection.take().filter(|kept| !kept.is_gone());
        let connection = match kept {
            Some(connection) => connection,
            None => log.connect().await?,
        };
        Ok(self.connection.insert(connection))
    }
}

/// Some of the events, and the tag of each.
struct Call<'a> {
    events: &'a [Append],
    tags: Vec<u32>,
}

fn calls(events: &[Append]) -> Vec<Call<'_>> {
    let mut calls = Vec::new();
    let mut rest = events;
    while !rest.is_empty() {
        let mut bytes = 0_usize;
        let fit = rest.iter().take(CALL_EVENTS).take_while(|append| {
            bytes = bytes.saturating_add(append.event.data().len());
            bytes <= CALL_BYTES
        });
        let (events, behind) = rest
            .split_at_checked(fit.count().max(1))
            .unwrap_or((rest, &[]));
        rest = behind;
        calls.push(Call {
            events,
            tags: tags(events.len()),
        });
    }
    calls
}

/// None is 0.
fn tags(count: usize) -> Vec<u32> {
    let mut bytes = vec![0; count.saturating_mul(4)];
    if getrandom::fill(&mut bytes).is_err() {
        // The keys of a `RandomState` are new each time.
        let random = RandomState::new();
        return (0..count)
            .map(|n| (random.hash_one(n) as u32).max(1))
            .collect();
    }
    let (tags, _) = bytes.as_chunks();
    let tags = tags.iter().map(|tag| u32::from_ne_bytes(*tag));
    tags.map(|tag| tag.max(1)).collect()
}

/// One answer for each event, and whether the connection can be used again.
async fn send(
    connection: &mut Connection,
    log: &Log,
    calls: &[Call<'_>],
    lease: &str,
) -> (Vec<Answer>, bool) {
    let mut answers: Vec<Answer> = Vec::new();
    let (mut rest, mut is_first, mut is_usable) = (calls, true, true);
    while !rest.is_empty() {
        let commands = pipeline(log, rest, lease, is_first);
        let values = match connection.ask_all(&commands, log.replicas_for()).await {
            Ok(values) => values,
            Err(failure) => {
                let error = match failure {
                    Failure::Silent(_) => AppendError::Unknown,
                    failure => nothing_stored(&failure),
                };
                let count = rest.iter().map(|call| call.events.len()).sum();
                answers.extend(std::iter::repeat_n(Err(error), count));
                return (answers, false);
            }
        };
        // A server that has been started anew does not know the script. What it has not run is
        // sent again, if it has run nothing behind it.
        let run = values.iter().take(rest.len()).rposition(is_run);
        let done = match run {
            _ if !is_first => rest.len(),
            Some(last) => last.saturating_add(1),
            None => 0,
        };
        let (now, later) = rest.split_at_checked(done).unwrap_or((rest, &[]));
        let has_replicas = match values.get(rest.len()) {
            Some(Value::Int(replicas)) => *replicas >= i64::from(log.replicas),
            _ => log.replicas == 0,
        };
        for (call, value) in now.iter().zip(values) {
            is_usable &= answer(&mut answers, call, value);
        }
        if !has_replicas {
            let stored = answers.iter_mut().filter(|answer| answer.is_ok());
            stored.for_each(|answer| *answer = Err(AppendError::Unknown));
        }
        (rest, is_first) = (later, false);
    }
    (answers, is_usable)
}

fn is_run(value: &Value) -> bool {
    !matches!(value, Value::ServerError(error) if error.code() == "NOSCRIPT")
}

fn pipeline(log: &Log, calls: &[Call<'_>], lease: &str, is_known: bool) -> redis::Pipeline {
    let mut commands = redis::Pipeline::with_capacity(calls.len().saturating_add(1));
    for (at, call) in calls.iter().enumerate() {
        commands.add_command(command(log, call, lease, is_known || at > 0));
    }
    if log.replicas > 0 {
        let patience = log.replicas_for().as_millis();
        commands
            .cmd("WAIT")
            .arg(log.replicas)
            .arg(u64::try_from(patience).unwrap_or(u64::MAX));
    }
    commands
}

fn command(log: &Log, call: &Call<'_>, lease: &str, is_known: bool) -> Cmd {
    let keys = &log.keys;
    let once: Vec<String> = call
        .events
        .iter()
        .filter_map(|append| append.event.once_key())
        .map(|key| keys.once(key))
        .collect();
    let mut command = log.scripts.append.call(is_known);
    command
        .arg(once.len().saturating_add(4))
        .arg(&keys.stream)
        .arg(&keys.newest)
        .arg(&keys.aside)
        .arg(&keys.lease)
        .arg(once)
        .arg(epoch())
        .arg(log.max_events)
        .arg(millis(log.once_for))
        .arg(lease);
    for (append, tag) in call.events.iter().zip(&call.tags) {
        let fields = entry::fields(append, *tag);
        command
            .arg(u8::from(append.event.once_key().is_some()))
            .arg(u8::from(append.is_latest))
            .arg(fields.len().saturating_mul(2));
        for (name, value) in &fields {
            command.arg(name).arg(&**value);
        }
    }
    command
}

/// Redis forgets nothing in no time.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .clamp(1, i64::MAX as u64 / 2)
}

/// Reads what a call has answered. Says whether the connection can be used again.
fn answer(answers: &mut Vec<Answer>, call: &Call<'_>, value: Value) -> bool {
    let count = call.events.len();
    let mut all = |error: AppendError| answers.extend(std::iter::repeat_n(Err(error), count));
    let told = match value {
        Value::ServerError(error) => {
            let failure = Failure::said(error.code());
            // A script that fails in the middle may have done something.
            all(match error.code() {
                "ERR" => AppendError::Unknown,
                _ => nothing_stored(&failure),
            });
            return !failure.is_passing();
        }
        Value::Nil => {
            all(AppendError::Refused("it is another one's turn".into()));
            return true;
        }
        value => list(value),
    };
    if told.len() != count {
        all(AppendError::Unknown);
        return false;
    }
    let mut is_usable = true;
    for (told, tag) in told.into_iter().zip(&call.tags) {
        let told = text(told).unwrap_or_default();
        answers.push(match told.strip_prefix('!') {
            Some(error) => {
                let failure = Failure::said(code(error));
                is_usable &= !failure.is_passing();
                Err(nothing_stored(&failure))
            }
            None => position(&told, *tag).ok_or(AppendError::Unknown),
        });
    }
    is_usable
}

/// Scripts see the errors of commands with a dash before them or without one.
fn code(error: &str) -> &str {
    let code = error.trim_start_matches('-');
    code.split_ascii_whitespace().next().unwrap_or_default()
}

/// An id, and perhaps the tag with which it was stored before.
fn position(told: &str, tag: u32) -> Option<Position> {
    let (id, tag) = match told.split_once(' ') {
        Some((id, tag)) => (id, u32::from_str_radix(tag, 16).ok()?),
        None => (told, tag),
    };
    let (epoch, offset) = entry::parse(id)?;
    Some(Position::tagged(epoch, offset, tag))
}

fn nothing_stored(failure: &Failure) -> AppendError {
    if failure.is_passing() {
        AppendError::Unavailable
    } else {
        AppendError::Refused(failure.to_string().into())
    }
}
