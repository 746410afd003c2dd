//! axum, with a handler that has more to do than to answer.
//!
//! axum answers the other methods itself, and `HEAD` with the handler for `GET`.

use axum::Router;
use axum::extract::State;
use axum::http::Method;
use axum::response::IntoResponse;
use axum::routing::get;
use tornadose::{EventSource, LastEventId};

use super::{PLAIN, Server, axum::serve, block_on};

pub(crate) const SERVER: Server = Server {
    run: |events, ready, stop| {
        let app = Router::new()
            .route("/events", get(answer))
            .with_state(events);
        block_on(async { serve(ready.listen_tokio(), app, stop).await });
    },
    ..PLAIN
};

async fn answer(
    State(events): State<EventSource>,
    method: Method,
    last_event_id: Option<LastEventId>,
) -> impl IntoResponse {
    assert!(method == Method::GET || method == Method::HEAD);
    events.stream(last_event_id)
}
