//! actix-web, which brings its own runtime.

use actix_web::rt::System;
use actix_web::{App, HttpServer, web};

use super::{PLAIN, Server};

/// A macro, because the type of an `HttpServer` cannot be written down.
macro_rules! serve {
    ($server:ident, $ready:ident, $stop:ident) => {
        let server = $server
            .workers(1)
            // Else a closed connection is taken for one that is only done asking.
            .h1_allow_half_closed(false)
            .disable_signals()
            .shutdown_signal($stop.told())
            .listen_auto_h2c($ready.listen())
            .unwrap();
        System::new().block_on(server.run()).unwrap();
    };
}

pub(crate) const SERVER: Server = Server {
    run: |events, ready, stop| {
        let server = HttpServer::new(move || App::new().route("/events", web::to(events.clone())));
        serve!(server, ready, stop);
    },
    run_socket: |socket, ready, stop| {
        let server = HttpServer::new(move || App::new().route("/socket", web::to(socket.clone())));
        serve!(server, ready, stop);
    },
    // It waits for the body alone.
    notices_cancelling: false,
    ..PLAIN
};
