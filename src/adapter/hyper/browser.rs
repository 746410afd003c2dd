//! A [`Script`] is what `serve_connection` takes, too.

use std::convert::Infallible;
use std::future::{Ready, ready};

use http::{Request, Response};

use crate::browser::Script;

impl<B> hyper::service::Service<Request<B>> for Script {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        ready(Ok(self.respond(&request)))
    }
}
