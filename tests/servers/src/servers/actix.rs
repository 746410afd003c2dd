//! actix-web, which brings its own runtime.

use actix_web::rt::System;
use actix_web::{App, HttpServer, web};

use super::{PLAIN, Server};

pub(crate) const SERVER: Server = Server {
    run: |events, ready, stop| {
        let server = HttpServer::new(move || App::new().route("/events", web::to(events.clone())));
        let server = server
            .workers(1)
            // Else a closed connection is taken for one that is only done asking.
            .h1_allow_half_closed(false)
            .disable_signals()
            .shutdown_signal(stop.told())
            .listen_auto_h2c(ready.listen())
            .unwrap();
        System::new().block_on(server.run()).unwrap();
    },
    // It waits for the body alone.
    notices_cancelling: false,
    ..PLAIN
};
