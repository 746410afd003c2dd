//! A new random number every second.
//!
//! ```text
//! cargo run --example random
//! curl -N http://127.0.0.1:9000/events
//! ```
//!
//! or open <http://127.0.0.1:9000/> in a browser. `--help` tells the options.
//!
//! The numbers go into a [`DataStore`], which holds the latest value: who connects
//! gets the current number at once, and everybody sees the same numbers.

#[allow(dead_code, reason = "the other demos use the rest")]
mod support;

use std::future::ready;
use std::process::ExitCode;
use std::time::Duration;

use http_body_util::Either;
use hyper::{Request, Response};
use tornadose::{DataStore, EventSource, Shutdown, SubmitError};

#[tokio::main]
async fn main() -> Result<ExitCode, SubmitError> {
    let options = support::Options::from_args("A new random number every second.");
    let shutdown = Shutdown::new();

    // The first value is there before anybody can connect.
    let store = DataStore::with_initial(number())?;
    let events = EventSource::new(store.clone()).shutdown(&shutdown);
    tokio::spawn(produce(store, options.every));

    let app = move |request| ready(app(&events, &request));
    Ok(support::serve(&options, &shutdown, app).await)
}

/// Answers a request: the page, its style, or the stream.
fn app<B>(events: &EventSource, request: &Request<B>) -> Response<support::Body> {
    match request.uri().path() {
        "/" => support::html(request, include_str!("pages/random.html")),
        "/style.css" => support::css(request, include_str!("pages/style.css")),
        "/events" => events.respond(request).map(Either::Right),
        _ => support::not_found(),
    }
}

async fn produce(store: DataStore, every: Duration) -> Result<(), SubmitError> {
    let mut ticks = support::ticks(every);
    loop {
        ticks.tick().await;
        store.submit(number())?;
    }
}

/// At least 0, below 1.
fn number() -> String {
    fastrand::f64().to_string()
}
