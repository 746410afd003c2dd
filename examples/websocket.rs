//! One store, followed over Server-Sent Events and over a WebSocket side by side.
//!
//! ```text
//! cargo run --example websocket --features websocket
//! ```
//!
//! then open <http://127.0.0.1:9000/> in a browser. `--help` tells the options.
//!
//! Both get the same events under the same ids, in the same order, and whoever was away
//! goes on where it was, by the id that it saw last. What is said over the WebSocket is
//! submitted, so everybody reads it. The store keeps only 20 events, so that being away
//! for long shows what a gap is.

#[allow(dead_code, reason = "the other demos use the rest")]
mod support;

use std::future::ready;
use std::process::ExitCode;
use std::time::Duration;

use http_body_util::Either;
use hyper::{Request, Response};
use tornadose::{
    Event, EventName, EventSource, QueueStore, Received, Retention, Shutdown, Start, SubmitError,
    WebSocketSubscriber,
};

const TICK: EventName = EventName::from_static("tick");

#[tokio::main]
async fn main() -> ExitCode {
    let about = "One store over Server-Sent Events and over a WebSocket, side by side.";
    let options = support::Options::from_args(about);
    let shutdown = Shutdown::new();

    let store = QueueStore::builder()
        .retention(Retention::new().events(20))
        .build();
    let events = EventSource::new(store.clone())
        .start(Start::Last(5))
        .shutdown(&shutdown);
    // The same store and the same rules; only pages of our own origin may open one.
    let socket = events.websocket().on_message(say(store.clone()));
    tokio::spawn(produce(store, options.every));

    let app = move |request| ready(app(&events, &socket, &request));
    support::serve(&options, &shutdown, app).await
}

/// Answers a request: the page, its style, the stream, or the WebSocket.
fn app<B>(
    events: &EventSource,
    socket: &WebSocketSubscriber,
    request: &Request<B>,
) -> Response<support::Body> {
    match request.uri().path() {
        "/" => support::html(request, include_str!("pages/websocket.html")),
        "/style.css" => support::css(request, include_str!("pages/style.css")),
        "/events" => events.respond(request).map(Either::Right),
        "/socket" => socket.respond(request).map(Either::Right),
        _ => support::not_found(),
    }
}

/// What anybody sends, everybody reads: whatever the text, it is data.
fn say(store: QueueStore) -> impl Fn(&mut Received<'_>) + Send + Sync + 'static {
    move |received| {
        // A message is at most 64 KiB and the store is never closed, so it takes it.
        if let Some(text) = received.text() {
            let _ = store.submit(text);
        }
    }
}

/// Counts, so that something happens.
async fn produce(store: QueueStore, every: Duration) -> Result<(), SubmitError> {
    let mut ticks = support::ticks(every);
    for count in 1u64.. {
        store.submit(Event::new(count.to_string()).name(TICK))?;
        ticks.tick().await;
    }
    Ok(())
}
