//! What every hub promises, of one in memory and of one on an engine in memory.

use tornadose::{Hub, HubBuilder};

use crate::engine::Engine;
use crate::every_hub::{every_hub, every_log};

mod memory {
    use super::*;

    async fn hub(settings: HubBuilder) -> (Hub, ()) {
        (settings.build(), ())
    }

    every_hub!(hub);
}

mod engine {
    use super::*;

    async fn hub(settings: HubBuilder) -> (Hub, ()) {
        (settings.open(Engine::new()).await.expect("an engine"), ())
    }

    every_hub!(hub);

    struct Keeper(Engine);

    impl Keeper {
        async fn engine(&mut self) -> Engine {
            self.0.clone()
        }
    }

    async fn keeper() -> Keeper {
        Keeper(Engine::new())
    }

    every_log!(keeper);
}
