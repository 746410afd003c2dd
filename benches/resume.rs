//! Coming back to a log of 1,000,000 events: the time to judge an id and find the
//! place, and to have the first event in hand. It must not depend on the log.
//!
//! `cargo bench --bench resume`

use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Waker};

use criterion::{Criterion, criterion_group, criterion_main};
use tornadose::{LastEventId, Position, QueueStore, Retention, Start, Subscribe};

fn resume(c: &mut Criterion) {
    let mut group = c.benchmark_group("resume");
    for events in [1_000_u64, 1_000_000] {
        let store = QueueStore::builder()
            .retention(Retention::new().events(events as usize).bytes(1 << 30))
            .build();
        let ids: Vec<Position> = (0..2 * events)
            .map(|n| {
                store
                    .submit(n.to_string())
                    .expect("small")
                    .id()
                    .expect("in memory")
            })
            .collect();
        let mut random = fastrand::Rng::with_seed(7);

        group.bench_function(format!("retained/{events}"), |b| {
            b.iter(|| {
                let at = random.u64(events..2 * events - 1) as usize;
                let mut subscription = store.subscribe(Subscribe::default().after(ids[at]));
                let mut cx = Context::from_waker(Waker::noop());
                let first = pin!(subscription.recv());
                black_box(first.poll(&mut cx).is_ready())
            });
        });
        group.bench_function(format!("evicted/{events}"), |b| {
            b.iter(|| {
                let at = random.u64(0..events) as usize;
                black_box(store.subscribe(Subscribe::default().after(ids[at])))
            });
        });
        group.bench_function(format!("malformed/{events}"), |b| {
            b.iter(|| {
                let id = LastEventId::parse(black_box(b"WUFZSxsBWn0-12a"));
                black_box(store.subscribe(Subscribe::from(Start::Live).after(id)))
            });
        });
    }
}

criterion_group!(benches, resume);
criterion_main!(benches);
