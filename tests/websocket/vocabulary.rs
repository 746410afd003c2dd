//! Bounds, events and messages: the words that the tests are written in.

use std::future::Future;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tornadose::{Event, EventSource, Position, QueueStore, Retention, Start, WebSocketSubscriber};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// How long anything may take that has no bound of its own.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The outcome of something that must not take longer.
#[track_caller]
pub(crate) fn within<T>(
    bound: Duration,
    what: &str,
    future: impl Future<Output = T>,
) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    let what = what.to_owned();
    async move {
        match timeout(bound, future).await {
            Ok(outcome) => outcome,
            Err(_) => panic!("{what}: not within {bound:?}, at {caller}"),
        }
    }
}

/// Waits until a condition holds.
#[track_caller]
pub(crate) fn eventually(what: &str, holds: impl Fn() -> bool) -> impl Future<Output = ()> {
    within(PATIENCE, what, async move {
        while !holds() {
            sleep(Duration::from_millis(1)).await;
        }
    })
}

/// Waits until nobody is subscribed any more, and nobody counted.
#[track_caller]
pub(crate) fn until_left(
    store: &QueueStore,
    socket: &WebSocketSubscriber,
) -> impl Future<Output = ()> {
    eventually("everybody has left", || {
        (store.subscribers(), socket.streams()) == (0, 0)
    })
}

// ---------------------------------------------------------------------------
// Events
// ---------------------------------------------------------------------------

/// A store, and a handler of it that is not set otherwise.
pub(crate) fn store_and_socket() -> (QueueStore, WebSocketSubscriber) {
    let store = QueueStore::new();
    let socket = WebSocketSubscriber::new(store.clone());
    (store, socket)
}

/// A handler that begins with the oldest event.
pub(crate) fn from_oldest(store: &QueueStore) -> WebSocketSubscriber {
    EventSource::new(store.clone())
        .start(Start::Oldest)
        .websocket()
}

/// A store that holds the last so many events.
pub(crate) fn keeping(events: usize) -> QueueStore {
    QueueStore::builder()
        .retention(Retention::new().events(events))
        .build()
}

pub(crate) fn submit(store: &QueueStore, event: impl Into<Event>) -> Position {
    store
        .submit(event)
        .expect("open and small")
        .id()
        .expect("in memory")
}

/// The events "1", "2" and so on, and their ids.
pub(crate) fn submit_numbers(store: &QueueStore, count: usize) -> Vec<Position> {
    (1..=count).map(|n| submit(store, n.to_string())).collect()
}

/// The position at which a store goes on.
pub(crate) fn end_of(store: &QueueStore) -> Position {
    let position = store.subscribe(Start::Live).position();
    position.expect("a store of ours has positions")
}

/// Another place in the same log.
pub(crate) fn moved(id: Position, offset: u64) -> Position {
    let text = id.to_string();
    let (epoch, _) = text.rsplit_once('-').expect("an id");
    format!("{epoch}-{offset}").parse().expect("an id")
}

// ---------------------------------------------------------------------------
// Messages
// ---------------------------------------------------------------------------

/// The first message of a connection that begins at this position.
pub(crate) fn opened(id: Position) -> String {
    format!(r#"{{"id":"{id}","event":"open"}}"#)
}

/// The first message of a connection of which it is not known where it begins.
pub(crate) const OPENED: &str = r#"{"event":"open"}"#;

/// An event without a name; its data needs no escapes.
pub(crate) fn message(id: Position, prev: Position, data: &str) -> String {
    format!(r#"{{"id":"{id}","prev":"{prev}","event":"message","data":"{data}"}}"#)
}

/// A gap as the JSON that is told in every envelope.
pub(crate) fn told(
    reason: &str,
    missed: Option<u64>,
    from: Option<Position>,
    resume: Position,
) -> String {
    let missed = missed.map_or(String::new(), |n| format!("\"missed\":\"{n}\","));
    let from = from.map_or(String::new(), |id| format!("\"from\":\"{id}\","));
    format!(r#"{{"reason":"{reason}",{missed}{from}"resume":"{resume}"}}"#)
}

pub(crate) fn gap(
    reason: &str,
    missed: Option<u64>,
    from: Option<Position>,
    resume: Position,
) -> String {
    let told = told(reason, missed, from, resume);
    format!(r#"{{"id":"{resume}","event":"gap","data":{told}}}"#)
}

/// A message, read by somebody else's parser.
#[track_caller]
pub(crate) fn parsed(message: &str) -> serde_json::Value {
    serde_json::from_str(message).unwrap_or_else(|error| panic!("{message:?}: {error}"))
}

/// The value of a field of a message, if it has it as a text.
#[track_caller]
pub(crate) fn field(message: &str, name: &str) -> Option<String> {
    Some(parsed(message).get(name)?.as_str()?.to_owned())
}

/// The milliseconds after which a client is to come back.
#[track_caller]
pub(crate) fn retry(reason: &str) -> u64 {
    let digits = reason.strip_prefix("retry: ");
    let digits = digits.unwrap_or_else(|| panic!("{reason:?} tells no time"));
    digits.parse().expect("a number")
}
