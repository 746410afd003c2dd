//! A hub whose log is in Redis: run it twice, and both are one.
//!
//! ```text
//! cargo run --example redis --features redis -- --redis redis://127.0.0.1:6379
//! cargo run --example redis --features redis -- --redis redis://127.0.0.1:6379 --listen 127.0.0.1:9001
//! curl -N 'http://127.0.0.1:9000/events?topic=lobby&topic=price/oil'
//! curl -d 'hello' http://127.0.0.1:9001/topics/lobby
//! redis-cli XADD tornadose '*' topic lobby data 'hello from elsewhere'
//! ```
//!
//! End one while a client reads from it, and let the client go on at the other with
//! `-H 'Last-Event-ID: ..'`: nothing is missing. Topics under `price/` are latest values.
//! `--help` tells the options.

#[allow(dead_code, reason = "the demos on hyper use the rest")]
mod support;

use std::error::Error;
use std::future::IntoFuture;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::serve::ListenerExt;
use tokio::time::timeout;
use tornadose::backplane::Redis;
use tornadose::{
    Event, EventSource, Hub, Permit, Policy, Refusal, Retention, Shutdown, Start, SubmitError,
    Topic, Topics,
};

const MAX_MESSAGE: usize = 16 * 1024;

#[tokio::main]
async fn main() -> ExitCode {
    let about = "A hub whose log is in Redis; run it twice, and both are one.";
    let default = "redis://127.0.0.1:6379";
    let options = support::Options::with_server(about, "--redis", "REDIS_URL", default);
    match run(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            support::complain(format_args!("{error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &support::Options) -> Result<(), Box<dyn Error>> {
    let url = options.server.as_deref().unwrap_or_default();
    let hub = Hub::builder()
        .default_policy(Policy::queue(Retention::new().events(1000)))
        .policy("price/#".parse()?, Policy::latest())
        .max_event_bytes(MAX_MESSAGE)
        .open(Redis::new(url)?)
        .await?;

    let (listener, stop) = support::listen(options.listen).await?;
    // An event is small and has to leave now.
    let listener = listener.tap_io(|connection| {
        let _ = connection.set_nodelay(true);
    });
    let shutdown = Shutdown::new();
    let events = EventSource::new(hub.clone())
        .permit(permit)
        .start(Start::Last(50))
        .retry(Duration::from_secs(1))
        .shutdown(&shutdown);
    let app = Router::new()
        .route_service("/events", events)
        .route("/topics/{*topic}", post(submit))
        .fallback((StatusCode::NOT_FOUND, "not found\n"))
        .layer(DefaultBodyLimit::max(MAX_MESSAGE))
        .with_state(hub);
    let server = axum::serve(listener, app).with_graceful_shutdown({
        let shutdown = shutdown.clone();
        async move {
            stop.await;
            // axum waits for its answers, and these end only if they are told to.
            shutdown.begin();
        }
    });
    let server = tokio::spawn(server.into_future());
    shutdown.begun().await;
    let ended = async {
        let _ = server.await;
        shutdown.ended().await;
    };
    let _ = timeout(support::GRACE, ended).await;
    Ok(())
}

fn permit(head: &tornadose::Head<'_>) -> Result<Permit, Refusal> {
    let topics: Result<Topics, _> = head.queries("topic").map(Topic::new).collect();
    Ok(Permit::new().topics(topics.map_err(|_| Refusal::NOT_FOUND)?))
}

/// Answers when it is stored, with its id.
async fn submit(
    State(hub): State<Hub>,
    Path(topic): Path<String>,
    body: Bytes,
) -> Result<(StatusCode, String), StatusCode> {
    let topic = Topic::new(topic).map_err(|_| StatusCode::NOT_FOUND)?;
    let event = Event::from_utf8(body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let stored = match hub.submit(event.topic(topic)) {
        Ok(submitted) => submitted.await,
        Err(error) => Err(error),
    };
    match stored {
        Ok(id) => Ok((StatusCode::CREATED, format!("{id}\n"))),
        Err(SubmitError::TooLarge { .. }) => Err(StatusCode::PAYLOAD_TOO_LARGE),
        // Perhaps it is stored: who sends it again may send it twice.
        Err(SubmitError::Unknown(_)) => Err(StatusCode::GATEWAY_TIMEOUT),
        Err(_) => Err(StatusCode::SERVICE_UNAVAILABLE),
    }
}
