//! hyper 1: an [`EventSource`] is what `serve_connection` takes.

#[cfg(feature = "browser")]
mod browser;
#[cfg(feature = "websocket")]
mod websocket;

use std::convert::Infallible;

use http::{Request, Response};

use crate::subscriber::{EventBody, EventSource, When};

impl<W: When, B> hyper::service::Service<Request<B>> for EventSource<W> {
    type Response = Response<EventBody>;
    type Error = Infallible;
    type Future = W::Wait<Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        self.serve(&request)
    }
}
