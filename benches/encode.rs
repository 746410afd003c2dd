//! Submitting to a store that nobody reads: encoding, numbering, evicting.
//!
//! `cargo bench --bench encode`

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tornadose::{DataStore, Event, EventName};

const TICK: EventName = EventName::from_static("tick");

/// What every encoder must at least do: make the event's text, copy it once.
fn copy(c: &mut Criterion) {
    let mut group = c.benchmark_group("copy");
    for size in [10, 100, 1_000, 100_000] {
        let data = "x".repeat(size);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_with_input(BenchmarkId::from_parameter(size), &data, |b, data| {
            b.iter(|| {
                let event = black_box(data.as_str()).to_owned();
                bytes::Bytes::from(format!("data: {event}\n\n"))
            });
        });
    }
}

fn one_line(c: &mut Criterion) {
    let store = DataStore::new();
    let mut group = c.benchmark_group("one_line");
    for size in [10, 100, 1_000, 100_000] {
        let data = "x".repeat(size);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_with_input(BenchmarkId::from_parameter(size), &data, |b, data| {
            b.iter(|| store.submit(black_box(data.as_str())));
        });
    }
}

fn many_lines(c: &mut Criterion) {
    let store = DataStore::new();
    let data = "a line of some forty bytes, more or less\r\n".repeat(25);
    c.bench_function("many_lines/1000", |b| {
        b.iter(|| store.submit(Event::new(black_box(data.as_str())).name(TICK)));
    });
}

criterion_group!(benches, copy, one_line, many_lines);
criterion_main!(benches);
