//! Disks that fail: they refuse to write, they cannot make durable, they lose their power.

mod power;
mod refusal;

use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use super::disk::Opener;
use super::{Durable, DurableBuilder};
use crate::backplane::{Append, Backplane, Content, Latest, Reading};
use crate::{Event, Position};

/// A directory that is gone afterwards.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tornadose-disk-{}-{count}", std::process::id());
        let shared = Path::new("/dev/shm");
        let base = if shared.is_dir() {
            shared.to_owned()
        } else {
            std::env::temp_dir()
        };
        let path = base.join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn builder(&self) -> DurableBuilder {
        Durable::builder(&self.0)
    }

    fn file(&self) -> PathBuf {
        self.0.join("log.redb")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl DurableBuilder {
    fn on(mut self, disk: &Arc<Faulty>) -> Self {
        self.config.opener = disk.opener();
        self
    }
}

fn event(data: impl Into<String>) -> Append {
    Append::new("t".parse().expect("a topic"), Event::new(data))
}

async fn reading(engine: &Durable) -> Box<dyn Reading> {
    engine.open(&Latest::of([])).await.expect("a reading")
}

/// The positions and data of everything that is retained.
async fn all(engine: &Durable) -> Vec<(Position, String)> {
    let mut reading = reading(engine).await;
    let records = reading.read(0, usize::MAX).await.expect("records");
    let events = records.into_iter().map(|record| match record.content {
        Content::Event(_, event) => (record.position, event.into_data()),
        other => panic!("{other:?}"),
    });
    events.collect()
}

/// What was asked of a disk, in its order.
#[derive(Clone, Debug)]
enum Step {
    Write(u64, Vec<u8>),
    Len(u64),
    Sync,
}

/// A disk that does what it is told, and writes down what it was asked for.
#[derive(Debug, Default)]
struct Faulty {
    /// What it answers from now on to writing, if not success.
    write: Mutex<Option<io::ErrorKind>>,
    /// And to making durable, and how often.
    sync: Mutex<Option<(io::ErrorKind, usize)>>,
    /// What the file that was opened last held then, and what has been done to it.
    image: Mutex<Vec<u8>>,
    steps: Mutex<Vec<Step>>,
}

impl Faulty {
    fn opener(self: &Arc<Self>) -> Opener {
        let disk = Arc::clone(self);
        Arc::new(move |mut file| {
            let mut image = Vec::new();
            io::Read::read_to_end(&mut file, &mut image)?;
            *disk.image.lock().expect("a disk") = image;
            disk.steps.lock().expect("a disk").clear();
            let disk = Arc::clone(&disk);
            let file = FileBackend::new(file)?;
            Ok(Box::new(Backend { disk, file }))
        })
    }

    fn may_write(&self) -> io::Result<()> {
        match *self.write.lock().expect("a disk") {
            Some(kind) => Err(kind.into()),
            None => Ok(()),
        }
    }

    fn did(&self, step: Step) {
        self.steps.lock().expect("a disk").push(step);
    }
}

#[derive(Debug)]
struct Backend {
    disk: Arc<Faulty>,
    file: FileBackend,
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.may_write()?;
        self.disk.did(Step::Len(len));
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut sync = self.disk.sync.lock().expect("a disk");
        if let Some((kind, times)) = *sync {
            *sync = (times > 1).then_some((kind, times - 1));
            return Err(kind.into());
        }
        self.disk.did(Step::Sync);
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.may_write()?;
        self.disk.did(Step::Write(offset, data.to_vec()));
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }
}
