//! Topics whose log is in a file: ids and what they stand for outlive the process.
//!
//! ```text
//! cargo run --example durable --features durable -- --dir target/events
//! curl -N 'http://127.0.0.1:9000/events?topic=lobby&topic=value/oil'
//! curl -d 'hello' http://127.0.0.1:9000/topics/lobby
//! curl -d '81.20' -H 'Idempotency-Key: 7' http://127.0.0.1:9000/topics/value/oil
//! ```
//!
//! Kill it in the middle (`kill -9`), start it again, and come back with the last id: nothing
//! is missing. A `POST` is answered with the id when the event is on the disk, so what was
//! answered is not lost; what was not can be posted again with the same `Idempotency-Key`
//! and is stored once.
//!
//! A topic below `value/` has a value, the newest one; all others are queues.

#[allow(dead_code, reason = "the demos on hyper use the rest")]
mod support;

use std::future::IntoFuture;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::serve::ListenerExt;
use tokio::time::timeout;
use tornadose::backplane::{Durable, Fsync};
use tornadose::{
    Event, EventSource, Head, Hub, Permit, Policy, Refusal, Retention, Shutdown, Start,
    SubmitError, Topic, Topics,
};

const MAX_MESSAGE: usize = 16 * 1024;

const USAGE: &str = "\
Topics whose log is in a file: ids outlive the process.

Usage: durable --dir DIR [--listen ADDR] [--fsync-every MILLISECONDS]

  --dir DIR                   where the log is; it is made if it is missing
  --listen ADDR               where to listen [default: 127.0.0.1:9000]
  --fsync-every MILLISECONDS  acknowledge first, and make durable that often [default: before]
  --help                      this text";

#[tokio::main]
async fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            let _ = writeln!(std::io::stdout(), "{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(fault) => {
            support::complain(format_args!("{fault}; --help tells what there is"));
            return ExitCode::from(2);
        }
    };
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            support::complain(error);
            ExitCode::FAILURE
        }
    }
}

struct Options {
    dir: PathBuf,
    listen: SocketAddr,
    fsync: Fsync,
}

impl Options {
    /// `None` if help is asked for.
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut dir = None;
        let mut listen = SocketAddr::from(([127, 0, 0, 1], 9000));
        let mut fsync = Fsync::Always;
        while let Some(name) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{name} needs a value"));
            match name.as_str() {
                "--help" | "-h" => return Ok(None),
                "--dir" => dir = Some(value()?.into()),
                "--listen" => {
                    let text = value()?;
                    let fault = format!("{text} is not an address like 127.0.0.1:9000");
                    listen = text.parse().map_err(|_| fault)?;
                }
                "--fsync-every" => {
                    let text = value()?;
                    let fault = format!("{text} is not a number of milliseconds");
                    let millis = text.parse::<u32>().map_err(|_| fault)?;
                    fsync = Fsync::Every(Duration::from_millis(millis.into()));
                }
                _ => return Err(format!("unknown argument {name}")),
            }
        }
        let dir = dir.ok_or("--dir is missing")?;
        Ok(Some(Self { dir, listen, fsync }))
    }
}

async fn run(options: Options) -> Result<(), String> {
    let engine = Durable::builder(options.dir)
        .fsync(options.fsync)
        .retention(Retention::new().events(100_000).bytes(64 << 20))
        .open()
        .await
        .map_err(|error| format!("cannot open the log: {error}"))?;
    let values = "value/#".parse().map_err(|error| format!("{error}"))?;
    let hub = Hub::builder()
        .policy(values, Policy::latest())
        .max_event_bytes(MAX_MESSAGE)
        .open(engine)
        .await
        .map_err(|error| format!("cannot read the log: {error}"))?;

    let cannot = |error| format!("cannot listen on {}: {error}", options.listen);
    let (listener, stop) = support::listen(options.listen).await.map_err(cannot)?;
    // An event is small and has to leave now.
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
    Ok(())
}

fn app(hub: Hub, shutdown: &Shutdown) -> Router {
    let events = EventSource::new(hub.clone())
        .permit(permit)
        .start(Start::Last(50))
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
    let topics: Result<Topics, _> = head
        .queries("topic")
        .map(|name| name.parse::<Topic>())
        .collect();
    match topics {
        Ok(topics) if !topics.is_empty() => Ok(Permit::new().topics(topics)),
        _ => Err(Refusal::NOT_FOUND),
    }
}

/// Answers when the event is stored.
async fn submit(
    State(hub): State<Hub>,
    Path(topic): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, String), StatusCode> {
    let topic: Topic = topic.parse().map_err(|_| StatusCode::NOT_FOUND)?;
    let mut event = Event::from_utf8(body).map_err(|_| StatusCode::BAD_REQUEST)?;
    if let Some(key) = headers.get("idempotency-key") {
        event = event.once(key.to_str().map_err(|_| StatusCode::BAD_REQUEST)?);
    }
    let submitted = hub
        .submit(event.topic(topic))
        .map_err(|error| status(&error))?;
    match submitted.await {
        Ok(position) => Ok((StatusCode::CREATED, position.to_string())),
        Err(error) => Err(status(&error)),
    }
}

fn status(error: &SubmitError) -> StatusCode {
    match error {
        SubmitError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        SubmitError::Refused { .. } => StatusCode::INSUFFICIENT_STORAGE,
        // It may have been stored: post it again, with the same key.
        SubmitError::Unknown(_) => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}
