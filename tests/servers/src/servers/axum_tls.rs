//! axum behind rustls, which it takes as a listener.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{PLAIN, Server, axum::serve, block_on};
use crate::tls;

pub(crate) const SERVER: Server = Server {
    run: |events, ready, stop| {
        let app = Router::new().route_service("/events", events);
        block_on(async {
            let tcp = ready.listen_tokio();
            let tls = TlsAcceptor::from(tls::server());
            serve(TlsListener { tcp, tls }, app, stop).await;
        });
    },
    tls: true,
    ..PLAIN
};

struct TlsListener {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        let (tcp, from) = self.tcp.accept().await.unwrap();
        (self.tls.accept(tcp).await.unwrap(), from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}
