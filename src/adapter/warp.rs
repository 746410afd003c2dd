//! warp 0.4: an [`EventSource`] becomes a filter.

use http::{HeaderMap, Method};
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
        let query = warp::query::raw().or(warp::any().map(String::new)).unify();
        warp::method()
            .and(warp::path::full())
            .and(query)
            .and(warp::header::headers_cloned())
            .then(
                move |method: Method, path: FullPath, query: String, headers: HeaderMap| {
                    let headers = headers
                        .iter()
                        .map(|(name, value)| (name.as_str(), value.as_bytes()));
                    let uri = match &*query {
                        "" => path.as_str().to_owned(),
                        query => format!("{}?{query}", path.as_str()),
                    };
                    let answer = events.serve(&super::request(method.as_str(), &uri, headers));
                    async move {
                        let Ok(response) = answer.await;
                        convert(response)
                    }
                },
            )
            .boxed()
    }
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
