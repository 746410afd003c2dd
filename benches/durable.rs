//! Storing events of 200 bytes in a log in a file, beside a loop that appends the same bytes
//! to a plain file and makes them durable, by turns and on the same disk. The log is full, so
//! each event that comes lets an older one go.
//!
//! `cargo bench --bench durable --features durable`

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tornadose::backplane::{Append, Backplane, Durable, Fsync};
use tornadose::{Event, Retention};

const EVENT_BYTES: usize = 200;
const ROUND: Duration = Duration::from_millis(250);

fn main() {
    // Without `--bench` it is only judged that it runs.
    let is_bench = std::env::args().any(|arg| arg == "--bench");
    let (rounds, round, kept) = if is_bench {
        (8, ROUND, 100_000)
    } else {
        (1, Duration::from_millis(5), 100)
    };
    let runtime = Runtime::new().expect("a runtime");
    let directory = Directory::new();
    println!("events per commit, then commits/s, events/s, median and 99th percentile");
    for count in [1, 64, 512] {
        let mut raw = Raw::new(&directory.0.join(format!("raw-{count}")), count);
        let [mut always, mut every] = [
            ("always", Fsync::Always),
            ("every 100 ms", Fsync::Every(Duration::from_millis(100))),
        ]
        .map(|(name, fsync)| Log::new(&runtime, &directory.0, name, fsync, count, kept));
        for _ in 0..rounds {
            raw.times.run(round, || {
                raw.file.write_all(&raw.bytes).expect("written");
                raw.file.sync_data().expect("durable");
            });
            for log in [&mut always, &mut every] {
                log.times.run(round, || {
                    let answers = runtime.block_on(log.engine.append(&log.events));
                    assert!(answers.iter().all(Result::is_ok));
                });
            }
        }
        let base = raw.times.print("write and fdatasync", count, None);
        always
            .times
            .print("durable, fsync always", count, Some(base));
        every
            .times
            .print("durable, every 100 ms", count, Some(base));
    }
}

struct Raw {
    file: File,
    bytes: Vec<u8>,
    times: Times,
}

impl Raw {
    fn new(path: &Path, count: usize) -> Self {
        Self {
            file: File::create(path).expect("a file"),
            bytes: vec![b'x'; count * EVENT_BYTES],
            times: Times::default(),
        }
    }
}

struct Log {
    engine: Durable,
    events: Vec<Append>,
    times: Times,
}

impl Log {
    fn new(
        runtime: &Runtime,
        directory: &Path,
        name: &str,
        fsync: Fsync,
        count: usize,
        kept: usize,
    ) -> Self {
        let builder = Durable::builder(directory.join(format!("{name}-{count}")))
            .fsync(fsync)
            .retention(Retention::new().events(kept).bytes(1 << 30));
        let engine = runtime.block_on(builder.open()).expect("a log");
        let topic = "t".parse().expect("a topic");
        let event = Append::new(topic, Event::new("x".repeat(EVENT_BYTES)));
        let fill = vec![event.clone(); kept.min(1000)];
        for _ in 0..kept.div_ceil(fill.len()) {
            let answers = runtime.block_on(engine.append(&fill));
            assert!(answers.iter().all(Result::is_ok));
        }
        Self {
            engine,
            events: vec![event; count],
            times: Times::default(),
        }
    }
}

#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn run(&mut self, round: Duration, mut commit: impl FnMut()) {
        let begin = Instant::now();
        while begin.elapsed() < round {
            let at = Instant::now();
            commit();
            self.0.push(at.elapsed());
        }
    }

    /// Returns the commits per second.
    fn print(&mut self, what: &str, count: usize, base: Option<f64>) -> f64 {
        self.0.sort_unstable();
        let sum: Duration = self.0.iter().sum();
        let commits = self.0.len() as f64 / sum.as_secs_f64();
        let at = |part: usize| self.0[(self.0.len() - 1) * part / 100];
        let ratio = base.map_or(String::new(), |base| {
            format!(", {:.2} of it", commits / base)
        });
        println!(
            "{count:>4}  {what:<22} {commits:>9.0} {:>10.0} {:>9.1?} {:>9.1?}{ratio}",
            commits * count as f64,
            at(50),
            at(99)
        );
        commits
    }
}

/// A directory on the disk that the project is built on, gone afterwards.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = path.join(format!("bench-durable-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
