//! rocket 0.5: an [`EventSource`] becomes routes, one for each method.

#[cfg(feature = "websocket")]
mod websocket;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use http_body::Body;
use rocket::http::Method::{self, Connect, Delete, Get, Head, Options, Patch, Post, Put, Trace};
use rocket::http::Status;
use rocket::route::{Handler, Outcome};
use rocket::{Data, Request, Response, Route, Shutdown};
use tokio::io::{AsyncRead, ReadBuf};

use crate::subscriber::{EventBody, EventSource, When};

const METHODS: [Method; 9] = [Get, Head, Options, Post, Put, Patch, Delete, Trace, Connect];

/// `rocket::build().mount("/events", events)`: every method, because those that are
/// wrong are answered here.
///
/// The streams also end when rocket's own shutdown begins. Rocket notices that a client
/// has left when it next writes to it, so keep the keep-alive. An id that is not UTF-8
/// does not get through rocket: it is none.
impl<W: When> From<EventSource<W>> for Vec<Route> {
    fn from(events: EventSource<W>) -> Self {
        METHODS
            .map(|method| Route::new(method, "/", events.clone()))
            .into()
    }
}

#[rocket::async_trait]
impl<W: When> Handler for EventSource<W> {
    async fn handle<'r>(&self, request: &'r Request<'_>, _: Data<'r>) -> Outcome<'r> {
        let Ok(response) = self.serve(&asked(request)).await;
        Outcome::Success(convert(response, request.rocket().shutdown()))
    }
}

fn asked(request: &Request<'_>) -> http::Request<()> {
    let headers: Vec<_> = request.headers().iter().collect();
    let headers = headers
        .iter()
        .map(|header| (header.name.as_str(), header.value.as_bytes()));
    let uri = request.uri().to_string();
    super::request(request.method().as_str(), &uri, headers)
}

fn convert<'r>(response: http::Response<EventBody>, shutdown: Shutdown) -> Response<'r> {
    let (head, body) = response.into_parts();
    let mut response = Response::build();
    response.status(Status::new(head.status.as_u16()));
    for (name, value) in &head.headers {
        // Ours are all text.
        if let Ok(value) = value.to_str() {
            response.raw_header_adjoin(name.as_str().to_owned(), value.to_owned());
        }
    }
    if !body.is_end_stream() {
        response.streamed_body(Reader {
            body,
            rest: Bytes::new(),
            shutdown,
        });
    }
    response.finalize()
}

/// Rocket's bodies are read, not polled for frames.
struct Reader {
    body: EventBody,
    /// What did not fit into the last buffer.
    rest: Bytes,
    shutdown: Shutdown,
}

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            if Pin::new(&mut this.shutdown).poll(cx).is_ready() {
                this.body.drain();
            }
            let next = ready!(Pin::new(&mut this.body).poll_next(cx));
            this.rest = next.and_then(Result::ok).unwrap_or_default();
        }
        let some = this.rest.len().min(buf.remaining());
        buf.put_slice(&this.rest.split_to(some));
        Poll::Ready(Ok(()))
    }
}
