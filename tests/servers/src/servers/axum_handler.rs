//! axum, with a handler that has more to do than to answer.

use axum::Router;
use axum::extract::{Request, State};
use axum::response::IntoResponse;
use axum::routing::any;
use tornadose::{EventSource, Head, LastEventId};

use super::{PLAIN, Server, axum::serve, block_on};

pub(crate) const SERVER: Server = Server {
    run: |events, ready, stop| {
        let app = Router::new()
            .route("/events", any(answer))
            .with_state(events);
        block_on(async { serve(ready.listen_tokio(), app, stop).await });
    },
    ..PLAIN
};

async fn answer(
    State(events): State<EventSource>,
    last_event_id: Option<LastEventId>,
    request: Request,
) -> impl IntoResponse {
    assert_eq!(last_event_id, Head::of(&request).last_event_id());
    events.respond(&request)
}
