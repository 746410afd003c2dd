//! hyper, which speaks HTTP/1.1 and HTTP/2 on one port.

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tornadose::EventBody;

use super::{PLAIN, Server, block_on};
use crate::fixture::{Ready, Stop};

pub(crate) const SERVER: Server = Server {
    run: |events, ready, stop| {
        block_on(serve(events, Speaks::Http, ready, stop, async |tcp| tcp));
    },
    run_socket: |socket, ready, stop| {
        block_on(serve(socket, Speaks::WebSocket, ready, stop, async |tcp| {
            tcp
        }));
    },
    ..PLAIN
};

#[derive(Clone, Copy)]
pub(super) enum Speaks {
    Http,
    WebSocket,
}

/// Serves what becomes of the connections.
pub(super) async fn serve<S, W, I>(handler: S, speaks: Speaks, ready: Ready, stop: Stop, wrap: W)
where
    S: Service<Request<Incoming>, Response = Response<EventBody>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: std::error::Error + Send + Sync,
    W: AsyncFn(TcpStream) -> I,
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let listener = ready.listen_tokio();
    let accept = async || wrap(listener.accept().await.unwrap().0).await;
    serve_accepted(handler, speaks, accept, stop).await;
}

/// Serves what is accepted.
pub(super) async fn serve_accepted<S, A, I>(handler: S, speaks: Speaks, mut accept: A, stop: Stop)
where
    S: Service<Request<Incoming>, Response = Response<EventBody>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: std::error::Error + Send + Sync,
    A: AsyncFnMut() -> I,
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let connections = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop.told());
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept() => accepted,
        };
        let (io, handler) = (TokioIo::new(accepted), handler.clone());
        let watcher = connections.watcher();
        tokio::spawn(async move {
            let mut server = Builder::new(TokioExecutor::new());
            // An error is that the client has left.
            let _ = match speaks {
                Speaks::Http => {
                    let events = handler;
                    let connection = server.serve_connection(io, events);
                    watcher.watch(connection).await
                }
                Speaks::WebSocket => {
                    let socket = handler;
                    // Which HTTP/2 needs for it.
                    server.http2().enable_connect_protocol();
                    let connection = server.serve_connection_with_upgrades(io, socket);
                    watcher.watch(connection).await
                }
            };
        });
    }
    drop(accept);
    connections.shutdown().await;
}
