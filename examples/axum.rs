//! A chat in axum: what anybody posts, everybody reads.
//!
//! ```text
//! cargo run --example axum
//! curl -N http://127.0.0.1:9000/events
//! curl -d 'hello' http://127.0.0.1:9000/say
//! ```
//!
//! Who comes gets the last 20 lines, and who comes back gets what it missed.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use tokio::net::TcpListener;
use tornadose::{EventSource, QueueStore, Shutdown, Start};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let shutdown = Shutdown::new();
    let store = QueueStore::new();
    let events = EventSource::new(store.clone())
        .start(Start::Last(20))
        .shutdown(&shutdown);

    let app = Router::new()
        .route_service("/events", events)
        .route("/say", post(say))
        .with_state(store);

    let listener = TcpListener::bind("127.0.0.1:9000").await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            // An error is that there is no such signal here.
            let _ = tokio::signal::ctrl_c().await;
            // axum waits for its answers, and these end only if they are told to.
            shutdown.begin();
        })
        .await
}

/// Whatever the text, it is data: no line of it can become a field.
async fn say(State(store): State<QueueStore>, text: String) -> StatusCode {
    match store.submit(text) {
        Ok(_) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::PAYLOAD_TOO_LARGE,
    }
}
