//! What every hub promises, of one whose log is in NATS.

use tornadose::backplane::Nats;
use tornadose::{Hub, HubBuilder};

use crate::engine;
use crate::every_hub::{every_hub, every_log};
use crate::server::Server;

async fn hub(settings: HubBuilder) -> (Hub, Server) {
    let server = Server::start();
    let hub = settings.open(engine(&server)).await.expect("a server");
    (hub, server)
}

every_hub!(hub);

struct Keeper(Server);

impl Keeper {
    async fn engine(&mut self) -> Nats {
        engine(&self.0)
    }
}

async fn keeper() -> Keeper {
    Keeper(Server::start())
}

every_log!(keeper);
