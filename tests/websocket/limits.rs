//! Who gets in: the hook, the limits and the revocations are one with those of the
//! `EventSource` that a handler was made of.

use http::StatusCode;
use tornadose::{EventSource, Overload, Permit, QueueStore, Refusal, Start};

use crate::client::Client;
use crate::raw::{LINES, Raw, request};
use crate::server::{Both, Server};
use crate::vocabulary::{
    SECOND, eventually, message, moved, opened, store_and_socket, submit, until_left,
};

/// Whoever says who it is.
fn by_user(store: &QueueStore) -> EventSource {
    EventSource::new(store.clone()).permit(|head| match head.query("user").as_deref() {
        None => Err(Refusal::UNAUTHORIZED),
        Some("mallory") => Err(Refusal::FORBIDDEN),
        Some(user) => Ok(Permit::new().key(user)),
    })
}

async fn open(server: &Server, user: &str) -> Client {
    let mut client = Client::get(server, &format!("/socket?user={user}"), &[]).await;
    client.text().await;
    client
}

/// The head of what is answered to a proper request for a WebSocket.
async fn answer(server: &Server, target: &str) -> String {
    let mut client = Raw::connect(server).await;
    client.send(&request("GET", target, &LINES)).await;
    client.head().await
}

#[tokio::test]
async fn a_refusal_is_its_status_and_registers_nothing() {
    for (refusal, status) in [
        (Refusal::UNAUTHORIZED, "401 Unauthorized"),
        (Refusal::FORBIDDEN, "403 Forbidden"),
        (Refusal::NOT_FOUND, "404 Not Found"),
        (
            Refusal::status(StatusCode::TOO_MANY_REQUESTS),
            "429 Too Many Requests",
        ),
        // None of them may claim a connection that there is not.
        (
            Refusal::status(StatusCode::SWITCHING_PROTOCOLS),
            "403 Forbidden",
        ),
        (Refusal::status(StatusCode::OK), "403 Forbidden"),
    ] {
        let store = QueueStore::new();
        let socket = EventSource::new(store.clone())
            .permit(move |_| Err(refusal.clone()))
            .websocket();
        let server = Server::start(&socket);
        let expected =
            format!("HTTP/1.1 {status}\r\ncache-control: no-store\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(answer(&server, "/socket").await, expected);
        assert_eq!((store.subscribers(), socket.streams()), (0, 0));
    }
    let done = EventSource::new(QueueStore::new()).permit(|_| Err(Refusal::DONE));
    let server = Server::start(&done.websocket());
    assert_eq!(
        answer(&server, "/socket").await,
        "HTTP/1.1 204 No Content\r\ncache-control: no-store\r\n\r\n"
    );
}

#[tokio::test]
async fn later_is_a_connection_that_says_so_and_counts_nowhere() {
    let store = QueueStore::new();
    submit(&store, "not for this one");
    let socket = EventSource::new(store.clone())
        .start(Start::Oldest)
        .permit(|_| Err(Refusal::LATER))
        .websocket();
    let server = Server::start(&socket);
    let mut client = Client::open(&server).await;
    assert_eq!((store.subscribers(), socket.streams()), (0, 0));
    client.closed_for_a_while(1013).await;
}

#[tokio::test]
async fn a_hook_that_waits_is_waited_for_and_chooses_the_store() {
    let room = QueueStore::new();
    let first = submit(&room, "first");
    let socket = EventSource::new(QueueStore::new())
        .permit_async({
            let room = room.clone();
            move |head| {
                let (room, is_ann) = (room.clone(), head.query("user").as_deref() == Some("ann"));
                async move {
                    tokio::task::yield_now().await;
                    match is_ann {
                        true => Ok(Permit::new().store(room).start(Start::Oldest)),
                        false => Err(Refusal::UNAUTHORIZED),
                    }
                }
            }
        })
        .websocket();
    let server = Server::start(&socket);
    assert_eq!(Client::refused(&server, &[]).await, 401);
    assert_eq!((room.subscribers(), socket.streams()), (0, 0));
    let mut client = Client::get(&server, "/socket?user=ann", &[]).await;
    let begin = moved(first, 0);
    let expected = [opened(begin), message(first, begin, "first")];
    assert_eq!(client.texts(2).await, expected);
    assert_eq!((room.subscribers(), socket.streams()), (1, 1));
}

#[tokio::test]
async fn what_is_open_is_counted_together() {
    let store = QueueStore::new();
    let events = by_user(&store).max_streams(3).max_streams_per_key(2);
    let socket = events.websocket();
    let full = Both(
        events.clone().overload(Overload::Unavailable),
        events.clone().overload(Overload::Unavailable).websocket(),
    );
    let server = Server::start(&Both(events.clone(), socket.clone()));
    let refusing = Server::start(&full);

    let stream = Raw::events(&server, "user=ann").await;
    let ann = open(&server, "ann").await;
    assert_eq!((events.streams(), socket.streams()), (2, 2));
    // Two of one key, one over each.
    assert!(
        answer(&refusing, "/socket?user=ann")
            .await
            .starts_with("HTTP/1.1 503 ")
    );
    let mut third = Client::get(&server, "/socket?user=ann", &[]).await;
    third.closed_for_a_while(1013).await;

    // Three in all.
    let bob = open(&server, "bob").await;
    for target in ["/socket?user=carol", "/events?user=carol"] {
        assert!(answer(&refusing, target).await.starts_with("HTTP/1.1 503 "));
    }
    assert_eq!((store.subscribers(), socket.streams()), (3, 3));

    // A place that one leaves is the other's.
    drop(stream);
    eventually("a place is free", || socket.streams() == 2).await;
    let ann2 = open(&server, "ann").await;
    bob.close().await;
    let carol = Raw::events(&server, "user=carol").await;
    assert_eq!((store.subscribers(), events.streams()), (3, 3));
    drop((ann, ann2, carol));
    until_left(&store, &socket).await;
}

#[tokio::test]
async fn beyond_a_limit_clients_get_what_overload_says() {
    let (store, socket) = store_and_socket();
    let events = EventSource::new(store.clone()).max_streams(0);
    let later = Server::start(&events.clone().websocket());
    Client::open(&later).await.closed_for_a_while(1013).await;
    for (overload, head) in [
        (
            Overload::Unavailable,
            "HTTP/1.1 503 Service Unavailable\r\ncache-control: no-store\r\n\
             content-length: 0\r\n\r\n",
        ),
        (
            Overload::Stop,
            "HTTP/1.1 204 No Content\r\ncache-control: no-store\r\n\r\n",
        ),
    ] {
        let server = Server::start(&events.clone().overload(overload).websocket());
        assert_eq!(answer(&server, "/socket").await, head);
    }
    assert_eq!((store.subscribers(), socket.streams()), (0, 0));
}

#[tokio::test]
async fn revoking_on_either_ends_both() {
    let store = QueueStore::new();
    let events = by_user(&store).farewell(3 * SECOND..=3 * SECOND);
    let socket = events.websocket();
    let server = Server::start(&Both(events.clone(), socket.clone()));
    for by_socket in [false, true] {
        let mut stream = Raw::events(&server, "user=ann").await;
        stream.block().await;
        let mut ann = open(&server, "ann").await;
        let mut bob = open(&server, "bob").await;
        let revoked = match by_socket {
            true => socket.revoke("ann"),
            false => events.revoke("ann"),
        };
        assert_eq!(revoked, 2);
        submit(&store, "not for ann");
        assert_eq!(ann.closed().await, (1008, "revoked".to_owned()));
        assert_eq!(stream.block().await, "retry: 3000");
        stream.ended().await;
        assert_eq!(bob.data(1).await, ["not for ann"]);
        assert_eq!((store.subscribers(), events.streams()), (1, 1));
        bob.close().await;
        until_left(&store, &socket).await;
    }
}
