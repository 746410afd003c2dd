//! warp.

use warp::Filter;
use warp::filters::BoxedFilter;

use super::{PLAIN, Server, block_on};

pub(crate) const SERVER: Server = Server {
    run: |events, ready, stop| {
        let app = warp::path("events").and(BoxedFilter::from(events));
        block_on(async {
            let server = warp::serve(app).incoming(ready.listen_tokio());
            server.graceful(stop.told()).run().await;
        });
    },
    ..PLAIN
};
