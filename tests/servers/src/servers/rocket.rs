//! rocket, which finds its own port.

use std::net::SocketAddr;

use rocket::config::{Config, LogLevel, Shutdown};
use rocket::fairing::AdHoc;
use rocket::{Build, Rocket};

use super::{PLAIN, Server, block_on};
use crate::fixture::{Ready, Stop};

pub(crate) const SERVER: Server = Server {
    run: |events, ready, stop| {
        let app = rocket::build().mount("/events", events);
        serve(app, ready, stop);
    },
    run_socket: |socket, ready, stop| {
        let app = rocket::build().mount("/socket", socket);
        serve(app, ready, stop);
    },
    own_headers: &[
        ("permissions-policy", "interest-cohort=()"),
        ("server", "Rocket"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "SAMEORIGIN"),
    ],
    // It writes to a channel, and finds out that nobody reads it when it does.
    notices_leaving: false,
    notices_cancelling: false,
    takes_any_bytes: false,
    ..PLAIN
};

fn serve(app: Rocket<Build>, ready: Ready, stop: Stop) {
    let config = Config {
        port: 0,
        log_level: LogLevel::Off,
        shutdown: Shutdown {
            ctrlc: false,
            signals: [].into(),
            grace: 1,
            mercy: 1,
            ..Shutdown::default()
        },
        ..Config::release_default()
    };
    let app = app
        .configure(config)
        .attach(AdHoc::on_liftoff("address", move |rocket| {
            let config = rocket.config();
            ready.at(SocketAddr::new(config.address, config.port));
            Box::pin(async {})
        }));
    block_on(async {
        let app = app.ignite().await.unwrap();
        let shutdown = app.shutdown();
        tokio::spawn(async {
            stop.told().await;
            shutdown.notify();
        });
        app.launch().await.unwrap();
    });
}
