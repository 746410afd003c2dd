//! salvo, which takes tower services.

use salvo::Router;
use salvo::conn::tcp::TcpAcceptor;
use salvo::http::ReqBody;
use salvo::prelude::TowerServiceCompat;

use super::{PLAIN, Server, block_on};

pub(crate) const SERVER: Server = Server {
    run: |events, ready, stop| {
        let app = Router::with_path("events")
            .goal(TowerServiceCompat::<ReqBody, _, _, _>::compat(events));
        block_on(async {
            let acceptor = TcpAcceptor::try_from(ready.listen_tokio()).unwrap();
            let server = salvo::Server::new(acceptor);
            let handle = server.handle();
            tokio::spawn(async move {
                stop.told().await;
                handle.stop_graceful(None);
            });
            server.serve(app).await;
        });
    },
    ..PLAIN
};
