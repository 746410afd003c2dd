//! Clients that come and go, each in one of the ways in which clients do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::server::{PATIENCE, Server};

/// Tells clients that are to be killed where to go and how many they are.
const KILLED: &str = "TORNADOSE_TEST_CHURN_KILLED";

/// So many at once: most of them wait until the server has enough of them.
const AT_ONCE: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaves {
    Finish,
    Reset,
    /// Its process is killed.
    Killed,
    /// It does not ask, and the server has enough of it.
    TimeOut,
    /// It asks, and is gone before there is an answer.
    Dropped,
    /// The server sends it away.
    SentAway,
}

impl Leaves {
    pub(crate) const ALL: [Self; 6] = [
        Self::Finish,
        Self::Reset,
        Self::Killed,
        Self::TimeOut,
        Self::Dropped,
        Self::SentAway,
    ];
}

const TARGETS: [(&str, &str, &str); 3] = [
    ("/events", "", "data: first\n\n"),
    ("/hub", "", "data: first\n\n"),
    (
        "/socket",
        "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "\"data\":\"first\"}",
    ),
];

/// So many come and go, as many in each way. `together` die with one process.
pub(crate) async fn run(server: SocketAddr, times: usize, together: usize) {
    let each = times / Leaves::ALL.len();
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let next = Arc::clone(&next);
        workers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= 5 * each {
                    return;
                }
                let ways = Leaves::ALL.into_iter().filter(|way| *way != Leaves::Killed);
                let way = ways.cycle().nth(number % 5).expect("one of five");
                let lived = timeout(PATIENCE, live(server, number, way)).await;
                lived.unwrap_or_else(|_| panic!("{way:?}: not in time"));
            }
        });
    }
    workers.spawn(async move {
        let mut left = each;
        while left > 0 {
            let now = left.min(together);
            let told = format!("{server} {now}");
            let mut clients = Server::start_as("churn::killed", KILLED, &told).await;
            clients.told("all there").await;
            clients.kill().await;
            left -= now;
        }
    });
    workers.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "clients, which the other tests start"]
async fn killed() {
    let Ok(told) = std::env::var(KILLED) else {
        return;
    };
    let (server, clients) = told.split_once(' ').expect("two words");
    let server: SocketAddr = server.parse().expect("an address");
    let clients: usize = clients.parse().expect("a number");
    println!("listening on {server}");
    let mut all = Vec::new();
    for number in 0..clients {
        let mut socket = connect(server, number).await;
        ask(&mut socket, number).await;
        all.push(socket);
    }
    for (number, socket) in all.iter_mut().enumerate() {
        until_first(socket, number).await;
    }
    println!("all there");
    tokio::time::sleep(PATIENCE).await;
}

async fn live(server: SocketAddr, number: usize, way: Leaves) {
    let mut socket = connect(server, number).await;
    match way {
        Leaves::Finish => {
            ask(&mut socket, number).await;
            until_first(&mut socket, number).await;
            socket.shutdown().await.expect("an open socket");
            until_end(&mut socket).await;
        }
        Leaves::Reset => {
            ask(&mut socket, number).await;
            until_first(&mut socket, number).await;
            socket.set_zero_linger().expect("a TCP socket");
        }
        Leaves::TimeOut => {
            let half = socket.write_all(b"GET /events HTTP/1.1\r\nho").await;
            half.expect("a server that listens");
            until_end(&mut socket).await;
        }
        Leaves::Dropped => ask(&mut socket, number).await,
        Leaves::SentAway => {
            let request = b"GET /short HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
            socket
                .write_all(request)
                .await
                .expect("a server that listens");
            until_end(&mut socket).await;
        }
        Leaves::Killed => unreachable!("in a process of its own"),
    }
}

async fn connect(server: SocketAddr, number: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a file descriptor");
    // An address has 28,000 ports, which cannot be used again at once.
    let [high, low] = u16::try_from(number % 4000).expect("small").to_be_bytes();
    let from = SocketAddr::from(([127, 1 + high, low, 9], 0));
    socket.bind(from).expect("a free port");
    let connected = socket.connect(server).await;
    connected.expect("a server that listens")
}

async fn ask(socket: &mut TcpStream, number: usize) {
    let (path, lines, _) = TARGETS[number % TARGETS.len()];
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n");
    let asked = socket.write_all(request.as_bytes()).await;
    asked.expect("a server that listens");
}

/// It has its head and its first event.
async fn until_first(socket: &mut TcpStream, number: usize) {
    let (_, _, first) = TARGETS[number % TARGETS.len()];
    let mut received = Vec::with_capacity(1024);
    while !received
        .windows(first.len())
        .any(|found| found == first.as_bytes())
    {
        let read = socket.read_buf(&mut received).await.expect("no reset");
        let text = String::from_utf8_lossy(&received);
        assert!(read > 0, "the end before {first:?}: {text}");
    }
}

/// However it comes.
async fn until_end(socket: &mut TcpStream) {
    let mut rest = [0; 1024];
    let end = async { while socket.read(&mut rest).await.is_ok_and(|read| read > 0) {} };
    let end = timeout(PATIENCE.min(Duration::from_secs(30)), end).await;
    end.expect("an end in time");
}
