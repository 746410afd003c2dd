//! What is asked in another way than `GET`, and what is asked badly.

use tornadose::{DataStore, EventSource, QueueStore};

use crate::vocabulary::{
    Client, Door, SECOND, Server, alone, last_event_id, request, resident, until_subscribers,
};

const WRONG: [&str; 8] = [
    "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW", "get",
];

#[tokio::test]
async fn every_other_method_is_405_and_no_subscription() {
    for door in Door::ALL_HTTP1 {
        let store = DataStore::with_initial("x").expect("small");
        let server = Server::behind(door, EventSource::new(store.clone()));
        let mut client = Client::connect(&server).await;
        for method in WRONG {
            client.send(&request(method, b"")).await;
            assert_eq!(
                client.head().await.without_date(),
                "HTTP/1.1 405 Method Not Allowed\r\n\
                 cache-control: no-store\r\n\
                 allow: GET, HEAD\r\n\
                 content-length: 0\r\n\
                 \r\n",
                "{method}"
            );
            assert_eq!(store.subscribers(), 0);
        }
        client.get(b"").await;
        assert_eq!(
            client.blocks(2).await[0],
            ":",
            "the connection is still good"
        );
    }
}

#[tokio::test]
async fn a_head_is_the_head_of_a_get_without_a_body_and_without_a_subscription() {
    for door in Door::ALL_HTTP1 {
        let store = DataStore::with_initial("x").expect("small");
        let server = Server::behind(door, EventSource::new(store.clone()));
        let mut client = Client::connect(&server).await;
        for lines in [&b""[..], &last_event_id(b"nonsense")] {
            client.send(&request("HEAD", lines)).await;
            let head = client.head().await;
            assert_eq!(head.status(), 200);
            assert_eq!(head.all("content-type"), ["text/event-stream"]);
            assert_eq!(head.all("cache-control"), ["no-store, no-transform"]);
            assert_eq!(head.all("x-accel-buffering"), ["no"]);
            // RFC 9110, 8.6: it would have to be the length of the `GET`'s body.
            assert_eq!(head.all("content-length"), [""; 0]);
            assert_eq!(store.subscribers(), 0);
        }
        // Nothing stands between those heads and this one.
        client.get(b"").await;
        assert_eq!(client.blocks(1).await, [":"]);
        assert_eq!(client.events(1).await, ["x"]);
        assert_eq!(store.subscribers(), 1);
    }
}

/// Requests of all the kinds that somebody has got wrong.
async fn bad_requests(server: &Server, count: usize) {
    let mut reused = Client::connect(server).await;
    for n in 0..count {
        match n % 10 {
            8 => {
                let mut client = Client::connect(server).await;
                client.send(b"this is not HTTP\r\n\r\n").await;
                assert_eq!(client.head().await.status(), 400);
            }
            9 => {
                let mut client = Client::connect(server).await;
                client.get_after(format!("nonsense {n}").as_bytes()).await;
                client.leave();
            }
            _ => {
                let method = WRONG[n % WRONG.len()];
                let id = last_event_id(n.to_string().as_bytes());
                reused.send(&request(method, &id)).await;
                assert_eq!(reused.head().await.status(), 405);
            }
        }
    }
}

#[test]
fn ten_thousand_bad_requests_leave_nothing_behind() {
    const NAME: &str = "methods::ten_thousand_bad_requests_leave_nothing_behind";
    alone(NAME, async {
        let store = QueueStore::new();
        let server = Server::start(EventSource::new(store.clone()));
        bad_requests(&server, 2000).await;
        until_subscribers(SECOND, || store.subscribers(), 0).await;

        let before = resident();
        bad_requests(&server, 10_000).await;
        until_subscribers(SECOND, || store.subscribers(), 0).await;
        let grown = resident().saturating_sub(before);
        println!("10,000 bad requests: {} KiB more", grown >> 10);
        assert!(grown <= 2 << 20, "{grown} bytes");
    });
}
