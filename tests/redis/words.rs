//! The words that the tests speak.

use std::time::Duration;

use tornadose::backplane::{
    Append, AppendError, Backplane, Content, Latest, Reading, Record, Redis,
};
use tornadose::{Event, Pattern, Position, Topic};

pub(crate) const KEY: &str = "tornadose";
pub(crate) const MOST: usize = 10_000;
pub(crate) const MOMENT: Duration = Duration::from_millis(200);

pub(crate) fn topic(name: &str) -> Topic {
    name.parse().expect("a topic")
}

pub(crate) fn event(data: impl Into<String>) -> Append {
    Append::new(topic("a"), Event::new(data))
}

pub(crate) fn once(data: impl Into<String>, key: &str) -> Append {
    Append::new(topic("a"), Event::new(data).once(key))
}

pub(crate) fn value(name: &str, data: impl Into<String>) -> Append {
    Append::new(topic(name), Event::new(data)).latest()
}

/// No topic is a latest-value topic but `value/..`.
pub(crate) fn latest() -> Latest {
    Latest::of(["value/#".parse::<Pattern>().expect("a pattern")])
}

pub(crate) async fn open(redis: &Redis) -> Box<dyn Reading> {
    redis.open(&latest()).await.expect("a log")
}

/// Appends one event for each text; all are stored.
pub(crate) async fn append(redis: &Redis, texts: &[&str]) -> Vec<Position> {
    let events: Vec<_> = texts.iter().map(|text| event(*text)).collect();
    let answers = redis.append(&events).await;
    answers
        .into_iter()
        .map(|answer| answer.expect("stored"))
        .collect()
}

/// Appends until it is stored: the server comes back, or has forgotten the connection.
pub(crate) async fn append_at_last(redis: &Redis, text: &str) -> Position {
    for _ in 0..300 {
        match redis.append(&[event(text)]).await.remove(0) {
            Ok(position) => return position,
            Err(AppendError::Unavailable | AppendError::Unknown) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(refused) => panic!("{refused}"),
        }
    }
    panic!("never stored");
}

pub(crate) async fn all(reading: &mut Box<dyn Reading>) -> Vec<Record> {
    let window = reading.window().await.expect("a window");
    let (mut from, mut all) = (window.oldest, Vec::new());
    while from < window.next {
        let records = reading.read(from, MOST).await.expect("records");
        let Some(last) = records.last() else { break };
        from = last.position.offset() + 1;
        all.extend(records);
    }
    all
}

pub(crate) fn data(records: &[Record]) -> Vec<String> {
    records
        .iter()
        .map(|record| match &record.content {
            Content::Event(_, event) => event.data().to_owned(),
            other => format!("{other:?}"),
        })
        .collect()
}

pub(crate) fn offsets(records: &[Record]) -> Vec<u64> {
    records
        .iter()
        .map(|record| record.position.offset())
        .collect()
}

/// What is before the offset.
pub(crate) fn epoch(position: Position) -> String {
    position.to_string()[..11].to_owned()
}
