//! rocket, which finds its own port.

use std::net::SocketAddr;

use rocket::config::{Config, LogLevel, Shutdown};
use rocket::fairing::AdHoc;

use super::{PLAIN, Server, block_on};

pub(crate) const SERVER: Server = Server {
    run: |events, ready, stop| {
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
        let app = rocket::build().mount("/events", events).configure(config);
        let app = app.attach(AdHoc::on_liftoff("address", move |rocket| {
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
