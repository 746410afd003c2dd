//! A [`WebSocketSubscriber`] becomes a filter.

use http::Request;
use hyper::upgrade::OnUpgrade;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::subscriber::{WebSocketSubscriber, When};

/// `warp::path("socket").and(BoxedFilter::from(socket))`: every method, because those
/// that are wrong are answered here.
impl<W: When> From<WebSocketSubscriber<W>> for BoxedFilter<(Response,)> {
    fn from(socket: WebSocketSubscriber<W>) -> Self {
        super::request()
            .and(warp::ext::optional::<OnUpgrade>())
            .then(
                move |mut request: Request<()>, upgrade: Option<OnUpgrade>| {
                    if let Some(upgrade) = upgrade {
                        request.extensions_mut().insert(upgrade);
                    }
                    let answer = socket.serve(&request);
                    async move {
                        let Ok(response) = answer.await;
                        super::convert(response)
                    }
                },
            )
            .boxed()
    }
}
