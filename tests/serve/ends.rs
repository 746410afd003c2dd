//! The end of a server.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tornadose::ServeError;

use crate::peers::assert_between;
use crate::serving::{EVENTS, End, HANDSHAKE, PING, Serving};
use crate::vocabulary::{SECOND, submit, until_subscribers};

const GRACE: Duration = Duration::from_secs(3);

#[track_caller]
fn cut_off(ended: Result<(), ServeError>) -> u32 {
    match ended {
        Err(ServeError::CutOff(connections)) => connections,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn streams_end_and_so_does_the_server() {
    let serving = Serving::start(|server| server).await;
    let mut idle = serving.asked(PING).await;
    idle.until("pong").await;
    let mut new = serving.connect().await;
    new.send("GET /ping").await;
    let mut stream = serving.asked(EVENTS).await;
    let mut waiting = serving.connect().await;
    waiting.send(&PING.replace("ping", "wait")).await;
    serving.waits.notified().await;
    submit(&serving.store, "last");
    let (address, go) = (serving.address, serving.go.clone());
    serving.shutdown.begin();

    assert!(stream.until("retry: ").await.contains("data: last\n"));
    assert_eq!(stream.end().await, End::Closed);
    assert_eq!(idle.end().await, End::Closed);
    new.end().await;
    assert!(TcpStream::connect(address).await.is_err(), "it is closed");
    // What is open may go on.
    waiting.assert_waits(Duration::from_millis(100)).await;
    go.notify_one();
    assert!(waiting.head().await.starts_with("HTTP/1.1 200 "));
    assert_eq!(waiting.end().await, End::Closed);
    serving.ended().await.expect("everybody has left");
}

#[tokio::test]
async fn who_does_not_leave_in_time_is_reset() {
    let serving = Serving::start(|server| server.grace(GRACE)).await;
    let mut waiting = serving.connect().await;
    waiting.send(&PING.replace("ping", "wait")).await;
    serving.waits.notified().await;
    let mut download = serving.connect_tight().await;
    download.send(&PING.replace("ping", "large")).await;
    let mut stalled = serving.connect_tight().await;
    stalled.send(EVENTS).await;
    let mut socket = serving.asked(HANDSHAKE).await;
    until_subscribers(SECOND, || serving.store.subscribers(), 2).await;
    serving.flood(2000);
    let mut good = serving.asked(EVENTS).await;

    let store = serving.store.clone();
    let begun = Instant::now();
    serving.shutdown.begin();
    good.end().await;
    // The WebSocket's client does not answer the close.
    assert_eq!(cut_off(serving.ended().await), 4);
    assert_between(begun.elapsed(), GRACE, GRACE + 2 * SECOND);
    assert_eq!(store.subscribers(), 0);
    for peer in [&mut waiting, &mut download, &mut stalled, &mut socket] {
        assert_eq!(peer.end().await, End::Reset);
    }
}

#[cfg(feature = "detached")]
#[tokio::test]
async fn streams_that_have_left_end_in_the_same_way() {
    let serving = Serving::start(|server| server.grace(GRACE).detached()).await;
    let mut stalled = serving.connect_tight().await;
    stalled.send(EVENTS).await;
    let mut good = serving.asked(EVENTS).await;
    let left = || serving.events.detached_streams() == 2;
    crate::vocabulary::eventually(SECOND, "both leave", left).await;
    serving.flood(2000);
    let (store, events) = (serving.store.clone(), serving.events.clone());
    serving.shutdown.begin();
    let reader = tokio::spawn(async move {
        good.until("retry: ").await;
        good.end().await
    });
    assert_eq!(cut_off(serving.ended().await), 1);
    assert_eq!((store.subscribers(), events.detached_streams()), (0, 0));
    assert_eq!(reader.await.expect("no panic"), End::Closed);
    assert_eq!(stalled.end().await, End::Reset);

    let serving = Serving::start(|server| server.detached()).await;
    let mut stream = serving.asked(EVENTS).await;
    serving.shutdown.begin();
    stream.until("retry: ").await;
    stream.end().await;
    serving.ended().await.expect("everybody has left");
}

#[tokio::test]
async fn a_shutdown_that_has_begun_lets_nobody_in() {
    let serving = Serving::start(|server| server.grace(GRACE)).await;
    serving.shutdown.begin();
    serving.ended().await.expect("nobody was there");
}

/// As a supervisor may do with a socket that it has handed over.
#[tokio::test]
async fn a_listener_that_is_shut_down_is_the_end() {
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    tcp.set_nonblocking(true).expect("a socket");
    let same = tcp.try_clone().expect("a descriptor");
    let tcp = tokio::net::TcpListener::from_std(tcp).expect("a runtime");
    let app = axum::Router::<()>::new();
    let served = tokio::spawn(tornadose::Server::new(tcp).serve(app));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let shut = socket2::SockRef::from(&same).shutdown(std::net::Shutdown::Both);
    shut.expect("it listened");
    let ended = crate::vocabulary::within(5 * SECOND, "the end", served).await;
    assert!(matches!(
        ended.expect("no panic"),
        Err(ServeError::Listener(_))
    ));
}
