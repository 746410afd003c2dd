//! What becomes of the events of a topic.

use std::time::Duration;

use super::presence;
use super::state::Retained;
use crate::log::{Overflow, Retention};
use crate::topic::{Pattern, Topic};
#[cfg(feature = "backplane")]
use crate::{
    event::Event,
    log::ring,
    wire::sse::{self, Encoded},
};

/// What is kept of a topic, and what happens to who does not keep up with it.
///
/// ```
/// use tornadose::{Hub, Policy, Retention};
///
/// let hub = Hub::builder()
///     .policy("prices/#".parse()?, Policy::latest())
///     .policy("chat/#".parse()?, Policy::queue(Retention::new().events(500)))
///     .build();
/// # Ok::<(), tornadose::InvalidTopic>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Policy {
    pub(super) retention: Retention,
    pub(super) conflates: bool,
    overflow: Overflow,
}

impl Policy {
    /// The latest event alone: who comes gets it first, who is slow skips to it, and
    /// nobody is told of those between.
    pub fn latest() -> Self {
        Self {
            retention: Retention::new().events(1),
            conflates: true,
            overflow: Overflow::DropOldest,
        }
    }

    /// Every event, in order, within this retention, which is each topic's own.
    pub fn queue(retention: Retention) -> Self {
        Self {
            retention,
            conflates: false,
            overflow: Overflow::DropOldest,
        }
    }

    /// What happens to who is slower than a queue's retention. Default:
    /// [`Overflow::DropOldest`]. [`latest`](Self::latest) has nobody who is too slow.
    ///
    /// A topic that [waits](Overflow::Wait) holds back who submits to it and nobody else,
    /// and only while somebody reads it, by name or by a pattern.
    /// [Presence](crate::HubBuilder::presence) is told in any case: beyond twice the
    /// retention its oldest events go, and who had not read them is told a gap.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Nothing that was submitted longer ago. A topic that holds nothing and that nobody
    /// reads is forgotten. Default: the retention's, which is no limit.
    pub fn age(mut self, age: Duration) -> Self {
        self.retention = self.retention.age(age);
        self
    }

    /// Whether who is too slow is sent away.
    pub(super) fn disconnects(&self) -> bool {
        self.overflow == Overflow::Disconnect
    }

    /// How long its topics wait for who reads nothing, if they wait.
    pub(super) fn stall(&self) -> Option<Duration> {
        match self.overflow {
            Overflow::Wait { stall } if !self.conflates => Some(stall),
            _ => None,
        }
    }

    pub(super) fn retained(&self) -> Retained {
        Retained {
            events: self.retention.events,
            bytes: self.retention.bytes,
            age: self.retention.age,
        }
    }
}

impl Default for Policy {
    /// A queue of 1,000 events in 1 MiB.
    fn default() -> Self {
        Self::queue(Retention::new().events(1000).bytes(1 << 20))
    }
}

/// The policies of all topics.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policies {
    pub(crate) rules: Vec<(Pattern, Policy)>,
    pub(crate) default: Policy,
    /// Of which topics it is told who reads them.
    pub(crate) presence: Vec<Pattern>,
}

impl Policies {
    /// That of the first rule that matches.
    pub(super) fn of(&self, topic: &Topic) -> Policy {
        let rule = self
            .rules
            .iter()
            .find(|(pattern, _)| pattern.matches(topic));
        rule.map_or(self.default, |(_, policy)| *policy)
    }

    /// The size of an event that its topic cannot hold, and what it can.
    #[cfg(feature = "backplane")]
    pub(crate) fn too_large(&self, topic: &Topic, event: &Event) -> Option<(usize, usize)> {
        // Each line break of the data takes 7 bytes more when it is written out.
        let most = event.size().saturating_mul(8).saturating_add(256);
        if most <= self.least_bytes() {
            return None;
        }
        let size = ring::weight(&sse::encode_tagged(event));
        let limit = self.of(topic).retention.bytes;
        (size > limit).then_some((size, limit))
    }

    /// Whether a topic can hold an event at all.
    #[cfg(feature = "backplane")]
    pub(crate) fn fits(&self, topic: &Topic, event: &Encoded) -> bool {
        ring::weight(event) <= self.of(topic).retention.bytes
    }

    /// Whether of this topic one event is kept.
    #[cfg(feature = "backplane")]
    pub(crate) fn conflates(&self, topic: &Topic) -> bool {
        self.of(topic).conflates
    }

    /// Whether a topic that the pattern matches may be one of which every event counts.
    pub(super) fn queue_any(&self, of: &Pattern) -> bool {
        for (pattern, policy) in &self.rules {
            if !policy.conflates && pattern.overlaps(of) {
                return true;
            }
            if pattern.covers(of) {
                return false;
            }
        }
        !self.default.conflates
    }

    /// The topic in which it is told who reads this one, if it is.
    pub(super) fn presence_of(&self, topic: &Topic) -> Option<Topic> {
        let mut presence = self.presence.iter();
        let is_told = presence.any(|pattern| pattern.matches(topic));
        // Of who reads that, nothing is told, or there would be no end.
        let is_presence = topic.as_str().starts_with("presence/");
        (is_told && !is_presence)
            .then(|| presence::topic_of(topic))
            .flatten()
    }

    pub(super) fn have_age(&self) -> bool {
        self.all().any(|policy| policy.retention.age.is_some())
    }

    pub(crate) fn wait(&self) -> bool {
        self.all().any(|policy| policy.stall().is_some())
    }

    /// What the topics of the smallest policy hold, in bytes.
    pub(super) fn least_bytes(&self) -> usize {
        let bytes = self.all().map(|policy| policy.retention.bytes);
        bytes.min().unwrap_or_default()
    }

    fn all(&self) -> impl Iterator<Item = &Policy> {
        let rules = self.rules.iter().map(|(_, policy)| policy);
        rules.chain([&self.default])
    }
}
