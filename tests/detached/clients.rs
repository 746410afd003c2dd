//! Clients that talk, hang up, or vanish.

use std::time::Duration;

use tokio::time::sleep;
use tornadose::{DataStore, EventSource, QueueStore};

use crate::servers::{events_by_axum, listener, tight};
use crate::transcript::Listening;
use crate::vocabulary::{Client, SECOND, eventually, request, submit};

/// So many streams that have left, without keep-alive: only the leaving can be noticed.
macro_rules! stage {
    ($store:ident, $events:ident, $server:ident) => {
        let $store = QueueStore::new();
        let $events = EventSource::new($store.clone()).without_keep_alive();
        let $server = events_by_axum(listener(), &$events);
    };
}

#[tokio::test]
async fn what_a_client_says_behind_its_request_is_not_heard() {
    stage!(store, events, server);
    let mut client = Listening::open(&server, None).await;
    eventually(SECOND, "it leaves", || events.detached_streams() == 1).await;
    for _ in 0..20 {
        client.send(b"GET / HTTP/9\r\n\0\xff").await.expect("open");
    }
    submit(&store, "heard");
    client.until("data: heard").await;
    assert_eq!(events.detached_streams(), 1);
    store.close();
    // Whatever it said: a proper end, and not a reset.
    let told = client.read_to_end().await.without_farewell();
    assert_eq!(told.events(), ["heard"]);
}

#[tokio::test]
async fn a_pipelined_request_goes_nowhere_and_the_stream_goes_on() {
    stage!(store, events, server);
    let mut client = Client::connect(&server).await;
    client.send(&request("GET", b"").repeat(3)).await;
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(client.blocks(2).await[0], ":");
    for n in 0..5 {
        submit(&store, n.to_string());
        assert_eq!(client.events(1).await, [n.to_string()]);
    }
    eventually(SECOND, "one stream", || {
        (events.streams(), events.detached_streams()) == (1, 1)
    })
    .await;
}

#[tokio::test]
async fn who_says_a_megabyte_is_sent_away() {
    for pause in [Duration::ZERO, Duration::from_millis(1)] {
        stage!(store, events, server);
        let mut client = Listening::open(&server, None).await;
        eventually(SECOND, "it leaves", || events.detached_streams() == 1).await;
        let rubbish = [b'x'; 16 << 10];
        for _ in 0..64 {
            if client.send(&rubbish).await.is_err() {
                break;
            }
            // However slowly it says it.
            sleep(pause).await;
        }
        eventually(SECOND, "it is sent away", || events.streams() == 0).await;
        assert_eq!((events.detached_streams(), store.subscribers()), (0, 0));
    }
}

#[tokio::test]
async fn who_hangs_up_is_noticed_without_any_traffic() {
    stage!(store, events, server);
    for round in 0..3 {
        let mut clients = Vec::new();
        for _ in 0..60 {
            let mut client = Listening::open(&server, None).await;
            client.until("\nid: ").await;
            clients.push(client);
        }
        eventually(SECOND, "all leave", || events.detached_streams() == 60).await;
        assert_eq!(store.subscribers(), 60);
        let mut half = Vec::new();
        for (n, mut client) in clients.into_iter().enumerate() {
            match n % 3 {
                0 => client.leave(),
                1 => client.reset(),
                _ => {
                    client.half_close().await;
                    half.push(client);
                }
            }
        }
        eventually(SECOND, "all are gone", || {
            (
                events.streams(),
                events.detached_streams(),
                store.subscribers(),
            ) == (0, 0, 0)
        })
        .await;
        for client in half {
            assert!(!client.ends_by_reset().await, "{round}");
        }
    }
}

#[tokio::test]
async fn who_leaves_before_its_first_byte_is_noticed() {
    stage!(store, events, server);
    for n in 0..200 {
        let mut client = Client::connect(&server).await;
        client.send(&request("GET", b"")).await;
        if n % 2 == 0 {
            tokio::task::yield_now().await;
        }
        match n % 4 < 2 {
            true => client.leave(),
            false => client.reset(),
        }
    }
    // A server may not have looked at the last of them yet.
    sleep(Duration::from_millis(50)).await;
    eventually(SECOND, "all are gone", || {
        (
            events.streams(),
            events.detached_streams(),
            store.subscribers(),
        ) == (0, 0, 0)
    })
    .await;
}

#[tokio::test]
async fn who_leaves_while_its_socket_is_full_is_noticed() {
    for reset in [false, true] {
        let store = DataStore::with_initial("x".repeat(1_000_000)).expect("small enough");
        let events = EventSource::new(store.clone()).without_keep_alive();
        let server = events_by_axum(tight(), &events);
        let client = Listening::open_tight(&server).await;
        eventually(SECOND, "it leaves", || events.detached_streams() == 1).await;
        match reset {
            true => client.reset(),
            false => client.leave(),
        }
        eventually(SECOND, "it is gone", || {
            (
                events.streams(),
                events.detached_streams(),
                store.subscribers(),
            ) == (0, 0, 0)
        })
        .await;
    }
}

#[tokio::test]
async fn one_that_vanishes_in_a_crowd_disturbs_nobody() {
    stage!(store, events, server);
    let mut staying = Vec::new();
    for _ in 0..20 {
        staying.push(Listening::open(&server, None).await);
    }
    for n in 0..50 {
        let leaving = Listening::open(&server, None).await;
        submit(&store, n.to_string());
        match n % 2 {
            0 => leaving.reset(),
            _ => leaving.leave(),
        }
    }
    eventually(SECOND, "20 stay", || {
        (events.detached_streams(), store.subscribers()) == (20, 20)
    })
    .await;
    store.close();
    for client in staying {
        let told = client.read_to_end().await.without_farewell();
        let judged = told.judge();
        assert_eq!(
            (judged.from, judged.received, judged.missed),
            (Some(0), 50, 0)
        );
    }
}
