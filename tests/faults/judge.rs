//! What was seen, brought into the form in which it is judged.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use tornadose::backplane::{Backplane, Content, Latest, Record};

use crate::body::Body;
use crate::client::{Target, Transcript, transcripts};
use crate::history::{
    Connection, Decoding, Ended, Fault, History, Id, Kind, Log, Outcome, Rules, Sample, Start,
    Stored, Submit, Told,
};
use crate::matter::{self, Kept, Uid, VALUE, What};
use crate::serving;

/// What one run has left behind.
pub(crate) struct Evidence {
    pub(crate) directory: PathBuf,
    /// All of them are there at the end.
    pub(crate) sessions: Vec<Target>,
    /// Of the log in the file, what was read by somebody else than the server.
    pub(crate) in_file: InFile,
    pub(crate) faults: Vec<Fault>,
    pub(crate) samples: Vec<Sample>,
    /// The last server.
    pub(crate) life: u64,
    pub(crate) live_by: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) violations: Vec<String>,
    pub(crate) deliveries: u64,
    pub(crate) gaps: BTreeMap<String, u64>,
}

impl Evidence {
    pub(crate) fn judge(&self) -> Verdict {
        let mut verdict = Verdict::default();
        // Another server came behind the last one that counts.
        let mut submits = submits(&self.directory);
        submits.retain(|uid, _| uid.life() <= self.life);
        for store in Kept::ALL {
            let submits = submits.iter().filter(|(uid, _)| uid.store() == store);
            let submits: BTreeMap<_, _> = submits.map(|(uid, of)| (*uid, of.clone())).collect();
            let history = self.history(store, submits, &mut verdict.violations);
            let found = history.judge();
            verdict.deliveries += found.deliveries;
            let told = history.connections.iter().flat_map(Connection::told);
            for (_, told) in told {
                if let Told::Gap { reason, .. } = told {
                    *verdict.gaps.entry(reason).or_default() += 1;
                }
            }
            for (number, violation) in found.violations.iter().enumerate() {
                let mut text = format!("{}: {violation}", store.name());
                if let (0..5, Some(connection)) = (number, violation.connection) {
                    text += &format!("\n{}", end_of(&history.show(connection)));
                }
                verdict.violations.push(text);
            }
        }
        verdict
    }

    fn history(
        &self,
        store: Kept,
        submits: BTreeMap<Uid, Submit>,
        wrong: &mut Vec<String>,
    ) -> History {
        let mut connections = Vec::new();
        for (chain, target) in self.sessions.iter().enumerate() {
            if target.store != store {
                continue;
            }
            let transcripts = transcripts(&self.directory, chain);
            let last = transcripts.len().saturating_sub(1);
            for (at, transcript) in transcripts.iter().enumerate() {
                match connection(chain, target, transcript, at == last) {
                    Ok(connection) => connections.push(connection),
                    Err(what) => wrong.push(format!("connection {at} of {chain}: {what}")),
                }
            }
        }
        let logs = match store {
            Kept::Durable => self.in_file.logs(),
            Kept::Queue | Kept::Hub => in_memory(&submits, &connections, self.life),
        };
        History {
            rules: rules(store),
            submits: submits.into_values().collect(),
            logs,
            connections,
            faults: self.faults.clone(),
            samples: match store {
                Kept::Queue => self.samples.clone(),
                _ => Vec::new(),
            },
            live_by: Some(self.live_by),
        }
    }
}

/// The last lines of what may be long.
fn end_of(text: &str) -> &str {
    let lines = text.rmatch_indices('\n').nth(60);
    lines.map_or(text, |(at, _)| &text[at..])
}

fn rules(store: Kept) -> Rules {
    match store {
        Kept::Queue => Rules {
            kind: Kind::Memory,
            latest: Vec::new(),
            keeps: Some(serving::QUEUE as u64),
        },
        Kept::Hub => Rules {
            kind: Kind::Memory,
            latest: vec![VALUE.to_owned()],
            keeps: None,
        },
        Kept::Durable => Rules {
            kind: Kind::Elsewhere,
            latest: vec![VALUE.to_owned()],
            keeps: None,
        },
    }
}

/// What publishers have noted of all events.
fn submits(directory: &Path) -> BTreeMap<Uid, Submit> {
    let files = std::fs::read_dir(directory).expect("the directory of this run");
    let paths = files.map(|file| file.expect("a file").path());
    let journals = paths.filter(|path| path.extension().is_some_and(|end| end == "journal"));
    let mut submits = BTreeMap::new();
    for noted in journals.flat_map(|journal| matter::read(&journal)) {
        let uid = noted.uid;
        match noted.what {
            What::Begins => {
                let submit = Submit {
                    uid: uid.0.to_string(),
                    topic: topic(uid),
                    name: "message".to_owned(),
                    data: uid.data(),
                    invoked: noted.at,
                    outcome: Outcome::Unknown,
                };
                assert!(submits.insert(uid, submit).is_none(), "{uid:?} twice");
            }
            What::Stored(id) => {
                let id = Id::parse(&id).expect("an id");
                submits.get_mut(&uid).expect("begun").outcome = Outcome::Ok(noted.at, id);
            }
            What::Refused => submits.get_mut(&uid).expect("begun").outcome = Outcome::Refused,
        }
    }
    submits
}

fn topic(uid: Uid) -> String {
    match uid.store() {
        Kept::Queue => String::new(),
        Kept::Hub | Kept::Durable => uid.topic().to_owned(),
    }
}

/// The logs of a store in memory, one for each life of the server: what was acknowledged,
/// and what somebody was told before its publisher could note that.
fn in_memory(
    submits: &BTreeMap<Uid, Submit>,
    connections: &[Connection],
    last_life: u64,
) -> Vec<Log> {
    let mut logs: BTreeMap<String, BTreeMap<u64, Stored>> = BTreeMap::new();
    let mut lives = HashMap::new();
    let mut unknown = HashSet::new();
    let mut store = |uid: Uid, id: &Id, submit: &Submit| {
        lives.insert(id.epoch.clone(), uid.life());
        let stored = Stored {
            id: id.clone(),
            topic: submit.topic.clone(),
            data: submit.data.clone(),
        };
        let log = logs.entry(id.epoch.clone()).or_default();
        log.entry(id.offset).or_insert(stored);
    };
    for (uid, submit) in submits {
        match &submit.outcome {
            Outcome::Ok(_, id) => store(*uid, id, submit),
            Outcome::Unknown => drop(unknown.insert(*uid)),
            Outcome::Refused => {}
        }
    }
    for (_, told) in connections.iter().flat_map(Connection::told) {
        let Told::Event {
            id: Some(id), data, ..
        } = told
        else {
            continue;
        };
        let uid = data.split('|').next().unwrap_or_default().parse().map(Uid);
        if let Ok(uid) = uid
            && unknown.contains(&uid)
            && let Some(submit) = submits.get(&uid)
        {
            store(uid, &id, submit);
        }
    }
    let logs = logs.into_iter().map(|(epoch, events)| Log {
        is_last: lives.get(&epoch) == Some(&last_life),
        events: events.into_values().collect(),
        lost: Vec::new(),
        epoch,
    });
    logs.collect()
}

fn connection(
    chain: usize,
    target: &Target,
    transcript: &Transcript,
    is_last: bool,
) -> Result<Connection, String> {
    let mut body = Body::of(target.speaks);
    let mut decoding = Decoding::of(target.speaks);
    let mut received = Vec::new();
    let mut is_closed = false;
    for (at, piece) in &transcript.pieces {
        let bytes = body.feed(piece)?;
        let told = decoding.feed(&bytes);
        // Who breaks the protocol is told that, and is cut off.
        is_closed |= told
            .iter()
            .any(|told| matches!(told, Told::Close(code, _) if *code != 1002));
        received.push((*at, bytes));
    }
    let ended = match (body.has_ended() || is_closed, is_last) {
        (true, _) => Ended::Cleanly,
        (false, true) => Ended::Open,
        (false, false) => Ended::Cut,
    };
    Ok(Connection {
        chain: chain as u64,
        node: "the server".to_owned(),
        transport: target.speaks,
        requested: transcript.asked.clone(),
        start: Start::Live,
        filter: target.filter(),
        opened: transcript.began,
        granted: None,
        revoked: None,
        status: body.status(),
        closed: received.last().map_or(transcript.began, |(at, _)| *at),
        received,
        ended,
        stays: true,
    })
}

// ---------------------------------------------------------------------------
// The log in the file
// ---------------------------------------------------------------------------

/// What was ever read of it, by its offsets.
#[derive(Debug, Default)]
pub(crate) struct InFile {
    epoch: Option<String>,
    stored: BTreeMap<u64, Stored>,
}

impl InFile {
    /// Reads what a server has left, while there is none.
    pub(crate) async fn read(&mut self, directory: &Path) {
        let engine = serving::durable(directory).open().await.expect("a log");
        assert_eq!(engine.set_aside(), None, "nothing is broken");
        let latest = Latest::of([VALUE.parse().expect("a pattern")]);
        let mut reading = engine.open(&latest).await.expect("a reading");
        let window = reading.window().await.expect("a window");
        let mut next = window.oldest;
        // What was read before is there, and the same.
        let last = self.stored.keys().next_back().copied().unwrap_or(0);
        assert!(
            window.next > last,
            "{last} was there, and the end is {}",
            window.next
        );
        while next < window.next {
            let records = reading.read(next, 1000).await.expect("records");
            assert!(!records.is_empty(), "a hole at {next}");
            for record in records {
                assert_eq!(record.position.offset(), next, "a hole");
                self.insert(&record);
                next += 1;
            }
        }
    }

    fn insert(&mut self, record: &Record) {
        let Content::Event(topic, event) = &record.content else {
            panic!("{record:?}");
        };
        let id = Id::parse(&record.position.to_string()).expect("an id");
        let epoch = self.epoch.get_or_insert_with(|| id.epoch.clone());
        assert_eq!(*epoch, id.epoch, "one log");
        let stored = Stored {
            topic: topic.to_string(),
            data: event.data().to_owned(),
            id,
        };
        let before = self
            .stored
            .entry(stored.id.offset)
            .or_insert(stored.clone());
        assert_eq!((&before.id, &before.data), (&stored.id, &stored.data));
    }

    fn logs(&self) -> Vec<Log> {
        let log = self.epoch.iter().map(|epoch| Log {
            epoch: epoch.clone(),
            events: self.stored.values().cloned().collect(),
            lost: Vec::new(),
            is_last: true,
        });
        log.collect()
    }
}
