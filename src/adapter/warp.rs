//! warp 0.4: an [`EventSource`] becomes a filter.

#[cfg(feature = "websocket")]
mod websocket;

use std::convert::Infallible;

use http::{HeaderMap, Method, Request};
use http_body::Body;
use warp::filters::BoxedFilter;
use warp::filters::path::FullPath;
use warp::reply::Response;
use warp::{Filter, Reply};

use crate::subscriber::{EventBody, EventSource, When};

/// `warp::path("events").and(BoxedFilter::from(events))`: every method, because those
/// that are wrong are answered here.
impl<W: When> From<EventSource<W>> for BoxedFilter<(Response,)> {
    fn from(events: EventSource<W>) -> Self {
        request()
            .then(move |request| {
                let answer = events.serve(&request);
                async move {
                    let Ok(response) = answer.await;
                    convert(response)
                }
            })
            .boxed()
    }
}

/// warp hands requests over in parts.
fn request() -> impl Filter<Extract = (Request<()>,), Error = Infallible> + Clone {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .map(
            |method: Method, path: FullPath, query: String, headers: HeaderMap| {
                let headers = headers
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_bytes()));
                let uri = match &*query {
                    "" => path.as_str().to_owned(),
                    query => format!("{}?{query}", path.as_str()),
                };
                super::request(method.as_str(), &uri, headers)
            },
        )
}

/// warp's body can only be had as part of its responses.
fn convert(response: http::Response<EventBody>) -> Response {
    let (head, body) = response.into_parts();
    let body = if body.is_end_stream() {
        Response::default().into_body()
    } else {
        warp::reply::stream(body).into_response().into_body()
    };
    Response::from_parts(head, body)
}
