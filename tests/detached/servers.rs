//! The ways to put a handler behind a `Listener`.

use std::convert::Infallible;
use std::error::Error;
use std::net::Ipv4Addr;

use axum::Router;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tornadose::{EventBody, EventSource, Listener};

use crate::vocabulary::Server;

/// A listener on a free port.
pub(crate) fn listener() -> Listener {
    listener_of(&TcpSocket::new_v4().expect("a socket"))
}

/// One whose connections have small kernel buffers that do not grow.
pub(crate) fn tight() -> Listener {
    let socket = TcpSocket::new_v4().expect("a socket");
    let tight = socket.set_send_buffer_size(64 << 10);
    tight.expect("accepted sockets inherit it");
    listener_of(&socket)
}

fn listener_of(socket: &TcpSocket) -> Listener {
    let socket = socket2::SockRef::from(socket)
        .try_clone()
        .expect("a handle");
    let any = (Ipv4Addr::LOCALHOST, 0);
    socket
        .bind(&std::net::SocketAddr::from(any).into())
        .expect("a free port");
    socket.listen(1024).expect("to listen");
    let tcp = tokio::net::TcpListener::from_std(socket.into());
    Listener::new(tcp.expect("a runtime"))
}

/// `axum::serve`.
pub(crate) fn axum(listener: Listener, app: Router) -> Server {
    let address = listener.local_addr().expect("bound");
    let serving = async { axum::serve(listener, app).await.expect("it never ends") };
    Server::at(address, tokio::spawn(serving))
}

pub(crate) fn events_by_axum(listener: Listener, events: &EventSource) -> Server {
    let app = Router::new().route_service("/events", events.clone());
    axum(listener, app)
}

/// hyper's own HTTP/1, and what becomes of the body on its way there.
pub(crate) fn hyper<B>(
    listener: Listener,
    builder: http1::Builder,
    events: &EventSource,
    layer: fn(EventBody) -> B,
) -> Server
where
    B: Body<Data = Bytes, Error: Error + Send + Sync> + Send + 'static,
{
    let address = listener.local_addr().expect("bound");
    let events = events.clone();
    let serving = async move {
        let mut connections = JoinSet::new();
        loop {
            let (io, _) = listener.accept().await.expect("enough descriptors");
            let (builder, events) = (builder.clone(), events.clone());
            connections.spawn(async move {
                let answer = service_fn(|request: Request<Incoming>| {
                    let response: Response<B> = events.respond(&request).map(layer);
                    async { Ok::<_, Infallible>(response) }
                });
                let connection = builder.serve_connection(TokioIo::new(io), answer);
                // How it ends is not looked at: clients leave as they like.
                drop(connection.await);
            });
        }
    };
    Server::at(address, tokio::spawn(serving))
}
