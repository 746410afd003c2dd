//! What leaves: everything that reaches its connection as it was made.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::server::conn::http1;
use tokio::time::{Sleep, sleep};
use tornadose::{
    DataStore, Event, EventBody, EventSource, Hub, OnGap, Overflow, Permit, QueueStore, Retention,
    Topics,
};

use crate::servers::{axum, events_by_axum, hyper, listener, tight};
use crate::vocabulary::{
    Client, Door, SECOND, Server, block_of, end_of, eventually, request, submit, submit_numbers,
    within,
};

/// Opens a stream of an empty store at this server, and hears an event.
async fn heard(server: &Server, store: &QueueStore) -> Client {
    let mut client = Client::open(server).await;
    let bookmark = format!("id: {}", end_of(store));
    assert_eq!(client.blocks(2).await, [":", &bookmark]);
    // Who sends this one is who keeps the stream.
    submit(store, "x");
    assert_eq!(client.events(1).await, ["x"]);
    client
}

/// A layer that looks at everything and changes nothing.
struct Looking {
    body: EventBody,
    frames: AtomicUsize,
    patience: Pin<Box<Sleep>>,
}

impl Looking {
    fn at(body: EventBody) -> Self {
        Self {
            body,
            frames: AtomicUsize::new(0),
            patience: Box::pin(sleep(Duration::from_secs(3600))),
        }
    }
}

impl Body for Looking {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if self.patience.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(std::io::ErrorKind::TimedOut.into())));
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_ready() {
            self.frames.fetch_add(1, Ordering::Relaxed);
        }
        polled.map(|frame| frame.map(|frame| frame.map_err(|never| match never {})))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[tokio::test]
async fn it_leaves_whatever_serves_it() {
    let plain = http1::Builder::new;
    type Start = Box<dyn Fn(&EventSource) -> Server>;
    let of = |builder: http1::Builder| -> Start {
        Box::new(move |events| hyper(listener(), builder.clone(), events, |body| body))
    };
    let mut half_close = plain();
    half_close.half_close(true);
    let mut unkept = plain();
    unkept.keep_alive(false);
    let servers: [(&str, Start); 11] = [
        (
            "axum",
            Box::new(|events| events_by_axum(listener(), events)),
        ),
        ("hyper", of(plain())),
        ("half_close", of(half_close)),
        ("keep_alive(false)", of(unkept)),
        (
            "auto",
            Box::new(|events| Server::behind(Door::Auto, events.clone())),
        ),
        (
            "tower",
            Box::new(|events| Server::behind(Door::Tower, events.clone())),
        ),
        (
            "boxed",
            Box::new(|events| hyper(listener(), http1::Builder::new(), events, BodyExt::boxed)),
        ),
        (
            "boxed twice",
            Box::new(|events| {
                hyper(listener(), http1::Builder::new(), events, |body| {
                    body.boxed_unsync().boxed_unsync()
                })
            }),
        ),
        (
            "an axum body",
            Box::new(|events| {
                hyper(listener(), http1::Builder::new(), events, |body| {
                    AxumBody::new(body).map_err(std::io::Error::other)
                })
            }),
        ),
        (
            "looked at",
            Box::new(|events| hyper(listener(), http1::Builder::new(), events, Looking::at)),
        ),
        (
            "an axum layer",
            Box::new(|events| {
                let looked = axum::middleware::map_response(async |response: Response| {
                    response.map(|body| AxumBody::new(body.map_err(std::io::Error::other)))
                });
                let app = Router::new().route_service("/events", events.clone());
                axum(listener(), app.layer(looked))
            }),
        ),
    ];
    for (name, start) in servers {
        let store = QueueStore::new();
        let events = EventSource::new(store.clone());
        let server = start(&events);
        let client = heard(&server, &store).await;
        assert_eq!(events.detached_streams(), 1, "{name}");
        assert_eq!((events.streams(), store.subscribers()), (1, 1), "{name}");
        client.leave();
        eventually(SECOND, name, || {
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
async fn the_second_request_on_a_connection_leaves_too() {
    let store = QueueStore::new();
    let events = EventSource::new(store.clone());
    let server = events_by_axum(listener(), &events);
    let mut client = Client::connect(&server).await;
    for _ in 0..3 {
        client.send(&request("HEAD", b"")).await;
        assert_eq!(client.head().await.status(), 200);
    }
    client.send(&request("PUT", b"")).await;
    assert_eq!(client.head().await.status(), 405);
    assert_eq!(events.streams(), 0);
    client.get(b"").await;
    assert_eq!(client.blocks(2).await[0], ":");
    submit(&store, "x");
    assert_eq!(client.events(1).await, ["x"]);
    assert_eq!(events.detached_streams(), 1);
}

#[tokio::test]
async fn a_post_whose_body_nobody_reads_does_not() {
    let store = QueueStore::new();
    let events = EventSource::new(store.clone());
    let server = events_by_axum(listener(), &events);
    let mut client = Client::connect(&server).await;
    client
        .send(&request("POST", b"content-length: 100000\r\n"))
        .await;
    assert_eq!(client.head().await.status(), 405);
    assert_eq!((events.streams(), events.detached_streams()), (0, 0));
}

#[tokio::test]
async fn a_refusal_a_204_and_an_answer_for_later_do_not() {
    let store = QueueStore::builder()
        .retention(Retention::new().events(2))
        .build();
    let ids = submit_numbers(&store, 9);
    let events = EventSource::new(store.clone()).on_gap(OnGap::Stop);
    let server = events_by_axum(listener(), &events);
    let mut client = Client::connect(&server).await;
    let id = ids[0].to_string();
    client
        .send(&request(
            "GET",
            &crate::vocabulary::last_event_id(id.as_bytes()),
        ))
        .await;
    assert_eq!(client.head().await.status(), 204);
    let full = events_by_axum(listener(), &events.max_streams(0));
    let mut client = Client::open(&full).await;
    assert_eq!(client.blocks(1).await, [":"]);
    crate::vocabulary::farewell(&client.block().await.expect("a farewell"));
    assert_eq!(client.raw_chunk().await, b"0\r\n\r\n");
    // That connection is still the server's.
    client.get(b"").await;
    assert_eq!(store.subscribers(), 0);
}

#[tokio::test]
async fn a_first_frame_with_a_retry_and_a_replay_leaves() {
    let store = QueueStore::new();
    let ids = submit_numbers(&store, 500);
    let events = EventSource::new(store.clone()).retry(Duration::from_millis(1234));
    let server = events_by_axum(listener(), &events);
    for from in [0, 1, 250, 498, 499] {
        let mut client = Client::open_after(&server, ids[from]).await;
        let first = match from {
            499 => format!("id: {}\nretry: 1234", ids[499]),
            _ => "retry: 1234".to_owned(),
        };
        assert_eq!(client.blocks(2).await, [":", &first]);
        for (id, n) in (from + 1..500).map(|at| (ids[at], at + 1)) {
            let block = client.block().await.expect("an event");
            assert_eq!(block, block_of(id, &n.to_string()));
        }
        eventually(SECOND, "it leaves", || events.detached_streams() == 1).await;
        client.leave();
        eventually(SECOND, "it ends", || events.streams() == 0).await;
    }
}

#[tokio::test]
async fn a_value_that_there_is_leaves_with_its_stream() {
    let store = DataStore::with_initial("first").expect("small");
    let events = EventSource::new(store.clone());
    let server = events_by_axum(listener(), &events);
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Client::open(&server).await;
        assert_eq!(client.blocks(1).await, [":"]);
        assert_eq!(client.events(1).await, ["first"]);
        clients.push(client);
    }
    for n in 0..20 {
        store.submit(n.to_string()).expect("open");
        for client in &mut clients {
            assert_eq!(client.events(1).await, [n.to_string()]);
        }
    }
    assert_eq!(events.detached_streams(), 3);
}

#[tokio::test]
async fn streams_of_a_store_that_waits_leave_and_hold_it_back() {
    let stall = Duration::from_secs(60);
    let store = QueueStore::builder()
        .retention(Retention::new().events(10))
        .overflow(Overflow::Wait { stall })
        .build();
    let events = EventSource::new(store.clone());
    let server = events_by_axum(tight(), &events);
    let mut client = Client::connect_tight(&server).await;
    client.get(b"").await;
    assert_eq!(client.blocks(2).await[0], ":");
    eventually(SECOND, "it leaves", || events.detached_streams() == 1).await;
    let publisher = tokio::spawn(async move {
        for n in 0..500 {
            let data = format!("{n} {}", "x".repeat(10_000));
            let submitted = store.submit(data).expect("waited for").await;
            submitted.expect("open");
        }
    });
    // More than all buffers take, and nothing is missing.
    for n in 0..500 {
        let data = client.events(1).await;
        assert!(data[0].starts_with(&format!("{n} ")));
    }
    publisher.await.expect("no refusal");
}

/// A hub of which everybody gets these.
fn of_hub(hub: &Hub, grant: impl Fn(Permit) -> Permit + Send + Sync + 'static) -> EventSource {
    EventSource::new(hub.clone()).permit(move |_| Ok(grant(Permit::new())))
}

fn to(topic: &str, data: &str) -> Event {
    Event::new(data).topic(topic.parse().expect("a topic"))
}

/// The next block that is more than an id.
async fn next_event(client: &mut Client) -> String {
    let event = async {
        loop {
            let block = client.block().await.expect("an event");
            if block.contains("data: ") {
                return crate::vocabulary::data(&block).to_owned();
            }
        }
    };
    within(5 * SECOND, "an event", event).await
}

#[tokio::test]
async fn streams_of_a_hub_leave_by_name_by_pattern_and_with_a_replay() {
    let hub = Hub::new();
    let topics = || {
        let named = Topics::new().topic("a".parse().expect("a topic"));
        named.pattern("b/#".parse().expect("a pattern"))
    };
    let events = of_hub(&hub, move |permit| permit.topics(topics()));
    let server = events_by_axum(listener(), &events);
    let mut client = Client::open(&server).await;
    assert_eq!(client.blocks(1).await, [":"]);
    let mut ids = Vec::new();
    for (topic, data) in [
        ("a", "1"),
        ("c", "no"),
        ("b/1", "2"),
        ("b/2", "3"),
        ("a/b", "no"),
        ("a", "4"),
    ] {
        let submitted = hub.submit(to(topic, data)).expect("small");
        ids.push(submitted.id().expect("in memory"));
    }
    for expected in ["1", "2", "3", "4"] {
        assert_eq!(next_event(&mut client).await, expected);
    }
    assert_eq!(events.detached_streams(), 1);
    client.leave();
    let mut back = Client::open_after(&server, ids[2]).await;
    assert_eq!(next_event(&mut back).await, "3");
    assert_eq!(next_event(&mut back).await, "4");
    drop(hub.submit(to("b/3", "5")).expect("small"));
    assert_eq!(next_event(&mut back).await, "5");
    eventually(SECOND, "one left, one came", || {
        events.detached_streams() == 1
    })
    .await;
}

#[tokio::test]
async fn what_is_conflated_or_has_an_interval_leaves_and_ends_with_the_last_value() {
    let hub = Hub::new();
    let all = || Topics::from("#".parse::<tornadose::Pattern>().expect("a pattern"));
    let interval = Duration::from_millis(30);
    let store = QueueStore::new();
    let grants: [(&str, EventSource); 4] = [
        (
            "conflated hub",
            of_hub(&hub, move |permit| permit.topics(all()).conflate()),
        ),
        (
            "slow hub",
            of_hub(&hub, move |permit| {
                permit.topics(all()).min_interval(interval).conflate()
            }),
        ),
        (
            "conflated queue",
            EventSource::new(store.clone()).permit(|_| Ok(Permit::new().conflate())),
        ),
        (
            "slow queue",
            EventSource::new(store.clone())
                .permit(move |_| Ok(Permit::new().min_interval(interval))),
        ),
    ];
    for (name, events) in grants {
        let server = events_by_axum(listener(), &events);
        let mut client = Client::open(&server).await;
        assert_eq!(client.blocks(1).await, [":"]);
        eventually(SECOND, name, || events.detached_streams() == 1).await;
        let begun = std::time::Instant::now();
        for n in 1..=300 {
            submit(&store, n.to_string());
            drop(hub.submit(to("t", &n.to_string())).expect("small"));
            if n % 100 == 0 {
                tokio::time::sleep(2 * interval).await;
            }
        }
        let (mut last, mut count) = (0, 0);
        while last < 300 {
            let n: u32 = next_event(&mut client).await.parse().expect("a number");
            assert!(n > last, "{name}");
            (last, count) = (n, count + 1);
        }
        if name == "slow hub" {
            let lots = begun.elapsed().div_duration_f64(interval) as u32 + 1;
            assert!(count <= lots, "{name}: {count} in {:?}", begun.elapsed());
        }
        if name == "slow queue" {
            assert_eq!(count, 300);
        }
    }
}

#[tokio::test]
async fn presence_counts_streams_that_have_left() {
    let hub = Hub::builder()
        .presence("room".parse().expect("a pattern"))
        .build();
    let topics = || {
        let room = Topics::new().topic("room".parse().expect("a topic"));
        room.topic("presence/room".parse().expect("a topic"))
    };
    let events = EventSource::new(hub.clone()).permit(move |head| {
        let name = head.header("x-name").unwrap_or("nobody").to_owned();
        Ok(Permit::new().topics(topics()).name(name))
    });
    let server = events_by_axum(listener(), &events);
    let mut ann = Client::connect(&server).await;
    ann.get(b"x-name: ann\r\n").await;
    let told =
        |name: &str, count| format!("{{\"topic\":\"room\",\"name\":\"{name}\",\"count\":{count}}}");
    eventually(SECOND, "she leaves", || events.detached_streams() == 1).await;
    let mut bob = Client::connect(&server).await;
    bob.get(b"x-name: bob\r\n").await;
    assert_eq!(next_event(&mut ann).await, told("bob", 2));
    eventually(SECOND, "both leave", || events.detached_streams() == 2).await;
    assert_eq!(hub.subscribers_of(&"room".parse().expect("a topic")), 2);
    bob.reset();
    assert_eq!(next_event(&mut ann).await, told("bob", 1));
}

/// An answer of any length before it on the same connection, which the client has not read
/// when it asks for the stream: now the head leaves at once, now it waits for the client,
/// now it is not even asked for.
#[tokio::test]
async fn a_head_behind_what_nobody_reads_leaves_whole() {
    let store = QueueStore::new();
    let events = EventSource::new(store.clone());
    let large =
        axum::routing::get(
            |length: axum::extract::Path<usize>| async move { "y".repeat(length.0) },
        );
    let app = Router::new()
        .route_service("/events", events.clone())
        .route("/large/{length}", large);
    let server = axum(tight(), app);
    let mut waited = 0;
    for (length, gulp) in (20_000..500_000)
        .step_by(10_000)
        .zip([1, 7, 100, 9999].into_iter().cycle())
    {
        let mut client = Client::connect_tight(&server).await;
        let get = format!("GET /large/{length} HTTP/1.1\r\nhost: x\r\n\r\n");
        client
            .send(&[get.as_bytes(), &request("GET", b"")].concat())
            .await;
        // Long enough for most of them to come as far as they can without a client.
        tokio::time::sleep(Duration::from_millis(10)).await;
        waited += usize::from(events.streams() > events.detached_streams());
        let id = submit(&store, "while it waits");
        assert_eq!(client.skip_response(length).await, 200);
        let mut client = client.with_gulps_of(gulp);
        assert_eq!(client.head().await.status(), 200);
        assert_eq!(client.blocks(1).await, [":"]);
        let from = client.block().await.expect("a place");
        if from != format!("id: {id}") {
            assert_eq!(client.blocks(1).await, [block_of(id, "while it waits")]);
        }
        submit(&store, "then");
        assert_eq!(client.events(1).await, ["then"]);
        assert_eq!(events.detached_streams(), 1, "{length}");
        client.leave();
        eventually(SECOND, "it is gone", || events.streams() == 0).await;
    }
    println!("{waited} heads waited for their clients");
}

/// The same, and the client never reads: it is noticed when it leaves.
#[tokio::test]
async fn a_client_that_stops_reading_before_the_head_leaves_nothing_behind() {
    for reset in [false, true] {
        let store = QueueStore::new();
        let events = EventSource::new(store.clone()).without_keep_alive();
        let large = axum::routing::get(|| async { "y".repeat(4 << 20) });
        let app = Router::new()
            .route_service("/events", events.clone())
            .route("/large", large);
        let server = axum(tight(), app);
        let mut client = Client::connect_tight(&server).await;
        client.send(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await;
        client.send(&request("GET", b"")).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
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
