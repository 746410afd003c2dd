//! The threads of a listener. Each test has a process of its own, whose threads it counts.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::fs;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tornadose::{EventSource, QueueStore};

use crate::servers::{events_by_axum, listener};
use crate::transcript::Listening;
use crate::vocabulary::{SECOND, alone, eventually, submit};

/// The names of ours.
fn threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux");
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    let mut names: Vec<_> = names
        .map(|name| name.trim().to_owned())
        .filter(|name| name.starts_with("tornadose-"))
        .collect();
    names.sort();
    names
}

#[test]
fn threads_come_with_streams_and_end_with_the_last_of_all() {
    const NAME: &str = "threads::threads_come_with_streams_and_end_with_the_last_of_all";
    alone(NAME, async {
        let store = QueueStore::new();
        let events = EventSource::new(store.clone());
        let two = 2.try_into().expect("not 0");
        let server = events_by_axum(listener().shards(two), &events);
        assert_eq!(threads(), [""; 0]);
        let mut clients = Vec::new();
        for n in 1..=8 {
            clients.push(Listening::open(&server, None).await);
            eventually(SECOND, "it leaves", || events.detached_streams() == n).await;
        }
        assert_eq!(threads(), ["tornadose-0", "tornadose-1"]);
        submit(&store, "x");
        for client in &mut clients {
            client.until("data: x").await;
        }
        // The listener and its connections are gone, and the streams go on.
        drop(server);
        tokio::time::sleep(SECOND / 10).await;
        submit(&store, "y");
        for client in &mut clients {
            client.until("data: y").await;
        }
        assert_eq!(threads(), ["tornadose-0", "tornadose-1"]);
        let last = clients.pop().expect("one");
        drop(clients);
        eventually(SECOND, "one is left", || events.detached_streams() == 1).await;
        eventually(SECOND, "a thread ends", || threads().len() == 1).await;
        store.close();
        let told = last.read_to_end().await.without_farewell();
        assert_eq!(told.events(), ["x", "y"]);
        eventually(SECOND, "the other ends", || threads().is_empty()).await;
    });
}

/// A connection that is still the server's may yet have a stream.
#[test]
fn a_connection_that_outlives_its_listener_still_leaves() {
    const NAME: &str = "threads::a_connection_that_outlives_its_listener_still_leaves";
    alone(NAME, async {
        let store = QueueStore::new();
        let events = EventSource::new(store.clone());
        let listener = listener();
        let address = listener.local_addr().expect("bound");
        let connecting = tokio::net::TcpStream::connect(address);
        let (accepted, connected) = tokio::join!(listener.accept(), connecting);
        let (io, mut client) = (accepted.expect("a client").0, connected.expect("a server"));
        drop(listener);
        let io = hyper_util::rt::TokioIo::new(io);
        let server = hyper::server::conn::http1::Builder::new();
        let serving = tokio::spawn(server.serve_connection(io, events.clone()));
        let request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
        client.write_all(request).await.expect("to send");
        eventually(SECOND, "it leaves", || events.detached_streams() == 1).await;
        assert_eq!(threads(), ["tornadose-0"]);
        serving.await.expect("no panic").expect("a proper end");
        submit(&store, "x");
        store.close();
        let mut text = String::new();
        client.read_to_string(&mut text).await.expect("no reset");
        assert!(text.contains("data: x\n\n"));
        assert!(text.ends_with("0\r\n\r\n"));
        // A socket is kept for a while for who has not hung up.
        drop(client);
        eventually(SECOND, "it ends", || threads().is_empty()).await;
    });
}

#[test]
fn a_listener_without_streams_has_no_threads() {
    const NAME: &str = "threads::a_listener_without_streams_has_no_threads";
    alone(NAME, async {
        let store = QueueStore::new();
        let events = EventSource::new(store.clone()).attached();
        let server = events_by_axum(listener(), &events);
        let mut client = Listening::open(&server, None).await;
        submit(&store, "x");
        client.until("data: x").await;
        let names: BTreeSet<_> = threads().into_iter().collect();
        assert!(names.len() <= 1, "{names:?}");
        drop((client, server));
        submit(&store, "y");
        eventually(SECOND, "none is left", || threads().is_empty()).await;
    });
}
