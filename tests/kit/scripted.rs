//! Something that answers as it is told, and remembers what it was asked.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tornadose::test::Client;
use tower_service::Service;

/// No delivery.
pub(crate) const NOTHING: [&str; 0] = [];

/// A request, and when it came.
pub(crate) struct Asked {
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
    pub(crate) at: Instant,
}

impl Asked {
    /// The value of that header, if there is exactly one.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.get_all(name).iter();
        let value = all.next()?;
        assert_eq!(all.next(), None, "two of {name}");
        Some(value.to_str().expect("text"))
    }
}

pub(crate) enum Answer {
    /// A status, a content type and a body in these pieces, of which the last may be an error.
    Head(u16, Option<&'static str>, Vec<Result<Bytes, &'static str>>),
    /// A stream of what is sent.
    Live(mpsc::UnboundedReceiver<Bytes>),
    /// No answer.
    Fails(&'static str),
    /// Never an answer.
    Hangs,
}

impl Answer {
    /// A stream of these pieces, which then ends.
    pub(crate) fn stream<const N: usize>(pieces: [&'static str; N]) -> Self {
        let pieces = pieces.into_iter().map(|piece| Ok(Bytes::from(piece)));
        Self::Head(200, Some("text/event-stream"), pieces.collect())
    }

    pub(crate) fn status(status: u16) -> Self {
        Self::Head(status, Some("text/event-stream"), Vec::new())
    }

    pub(crate) fn live() -> (mpsc::UnboundedSender<Bytes>, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (sender, Self::Live(receiver))
    }
}

/// One answer after the other; behind the last of them 204.
#[derive(Clone, Default)]
pub(crate) struct Scripted {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// As services that are not asked whether they are ready.
    is_ready: bool,
}

impl Scripted {
    pub(crate) fn new<const N: usize>(answers: [Answer; N]) -> Self {
        Self {
            answers: Arc::new(Mutex::new(answers.into())),
            ..Self::default()
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.clone(), "/events")
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().expect("no panic"))
    }
}

impl Service<Request<String>> for Scripted {
    type Response = Response<Pieces>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<String>) -> Self::Future {
        assert!(self.is_ready, "asked before it was ready");
        assert_eq!(request.method(), "GET");
        assert_eq!(request.body(), "");
        self.asked.lock().expect("no panic").push(Asked {
            uri: request.uri().to_string(),
            headers: request.headers().clone(),
            at: Instant::now(),
        });
        let answer = self.answers.lock().expect("no panic").pop_front();
        Box::pin(async move {
            let (status, content_type, body) = match answer {
                None => (204, None, Pieces::Ready(VecDeque::new())),
                Some(Answer::Hangs) => std::future::pending().await,
                Some(Answer::Fails(why)) => return Err(why.into()),
                Some(Answer::Head(status, content_type, pieces)) => {
                    (status, content_type, Pieces::Ready(pieces.into()))
                }
                Some(Answer::Live(pieces)) => {
                    (200, Some("text/event-stream"), Pieces::Live(pieces))
                }
            };
            let mut response = Response::builder().status(status);
            if let Some(content_type) = content_type {
                response = response.header("content-type", content_type);
            }
            Ok(response.body(body)?)
        })
    }
}

pub(crate) enum Pieces {
    Ready(VecDeque<Result<Bytes, &'static str>>),
    Live(mpsc::UnboundedReceiver<Bytes>),
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        match &mut *self {
            Self::Ready(pieces) => {
                Poll::Ready(pieces.pop_front().map(|piece| piece.map(Frame::data)))
            }
            Self::Live(pieces) => pieces
                .poll_recv(cx)
                .map(|piece| piece.map(|piece| Ok(Frame::data(piece)))),
        }
    }
}
