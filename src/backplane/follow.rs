//! Reads what the engine stores, and finds out what it has lost.
//!
//! There is one task for it, which is either loading, following, or waiting to try again.
//! While it follows, it expects one offset after the other, under one epoch. When nothing
//! comes, and every few seconds in any case, it asks what there is, and looks at the last
//! event that it has read: whether that is still the one it was.
//!
//! | what it finds | what it does |
//! |---|---|
//! | the next offset | appends it |
//! | a later one | what is between is lost: everybody is told a gap in its place |
//! | another epoch, an earlier offset, another tag, an end that is earlier | loads the log anew |
//! | no answer | waits, for longer each time, and tries again |

use std::convert::Infallible;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::link::{Link, Settings};
use super::{Backplane, BackplaneError, Content, Latest, Reading, Record, Window};
use crate::log::topics::{Policies, Stored, TopicLog, What};
use crate::position::Position;
use crate::wire::sse;

/// How long it waits for an event before it asks what there is, which bounds for how long a
/// loss goes unseen where nothing is submitted.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often it asks in any case.
const LOOK: Duration = Duration::from_secs(5);

/// How many records are read at once.
const MOST: usize = 1000;

/// How often it is begun anew to load a log that is trimmed faster than it is read.
const TRIES: usize = 5;

type Reader = Box<dyn Reading>;

/// Follows the engine until the hub is closed.
pub(super) async fn follow(link: Arc<Link>, engine: Arc<dyn Backplane>, reading: Reader) {
    let mut reading = Some(reading);
    let mut backoff = Backoff::default();
    while !link.is_closed() {
        let gone = tokio::select! {
            () = link.closed() => return,
            gone = attempt(&link, &*engine, &mut reading, &mut backoff) => gone,
        };
        // Only an engine that does not answer ends an attempt.
        let Err(_) = gone;
        reading = None;
        link.set_there(false);
        let away = backoff.since(link.settings.patience);
        let pause = sleep(backoff.next());
        tokio::select! {
            () = link.closed() => return,
            () = pause => {}
        }
        if away <= Instant::now() {
            link.log().set_away(true);
        }
    }
}

/// Reads until the engine does not answer.
async fn attempt(
    link: &Link,
    engine: &dyn Backplane,
    open: &mut Option<Reader>,
    backoff: &mut Backoff,
) -> Result<Infallible, BackplaneError> {
    let mut reading = match open.take() {
        Some(reading) => reading,
        None => {
            let mut reading = pin!(reopen(link, engine));
            // Who waits for too long is told so in time, however long this takes.
            match timeout_at(backoff.since(link.settings.patience), &mut reading).await {
                Ok(reading) => reading?,
                Err(_) => {
                    link.log().set_away(true);
                    reading.await?
                }
            }
        }
    };
    link.log().set_away(false);
    link.set_there(true);
    backoff.reset();
    let mut look = Instant::now() + LOOK;
    loop {
        let log = link.log();
        let (epoch, next) = log.place();
        let records = reading.wait(next, MOST, PATIENCE).await?;
        let is_next = |record: &Record| {
            record.position.epoch().number() == epoch && record.position.offset() >= next
        };
        if !records.iter().all(is_next) {
            reading = reload(link, engine).await?;
            continue;
        }
        let is_quiet = records.is_empty();
        append(link, &log, &mut reading, records).await?;
        if is_quiet || look <= Instant::now() {
            look = Instant::now() + LOOK;
            if !is_unbroken(link, &log, &mut reading, true).await? {
                reading = reload(link, engine).await?;
            }
        }
    }
}

/// Connects again, and goes on where it was or loads the log anew.
async fn reopen(link: &Link, engine: &dyn Backplane) -> Result<Reader, BackplaneError> {
    let latest = Latest::new(&Arc::new(link.settings.policies.clone()));
    let mut reading = engine.open(&latest).await?;
    if is_unbroken(link, &link.log(), &mut reading, false).await? {
        return Ok(reading);
    }
    drop(reading);
    reload(link, engine).await
}

async fn reload(link: &Link, engine: &dyn Backplane) -> Result<Reader, BackplaneError> {
    let old = link.log();
    let (reading, log) = load(&link.settings, engine, Some(&old)).await?;
    link.replace(log);
    Ok(reading)
}

/// Whether the engine still has what has been read of it, as its newest or before others.
/// What it has let go of before that was read is told.
///
/// Where what was read last has been let go of, nothing shows that it was not another one.
/// That is believed of the engine that it was read of, on the same connection, and of no
/// other.
async fn is_unbroken(
    link: &Link,
    log: &TopicLog,
    reading: &mut Reader,
    is_same: bool,
) -> Result<bool, BackplaneError> {
    let asked = Instant::now();
    let window = reading.window().await?;
    link.asked(asked, window);
    let Window {
        epoch,
        oldest,
        next,
    } = window;
    let (own_epoch, own_next) = log.place();
    let last = own_next - 1;
    if epoch != own_epoch || next < own_next {
        return Ok(false);
    }
    let known = log.position_of(last);
    if last > 0 && (last < oldest || known.tag().is_none()) && !is_same {
        return Ok(false);
    }
    if oldest > own_next {
        lose(link, log, reading, oldest).await?;
        link.has_read();
    }
    if last < oldest || known.tag().is_none() {
        return Ok(true);
    }
    let records = reading.read(last, 1).await?;
    Ok(match records.first() {
        Some(record) if record.position.offset() == last => record.position == known,
        // Trimmed, or deleted, meanwhile.
        _ => is_same,
    })
}

/// Appends what follows what has been read; what is missing between is told.
async fn append(
    link: &Link,
    log: &TopicLog,
    reading: &mut Reader,
    records: Vec<Record>,
) -> Result<(), BackplaneError> {
    let mut whole = Vec::with_capacity(records.len());
    let (_, mut next) = log.place();
    for record in records {
        let offset = record.position.offset();
        if offset > next {
            apply(link, log, std::mem::take(&mut whole));
            lose(link, log, reading, offset).await?;
        }
        // Of one that is told twice the first is taken.
        if offset >= next {
            next = offset + 1;
            whole.push(record);
        }
    }
    apply(link, log, whole);
    link.has_read();
    Ok(())
}

/// What stands before `next` and has not been read is lost, but for the newest values.
async fn lose(
    link: &Link,
    log: &TopicLog,
    reading: &mut Reader,
    next: u64,
) -> Result<(), BackplaneError> {
    let (epoch, from) = log.place();
    let latest = latest(&link.settings.policies, reading, epoch, from..next).await?;
    apply(link, log, latest);
    log.skip_to(next);
    Ok(())
}

/// The newest values that stand at these offsets, in their order.
async fn latest(
    policies: &Policies,
    reading: &mut Reader,
    epoch: u64,
    offsets: Range<u64>,
) -> Result<Vec<Record>, BackplaneError> {
    let mut latest = reading.latest().await?;
    latest.retain(|record| {
        let position = record.position;
        let is_value =
            matches!(&record.content, Content::Event(topic, _) if policies.conflates(topic));
        is_value && position.epoch().number() == epoch && offsets.contains(&position.offset())
    });
    latest.sort_by_key(|record| record.position.offset());
    Ok(latest)
}

/// Reads what the engine retains, as far as that is wanted.
pub(super) async fn load(
    settings: &Settings,
    engine: &dyn Backplane,
    old: Option<&TopicLog>,
) -> Result<(Reader, Arc<TopicLog>), BackplaneError> {
    let latest = Latest::new(&Arc::new(settings.policies.clone()));
    let mut reading = engine.open(&latest).await?;
    for _ in 0..TRIES {
        if let Some(log) = read(settings, &mut reading).await? {
            if let Some(old) = old {
                log.learn(old);
            }
            return Ok((reading, Arc::new(log)));
        }
    }
    Err(BackplaneError::new(
        engine.name(),
        "the log is trimmed or made anew faster than it can be read",
    ))
}

/// `None` if the log has become another one, or was trimmed, before it was read.
async fn read(
    settings: &Settings,
    reading: &mut Reader,
) -> Result<Option<TopicLog>, BackplaneError> {
    let window = reading.window().await?;
    let most = u64::try_from(settings.window).unwrap_or(u64::MAX);
    let first = window.oldest.max(window.next.saturating_sub(most)).max(1);
    let log = TopicLog::elsewhere(
        &settings.policies,
        settings.name,
        window.epoch,
        first,
        settings.window,
    );
    let policies = &settings.policies;
    let before = latest(policies, reading, window.epoch, 0..first).await?;
    log.apply(
        before
            .into_iter()
            .map(|record| stored(record, policies))
            .collect(),
    );
    loop {
        let (epoch, next) = log.place();
        if next >= window.next {
            return Ok(Some(log));
        }
        let records = reading.read(next, MOST).await?;
        let begins = records.first().map(|record| record.position);
        let is_whole = records
            .iter()
            .all(|record| record.position.epoch().number() == epoch);
        if !is_whole || begins.is_none_or(|position| position.offset() != next) {
            let now = reading.window().await?;
            if now.epoch != epoch || now.next < window.next || now.oldest > next {
                return Ok(None);
            }
            // Somebody has taken something out of the middle, or of the end.
            let missing = begins.map_or(window.next, Position::offset);
            let values = latest(policies, reading, epoch, next..missing).await?;
            log.apply(
                values
                    .into_iter()
                    .map(|record| stored(record, policies))
                    .collect(),
            );
            log.skip_to(missing);
        }
        for record in records {
            let offset = record.position.offset();
            if offset > log.place().1 {
                log.skip_to(offset);
            }
            if offset == log.place().1 {
                log.apply(vec![stored(record, &settings.policies)]);
            }
        }
    }
}

fn apply(link: &Link, log: &TopicLog, records: Vec<Record>) {
    if records.is_empty() {
        return;
    }
    let is_corrupt = |record: &&Record| matches!(record.content, Content::Corrupt(_));
    link.corrupt(records.iter().filter(is_corrupt).count());
    let policies = &link.settings.policies;
    log.apply(
        records
            .into_iter()
            .map(|record| stored(record, policies))
            .collect(),
    );
}

/// A record, written out for those who read it.
fn stored(record: Record, policies: &Policies) -> Stored {
    let now = Instant::now();
    let at = record
        .age
        .and_then(|age| now.checked_sub(age))
        .unwrap_or(now);
    let what = match record.content {
        Content::Event(topic, event) => {
            let encoded = sse::encode_tagged(&event);
            if policies.fits(&topic, &encoded) {
                What::Event(topic, encoded)
            } else {
                What::Corrupt(Some(topic))
            }
        }
        Content::Corrupt(topic) => What::Corrupt(topic),
        Content::Nothing => What::Nothing,
    };
    Stored {
        position: record.position,
        what,
        at,
    }
}

/// How long it is until the next attempt: twice as long each time, between half of that and
/// all of it, so that many processes do not come at once.
#[derive(Debug, Default)]
struct Backoff {
    attempts: u32,
    away_since: Option<Instant>,
}

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

impl Backoff {
    fn next(&mut self) -> Duration {
        let most = FIRST
            .saturating_mul(1 << self.attempts.min(16))
            .min(LONGEST);
        self.attempts = self.attempts.saturating_add(1);
        let part = getrandom::u32().unwrap_or(u32::MAX / 2);
        most.mul_f64(0.5 + 0.5 * f64::from(part) / f64::from(u32::MAX))
    }

    /// When it has been away for so long.
    fn since(&mut self, patience: Duration) -> Instant {
        let since = *self.away_since.get_or_insert_with(Instant::now);
        // A patience without end is one of years.
        let patience = patience.min(Duration::from_secs(1 << 30));
        since + patience
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}
