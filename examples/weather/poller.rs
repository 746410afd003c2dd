//! Asks a source again and again, and after a fault again, however many are listening.

use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep_until};

use crate::reading::Reading;
use crate::source::{About, Polled, Source};

/// When a source is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// The time from poll to poll, while all is well.
    pub(crate) every: Duration,
    pub(crate) backoff: Backoff,
}

/// How long is waited after a fault: twice as long after each, and by a quarter less or
/// more at random, so that those who have failed together do not come back together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    pub(crate) first: Duration,
    /// Never longer, unless the source asks for it.
    pub(crate) most: Duration,
    /// As long as this at the most, if it does.
    pub(crate) asked: Duration,
}

impl Backoff {
    /// The wait after so many faults in a row, at least one. `random` is at least 0 and
    /// below 1: of the full wait at most a quarter is left out, so it grows.
    pub(crate) fn wait(&self, faults: u32, random: f64) -> Duration {
        let doubled = 2u32.saturating_pow(faults.saturating_sub(1));
        let full = self.first.saturating_mul(doubled).min(self.most);
        full.mul_f64(1.0 - random.clamp(0.0, 1.0) / 4.0)
    }
}

/// What a poller tells.
#[derive(Debug)]
pub(crate) enum Report {
    /// The first of all, before anything is asked.
    About(About),
    Found(Reading),
    /// A poll has ended.
    Polled {
        source: &'static str,
        polled: Polled,
    },
}

/// Polls until nobody listens to the reports any more. No fault ends it.
pub(crate) async fn poll(
    mut source: Box<dyn Source>,
    timing: Timing,
    reports: UnboundedSender<Report>,
) {
    let about = source.about();
    let name = about.source;
    let mut is_heard = reports.send(Report::About(about)).is_ok();
    let mut faults = 0u32;
    while is_heard {
        let begun = Instant::now();
        let mut found = |reading| {
            let _ = reports.send(Report::Found(reading));
        };
        let polled = source.poll(&mut found).await;
        let next = if polled.has_failed() {
            faults = faults.saturating_add(1);
            let wait = timing.backoff.wait(faults, fastrand::f64());
            let asked = polled.again.unwrap_or_default().min(timing.backoff.asked);
            Instant::now() + wait.max(asked)
        } else {
            faults = 0;
            begun + polled.again.unwrap_or(timing.every)
        };
        let report = Report::Polled {
            source: name,
            polled,
        };
        is_heard = reports.send(report).is_ok();
        tokio::select! {
            () = sleep_until(next) => {}
            () = reports.closed() => is_heard = false,
        }
    }
}
