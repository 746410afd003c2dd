//! One hub in several processes, whose log is in NATS: what is said in one is heard in all,
//! and a client that loses one goes on in another.
//!
//! ```text
//! nats-server -js
//! cargo run --example nats --features nats -- --listen 127.0.0.1:9000
//! cargo run --example nats --features nats -- --listen 127.0.0.1:9001
//! curl -N 'http://127.0.0.1:9001/events?topic=lobby&topic=garden'
//! curl -d 'hello' http://127.0.0.1:9000/topics/lobby
//! ```
//!
//! The server is that of `--nats URL` or of `NATS_URL`, where a password is better kept, by
//! default `nats://127.0.0.1:4222`. What is posted to a topic is its data, as it is,
//! and the topic is the event's name. Of topics below `now` the newest event is kept.

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
use tornadose::backplane::Nats;
use tornadose::{
    Event, EventName, EventSource, Head, Hub, Permit, Policy, Refusal, Retention, Shutdown, Start,
    SubmitError, Topic, Topics,
};

/// What is kept of each topic in this process, and how much of it who comes gets to read.
const KEPT: usize = 1000;
const SHOWN: u64 = 50;

const MAX_MESSAGE: usize = 16 * 1024;

#[tokio::main]
async fn main() -> ExitCode {
    let about = "One hub in several processes, whose log is in NATS.";
    let default = "nats://127.0.0.1:4222";
    let options = support::Options::with_server(about, "--nats", "NATS_URL", default);
    match run(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            support::complain(error);
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &support::Options) -> Result<(), Box<dyn Error>> {
    let url = options.server.as_deref().unwrap_or_default();
    let hub = Hub::builder()
        .default_policy(Policy::queue(Retention::new().events(KEPT)))
        .policy("now/#".parse()?, Policy::latest())
        .max_event_bytes(MAX_MESSAGE)
        .open(Nats::new(url)?)
        .await?;
    let listening = support::listen(options.listen).await;
    let (listener, stop) =
        listening.map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    let listener = listener.tap_io(|connection| {
        let _ = connection.set_nodelay(true);
    });

    let shutdown = Shutdown::new();
    let server = axum::serve(listener, app(hub.clone(), &shutdown)).with_graceful_shutdown({
        let shutdown = shutdown.clone();
        async move {
            stop.await;
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
    hub.close();
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

/// The topics that the query asks for; a stream of nothing is a mistake.
fn permit(head: &Head<'_>) -> Result<Permit, Refusal> {
    let topics: Result<Topics, _> = head.queries("topic").map(|name| name.parse()).collect();
    match topics {
        Ok(topics) if !topics.is_empty() => Ok(Permit::new().topics(topics)),
        _ => Err(Refusal::NOT_FOUND),
    }
}

/// Answers with the id when it is stored: then every process will have it.
async fn submit(
    State(hub): State<Hub>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<(StatusCode, String), StatusCode> {
    let topic: Topic = name.parse().map_err(|_| StatusCode::NOT_FOUND)?;
    let name = EventName::new(topic.as_str()).map_err(|_| StatusCode::NOT_FOUND)?;
    let event = Event::from_utf8(body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let stored = match hub.submit(event.name(name).topic(topic)) {
        Ok(submitted) => submitted.await,
        Err(error) => Err(error),
    };
    match stored {
        Ok(id) => Ok((StatusCode::ACCEPTED, id.to_string())),
        Err(SubmitError::TooLarge { .. }) => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(SubmitError::Refused { .. }) => Err(StatusCode::INSUFFICIENT_STORAGE),
        Err(_) => Err(StatusCode::SERVICE_UNAVAILABLE),
    }
}
