//! Counters and gauges, through the `metrics` facade.
//!
//! Labels are words of this crate, and names that the program gave: of stores, of which
//! there are few, and of topics where it asks for that.

use std::sync::Arc;

use metrics::{Label, counter, gauge};

use super::Happening;
use crate::stats::Stats;

pub(super) fn observe(happening: &Happening) {
    match *happening {
        Happening::Opened(protocol) => {
            counter!("tornadose_streams_opened_total", "protocol" => protocol.as_str())
                .increment(1);
        }
        Happening::Refused(protocol, why) => {
            counter!("tornadose_streams_refused_total", "protocol" => protocol.as_str(), "why" => why.as_str())
                .increment(1);
        }
        Happening::Ended(protocol, why) => {
            counter!("tornadose_streams_ended_total", "protocol" => protocol.as_str(), "why" => why.as_str())
                .increment(1);
        }
        #[cfg(feature = "backplane")]
        Happening::EngineAway { store, engine } => there(store, engine, 0.0),
        #[cfg(feature = "backplane")]
        Happening::EngineBack { store, engine } => there(store, engine, 1.0),
        #[cfg(feature = "backplane")]
        Happening::LogReplaced { store, engine } => {
            counter!("tornadose_logs_replaced_total", "store" => store.unwrap_or_default(), "engine" => engine)
                .increment(1);
        }
        #[cfg(feature = "backplane")]
        Happening::Corrupt { store, engine } => {
            counter!("tornadose_records_corrupt_total", "store" => store.unwrap_or_default(), "engine" => engine)
                .increment(1);
        }
        // These are in the figures of a store.
        Happening::Gap { .. }
        | Happening::Slow { .. }
        | Happening::StoreClosed { .. }
        | Happening::ShutdownBegun => {}
    }
}

#[cfg(feature = "backplane")]
fn there(store: Option<&'static str>, engine: &'static str, is_there: f64) {
    gauge!("tornadose_engine_up", "store" => store.unwrap_or_default(), "engine" => engine)
        .set(is_there);
}

impl Stats {
    /// Hands these figures to the recorder of the [`metrics`] facade, under the label
    /// `store`, the store's [name](Self::store) or nothing. Call it before each scrape, or
    /// every few seconds, of a snapshot of the store in all.
    ///
    /// Counters: `tornadose_events_submitted_total`, `tornadose_events_evicted_total`,
    /// `tornadose_events_replaced_total`, `tornadose_events_delivered_total`,
    /// `tornadose_events_skipped_total`, `tornadose_gaps_total`,
    /// `tornadose_events_missed_total`, `tornadose_gaps_uncounted_total` and
    /// `tornadose_slow_disconnects_total`. Gauges: `tornadose_events_retained`,
    /// `tornadose_bytes_retained`, `tornadose_subscribers`, `tornadose_lag_events` and
    /// `tornadose_lag_events_max`, and `tornadose_lag_subscribers` with the label `le`, how
    /// many are at most so many events behind, of which there are
    /// [23](crate::Lags::BUCKETS).
    ///
    /// What happens to streams is counted without it: `tornadose_streams_opened_total`,
    /// `tornadose_streams_refused_total` and `tornadose_streams_ended_total`, with the labels
    /// `protocol` and `why`.
    ///
    /// [`metrics`]: https://docs.rs/metrics
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn record(&self) {
        self.record_under(&[self.store_label()]);
    }

    /// The same under the label `topic` as well, of a snapshot of one topic.
    ///
    /// A recorder keeps every label for ever, so this is for topics of a list that the
    /// program has, not for any that a client can make.
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn record_topic(&self) {
        if let Some(topic) = &self.topic {
            let topic: Arc<str> = topic.as_str().into();
            self.record_under(&[self.store_label(), Label::new("topic", topic)]);
        }
    }

    fn store_label(&self) -> Label {
        Label::from_static_parts("store", self.store.unwrap_or_default())
    }

    fn record_under(&self, labels: &[Label]) {
        let labels = || labels.iter();
        counter!("tornadose_events_submitted_total", labels()).absolute(self.submitted);
        counter!("tornadose_events_evicted_total", labels()).absolute(self.evicted);
        counter!("tornadose_events_replaced_total", labels()).absolute(self.replaced);
        counter!("tornadose_events_delivered_total", labels()).absolute(self.delivered);
        if let Some(skipped) = self.skipped {
            counter!("tornadose_events_skipped_total", labels()).absolute(skipped);
        }
        counter!("tornadose_gaps_total", labels()).absolute(self.gaps);
        counter!("tornadose_events_missed_total", labels()).absolute(self.missed);
        counter!("tornadose_gaps_uncounted_total", labels()).absolute(self.uncounted);
        counter!("tornadose_slow_disconnects_total", labels()).absolute(self.disconnected);
        gauge!("tornadose_events_retained", labels()).set(self.retained as f64);
        gauge!("tornadose_bytes_retained", labels()).set(self.retained_bytes as f64);
        gauge!("tornadose_subscribers", labels()).set(self.subscribers as f64);
        gauge!("tornadose_lag_events", labels()).set(self.lag.sum() as f64);
        gauge!("tornadose_lag_events_max", labels()).set(self.lag.max() as f64);
        let mut within = 0;
        for (bound, count) in self.lag.buckets() {
            within += count;
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| bound.to_string());
            let labels = labels().cloned().chain([Label::new("le", bound)]);
            gauge!("tornadose_lag_subscribers", labels.collect::<Vec<_>>()).set(within as f64);
        }
    }
}
