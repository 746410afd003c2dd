//! A [`WebSocketSubscriber`] is what `serve_connection_with_upgrades` takes.

use std::convert::Infallible;

use http::{Request, Response};

use crate::subscriber::{EventBody, WebSocketSubscriber, When};

impl<W: When, B> hyper::service::Service<Request<B>> for WebSocketSubscriber<W> {
    type Response = Response<EventBody>;
    type Error = Infallible;
    type Future = W::Wait<Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        self.serve(&request)
    }
}
