//! The files of a log, and the directory in which they are.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use super::error::Fault;

/// A process that is just ending may still hold the log for so long.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(50)];

/// How a file becomes what redb writes to: another way in tests alone.
pub(super) type Opener = Arc<dyn Fn(File) -> Result<Box<dyn StorageBackend>, Fault> + Send + Sync>;

pub(super) fn opener() -> Opener {
    Arc::new(|file| Ok(Box::new(FileBackend::new(file)?)))
}

/// A directory that is ours alone as long as this lives.
pub(super) struct Directory {
    path: PathBuf,
    opener: Opener,
    _lock: File,
}

impl Directory {
    pub(super) fn open(path: PathBuf, opener: Opener) -> Result<Self, Fault> {
        if !path.is_dir() {
            fs::create_dir_all(&path)?;
            if let Some(parent) = path.parent() {
                sync_directory(parent)?;
            }
        }
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join("lock"))?;
        let begin = Instant::now();
        let [mut pause, longest] = PAUSES;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if begin.elapsed() < PATIENCE => {
                    thread::sleep(pause);
                    pause = longest.min(pause * 2);
                }
                Err(TryLockError::WouldBlock) => return Err(Fault::InUse),
                // Where there are no such locks redb's own have to do.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                    break;
                }
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
        }
        Ok(Self {
            path,
            opener,
            _lock: lock,
        })
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("log.redb")
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// What is being made, until it is whole.
    pub(super) fn draft(&self) -> PathBuf {
        self.path.join("log.redb.new")
    }

    /// What to write to, and read from, instead of this file.
    pub(super) fn backend(&self, path: &Path, is_new: bool) -> Result<Disk, Fault> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(is_new)
            .truncate(is_new)
            .open(path)?;
        Ok(Disk {
            backend: (self.opener)(file)?,
            trouble: Trouble::default(),
        })
    }

    /// Gives the file that is in the place of the log another name, and returns that.
    pub(super) fn set_aside(&self) -> Result<PathBuf, Fault> {
        let mut n = 1u64;
        let aside = loop {
            let aside = self.path.join(format!("log.redb.broken-{n}"));
            if !aside.try_exists()? {
                break aside;
            }
            n += 1;
        };
        // Linked first, so that there is a log at every moment.
        if fs::hard_link(self.log(), &aside).is_err() {
            fs::rename(self.log(), &aside)?;
        }
        self.sync()?;
        Ok(aside)
    }

    /// Puts what has been made, and is closed, in the place of the log.
    pub(super) fn publish(&self) -> Result<(), Fault> {
        File::open(self.draft())?.sync_all()?;
        fs::rename(self.draft(), self.log())?;
        self.sync()
    }

    pub(super) fn remove(&self, path: &Path) -> Result<(), Fault> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    pub(super) fn sync(&self) -> Result<(), Fault> {
        Ok(sync_directory(&self.path)?)
    }
}

/// A name is durable when its directory is.
#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    File::open(path)?.sync_all()
}

/// Nothing can be done for it here.
#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

/// A file that remembers what the system has refused.
pub(super) struct Disk {
    backend: Box<dyn StorageBackend>,
    trouble: Trouble,
}

/// What the system has refused to do with a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble(Arc<Refused>);

#[derive(Debug, Default)]
struct Refused {
    anything: OnceLock<()>,
    durability: OnceLock<()>,
}

impl Trouble {
    /// Whether the file could not be made durable: what it holds in memory and what is on
    /// the disk are two things from then on, and no later success of the same call says
    /// otherwise.
    pub(super) fn is_doubtful(&self) -> bool {
        self.0.durability.get().is_some()
    }

    /// What redb could not read although the system refused nothing is not in the file.
    pub(super) fn judge(&self, fault: Fault) -> Fault {
        match fault {
            Fault::Io(error) if self.0.anything.get().is_none() => Fault::broken(error.to_string()),
            fault => fault,
        }
    }

    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        if let Err(error) = &result
            && !matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
        {
            let _ = self.0.anything.set(());
        }
        result
    }
}

impl Disk {
    pub(super) fn trouble(&self) -> Trouble {
        self.trouble.clone()
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").finish_non_exhaustive()
    }
}

type Lock = Result<bool, BackendError>;

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.trouble.note(self.backend.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.trouble.note(self.backend.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.trouble.note(self.backend.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        let synced = self.trouble.note(self.backend.sync_data());
        if synced.is_err() {
            let _ = self.trouble.0.durability.set(());
        }
        synced
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.trouble.note(self.backend.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.backend.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Lock {
        self.backend.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Lock {
        self.backend.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Lock {
        self.backend.query_lock_range(start, end)
    }
}
