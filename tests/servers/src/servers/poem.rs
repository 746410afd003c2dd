//! poem, which takes tower services.

use poem::Route;
use poem::endpoint::TowerCompatExt;
use poem::listener::TcpAcceptor;

use super::{PLAIN, Server, block_on};

pub(crate) const SERVER: Server = Server {
    run: |events, ready, stop| {
        let app = Route::new().at("/events", events.compat());
        block_on(async {
            let acceptor = TcpAcceptor::from_tokio(ready.listen_tokio()).unwrap();
            let server = poem::Server::new_with_acceptor(acceptor);
            let server = server.run_with_graceful_shutdown(app, stop.told(), None);
            server.await.unwrap();
        });
    },
    // It polls a connection again that has ended, and so keeps its body.
    notices_leaving: false,
    ..PLAIN
};
