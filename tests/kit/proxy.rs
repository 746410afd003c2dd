//! The proxy does what it is told, and nothing else.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use tornadose::test::{At, Cut, Proxy, Script, Way};

const PATIENCE: Duration = Duration::from_secs(20);

/// Long enough to see that nothing comes.
const QUIET: Duration = Duration::from_millis(150);

/// A client, what it has reached, and the way there.
struct Line {
    client: TcpStream,
    server: TcpStream,
    proxy: Proxy,
}

impl Line {
    async fn of(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let server = listener.local_addr().expect("bound");
        let proxy = Proxy::to(server).await.expect("a free port");
        proxy.follow(script);
        let client = TcpStream::connect(proxy.address())
            .await
            .expect("the proxy");
        let accepted = timeout(PATIENCE, listener.accept()).await;
        let (server, _) = accepted.expect("in time").expect("a client");
        Self {
            client,
            server,
            proxy,
        }
    }

    async fn ending(at: At, cut: Cut) -> Self {
        Self::of(Script::new().cut(at, cut)).await
    }

    async fn up(way: Way) -> Self {
        Self::of(Script::new().up(way)).await
    }
}

async fn say(socket: &mut TcpStream, text: &str) {
    socket.write_all(text.as_bytes()).await.expect("to send");
}

async fn hear(socket: &mut TcpStream, text: &str) {
    let mut heard = vec![0; text.len()];
    let read = timeout(PATIENCE, socket.read_exact(&mut heard)).await;
    read.expect("in time").expect("all of it");
    assert_eq!(String::from_utf8_lossy(&heard), text);
}

/// What comes until the end, and whether that is a reset.
async fn rest(socket: &mut TcpStream) -> (String, bool) {
    let mut heard = Vec::new();
    let end = timeout(PATIENCE, socket.read_to_end(&mut heard)).await;
    let end = end.expect("an end in time");
    if let Err(error) = &end {
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
    (String::from_utf8_lossy(&heard).into_owned(), end.is_err())
}

async fn hear_nothing(socket: &mut TcpStream) {
    let read = timeout(QUIET, socket.read(&mut [0; 16])).await;
    assert!(read.is_err(), "{read:?}");
}

fn ended(text: &str) -> (String, bool) {
    (text.to_owned(), false)
}

fn reset(text: &str) -> (String, bool) {
    (text.to_owned(), true)
}

#[tokio::test]
async fn without_a_fault_nothing_is_changed() {
    let Line {
        mut client,
        mut server,
        proxy: _proxy,
    } = Line::of(Script::new()).await;
    let long = "0123456789".repeat(20_000);
    let (_, heard) = tokio::join!(
        async {
            say(&mut client, &long).await;
            client.shutdown().await.expect("to say the end");
        },
        rest(&mut server),
    );
    assert_eq!(heard, ended(&long));
    // The other direction goes on behind the end of the first one.
    say(&mut server, "answer").await;
    drop(server);
    assert_eq!(rest(&mut client).await, ended("answer"));
}

#[tokio::test]
async fn a_reset_of_one_side_is_one_on_the_other() {
    let mut line = Line::of(Script::new()).await;
    say(&mut line.client, "hi").await;
    hear(&mut line.server, "hi").await;
    line.client.set_zero_linger().expect("a TCP socket");
    drop(line.client);
    assert_eq!(rest(&mut line.server).await, reset(""));
}

#[tokio::test]
async fn it_is_cut_at_a_byte() {
    for at in [0, 1, 7] {
        let mut line = Line::ending(At::Down(at), Cut::Reset).await;
        let _ = line.server.write_all(b"0123456789").await;
        let first = &"0123456789"[..at as usize];
        assert_eq!(rest(&mut line.client).await, reset(first));
        assert_eq!(rest(&mut line.server).await, reset(""));

        let mut line = Line::ending(At::Up(at), Cut::Finish).await;
        say(&mut line.client, "0123456789").await;
        assert_eq!(rest(&mut line.server).await, ended(first));
        assert_eq!(rest(&mut line.client).await, ended(""));
    }
}

#[tokio::test]
async fn it_is_cut_after_a_time() {
    let before = Instant::now();
    let mut line = Line::ending(At::After(QUIET), Cut::Reset).await;
    assert_eq!(rest(&mut line.client).await, reset(""));
    assert!(before.elapsed() >= QUIET);
}

#[tokio::test]
async fn one_direction_ends_and_the_other_goes_on() {
    let mut line = Line::ending(At::Up(3), Cut::FinishUp).await;
    say(&mut line.client, "012345").await;
    assert_eq!(rest(&mut line.server).await, ended("012"));
    say(&mut line.server, "still here").await;
    hear(&mut line.client, "still here").await;

    // By what has gone the other way.
    let mut line = Line::ending(At::Up(3), Cut::FinishDown).await;
    say(&mut line.client, "012345").await;
    assert_eq!(rest(&mut line.client).await, ended(""));
    hear(&mut line.server, "012345").await;
    let _ = line.server.write_all(b"thrown away").await;
    assert_eq!(rest(&mut line.client).await, ended(""));
}

#[tokio::test]
async fn silence_is_told_to_nobody() {
    let mut line = Line::ending(At::Up(2), Cut::Silence).await;
    say(&mut line.client, "0123").await;
    hear(&mut line.server, "01").await;
    hear_nothing(&mut line.server).await;
    say(&mut line.server, "nothing").await;
    hear_nothing(&mut line.client).await;
    line.proxy.cut(Cut::Reset);
    assert!(rest(&mut line.client).await.1);
    assert!(rest(&mut line.server).await.1);
}

#[tokio::test]
async fn silence_has_a_direction() {
    let mut line = Line::of(Script::new()).await;
    say(&mut line.client, "a").await;
    hear(&mut line.server, "a").await;
    line.proxy.cut(Cut::SilenceUp);
    // It has been heard of when the other direction still works, and this one does not.
    let mut is_silent = false;
    for _ in 0..100 {
        say(&mut line.client, "b").await;
        let read = timeout(QUIET, line.server.read(&mut [0; 16])).await;
        is_silent = read.is_err();
        if is_silent {
            break;
        }
    }
    assert!(is_silent);
    say(&mut line.server, "down").await;
    hear(&mut line.client, "down").await;

    let mut line = Line::ending(At::Up(1), Cut::SilenceDown).await;
    say(&mut line.client, "ab").await;
    hear(&mut line.server, "ab").await;
    say(&mut line.server, "down").await;
    hear_nothing(&mut line.client).await;
}

#[tokio::test]
async fn bytes_wait() {
    let way = Way::new().delay(QUIET);
    let mut line = Line::up(way).await;
    let before = Instant::now();
    say(&mut line.client, "late").await;
    hear(&mut line.server, "late").await;
    assert!(before.elapsed() >= QUIET);
}

#[tokio::test]
async fn bytes_trickle() {
    let way = Way::new().trickle(1000);
    let mut line = Line::up(way).await;
    let before = Instant::now();
    let text = "x".repeat(250);
    say(&mut line.client, &text).await;
    hear(&mut line.server, &text).await;
    // The last piece arrives before its time has passed.
    assert!(before.elapsed() >= Duration::from_millis(180));
}

#[tokio::test]
async fn one_byte_is_another() {
    let way = Way::new().flip(5);
    let mut line = Line::up(way).await;
    say(&mut line.client, "0000000000").await;
    hear(&mut line.server, "0000010000").await;
    // It is one of each connection, not of each piece.
    say(&mut line.client, "0000000000").await;
    hear(&mut line.server, "0000000000").await;
}

#[tokio::test]
async fn each_connection_has_the_script_and_the_server_of_its_time() {
    let mut line = Line::ending(At::Down(0), Cut::Reset).await;
    assert_eq!(rest(&mut line.client).await, reset(""));

    let other = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    line.proxy.follow(Script::new());
    line.proxy.lead_to(other.local_addr().expect("bound"));
    let connected = TcpStream::connect(line.proxy.address()).await;
    let mut client = connected.expect("the proxy");
    let accepted = timeout(PATIENCE, other.accept()).await;
    let (mut server, _) = accepted.expect("in time").expect("a client");
    say(&mut client, "hello").await;
    hear(&mut server, "hello").await;

    // Where nobody listens any more.
    drop(other);
    let connected = TcpStream::connect(line.proxy.address()).await;
    assert_eq!(rest(&mut connected.expect("the proxy")).await, reset(""));
}

#[tokio::test]
async fn bytes_that_are_written_by_themselves_all_arrive() {
    let way = Way::new().split();
    let mut line = Line::up(way).await;
    say(&mut line.client, "whole").await;
    hear(&mut line.server, "whole").await;
}

#[tokio::test]
async fn what_is_held_arrives_when_there_is_enough() {
    let mut line = Line::up(Way::new().hold(6)).await;
    say(&mut line.client, "0123").await;
    hear_nothing(&mut line.server).await;
    say(&mut line.client, "45").await;
    hear(&mut line.server, "012345").await;
    say(&mut line.client, "again").await;
    hear_nothing(&mut line.server).await;
    // The other direction is its own.
    say(&mut line.server, "x").await;
    hear(&mut line.client, "x").await;
    // Or at the end.
    line.client.shutdown().await.expect("to say the end");
    assert_eq!(rest(&mut line.server).await, ended("again"));
}

#[tokio::test]
async fn what_is_held_is_lost_by_a_cut() {
    for (cut, is_reset) in [
        (Cut::Finish, false),
        (Cut::FinishUp, false),
        (Cut::Reset, true),
    ] {
        let script = Script::new().up(Way::new().hold(100)).cut(At::Up(4), cut);
        let mut line = Line::of(script).await;
        say(&mut line.client, "0123").await;
        assert_eq!(rest(&mut line.server).await, (String::new(), is_reset));
    }
}

#[tokio::test]
async fn dropping_it_ends_everything() {
    let mut line = Line::of(Script::new()).await;
    say(&mut line.client, "hi").await;
    hear(&mut line.server, "hi").await;
    let address = line.proxy.address();
    drop(line.proxy);
    assert!(rest(&mut line.client).await.1);
    assert!(rest(&mut line.server).await.1);
    let connected = timeout(PATIENCE, TcpStream::connect(address)).await;
    let refused = connected.expect("in time").expect_err("nobody there");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}
