//! What is read of a hub that is kept elsewhere, and whether that is what was stored.
#![allow(dead_code, reason = "every target takes only the words that it needs")]

use std::time::Duration;

use tokio::time::timeout;
use tornadose::{
    Delivery, Event, GapReason, Hub, Position, Start, Subscribe, Subscription, Topic, Topics,
};

/// For what must come, whatever the machine is doing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn topic(name: &str) -> Topic {
    name.parse().expect("a topic")
}

/// Topics, and patterns where there is a wildcard.
pub(crate) fn topics(names: &[&str]) -> Topics {
    names.iter().fold(Topics::new(), |topics, name| {
        if name.contains(['+', '#']) {
            topics.pattern(name.parse().expect("a pattern"))
        } else {
            topics.topic(topic(name))
        }
    })
}

/// Stores an event, and says where.
pub(crate) async fn store(hub: &Hub, topic: &str, data: impl Into<Event>) -> Position {
    let event = data.into().topic(self::topic(topic));
    let submitted = hub.submit(event).expect("there is room");
    let stored = timeout(PATIENCE, submitted).await.expect("an answer");
    stored.expect("stored")
}

/// The same, and this process has read it.
pub(crate) async fn store_here(hub: &Hub, topic: &str, data: impl Into<Event>) -> Position {
    let position = store(hub, topic, data).await;
    reached(hub, position).await;
    position
}

pub(crate) async fn reached(hub: &Hub, position: Position) {
    timeout(PATIENCE, hub.reached(position))
        .await
        .expect("it is read in time");
}

pub(crate) fn read(hub: &Hub, start: Start, names: &[&str]) -> Subscription {
    hub.subscribe(Subscribe::from(start).topics(topics(names)))
}

pub(crate) fn read_after(hub: &Hub, id: Position, names: &[&str]) -> Subscription {
    hub.subscribe(Subscribe::default().after(id).topics(topics(names)))
}

/// The next that it tells: the data of an event, a gap by its reason and number, or the end.
pub(crate) async fn next(subscription: &mut Subscription) -> String {
    let next = timeout(PATIENCE, subscription.recv()).await;
    match next.expect("something comes in time") {
        Some(Delivery::Event(event)) => event.data().to_owned(),
        Some(Delivery::Gap(gap)) => match gap.missed {
            Some(missed) => format!("gap {} {missed}", gap.reason),
            None => format!("gap {}", gap.reason),
        },
        Some(_) => unreachable!("there are events and gaps"),
        None => format!("end {:?}", subscription.end()),
    }
}

pub(crate) async fn next_of(subscription: &mut Subscription, count: usize) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(next(subscription).await);
    }
    all
}

/// What one client was told over all of its connections, in this order.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    told: Vec<Told>,
}

#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// It began to read behind this offset, without an id.
    Begun(u64),
    /// An event, and where.
    Event(Position, String),
    /// A gap, and where it goes on.
    Gap(GapReason, Option<u64>, Position),
}

impl History {
    pub(crate) fn begin(&mut self, offset: u64) {
        self.told.push(Told::Begun(offset));
    }

    pub(crate) fn hear(&mut self, delivery: &Delivery) {
        self.told.push(match delivery {
            Delivery::Event(event) => Told::Event(event.id(), event.data().to_owned()),
            Delivery::Gap(gap) => Told::Gap(gap.reason, gap.missed, gap.resume),
            _ => unreachable!("there are events and gaps"),
        });
    }

    /// The id that the client has.
    pub(crate) fn last_event_id(&self) -> Option<Position> {
        self.told.iter().rev().find_map(|told| match told {
            Told::Begun(_) => None,
            Told::Event(position, _) | Told::Gap(_, _, position) => Some(*position),
        })
    }

    pub(crate) fn events(&self) -> usize {
        let is_event = |told: &&Told| matches!(told, Told::Event(..));
        self.told.iter().filter(is_event).count()
    }

    pub(crate) fn gaps(&self) -> usize {
        let is_gap = |told: &&Told| matches!(told, Told::Gap(..));
        self.told.iter().filter(is_gap).count()
    }

    /// Holds what the client was told against what the log is: everything of its topics
    /// that it should have had, once and in order, or a gap where it did not. `log` is all
    /// that ever had a place in the log that there is at the end, of these topics, in order.
    ///
    /// What the engine stored and has lost is not of the log: who was told it has to be told
    /// a gap behind it.
    pub(crate) fn judge(&self, log: &[(Position, String)]) -> Result<(), String> {
        let wrong = |at: usize, what: &str| {
            let told = &self.told[at.saturating_sub(6)..(at + 3).min(self.told.len())];
            Err(format!("{what}, at {at} of {told:?}"))
        };
        let between = |from: u64, to: u64| {
            log.iter()
                .filter(|(position, _)| (from + 1..to).contains(&position.offset()))
                .count()
        };
        let mut place = 0;
        // Told something that the engine has lost, and not told so yet.
        let mut astray = false;
        for (at, told) in self.told.iter().enumerate() {
            match told {
                Told::Begun(offset) => place = *offset,
                Told::Event(position, data) => {
                    let known = log.iter().find(|(of, _)| of == position);
                    match known {
                        Some((_, stored)) if stored != data => return wrong(at, "other data"),
                        Some(_) if astray => return wrong(at, "no gap behind what was lost"),
                        Some(_) if position.offset() <= place => return wrong(at, "repeated"),
                        Some(_) if between(place, position.offset()) > 0 => {
                            return wrong(at, "lost without a gap");
                        }
                        Some(_) => place = position.offset(),
                        None => astray = true,
                    }
                }
                Told::Gap(reason, missed, resume) => {
                    let is_of_log = match reason {
                        GapReason::Epoch | GapReason::Ahead | GapReason::Diverged => true,
                        _ => !astray,
                    };
                    if !is_of_log {
                        return wrong(at, "the wrong gap");
                    }
                    if let (Some(missed), false) = (missed, astray)
                        && *reason != GapReason::Corrupt
                    {
                        let lost = between(place, resume.offset() + 1) as u64;
                        if lost != *missed {
                            return wrong(at, &format!("{lost} were missed"));
                        }
                    }
                    place = resume.offset();
                    // It may lead to what is lost, too, and then another one follows.
                    astray = log
                        .iter()
                        .all(|(position, _)| position.partial_cmp(resume).is_none());
                }
            }
        }
        if astray && !log.is_empty() {
            return wrong(self.told.len(), "the last gap is missing");
        }
        match log.iter().find(|(position, _)| position.offset() > place) {
            Some(missing) => wrong(self.told.len(), &format!("never told of {missing:?}")),
            None => Ok(()),
        }
    }
}
