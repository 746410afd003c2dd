//! The ends of streams that have left: each is a farewell, the end of the body, and the end
//! of the connection.

use std::time::{Duration, Instant};

use tornadose::{
    DataStore, Event, EventSource, Hub, Overflow, Permit, QueueStore, Retention, Shutdown, Topics,
};

use crate::servers::{events_by_axum, listener, tight};
use crate::transcript::Listening;
use crate::vocabulary::{SECOND, Server, eventually, submit, within};

/// A crowd whose streams have left.
async fn crowd(server: &Server, events: &EventSource, clients: usize) -> Vec<Listening> {
    let before = events.detached_streams();
    let mut crowd = Vec::new();
    for _ in 0..clients {
        crowd.push(Listening::open(server, None).await);
    }
    let all = before + clients;
    eventually(5 * SECOND, "all leave", || events.detached_streams() == all).await;
    crowd
}

async fn assert_ended(events: &EventSource) {
    eventually(SECOND, "all are gone", || {
        (events.streams(), events.detached_streams()) == (0, 0)
    })
    .await;
}

#[tokio::test]
async fn a_store_that_is_closed_or_dropped_ends_its_streams() {
    for dropped in [false, true] {
        let store = QueueStore::new();
        let fallback = DataStore::new();
        let granted = store.clone();
        let slot = std::sync::Arc::new(std::sync::Mutex::new(Some(granted)));
        let hook = std::sync::Arc::clone(&slot);
        let events = EventSource::new(fallback).permit(move |_| {
            let store = hook.lock().expect("no panic").clone();
            Ok(Permit::new().store(store.expect("while it lives")))
        });
        let server = events_by_axum(listener(), &events);
        let crowd = crowd(&server, &events, 30).await;
        assert_eq!(store.subscribers(), 30);
        for n in 0..5 {
            submit(&store, n.to_string());
        }
        if dropped {
            *slot.lock().expect("no panic") = None;
            drop(store);
        } else {
            store.close();
        }
        for client in crowd {
            let told = client.read_to_end().await.without_farewell();
            assert_eq!(told.events(), ["0", "1", "2", "3", "4"]);
        }
        assert_ended(&events).await;
    }
}

#[tokio::test]
async fn a_hub_that_is_closed_ends_its_streams() {
    let hub = Hub::new();
    let topic = || Topics::new().topic("a".parse().expect("a topic"));
    let events = EventSource::new(hub.clone()).permit(move |_| Ok(Permit::new().topics(topic())));
    let server = events_by_axum(listener(), &events);
    let crowd = crowd(&server, &events, 20).await;
    for n in 0..5 {
        let event = Event::new(n.to_string()).topic("a".parse().expect("a topic"));
        drop(hub.submit(event).expect("small"));
    }
    hub.close();
    for client in crowd {
        let told = client.read_to_end().await.without_farewell();
        assert_eq!(told.events(), ["0", "1", "2", "3", "4"]);
    }
    assert_ended(&events).await;
}

#[tokio::test]
async fn a_shutdown_sends_what_there_is_and_waits_for_all() {
    let store = QueueStore::new();
    let shutdown = Shutdown::new();
    let events = EventSource::new(store.clone()).shutdown(&shutdown);
    let server = events_by_axum(listener(), &events);
    let crowd = crowd(&server, &events, 100).await;
    submit(&store, "first");
    submit(&store, "last");
    shutdown.begin();
    // Whatever their server does.
    within(5 * SECOND, "the end of the shutdown", shutdown.ended()).await;
    assert_eq!(
        (
            events.streams(),
            events.detached_streams(),
            store.subscribers()
        ),
        (0, 0, 0)
    );
    for client in crowd {
        let told = client.read_to_end().await.without_farewell();
        assert_eq!(told.events(), ["first", "last"]);
    }
}

#[tokio::test]
async fn a_shutdown_does_not_end_before_the_last_stream() {
    let store = QueueStore::new();
    let shutdown = Shutdown::new();
    let events = EventSource::new(store.clone()).shutdown(&shutdown);
    let server = events_by_axum(tight(), &events);
    let blocked = Listening::open_tight(&server).await;
    eventually(SECOND, "it leaves", || events.detached_streams() == 1).await;
    for _ in 0..100 {
        submit(&store, "x".repeat(10_000));
    }
    shutdown.begin();
    let soon = tokio::time::timeout(Duration::from_millis(100), shutdown.ended());
    assert!(soon.await.is_err(), "somebody has not got everything yet");
    let told = blocked.read_to_end().await.without_farewell();
    assert_eq!(told.events().len(), 100);
    within(SECOND, "the end", shutdown.ended()).await;
}

#[tokio::test]
async fn a_paced_shutdown_keeps_its_turns() {
    const BATCH: usize = 10;
    const INTERVAL: Duration = Duration::from_millis(60);
    let store = QueueStore::new();
    let shutdown = Shutdown::paced(BATCH, INTERVAL);
    let events = EventSource::new(store.clone()).shutdown(&shutdown);
    let server = events_by_axum(listener(), &events);
    let crowd = crowd(&server, &events, 5 * BATCH).await;
    submit(&store, "before");
    let begun = Instant::now();
    shutdown.begin();
    submit(&store, "after");
    let reading: tokio::task::JoinSet<_> = crowd
        .into_iter()
        .map(|client| async move {
            let told = client.read_to_end().await.without_farewell();
            (begun.elapsed(), told)
        })
        .collect();
    let mut ended = reading.join_all().await;
    ended.sort_by_key(|(at, _)| *at);
    for (turn, batch) in (0..).zip(ended.chunks(BATCH)) {
        for (at, told) in batch {
            assert!(*at >= turn * INTERVAL, "{at:?} in turn {turn}");
            assert_eq!(told.events()[0], "before");
            if turn > 0 {
                // Who has yet to go goes on.
                assert_eq!(told.events(), ["before", "after"]);
            }
        }
    }
    within(SECOND, "the end", shutdown.ended()).await;
}

#[tokio::test]
async fn an_age_and_an_expiry_end_streams_with_and_without_traffic() {
    let lifetime = Duration::from_millis(200);
    for (name, aged) in [("age", true), ("expiry", false)] {
        for busy in [false, true] {
            let store = QueueStore::new();
            let events = EventSource::new(store.clone()).without_keep_alive();
            let events = match aged {
                true => events.max_age(lifetime),
                false => events.permit(move |_| Ok(Permit::new().expires_in(lifetime))),
            };
            let server = events_by_axum(listener(), &events);
            let begun = Instant::now();
            let mut clients = Vec::new();
            for _ in 0..10 {
                clients.push(Listening::open(&server, None).await);
            }
            if busy {
                while begun.elapsed() < 2 * lifetime {
                    submit(&store, "x");
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            for client in clients {
                client.read_to_end().await.without_farewell().judge();
                let least = if aged {
                    lifetime.mul_f64(0.8)
                } else {
                    lifetime
                };
                assert!(begun.elapsed() >= least, "{name}");
            }
            assert_ended(&events).await;
            assert_eq!(store.subscribers(), 0);
        }
    }
}

/// Everybody has the key that the header says.
fn keyed(store: &QueueStore) -> EventSource {
    EventSource::new(store.clone())
        .without_keep_alive()
        .permit(|head| {
            let key = head.query("key").unwrap_or_else(|| "none".to_owned());
            Ok(Permit::new().key(key))
        })
}

async fn open_as(server: &Server, key: &str) -> tokio::net::TcpStream {
    use tokio::io::AsyncWriteExt;
    let mut socket = tokio::net::TcpStream::connect(server.address)
        .await
        .expect("a server");
    let request = format!("GET /events?key={key} HTTP/1.1\r\nhost: x\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("to send");
    socket
}

async fn read_to_end(mut socket: tokio::net::TcpStream) -> String {
    use tokio::io::AsyncReadExt;
    let mut text = String::new();
    let read = socket.read_to_string(&mut text);
    let read = within(10 * SECOND, "the end", read).await;
    read.expect("no reset");
    assert!(text.ends_with("\n\n\r\n0\r\n\r\n"), "{text}");
    text
}

#[tokio::test]
async fn one_key_among_many_is_revoked() {
    let store = QueueStore::new();
    let events = keyed(&store);
    let server = events_by_axum(listener(), &events);
    let mut sockets = Vec::new();
    for n in 0..60 {
        sockets.push((n % 3, open_as(&server, &(n % 3).to_string()).await));
    }
    eventually(SECOND, "all leave", || events.detached_streams() == 60).await;
    submit(&store, "before");
    eventually(SECOND, "it is said", || store.subscribers() == 60).await;
    assert_eq!(events.revoke("1"), 20);
    submit(&store, "secret");
    eventually(SECOND, "they are gone", || {
        (events.detached_streams(), store.subscribers()) == (40, 40)
    })
    .await;
    store.close();
    for (key, socket) in sockets {
        let text = read_to_end(socket).await;
        assert_eq!(text.contains("data: secret"), key != 1, "{key}: {text}");
        assert_eq!(text.matches("retry: ").count(), 1);
    }
    assert_ended(&events).await;
}

/// What is submitted when a revocation has returned is sent to nobody whom it concerns,
/// however busy the feed is that they shared with others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_to_who_is_revoked_in_the_midst_of_a_storm() {
    let store = QueueStore::new();
    let events = keyed(&store);
    let server = events_by_axum(listener().shards(1.try_into().expect("one")), &events);
    for round in 0..30 {
        let mut revoked = Vec::new();
        let mut others = Vec::new();
        for n in 0..40 {
            match n % 8 {
                0 => revoked.push(tokio::spawn(read_to_end(open_as(&server, "mallory").await))),
                _ => others.push(tokio::spawn(read_to_end(open_as(&server, "ann").await))),
            }
        }
        eventually(5 * SECOND, "all leave", || events.detached_streams() == 40).await;
        let (storming, ends) = (store.clone(), events.clone());
        let storm = tokio::task::spawn_blocking(move || {
            for n in 0..400 {
                submit(&storming, format!("{n} {}", "x".repeat(200)));
                if n == 200 {
                    assert_eq!(ends.revoke("mallory"), 5);
                    submit(&storming, "secret");
                }
            }
            submit(&storming, "over");
        });
        storm.await.expect("no panic");
        for told in revoked {
            let text = told.await.expect("no panic");
            assert!(!text.contains("data: secret"), "round {round}");
        }
        assert_eq!(events.revoke("ann"), 35);
        for told in others {
            told.await.expect("no panic");
        }
        assert_ended(&events).await;
    }
}

#[tokio::test]
async fn who_is_disconnected_for_being_slow_is_told_to_come_back() {
    let store = QueueStore::builder()
        .retention(Retention::new().events(10))
        .overflow(Overflow::Disconnect)
        .build();
    let events = EventSource::new(store.clone());
    let server = events_by_axum(tight(), &events);
    let slow = Listening::open_tight(&server).await;
    eventually(SECOND, "it leaves", || events.detached_streams() == 1).await;
    for n in 0..200 {
        submit(&store, format!("{n} {}", "x".repeat(10_000)));
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    let told = slow.read_to_end().await.without_farewell().judge();
    assert_eq!(told.missed, 0);
    assert!((1..200).contains(&told.received), "{told:?}");
    assert_ended(&events).await;
}
