//! The engine on NATS, alone, against real servers: `tests/install` has put `nats-server`
//! here.
#![cfg(target_os = "linux")]

mod access;
#[path = "../support/elsewhere.rs"]
mod elsewhere;
mod every;
#[path = "../support/every_hub.rs"]
mod every_hub;
mod example;
mod faults;
mod foreign;
mod hubs;
mod log;
mod proxy;
mod server;

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tornadose::backplane::{
    Append, AppendError, Backplane, Content, Latest, Nats, Reading, Record, Window,
};
use tornadose::{Event, Pattern, Position, Topic};

use crate::server::{PATIENCE, Server};

pub(crate) fn engine(server: &Server) -> Nats {
    Nats::new(server.url())
        .expect("an address")
        .timeout(Duration::from_secs(2))
}

pub(crate) fn topic(name: &str) -> Topic {
    Topic::new(name).expect("a topic")
}

/// Latest-value topics are those below `now`.
pub(crate) fn latest() -> Latest {
    Latest::of([Pattern::new("now/#").expect("a pattern")])
}

pub(crate) fn append(name: &str, event: impl Into<Event>) -> Append {
    let append = Append::new(topic(name), event.into());
    if name.starts_with("now") {
        append.latest()
    } else {
        append
    }
}

pub(crate) async fn open(engine: &Nats) -> Box<dyn Reading> {
    engine.open(&latest()).await.expect("a server")
}

/// Opens it as soon as that is possible.
pub(crate) async fn reopen(engine: &Nats) -> Box<dyn Reading> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match engine.open(&latest()).await {
            Ok(reading) => return reading,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn store(engine: &Nats, name: &str, event: impl Into<Event>) -> Position {
    let answers = engine.append(&[append(name, event)]).await;
    let [answer] = &answers[..] else {
        panic!("one answer: {answers:?}")
    };
    answer.clone().expect("stored")
}

/// Stores it as soon as that is possible.
pub(crate) async fn store_again(engine: &Nats, name: &str, data: &str) -> Position {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answers = engine.append(&[append(name, data)]).await;
        match &answers[..] {
            [Ok(position)] => return *position,
            answers => assert!(Instant::now() < deadline, "{answers:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Everything from there on that is retained.
pub(crate) async fn all(reading: &mut dyn Reading, from: u64) -> Vec<Record> {
    let mut all = Vec::new();
    let mut from = from;
    loop {
        let records = reading.read(from, 1024).await.expect("a server");
        let Some(last) = records.last() else {
            return all;
        };
        from = last.position.offset() + 1;
        all.extend(records);
    }
}

/// Waits for so many.
pub(crate) async fn come(reading: &mut dyn Reading, from: u64, count: usize) -> Vec<Record> {
    let mut all = Vec::new();
    let coming = async {
        let mut from = from;
        while all.len() < count {
            let records = reading.wait(from, 1024, Duration::from_secs(1)).await;
            let records = records.expect("a server");
            from = records
                .last()
                .map_or(from, |last| last.position.offset() + 1);
            all.extend(records);
        }
    };
    timeout(PATIENCE, coming).await.expect("they come");
    all
}

/// Where it stands, its topic, and its data or `corrupt`.
pub(crate) fn told(record: &Record) -> (u64, String, String) {
    let (topic, data) = match &record.content {
        Content::Event(topic, event) => (topic.as_str(), event.data().to_owned()),
        Content::Corrupt(topic) => (
            topic.as_ref().map_or("", |topic| topic.as_str()),
            "corrupt".to_owned(),
        ),
        other => panic!("{other:?}"),
    };
    (record.position.offset(), topic.to_owned(), data)
}

pub(crate) fn offsets(records: &[Record]) -> Vec<u64> {
    let records = records.iter();
    records.map(|record| record.position.offset()).collect()
}

pub(crate) async fn window(reading: &mut dyn Reading) -> Window {
    reading.window().await.expect("a server")
}

pub(crate) fn is_unavailable(answers: &[Result<Position, AppendError>]) -> bool {
    let mut answers = answers.iter();
    answers.all(|answer| *answer == Err(AppendError::Unavailable))
}
