//! What a submit costs who makes it, with nobody listening and with thousands of detached
//! streams that get the event: the call alone, on a thread of its own, while the streams'
//! threads are asleep until then.
//!
//! `cargo bench --bench detached --features detached`

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tornadose::{EventSource, Listener, QueueStore};

const STREAMS: [usize; 3] = [0, 100, 5_000];
const EVENT: &str = "an event of a hundred bytes, which is what the fan-out figures of this crate are measured with......";

/// Serves in a thread of its own, for as long as the program runs.
fn serve(events: EventSource) -> SocketAddr {
    let (told, address) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            told.send(tcp.local_addr().expect("bound")).expect("asked");
            let listener = Listener::new(tcp);
            loop {
                let (io, _) = listener.accept().await.expect("a client");
                let (io, events) = (TokioIo::new(io), events.clone());
                tokio::spawn(async move {
                    let _ = http1::Builder::new().serve_connection(io, events).await;
                });
            }
        });
    });
    address.recv().expect("it listens")
}

fn open(address: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(address).expect("a listener");
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    client.write_all(request).expect("sent");
    client
}

/// Reads what there is, until nothing comes for a moment.
fn drain(clients: &mut [TcpStream], bytes: &mut [u8]) {
    for client in clients {
        client.set_nonblocking(true).expect("a socket");
        while client.read(bytes).is_ok_and(|read| read > 0) {}
    }
}

fn submit(c: &mut Criterion) {
    let mut group = c.benchmark_group("detached/submit");
    group.sample_size(10);
    for streams in STREAMS {
        let store = QueueStore::new();
        let events = EventSource::new(store.clone());
        let address = serve(events.clone());
        let mut clients: Vec<_> = (0..streams).map(|_| open(address)).collect();
        while events.detached_streams() < streams {
            thread::sleep(Duration::from_millis(1));
        }
        let mut bytes = vec![0; 64 << 10];
        group.bench_function(BenchmarkId::from_parameter(streams), |b| {
            b.iter_custom(|iters| {
                let mut spent = Duration::ZERO;
                for _ in 0..iters {
                    let start = Instant::now();
                    drop(store.submit(EVENT));
                    spent += start.elapsed();
                    // So that everybody has it and sleeps again.
                    thread::sleep(Duration::from_micros(100 + 8 * streams as u64));
                }
                drain(&mut clients, &mut bytes);
                spent
            });
        });
        store.close();
    }
}

criterion_group!(benches, submit);
criterion_main!(benches);
