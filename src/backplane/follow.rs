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
//! | a later one | what is between is lost: who has not been told that far is told a gap |
//! | another epoch, an earlier offset, another tag, an end that is earlier | loads the log anew |
//! | no answer | waits, for longer each time, and tries again |

use std::convert::Infallible;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::link::{Link, Settings};
use super::{Backplane, BackplaneError, Content, Latest, Reading, Record, Window};
use crate::log::topics::{Policies, Stored, TopicLog, What};
use crate::planted::planted;
use crate::wire::sse;

/// How long it waits for an event before it asks what there is, which bounds for how long a
/// loss goes unseen where nothing is submitted.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often it asks in any case.
const LOOK: Duration = Duration::from_secs(5);

/// An engine that has not answered for so long is away.
const ANSWER: Duration = Duration::from_secs(15);

/// How many records are read at once.
const MOST: usize = 1000;

/// How often it is begun anew to load a log that is trimmed faster than it is read.
const TRIES: usize = 5;

type Reader = Box<dyn Reading>;

/// Follows the engine until the hub is closed.
pub(super) async fn follow(link: Arc<Link>, engine: Arc<dyn Backplane>, reading: Reader) {
    let _gone = Gone(&link);
    let mut reading = Some(reading);
    let mut backoff = Backoff::default();
    loop {
        let gone = tokio::select! {
            () = link.finished() => return,
            gone = attempt(&link, &*engine, &mut reading, &mut backoff) => gone,
        };
        // Only an engine that does not answer, or that loses its log again and again, ends
        // an attempt.
        let Err(_) = gone;
        link.set_there(false);
        let away = backoff.since(link.settings.patience);
        let again = Instant::now() + backoff.next();
        let pause = async {
            // Who waits for too long is told so in time, not at the next attempt.
            sleep_until(away.min(again)).await;
            if away <= Instant::now() {
                link.log().set_away(true);
            }
            sleep_until(again).await;
        };
        tokio::select! {
            () = link.finished() => return,
            () = pause => {}
        }
    }
}

/// Whoever follows no longer, for whatever reason, leaves nobody behind who believes that
/// it does.
struct Gone<'a>(&'a Link);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.set_there(false);
        self.0.end();
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
    // Everything that was stored before it was asked is there to be read, and is here as
    // soon as this offset has been reached.
    let mut goal = Some(Goal::ask(link, engine, &mut reading).await?);
    let mut look = Instant::now() + LOOK;
    loop {
        // An engine that always has something lets others run, too.
        tokio::task::coop::consume_budget().await;
        let log = link.log();
        let (epoch, next) = log.place();
        if let Some(Goal {
            next: goal_next,
            look,
        }) = goal
            && next >= goal_next
        {
            goal = None;
            log.confirm(look);
            log.set_away(false);
            link.set_there(true);
            backoff.is_there();
        }
        let asked = Instant::now();
        let waiting = reading.wait(next, MOST, PATIENCE);
        let records = match timeout(PATIENCE + ANSWER, waiting).await {
            Ok(records) => records?,
            Err(_) => return Err(silent(engine)),
        };
        backoff.reset_if(goal.is_none());
        let is_next = |record: &Record| {
            record.position.epoch().number() == epoch && record.position.offset() >= next
        };
        let is_quiet = records.is_empty();
        let mut is_lost = false;
        if records.iter().all(is_next) {
            absorb(link, engine, &log, &mut reading, records).await?;
            if is_quiet || look <= Instant::now() || log.is_doubted() {
                look = Instant::now() + LOOK;
                let begun = log.begin_look();
                match is_unbroken(link, engine, &log, &mut reading, true).await? {
                    Some(window) => {
                        goal = Some(Goal {
                            next: window.next,
                            look: begun,
                        });
                    }
                    None => is_lost = true,
                }
            }
        } else {
            is_lost = true;
        }
        if is_lost {
            reading = reload(link, engine).await?;
            goal = Some(Goal::ask(link, engine, &mut reading).await?);
        }
        if is_quiet || is_lost {
            // Of an engine that does not wait as it should, or loses its log at once again,
            // no more is asked than it can stand.
            tokio::time::sleep_until(asked + FIRST).await;
        }
    }
}

/// How far there was something to be read when the engine was asked: as soon as that is
/// here, so is everything that was stored before.
#[derive(Clone, Copy, Debug)]
struct Goal {
    next: u64,
    look: u64,
}

impl Goal {
    async fn ask(
        link: &Link,
        engine: &dyn Backplane,
        reading: &mut Reader,
    ) -> Result<Self, BackplaneError> {
        let look = link.log().begin_look();
        let next = answer(engine, reading.window()).await?.next;
        Ok(Self { next, look })
    }
}

/// Connects again, and goes on where it was or loads the log anew.
async fn reopen(link: &Link, engine: &dyn Backplane) -> Result<Reader, BackplaneError> {
    let latest = Latest::new(&link.settings.policies);
    let mut reading = answer(engine, engine.open(&latest)).await?;
    let log = link.log();
    let window = is_unbroken(link, engine, &log, &mut reading, false).await?;
    if window.is_some() {
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

/// What there is, if the engine still has what has been read of it, as its newest or before
/// others. What it has let go of before that was read is told.
///
/// Where what was read last has been let go of, nothing shows that it was not another one.
/// That is believed of the engine that it was read of, on the same connection, and of no
/// other.
async fn is_unbroken(
    link: &Link,
    engine: &dyn Backplane,
    log: &TopicLog,
    reading: &mut Reader,
    is_same: bool,
) -> Result<Option<Window>, BackplaneError> {
    let window = answer(engine, reading.window()).await?;
    let (epoch, next) = log.place();
    let last = next - 1;
    if window.epoch != epoch || window.next < next {
        return Ok(None);
    }
    let known = log.position_of(last);
    let can_be_known = last >= window.oldest && known.tag().is_some();
    if last > 0 && !can_be_known && !is_same {
        return Ok(None);
    }
    if window.oldest > next {
        lose(&link.settings.policies, engine, log, reading, window.oldest).await?;
        link.has_read();
    }
    if !can_be_known {
        return Ok(Some(window));
    }
    let records = answer(engine, reading.read(last, 1)).await?;
    let is_unbroken = match records.first() {
        Some(record) if record.position.offset() == last => {
            record.position == known || planted("fork-not-noticed")
        }
        // Trimmed, or deleted, meanwhile.
        _ => is_same,
    };
    Ok(is_unbroken.then_some(window))
}

/// Appends what follows what has been read.
async fn absorb(
    link: &Link,
    engine: &dyn Backplane,
    log: &TopicLog,
    reading: &mut Reader,
    records: Vec<Record>,
) -> Result<(), BackplaneError> {
    if records.is_empty() {
        return Ok(());
    }
    let is_corrupt = |record: &&Record| matches!(record.content, Content::Corrupt(_));
    link.corrupt(records.iter().filter(is_corrupt).count());
    append(&link.settings.policies, engine, log, reading, records).await?;
    link.has_read();
    Ok(())
}

/// Appends these records. What is missing between them is told, but for the newest values,
/// which are kept.
async fn append(
    policies: &Policies,
    engine: &dyn Backplane,
    log: &TopicLog,
    reading: &mut Reader,
    mut records: Vec<Record>,
) -> Result<(), BackplaneError> {
    let (epoch, next) = log.place();
    records.sort_by_key(|record| record.position.offset());
    // Of one that is told twice the first is taken.
    records.dedup_by_key(|record| record.position.offset());
    records.retain(|record| record.position.offset() >= next);
    if records.iter().any(|record| !is_possible(record)) {
        return Err(BackplaneError::new(engine.name(), "an impossible offset"));
    }
    let offsets = records.iter().map(|record| record.position.offset());
    let has_hole = offsets.zip(next..).any(|(offset, due)| offset != due);
    if has_hole && let Some(last) = records.last().map(|last| last.position.offset()) {
        let values = values(policies, engine, reading, epoch, next..last).await?;
        let is_there = |offset| {
            records
                .binary_search_by_key(&offset, |record: &Record| record.position.offset())
                .is_ok()
        };
        let missing = values.into_iter();
        let missing = missing.filter(|value| !is_there(value.position.offset()));
        let missing: Vec<_> = missing.collect();
        records.extend(missing);
        records.sort_by_key(|record| record.position.offset());
    }
    let stored = records.into_iter().map(|record| stored(record, policies));
    log.apply(stored.collect());
    Ok(())
}

/// What stands before `next` and has not been read is lost, but for the newest values.
async fn lose(
    policies: &Policies,
    engine: &dyn Backplane,
    log: &TopicLog,
    reading: &mut Reader,
    next: u64,
) -> Result<(), BackplaneError> {
    let (epoch, from) = log.place();
    let values = values(policies, engine, reading, epoch, from..next).await?;
    log.apply(values.into_iter().map(|of| stored(of, policies)).collect());
    log.lose_up_to(next);
    Ok(())
}

/// The newest values that stand at these offsets, in their order.
async fn values(
    policies: &Policies,
    engine: &dyn Backplane,
    reading: &mut Reader,
    epoch: u64,
    offsets: Range<u64>,
) -> Result<Vec<Record>, BackplaneError> {
    let mut values = answer(engine, reading.latest()).await?;
    values.retain(|record| {
        let position = record.position;
        let is_value =
            matches!(&record.content, Content::Event(topic, _) if policies.conflates(topic));
        is_value
            && is_possible(record)
            && position.epoch().number() == epoch
            && offsets.contains(&position.offset())
    });
    values.sort_by_key(|record| record.position.offset());
    values.dedup_by_key(|record| record.position.offset());
    Ok(values)
}

/// Whether an engine that counts from 1 can have come so far.
fn is_possible(record: &Record) -> bool {
    (1..u64::MAX >> 1).contains(&record.position.offset())
}

/// Reads what the engine retains, as far as that is wanted.
pub(super) async fn load(
    settings: &Settings,
    engine: &dyn Backplane,
    old: Option<&TopicLog>,
) -> Result<(Reader, Arc<TopicLog>), BackplaneError> {
    let latest = Latest::new(&settings.policies);
    let mut reading = answer(engine, engine.open(&latest)).await?;
    for _ in 0..TRIES {
        if let Some(log) = read(settings, engine, &mut reading).await? {
            if let Some(old) = old {
                log.learn(old);
            }
            return Ok((reading, Arc::new(log)));
        }
    }
    let lost = "the log is trimmed or made anew faster than it can be read";
    Err(BackplaneError::new(engine.name(), lost))
}

/// `None` if the log has become another one, or was trimmed, before it was read.
async fn read(
    settings: &Settings,
    engine: &dyn Backplane,
    reading: &mut Reader,
) -> Result<Option<TopicLog>, BackplaneError> {
    let Settings {
        policies,
        name,
        window: most,
        ..
    } = settings;
    let window = answer(engine, reading.window()).await?;
    let wanted = u64::try_from(*most).unwrap_or(u64::MAX);
    let first = window.oldest.max(window.next.saturating_sub(wanted)).max(1);
    let log = TopicLog::elsewhere(policies, *name, window.epoch, first, *most);
    let before = values(policies, engine, reading, window.epoch, 0..first).await?;
    log.apply(before.into_iter().map(|of| stored(of, policies)).collect());
    loop {
        tokio::task::coop::consume_budget().await;
        let (epoch, next) = log.place();
        if next >= window.next {
            return Ok(Some(log));
        }
        let records = answer(engine, reading.read(next, MOST)).await?;
        let is_of_log = |record: &Record| record.position.epoch().number() == epoch;
        let begins = records.first().map(|record| record.position.offset());
        if !records.iter().all(is_of_log) || begins != Some(next) {
            let now = answer(engine, reading.window()).await?;
            if now.epoch != epoch || now.next < window.next || now.oldest > next {
                return Ok(None);
            }
        }
        let has_some = begins.is_some_and(|begins| begins >= next);
        append(policies, engine, &log, reading, records).await?;
        if !has_some {
            // Somebody has taken out the end.
            lose(policies, engine, &log, reading, window.next).await?;
        }
    }
}

/// What the engine answers, if it does.
async fn answer<T>(
    engine: &dyn Backplane,
    asked: impl Future<Output = Result<T, BackplaneError>>,
) -> Result<T, BackplaneError> {
    let answered = timeout(ANSWER, asked).await;
    answered.unwrap_or_else(|_| Err(silent(engine)))
}

fn silent(engine: &dyn Backplane) -> BackplaneError {
    BackplaneError::new(engine.name(), "it does not answer")
}

/// A record, written out for those who read it.
fn stored(record: Record, policies: &Policies) -> Stored {
    let now = Instant::now();
    let at = record
        .age
        .filter(|_| !planted("age-from-reading"))
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

    /// It has answered. Whether it lasts is another matter.
    fn is_there(&mut self) {
        self.away_since = None;
    }

    fn reset_if(&mut self, is_there: bool) {
        if is_there {
            *self = Self::default();
        }
    }
}
