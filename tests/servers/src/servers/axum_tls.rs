//! axum behind rustls, which it takes as a listener.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{PLAIN, Server, axum::serve, block_on};
use crate::fixture::{Ready, Stop};
use crate::tls;

pub(crate) const SERVER: Server = Server {
    run: |events, ready, stop| {
        let app = Router::new().route_service("/events", events);
        serve_tls(app, ready, stop);
    },
    run_socket: |socket, ready, stop| {
        let app = Router::new().route_service("/socket", socket);
        serve_tls(app, ready, stop);
    },
    tls: true,
    ..PLAIN
};

fn serve_tls(app: Router, ready: Ready, stop: Stop) {
    block_on(async {
        let tcp = ready.listen_tokio();
        let tls = TlsAcceptor::from(tls::server());
        serve(TlsListener { tcp, tls }, app, stop).await;
    });
}

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
