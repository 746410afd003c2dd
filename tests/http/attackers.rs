//! Clients that mean harm, one by one and many: nobody else notices, and nothing is
//! registered for them.

use tornadose::{EventSource, QueueStore};

use crate::vocabulary::{
    Client, Door, SECOND, Server, data, end_of, gap, last_event_id, request, submit,
    until_subscribers,
};

/// A server, and a client of it that listens.
async fn listening(door: Door) -> (QueueStore, Server, Client) {
    let store = QueueStore::new();
    let server = Server::behind(door, EventSource::new(store.clone()));
    let mut client = Client::open(&server).await;
    let bookmark = format!("id: {}", end_of(&store));
    assert_eq!(client.blocks(2).await, [":", &bookmark]);
    (store, server, client)
}

/// Waits until only one listens. hyper reads no further than what nobody has taken yet,
/// a body or a second request, so it is not by reading that it notices who has left: it
/// is by the next events, or the keep-alive.
async fn until_noticed(store: &QueueStore) {
    let after_another = || {
        submit(store, "x");
        store.subscribers()
    };
    until_subscribers(SECOND, after_another, 1).await;
}

#[tokio::test]
async fn two_hundred_halves_of_a_head_and_then_silence_register_nothing() {
    let whole = request("GET", b"accept: text/event-stream\r\n");
    for door in Door::ALL_HTTP1 {
        let (store, server, mut good) = listening(door).await;
        let mut silent = Vec::new();
        for n in 0..200 {
            let mut client = Client::connect(&server).await;
            // From nothing at all to all but the last byte.
            client.send(&whole[..n % whole.len()]).await;
            silent.push(client);
        }
        for n in 0..10 {
            submit(&store, n.to_string());
            assert_eq!(good.events(1).await, [n.to_string()]);
        }
        assert_eq!(store.subscribers(), 1, "{door:?}");
        drop(silent);
        until_subscribers(SECOND, || store.subscribers(), 1).await;
    }
}

#[tokio::test]
async fn an_id_of_8_kilobytes_is_a_gap_and_one_that_no_server_takes_is_nothing() {
    let (store, server, mut good) = listening(Door::Http1).await;
    let end = end_of(&store);
    let told = gap("malformed", None, None, end);
    let mut client = Client::connect(&server).await;
    client.get(&last_event_id(&[b'9'; 8192])).await;
    assert_eq!(client.blocks(2).await, [":", &told]);
    drop(client);

    // Longer than hyper reads: its answer, not ours.
    let mut client = Client::connect(&server).await;
    let long = request("GET", &last_event_id(&vec![b'9'; 1_000_000]));
    client.send(&long).await;
    assert_eq!(client.head().await.status(), 431);
    until_subscribers(SECOND, || store.subscribers(), 1).await;
    submit(&store, "x");
    assert_eq!(good.events(1).await, ["x"]);
}

#[tokio::test]
async fn requests_behind_a_stream_that_never_ends_open_no_more_streams() {
    let (store, server, _good) = listening(Door::Http1).await;
    let mut greedy = Client::connect(&server).await;
    greedy.send(&request("GET", b"").repeat(100)).await;
    assert_eq!(greedy.head().await.status(), 200);
    assert_eq!(greedy.blocks(2).await[0], ":");
    for n in 0..10 {
        submit(&store, n.to_string());
        assert_eq!(greedy.events(1).await, [n.to_string()]);
    }
    assert_eq!(store.subscribers(), 2);
    greedy.reset();
    until_noticed(&store).await;
}

#[tokio::test]
async fn a_body_behind_a_request_is_not_waited_for() {
    let (store, server, _good) = listening(Door::Http1).await;
    for lines in [
        &b"content-length: 1000000000000\r\n"[..],
        b"transfer-encoding: chunked\r\n",
        b"expect: 100-continue\r\ncontent-length: 5\r\n",
    ] {
        let mut client = Client::connect(&server).await;
        client.get(lines).await;
        assert_eq!(client.blocks(2).await[0], ":");
        submit(&store, "x");
        let block = client.block().await.expect("an event");
        assert_eq!(data(&block), "x");
    }
    until_noticed(&store).await;
}
