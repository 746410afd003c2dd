//! The figures of a store as Prometheus reads them, beside its stream.
//!
//! ```text
//! cargo run --example metrics
//! curl http://127.0.0.1:9000/metrics
//! curl -N http://127.0.0.1:9000/events
//! ```
//!
//! `--help` tells the options.
//!
//! The text is made of [`QueueStore::stats`] when it is asked for, so that nothing is counted
//! twice and no crate is needed. A program that has an exporter already calls
//! `Stats::record` before each scrape instead (feature `metrics`), which tells these and
//! some more under the same names. The name of the store is the only label that is not a bound.

#[allow(dead_code, reason = "the other demos use the rest")]
mod support;

use std::fmt::Write;
use std::future::ready;
use std::process::ExitCode;
use std::time::Duration;

use http_body_util::{Either, Full};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response};
use tornadose::{EventSource, QueueStore, Retention, Shutdown, Stats, SubmitError};

/// Few, so that it can be seen how they are let go of.
const KEPT: usize = 100;

#[tokio::main]
async fn main() -> ExitCode {
    let options = support::Options::from_args("The figures of a store as Prometheus reads them.");
    let shutdown = Shutdown::new();

    let store = QueueStore::builder()
        .name("numbers")
        .retention(Retention::new().events(KEPT))
        .build();
    let events = EventSource::new(store.clone()).shutdown(&shutdown);
    tokio::spawn(produce(store.clone(), options.every));

    let app = move |request| ready(app(&events, &store, &request));
    support::serve(&options, &shutdown, app).await
}

/// Answers a request: the figures, or the stream.
fn app<B>(
    events: &EventSource,
    store: &QueueStore,
    request: &Request<B>,
) -> Response<support::Body> {
    match (request.uri().path(), request.method()) {
        ("/metrics", &Method::GET | &Method::HEAD) => metrics(&store.stats()),
        ("/metrics", _) => support::method_not_allowed("GET, HEAD"),
        ("/events", _) => events.respond(request).map(Either::Right),
        _ => support::not_found(),
    }
}

async fn produce(store: QueueStore, every: Duration) -> Result<(), SubmitError> {
    let mut ticks = support::ticks(every);
    loop {
        ticks.tick().await;
        store.submit(fastrand::u32(..).to_string())?;
    }
}

fn metrics(stats: &Stats) -> Response<support::Body> {
    let mut response = Response::new(Either::Left(Full::from(text(stats))));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// A name of a family, what it is, what is told, and the figure.
type Family = (&'static str, &'static str, &'static str, fn(&Stats) -> u64);

#[rustfmt::skip]
const FAMILIES: [Family; 12] = [
    ("events_submitted_total", "counter", "Events that were taken.", |s| s.submitted),
    ("events_delivered_total", "counter", "Events taken by subscribers, for each of them.", |s| s.delivered),
    ("events_evicted_total", "counter", "Events that the retention let go of.", |s| s.evicted),
    ("events_replaced_total", "counter", "Events that a newer one took the place of.", |s| s.replaced),
    ("events_missed_total", "counter", "Events that subscribers were told they missed.", |s| s.missed),
    ("gaps_total", "counter", "Gaps that subscribers were told.", |s| s.gaps),
    ("slow_disconnects_total", "counter", "Subscribers sent away for being slow.", |s| s.disconnected),
    ("events_retained", "gauge", "Events that are held.", |s| s.retained as u64),
    ("bytes_retained", "gauge", "What they take.", |s| s.retained_bytes as u64),
    ("subscribers", "gauge", "Subscribers.", |s| s.subscribers as u64),
    ("lag_events", "gauge", "How many events subscribers are behind, together.", |s| s.lag.sum()),
    ("lag_events_max", "gauge", "How many events the slowest is behind.", |s| s.lag.max()),
];

/// The text format of Prometheus. A store's name is a word of this program, so there is
/// nothing in it to escape.
fn text(stats: &Stats) -> String {
    let (mut text, store) = (String::new(), stats.store.unwrap_or_default());
    let mut family = |name, kind, help, figures: &[(String, u64)]| {
        let _ = writeln!(text, "# HELP tornadose_{name} {help}");
        let _ = writeln!(text, "# TYPE tornadose_{name} {kind}");
        for (bound, figure) in figures {
            let _ = writeln!(
                text,
                "tornadose_{name}{{store=\"{store}\"{bound}}} {figure}"
            );
        }
    };
    for (name, kind, help, figure) in FAMILIES {
        family(name, kind, help, &[(String::new(), figure(stats))]);
    }
    let mut within = 0;
    let buckets = stats.lag.buckets().map(|(bound, count)| {
        within += count;
        let bound = bound.map_or("+Inf".to_owned(), |bound| bound.to_string());
        (format!(",le=\"{bound}\""), within)
    });
    let help = "Subscribers that are at most so many events behind.";
    family(
        "lag_subscribers",
        "gauge",
        help,
        &buckets.collect::<Vec<_>>(),
    );
    text
}
