//! hyper 1: an [`EventSource`] is what `serve_connection` takes.

use std::convert::Infallible;
use std::future::{Ready, ready};

use http::{Request, Response};

use crate::subscriber::{EventBody, EventSource};

impl<B> hyper::service::Service<Request<B>> for EventSource {
    type Response = Response<EventBody>;
    type Error = Infallible;
    type Future = Ready<Result<Response<EventBody>, Infallible>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        ready(Ok(self.respond(&request)))
    }
}
