//! Whatever takes a tower service, here hyper by way of hyper-util.

use hyper_util::service::TowerToHyperService;

use super::hyper::{self, Speaks};
use super::{PLAIN, Server, block_on};

pub(crate) const SERVER: Server = Server {
    run: |events, ready, stop| {
        let events = TowerToHyperService::new(events);
        block_on(hyper::serve(
            events,
            Speaks::Http,
            ready,
            stop,
            async |tcp| tcp,
        ));
    },
    run_socket: |socket, ready, stop| {
        let socket = TowerToHyperService::new(socket);
        block_on(hyper::serve(
            socket,
            Speaks::WebSocket,
            ready,
            stop,
            async |tcp| tcp,
        ));
    },
    ..PLAIN
};
