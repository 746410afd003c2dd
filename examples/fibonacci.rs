//! The Fibonacci sequence, one number every second.
//!
//! ```text
//! cargo run --example fibonacci
//! curl -N http://127.0.0.1:9000/events
//! curl -N -H 'Last-Event-ID: <an id you have seen>' http://127.0.0.1:9000/events
//! ```
//!
//! or open <http://127.0.0.1:9000/> in a browser. `--help` tells the options.
//!
//! The numbers go into a [`QueueStore`], which loses none: who connects gets the
//! whole sequence as far as it is retained, 10,000 numbers or 16 MiB, and who
//! comes back goes on exactly where it was. A client that was away for longer is
//! told so by an event of the name `gap`.

#[allow(dead_code, reason = "the other demos use the rest")]
mod support;

use std::future::ready;
use std::process::ExitCode;
use std::time::Duration;

use http_body_util::Either;
use hyper::{Request, Response};
use num_bigint::BigUint;
use tornadose::{EventSource, QueueStore, Shutdown, Start, SubmitError};

#[tokio::main]
async fn main() -> ExitCode {
    let options = support::Options::from_args("The Fibonacci sequence, one number every second.");
    let shutdown = Shutdown::new();

    let store = QueueStore::new();
    let events = EventSource::new(store.clone())
        .start(Start::Oldest)
        .shutdown(&shutdown);
    tokio::spawn(produce(store, options.every));

    let app = move |request| ready(app(&events, &request));
    support::serve(&options, &shutdown, app).await
}

/// Answers a request: the page, its style, or the stream.
fn app<B>(events: &EventSource, request: &Request<B>) -> Response<support::Body> {
    match request.uri().path() {
        "/" => support::html(request, include_str!("pages/fibonacci.html")),
        "/style.css" => support::css(request, include_str!("pages/style.css")),
        "/events" => events.respond(request).map(Either::Right),
        _ => support::not_found(),
    }
}

/// Submits 0, 1, 1, 2, 3 and so on, until a number is larger than the 1 MiB that
/// the store takes; one a second, that is after two months.
async fn produce(store: QueueStore, every: Duration) -> Result<(), SubmitError> {
    let mut ticks = support::ticks(every);
    let (mut number, mut next) = (BigUint::from(0u8), BigUint::from(1u8));
    loop {
        store.submit(number.to_string())?;
        (number, next) = (next.clone(), number + next);
        ticks.tick().await;
    }
}
