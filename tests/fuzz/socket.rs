//! A client of a WebSocket in memory.

use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::time::sleep;
use tornadose::WebSocketSubscriber;
use tornadose_fuzz::runtime;

/// What happens next, when everything else has come to rest.
pub(crate) enum Step {
    Send(Vec<u8>),
    #[allow(dead_code, reason = "not every target does")]
    Do(Box<dyn FnOnce()>),
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\n\
    upgrade: websocket\r\nsec-websocket-version: 13\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Opens, takes these steps, and then does nothing until the server hangs up. What it has
/// sent behind its head. On the way is room for so many times 64 bytes.
pub(crate) fn talk(
    socket: &WebSocketSubscriber,
    room: usize,
    steps: impl IntoIterator<Item = Step>,
) -> Vec<u8> {
    runtime().block_on(async {
        let (ours, theirs) = duplex(room << 6);
        let (mut reading, mut writing) = tokio::io::split(ours);
        let serving = http1::Builder::new()
            .serve_connection(TokioIo::new(theirs), socket.clone())
            .with_upgrades();
        let write = async {
            // The server may hang up at any time.
            let _ = writing.write_all(REQUEST).await;
            for step in steps {
                sleep(Duration::from_millis(1)).await;
                match step {
                    Step::Send(bytes) => drop(writing.write_all(&bytes).await),
                    Step::Do(act) => act(),
                }
            }
        };
        let mut sent = Vec::new();
        let read = async { reading.read_to_end(&mut sent).await.expect("in memory") };
        tokio::join!(async { drop(serving.await) }, write, read);
        let end = sent.windows(4).position(|found| found == b"\r\n\r\n");
        let head: Vec<u8> = sent.drain(..end.expect("a head") + 4).collect();
        assert!(head.starts_with(b"HTTP/1.1 101 "));
        sent
    })
}
