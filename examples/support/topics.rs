//! Topics of a hub in axum, for the demos whose hubs are kept elsewhere:
//! `GET /events?topic=a&topic=b` and `POST /topics/{topic}`.
//!
//! What is posted to a topic is its data, as it is, and the topic is the event's name. The
//! answer is the id, as soon as the event is stored. With the header `Idempotency-Key` it may
//! be posted again where that is not known.

use std::error::Error;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::serve::ListenerExt;
use tokio::time::timeout;
use tornadose::{
    Event, EventName, EventSource, Head, Hub, HubBuilder, InvalidTopic, Permit, Policy, Refusal,
    Retention, Shutdown, Start, SubmitError, Topic, Topics,
};

/// What is kept of each topic in this process, and how much of it who comes gets to read.
const KEPT: usize = 1000;
const SHOWN: u64 = 50;

const MAX_MESSAGE: usize = 16 * 1024;

/// A hub whose topics are queues, but for those below `value`: of these the newest event
/// counts.
pub(crate) fn settings() -> Result<HubBuilder, InvalidTopic> {
    Ok(Hub::builder()
        .default_policy(Policy::queue(Retention::new().events(KEPT)))
        .policy("value/#".parse()?, Policy::latest())
        .max_event_bytes(MAX_MESSAGE))
}

/// Serves it until the process is asked to end.
pub(crate) async fn serve(hub: Hub, listen: SocketAddr) -> Result<(), Box<dyn Error>> {
    let listening = crate::support::listen(listen).await;
    let (listener, stop) =
        listening.map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    // An event is small and has to leave now.
    let listener = listener.tap_io(|connection| {
        let _ = connection.set_nodelay(true);
    });
    let shutdown = Shutdown::new();
    let server = axum::serve(listener, app(hub, &shutdown)).with_graceful_shutdown({
        let shutdown = shutdown.clone();
        async move {
            stop.await;
            // axum waits for its answers, and these end only if they are told to.
            shutdown.begin();
        }
    });
    let server = tokio::spawn(server.into_future());
    shutdown.begun().await;
    // A client that does not read cannot hold us back for longer than this.
    let ended = async {
        let _ = server.await;
        shutdown.ended().await;
    };
    let _ = timeout(crate::support::GRACE, ended).await;
    Ok(())
}

fn app(hub: Hub, shutdown: &Shutdown) -> Router {
    let events = EventSource::new(hub.clone())
        .permit(permit)
        .start(Start::Last(SHOWN))
        .retry(Duration::from_secs(1))
        .shutdown(shutdown);
    Router::new()
        .route_service("/events", events)
        .route("/topics/{*topic}", post(submit))
        .fallback((StatusCode::NOT_FOUND, "not found\n"))
        .layer(DefaultBodyLimit::max(MAX_MESSAGE))
        .with_state(hub)
}

/// The topics of the query, of which there has to be one.
fn permit(head: &Head<'_>) -> Result<Permit, Refusal> {
    let topics: Result<Topics, _> = head.queries("topic").map(Topic::new).collect();
    match topics {
        Ok(topics) if !topics.is_empty() => Ok(Permit::new().topics(topics)),
        _ => Err(Refusal::NOT_FOUND),
    }
}

async fn submit(
    State(hub): State<Hub>,
    Path(topic): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, String), StatusCode> {
    let topic = Topic::new(topic).map_err(|_| StatusCode::NOT_FOUND)?;
    let name = EventName::new(topic.as_str()).map_err(|_| StatusCode::NOT_FOUND)?;
    let mut event = Event::from_utf8(body).map_err(|_| StatusCode::BAD_REQUEST)?;
    if let Some(key) = headers.get("idempotency-key") {
        event = event.once(key.to_str().map_err(|_| StatusCode::BAD_REQUEST)?);
    }
    let stored = match hub.submit(event.name(name).topic(topic)) {
        Ok(submitted) => submitted.await,
        Err(error) => Err(error),
    };
    match stored {
        Ok(id) => Ok((StatusCode::CREATED, id.to_string())),
        Err(SubmitError::TooLarge { .. }) => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(SubmitError::Refused { .. }) => Err(StatusCode::INSUFFICIENT_STORAGE),
        // Perhaps it is stored: without a key, who sends it again may send it twice.
        Err(SubmitError::Unknown(_)) => Err(StatusCode::GATEWAY_TIMEOUT),
        Err(_) => Err(StatusCode::SERVICE_UNAVAILABLE),
    }
}
