//! What a store can tell of itself.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::topic::Topic;

/// A snapshot of a store, or of one topic of a [`Hub`](crate::Hub).
///
/// It is plain data, taken in one moment: its figures fit together.
///
/// - `submitted = retained + evicted + replaced`
/// - of subscriptions to a [`QueueStore`](crate::QueueStore) or a
///   [`DataStore`](crate::DataStore) that began with the first event,
///   `delivered + skipped + missed + lag.sum() = submitted * subscriptions`
///
/// Counters count since the store, or the topic, was made, and never go down, but for one:
/// what is being written to detached streams counts as delivered, and is taken back for those
/// whose socket has not taken it. The others say what there is now.
///
/// ```
/// use tornadose::{QueueStore, Start};
///
/// let store = QueueStore::new();
/// let _slow = store.subscribe(Start::Live);
/// store.submit("one")?;
/// store.submit("two")?;
///
/// let stats = store.stats();
/// assert_eq!((stats.submitted, stats.delivered, stats.subscribers), (2, 0, 1));
/// assert_eq!(stats.slowest[0].behind, 2);
/// # Ok::<(), tornadose::SubmitError>(())
/// ```
///
/// # Cost
///
/// Nothing while nobody asks, but for a few words that each subscription writes for itself.
/// A snapshot stops the store for the time that it takes to look at each subscription, some
/// ten nanoseconds for each; of a hub also at each topic, and at the events that are still
/// ahead of the slowest reader by a pattern. It is for every few seconds, not for every
/// request.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// The name that the store was [given](crate::QueueStoreBuilder::name).
    pub store: Option<&'static str>,
    /// The topic, if it is of one alone.
    pub topic: Option<Topic>,
    /// Counter: events that were taken.
    pub submitted: u64,
    /// Counter: events that the retention has let go of.
    pub evicted: u64,
    /// Counter: events that a newer one took the place of, where the latest alone is kept; in
    /// a hub also of those that have grown too old there.
    pub replaced: u64,
    /// Events that are held now, also those that are too old but not freed yet.
    pub retained: usize,
    /// What they take, as the [retention](crate::Retention::bytes) counts it.
    pub retained_bytes: usize,
    /// Subscriptions now.
    pub subscribers: usize,
    /// Counter: events that subscriptions have taken, each counted for each of them.
    pub delivered: u64,
    /// Counter: events that subscriptions have passed over without being told, because they
    /// want the latest alone. Not known of a hub.
    pub skipped: Option<u64>,
    /// Counter: gaps that subscriptions were told.
    pub gaps: u64,
    /// Counter: the events that these gaps stand for, where that is known.
    pub missed: u64,
    /// Counter: gaps of which it is not known how many events they stand for.
    pub uncounted: u64,
    /// Counter: subscriptions that were ended for being [slow](crate::End::Slow). Not told
    /// of a single topic.
    pub disconnected: u64,
    /// How far the subscriptions are behind.
    pub lag: Lags,
    /// Those that are furthest behind, at most [`SLOWEST`](Self::SLOWEST), the slowest first;
    /// who has everything is not among them.
    pub slowest: Vec<Straggler>,
}

impl Stats {
    /// How many of the slowest subscriptions are told.
    pub const SLOWEST: usize = 8;
}

/// A subscription that is behind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Straggler {
    /// The name that it [gave](crate::Subscribe::name); never a key.
    pub name: Option<Arc<str>>,
    /// How many events it is behind.
    pub behind: u64,
}

/// How many subscriptions are how many events behind, in buckets whose bounds are 0 and the
/// powers of two.
///
/// Behind is who has not been handed an event: it has not asked for more yet. Of a log of
/// one topic, events count that it can only be told to have missed, too; of a hub only those
/// that are held, and what is subscribed by a name and by a pattern that matches it counts
/// for both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lags {
    counts: [u64; Self::BUCKETS],
    sum: u64,
    max: u64,
}

impl Lags {
    /// How many buckets there are: for 0, for 1, for 2, up to 4, and so on to 2^20, and for
    /// what is beyond.
    pub const BUCKETS: usize = 23;

    /// The most that is in the last bucket but one.
    const MOST: u64 = 1 << (Self::BUCKETS - 3);

    /// The buckets, in order: the most that a subscription in it is behind, `None` if there
    /// is no bound, and how many there are, those of the buckets before not included.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> + '_ {
        let bounds = (0..Self::BUCKETS).map(|at| match at.checked_sub(1) {
            None => Some(0),
            Some(power) => Some(1 << power).filter(|bound| *bound <= Self::MOST),
        });
        bounds.zip(self.counts)
    }

    /// How many subscriptions there are in all buckets.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How many events they are behind together.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// How many events the slowest is behind.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }

    /// So many subscriptions are so far behind.
    fn add(&mut self, behind: u64, subscriptions: u64) {
        if subscriptions == 0 {
            return;
        }
        let at = match behind {
            0 => 0,
            1..=Self::MOST => 1 + behind.next_power_of_two().trailing_zeros() as usize,
            _ => Self::BUCKETS - 1,
        };
        if let Some(count) = self.counts.get_mut(at) {
            *count += subscriptions;
        }
        self.sum = self
            .sum
            .saturating_add(behind.saturating_mul(subscriptions));
        self.max = self.max.max(behind);
    }
}

/// Lags that are being counted.
#[derive(Debug, Default)]
pub(crate) struct Lagging {
    lags: Lags,
    /// By how far each is behind; the least on top.
    slowest: BinaryHeap<Reverse<(u64, Option<Arc<str>>)>>,
}

impl Lagging {
    /// A reader is so far behind that stands for so many subscriptions.
    pub(crate) fn add(&mut self, name: Option<&Arc<str>>, subscriptions: u64, behind: u64) {
        self.lags.add(behind, subscriptions);
        if behind == 0 {
            return;
        }
        let most = u64::try_from(Stats::SLOWEST).unwrap_or(u64::MAX);
        for _ in 0..subscriptions.min(most) {
            let is_full = self.slowest.len() >= Stats::SLOWEST;
            if is_full && self.slowest.peek().is_some_and(|least| least.0.0 >= behind) {
                return;
            }
            if is_full {
                self.slowest.pop();
            }
            self.slowest.push(Reverse((behind, name.cloned())));
        }
    }

    pub(crate) fn count(self, stats: &mut Stats) {
        stats.subscribers = usize::try_from(self.lags.count()).unwrap_or(usize::MAX);
        stats.lag = self.lags;
        let slowest = self.slowest.into_sorted_vec().into_iter();
        stats.slowest = slowest
            .map(|Reverse((behind, name))| Straggler { name, behind })
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_is_in_the_first_bucket_that_bounds_it() {
        for (behind, bound) in [
            (0, Some(0)),
            (1, Some(1)),
            (2, Some(2)),
            (3, Some(4)),
            (4, Some(4)),
            (5, Some(8)),
            (1 << 20, Some(1 << 20)),
            ((1 << 20) + 1, None),
            (u64::MAX, None),
        ] {
            let mut lags = Lags::default();
            lags.add(behind, 3);
            let filled: Vec<_> = lags.buckets().filter(|(_, count)| *count > 0).collect();
            assert_eq!(filled, [(bound, 3)], "{behind}");
            assert_eq!((lags.count(), lags.max()), (3, behind));
        }
        let bounds: Vec<_> = Lags::default().buckets().map(|(bound, _)| bound).collect();
        assert_eq!(bounds.len(), Lags::BUCKETS);
        assert!(
            bounds[..22].is_sorted_by(|less, more| less < more),
            "{bounds:?}"
        );
    }

    #[test]
    fn the_slowest_are_few_and_in_order() {
        let mut lagging = Lagging::default();
        for behind in 0..100 {
            let name = Arc::from(format!("{behind}"));
            lagging.add(Some(&name), 1, behind * 7 % 100);
        }
        // One reader that stands for three, and one that stands for nobody.
        lagging.add(None, 3, 97);
        lagging.add(None, 0, 1000);
        let mut stats = Stats::default();
        lagging.count(&mut stats);
        let behind: Vec<_> = stats.slowest.iter().map(|slow| slow.behind).collect();
        assert_eq!(behind, [99, 98, 97, 97, 97, 97, 96, 95]);
        assert_eq!(stats.slowest[0].name.as_deref(), Some("57"));
        assert_eq!((stats.subscribers, stats.lag.sum()), (103, 4950 + 3 * 97));
        assert_eq!(stats.lag.max(), 99);
    }
}
