//! What is written once for everybody: a thousand connections, and one page of memory.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use allocation_counter::measure;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, Runtime};
use tornadose::{QueueStore, WebSocketSubscriber};

use crate::raw::{LINES, request};
use crate::server::connection;
use crate::vocabulary::{store_and_socket, submit};

/// Where the memory lay that was handed to a connection, and how long it was.
type Handed = Arc<Mutex<Vec<(usize, usize)>>>;

/// A connection that asks once and then only listens. It takes whatever it is handed,
/// at once, and remembers nothing but where it lay.
struct Wire {
    request: Vec<u8>,
    handed: Handed,
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.request.is_empty() {
            return Poll::Pending;
        }
        let len = self.request.len().min(buf.remaining());
        buf.put_slice(&self.request[..len]);
        self.request.drain(..len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let place = (bytes.as_ptr().addr(), bytes.len());
        self.handed.lock().expect("no panic").push(place);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// So many connections of which everybody has been told where it begins.
struct Crowd {
    store: QueueStore,
    wires: Vec<Handed>,
    runtime: Runtime,
}

impl Crowd {
    fn of(count: usize) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let (store, socket) = store_and_socket();
        let join = |socket: &WebSocketSubscriber| {
            let handed = Arc::new(Mutex::new(Vec::with_capacity(16)));
            let wire = Wire {
                request: request("GET", "/socket", &LINES),
                handed: Arc::clone(&handed),
            };
            runtime.spawn(connection(wire, socket.clone()));
            handed
        };
        let wires = (0..count).map(|_| join(&socket)).collect();
        let mut crowd = Self {
            store,
            wires,
            runtime,
        };
        // The head, and `open`.
        crowd.until_handed(2);
        crowd
    }

    /// Runs until everybody has been handed so many pieces.
    fn until_handed(&mut self, pieces: usize) {
        let wires = &self.wires;
        self.runtime.block_on(async {
            for handed in wires {
                while handed.lock().expect("no panic").len() < pieces {
                    tokio::task::yield_now().await;
                }
            }
        });
    }

    fn forget(&self) {
        for handed in &self.wires {
            handed.lock().expect("no panic").clear();
        }
    }

    /// Submits so many events and runs until everybody has them.
    fn submit(&mut self, events: usize) {
        self.forget();
        for _ in 0..events {
            submit(&self.store, "x".repeat(100));
        }
        self.until_handed(1);
    }
}

#[test]
fn a_thousand_connections_are_handed_the_very_same_memory() {
    let mut crowd = Crowd::of(1000);
    for events in [1, 2, 50] {
        crowd.submit(events);
        let handed: Vec<_> = crowd
            .wires
            .iter()
            .map(|handed| handed.lock().expect("no panic").clone())
            .collect();
        let [(_, len)] = handed[0][..] else {
            panic!("{:?}", handed[0]);
        };
        assert!(len > events * 100, "{len}");
        assert!(handed.iter().all(|pieces| *pieces == handed[0]), "{events}");
    }
}

#[test]
fn what_an_event_costs_in_allocations_does_not_depend_on_how_many_listen() {
    let counts = [1, 1000].map(|connections| {
        let mut crowd = Crowd::of(connections);
        let mut once = || measure(|| crowd.submit(1)).count_total;
        // Lists grow until they fit; after that nothing does.
        (0..50).for_each(|_| {
            once();
        });
        (0..20).map(|_| once()).min().expect("20")
    });
    println!("{counts:?} allocations for each event");
    assert_eq!(counts[0], counts[1]);
}
