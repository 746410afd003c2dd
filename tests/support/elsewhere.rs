//! What is read of a hub that is kept elsewhere, and whether that is what was stored.
#![allow(dead_code, reason = "every target takes only the words that it needs")]

use std::cmp::Ordering;
use std::time::Duration;

use tokio::time::timeout;
use tornadose::{
    Delivery, Entry, Event, GapReason, Hub, Position, Start, Subscribe, Subscription, Topic, Topics,
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
    /// The id of an event that is not in it, if that came later.
    noted: Option<Position>,
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

    /// An event that is judged otherwise: only its id counts here.
    pub(crate) fn note(&mut self, delivery: &Delivery) {
        let newer = |entry: &&Entry| {
            let last = self.last_event_id();
            last.is_none_or(|last| last.partial_cmp(&entry.id()) != Some(Ordering::Greater))
        };
        if let Some(entry) = delivery.event().filter(newer) {
            self.noted = Some(entry.id());
        }
    }

    pub(crate) fn hear(&mut self, delivery: &Delivery) {
        self.noted = None;
        self.told.push(match delivery {
            Delivery::Event(event) => Told::Event(event.id(), event.data().to_owned()),
            Delivery::Gap(gap) => Told::Gap(gap.reason, gap.missed, gap.resume),
            _ => unreachable!("there are events and gaps"),
        });
    }

    /// The id that the client has.
    pub(crate) fn last_event_id(&self) -> Option<Position> {
        let told = self.told.iter().rev().find_map(|told| match told {
            Told::Begun(_) => None,
            Told::Event(position, _) | Told::Gap(_, _, position) => Some(*position),
        });
        self.noted.or(told)
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
    /// that it should have had, once and in order, or a gap where it did not. `all` is all
    /// that ever had a place in the log that there is at the end, in order, also what has
    /// been let go of since.
    ///
    /// What the engine stored and has lost is not of the log: who was told it has to be told
    /// a gap behind it. What is lost of one topic is told before the next event of that.
    pub(crate) fn judge(
        &self,
        all: &[(Position, Topic, String)],
        wants: impl Fn(&Topic) -> bool,
    ) -> Result<(), String> {
        let mut names: Vec<_> = all.iter().map(|(_, topic, _)| topic).collect();
        names.sort_unstable();
        names.dedup();
        names.retain(|topic| wants(topic));
        for name in &names {
            let log = all.iter().filter(|(_, topic, _)| topic == *name);
            let log: Vec<_> = log.map(|(position, _, _)| position.offset()).collect();
            Judge::new(self, all, &log, names.len() == 1).judge()?;
        }
        Ok(())
    }
}

/// What one client was told of one topic.
struct Judge<'a> {
    told: &'a [Told],
    all: &'a [(Position, Topic, String)],
    /// The offsets of the topic.
    log: &'a [u64],
    /// Whether the client reads no other.
    is_alone: bool,
    /// The newest offset that it was told, or that it was told that it is not told.
    place: u64,
    /// The same of this topic.
    reached: u64,
    /// The next event is the first that it is to have, wherever that is: it begins by policy.
    begins: bool,
    /// Told since the last event of the topic that events are missing; how many, if it was
    /// told.
    excused: Option<Option<u64>>,
    /// Told something that the engine has lost, and not told so yet.
    astray: bool,
}

impl<'a> Judge<'a> {
    fn new(
        history: &'a History,
        all: &'a [(Position, Topic, String)],
        log: &'a [u64],
        is_alone: bool,
    ) -> Self {
        Self {
            told: &history.told,
            all,
            log,
            is_alone,
            place: 0,
            reached: 0,
            begins: true,
            excused: None,
            astray: false,
        }
    }

    fn judge(mut self) -> Result<(), String> {
        for (at, told) in self.told.iter().enumerate() {
            let judged = match told {
                Told::Begun(offset) => {
                    (self.place, self.reached) = (*offset, *offset);
                    (self.begins, self.astray) = (true, false);
                    self.excused = None;
                    Ok(())
                }
                Told::Event(position, data) => self.event(*position, data),
                Told::Gap(reason, missed, resume) => self.gap(*reason, *missed, *resume),
            };
            judged.map_err(|wrong| self.show(&wrong, at))?;
        }
        let behind = self.log.iter().find(|offset| **offset > self.reached);
        match behind {
            _ if self.astray => Err(self.show("no gap behind what was lost", self.told.len())),
            Some(missing) => Err(self.show(&format!("never told of {missing}"), self.told.len())),
            None => Ok(()),
        }
    }

    fn show(&self, wrong: &str, at: usize) -> String {
        let told = &self.told[at.saturating_sub(14)..(at + 12).min(self.told.len())];
        format!("{wrong}, at {at} of {told:?}")
    }

    fn event(&mut self, position: Position, data: &str) -> Result<(), String> {
        let offset = position.offset();
        let known = self.all.iter().find(|(of, _, _)| *of == position);
        match known {
            None => self.astray = true,
            Some((_, _, stored)) if stored != data => return Err("other data".into()),
            Some(_) if self.astray => {
                let near = |of: &&(Position, Topic, String)| of.0.offset().abs_diff(offset) < 8;
                let near: Vec<_> = self
                    .all
                    .iter()
                    .filter(near)
                    .map(|of| (of.0, &of.2))
                    .collect();
                return Err(format!("no gap behind what was lost; there are {near:?}"));
            }
            Some(_) if offset <= self.place => return Err("repeated or out of order".into()),
            Some(_) => {
                if self.log.contains(&offset) {
                    let missing = self.missing(offset) as u64;
                    match self.excused {
                        _ if self.begins => {}
                        None if missing > 0 => return Err("lost without a gap".into()),
                        Some(Some(missed)) if self.is_alone && missing != missed => {
                            return Err(format!("{missing} were missed, not {missed}"));
                        }
                        _ => {}
                    }
                    self.reached = offset;
                    (self.begins, self.excused) = (false, None);
                }
                self.place = offset;
            }
        }
        Ok(())
    }

    fn gap(
        &mut self,
        reason: GapReason,
        missed: Option<u64>,
        resume: Position,
    ) -> Result<(), String> {
        let was_astray = std::mem::take(&mut self.astray);
        self.place = resume.offset();
        match reason {
            GapReason::Epoch | GapReason::Ahead | GapReason::Diverged => {
                self.begins = true;
                self.reached = resume.offset();
            }
            // What cannot be read is not in what it is held against.
            GapReason::Corrupt => {}
            _ if was_astray => self.excused = Some(None),
            _ => {
                let before = self.excused.unwrap_or(Some(0));
                self.excused = Some(before.zip(missed).map(|(one, other)| one + other));
            }
        }
        Ok(())
    }

    /// How many of the topic stand between what it was told last and this.
    fn missing(&self, before: u64) -> usize {
        let range = self.reached + 1..before;
        self.log
            .iter()
            .filter(|offset| range.contains(offset))
            .count()
    }
}
