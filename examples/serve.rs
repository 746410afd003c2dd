//! A chat, on a server that bounds what clients can take their time with.
//!
//! ```text
//! cargo run --example serve --features serve
//! curl -N http://127.0.0.1:9000/events
//! curl -d 'hello' http://127.0.0.1:9000/say
//! ```
//!
//! Who takes forever to ask, or asks and does not read, is let go: [`Server`] tells when. It
//! ends with the [`Shutdown`] that ends the streams.

#[allow(dead_code, reason = "the other demos use the rest")]
mod support;

use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use tornadose::{EventSource, QueueStore, Server, Shutdown, Start};

#[tokio::main]
async fn main() -> ExitCode {
    let options = support::Options::without_every("A chat, on a server with time-outs.");
    let (tcp, stop) = match support::listen(options.listen).await {
        Ok(listening) => listening,
        Err(error) => {
            support::complain(format_args!("cannot listen on {}: {error}", options.listen));
            return ExitCode::FAILURE;
        }
    };

    let shutdown = Shutdown::new();
    let store = QueueStore::new();
    let events = EventSource::new(store.clone())
        .start(Start::Last(20))
        .shutdown(&shutdown);
    let app = Router::new()
        .route_service("/events", events)
        .route("/say", post(say))
        .with_state(store);

    let server = Server::new(tcp)
        .shutdown(&shutdown)
        .grace(Duration::from_secs(2));
    tokio::spawn(async move {
        stop.await;
        shutdown.begin();
    });
    match server.serve(app).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            support::complain(error);
            ExitCode::FAILURE
        }
    }
}

/// Whatever the text, it is data: no line of it can become a field.
async fn say(State(store): State<QueueStore>, text: String) -> StatusCode {
    match store.submit(text) {
        Ok(_) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::PAYLOAD_TOO_LARGE,
    }
}
