//! What stays with its server, and works as if there were no other way.

use std::convert::Infallible;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, Version};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::client::conn::http2;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tornadose::{
    Event, EventBody, EventSource, QueueStore, Store, SubmitError, Submitted, Subscribe,
    Subscription,
};

use crate::servers::{events_by_axum, hyper, listener};
use crate::vocabulary::{Client, Door, SECOND, Server, end_of, eventually, request, submit};

type Frames = Pin<Box<dyn Body<Data = Bytes, Error = Infallible> + Send>>;

fn copied(body: EventBody) -> Frames {
    Box::pin(body.map_frame(|frame| frame.map_data(|data| Bytes::copy_from_slice(&data))))
}

/// Comments of its own before and behind.
fn framed(body: EventBody) -> Frames {
    let comment = |text| {
        let frame = Ok(Frame::data(Bytes::from_static(text)));
        futures_util::stream::once(async { frame })
    };
    let frames = http_body_util::BodyStream::new(body);
    let all = comment(b":before\n\n")
        .chain(frames)
        .chain(comment(b":behind\n\n"));
    Box::pin(StreamBody::new(all))
}

/// A line at the end of each frame that a browser does not see.
fn lengthened(body: EventBody) -> Frames {
    Box::pin(
        body.map_frame(|frame| frame.map_data(|data| Bytes::from([&data[..], b":\n\n"].concat()))),
    )
}

async fn judge(name: &str, server: &Server, events: &EventSource, store: &QueueStore) {
    let mut clients = Vec::new();
    for n in 1..=3 {
        let mut client = Client::open(server).await;
        submit(store, "x");
        while client.block().await.expect("an event").contains("data: x") {}
        clients.push(client);
        assert_eq!(events.streams(), n, "{name}");
    }
    submit(store, "last");
    for client in &mut clients {
        while !client
            .block()
            .await
            .expect("an event")
            .contains("data: last")
        {}
    }
    assert_eq!(events.detached_streams(), 0, "{name}");
    drop(clients);
    let after_another = || {
        submit(store, "x");
        events.streams() == 0
    };
    eventually(SECOND, name, after_another).await;
}

#[tokio::test]
async fn what_cannot_be_recognised_stays() {
    let plain = http1::Builder::new;
    let mut flat = plain();
    flat.writev(false);
    let mut flushing = plain();
    flushing.pipeline_flush(true);
    type Start = Box<dyn Fn(&EventSource) -> Server>;
    let servers: [(&str, Start); 5] = [
        (
            "writev(false)",
            Box::new(move |events| hyper(listener(), flat.clone(), events, |body| body)),
        ),
        (
            "pipeline_flush(true)",
            Box::new(move |events| hyper(listener(), flushing.clone(), events, |body| body)),
        ),
        (
            "copied",
            Box::new(move |events| hyper(listener(), plain(), events, copied)),
        ),
        (
            "lengthened",
            Box::new(move |events| hyper(listener(), plain(), events, lengthened)),
        ),
        (
            "attached",
            Box::new(|events| events_by_axum(listener(), &events.clone().attached())),
        ),
    ];
    for (name, start) in servers {
        let store = QueueStore::new();
        let events = EventSource::new(store.clone()).without_keep_alive();
        judge(name, &start(&events), &events, &store).await;
    }
}

/// One that is told to stay gets what is put before and behind it.
#[tokio::test]
async fn what_a_layer_adds_to_a_stream_that_stays_is_there() {
    let store = QueueStore::new();
    let events = EventSource::new(store.clone()).attached();
    let server = hyper(listener(), http1::Builder::new(), &events, framed);
    let mut client = Client::open(&server).await;
    assert_eq!(client.blocks(2).await, [":before", ":"]);
    assert_eq!(client.blocks(1).await, [format!("id: {}", end_of(&store))]);
    submit(&store, "x");
    assert_eq!(client.events(1).await, ["x"]);
    assert_eq!(events.detached_streams(), 0);
    store.close();
    assert!(
        client
            .block()
            .await
            .expect("a farewell")
            .starts_with("retry: ")
    );
    assert_eq!(client.blocks(1).await, [":behind"]);
    assert_eq!(client.block().await, None);
}

/// What stands before the first frame is out before it; what such a layer puts behind the
/// end is lost with a stream that was not told to stay, and nothing else is.
#[tokio::test]
async fn a_stream_with_something_before_it_may_leave_and_is_whole() {
    let store = QueueStore::new();
    let events = EventSource::new(store.clone());
    let server = hyper(listener(), http1::Builder::new(), &events, framed);
    let mut client = Client::open(&server).await;
    assert_eq!(client.blocks(2).await, [":before", ":"]);
    assert_eq!(client.blocks(1).await, [format!("id: {}", end_of(&store))]);
    for n in 0..10 {
        submit(&store, n.to_string());
        assert_eq!(client.events(1).await, [n.to_string()]);
    }
    store.close();
    assert!(
        client
            .block()
            .await
            .expect("a farewell")
            .starts_with("retry: ")
    );
    let behind = client.rest().await;
    assert!(behind.is_empty() || behind == ":behind\n\n", "{behind}");
}

#[tokio::test]
async fn http_1_0_and_the_head_alone_stay() {
    let store = QueueStore::new();
    let events = EventSource::new(store.clone());
    let server = events_by_axum(listener(), &events);
    let mut client = Client::connect(&server).await;
    client.send(&request("HEAD", b"")).await;
    assert_eq!(client.head().await.status(), 200);
    client.send(b"GET /events HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(client.blocks(2).await[0], ":");
    submit(&store, "x");
    assert_eq!(client.events(1).await, ["x"]);
    assert_eq!((events.streams(), events.detached_streams()), (1, 0));
    store.close();
    assert!(client.rest().await.starts_with("retry: "));
}

#[tokio::test]
async fn http_2_stays() {
    let store = QueueStore::new();
    let events = EventSource::new(store.clone());
    let server = Server::behind(Door::Auto, events.clone());
    let socket = TcpStream::connect(server.address).await.expect("a server");
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(socket));
    let (mut requests, connection) = handshake.await.expect("HTTP/2");
    tokio::spawn(connection);
    let mut streams = Vec::new();
    for _ in 0..5 {
        let request = Request::get("http://localhost/events").version(Version::HTTP_2);
        let request = request.body(Empty::<Bytes>::new()).expect("valid");
        let response = requests.send_request(request).await.expect("an answer");
        let mut body = response.into_body();
        let first = body.frame().await.expect("a frame").expect("no error");
        assert!(first.into_data().expect("data").starts_with(b":\n\n"));
        streams.push(body);
    }
    submit(&store, "x");
    for stream in &mut streams {
        let frame = stream.frame().await.expect("a frame").expect("no error");
        assert!(frame.into_data().expect("data").ends_with(b"data: x\n\n"));
    }
    assert_eq!((events.streams(), events.detached_streams()), (5, 0));
}

/// A store of streams: what they need to be polled is not known.
struct Strange(QueueStore);

impl Store for Strange {
    fn submit(&self, event: Event) -> Result<Submitted, SubmitError> {
        self.0.submit(event)
    }

    fn subscribe(&self, subscribe: Subscribe) -> Subscription {
        Subscription::from_stream(self.0.subscribe(subscribe))
    }
}

#[tokio::test]
async fn a_store_of_streams_stays() {
    let store = QueueStore::new();
    let events = EventSource::new(Strange(store.clone())).without_keep_alive();
    let server = events_by_axum(listener(), &events);
    judge("from_stream", &server, &events, &store).await;
}

/// A layer with a task of its own between the handler and the server: the stream leaves or
/// stays, as it is polled, and is whole in either case.
#[tokio::test]
async fn a_body_behind_a_channel_is_whole_whichever_way_it_goes() {
    fn pumped(mut body: EventBody) -> Frames {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(frame) = body.frame().await {
                if sender.send(frame).await.is_err() {
                    return;
                }
            }
        });
        let frames = futures_util::stream::unfold(receiver, async |mut receiver| {
            let frame = receiver.recv().await?;
            Some((frame, receiver))
        });
        Box::pin(StreamBody::new(frames))
    }
    let store = QueueStore::new();
    let events = EventSource::new(store.clone()).without_keep_alive();
    let server = hyper(listener(), http1::Builder::new(), &events, pumped);
    for _ in 0..20 {
        let mut client = Client::open(&server).await;
        assert_eq!(client.blocks(2).await[0], ":");
        for n in 0..5 {
            submit(&store, n.to_string());
            assert_eq!(client.events(1).await, [n.to_string()]);
        }
        client.leave();
        let after_another = || {
            submit(&store, "x");
            (events.streams(), store.subscribers()) == (0, 0)
        };
        eventually(SECOND, "it is gone", after_another).await;
    }
}
