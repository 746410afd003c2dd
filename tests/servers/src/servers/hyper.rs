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
    run: |events, ready, stop| block_on(serve(events, ready, stop, async |tcp| tcp)),
    ..PLAIN
};

/// Serves what becomes of the connections.
pub(super) async fn serve<S, W, I>(events: S, ready: Ready, stop: Stop, wrap: W)
where
    S: Service<Request<Incoming>, Response = Response<EventBody>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: std::error::Error + Send + Sync,
    W: AsyncFn(TcpStream) -> I,
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let listener = ready.listen_tokio();
    let connections = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop.told());
    loop {
        let tcp = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted.unwrap().0,
        };
        let (io, events) = (TokioIo::new(wrap(tcp).await), events.clone());
        let watcher = connections.watcher();
        tokio::spawn(async move {
            let server = Builder::new(TokioExecutor::new());
            let connection = server.serve_connection(io, events);
            // An error is that the client has left.
            let _ = watcher.watch(connection).await;
        });
    }
    drop(listener);
    connections.shutdown().await;
}
