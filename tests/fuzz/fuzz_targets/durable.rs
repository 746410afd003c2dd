//! A log in a file that has been damaged, whose journal has been damaged, or that is no log:
//! opening it is an error that says so, or what is read is what was stored, as far as it goes.
#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use tornadose::backplane::{
    Append, Backplane, Content, Durable, DurableBuilder, DurableError, Fsync, Latest, Record,
};
use tornadose::{Event, Position};
use tornadose_fuzz::Input;

fuzz_target!(init: contain(), |bytes: &[u8]| run(&mut Input::new(bytes)));

/// What redb panics with on a damaged file is contained by the library, so it ends nothing.
fn contain() {
    let abort = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let is_redb = info
            .location()
            .is_some_and(|at| at.file().contains("/redb-"));
        if !is_redb {
            abort(info);
        }
    }));
    LOG.get_or_init(|| runtime().block_on(image()));
}

/// The files of a log that was killed: the first events are in the log, the rest of them in
/// the journal.
struct Image {
    log: Vec<u8>,
    journal: Vec<u8>,
    epoch: u64,
    stored: BTreeMap<u64, (Position, Event)>,
    /// The first offset that is in the journal alone.
    behind: u64,
}

static LOG: OnceLock<Image> = OnceLock::new();

async fn image() -> Image {
    let directory = Directory::new();
    let mut stored = BTreeMap::new();
    let mut log = Vec::new();
    for round in 0..2_u64 {
        // Opened again, the journal is empty and what was in it is in the log.
        let engine = directory.open(false).await.expect("a log");
        log = fs::read(directory.0.join("log.redb")).expect("a file");
        for n in 0..12 {
            let event = Event::new(format!("{round} {}", "x".repeat(n * 30)));
            let append = Append::new("t".parse().expect("a topic"), event.clone());
            let append = if n % 3 == 0 { append.latest() } else { append };
            let answer = engine.append(&[append]).await.remove(0).expect("stored");
            stored.insert(answer.offset(), (answer, event));
        }
        if round == 1 {
            let window = engine
                .open(&Latest::of([]))
                .await
                .expect("a reading")
                .window()
                .await;
            let journal = fs::read(directory.0.join("journal")).expect("a journal");
            assert!(!journal.is_empty());
            let epoch = window.expect("a window").epoch;
            return Image {
                log,
                journal,
                epoch,
                stored,
                behind: 13,
            };
        }
        drop(engine);
        directory.until_closed();
    }
    unreachable!("there are two rounds: {}", log.len())
}

fn run(input: &mut Input<'_>) {
    let image = LOG.get().expect("made before");
    let (mut log, mut journal) = (image.log.clone(), image.journal.clone());
    let is_trusted = match input.below(4) {
        0 => {
            log = input.rest().to_vec();
            true
        }
        1 => {
            log.truncate(input.number() as usize % log.len());
            journal.truncate(input.number() as usize % journal.len());
            true
        }
        2 => {
            while !input.is_empty() {
                let file = if input.flag() { &mut journal } else { &mut log };
                patch(file, input);
            }
            true
        }
        _ => {
            while !input.is_empty() {
                patch(&mut journal, input);
            }
            seal(&mut journal, image.epoch);
            false
        }
    };
    let directory = Directory::new();
    fs::write(directory.0.join("log.redb"), &log).expect("a file");
    fs::write(directory.0.join("journal"), &journal).expect("a file");
    runtime().block_on(judge(image, &directory, log.is_empty(), is_trusted));
}

fn patch(file: &mut [u8], input: &mut Input<'_>) {
    let at = input.number() as usize % file.len();
    let part = input.part();
    file[at..]
        .iter_mut()
        .zip(part)
        .for_each(|(to, from)| *to ^= from);
}

/// Puts the checksums right of what the journal is made of.
fn seal(mut journal: &mut [u8], epoch: u64) {
    while let Some((head, rest)) = journal.split_first_chunk_mut::<16>() {
        let [len, crc, offset @ ..] = head.as_chunks_mut::<4>().0 else {
            return;
        };
        let len = u32::from_le_bytes(*len) as usize;
        let Some((body, behind)) = rest.split_at_mut_checked(len) else {
            return;
        };
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&epoch.to_le_bytes());
        hasher.update(offset.as_flattened());
        hasher.update(body);
        *crc = hasher.finalize().to_le_bytes();
        journal = behind;
    }
}

async fn judge(image: &Image, directory: &Directory, is_new: bool, is_trusted: bool) {
    let engine = match directory.open(false).await {
        Ok(engine) => engine,
        Err(DurableError::Broken(_) | DurableError::Format(_)) => {
            let again = directory.open(true).await.expect("a new log in its place");
            assert!(again.set_aside().is_some());
            return;
        }
        Err(error) => panic!("{error:?}"),
    };
    let mut reading = engine.open(&Latest::of([])).await.expect("a reading");
    let window = reading.window().await.expect("a window");
    assert!(is_new || window.epoch == image.epoch, "the same log");
    let (mut next, mut records) = (0, Vec::<Record>::new());
    loop {
        let read = reading.read(next, 1000).await.expect("records");
        let Some(last) = read.last() else { break };
        next = last.position.offset() + 1;
        records.extend(read);
    }
    for record in &records {
        let offset = record.position.offset();
        assert!((window.oldest..window.next).contains(&offset));
        if !is_trusted && offset >= image.behind {
            continue;
        }
        match &record.content {
            Content::Event(_, event) => {
                let stored = image.stored.get(&offset).map(|(at, event)| (*at, event));
                assert_eq!(stored, Some((record.position, event)));
            }
            other => assert!(matches!(other, Content::Corrupt(_))),
        }
    }
    let event = Append::new("t".parse().expect("a topic"), Event::new("next"));
    let answer = engine.append(&[event]).await.remove(0).expect("stored");
    assert_eq!(answer.offset(), window.next);
}

fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime")
}

/// A directory that is gone afterwards.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tornadose-fuzz-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn builder(&self) -> DurableBuilder {
        Durable::builder(&self.0).fsync(Fsync::Every(Duration::from_secs(3600)))
    }

    async fn open(&self, recover: bool) -> Result<Durable, DurableError> {
        self.builder().recover(recover).open().await
    }

    fn until_closed(&self) {
        let lock: &Path = &self.0.join("lock");
        fs::File::open(lock)
            .expect("a lock")
            .lock()
            .expect("let go of");
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
