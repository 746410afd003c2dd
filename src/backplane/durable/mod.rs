//! A log in a file, without any server: it outlives the process, and so do its ids.
//!
//! One process has the file. In it, one thread writes: whatever waits when it comes around
//! is stored in one change and made durable once, so a submit costs less the more there are.
//! Reading and writing never happen on a thread of the runtime.
//!
//! `docs/durable.md` says how it is configured, what it promises and how it fails.

mod disk;
mod error;
mod file;
#[cfg(fuzzing)]
pub mod fuzzing;
mod journal;
mod once;
mod open;
mod reading;
mod record;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use self::disk::Opener;
pub use self::error::DurableError;
use self::file::LogFile;
use self::reading::FileReading;
use self::record::Draft;
use self::writer::{Answer, Job, Writer};
use crate::backplane::{Append, AppendError, Backplane, BackplaneError, Latest, Reading, Window};
use crate::log::Retention;
use crate::position::Position;

/// A disk that has not answered for so long is away.
const PATIENCE: Duration = Duration::from_secs(10);

/// So many batches wait for the disk at most.
const MOST_WAITING: usize = 1024;

/// A log in a directory of its own, for one process at a time.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use tornadose::Retention;
/// use tornadose::backplane::Durable;
///
/// let engine = Durable::builder("/var/lib/app/events")
///     .retention(Retention::new().events(10_000).bytes(16 << 20))
///     .open()
///     .await?;
/// # Ok(())
/// # }
/// ```
///
/// It is closed when it and everything that reads it is dropped: by a thread, so a moment
/// later. Reading needs a runtime of tokio with its time.
pub struct Durable {
    jobs: SyncSender<Job>,
    shared: Arc<Shared>,
}

impl Durable {
    /// How the log in this directory is opened. The directory is made if it is missing.
    pub fn builder(directory: impl Into<PathBuf>) -> DurableBuilder {
        DurableBuilder {
            config: Config {
                path: directory.into(),
                fsync: Fsync::Always,
                retention: Retention::new().events(100_000).bytes(64 << 20),
                once: Duration::from_secs(120),
                recover: false,
                opener: disk::opener(),
            },
        }
    }

    /// Where the file is that was set aside on opening because it was damaged, if it was.
    /// What could be read of it is in the log; of the rest clients are told a gap.
    #[must_use]
    pub fn set_aside(&self) -> Option<&Path> {
        self.shared.set_aside.as_deref()
    }
}

impl fmt::Debug for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Durable").finish_non_exhaustive()
    }
}

/// When an event is durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fsync {
    /// Before it is acknowledged. An acknowledged event survives the end of the process,
    /// also by `kill -9`, and of the system and its power, as far as the disk keeps what it
    /// says. Costs one `fdatasync` for all events that wait together. The default.
    #[default]
    Always,

    /// At the latest so long after it was acknowledged. An acknowledged event survives the
    /// end of the process, also by `kill -9`. When the system or its power ends, the events
    /// of the last interval may be lost: the newest, never some between others, and clients
    /// that had them are told. Costs one more write of each event, to a journal.
    Every(Duration),
}

/// How a [`Durable`] is opened.
#[derive(Clone)]
#[must_use = "a builder does nothing until its log is opened"]
pub struct DurableBuilder {
    config: Config,
}

#[derive(Clone)]
struct Config {
    path: PathBuf,
    fsync: Fsync,
    retention: Retention,
    once: Duration,
    recover: bool,
    opener: Opener,
}

impl DurableBuilder {
    /// When an event is durable. Default: [`Fsync::Always`].
    pub fn fsync(mut self, fsync: Fsync) -> Self {
        self.config.fsync = fsync;
        self
    }

    /// What the log keeps. Default: 100,000 events, 64 MiB, of any age.
    ///
    /// The newest event is kept in any case, and so is the newest of each latest-value
    /// topic. Counted are the events as the file keeps them, and
    /// [128 bytes](Retention::BYTES_PER_EVENT) for each; age is counted on the wall clock,
    /// and looked after with each submit and every 10 seconds. The file may be about twice
    /// as large, and does not become smaller.
    pub fn retention(mut self, retention: Retention) -> Self {
        self.config.retention = retention;
        self
    }

    /// For how long a [key](crate::Event::once) is remembered, also through a restart.
    /// Default: 2 minutes. At most 262,144 keys are, of up to 512 bytes.
    pub fn once_for(mut self, window: Duration) -> Self {
        self.config.once = window;
        self
    }

    /// Whether a file of which nothing can be read is set aside, as `log.redb.broken-1` or
    /// the next number that is free, and a new log made, whose clients are told that
    /// everything is gone. Default: no, opening it is an error.
    ///
    /// A file of which something can be read is opened in any case: what is whole is kept,
    /// and the file is set aside.
    pub fn recover(mut self, recover: bool) -> Self {
        self.config.recover = recover;
        self
    }

    /// Opens the log, or makes it. If it is in use, it waits for 2 seconds for the process
    /// that has it to end.
    ///
    /// Takes the time of reading the whole file: some 10 ms for 10 MB.
    ///
    /// # Errors
    ///
    /// [`DurableError`] says why it cannot be opened.
    pub async fn open(self) -> Result<Durable, DurableError> {
        let (jobs, waiting) = sync_channel(MOST_WAITING);
        let (opened, is_open) = oneshot::channel();
        let run = move || match Writer::new(self.config) {
            Ok((writer, shared)) => {
                let _ = opened.send(Ok(shared));
                writer.run(&waiting);
            }
            Err(fault) => {
                let _ = opened.send(Err(fault));
            }
        };
        thread::Builder::new()
            .name("tornadose-durable".to_owned())
            .spawn(run)
            .map_err(DurableError::Io)?;
        match is_open.await {
            Ok(shared) => Ok(Durable {
                jobs,
                shared: shared?,
            }),
            Err(_) => Err(DurableError::Broken("it cannot be opened".into())),
        }
    }
}

impl fmt::Debug for DurableBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableBuilder")
            .field("fsync", &self.config.fsync)
            .field("retention", &self.config.retention)
            .field("once_for", &self.config.once)
            .field("recover", &self.config.recover)
            .finish_non_exhaustive()
    }
}

/// What the log holds, or why it is closed.
type Known = Result<Window, Arc<str>>;

/// What the thread that writes and those that read have in common.
struct Shared {
    /// Nothing while it is closed.
    file: RwLock<Option<LogFile>>,
    window: watch::Receiver<Known>,
    /// How often it has been opened again. Raised while `file` is locked for writing.
    opened: AtomicU64,
    set_aside: Option<PathBuf>,
}

impl Shared {
    fn file(&self) -> RwLockReadGuard<'_, Option<LogFile>> {
        self.file.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Backplane for Durable {
    async fn append(&self, events: &[Append]) -> Vec<Result<Position, AppendError>> {
        let mut refused = Vec::new();
        let mut drafts = Vec::with_capacity(events.len());
        for (at, event) in events.iter().enumerate() {
            match Draft::of(event) {
                Ok(draft) => drafts.push(draft),
                Err(error) => refused.push((at, error)),
            }
        }
        let mut answers = self.store(drafts).await;
        for (at, error) in refused {
            answers.insert(at.min(answers.len()), Err(error));
        }
        answers
    }

    async fn open(&self, latest: &Latest) -> Result<Box<dyn Reading>, BackplaneError> {
        let (answer, adopted) = oneshot::channel();
        let job = Job::Adopt(latest.clone(), answer);
        self.jobs
            .try_send(job)
            .map_err(|_| reading::error("the disk does not answer"))?;
        match timeout(PATIENCE, adopted).await {
            Ok(Ok(Ok(()))) => Ok(Box::new(FileReading::new(self, latest))),
            Ok(Ok(Err(why))) => Err(reading::error(why)),
            Ok(Err(_)) => Err(reading::error("the log is closed")),
            Err(_) => Err(reading::error("the disk does not answer")),
        }
    }

    fn name(&self) -> &'static str {
        "durable"
    }
}

impl Durable {
    async fn store(&self, drafts: Vec<Draft>) -> Vec<Answer> {
        let count = drafts.len();
        let all = |error: AppendError| vec![Err(error); count];
        if count == 0 {
            return Vec::new();
        }
        let (answer, answered) = oneshot::channel();
        match self.jobs.try_send(Job::Append(drafts, answer)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                return all(AppendError::Unavailable);
            }
        }
        match timeout(PATIENCE, answered).await {
            Ok(Ok(answers)) => answers,
            Ok(Err(_)) | Err(_) => all(AppendError::Unknown),
        }
    }
}
