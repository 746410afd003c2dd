//! A [`WebSocketSubscriber`] is a handler.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::Payload;
use actix_web::http::ConnectionType;
use actix_web::{Handler, HttpRequest, HttpResponse, web};
use bytes::{Buf, Bytes};
use futures_core::Stream;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

use super::{asked, convert};
use crate::subscriber::{Handshake, WebSocketSubscriber, When};

/// `App::new().route("/socket", web::to(socket.clone()))`: every method, because those
/// that are wrong are answered here.
impl<W: When> Handler<(HttpRequest, web::Payload)> for WebSocketSubscriber<W> {
    type Output = HttpResponse;
    type Future = Pin<Box<dyn Future<Output = HttpResponse>>>;

    fn call(&self, (request, payload): (HttpRequest, web::Payload)) -> Self::Future {
        let answer = self.shake(&asked(&request), |shaken| shaken);
        Box::pin(async move {
            let Handshake { response, session } = answer.await;
            let mut response = convert(response);
            let Some(session) = session else {
                return response.map_into_boxed_body();
            };
            // actix-web has no connection to hand over: what comes is a request's body,
            // what goes is a response's.
            let (writer, reader) = duplex(BUFFER);
            let io = Connection {
                payload: payload.into_inner(),
                rest: Bytes::new(),
                writer,
            };
            actix_web::rt::spawn(session.run(io));
            response
                .head_mut()
                .set_connection_type(ConnectionType::Upgrade);
            response.set_body(Outgoing(reader)).map_into_boxed_body()
        })
    }
}

/// What a connection has sent and actix-web has not yet taken: one page, and so as much as
/// anywhere else.
const BUFFER: usize = 16 << 10;

struct Connection {
    payload: Payload,
    /// What did not fit into the last buffer.
    rest: Bytes,
    writer: DuplexStream,
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.rest.is_empty() {
            match ready!(Pin::new(&mut this.payload).poll_next(cx)) {
                Some(Ok(bytes)) => this.rest = bytes,
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let part = this.rest.len().min(buf.remaining());
        buf.put_slice(&this.rest.split_to(part));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().writer).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().writer).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().writer).poll_shutdown(cx)
    }
}

struct Outgoing(DuplexStream);

impl MessageBody for Outgoing {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        let mut part = [0; 4 << 10];
        let mut part = ReadBuf::new(&mut part);
        // In memory, so the only error is the end.
        let read = ready!(Pin::new(&mut self.get_mut().0).poll_read(cx, &mut part));
        let part = part.filled();
        let more = read.is_ok() && part.has_remaining();
        Poll::Ready(more.then(|| Ok(Bytes::copy_from_slice(part))))
    }
}
