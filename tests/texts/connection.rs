//! A connection in memory to a handler behind hyper, on a clock that stands still.

use std::convert::Infallible;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::timeout;
use tornadose::{EventBody, Position};

/// Stands for the random part of every id.
pub(crate) const EPOCH: &str = "WUFZSxsBWn0";

/// The first byte of a whole text, of a close and of a ping.
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

/// A connection to a handler, and the log whose ids come over it.
pub(crate) struct Wire {
    io: DuplexStream,
    log: Position,
}

impl Wire {
    pub(crate) fn to<S>(handler: S, log: Position) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<EventBody>, Error = Infallible>
            + Send
            + 'static,
        S::Future: Send,
    {
        let (io, theirs) = duplex(1 << 20);
        let connection = http1::Builder::new().serve_connection(TokioIo::new(theirs), handler);
        tokio::spawn(connection.with_upgrades());
        Self { io, log }
    }

    /// Sends a request of the page, with the ids of this log.
    pub(crate) async fn ask(&mut self, request: &str) {
        let request = request
            .replace(EPOCH, &epoch(self.log))
            .replace('\n', "\r\n");
        self.io
            .write_all(request.as_bytes())
            .await
            .expect("there is room");
    }

    /// A head with its empty line, as the page writes it.
    pub(crate) async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.io.read_u8().await.expect("not the end"));
        }
        let head = String::from_utf8(head)
            .expect("ASCII")
            .replace("\r\n", "\n");
        let lines = head.split_inclusive('\n');
        lines.filter(|line| !line.starts_with("date: ")).collect()
    }

    /// What has come by the time at which nothing more comes.
    pub(crate) async fn quiet(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        // The clock only moves when there is nothing to do.
        let a_moment = Duration::from_millis(1);
        while let Ok(read) = timeout(a_moment, self.io.read(&mut buffer)).await {
            match read.expect("no reset") {
                0 => break,
                count => bytes.extend_from_slice(&buffer[..count]),
            }
        }
        bytes
    }

    /// The same of a body in chunks.
    pub(crate) async fn body(&mut self) -> String {
        let bytes = self.quiet().await;
        let mut rest = str::from_utf8(&bytes).expect("UTF-8");
        let mut body = String::new();
        while let Some((size, tail)) = rest.split_once("\r\n") {
            let size = usize::from_str_radix(size, 16).expect("a size");
            let (chunk, tail) = tail.split_at(size);
            body += chunk;
            rest = tail.strip_prefix("\r\n").expect("the end of a chunk");
        }
        named_text(&body, self.log)
    }

    pub(crate) async fn messages(&mut self) -> String {
        texts(&self.quiet().await)
    }

    /// Opens a WebSocket with this request.
    pub(crate) async fn open(&mut self, request: &str) {
        self.ask(request).await;
        let head = self.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(self.messages().await.contains("\"event\":\"open\""));
    }

    /// What comes when this is sent.
    pub(crate) async fn says(&mut self, sent: &[u8]) -> Vec<u8> {
        self.io.write_all(sent).await.expect("there is room");
        self.quiet().await
    }

    /// The code and the reason of the close that comes when this is sent.
    pub(crate) async fn closed(&mut self, sent: &[u8]) -> (u16, String) {
        self.io.write_all(sent).await.expect("there is room");
        let frames = self.quiet().await;
        assert_eq!(
            (frames[0], usize::from(frames[1])),
            (CLOSE, frames.len() - 2)
        );
        let reason = String::from_utf8(frames[4..].to_vec()).expect("UTF-8");
        (u16::from_be_bytes([frames[2], frames[3]]), reason)
    }
}

/// The texts of frames, a line each; pings are passed over.
pub(crate) fn texts(mut frames: &[u8]) -> String {
    let mut lines = String::new();
    while let [first, len, rest @ ..] = frames {
        let (len, rest) = match len {
            126 => (
                usize::from(u16::from_be_bytes([rest[0], rest[1]])),
                &rest[2..],
            ),
            len => (usize::from(*len), rest),
        };
        let (payload, rest) = rest.split_at(len);
        match *first {
            TEXT => lines += &format!("{}\n", str::from_utf8(payload).expect("UTF-8")),
            PING => assert_eq!(payload, b""),
            other => panic!("{other:x}"),
        }
        frames = rest;
    }
    lines
}

fn epoch(of: Position) -> String {
    let id = of.to_string();
    id.rsplit_once('-').expect("an id").0.to_owned()
}

pub(crate) fn named_text(text: &str, of: Position) -> String {
    text.replace(&epoch(of), EPOCH)
}
