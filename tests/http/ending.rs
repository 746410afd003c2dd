//! Streams that the server ends.

use tornadose::{DataStore, EventSource, OnGap, QueueStore, Retention, Shutdown, Start};

use crate::vocabulary::{
    Client, Door, SECOND, Server, block_of, end_of, farewell, submit, submit_numbers,
    until_subscribers, within,
};

/// Reads the farewell and the proper end behind it.
async fn assert_farewell(client: &mut Client) {
    let last = client.block().await.expect("a farewell");
    assert!((2000..=6000).contains(&farewell(&last)), "{last}");
    assert_eq!(client.raw_chunk().await, b"0\r\n\r\n");
}

#[tokio::test]
async fn closing_the_store_ends_every_stream_with_a_farewell() {
    for door in Door::ALL_HTTP1 {
        let store = QueueStore::new();
        let server = Server::behind(door, EventSource::new(store.clone()));
        let mut clients = Vec::new();
        for _ in 0..20 {
            let mut client = Client::open(&server).await;
            client.blocks(2).await;
            clients.push(client);
        }
        let id = submit(&store, "last");
        store.close();
        for client in &mut clients {
            assert_eq!(client.blocks(1).await, [block_of(id, "last")]);
            assert_farewell(client).await;
        }
        until_subscribers(SECOND, || store.subscribers(), 0).await;

        let mut client = clients.swap_remove(0);
        if !crate::IS_KEPT {
            client.assert_closed().await;
            continue;
        }
        // The connection is still good, and says the same again.
        client.get_after(id.to_string().as_bytes()).await;
        assert_eq!(client.blocks(2).await, [":", &format!("id: {id}")]);
        assert_farewell(&mut client).await;
    }
}

#[tokio::test]
async fn a_shutdown_ends_every_stream_and_the_server_finishes() {
    for door in Door::ALL_HTTP1 {
        let store = QueueStore::new();
        let shutdown = Shutdown::new();
        let events = EventSource::new(store.clone()).shutdown(&shutdown);
        let server = Server::behind(door, events);
        let mut clients = Vec::new();
        for _ in 0..20 {
            let mut client = Client::open(&server).await;
            client.blocks(2).await;
            clients.push(client);
        }
        assert_eq!(store.subscribers(), 20);
        let id = submit(&store, "last");
        shutdown.begin();
        let finished = async {
            server.finish().await;
            shutdown.ended().await;
        };
        within(SECOND, "a graceful shutdown", finished).await;
        assert_eq!(store.subscribers(), 0);
        for mut client in clients {
            assert_eq!(client.blocks(1).await, [block_of(id, "last")]);
            assert_farewell(&mut client).await;
            client.assert_closed().await;
        }
        assert!(!store.is_closed());
    }
}

#[tokio::test]
async fn a_request_that_comes_during_a_shutdown_gets_what_it_missed_and_ends() {
    let store = QueueStore::new();
    let ids = submit_numbers(&store, 3);
    let shutdown = Shutdown::new();
    shutdown.begin();
    let server = Server::start(EventSource::new(store.clone()).shutdown(&shutdown));
    let mut client = Client::open_after(&server, ids[0]).await;
    assert_eq!(client.blocks(1).await, [":"]);
    assert_eq!(client.events(2).await, ["2", "3"]);
    assert_farewell(&mut client).await;
    until_subscribers(SECOND, || store.subscribers(), 0).await;
}

#[tokio::test]
async fn a_shutdown_ends_the_streams_of_a_busy_store() {
    let store = DataStore::with_initial("0").expect("small");
    let shutdown = Shutdown::new();
    let server = Server::start(EventSource::new(store.clone()).shutdown(&shutdown));
    let mut client = Client::open(&server).await;
    assert_eq!(client.blocks(2).await.len(), 2);

    let busy = store.clone();
    let publisher = tokio::spawn(async move {
        for n in 0..u64::MAX {
            busy.submit(n.to_string()).expect("open");
            tokio::task::yield_now().await;
        }
    });
    let reader = tokio::spawn(async move {
        let rest = client.rest().await;
        farewell(rest.split_terminator("\n\n").last().expect("a block"));
    });
    shutdown.begin();
    within(SECOND, "a graceful shutdown", server.finish()).await;
    within(SECOND, "the end of the stream", reader)
        .await
        .expect("a farewell at the end");
    publisher.abort();
}

#[tokio::test]
async fn a_shutdown_ends_a_stalled_stream_when_its_client_reads_again() {
    let store = QueueStore::new();
    let shutdown = Shutdown::new();
    let events = EventSource::new(store.clone())
        .shutdown(&shutdown)
        .start(Start::Oldest);
    for _ in 0..200 {
        submit(&store, "x".repeat(10 << 10));
    }
    let server = Server::tight(events);
    let mut client = Client::connect_tight(&server).await.with_gulps_of(1000);
    client.get(b"").await;
    shutdown.begin();
    assert_eq!(client.blocks(1).await, [":"]);
    let received = client.with_gulps_of(64 << 10).rest().await;
    let blocks: Vec<_> = received.split_terminator("\n\n").collect();
    assert_eq!(blocks.len(), 201);
    farewell(blocks[200]);
    until_subscribers(SECOND, || store.subscribers(), 0).await;
}

#[tokio::test]
async fn a_stream_that_stops_at_gaps_ends_without_a_farewell() {
    let store = QueueStore::builder()
        .retention(Retention::new().events(2))
        .build();
    let server = Server::start(EventSource::new(store.clone()).on_gap(OnGap::Stop));
    let mut client = Client::open(&server).await;
    let bookmark = format!("id: {}", end_of(&store));
    assert_eq!(client.blocks(2).await, [":", &bookmark]);
    if crate::IS_KEPT {
        // No await in here: on this one thread the stream is overtaken as a whole.
        submit_numbers(&store, 5);
        assert_eq!(client.raw_chunk().await, b"0\r\n\r\n");
        until_subscribers(SECOND, || store.subscribers(), 0).await;
        return;
    }
    // A thread of its own gets some of them, until it is overtaken.
    let after_more = || {
        submit_numbers(&store, 1000);
        store.subscribers()
    };
    until_subscribers(SECOND, after_more, 0).await;
    let rest = client.rest().await;
    assert!(!rest.contains("event: gap") && !rest.contains("retry: "));
}
