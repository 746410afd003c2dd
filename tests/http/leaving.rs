//! Clients that leave, in every way there is, while nothing is being sent.

use tornadose::{DataStore, EventSource, QueueStore};

use crate::vocabulary::{Client, Door, SECOND, Server, end_of, submit, until_subscribers};

/// Without keep-alive, so that only the leaving itself can be noticed.
fn quiet(store: &QueueStore) -> EventSource {
    EventSource::new(store.clone()).without_keep_alive()
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_without_any_traffic() {
    for door in Door::ALL_HTTP1 {
        for reset in [false, true] {
            let store = QueueStore::new();
            let server = Server::behind(door, quiet(&store));
            let mut client = Client::open(&server).await;
            // Everything is read, so that closing is a FIN and not a reset.
            client.blocks(2).await;
            assert_eq!(store.subscribers(), 1, "{door:?}");
            match reset {
                false => client.leave(),
                true => client.reset(),
            }
            until_subscribers(SECOND, || store.subscribers(), 0).await;
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_without_having_read_anything_is_noticed() {
    let store = DataStore::with_initial("x".repeat(1_000_000)).expect("small enough");
    let server = Server::tight(EventSource::new(store.clone()).without_keep_alive());
    let client = Client::connect_tight(&server).await;
    let mut client = client.with_gulps_of(100);
    client.get(b"").await;
    // More than the connection can hold is on its way to it.
    assert_eq!(store.subscribers(), 1);
    client.leave();
    until_subscribers(SECOND, || store.subscribers(), 0).await;
}

#[tokio::test]
async fn two_hundred_clients_come_and_go() {
    let store = QueueStore::new();
    let server = Server::start(quiet(&store));
    for round in 0..3 {
        let mut clients = Vec::new();
        for _ in 0..200 {
            clients.push(Client::open(&server).await);
        }
        assert_eq!(store.subscribers(), 200);
        let bookmark = format!("id: {}", end_of(&store));
        let id = submit(&store, round.to_string());
        for client in &mut clients {
            assert_eq!(client.blocks(2).await, [":", &bookmark]);
            assert_eq!(client.events(1).await, [round.to_string()]);
        }
        assert_eq!(id.offset(), round + 1);
        for (n, client) in clients.into_iter().enumerate() {
            match n % 2 {
                0 => client.leave(),
                _ => client.reset(),
            }
        }
        until_subscribers(SECOND, || store.subscribers(), 0).await;
    }
}

#[tokio::test]
async fn one_that_leaves_does_not_disturb_the_others() {
    let store = QueueStore::new();
    let server = Server::start(quiet(&store));
    let mut staying = Client::open(&server).await;
    staying.blocks(2).await;
    for n in 0..50 {
        let leaving = Client::open(&server).await;
        submit(&store, n.to_string());
        leaving.reset();
        assert_eq!(staying.events(1).await, [n.to_string()]);
    }
    until_subscribers(SECOND, || store.subscribers(), 1).await;
}
