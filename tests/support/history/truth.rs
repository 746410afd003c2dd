//! What is known of events and logs, to be looked up.

use std::collections::{BTreeMap, HashMap};

use super::record::{History, Id, Log, Stored, Submit, uid};

pub(super) struct Truth<'a> {
    pub(super) submits: HashMap<&'a str, &'a Submit>,
    logs: HashMap<&'a str, Known<'a>>,
    /// Where what was submitted stands or stood.
    places: HashMap<&'a str, &'a Stored>,
}

/// A log, to be looked up.
pub(super) struct Known<'a> {
    pub(super) log: &'a Log,
    at: HashMap<u64, &'a Stored>,
    lost: HashMap<&'a Id, &'a Stored>,
    /// The offsets of each topic, in order.
    topics: BTreeMap<&'a str, Vec<u64>>,
    /// When each of them was submitted.
    invoked: BTreeMap<&'a str, Vec<u64>>,
}

impl<'a> Truth<'a> {
    pub(super) fn of(history: &'a History) -> Self {
        let submits = history.submits.iter();
        let submits: HashMap<_, _> = submits.map(|of| (of.uid.as_str(), of)).collect();
        let all = history.logs.iter();
        let all = all.flat_map(|log| log.events.iter().chain(&log.lost));
        let places = all.map(|stored| (uid(&stored.data), stored)).collect();
        let logs = history.logs.iter();
        let logs = logs.map(|log| (log.epoch.as_str(), Known::of(log, &submits)));
        Self {
            logs: logs.collect(),
            submits,
            places,
        }
    }

    pub(super) fn place(&self, uid: &str) -> Option<&'a Stored> {
        self.places.get(uid).copied()
    }

    pub(super) fn log(&self, epoch: &str) -> Option<&Known<'a>> {
        self.logs.get(epoch)
    }

    /// What stands or stood there.
    pub(super) fn at(&self, id: &Id) -> Option<&'a Stored> {
        let log = self.log(&id.epoch)?;
        log.at(id).or_else(|| log.lost.get(id).copied())
    }
}

impl<'a> Known<'a> {
    fn of(log: &'a Log, submits: &HashMap<&'a str, &'a Submit>) -> Self {
        let mut topics: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let mut invoked: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for stored in &log.events {
            let topic = stored.topic.as_str();
            topics.entry(topic).or_default().push(stored.id.offset);
            let submit = submits.get(uid(&stored.data));
            let at = submit.map_or(0, |submit| submit.invoked);
            invoked.entry(topic).or_default().push(at);
        }
        let events = log.events.iter();
        Self {
            log,
            at: events.map(|stored| (stored.id.offset, stored)).collect(),
            lost: log.lost.iter().map(|stored| (&stored.id, stored)).collect(),
            topics,
            invoked,
        }
    }

    /// What stands there, if it is this and not another that had its place.
    pub(super) fn at(&self, id: &Id) -> Option<&'a Stored> {
        let stored = self.at.get(&id.offset).copied();
        stored.filter(|stored| stored.id == *id)
    }

    /// Whether this stood there by then.
    pub(super) fn was_at(&self, id: &Id, by: u64, truth: &Truth<'_>) -> bool {
        self.at(id).is_some_and(|stored| {
            let submit = truth.submits.get(uid(&stored.data));
            submit.is_some_and(|submit| submit.invoked <= by)
        })
    }

    pub(super) fn at_offset(&self, offset: u64) -> Option<&'a Stored> {
        self.at.get(&offset).copied()
    }

    pub(super) fn has_lost(&self, id: &Id) -> bool {
        self.lost.contains_key(id)
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = &'a str> {
        self.topics.keys().copied()
    }

    pub(super) fn last(&self, topic: &str) -> u64 {
        let offsets = self.topics.get(topic).and_then(|offsets| offsets.last());
        offsets.copied().unwrap_or_default()
    }

    pub(super) fn end(&self) -> u64 {
        let last = self.log.events.last();
        last.map_or(0, |stored| stored.id.offset)
    }

    /// The offsets of a topic behind one and before another.
    pub(super) fn between(&self, topic: &str, behind: u64, before: u64) -> &[u64] {
        let Some(offsets) = self.topics.get(topic) else {
            return &[];
        };
        let first = offsets.partition_point(|offset| *offset <= behind);
        let end = offsets.partition_point(|offset| *offset < before);
        offsets.get(first..end).unwrap_or_default()
    }

    /// When this event of a topic was submitted.
    pub(super) fn invoked(&self, topic: &str, offset: u64) -> u64 {
        let (Some(offsets), Some(invoked)) = (self.topics.get(topic), self.invoked.get(topic))
        else {
            return 0;
        };
        let at = offsets.binary_search(&offset).ok();
        at.and_then(|at| invoked.get(at)).copied().unwrap_or(0)
    }

    /// How many events of its topic behind this one were submitted by then.
    pub(super) fn behind(&self, topic: &str, offset: u64, by: u64) -> u64 {
        let (Some(offsets), Some(invoked)) = (self.topics.get(topic), self.invoked.get(topic))
        else {
            return 0;
        };
        let first = offsets.partition_point(|other| *other <= offset);
        let behind = invoked.get(first..).unwrap_or_default();
        behind.iter().filter(|invoked| **invoked <= by).count() as u64
    }
}
