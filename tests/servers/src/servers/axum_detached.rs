//! axum, with a listener whose streams leave it.

use axum::Router;
use tornadose::Listener;

use super::axum::serve;
use super::{PLAIN, Server, block_on};

pub(crate) const SERVER: Server = Server {
    run: |events, ready, stop| {
        let app = Router::new().route_service("/events", events);
        block_on(async { serve(Listener::new(ready.listen_tokio()), app, stop).await });
    },
    run_socket: |socket, ready, stop| {
        let app = Router::new().route_service("/socket", socket);
        block_on(async { serve(Listener::new(ready.listen_tokio()), app, stop).await });
    },
    ..PLAIN
};
