//! hyper, which speaks HTTP/1.1 and HTTP/2 on one port.

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tornadose::EventBody;

use super::{PLAIN, Server, block_on};
use crate::fixture::{Ready, Stop};

pub(crate) const SERVER: Server = Server {
    run: |events, ready, stop| block_on(serve(events, ready, stop, async |tcp| tcp)),
    run_socket: |socket, ready, stop| {
        block_on(serve_sockets(socket, ready, stop, async |tcp| tcp));
    },
    ..PLAIN
};

/// Serves event streams on what becomes of the connections.
pub(super) async fn serve<S, W, I>(events: S, ready: Ready, stop: Stop, wrap: W)
where
    S: Service<Request<Incoming>, Response = Response<EventBody>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: std::error::Error + Send + Sync,
    W: AsyncFn(TcpStream) -> I,
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let serve = |tcp, watcher: Watcher| {
        let (io, events) = (TokioIo::new(tcp), events.clone());
        tokio::spawn(async move {
            let server = Builder::new(TokioExecutor::new());
            let connection = server.serve_connection(io, events);
            // An error is that the client has left.
            let _ = watcher.watch(connection).await;
        });
    };
    accept(ready, stop, async |tcp, watcher| {
        serve(wrap(tcp).await, watcher);
    })
    .await;
}

/// Serves WebSockets on what becomes of the connections.
pub(super) async fn serve_sockets<S, W, I>(socket: S, ready: Ready, stop: Stop, wrap: W)
where
    S: Service<Request<Incoming>, Response = Response<EventBody>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: std::error::Error + Send + Sync,
    W: AsyncFn(TcpStream) -> I,
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let serve = |tcp, watcher: Watcher| {
        let (io, socket) = (TokioIo::new(tcp), socket.clone());
        tokio::spawn(async move {
            let mut server = Builder::new(TokioExecutor::new());
            // Which HTTP/2 needs for WebSockets.
            server.http2().enable_connect_protocol();
            let connection = server.serve_connection_with_upgrades(io, socket);
            let _ = watcher.watch(connection).await;
        });
    };
    accept(ready, stop, async |tcp, watcher| {
        serve(wrap(tcp).await, watcher);
    })
    .await;
}

async fn accept(ready: Ready, stop: Stop, serve: impl AsyncFn(TcpStream, Watcher)) {
    let listener = ready.listen_tokio();
    let connections = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop.told());
    loop {
        let tcp = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted.unwrap().0,
        };
        serve(tcp, connections.watcher()).await;
    }
    drop(listener);
    connections.shutdown().await;
}
