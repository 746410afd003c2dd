//! Servers on loopback, and in memory for clocks that stand still.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::{Ipv4Addr, SocketAddr};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::{JoinHandle, JoinSet};
use tornadose::{EventBody, EventSource, WebSocketSubscriber};

/// The size of kernel buffers that are to fill soon.
pub(crate) const TIGHT: u32 = 64 << 10;

/// What hyper serves: one of ours, or two of them at two paths.
pub(crate) trait Handler:
    Service<Request<Incoming>, Response = Response<EventBody>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<S> Handler for S where
    S: Service<Request<Incoming>, Response = Response<EventBody>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// The events at `/events`, the socket everywhere else.
#[derive(Clone)]
pub(crate) struct Both(pub(crate) EventSource, pub(crate) WebSocketSubscriber);

impl Service<Request<Incoming>> for Both {
    type Response = Response<EventBody>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        ready(Ok(match request.uri().path() {
            "/events" => self.0.respond(&request),
            _ => self.1.respond(&request),
        }))
    }
}

/// How the connection ends is not looked at: clients leave as they like.
pub(crate) async fn connection(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    handler: impl Handler,
) {
    let mut either = auto::Builder::new(TokioExecutor::new());
    either.http2().enable_connect_protocol();
    let connection = either.serve_connection_with_upgrades(TokioIo::new(io), handler);
    drop(connection.await);
}

/// A connection to a server that is only in memory and holds so many bytes each way.
pub(crate) fn in_memory(handler: &impl Handler, bytes: usize) -> DuplexStream {
    let (ours, theirs) = duplex(bytes);
    tokio::spawn(connection(theirs, handler.clone()));
    ours
}

/// A server on loopback; it accepts no more when this is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Server {
    pub(crate) fn start(handler: &impl Handler) -> Self {
        Self::on(TcpSocket::new_v4().expect("a socket"), handler)
    }

    /// A server whose kernel buffers are small and do not grow.
    pub(crate) fn tight(handler: &impl Handler) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .set_send_buffer_size(TIGHT)
            .expect("accepted sockets inherit it");
        Self::on(socket, handler)
    }

    fn on(socket: TcpSocket, handler: &impl Handler) -> Self {
        socket
            .bind((Ipv4Addr::LOCALHOST, 0).into())
            .expect("a free port");
        let listener = socket.listen(1024).expect("to listen");
        Self {
            address: listener.local_addr().expect("bound"),
            serving: tokio::spawn(serve(listener, handler.clone())),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, handler: impl Handler) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (socket, _) = accepted.expect("enough file descriptors");
                socket.set_nodelay(true).expect("a TCP socket");
                connections.spawn(connection(socket, handler.clone()));
            }
            Some(ended) = connections.join_next() => ended.expect("no connection panics"),
        }
    }
}
