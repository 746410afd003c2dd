//! Numbered events, as many per second as are asked for.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tornadose::{Event, Hub, SubmitAllError, Topic};

use crate::support;

/// What is due within this time is submitted together.
const TICK: Duration = Duration::from_millis(20);

/// What is not submitted in this time, for example because the machine slept, is left out.
const MOST: Duration = Duration::from_millis(200);

/// Submits `{"n":1,..}`, `{"n":2,..}` and so on, so that who reads them can tell by
/// themselves whether one is missing.
pub(crate) async fn publish(
    hub: Hub,
    topic: Topic,
    rate: watch::Receiver<u32>,
) -> Result<(), SubmitAllError> {
    let mut ticks = support::ticks(TICK);
    let (mut number, mut due, mut last) = (0u64, 0.0, Instant::now());
    loop {
        let now = ticks.tick().await;
        let passed = now.saturating_duration_since(last).min(MOST);
        last = now;
        let rate = *rate.borrow();
        due += f64::from(rate) * passed.as_secs_f64();
        // Less than one event is due behind this.
        let whole = due.floor();
        due -= whole;
        let lot = (0..whole as u64).map(|_| {
            number += 1;
            Event::new(data(number)).topic(topic.clone())
        });
        hub.submit_all(lot.collect::<Vec<_>>())?;
    }
}

/// Some 100 bytes, as an event of a program may be.
fn data(number: u64) -> String {
    const WORDS: [&str; 4] = ["ordered", "packed", "sent", "received"];
    let word = WORDS[fastrand::usize(..WORDS.len())];
    let (order, key) = (fastrand::u32(1000..10_000), fastrand::u128(..));
    format!(r#"{{"n":{number},"text":"order {order} {word}","key":"{key:032x}"}}"#)
}
