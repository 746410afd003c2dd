//! One event to N subscribers in this process, beside `tokio::sync::broadcast` in
//! the same run: the time from submit until the last of them has it. Each
//! subscriber is a task that looks for the ends of events in the bytes it gets.
//!
//! `burst` submits 100 events before anybody runs; event streams take what has
//! piled up in joined frames.
//!
//! `cargo bench --bench fan_out`

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};
use futures_util::StreamExt;
use memchr::memmem;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, broadcast};
use tornadose::{Delivery, EventSource, Permit, QueueStore, Retention, Start};

const SUBSCRIBERS: [u64; 5] = [1, 10, 100, 1_000, 10_000];
const EVENT: &str = "an event of a hundred bytes, which is what the fan-out figures of this crate are measured with......";

/// Counts down the events that are still to be received by all together.
#[derive(Default)]
struct Open {
    events: AtomicU64,
    done: Notify,
}

impl Open {
    fn received(&self, bytes: &[u8]) {
        let events = memmem::find_iter(black_box(bytes), b"\n\n").count() as u64;
        if self.events.fetch_sub(events, Ordering::AcqRel) == events {
            self.done.notify_one();
        }
    }

    async fn round(&self, events: u64, submit: impl Fn()) -> Duration {
        self.events.store(events, Ordering::Release);
        let start = Instant::now();
        submit();
        self.done.notified().await;
        start.elapsed()
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

fn store() -> QueueStore {
    QueueStore::builder()
        .retention(Retention::new().events(1_024))
        .build()
}

fn fan_out(c: &mut Criterion, name: &str, burst: u64) {
    let mut group = c.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat).sample_size(20);
    for n in SUBSCRIBERS {
        group.bench_function(BenchmarkId::new("subscription", n), |b| {
            let (runtime, store, open) = (runtime(), store(), Arc::new(Open::default()));
            for _ in 0..n {
                let (mut subscription, open) = (store.subscribe(Start::Live), Arc::clone(&open));
                runtime.spawn(async move {
                    while let Some(Delivery::Event(event)) = subscription.recv().await {
                        open.received(event.sse());
                    }
                });
            }
            let submit = || (0..burst).for_each(|_| drop(store.submit(EVENT)));
            rounds(b, &runtime, &open, n * burst, submit);
        });
        group.bench_function(BenchmarkId::new("event_body", n), |b| {
            let (runtime, store, open) = (runtime(), store(), Arc::new(Open::default()));
            let source = EventSource::new(store.clone());
            for _ in 0..n {
                let mut body = source.grant(Permit::new(), None).into_body();
                let open = Arc::clone(&open);
                runtime.spawn(async move {
                    // The preamble.
                    body.next().await;
                    while let Some(Ok(bytes)) = body.next().await {
                        open.received(&bytes);
                    }
                });
            }
            let submit = || (0..burst).for_each(|_| drop(store.submit(EVENT)));
            rounds(b, &runtime, &open, n * burst, submit);
        });
        group.bench_function(BenchmarkId::new("broadcast", n), |b| {
            let (runtime, open) = (runtime(), Arc::new(Open::default()));
            let (sender, _) = broadcast::channel::<Bytes>(1_024);
            let encode = || Bytes::from(format!("data: {}\n\n", EVENT.to_owned()));
            for _ in 0..n {
                let (mut receiver, open) = (sender.subscribe(), Arc::clone(&open));
                runtime.spawn(async move {
                    while let Ok(event) = receiver.recv().await {
                        open.received(&event);
                    }
                });
            }
            let submit = || (0..burst).for_each(|_| drop(sender.send(encode())));
            rounds(b, &runtime, &open, n * burst, submit);
        });
    }
}

fn rounds(
    b: &mut criterion::Bencher<'_>,
    runtime: &Runtime,
    open: &Open,
    events: u64,
    submit: impl Fn(),
) {
    runtime.block_on(async {
        // Everybody is waiting before the first round.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    });
    b.iter_custom(|iters| {
        runtime.block_on(async {
            let mut time = Duration::ZERO;
            for _ in 0..iters {
                time += open.round(events, &submit).await;
            }
            time
        })
    });
}

fn one(c: &mut Criterion) {
    fan_out(c, "one", 1);
}

fn burst(c: &mut Criterion) {
    fan_out(c, "burst", 100);
}

criterion_group!(benches, one, burst);
criterion_main!(benches);
