//! What every hub promises, of one whose log is in a file.

use tornadose::backplane::Durable;
use tornadose::{Hub, HubBuilder};

use crate::every_hub::{every_hub, every_log};
use crate::support::Directory;

async fn hub(settings: HubBuilder) -> (Hub, Directory) {
    let folder = Directory::new();
    let hub = settings.open(folder.open().await).await.expect("a file");
    (hub, folder)
}

every_hub!(hub);

struct Keeper(Directory);

impl Keeper {
    async fn engine(&mut self) -> Durable {
        self.0.open().await
    }
}

async fn keeper() -> Keeper {
    Keeper(Directory::new())
}

every_log!(keeper);
