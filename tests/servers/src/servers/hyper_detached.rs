//! hyper, with a listener whose streams leave it.

use tornadose::Listener;

use super::hyper::{Speaks, serve_accepted};
use super::{PLAIN, Server, block_on};

pub(crate) const SERVER: Server = Server {
    run: |events, ready, stop| {
        block_on(async {
            let listener = Listener::new(ready.listen_tokio());
            let accept = async || listener.accept().await.unwrap().0;
            serve_accepted(events, Speaks::Http, accept, stop).await;
        });
    },
    run_socket: |socket, ready, stop| {
        block_on(async {
            let listener = Listener::new(ready.listen_tokio());
            let accept = async || listener.accept().await.unwrap().0;
            serve_accepted(socket, Speaks::WebSocket, accept, stop).await;
        });
    },
    ..PLAIN
};
