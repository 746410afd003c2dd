//! What there is to be seen, as one value.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use tornadose::{Event, EventName, Stats, SubmitError};

use crate::clients::name;
use crate::{App, KEPT, MAX_RATE, support};

const FIGURES: EventName = EventName::from_static("figures");

/// How often. A look costs some ten nanoseconds for each subscription.
const EVERY: Duration = Duration::from_millis(500);

/// Submits the figures again and again. Who comes gets the newest at once, and who is slow
/// the newest alone.
pub(crate) async fn tell(app: App) -> Result<(), SubmitError> {
    let mut ticks = support::ticks(EVERY);
    let mut before = (Instant::now(), Stats::default());
    loop {
        let now = ticks.tick().await;
        // Before the first event there is no such topic.
        let stats = app.hub.stats_of(&app.events).unwrap_or_default();
        let passed = now.saturating_duration_since(before.0).as_secs_f64();
        let figures = figures(&app, &stats, &before.1, passed);
        let event = Event::new(figures.to_string()).name(FIGURES);
        app.hub.submit(event.topic(app.figures.clone()))?;
        before = (now, stats);
    }
}

fn figures(app: &App, stats: &Stats, before: &Stats, passed: f64) -> Value {
    let per_second = |now: u64, before: u64| {
        let count = now.saturating_sub(before) as f64;
        (count / passed.max(0.001)).round() as u64
    };
    let mut clients = app.clients.views();
    for client in &mut clients {
        let name = name(client["number"].as_u64().unwrap_or_default());
        let mut slowest = stats.slowest.iter();
        let slow = slowest.find(|slow| slow.name.as_deref() == Some(&*name));
        client["behind"] = slow.map_or(0, |slow| slow.behind).into();
    }
    json!({
        "rate": *app.rate.borrow(),
        "max_rate": MAX_RATE,
        "kept": KEPT,
        "published_per_second": per_second(stats.submitted, before.submitted),
        "delivered_per_second": per_second(stats.delivered, before.delivered),
        "submitted": stats.submitted,
        "delivered": stats.delivered,
        "evicted": stats.evicted,
        "subscribers": stats.subscribers,
        "behind": stats.lag.max(),
        "gaps": stats.gaps,
        "missed": stats.missed,
        "uncounted": stats.uncounted,
        "retained": stats.retained,
        "retained_bytes": stats.retained_bytes,
        "memory": memory(),
        "clients": clients,
    })
}

/// The memory of this process, in bytes, where the system tells it as a file.
fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}
