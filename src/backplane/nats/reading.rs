//! Reading the log: its window, what is retained, what comes, and the newest of each topic.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::NAME;
use super::care::{Care, Way};
use super::feed::Feed;
use super::message::Stored;
use super::options::Options;
use super::session::{Session, Trouble};
use super::stream::{self, Info};
use crate::backplane::{BackplaneError, Latest, Reading, Record, Window};

/// How many bytes of records are yielded at once, one record more or less.
const MOST_BYTES: usize = 4 << 20;

/// How long a message that is there may take, before it is looked for in another way.
const PROMPT: Duration = Duration::from_millis(250);

/// How many latest values are looked for in the log where they have not been copied yet.
const MOST_BEHIND: usize = 4096;

const BEHIND: Trouble = Trouble::Away("the copy of the newest values is behind");

const ANOTHER: Trouble = Trouble::Away("the stream is another one by now");

pub(super) struct Log {
    options: Arc<Options>,
    care: Care,
    latest: Latest,
    session: Session,
    epoch: u64,
    feed: Option<Feed>,
}

impl Log {
    pub(super) async fn open(
        options: Arc<Options>,
        care: Care,
        latest: Latest,
    ) -> Result<Self, Trouble> {
        let session = Session::connect(&options).await?;
        let info = stream::ensure(&session, &options).await?;
        Ok(Self {
            options,
            care,
            latest,
            session,
            epoch: info.epoch,
            feed: None,
        })
    }

    async fn info(&mut self) -> Result<Info, Trouble> {
        let info = stream::info(&self.session, &self.options.stream).await?;
        if info.epoch != self.epoch {
            // A consumer dies with its stream.
            self.feed = None;
            self.epoch = info.epoch;
        }
        Ok(info)
    }

    /// What stands there or behind, if there is something by then.
    async fn records(
        &mut self,
        from: u64,
        most: usize,
        patience: Duration,
    ) -> Result<Vec<Record>, Trouble> {
        let mut from = from.max(1);
        if most == 0 {
            return Ok(Vec::new());
        }
        let mut feed = match self.feed.take() {
            Some(feed) if feed.next() == from && !feed.is_over() => feed,
            // A look at one place does not disturb what comes.
            feed if most == 1 && patience.is_zero() => {
                self.feed = feed;
                return Ok(self.get(from).await?.into_iter().collect());
            }
            _ => {
                let info = self.info().await?;
                if info.next <= from && patience.is_zero() {
                    return Ok(Vec::new());
                }
                from = from.max(info.first);
                let limit = match self.care.way(&self.options.stream, from) {
                    Way::Asked(until) if from < info.next => {
                        let part = (from, until.min(info.next));
                        return self.ask(part, most).await;
                    }
                    // What is not there yet cannot be asked for.
                    Way::Asked(_) => u64::MAX,
                    Way::Delivered(limit) => limit,
                };
                let feed = Feed::new(&self.session, &self.options.stream, from, limit).await?;
                if self.info().await?.epoch != info.epoch {
                    return Err(ANOTHER);
                }
                feed
            }
        };
        let taken = take(&mut feed, most, patience).await;
        if let Err(Trouble::LOST) = taken {
            self.care
                .lost(&self.options.stream, feed.next(), feed.is_limited());
        }
        let stored = taken?;
        if !stored.is_empty() {
            self.feed = Some(feed);
            return Ok(self.all(stored));
        }
        // Nothing has come. Whether that is because there is nothing, the stream itself knows.
        match self.get(from).await? {
            // So the consumer is none any more; the next one will begin behind this.
            Some(record) => Ok(vec![record]),
            None => {
                self.feed = Some(feed);
                Ok(Vec::new())
            }
        }
    }

    /// What stands in a part of the log that is read with care, or, if all of that is gone,
    /// the first behind it.
    async fn ask(&self, part: (u64, u64), most: usize) -> Result<Vec<Record>, Trouble> {
        let name = &self.options.stream;
        let asked = self.care.ask(&self.session, name, part, most, MOST_BYTES);
        let (stored, end) = asked.await?;
        if stored.is_empty() {
            return Ok(self.get(end).await?.into_iter().collect());
        }
        Ok(self.all(stored))
    }

    async fn get(&self, from: u64) -> Result<Option<Record>, Trouble> {
        let found = stream::get(&self.session, &self.options.stream, from, true).await?;
        Ok(found.map(|stored| stored.record(self.epoch, self.options.prefix())))
    }

    fn all(&self, stored: Vec<Stored>) -> Vec<Record> {
        let stored = stored.into_iter();
        stored
            .map(|stored| stored.record(self.epoch, self.options.prefix()))
            .collect()
    }

    async fn newest(&mut self) -> Result<Vec<Record>, Trouble> {
        let log = self.info().await?;
        let name = stream::copy_of(&self.options, log.epoch);
        let copy = self.copied(&name, &log).await?;
        let mut records = Vec::new();
        let mut from = copy.first;
        while from < copy.next {
            let limit = match self.care.way(&name, from) {
                Way::Asked(until) => {
                    let part = (from, until.min(copy.next));
                    let asked = self
                        .care
                        .ask(&self.session, &name, part, usize::MAX, MOST_BYTES);
                    let (stored, end) = asked.await?;
                    self.keep(&mut records, stored, log.next);
                    from = end;
                    continue;
                }
                Way::Delivered(limit) => limit.min(copy.next),
            };
            let mut feed = Feed::new(&self.session, &name, from, limit).await?;
            while feed.has_more() {
                let taken = take(&mut feed, usize::MAX, self.options.patience).await;
                if let Err(Trouble::LOST) = taken {
                    self.care.lost(&name, feed.next(), limit < copy.next);
                }
                let stored = taken?;
                if stored.is_empty() {
                    break;
                }
                self.keep(&mut records, stored, log.next);
            }
            // What was there has been delivered, or is not there any more.
            from = limit;
        }
        let behind = self.behind(copy.next.max(log.first), log.next).await?;
        self.keep(&mut records, behind, log.next);
        if self.info().await?.epoch != log.epoch {
            return Err(ANOTHER);
        }
        Ok(records)
    }

    /// The latest values that the log has there, which the copy has not got yet.
    async fn behind(&self, from: u64, until: u64) -> Result<Vec<Stored>, Trouble> {
        let (name, subjects) = (&self.options.stream, stream::latest_subjects(&self.options));
        let mut all = Vec::new();
        let mut from = from;
        while from < until {
            let Some(stored) = stream::next(&self.session, name, from, &subjects).await? else {
                break;
            };
            if all.len() >= MOST_BEHIND {
                return Err(BEHIND);
            }
            from = stored.seq.saturating_add(1);
            all.push(stored);
        }
        Ok(all)
    }

    /// Keeps those that are of latest-value topics, and that the log has.
    fn keep(&self, records: &mut Vec<Record>, stored: Vec<Stored>, next: u64) {
        let prefix = self.options.prefix();
        let is_latest = |stored: &Stored| match stored.topic(prefix) {
            Some(topic) => self.latest.contains(&topic),
            None => false,
        };
        let stored = stored.into_iter();
        let kept = stored.filter(|stored| stored.seq < next && is_latest(stored));
        records.extend(kept.map(|stored| stored.record(self.epoch, prefix)));
    }

    /// What the copy says of itself once it holds what the log does not hold any more.
    async fn copied(&self, name: &str, log: &Info) -> Result<Info, Trouble> {
        let subjects = stream::latest_subjects(&self.options);
        let newest = stream::newest(&self.session, &self.options.stream, &subjects).await?;
        let deadline = Instant::now() + self.options.patience;
        let mut is_renewed = false;
        loop {
            let copy = stream::info(&self.session, name).await?;
            // It knows numbers that the log has not given: those that the log had given before
            // it lost its end. It would not copy what gets them now.
            let is_ahead = copy.next > log.next && {
                let now = stream::info(&self.session, &self.options.stream).await?;
                copy.next > now.next
            };
            let differs = match &newest {
                Some(newest) => self.differs(name, newest).await?,
                None => false,
            };
            if (is_ahead || differs) && !is_renewed {
                stream::renew_copy(&self.session, &self.options, log.epoch).await?;
                is_renewed = true;
                continue;
            }
            let is_there = newest.as_ref().is_none_or(|newest| newest.seq < copy.next);
            // What it has not got yet, the log may still have.
            if is_there || (copy.next >= log.first && Instant::now() >= deadline) {
                return Ok(copy);
            }
            if Instant::now() >= deadline {
                return Err(BEHIND);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Whether the copy has another message where the log has this one.
    async fn differs(&self, copy: &str, newest: &Stored) -> Result<bool, Trouble> {
        let copied = stream::get(&self.session, copy, newest.seq, false).await?;
        Ok(copied.is_some_and(|copied| copied.tag() != newest.tag()))
    }
}

#[async_trait]
impl Reading for Log {
    async fn window(&mut self) -> Result<Window, BackplaneError> {
        let info = self.info().await.map_err(|trouble| error(&trouble))?;
        Ok(Window {
            epoch: info.epoch,
            oldest: info.first,
            next: info.next,
        })
    }

    async fn read(&mut self, from: u64, most: usize) -> Result<Vec<Record>, BackplaneError> {
        self.records(from, most, Duration::ZERO)
            .await
            .map_err(|trouble| error(&trouble))
    }

    async fn wait(
        &mut self,
        from: u64,
        most: usize,
        patience: Duration,
    ) -> Result<Vec<Record>, BackplaneError> {
        // None at all would be a look, which does not wait.
        let patience = patience.max(Duration::from_millis(1));
        self.records(from, most, patience)
            .await
            .map_err(|trouble| error(&trouble))
    }

    async fn latest(&mut self) -> Result<Vec<Record>, BackplaneError> {
        self.newest().await.map_err(|trouble| error(&trouble))
    }
}

pub(super) fn error(trouble: &Trouble) -> BackplaneError {
    BackplaneError::new(NAME, trouble.to_string())
}

/// The first of a feed, and what has come with it.
async fn take(feed: &mut Feed, most: usize, patience: Duration) -> Result<Vec<Stored>, Trouble> {
    let mut all = Vec::new();
    let mut bytes = 0;
    while all.len() < most && bytes < MOST_BYTES {
        let now = Instant::now();
        let deadline = match (all.is_empty(), feed.has_more()) {
            (true, false) => now + patience,
            (true, true) => now + patience.max(PROMPT),
            // What is on its way is awaited, if it comes.
            (false, true) => now + PROMPT,
            (false, false) => now,
        };
        match feed.take(deadline).await? {
            Some(stored) => {
                bytes += stored.size();
                all.push(stored);
            }
            None => break,
        }
    }
    Ok(all)
}
