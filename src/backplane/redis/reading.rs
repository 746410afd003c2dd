//! Reading: a connection that has nothing else to do.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use redis::{Cmd, Value};

use super::NAME;
use super::entry::{self, Entry};
use super::log::{Log, Script, epoch};
use super::server::{Connection, Failure, bytes, list, text};
use crate::backplane::{BackplaneError, Content, Latest, Reading, Record, Window};
use crate::topic::Topic;

/// What one answer should hold at most; what it will hold is only known when it is there.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;
const FIRST_COUNT: usize = 64;
const MAX_COUNT: usize = 4096;
/// Topics of which the newest event is asked for at once.
const SCAN_COUNT: usize = 256;
const MAX_PATIENCE: Duration = Duration::from_secs(3600);

pub(super) struct Reader {
    connection: Connection,
    log: Arc<Log>,
    latest: Latest,
    epoch: u64,
    /// How many entries are asked for: as many as fit, by the size of those before.
    count: usize,
    /// What the clock of the server said, and when.
    clock: Option<(Instant, u64)>,
}

impl Reader {
    pub(super) async fn open(log: Arc<Log>, latest: Latest) -> Result<Self, BackplaneError> {
        let connection = log.connect().await?;
        let mut reader = Self {
            connection,
            log,
            latest,
            epoch: 0,
            count: FIRST_COUNT,
            clock: None,
        };
        reader.window().await?;
        Ok(reader)
    }

    async fn call(&mut self, script: &Script, further: &[String]) -> Result<Value, Failure> {
        let known = self.command(script, further, true);
        match self.connection.ask(&known).await {
            Err(failure) if failure == Failure::said("NOSCRIPT") => {
                let whole = self.command(script, further, false);
                self.connection.ask(&whole).await
            }
            answer => answer,
        }
    }

    fn command(&self, script: &Script, further: &[String], is_known: bool) -> Cmd {
        let keys = &self.log.keys;
        let mut command = script.call(is_known);
        command
            .arg(3)
            .arg(&keys.stream)
            .arg(&keys.newest)
            .arg(&keys.aside)
            .arg(epoch())
            .arg(self.log.max_events)
            .arg(further);
        command
    }

    fn id(&self, offset: u64) -> String {
        format!("{}-{offset}", self.epoch)
    }

    /// Makes records of what an answer holds, and learns from its size.
    async fn take(&mut self, entries: Value, asked: usize) -> Result<Vec<Record>, BackplaneError> {
        let entries: Vec<Entry> = list(entries).into_iter().filter_map(entry).collect();
        let size = entries.iter().map(Entry::size).sum::<usize>().max(1);
        if size > ANSWER_BYTES {
            self.count = (entries.len() / size.div_ceil(ANSWER_BYTES)).max(1);
        } else if entries.len() == asked && size <= ANSWER_BYTES / 2 {
            self.count = self.count.saturating_mul(2).min(MAX_COUNT);
        }
        let now = self.now();
        let mut foreign = HashMap::<Topic, String>::new();
        let mut records = Vec::with_capacity(entries.len());
        for entry in entries {
            let (id, is_foreign) = (entry.id(), entry.is_foreign());
            let record = entry.into_record(self.log.max_event_bytes, now);
            if let Content::Event(topic, _) = &record.content
                && is_foreign
                && self.latest.contains(topic)
            {
                foreign.insert(topic.clone(), id);
            }
            records.push(record);
        }
        self.keep(foreign.into_values().collect()).await?;
        Ok(records)
    }

    /// Other programs only append. That their event is the newest one of a latest-value
    /// topic is noted by who reads it.
    async fn keep(&mut self, ids: Vec<String>) -> Result<(), BackplaneError> {
        for ids in ids.chunks(FIRST_COUNT) {
            match self.call(&Arc::clone(&self.log).scripts.keep, ids).await {
                // A server that is full can still be read.
                Err(failure @ Failure::Said(_)) if !failure.is_passing() => {}
                answer => drop(answer?),
            }
        }
        Ok(())
    }

    fn now(&self) -> Option<u64> {
        let (asked, told) = self.clock?;
        let since = u64::try_from(asked.elapsed().as_millis()).ok()?;
        told.checked_add(since)
    }

    fn count(&self, most: usize) -> usize {
        self.count.min(most).max(1)
    }
}

#[async_trait]
impl Reading for Reader {
    async fn window(&mut self) -> Result<Window, BackplaneError> {
        // A server that has become a replica goes on answering, perhaps of a time long past.
        self.connection.is_primary().await?;
        let log = Arc::clone(&self.log);
        let answer = self.call(&log.scripts.window, &[]).await?;
        let asked = Instant::now();
        let mut words = list(answer).into_iter().filter_map(text);
        let (last, first, now) = (words.next(), words.next(), words.next());
        let Some((epoch, last)) = last.as_deref().and_then(entry::parse) else {
            return Err(BackplaneError::new(NAME, "the stream is not one of ours"));
        };
        let next = last.saturating_add(1);
        let first = first.as_deref().and_then(entry::parse);
        self.epoch = epoch;
        self.clock = now.and_then(|now| Some((asked, now.parse().ok()?)));
        Ok(Window {
            epoch,
            oldest: first.map_or(next, |(_, offset)| offset),
            next,
        })
    }

    async fn read(&mut self, from: u64, most: usize) -> Result<Vec<Record>, BackplaneError> {
        let count = self.count(most);
        let mut command = redis::cmd("XRANGE");
        command
            .arg(&self.log.keys.stream)
            .arg(self.id(from))
            .arg("+")
            .arg("COUNT")
            .arg(count);
        let entries = self.connection.ask(&command).await?;
        self.take(entries, count).await
    }

    async fn wait(
        &mut self,
        from: u64,
        most: usize,
        patience: Duration,
    ) -> Result<Vec<Record>, BackplaneError> {
        let count = self.count(most);
        // To wait for no time is to wait for ever.
        let patience = patience.clamp(Duration::from_millis(1), MAX_PATIENCE);
        let mut command = redis::cmd("XREAD");
        command
            .arg("COUNT")
            .arg(count)
            .arg("BLOCK")
            .arg(u64::try_from(patience.as_millis()).unwrap_or(1))
            .arg("STREAMS")
            .arg(&self.log.keys.stream)
            .arg(self.id(from.saturating_sub(1)));
        let streams = self.connection.wait(&command, patience).await?;
        match list(streams).into_iter().nth(1) {
            Some(entries) => self.take(entries, count).await,
            None => Ok(Vec::new()),
        }
    }

    async fn latest(&mut self) -> Result<Vec<Record>, BackplaneError> {
        // A scan may come by the same topic twice.
        let mut newest = HashMap::<Vec<u8>, Entry>::new();
        let mut cursor = "0".to_owned();
        loop {
            let mut command = redis::cmd("HSCAN");
            command
                .arg(&self.log.keys.newest)
                .arg(cursor)
                .arg("COUNT")
                .arg(SCAN_COUNT);
            let mut answer = list(self.connection.ask(&command).await?).into_iter();
            let (next, pairs) = (answer.next().and_then(text), answer.next());
            let mut pairs = list(pairs.unwrap_or_default())
                .into_iter()
                .filter_map(bytes);
            while let Some((topic, kept)) = pairs.next().zip(pairs.next()) {
                // What is of another log is left of one that is gone.
                let entry = Entry::of_kept(&kept).filter(|entry| entry.epoch() == self.epoch);
                if let Some(entry) = entry {
                    newest.insert(topic, entry);
                }
            }
            match next {
                Some(next) if next != "0" => cursor = next,
                Some(_) => break,
                None => return Err(BackplaneError::new(NAME, "it has answered something else")),
            }
        }
        let now = self.now();
        let most = self.log.max_event_bytes;
        let records = newest.into_values();
        Ok(records.map(|entry| entry.into_record(most, now)).collect())
    }
}

/// `[id, [name, value, ..]]`
fn entry(value: Value) -> Option<Entry> {
    let mut parts = list(value).into_iter();
    let (id, fields) = (text(parts.next()?)?, parts.next()?);
    Entry::new(&id, list(fields).into_iter().filter_map(bytes).collect())
}
