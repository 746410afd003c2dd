//! A chat on plain hyper: what anybody posts, everybody reads.
//!
//! ```text
//! cargo run --example hyper
//! curl -N http://127.0.0.1:9000/events
//! curl -d 'hello' http://127.0.0.1:9000/say
//! ```
//!
//! Who comes gets the last 20 lines, and who comes back gets what it missed. How hyper
//! is run and ended, with [`Shutdown`] before its own, stands in `support`.

#[allow(dead_code, reason = "the other demos use the rest")]
mod support;

use std::process::ExitCode;

use http_body_util::{BodyExt, Either, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use tornadose::{Event, EventSource, QueueStore, Shutdown, Start};

/// How long a line may be, in bytes: as much as the store takes.
const LINE: usize = 1 << 20;

#[tokio::main]
async fn main() -> ExitCode {
    let about = "A chat: what anybody posts to /say, everybody reads at /events.";
    let options = support::Options::without_every(about);
    let shutdown = Shutdown::new();

    let store = QueueStore::new();
    let events = EventSource::new(store.clone())
        .start(Start::Last(20))
        .shutdown(&shutdown);

    support::serve(&options, &shutdown, move |request| {
        app(events.clone(), store.clone(), request)
    })
    .await
}

/// Answers a request: the stream, or what is said.
async fn app(
    events: EventSource,
    store: QueueStore,
    request: Request<Incoming>,
) -> Response<support::Body> {
    match (request.method(), request.uri().path()) {
        (_, "/events") => events.respond(&request).map(Either::Right),
        (&Method::POST, "/say") => support::status(say(&store, request).await),
        (_, "/say") => support::method_not_allowed("POST"),
        _ => support::not_found(),
    }
}

/// Whatever the text, it is data: no line of it can become a field.
async fn say(store: &QueueStore, request: Request<Incoming>) -> StatusCode {
    let line = match Limited::new(request.into_body(), LINE).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return StatusCode::PAYLOAD_TOO_LARGE,
        // The client has left in the middle of it.
        Err(_) => return StatusCode::BAD_REQUEST,
    };
    let Ok(event) = Event::from_utf8(line) else {
        return StatusCode::BAD_REQUEST;
    };
    match store.submit(event) {
        Ok(_) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::PAYLOAD_TOO_LARGE,
    }
}
