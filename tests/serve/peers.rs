//! Clients over HTTP/2, and what is said of times.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::serving::{PATIENCE, Serving};
use crate::vocabulary::within;

#[track_caller]
pub(crate) fn assert_between(took: Duration, least: Duration, most: Duration) {
    assert!(
        least <= took && took <= most,
        "{least:?} <= {took:?} <= {most:?}"
    );
}

/// A connection of HTTP/2 with prior knowledge.
pub(crate) struct Multiplexed {
    pub(crate) send: SendRequest<Empty<Bytes>>,
    /// Is over when the connection is.
    pub(crate) connection: JoinHandle<hyper::Result<()>>,
}

impl Multiplexed {
    pub(crate) async fn connect(serving: &Serving) -> Self {
        Self::connect_with(serving, &Builder::new(TokioExecutor::new())).await
    }

    /// One that asks all the time whether the server is there.
    pub(crate) async fn connect_pinging(serving: &Serving) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_millis(50))
            .keep_alive_while_idle(true);
        Self::connect_with(serving, &builder).await
    }

    async fn connect_with(serving: &Serving, builder: &Builder<TokioExecutor>) -> Self {
        let tcp = TcpStream::connect(serving.address)
            .await
            .expect("to connect");
        let shaken = builder.handshake(TokioIo::new(tcp)).await;
        let (send, connection) = shaken.expect("a preface");
        Self {
            send,
            connection: tokio::spawn(connection),
        }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Response<Incoming> {
        let request = Request::get(format!("http://localhost{path}"));
        let request = request.body(Empty::new()).expect("a request");
        let answer = within(PATIENCE, path, self.send.send_request(request)).await;
        answer.expect("an answer")
    }
}

/// Frames of a body, up to the one that has these words.
pub(crate) async fn until(body: &mut Incoming, words: &str) {
    within(PATIENCE, words, async {
        let mut text = String::new();
        while !text.contains(words) {
            let frame = body.frame().await.expect("more").expect("no reset");
            let data = frame.into_data().expect("data");
            text += str::from_utf8(&data).expect("whole blocks");
        }
    })
    .await;
}
