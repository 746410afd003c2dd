//! Subscriptions that are polled by hand.

use std::task::Poll;

use tokio_test::task::{self, Spawn};
use tornadose::{Delivery, Subscription};

/// A subscription to which nothing happens between two polls, and that knows
/// whether it has been woken.
pub(crate) type Reader = Spawn<Subscription>;

pub(crate) fn reader(subscription: Subscription) -> Reader {
    task::spawn(subscription)
}

/// Everything that there is to read now.
pub(crate) fn deliveries(reader: &mut Reader) -> Vec<Delivery> {
    std::iter::from_fn(|| match reader.poll_next() {
        Poll::Ready(delivery) => delivery,
        Poll::Pending => None,
    })
    .collect()
}

/// The same in words: the data of an event as it is, `gap <reason> <missed>` for a
/// gap, and `end <reason>` if the subscription is over.
pub(crate) fn heard(reader: &mut Reader) -> Vec<String> {
    let mut words: Vec<_> = deliveries(reader).iter().map(in_words).collect();
    words.extend(reader.end().map(|end| format!("end {end:?}")));
    words
}

pub(crate) fn in_words(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Event(entry) => entry.data().to_owned(),
        Delivery::Gap(gap) => match gap.missed {
            Some(missed) => format!("gap {} {missed}", gap.reason),
            None => format!("gap {} ?", gap.reason),
        },
        _ => unreachable!("there are events and gaps"),
    }
}

/// Whether the reader has nothing to read, waits, and has not been woken since.
pub(crate) fn waits(reader: &mut Reader) -> bool {
    reader.poll_next().is_pending() && !reader.is_woken()
}
