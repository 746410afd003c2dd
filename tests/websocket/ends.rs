//! How the server ends a connection, and what it says then.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::Message;
use tornadose::{
    EventSource, Overflow, Permit, QueueStore, Retention, Shutdown, Start, WebSocketSubscriber,
};

use crate::client::Client;
use crate::raw::{Raw, closing};
use crate::server::Server;
use crate::vocabulary::{
    PATIENCE, SECOND, end_of, from_oldest, message, opened, retry, store_and_socket, submit,
    submit_numbers, until_left, within,
};

#[tokio::test]
async fn a_store_that_is_closed_ends_after_its_last_event_with_1001() {
    let (store, socket) = store_and_socket();
    let server = Server::start(&socket);
    let mut client = Client::open(&server).await;
    client.text().await;
    submit_numbers(&store, 50);
    store.close();
    let expected: Vec<_> = (1..=50).map(|n| n.to_string()).collect();
    assert_eq!(client.data(50).await, expected);
    client.closed_for_a_while(1001).await;
    until_left(&store, &socket).await;
}

#[tokio::test]
async fn who_comes_when_the_store_is_closed_gets_what_there_is_and_the_end() {
    let store = QueueStore::new();
    submit_numbers(&store, 3);
    store.close();
    let server = Server::start(&from_oldest(&store));
    let mut client = Client::open(&server).await;
    client.text().await;
    assert_eq!(client.data(3).await, ["1", "2", "3"]);
    client.closed_for_a_while(1001).await;

    let live = Server::start(&WebSocketSubscriber::new(store));
    let mut client = Client::open(&live).await;
    client.text().await;
    client.closed_for_a_while(1001).await;
}

#[tokio::test]
async fn clients_are_told_different_times_to_come_back() {
    let (store, socket) = store_and_socket();
    let server = Server::start(&socket);
    let mut clients = Vec::new();
    for _ in 0..30 {
        clients.push(Raw::open(&server).await);
    }
    store.close();
    let mut times = HashSet::new();
    for client in &mut clients {
        client.text().await;
        let (code, reason) = client.closed().await;
        assert_eq!(code, 1001);
        let retry = retry(&reason);
        assert!((2000..=6000).contains(&retry), "{retry}");
        times.insert(retry);
    }
    assert!(times.len() > 20, "{times:?}");
}

#[tokio::test]
async fn the_farewell_is_as_the_event_source_says() {
    let store = QueueStore::new();
    store.close();
    let events = EventSource::new(store).farewell(7 * SECOND..=7 * SECOND);
    let server = Server::start(&events.websocket());
    let mut client = Client::open(&server).await;
    client.text().await;
    assert_eq!(client.closed().await, (1001, "retry: 7000".to_owned()));
}

#[tokio::test]
async fn a_shutdown_ends_after_what_was_submitted_before_it_with_1012() {
    let (store, shutdown) = (QueueStore::new(), Shutdown::new());
    let socket = EventSource::new(store.clone())
        .shutdown(&shutdown)
        .websocket();
    let server = Server::start(&socket);
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = Client::open(&server).await;
        client.text().await;
        clients.push(client);
    }
    submit_numbers(&store, 20);
    shutdown.begin();
    let expected: Vec<_> = (1..=20).map(|n| n.to_string()).collect();
    for client in &mut clients {
        assert_eq!(client.data(20).await, expected);
        client.closed_for_a_while(1012).await;
    }
    until_left(&store, &socket).await;

    // Who comes later is told the same, with what it had missed.
    let last = end_of(&store);
    let mut late = Client::open_after(&server, last).await;
    assert_eq!(late.text().await, opened(last));
    late.closed_for_a_while(1012).await;
}

#[tokio::test]
async fn a_shutdown_ends_although_more_is_submitted_all_the_time() {
    let (store, shutdown) = (QueueStore::new(), Shutdown::new());
    let socket = EventSource::new(store.clone())
        .shutdown(&shutdown)
        .websocket();
    let server = Server::start(&socket);
    let mut client = Client::open(&server).await;
    client.text().await;
    let submitter = tokio::spawn(async move {
        loop {
            submit(&store, "more");
            tokio::task::yield_now().await;
        }
    });
    client.data(50).await;
    shutdown.begin();
    let closed = within(PATIENCE, "a close", async {
        loop {
            if let Message::Close(Some(close)) = client.next().await {
                break u16::from(close.code);
            }
        }
    });
    assert_eq!(closed.await, 1012);
    submitter.abort();
}

/// Listens and answers pings until it is closed: the code, and when.
async fn lifetime(mut client: Client<DuplexStream>) -> (u16, u64) {
    let begun = Instant::now();
    loop {
        match client.next().await {
            Message::Text(_) | Message::Ping(_) => {}
            Message::Close(Some(close)) => {
                let retry = retry(close.reason.as_str());
                assert!((2000..=6000).contains(&retry));
                return (close.code.into(), begun.elapsed().as_secs());
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn connections_grow_between_four_fifths_of_their_age_and_all_of_it() {
    let store = QueueStore::new();
    let socket = EventSource::new(store.clone())
        .max_age(100 * SECOND)
        .websocket();
    let mut lives = Vec::new();
    for _ in 0..50 {
        lives.push(lifetime(Client::in_memory(&socket).await));
    }
    let ends = join_all(lives).await;
    assert!(
        ends.iter()
            .all(|(code, at)| *code == 1012 && (80..=100).contains(at)),
        "{ends:?}"
    );
    assert!(ends.iter().any(|(_, at)| *at < 88) && ends.iter().any(|(_, at)| *at > 92));
    until_left(&store, &socket).await;
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_expires_ends_the_connection_quiet_or_busy() {
    let store = QueueStore::new();
    let socket = EventSource::new(store.clone())
        .permit(|_| Ok(Permit::new().expires_in(20 * SECOND)))
        .websocket();
    let quiet = lifetime(Client::in_memory(&socket).await);
    assert_eq!(quiet.await, (1012, 20));

    let busy = lifetime(Client::in_memory(&socket).await);
    let submitter = tokio::spawn({
        let store = store.clone();
        async move {
            loop {
                submit(&store, "x");
                sleep(SECOND / 10).await;
            }
        }
    });
    assert_eq!(busy.await, (1012, 20));
    submitter.abort();
    until_left(&store, &socket).await;
}

#[tokio::test(start_paused = true)]
async fn times_that_no_clock_can_hold_do_not_panic() {
    let store = QueueStore::new();
    let socket = EventSource::new(store.clone())
        .permit(|_| Ok(Permit::new().expires_in(Duration::MAX)))
        .max_age(Duration::MAX)
        .websocket()
        .ping(Duration::MAX);
    for _ in 0..100 {
        let mut client = Client::in_memory(&socket).await;
        client.text().await;
        sleep(SECOND).await;
        submit(&store, "x");
        assert_eq!(client.data(1).await, ["x"]);
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_its_close_is_dropped_after_5_seconds() {
    let store = QueueStore::new();
    let socket = EventSource::new(store.clone())
        .permit(|_| Ok(Permit::new().expires_in(SECOND)))
        .websocket();
    let mut client = Raw::in_memory(&socket, 256).await;
    submit(&store, "x".repeat(1000));
    let begun = Instant::now();
    until_left(&store, &socket).await;
    assert!((1..=2).contains(&begun.elapsed().as_secs()));
    sleep(5 * SECOND).await;
    // What was on its way is cut off.
    let mut rest = Vec::new();
    let read = client.io.read_to_end(&mut rest);
    within(PATIENCE, "the end", read).await.expect("the end");
    assert!(rest.len() < 600, "{}", rest.len());
}

/// The handler of which every client is `ann`.
fn of_ann(store: &QueueStore) -> WebSocketSubscriber {
    EventSource::new(store.clone())
        .permit(|_| Ok(Permit::new().key("ann")))
        .websocket()
}

#[tokio::test]
async fn who_is_revoked_gets_nothing_more_before_its_1008() {
    let store = QueueStore::new();
    let socket = of_ann(&store);
    let server = Server::start(&socket);
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Client::open(&server).await;
        client.text().await;
        clients.push(client);
    }
    submit(&store, "before");
    for client in &mut clients {
        assert_eq!(client.data(1).await, ["before"]);
    }
    submit(&store, "not for ann");
    assert_eq!((socket.revoke("ann"), socket.revoke("ann")), (3, 0));
    submit(&store, "nor this");
    for client in &mut clients {
        assert_eq!(client.closed().await, (1008, "revoked".to_owned()));
    }
    until_left(&store, &socket).await;

    // Who is permitted again is not revoked any more.
    let mut client = Client::open(&server).await;
    assert_eq!(client.text().await, opened(end_of(&store)));
    let (prev, id) = (end_of(&store), submit(&store, "again"));
    assert_eq!(client.text().await, message(id, prev, "again"));
}

#[tokio::test(start_paused = true)]
async fn who_is_revoked_while_it_does_not_read_gets_the_message_that_was_begun() {
    let store = QueueStore::new();
    let socket = of_ann(&store);
    let mut client = Raw::in_memory(&socket, 256).await;
    client.text().await;
    let (prev, long) = (end_of(&store), "x".repeat(1000));
    let id = submit(&store, long.as_str());
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    submit(&store, "not for ann");
    assert_eq!(socket.revoke("ann"), 1);
    // It is let go of at once, not when it reads.
    until_left(&store, &socket).await;
    assert_eq!(client.text().await, message(id, prev, &long));
    assert_eq!(client.closed().await, (1008, "revoked".to_owned()));
    client.send(&closing(1008)).await;
    client.ended().await;
}

#[tokio::test]
async fn who_is_too_slow_for_a_store_that_says_so_is_closed_with_4008() {
    let store = QueueStore::builder()
        .retention(Retention::new().events(2))
        .overflow(Overflow::Disconnect)
        .build();
    let socket = EventSource::new(store.clone())
        .start(Start::Live)
        .websocket();
    let server = Server::start(&socket);
    let mut client = Client::open(&server).await;
    let begin = end_of(&store);
    assert_eq!(client.text().await, opened(begin));
    let ids = submit_numbers(&store, 2);
    assert_eq!(client.text().await, message(ids[0], begin, "1"));
    assert_eq!(client.text().await, message(ids[1], ids[0], "2"));
    // Nobody runs in between: it is overtaken.
    submit_numbers(&store, 3);
    client.closed_for_a_while(4008).await;
    until_left(&store, &socket).await;

    // It comes back and is told.
    let mut client = Client::open_after(&server, ids[1]).await;
    client.text().await;
    let missing = crate::vocabulary::parsed(&client.text().await);
    assert_eq!(missing["data"]["missed"], "1");
    assert_eq!(client.data(2).await, ["2", "3"]);
}
