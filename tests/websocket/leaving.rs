//! Clients that leave, in every way there is: nobody stays subscribed.

use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;
use tornadose::{QueueStore, WebSocketSubscriber};

use crate::client::Client;
use crate::raw::{LINES, Raw, TEXT, closing, frame, head, request};
use crate::server::Server;
use crate::vocabulary::{
    eventually, from_oldest, store_and_socket, submit, submit_numbers, until_left,
};

/// A server, and a client of it that is open and has read everything.
async fn listening() -> (QueueStore, WebSocketSubscriber, Server, Raw) {
    let (store, socket) = store_and_socket();
    let server = Server::start(&socket);
    let mut client = Raw::open(&server).await;
    client.text().await;
    assert_eq!((store.subscribers(), socket.streams()), (1, 1));
    (store, socket, server, client)
}

#[tokio::test]
async fn one_that_hangs_up_is_noticed_without_any_traffic() {
    let (store, socket, _server, client) = listening().await;
    drop(client);
    until_left(&store, &socket).await;
}

#[tokio::test]
async fn one_that_is_killed_is_noticed_without_any_traffic() {
    let (store, socket, _server, client) = listening().await;
    client.reset();
    until_left(&store, &socket).await;
}

#[tokio::test]
async fn one_that_closes_properly_is_let_go_of() {
    let (store, socket) = store_and_socket();
    let server = Server::start(&socket);
    let mut client = Client::open(&server).await;
    client.text().await;
    client.close().await;
    assert_eq!((store.subscribers(), socket.streams()), (0, 0));
}

#[tokio::test]
async fn one_that_closes_its_half_gets_nothing_more_and_the_end() {
    let (store, socket, _server, mut client) = listening().await;
    client.io.shutdown().await.expect("an open connection");
    until_left(&store, &socket).await;
    submit(&store, "for nobody");
    client.ended().await;
}

#[tokio::test]
async fn one_that_leaves_in_the_middle_of_a_frame_is_noticed() {
    let whole = [
        frame(0x80 | TEXT, &[b'x'; 300]),
        frame(TEXT, b"half"),
        frame(0x80, b"and"),
    ]
    .concat();
    // In a head, in its length, in its mask, in a payload, between two fragments.
    for cut in [1, 2, 3, 4, 5, 8, 9, 200, 307, 318, 319] {
        for reset in [false, true] {
            let (store, socket, _server, mut client) = listening().await;
            client.send(&whole[..cut]).await;
            match reset {
                true => client.reset(),
                false => drop(client),
            }
            until_left(&store, &socket).await;
        }
    }
}

#[tokio::test]
async fn one_that_leaves_in_the_middle_of_what_it_is_sent_is_noticed() {
    let store = QueueStore::new();
    let socket = from_oldest(&store);
    for _ in 0..10 {
        submit(&store, "x".repeat(1 << 20));
    }
    let server = Server::tight(&socket);
    for reset in [false, true] {
        let client = Raw::open(&server).await;
        assert_eq!(socket.streams(), 1);
        match reset {
            true => client.reset(),
            false => drop(client),
        }
        until_left(&store, &socket).await;
    }
}

#[tokio::test]
async fn one_that_leaves_before_it_is_answered_is_noticed() {
    let (store, socket) = store_and_socket();
    let server = Server::start(&socket);
    let request = request("GET", "/socket", &LINES);
    for cut in [0, 1, 20, request.len() - 1, request.len()] {
        for reset in [false, true] {
            let mut client = Raw::connect(&server).await;
            client.send(&request[..cut]).await;
            match reset {
                true => client.reset(),
                false => drop(client),
            }
        }
    }
    // All of them have been accepted when one that came later has been answered.
    Client::open(&server).await.close().await;
    until_left(&store, &socket).await;
}

#[tokio::test]
async fn what_a_client_sends_behind_its_request_belongs_to_the_connection() {
    let (store, socket) = store_and_socket();
    let server = Server::start(&socket);
    let mut client = Raw::connect(&server).await;
    let bytes = [
        request("GET", "/socket", &LINES),
        frame(0x89, b"eager"),
        closing(1000),
    ];
    client.send(&bytes.concat()).await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    let mut firsts = Vec::new();
    while firsts.last() != Some(&0x88) {
        firsts.push(client.frame().await.first);
    }
    assert_eq!(firsts, [0x81, 0x8a, 0x88]);
    client.ended().await;
    until_left(&store, &socket).await;
}

#[tokio::test]
async fn one_that_leaves_does_not_disturb_the_others() {
    let (store, socket) = store_and_socket();
    let server = Server::start(&socket);
    let mut staying = Client::open(&server).await;
    staying.text().await;
    for n in 0..60 {
        let mut leaving = Raw::open(&server).await;
        submit(&store, n.to_string());
        match n % 4 {
            0 => leaving.reset(),
            1 => drop(leaving),
            2 => leaving.send(&closing(1000)).await,
            _ => leaving.send(&head(0x82, 1000)).await,
        }
        assert_eq!(staying.data(1).await, [n.to_string()]);
    }
    eventually("only one stays", || socket.streams() == 1).await;
    assert_eq!(store.subscribers(), 1);
}

#[tokio::test]
async fn two_hundred_clients_come_and_go() {
    let (store, socket) = store_and_socket();
    let server = Server::start(&socket);
    for round in 0..2 {
        let mut clients = Vec::new();
        for _ in 0..200 {
            clients.push(Client::open(&server).await);
        }
        assert_eq!((store.subscribers(), socket.streams()), (200, 200));
        submit_numbers(&store, 3);
        for client in &mut clients {
            client.text().await;
            assert_eq!(client.data(3).await, ["1", "2", "3"], "{round}");
        }
        for (n, mut client) in clients.into_iter().enumerate() {
            match n % 3 {
                0 => client.reset(),
                1 => drop(client),
                _ => client.send(Message::Close(None)).await,
            }
        }
        until_left(&store, &socket).await;
    }
}
