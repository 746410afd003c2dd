//! Files that are torn or damaged: what is whole is kept, and nothing is invented.
//!
//! So many bits are flipped: `TORNADOSE_DURABLE_FLIPS`, 400 by default; and a file is cut at
//! every so many bytes: `TORNADOSE_DURABLE_CUTS`, 499 by default. For a long run, which wants
//! `--release`: 100,000 and 1.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::timeout;
use tornadose::backplane::{Append, Backplane, Content, DurableError, Latest, Record};
use tornadose::{Event, Position};

use crate::support::*;

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// What redb panics with on a damaged file is contained, and need not be printed.
fn count_panics() {
    static SET: Once = Once::new();
    SET.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let thread = std::thread::current();
            let is_contained = info
                .location()
                .is_some_and(|location| location.file().contains("redb"));
            if is_contained
                && thread
                    .name()
                    .is_some_and(|name| name.contains("tornadose") || name.contains("tokio"))
            {
                PANICS.fetch_add(1, Ordering::Relaxed);
            } else {
                print(info);
            }
        }));
    });
}

/// A log, and what was stored in it.
struct Image {
    bytes: Vec<u8>,
    stored: BTreeMap<u64, (Position, String, String)>,
    epoch: u64,
    oldest: u64,
    next: u64,
}

/// A log of many small events and some that need a page of their own, from which the oldest
/// have been let go of already. `is_killed`: as it is left behind by a process that dies.
async fn image(is_killed: bool, batches: u64, large: usize) -> Image {
    let directory = Directory::new();
    let retention = tornadose::Retention::new().events(batches as usize * 6);
    let engine = directory
        .builder()
        .retention(retention)
        .open()
        .await
        .expect("a log");
    let mut stored = BTreeMap::new();
    for batch in 0..batches {
        let events: Vec<_> = (0..8)
            .map(|n| {
                let name = format!("t/{}", n % 3);
                let data = format!(
                    "{batch} {n} {}",
                    "x".repeat(if n == 0 { large } else { 20 * n })
                );
                let event = Event::new(data).once(format!("key {batch} {n}"));
                let append = Append::new(topic(&name), event);
                if n % 3 == 0 { append.latest() } else { append }
            })
            .collect();
        for (position, append) in append(&engine, &events).await.into_iter().zip(events) {
            let (topic, data) = (append.topic.as_str().to_owned(), append.event.into_data());
            stored.insert(position.offset(), (position, topic, data));
        }
    }
    let window = reading(&engine).await.window().await.expect("a window");
    let (oldest, next) = (batches * 2 + 1, batches * 8 + 1);
    assert_eq!((window.oldest, window.next), (oldest, next));
    if !is_killed {
        drop(engine);
        // It is closed when nobody has it any more.
        while std::fs::File::open(directory.path().join("lock"))
            .expect("a lock")
            .try_lock()
            .is_err()
        {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
    let bytes = std::fs::read(directory.file()).expect("a file");
    Image {
        bytes,
        stored,
        epoch: window.epoch,
        oldest,
        next,
    }
}

/// What has become of a damaged file.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    refused: usize,
    whole: usize,
    undone: usize,
    damaged: usize,
    events: usize,
    corrupt: usize,
}

impl Image {
    fn check(&self, record: &Record) -> bool {
        match &record.content {
            Content::Event(topic, event) => {
                let stored = self
                    .stored
                    .get(&record.position.offset())
                    .expect("submitted");
                let is = (record.position, topic.as_str(), event.data());
                assert_eq!(is, (stored.0, stored.1.as_str(), stored.2.as_str()));
                true
            }
            Content::Corrupt(_) => false,
            other => panic!("{other:?}"),
        }
    }

    /// Opens this instead of the file, and looks at everything.
    async fn judge(&self, directory: &Directory, bytes: &[u8], tally: &mut Tally) {
        clear(directory.path());
        std::fs::write(directory.file(), bytes).expect("a file");
        let opened = timeout(PATIENCE, directory.builder().open()).await;
        let engine = match opened.expect("an end") {
            Ok(engine) => engine,
            Err(DurableError::Broken(_) | DurableError::Format(_)) => {
                tally.refused += 1;
                // It is still there, but for what a repair has tried with its head.
                let now = std::fs::read(directory.file()).expect("a file");
                assert_eq!(now.len(), bytes.len());
                assert!(now.iter().skip(4096).eq(bytes.iter().skip(4096)));
                return;
            }
            Err(error) => panic!("{error:?}"),
        };
        let mut reading = reading_latest(&engine, &["t/0"]).await;
        let window = reading.window().await.expect("a window");
        let records = all(&mut reading).await;
        let is_new = bytes.is_empty();
        assert!(is_new || window.epoch == self.epoch, "the same log");
        // If the head is damaged the change before the last one may be what is found.
        let is_undone = engine.set_aside().is_none() && window.next + 8 == self.next;
        // If not even the first event can be read there is none.
        let is_none = window.oldest == window.next;
        assert!(
            is_new || is_none || window.oldest + 8 >= self.oldest,
            "{window:?}"
        );
        assert!(window.next <= self.next);
        let events = records.iter().filter(|record| self.check(record)).count();
        tally.events += events;
        tally.corrupt += records.len() - events;
        if is_undone {
            tally.undone += 1;
        } else if events as u64 == self.next - self.oldest && window.next == self.next {
            tally.whole += 1;
        } else {
            tally.damaged += 1;
            assert!(is_new || engine.set_aside().is_some());
        }
        for record in reading.latest().await.expect("records") {
            self.check(&record);
        }
        // What comes next is stored behind that, under another tag.
        let answer = engine.append(&[event("next")]).await.remove(0);
        let position = answer.expect("stored");
        assert_eq!(position.offset(), window.next);
        assert!(self.stored.values().all(|(stored, ..)| *stored != position));
        let records = reading.read(position.offset(), 9).await.expect("records");
        assert_eq!(texts(&records), [(position.offset(), "next")]);
    }
}

fn clear(path: &Path) {
    for entry in std::fs::read_dir(path).expect("a directory") {
        let path = entry.expect("an entry").path();
        if !path.ends_with("lock") {
            std::fs::remove_file(path).expect("to remove");
        }
    }
}

#[tokio::test]
async fn flipped_bits() {
    count_panics();
    let flips = times("TORNADOSE_DURABLE_FLIPS", 400);
    let directory = Directory::new();
    let mut random = fastrand::Rng::new();
    for is_killed in [false, true] {
        let image = image(is_killed, 25, 5000).await;
        let mut tally = Tally::default();
        for flip in 0..flips / 2 {
            let mut bytes = image.bytes.clone();
            let at = random.usize(..bytes.len());
            bytes[at] ^= 1 << random.u32(..8);
            if flip % 1000 == 999 {
                println!("{flip} {tally:?}");
            }
            image.judge(&directory, &bytes, &mut tally).await;
        }
        println!(
            "killed {is_killed}: {} bytes, {tally:?}, {PANICS:?} panics",
            image.bytes.len()
        );
    }
}

#[tokio::test]
async fn cut_files() {
    count_panics();
    let step = times("TORNADOSE_DURABLE_CUTS", 499);
    let directory = Directory::new();
    for is_killed in [false, true] {
        let image = image(is_killed, 3, 0).await;
        let mut tally = Tally::default();
        // What a process leaves behind is mostly empty.
        let step = if is_killed { 16 * step } else { step };
        for len in (0..image.bytes.len()).step_by(step) {
            image
                .judge(&directory, &image.bytes[..len], &mut tally)
                .await;
        }
        image.judge(&directory, &image.bytes, &mut tally).await;
        println!(
            "killed {is_killed}: {} bytes, {tally:?}, {PANICS:?} panics",
            image.bytes.len()
        );
        assert!(tally.whole >= 1, "the whole file");
    }
}

/// The file is damaged while it is open: by no more than what is in the memory of redb it is
/// not seen; what is seen is told, closes the log, and nothing is invented.
#[cfg(unix)]
#[tokio::test]
async fn damaged_while_it_is_open() {
    count_panics();
    for recover in [false, true] {
        let directory = Directory::new();
        let builder = directory.builder().recover(recover);
        let engine = builder.open().await.expect("a log");
        let mut reading = reading(&engine).await;
        let epoch = reading.window().await.expect("a window").epoch;
        let data = |n: usize| format!("{n} {}", "x".repeat(500_000));
        for n in 0..50 {
            append_texts(&engine, &[&data(n)]).await;
        }
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(directory.file())
            .expect("a file");
        let len = file.metadata().expect("a file").len();
        let noise = vec![0xa5; 1 << 16];
        for at in (4096..len).step_by(noise.len()) {
            let end = noise.len().min((len - at) as usize);
            std::os::unix::fs::FileExt::write_all_at(&file, &noise[..end], at).expect("written");
        }

        let begin = std::time::Instant::now();
        let mut events = 0;
        loop {
            assert!(begin.elapsed() < PATIENCE);
            let mut now = reading.window().await;
            if now.is_err()
                && recover
                && let Ok(again) = engine.open(&Latest::of([])).await
            {
                // Who reads has to look what there is now.
                reading = again;
                now = reading.window().await;
            }
            let is_over = match &now {
                Ok(window) => window.epoch != epoch,
                Err(_) => !recover,
            };
            if is_over {
                break;
            }
            for offset in 1..=50 {
                for record in reading.read(offset, 1).await.unwrap_or_default() {
                    if let Content::Event(_, event) = &record.content {
                        let number = record.position.offset() as usize - 1;
                        assert_eq!(event.data(), data(number));
                        events += 1;
                    }
                }
            }
            let _ = reading.latest().await;
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        println!("{events} events were still read");
        let answer = engine.append(&[event("next")]).await.remove(0);
        if recover {
            let records = reading.read(1, 9).await.expect("another log");
            assert_eq!(texts(&records), [(1, "next")]);
            assert_eq!(answer.expect("stored").offset(), 1);
        } else {
            let error = answer.expect_err("there is no log");
            assert!(error.to_string().contains("broken"), "{error}");
        }
    }
}
