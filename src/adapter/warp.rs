//! warp 0.4: an [`EventSource`] becomes a filter.

use http::{HeaderMap, HeaderValue, Method};
use http_body::Body;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use crate::subscriber::{EventBody, EventSource};

/// `warp::path("events").and(BoxedFilter::from(events))`: every method, because those
/// that are wrong are answered here.
impl From<EventSource> for BoxedFilter<(Response,)> {
    fn from(events: EventSource) -> Self {
        warp::method()
            .and(warp::header::headers_cloned())
            .map(move |method: Method, headers: HeaderMap| {
                let ids = headers.get_all("last-event-id").iter();
                let ids = ids.map(HeaderValue::as_bytes);
                convert(super::respond(&events, method.as_str(), ids))
            })
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
