//! A server that says what it is told to say.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

pub(crate) enum Step {
    Send(Vec<u8>),
    Wait(u64),
    /// Until the client leaves.
    Hold,
    Reset,
}
use Step::{Hold, Send, Wait};

pub(crate) const HEAD: &str =
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: text/event-stream\r\n";
pub(crate) const WELL: &str = "cache-control: no-store, no-transform\r\nx-accel-buffering: no\r\n";

/// A head as it should be, and these headers.
pub(crate) fn head(more: &str) -> Step {
    raw(&format!("{HEAD}{WELL}{more}\r\n"))
}

pub(crate) fn raw(text: &str) -> Step {
    Send(text.as_bytes().to_vec())
}

pub(crate) fn chunk(bytes: impl AsRef<[u8]>) -> Step {
    let bytes = bytes.as_ref();
    let size = format!("{:x}\r\n", bytes.len());
    Send([size.as_bytes(), bytes, b"\r\n"].concat())
}

pub(crate) fn last_chunk() -> Step {
    raw("0\r\n\r\n")
}

/// A stream of these pieces behind a head as it should be, open until the client leaves.
pub(crate) fn stream(pieces: &[&[u8]]) -> Vec<Step> {
    let pieces = pieces.iter().map(chunk);
    [head("")].into_iter().chain(pieces).chain([Hold]).collect()
}

/// The same every so many milliseconds, for ever.
pub(crate) fn every(millis: u64, what: impl Fn(usize) -> String) -> Vec<Step> {
    (0..200)
        .flat_map(|number| [chunk(what(number)), Wait(millis)])
        .collect()
}

pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Scripted {
    /// Answers each request, of which it is told the head, in this way.
    pub(crate) async fn serve(
        script: impl Fn(&str) -> Vec<Step> + std::marker::Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let accepting = async move {
            let mut connections = JoinSet::new();
            while let Ok((mut tcp, _)) = listener.accept().await {
                let Some(head) = read_head(&mut tcp).await else {
                    continue;
                };
                connections.spawn(answer(tcp, script(&head)));
            }
        };
        Self {
            address,
            accepting: tokio::spawn(accepting),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/events", self.address)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A header of a request, if it has it.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

async fn read_head(tcp: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = timeout(Duration::from_secs(5), tcp.read_u8()).await;
        head.push(byte.ok()?.ok()?);
    }
    String::from_utf8(head).ok()
}

async fn answer(mut tcp: TcpStream, script: Vec<Step>) {
    for step in script {
        let done = match step {
            Send(bytes) => tcp.write_all(&bytes).await.is_ok(),
            Wait(millis) => {
                sleep(Duration::from_millis(millis)).await;
                true
            }
            Hold => {
                let left = async { while tcp.read_u8().await.is_ok() {} };
                timeout(Duration::from_secs(30), left).await.is_ok()
            }
            Step::Reset => tcp.set_zero_linger().is_ok(),
        };
        if !done {
            return;
        }
    }
    drop(tcp);
}
