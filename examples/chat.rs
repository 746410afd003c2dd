//! Chat rooms in axum: many topics on one connection, who is there, and nothing lost.
//!
//! ```text
//! cargo run --example chat
//! curl -N 'http://127.0.0.1:9000/events?topic=lobby&topic=garden'
//! curl -d 'hello' http://127.0.0.1:9000/topics/lobby
//! curl http://127.0.0.1:9000/topics/lobby
//! ```
//!
//! or open <http://127.0.0.1:9000/> in a browser, twice. `--help` tells the options.
//!
//! A room is a topic. What is posted to it is its data, as it is, and the room is the
//! event's name, because an event stream has no other place to tell: a page that follows
//! several rooms listens to each by name. Two more topics belong to a room:
//!
//! - `presence/<room>`, which the hub makes: `join` and `leave`, who it was and how many
//!   there are now.
//! - `people/<room>`, which is made of it here: everybody who is there, as one value. It
//!   is named after itself, so it can be told from those of other rooms.
//!
//! Who reads a room with `?name=ann` is `ann` there. The room `staff` and its topics are
//! only for who brings the token, as `?token=sesame` or `authorization: Bearer sesame`.

#[allow(dead_code, reason = "the demos on hyper use the rest")]
mod support;

use std::collections::HashMap;
use std::future::IntoFuture;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode};
use axum::routing::get;
use axum::serve::ListenerExt;
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;
use tornadose::{
    Delivery, Event, EventName, EventSource, Head, Hub, InvalidTopic, Permit, Policy, Refusal,
    Retention, Shutdown, Start, SubmitError, Subscribe, Topic, Topics,
};

const ROOMS: [&str; 4] = ["lobby", "garden", "kitchen", STAFF];

/// The room that is not for everybody.
const STAFF: &str = "staff";
const TOKEN: &str = "sesame";

/// What is kept of each room, and how much of it who comes gets to read.
const KEPT: usize = 300;
const SHOWN: u64 = 50;

const MAX_MESSAGE: usize = 16 * 1024;
const MAX_NAME: usize = 32;
const MAX_NAMES: usize = 50;

#[tokio::main]
async fn main() -> ExitCode {
    let about = "Chat rooms: many topics on one connection, who is there, and nothing lost.";
    let options = support::Options::without_every(about);
    match run(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            support::complain(format_args!("cannot listen on {}: {error}", options.listen));
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &support::Options) -> io::Result<()> {
    let (listener, stop) = support::listen(options.listen).await?;
    // An event is small and has to leave now.
    let listener = listener.tap_io(|connection| {
        let _ = connection.set_nodelay(true);
    });

    let hub = hub().expect("these are patterns");
    tokio::spawn(tell_people(hub.clone()));
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
    let _ = timeout(support::GRACE, ended).await;
    Ok(())
}

/// All rooms, in one order: one id of one event is a place in each of them.
fn hub() -> Result<Hub, InvalidTopic> {
    Ok(Hub::builder()
        .default_policy(Policy::queue(Retention::new().events(KEPT)))
        .policy("people/#".parse()?, Policy::latest())
        // A room has one level, and of the others it is not told who reads them.
        .presence("+".parse()?)
        .max_event_bytes(MAX_MESSAGE)
        .build())
}

fn app(hub: Hub, shutdown: &Shutdown) -> Router {
    let events = EventSource::new(hub.clone())
        .permit(permit)
        .start(Start::Last(SHOWN))
        .retry(Duration::from_secs(1))
        .shutdown(shutdown);
    let page = ([(CONTENT_TYPE, HTML)], include_str!("pages/chat.html"));
    let style = ([(CONTENT_TYPE, CSS)], include_str!("pages/style.css"));

    Router::new()
        .route("/", get(page))
        .route("/style.css", get(style))
        .route_service("/events", events.clone())
        .route_service("/rooms/{room}/events", events)
        .route("/topics/{*topic}", get(count).post(submit))
        .fallback((StatusCode::NOT_FOUND, "not found\n"))
        .layer(DefaultBodyLimit::max(MAX_MESSAGE))
        .with_state(hub)
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JSON: &str = "application/json";

/// Which topics a stream is of: the room of the path, else those of the query. All of
/// them have to be there and to be permitted.
fn permit(head: &Head<'_>) -> Result<Permit, Refusal> {
    let topics: Result<Topics, StatusCode> = match room_of_path(head.path()) {
        Some(room) => topic(head, room).map(Topics::from),
        None => head
            .queries("topic")
            .map(|name| topic(head, &name))
            .collect(),
    };
    let topics = topics.map_err(Refusal::status)?;
    // A stream of nothing is a mistake that its client should see.
    if topics.is_empty() {
        return Err(Refusal::NOT_FOUND);
    }
    let permit = Permit::new().topics(topics);
    Ok(match head.queries("name").next() {
        Some(name) if !name.is_empty() => {
            permit.name(name.chars().take(MAX_NAME).collect::<String>())
        }
        _ => permit,
    })
}

fn room_of_path(path: &str) -> Option<&str> {
    path.strip_prefix("/rooms/")?.strip_suffix("/events")
}

/// The topic of this name, if there is one and it is for who asks.
fn topic(head: &Head<'_>, name: &str) -> Result<Topic, StatusCode> {
    let topic: Topic = name.parse().map_err(|_| StatusCode::NOT_FOUND)?;
    let room = ["presence/", "people/"]
        .iter()
        .find_map(|of| name.strip_prefix(of))
        .unwrap_or(name);
    if !ROOMS.contains(&room) {
        Err(StatusCode::NOT_FOUND)
    } else if room == STAFF && !has_token(head) {
        Err(StatusCode::FORBIDDEN)
    } else {
        Ok(topic)
    }
}

/// A secret in an address ends up in logs and histories. A page of its own origin would
/// have a cookie; an `EventSource` can set no header.
fn has_token(head: &Head<'_>) -> bool {
    let bearer = head.header("authorization");
    bearer.and_then(|value| value.strip_prefix("Bearer ")) == Some(TOKEN)
        || head.queries("token").any(|token| token == TOKEN)
}

/// Whatever the text, it is data: no line of it can become a field.
async fn submit(
    State(hub): State<Hub>,
    Path(name): Path<String>,
    parts: Parts,
    body: Bytes,
) -> Result<(StatusCode, String), StatusCode> {
    let topic = topic(&Head::of_parts(&parts), &name)?;
    // Who is there is only said by those who know.
    if !ROOMS.contains(&topic.as_str()) {
        return Err(StatusCode::NOT_FOUND);
    }
    let event = Event::from_utf8(body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let submitted = match hub.submit(named(event, &topic).topic(topic)) {
        Ok(submitted) => submitted.await,
        Err(error) => Err(error),
    };
    match submitted {
        Ok(id) => Ok((StatusCode::ACCEPTED, id.to_string())),
        Err(SubmitError::TooLarge { .. }) => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => Err(StatusCode::SERVICE_UNAVAILABLE),
    }
}

/// An event that tells its topic by its name.
fn named(event: Event, topic: &Topic) -> Event {
    let name = EventName::new(topic.as_str());
    event.name(name.expect("no topic of a room is a reserved name"))
}

/// What the hub knows of a topic.
async fn count(
    State(hub): State<Hub>,
    Path(name): Path<String>,
    parts: Parts,
) -> Result<([(HeaderName, &'static str); 1], String), StatusCode> {
    let topic = topic(&Head::of_parts(&parts), &name)?;
    let newest = hub.get(&topic).map(|entry| entry.id().to_string());
    let known = json!({
        "topic": topic.as_str(),
        "subscribers": hub.subscribers_of(&topic),
        "newest": newest,
        "hub": { "subscribers": hub.subscribers(), "topics": hub.topics() },
    });
    Ok(([(CONTENT_TYPE, JSON)], format!("{known}\n")))
}

/// Who has come or gone, as the hub tells it.
#[derive(Deserialize)]
struct Presence {
    name: Option<String>,
    count: usize,
}

/// Makes of who comes and goes the value of who is there. How many there are is exact;
/// who brings no name is not among the names.
async fn tell_people(hub: Hub) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut people = HashMap::<Topic, Vec<String>>::new();
    let presence = Topics::new().pattern("presence/+".parse()?);
    let mut changes = hub.subscribe(Subscribe::from(Start::Oldest).topics(presence));
    while let Some(delivery) = changes.recv().await {
        let Delivery::Event(change) = delivery else {
            // Some changes are lost. Who comes from now on is known again.
            people.clear();
            continue;
        };
        let Some(room) = change
            .topic()
            .and_then(|topic| topic.as_str().split_once('/'))
        else {
            continue;
        };
        let topic: Topic = format!("people/{}", room.1).parse()?;
        let Presence { name, count } = serde_json::from_str(change.data())?;
        let names = people.entry(topic.clone()).or_default();
        if let Some(name) = name {
            if change.name() == "join" {
                names.push(name);
            } else if let Some(at) = names.iter().position(|there| *there == name) {
                names.remove(at);
            }
        }
        let some = &names[..names.len().min(MAX_NAMES)];
        let there = json!({ "count": count, "names": some }).to_string();
        hub.submit(named(Event::new(there), &topic).topic(topic))?;
    }
    Ok(())
}
