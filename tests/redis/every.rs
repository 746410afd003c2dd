//! What every hub promises, of one whose log is in Redis.

use tornadose::backplane::Redis;
use tornadose::{Hub, HubBuilder};

use crate::every_hub::{every_hub, every_log};
use crate::server::Server;

async fn hub(settings: HubBuilder) -> (Hub, Server) {
    let server = Server::start();
    let hub = settings.open(server.redis()).await.expect("a server");
    (hub, server)
}

every_hub!(hub);

struct Keeper(Server);

impl Keeper {
    async fn engine(&mut self) -> Redis {
        self.0.redis()
    }
}

async fn keeper() -> Keeper {
    Keeper(Server::start())
}

every_log!(keeper);
