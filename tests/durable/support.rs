//! Directories, logs in them, and what stands there.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tornadose::backplane::{
    Append, Backplane, Content, Durable, DurableBuilder, Latest, Reading, Record,
};
use tornadose::{Event, Position, Topic};

/// For everything that comes as soon as it can, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A directory that is gone afterwards.
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// In memory where that is possible: what the system keeps when a process dies.
    pub(crate) fn new() -> Self {
        let shared = Path::new("/dev/shm");
        let base = if shared.is_dir() {
            shared
        } else {
            Path::new(env!("CARGO_TARGET_TMPDIR"))
        };
        Self::within(base)
    }

    /// On a disk.
    pub(crate) fn on_disk() -> Self {
        Self::within(Path::new(env!("CARGO_TARGET_TMPDIR")))
    }

    fn within(base: &Path) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("tornadose-durable-{}-{count}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("log.redb")
    }

    pub(crate) fn builder(&self) -> DurableBuilder {
        Durable::builder(&self.0)
    }

    pub(crate) async fn open(&self) -> Durable {
        self.builder().open().await.expect("a log")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn topic(name: &str) -> Topic {
    name.parse().expect("a topic")
}

/// An event of the topic `t`.
pub(crate) fn event(data: impl Into<String>) -> Append {
    Append::new(topic("t"), Event::new(data))
}

pub(crate) async fn append(engine: &Durable, events: &[Append]) -> Vec<Position> {
    let answers = engine.append(events).await;
    assert_eq!(answers.len(), events.len());
    answers
        .into_iter()
        .map(|answer| answer.expect("stored"))
        .collect()
}

pub(crate) async fn append_texts(engine: &Durable, texts: &[&str]) -> Vec<Position> {
    let events: Vec<_> = texts.iter().copied().map(event).collect();
    append(engine, &events).await
}

pub(crate) async fn reading(engine: &Durable) -> Box<dyn Reading> {
    reading_latest(engine, &[]).await
}

pub(crate) async fn reading_latest(engine: &Durable, patterns: &[&str]) -> Box<dyn Reading> {
    let patterns = patterns
        .iter()
        .map(|pattern| pattern.parse().expect("a pattern"));
    engine.open(&Latest::of(patterns)).await.expect("a reading")
}

/// Everything that is retained, from the oldest on.
pub(crate) async fn all(reading: &mut Box<dyn Reading>) -> Vec<Record> {
    let window = reading.window().await.expect("a window");
    let (mut records, mut next) = (Vec::<Record>::new(), 0);
    loop {
        let read = reading.read(next, 1000).await.expect("records");
        let Some(last) = read.last() else { break };
        next = last.position.offset() + 1;
        records.extend(read);
    }
    if let Some(first) = records.first() {
        assert_eq!(first.position.offset(), window.oldest);
    }
    assert_eq!(next.max(window.oldest), window.next, "{window:?}");
    records
}

/// The offset and the data of an event.
pub(crate) fn text(record: &Record) -> (u64, &str) {
    match &record.content {
        Content::Event(_, event) => (record.position.offset(), event.data()),
        other => panic!("no event: {other:?}"),
    }
}

pub(crate) fn texts(records: &[Record]) -> Vec<(u64, &str)> {
    records.iter().map(text).collect()
}

/// An id without its tag, and the tag.
pub(crate) fn split(position: Position) -> (String, String) {
    let text = position.to_string();
    // Not at the last dash: an epoch and a tag may have dashes of their own.
    let (id, tag) = text.split_at(text.len() - 6);
    let id = id.strip_suffix('-').expect("a tag");
    (id.to_owned(), tag.to_owned())
}

/// How often something is done: in this variable of the environment, or so often.
pub(crate) fn times(variable: &str, default: usize) -> usize {
    match std::env::var(variable) {
        Ok(times) => times.parse().expect("a number"),
        Err(_) => default,
    }
}
