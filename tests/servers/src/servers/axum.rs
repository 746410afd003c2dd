//! axum, with the event source as a service.

use axum::Router;
use axum::serve::Listener;

use super::{PLAIN, Server, block_on};
use crate::fixture::Stop;

pub(crate) const SERVER: Server = Server {
    run: |events, ready, stop| {
        let app = Router::new().route_service("/events", events);
        block_on(async { serve(ready.listen_tokio(), app, stop).await });
    },
    run_socket: |socket, ready, stop| {
        let app = Router::new().route_service("/socket", socket);
        block_on(async { serve(ready.listen_tokio(), app, stop).await });
    },
    ..PLAIN
};

pub(super) async fn serve<L>(listener: L, app: Router, stop: Stop)
where
    L: Listener<Addr: std::fmt::Debug>,
{
    let server = axum::serve(listener, app);
    let server = server.with_graceful_shutdown(stop.told());
    server.await.unwrap();
}
