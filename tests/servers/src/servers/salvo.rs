//! salvo, which takes tower services.

use salvo::Router;
use salvo::conn::tcp::TcpAcceptor;
use salvo::http::ReqBody;
use salvo::prelude::TowerServiceCompat;

use super::{PLAIN, Server, block_on};
use crate::fixture::{Ready, Stop};

pub(crate) const SERVER: Server = Server {
    run: |events, ready, stop| {
        let app = Router::with_path("events")
            .goal(TowerServiceCompat::<ReqBody, _, _, _>::compat(events));
        serve(app, ready, stop);
    },
    run_socket: |socket, ready, stop| {
        let app = Router::with_path("socket")
            .goal(TowerServiceCompat::<ReqBody, _, _, _>::compat(socket));
        serve(app, ready, stop);
    },
    ..PLAIN
};

fn serve(app: Router, ready: Ready, stop: Stop) {
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
}
