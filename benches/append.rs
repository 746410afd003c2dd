//! Submitting to a full queue, by one thread and by two at once, beside
//! `tokio::sync::broadcast` in the same run.
//!
//! `cargo bench --bench append`

use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tokio::sync::broadcast;
use tornadose::{QueueStore, Retention};

const RETAINED: usize = 1_024;
const EVENT: &str = "an event of a hundred bytes, which is what the fan-out figures of this crate are measured with......";

fn together(threads: u64, iters: u64, submit: impl Fn() + Sync) -> Duration {
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..iters / threads).for_each(|_| submit()));
        }
    });
    start.elapsed()
}

fn append(c: &mut Criterion) {
    let store = QueueStore::builder()
        .retention(Retention::new().events(RETAINED))
        .build();
    let (sender, _receiver) = broadcast::channel(RETAINED);
    let mut group = c.benchmark_group("append");
    for threads in [1, 2] {
        group.bench_function(BenchmarkId::new("tornadose", threads), |b| {
            b.iter_custom(|iters| together(threads, iters, || drop(store.submit(EVENT))));
        });
        group.bench_function(BenchmarkId::new("broadcast", threads), |b| {
            b.iter_custom(|iters| {
                together(threads, iters, || {
                    // The same work: a text becomes an encoded event.
                    let event = Bytes::from(format!("data: {}\n\n", EVENT.to_owned()));
                    let _ = sender.send(event);
                })
            });
        });
    }
}

criterion_group!(benches, append);
criterion_main!(benches);
