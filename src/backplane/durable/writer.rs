//! The thread that writes: it has the file, numbers the events and answers.
//!
//! Whatever waits when it comes around is stored in one change. After a failure the file is
//! closed, and opened and checked anew; what that finds is what is answered. As long as it
//! cannot be opened everything is refused.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use redb::Durability;
use tokio::sync::{oneshot, watch};

use super::disk::{Directory, Trouble};
use super::error::Fault;
use super::file::{Entry, LogFile, State, contained};
use super::journal::Journal;
use super::once::Once;
use super::open::{self, Opened};
use super::record::{self, Draft, refused};
use super::{Config, Fsync, Known, Shared};
use crate::backplane::{AppendError, Latest};
use crate::planted::planted;
use crate::position::Position;

/// So many events, or so many bytes of them, are stored in one change at most.
const MOST: usize = 8192;
const MOST_BYTES: usize = 8 << 20;

/// A journal that is longer than this has been waiting for long enough.
const LONG_JOURNAL: u64 = 64 << 20;

/// How long a file that could not be opened is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// How often it is looked for events that have become too old, if nothing comes.
const TIDY: Duration = Duration::from_secs(10);

pub(super) type Answer = Result<Position, AppendError>;

/// What the thread is asked for.
pub(super) enum Job {
    /// To store these.
    Append(Vec<Draft>, oneshot::Sender<Vec<Answer>>),
    /// To keep the newest event of each of these topics.
    Adopt(Latest, oneshot::Sender<Result<(), Arc<str>>>),
    /// To look what is wrong with the file that a reader found damaged.
    Mend,
}

pub(super) struct Writer {
    config: Config,
    directory: Directory,
    shared: Arc<Shared>,
    window: watch::Sender<Known>,
    /// Nothing, or why the file is not open.
    open: Result<Open, Arc<str>>,
    /// Whether the file that was open could not be made durable.
    is_doubtful: bool,
    tried: Instant,
    tidied: Instant,
}

/// What the thread knows of a file that is open; the file itself is with the readers.
struct Open {
    state: State,
    /// Another one whenever the file is opened. Two events that have had the same offset
    /// were given it by two openings: one opening gives no offset twice that anybody was
    /// told of or could read.
    tag: u32,
    once: Once,
    /// Up to which offset the keys in the file are too old.
    forget: Option<u64>,
    trouble: Trouble,
    journal: Option<Journal>,
    /// Since when something is not durable.
    pending: Option<Instant>,
}

/// What is done with the events of one change.
struct Plan {
    answers: Vec<Answer>,
    entries: Vec<Entry>,
}

impl Writer {
    /// Opens the log for the first time.
    pub(super) fn new(config: Config) -> Result<(Self, Arc<Shared>), Fault> {
        let directory = Directory::open(config.path.clone(), Arc::clone(&config.opener))?;
        let (file, open, set_aside) = open(&directory, &config)?;
        let (window, watched) = watch::channel(Ok(file.window(open.state)));
        let shared = Arc::new(Shared {
            file: RwLock::new(Some(file)),
            window: watched,
            opened: AtomicU64::new(0),
            set_aside,
        });
        let now = Instant::now();
        let writer = Self {
            config,
            directory,
            shared: Arc::clone(&shared),
            window,
            open: Ok(open),
            is_doubtful: false,
            tried: now,
            tidied: now,
        };
        Ok((writer, shared))
    }

    /// Works until nobody can ask for anything any more, and closes the file.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            let job = match self.due() {
                None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => jobs.recv_timeout(due.saturating_duration_since(Instant::now())),
            };
            match job {
                Ok(job) => self.work(job, jobs),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.keep_up();
        }
        self.end();
    }

    fn work(&mut self, first: Job, jobs: &Receiver<Job>) {
        let mut next = Some(first);
        while let Some(job) = next.take() {
            match job {
                Job::Append(drafts, answer) => next = self.append(drafts, answer, jobs),
                Job::Adopt(latest, answer) => {
                    let _ = answer.send(self.adopt(&latest));
                }
                Job::Mend if self.open.is_ok() => self.reopen("it was found damaged".into()),
                Job::Mend => {}
            }
        }
    }

    /// Stores these and what else waits, and returns a job of another kind that came
    /// meanwhile.
    fn append(
        &mut self,
        mut drafts: Vec<Draft>,
        answer: oneshot::Sender<Vec<Answer>>,
        jobs: &Receiver<Job>,
    ) -> Option<Job> {
        let mut asked = vec![(drafts.len(), answer)];
        let mut bytes = drafts.iter().map(Draft::len).sum::<usize>();
        let mut other = None;
        while drafts.len() < MOST && bytes < MOST_BYTES {
            match jobs.try_recv() {
                Ok(Job::Append(more, answer)) => {
                    asked.push((more.len(), answer));
                    bytes += more.iter().map(Draft::len).sum::<usize>();
                    drafts.extend(more);
                }
                Ok(job) => {
                    other = Some(job);
                    break;
                }
                Err(_) => break,
            }
        }
        let mut answers = self.store(drafts).into_iter();
        for (count, answer) in asked {
            // Who does not wait any more does not want to know.
            let _ = answer.send(answers.by_ref().take(count).collect());
        }
        other
    }

    fn store(&mut self, drafts: Vec<Draft>) -> Vec<Answer> {
        let open = match &mut self.open {
            Ok(open) => open,
            Err(why) => return drafts.iter().map(|_| Err(refused(why.clone()))).collect(),
        };
        let (tag, first) = (open.tag, open.state.next);
        let shared = Arc::clone(&self.shared);
        let guard = shared.file();
        let Some(file) = &*guard else {
            return drafts
                .iter()
                .map(|_| Err(AppendError::Unavailable))
                .collect();
        };
        let Plan { answers, entries } = open.plan(file.epoch, drafts, &self.config);
        if entries.is_empty() {
            return answers;
        }
        let fault = match open.store(file, entries, &self.config) {
            Ok(()) => {
                tell(&self.window, Ok(file.window(open.state)));
                return answers;
            }
            Err(fault) => fault,
        };
        drop(guard);
        self.reopen(fault.words());
        self.judge(answers, first, tag, &fault.words())
    }

    /// What has become of the events from this offset on, which were being stored when the
    /// file failed.
    fn judge(&self, answers: Vec<Answer>, first: u64, tag: u32, why: &Arc<str>) -> Vec<Answer> {
        let file = self.shared.file();
        let judged = answers.into_iter().map(|answer| match answer {
            Ok(position) if position.offset() >= first => {
                let found = file.as_ref().map(|file| file.tag_at(position.offset()));
                match found {
                    Some(Ok(Some(found))) if found == tag => Ok(position),
                    _ if planted("acknowledged-though-unknown") => Ok(position),
                    Some(Ok(_)) => Err(refused(Arc::clone(why))),
                    _ => Err(AppendError::Unknown),
                }
            }
            answer => answer,
        });
        judged.collect()
    }

    fn adopt(&mut self, latest: &Latest) -> Result<(), Arc<str>> {
        if let Err(why) = &self.open {
            return Err(Arc::clone(why));
        }
        let adopted = self.shared.file().as_ref().map(|file| file.adopt(latest));
        match adopted {
            Some(Err(fault)) => {
                self.reopen(fault.words());
                Err(fault.words())
            }
            _ => Ok(()),
        }
    }

    /// When there is something to do, whether or not it is asked for.
    fn due(&self) -> Option<Instant> {
        let Ok(open) = &self.open else {
            return Some(self.tried + PAUSE);
        };
        let sync = match self.config.fsync {
            Fsync::Every(interval) => open.pending.and_then(|since| since.checked_add(interval)),
            Fsync::Always => None,
        };
        let tidy = self.config.retention.age.map(|_| self.tidied + TIDY);
        sync.into_iter().chain(tidy).min()
    }

    fn keep_up(&mut self) {
        let now = Instant::now();
        if self.open.is_err() {
            if now.saturating_duration_since(self.tried) >= PAUSE {
                self.reopen("it was closed".into());
            }
            return;
        }
        let kept = self.sync_if_due(now).and_then(|()| self.tidy_if_due(now));
        if let Err(fault) = kept {
            self.reopen(fault.words());
        }
    }

    fn sync_if_due(&mut self, now: Instant) -> Result<(), Fault> {
        let (Ok(open), Fsync::Every(interval)) = (&mut self.open, self.config.fsync) else {
            return Ok(());
        };
        let has_waited = open
            .pending
            .is_some_and(|since| now.saturating_duration_since(since) >= interval);
        let is_long = open
            .journal
            .as_ref()
            .is_some_and(|journal| journal.len() > LONG_JOURNAL);
        match &*self.shared.file() {
            Some(file) if has_waited || is_long => open.sync(file),
            _ => Ok(()),
        }
    }

    fn tidy_if_due(&mut self, now: Instant) -> Result<(), Fault> {
        let retention = self.config.retention;
        let (Ok(open), Some(_)) = (&mut self.open, retention.age) else {
            return Ok(());
        };
        if now.saturating_duration_since(self.tidied) < TIDY {
            return Ok(());
        }
        self.tidied = now;
        if let Some(file) = &*self.shared.file()
            && file.is_over(open.state, &retention)?
        {
            open.state = file.store(&[], open.state, &retention, None, Durability::Immediate)?;
            tell(&self.window, Ok(file.window(open.state)));
        }
        Ok(())
    }

    /// Closes the file, for this reason, and opens it again. Readers wait meanwhile.
    fn reopen(&mut self, why: Arc<str>) {
        let open = std::mem::replace(&mut self.open, Err(why));
        self.tried = Instant::now();
        let shared = Arc::clone(&self.shared);
        let mut file = shared.file.write().unwrap_or_else(PoisonError::into_inner);
        // What was read of it may be gone now: who reads has to look.
        shared.opened.fetch_add(1, Ordering::Release);
        if let Some(file) = file.take() {
            // It has failed already; what else it says does not matter.
            let _ = contained(|| Ok(file.db.close()?));
        }
        if let Ok(open) = open {
            // Closing makes it durable, too, or does not.
            self.is_doubtful |= open.trouble.is_doubtful();
        }
        match self.open_again() {
            Ok((opened, open)) => {
                tell(&self.window, Ok(opened.window(open.state)));
                *file = Some(opened);
                self.open = Ok(open);
            }
            Err(fault) => {
                tell(&self.window, Err(fault.words()));
                self.open = Err(fault.words());
            }
        }
    }

    fn open_again(&mut self) -> Result<(LogFile, Open), Fault> {
        if self.is_doubtful {
            match open::rewrite(&self.directory) {
                // What is whole is copied to another file when it is opened.
                Ok(()) | Err(Fault::Broken(_)) => {}
                Err(fault) => return Err(fault),
            }
        }
        let (file, open, _) = open(&self.directory, &self.config)?;
        self.is_doubtful = false;
        Ok((file, open))
    }

    fn end(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut file = shared.file.write().unwrap_or_else(PoisonError::into_inner);
        if let (Some(file), Ok(open)) = (file.take(), &mut self.open) {
            // What is not durable is in the journal, and is read from there.
            let _ = match open.pending {
                Some(_) => open.sync(&file),
                None => Ok(()),
            };
            let _ = contained(|| Ok(file.db.close()?));
        }
    }
}

fn tell(to: &watch::Sender<Known>, window: Known) {
    drop(to.send_replace(window));
}

/// Opens the log, and says where the file is that had to be set aside.
fn open(directory: &Directory, config: &Config) -> Result<(LogFile, Open, Option<PathBuf>), Fault> {
    let opened = open::open(directory, config.recover)?;
    let set_aside = opened.set_aside.clone();
    let prepared = prepare(directory, config, opened, Durability::Immediate);
    let (file, open) = match (prepared, config.fsync) {
        // There is no room for what the journal holds. It stays there, and can be read.
        (Err(Fault::Io(_)), Fsync::Every(_)) => {
            let opened = open::open(directory, config.recover)?;
            prepare(directory, config, opened, Durability::None)?
        }
        (prepared, _) => prepared?,
    };
    Ok((file, open, set_aside))
}

/// Takes over a log that has just been opened, and what its journal holds.
fn prepare(
    directory: &Directory,
    config: &Config,
    opened: Opened,
    durability: Durability,
) -> Result<(LogFile, Open), Fault> {
    let Opened {
        file,
        mut state,
        trouble,
        ..
    } = opened;
    let mut journal = Journal::open(&directory.journal())?;
    let entries = journal.entries(file.epoch, state.next)?;
    if !entries.is_empty() || file.is_over(state, &config.retention)? {
        state = file.store(&entries, state, &config.retention, None, durability)?;
    }
    let is_durable = matches!(durability, Durability::Immediate);
    if is_durable && journal.len() > 0 {
        journal.clear()?;
    }
    let mut once = Once::new(config.once);
    file.keys(state.next, &mut once)?;
    let last = file.tag_at(state.next.saturating_sub(1))?;
    let mut tag = getrandom::u32().unwrap_or_else(|_| RandomState::new().hash_one(()) as u32);
    if last == Some(tag) {
        tag = tag.wrapping_add(1);
    }
    let is_needed = matches!(config.fsync, Fsync::Every(_));
    let open = Open {
        state,
        tag,
        once,
        forget: None,
        trouble,
        journal: is_needed.then_some(journal),
        pending: (!is_durable).then(|| Instant::now() + PAUSE),
    };
    Ok((file, open))
}

impl Open {
    /// Gives each event its place, unless it has one by its key.
    fn plan(&mut self, epoch: u64, drafts: Vec<Draft>, config: &Config) -> Plan {
        let time = record::now();
        self.forget = self.once.forget().or(self.forget);
        let mut next = self.state.next;
        let mut plan = Plan {
            answers: Vec::with_capacity(drafts.len()),
            entries: Vec::with_capacity(drafts.len()),
        };
        let mut keys = HashMap::<Arc<str>, Position>::new();
        for draft in drafts {
            let stored = draft
                .key
                .as_deref()
                .and_then(|key| keys.get(key).copied().or_else(|| self.once.get(key)));
            if let Some(stored) = stored.filter(|_| !planted("stored-twice")) {
                plan.answers.push(Ok(stored));
                continue;
            }
            if let Err(error) = draft.fits(config.retention.bytes) {
                plan.answers.push(Err(error));
                continue;
            }
            let position = Position::tagged(epoch, next, self.tag);
            if let Some(key) = &draft.key {
                keys.insert(Arc::clone(key), position);
            }
            plan.entries.push(Entry {
                offset: next,
                latest: draft.is_latest.then(|| draft.topic.clone()),
                key: draft.key.clone(),
                record: draft.stamp(epoch, next, self.tag, time),
            });
            plan.answers.push(Ok(position));
            next = next.saturating_add(1);
        }
        plan
    }

    /// Stores these as durably as it was asked for.
    fn store(&mut self, file: &LogFile, entries: Vec<Entry>, config: &Config) -> Result<(), Fault> {
        let durability = match &mut self.journal {
            None if planted("ack-before-fsync") => Durability::None,
            None => Durability::Immediate,
            Some(journal) => {
                if !planted("ack-before-append") {
                    journal.append(file.epoch, &entries)?;
                }
                self.pending.get_or_insert_with(Instant::now);
                Durability::None
            }
        };
        let (retention, forget) = (&config.retention, self.forget);
        self.state = file.store(&entries, self.state, retention, forget, durability)?;
        self.forget = None;
        for entry in entries {
            if let Some(key) = entry.key {
                let position = Position::tagged(file.epoch, entry.offset, self.tag);
                self.once.insert(key, position);
            }
        }
        Ok(())
    }

    fn sync(&mut self, file: &LogFile) -> Result<(), Fault> {
        file.sync()?;
        self.pending = None;
        match &mut self.journal {
            Some(journal) => Ok(journal.clear()?),
            None => Ok(()),
        }
    }
}
