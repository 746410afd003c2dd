//! warp.

use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Rejection};

use super::{PLAIN, Server, block_on};
use crate::fixture::{Ready, Stop};

pub(crate) const SERVER: Server = Server {
    run: |events, ready, stop| {
        let app = warp::path("events").and(BoxedFilter::from(events));
        serve(app, ready, stop);
    },
    run_socket: |socket, ready, stop| {
        let app = warp::path("socket").and(BoxedFilter::from(socket));
        serve(app, ready, stop);
    },
    ..PLAIN
};

fn serve<F>(app: F, ready: Ready, stop: Stop)
where
    F: Filter<Extract = (Response,), Error = Rejection> + Clone + Send + Sync + 'static,
{
    block_on(async {
        let server = warp::serve(app).incoming(ready.listen_tokio());
        server.graceful(stop.told()).run().await;
    });
}
