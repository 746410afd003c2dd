//! The log as tables of one redb file.
//!
//! | table | key | value |
//! |---|---|---|
//! | `log` | offset | [record](super::record) |
//! | `latest` | topic | offset, record |
//! | `once` | offset | crc32, tag, time, key |
//! | `meta` | 0 | crc32, format, epoch, a lower bound of the next offset |
//!
//! What redb does with a damaged file is contained: a panic of its is an error here.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction,
};

use super::error::Fault;
use super::once::Once;
use super::record::{self, Whole, checksum, take};
use crate::backplane::{Content, Latest, Record, Window};
use crate::log::Retention;
use crate::position::Position;
use crate::topic::Topic;

pub(super) const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
pub(super) const LATEST: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("latest");
pub(super) const ONCE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("once");
pub(super) const META: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("meta");

const FORMAT: u32 = 1;

/// So much is read at once, and at least one record.
const READ_BYTES: usize = 2 << 20;

/// An event in its place.
pub(super) struct Entry {
    pub(super) offset: u64,
    /// If of its topic the newest event is kept.
    pub(super) latest: Option<Topic>,
    pub(super) key: Option<Arc<str>>,
    pub(super) record: Vec<u8>,
}

impl Entry {
    /// What it takes of the retention.
    pub(super) fn size(record: &[u8]) -> u64 {
        len(record.len()) + len(Retention::BYTES_PER_EVENT)
    }
}

/// What the writer knows of the file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) oldest: u64,
    pub(super) next: u64,
    pub(super) events: u64,
    pub(super) bytes: u64,
}

/// An open file.
#[derive(Debug)]
pub(super) struct LogFile {
    pub(super) db: Database,
    pub(super) epoch: u64,
}

impl LogFile {
    /// Makes an empty log of this file, which is empty.
    pub(super) fn make(db: Database, epoch: u64, next: u64) -> Result<Self, Fault> {
        contained(|| {
            let change = db.begin_write()?;
            write_meta(&change, epoch, next)?;
            change.open_table(LOG)?;
            change.open_table(LATEST)?;
            change.open_table(ONCE)?;
            Ok(change.commit()?)
        })?;
        Ok(Self { db, epoch })
    }

    /// The epoch of the log, and a lower bound of the offset that comes next.
    pub(super) fn identity(db: &impl ReadableDatabase) -> Result<(u64, u64), Fault> {
        contained(|| {
            let meta = db.begin_read()?.open_table(META)?.get(0)?;
            let meta = meta.ok_or_else(|| Fault::broken("it holds no log"))?;
            read_meta(meta.value())
        })
    }

    /// What is in the file, which has been opened.
    pub(super) fn load(db: Database) -> Result<(Self, State), Fault> {
        let (epoch, state) = contained(|| {
            let (epoch, next) = Self::identity(&db)?;
            let read = db.begin_read()?;
            // The others are there, too.
            read.open_table(LATEST)?;
            read.open_table(ONCE)?;
            let mut state = State {
                oldest: next,
                next,
                events: 0,
                bytes: 0,
            };
            for entry in read.open_table(LOG)?.iter()? {
                let (offset, record) = entry?;
                let offset = offset.value();
                if state.events == 0 {
                    state.oldest = offset;
                    state.next = offset;
                }
                if offset != state.next || offset == u64::MAX {
                    return Err(Fault::broken("its events are not in order"));
                }
                state.next += 1;
                state.events += 1;
                state.bytes += Entry::size(record.value());
            }
            if state.events > 0 {
                state.next = state.next.max(next);
            }
            Ok((epoch, state))
        })?;
        Ok((Self { db, epoch }, state))
    }

    /// Stores these, and lets go of what is too much then: all of it or nothing.
    pub(super) fn store(
        &self,
        entries: &[Entry],
        state: State,
        retention: &Retention,
        forget: Option<u64>,
        durability: Durability,
    ) -> Result<State, Fault> {
        contained(|| {
            let mut change = self.db.begin_write()?;
            change
                .set_durability(durability)
                .map_err(|error| Fault::broken(error.to_string()))?;
            let mut state = state;
            {
                let mut log = change.open_table(LOG)?;
                for entry in entries {
                    log.insert(entry.offset, entry.record.as_slice())?;
                    state.next = entry.offset.saturating_add(1);
                    state.events += 1;
                    state.bytes += Entry::size(&entry.record);
                }
                self.trim(&mut log, &mut state, retention)?;
            }
            self.store_latest(&change, entries)?;
            self.store_keys(&change, entries, forget)?;
            change.commit()?;
            Ok(state)
        })
    }

    /// The newest event is kept in any case, and with it the number of the next one.
    fn trim(
        &self,
        log: &mut Table<'_, u64, &'static [u8]>,
        state: &mut State,
        retention: &Retention,
    ) -> Result<(), Fault> {
        let (events, bytes) = (len(retention.events), len(retention.bytes));
        let too_old = too_old(retention);
        while state.events > 1 {
            let mut is_over = state.events > events || state.bytes > bytes;
            if let (false, Some(time)) = (is_over, too_old)
                && let Some((offset, record)) = log.first()?
            {
                is_over = self.is_before(time, offset.value(), record.value());
            }
            if !is_over {
                break;
            }
            let Some((_, record)) = log.pop_first()? else {
                break;
            };
            state.events -= 1;
            state.bytes = state.bytes.saturating_sub(Entry::size(record.value()));
        }
        let oldest = log.first()?.map(|(offset, _)| offset.value());
        state.oldest = oldest.unwrap_or(state.next);
        Ok(())
    }

    fn store_latest(&self, change: &WriteTransaction, entries: &[Entry]) -> Result<(), Fault> {
        let newest: HashMap<&str, &Entry> = entries
            .iter()
            .filter_map(|entry| Some((entry.latest.as_ref()?.as_str(), entry)))
            .collect();
        if newest.is_empty() {
            return Ok(());
        }
        let mut latest = change.open_table(LATEST)?;
        for (topic, entry) in newest {
            let value = latest_value(entry.offset, &entry.record);
            latest.insert(topic.as_bytes(), value.as_slice())?;
        }
        Ok(())
    }

    /// Keeps the keys of these, and forgets those of all up to this offset.
    fn store_keys(
        &self,
        change: &WriteTransaction,
        entries: &[Entry],
        forget: Option<u64>,
    ) -> Result<(), Fault> {
        let mut keyed = entries.iter().filter(|entry| entry.key.is_some());
        let first = keyed.next();
        if first.is_none() && forget.is_none() {
            return Ok(());
        }
        let mut once = change.open_table(ONCE)?;
        if let Some(forget) = forget {
            once.retain_in(..=forget, |_, _| false)?;
        }
        for entry in first.into_iter().chain(keyed) {
            let Some(whole) = Whole::of(self.epoch, entry.offset, &entry.record) else {
                continue;
            };
            let key = entry.key.as_deref().unwrap_or_default().as_bytes();
            let (tag, time) = (whole.tag().to_le_bytes(), whole.time.to_le_bytes());
            let crc = checksum(self.epoch, entry.offset, &[&tag, &time, key]);
            let value = [&crc.to_le_bytes()[..], &tag, &time, key].concat();
            once.insert(entry.offset, value.as_slice())?;
        }
        Ok(())
    }

    /// Whether something is too much by now, or too old.
    pub(super) fn is_over(&self, state: State, retention: &Retention) -> Result<bool, Fault> {
        if state.events <= 1 {
            return Ok(false);
        }
        if state.events > len(retention.events) || state.bytes > len(retention.bytes) {
            return Ok(true);
        }
        let Some(time) = too_old(retention) else {
            return Ok(false);
        };
        contained(|| {
            let log = self.db.begin_read()?.open_table(LOG)?;
            Ok(log.first()?.is_some_and(|(offset, record)| {
                self.is_before(time, offset.value(), record.value())
            }))
        })
    }

    /// What cannot be read is as old as can be.
    fn is_before(&self, time: u64, offset: u64, record: &[u8]) -> bool {
        Whole::of(self.epoch, offset, record).is_none_or(|whole| whole.time < time)
    }

    /// The keys that are remembered.
    pub(super) fn keys(&self, next: u64, once: &mut Once) -> Result<(), Fault> {
        contained(|| {
            let now = record::now();
            for entry in self.db.begin_read()?.open_table(ONCE)?.iter()? {
                let (offset, value) = entry?;
                // Where the end of a damaged log was cut off, what had the key is gone.
                if offset.value() >= next {
                    continue;
                }
                let mut rest = value.value();
                let crc = take(&mut rest).map(u32::from_le_bytes);
                // A damaged one is forgotten: it can only be stored twice then.
                if crc != Some(checksum(self.epoch, offset.value(), &[rest])) {
                    continue;
                }
                let tag = take(&mut rest).map(u32::from_le_bytes);
                let time = take(&mut rest).map(u64::from_le_bytes);
                if let (Some(tag), Some(time), Ok(key)) = (tag, time, std::str::from_utf8(rest)) {
                    let position = Position::tagged(self.epoch, offset.value(), tag);
                    once.load(key.into(), position, now.saturating_sub(time));
                }
            }
            Ok(())
        })
    }

    /// Makes `latest` the newest event of each of these topics: of those that were none
    /// of them until now, too, if it is retained; and of no others.
    pub(super) fn adopt(&self, of: &Latest) -> Result<(), Fault> {
        contained(|| {
            let mut newest = HashMap::<Topic, u64>::new();
            let mut kept = HashMap::<Topic, u64>::new();
            let mut others = HashSet::<Vec<u8>>::new();
            {
                let read = self.db.begin_read()?;
                for entry in read.open_table(LOG)?.iter()? {
                    let (offset, record) = entry?;
                    let whole = Whole::of(self.epoch, offset.value(), record.value());
                    if let Some(topic) = whole.and_then(|whole| whole.topic())
                        && of.contains(&topic)
                    {
                        newest.insert(topic, offset.value());
                    }
                }
                for entry in read.open_table(LATEST)?.iter()? {
                    let (topic, value) = entry?;
                    match topic_of(topic.value()) {
                        Some(topic) if of.contains(&topic) => {
                            let (offset, _) = split_latest(value.value());
                            kept.insert(topic, offset);
                        }
                        Some(_) => {
                            others.insert(topic.value().to_vec());
                        }
                        // Damaged: it is told.
                        None => {}
                    }
                }
            }
            newest.retain(|topic, offset| kept.get(topic).is_none_or(|kept| kept < offset));
            if newest.is_empty() && others.is_empty() {
                return Ok(());
            }
            let change = self.db.begin_write()?;
            {
                let log = change.open_table(LOG)?;
                let mut latest = change.open_table(LATEST)?;
                for (topic, offset) in newest {
                    if let Some(record) = log.get(offset)? {
                        let value = latest_value(offset, record.value());
                        latest.insert(topic.as_str().as_bytes(), value.as_slice())?;
                    }
                }
                for topic in others {
                    latest.remove(topic.as_slice())?;
                }
            }
            Ok(change.commit()?)
        })
    }

    /// Makes everything durable that has been stored.
    pub(super) fn sync(&self) -> Result<(), Fault> {
        contained(|| Ok(self.db.begin_write()?.commit()?))
    }

    pub(super) fn window(&self, state: State) -> Window {
        Window {
            epoch: self.epoch,
            oldest: state.oldest,
            next: state.next,
        }
    }

    /// The tag of what stands there, if that is whole.
    pub(super) fn tag_at(&self, offset: u64) -> Result<Option<u32>, Fault> {
        contained(|| {
            let record = self.db.begin_read()?.open_table(LOG)?.get(offset)?;
            Ok(record.and_then(|record| {
                Whole::of(self.epoch, offset, record.value()).map(|whole| whole.tag())
            }))
        })
    }

    pub(super) fn read(&self, from: u64, most: usize) -> Result<Vec<Record>, Fault> {
        contained(|| {
            let now = record::now();
            let (mut records, mut bytes) = (Vec::new(), 0);
            let log = self.db.begin_read()?.open_table(LOG)?;
            let mut before = None;
            for entry in log.range(from..)? {
                if records.len() >= most || bytes >= READ_BYTES {
                    break;
                }
                let (offset, record) = entry?;
                let offset = offset.value();
                if offset < from || before.is_some_and(|before| offset <= before) {
                    return Err(Fault::broken("its events are not in order"));
                }
                before = Some(offset);
                bytes += record.value().len();
                records.push(record::read(self.epoch, offset, record.value(), now));
            }
            Ok(records)
        })
    }

    /// The newest event of each of these topics.
    pub(super) fn latest(&self, of: &Latest, next: u64) -> Result<Vec<Record>, Fault> {
        contained(|| {
            let now = record::now();
            let mut records = Vec::new();
            for entry in self.db.begin_read()?.open_table(LATEST)?.iter()? {
                let (topic, value) = entry?;
                let topic = topic_of(topic.value());
                if topic.as_ref().is_some_and(|topic| !of.contains(topic)) {
                    continue;
                }
                let (offset, bytes) = split_latest(value.value());
                let mut record = record::read(self.epoch, offset, bytes, now);
                match (&record.content, topic) {
                    (Content::Event(of, _), Some(topic)) if *of == topic => {}
                    // It cannot be told where it stood; it stood somewhere.
                    (_, topic) => {
                        let last = next.saturating_sub(1).max(1);
                        let tag = record.position.tag().map_or(0, |tag| tag.0);
                        record.position = Position::tagged(self.epoch, offset.clamp(1, last), tag);
                        record.content = Content::Corrupt(topic);
                    }
                }
                records.push(record);
            }
            Ok(records)
        })
    }
}

pub(super) fn write_meta(change: &WriteTransaction, epoch: u64, next: u64) -> Result<(), Fault> {
    let (format, next) = (FORMAT.to_le_bytes(), next.to_le_bytes());
    let crc = checksum(epoch, 0, &[&format, &next]).to_le_bytes();
    let value = [&crc[..], &format, &epoch.to_le_bytes(), &next].concat();
    change.open_table(META)?.insert(0, value.as_slice())?;
    Ok(())
}

fn read_meta(meta: &[u8]) -> Result<(u64, u64), Fault> {
    let mut rest = meta;
    let fields = (|| {
        let crc = u32::from_le_bytes(take(&mut rest)?);
        let format = u32::from_le_bytes(take(&mut rest)?);
        let epoch = u64::from_le_bytes(take(&mut rest)?);
        let next = u64::from_le_bytes(take(&mut rest)?);
        Some((crc, format, epoch, next))
    })();
    let Some((crc, format, epoch, next)) = fields else {
        return Err(Fault::broken("its identity is damaged"));
    };
    if crc != checksum(epoch, 0, &[&format.to_le_bytes(), &next.to_le_bytes()]) {
        return Err(Fault::broken("its identity is damaged"));
    }
    if format != FORMAT {
        return Err(Fault::Format(format));
    }
    Ok((epoch, next.max(1)))
}

/// What was stored before this time is too old.
fn too_old(retention: &Retention) -> Option<u64> {
    let age = u64::try_from(retention.age?.as_millis()).unwrap_or(u64::MAX);
    Some(record::now().saturating_sub(age))
}

fn latest_value(offset: u64, record: &[u8]) -> Vec<u8> {
    [&offset.to_le_bytes()[..], record].concat()
}

fn split_latest(mut value: &[u8]) -> (u64, &[u8]) {
    let offset = take(&mut value).map_or(0, u64::from_le_bytes);
    (offset, value)
}

fn topic_of(name: &[u8]) -> Option<Topic> {
    Topic::new(std::str::from_utf8(name).ok()?).ok()
}

fn len(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// Runs what asks redb for something, and makes an error of its panics.
pub(super) fn contained<T>(run: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    // What has panicked is closed, and nothing of it is used any more.
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err(Fault::broken("it is damaged")))
}
