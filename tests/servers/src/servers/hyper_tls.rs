//! hyper behind rustls.

use tokio_rustls::TlsAcceptor;

use super::hyper::{self, Speaks};
use super::{PLAIN, Server, block_on};
use crate::tls;

pub(crate) const SERVER: Server = Server {
    run: |events, ready, stop| {
        let tls = TlsAcceptor::from(tls::server());
        let wrap = async |tcp| tls.accept(tcp).await.unwrap();
        block_on(hyper::serve(events, Speaks::Http, ready, stop, wrap));
    },
    run_socket: |socket, ready, stop| {
        let tls = TlsAcceptor::from(tls::server());
        let wrap = async |tcp| tls.accept(tcp).await.unwrap();
        block_on(hyper::serve(socket, Speaks::WebSocket, ready, stop, wrap));
    },
    tls: true,
    ..PLAIN
};
