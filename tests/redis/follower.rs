//! One who reads the log as a hub does, and what another reader says that is true.

use std::time::Duration;

use tornadose::Position;
use tornadose::backplane::{Content, Reading, Redis, Window};

use crate::server::Server;
use crate::words::*;

/// What a hub would find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Everything is as it was read, up to here.
    Unbroken,
    /// The same, but the next events are gone.
    Missed(u64),
    /// What was read is not what there is.
    Broken,
}

/// Where one has come to, over any number of connections.
pub(crate) struct Follower {
    epoch: u64,
    next: u64,
    last: Option<(Position, String)>,
}

impl Follower {
    /// At the end of the log.
    pub(crate) async fn new(reading: &mut Box<dyn Reading>) -> Self {
        let Window { epoch, next, .. } = reading.window().await.expect("a window");
        let mut follower = Self {
            epoch,
            next,
            last: None,
        };
        if next > 1 {
            let last = reading.read(next - 1, 1).await.expect("records");
            follower.last = last
                .first()
                .map(|last| (last.position, text(&last.content)));
        }
        follower
    }

    /// What `is_unbroken` of the hub does.
    pub(crate) async fn judge(&self, reading: &mut Box<dyn Reading>) -> Verdict {
        let window = reading.window().await.expect("a window");
        if window.epoch != self.epoch || window.next < self.next {
            return Verdict::Broken;
        }
        if let Some((last, _)) = self.last
            && last.offset() >= window.oldest
        {
            let records = reading.read(last.offset(), 1).await.expect("records");
            if records.first().is_some_and(|record| {
                record.position.offset() == last.offset() && record.position != last
            }) {
                return Verdict::Broken;
            }
        }
        match window.oldest.saturating_sub(self.next) {
            0 => Verdict::Unbroken,
            missed => Verdict::Missed(missed),
        }
    }

    /// The same, found out by another client, from what each event holds.
    pub(crate) fn truth(&self, server: &Server) -> Verdict {
        let stream = server.stream(KEY);
        let info = server.ask(&["XINFO", "STREAM", KEY]).list();
        let at = info
            .iter()
            .position(|word| word.flat() == "last-generated-id")
            .expect("an id");
        let (epoch, last) = parts(&info[at + 1].flat());
        if epoch != self.epoch || last + 1 < self.next {
            return Verdict::Broken;
        }
        if let Some((position, text)) = &self.last {
            let there = stream
                .iter()
                .find(|(id, _)| parts(id).1 == position.offset());
            if there.is_some_and(|(_, fields)| {
                let at = fields
                    .iter()
                    .position(|field| field == "data")
                    .expect("data");
                fields[at + 1] != *text
            }) {
                return Verdict::Broken;
            }
        }
        let oldest = stream.first().map_or(last + 1, |(id, _)| parts(id).1);
        match oldest.saturating_sub(self.next) {
            0 => Verdict::Unbroken,
            missed => Verdict::Missed(missed),
        }
    }

    /// Reads everything that there is behind.
    pub(crate) async fn follow(&mut self, reading: &mut Box<dyn Reading>) {
        loop {
            let records = reading
                .wait(self.next, MOST, Duration::from_millis(1))
                .await
                .expect("records");
            let Some(last) = records.last() else { return };
            assert!(
                offsets(&records)
                    .into_iter()
                    .eq(self.next..self.next + records.len() as u64)
            );
            self.next = last.position.offset() + 1;
            self.last = Some((last.position, text(&last.content)));
        }
    }
}

fn text(content: &Content) -> String {
    match content {
        Content::Event(_, event) => event.data().to_owned(),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn parts(id: &str) -> (u64, u64) {
    let (epoch, offset) = id.split_once('-').expect("an id");
    (
        epoch.parse().expect("a number"),
        offset.parse().expect("a number"),
    )
}

/// Opens until somebody is there.
pub(crate) async fn reopen(redis: &Redis) -> Box<dyn Reading> {
    use tornadose::backplane::Backplane;
    for _ in 0..600 {
        if let Ok(reading) = redis.open(&latest()).await {
            return reading;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("nobody came back");
}
