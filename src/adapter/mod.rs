//! Web servers: one small file each, and the only room that names one.
//!
//! An adapter is trait impls and nothing to name: it gives an [`EventSource`] the
//! shape in which its server takes handlers. It decides nothing; that is done by
//! [`EventSource::respond`]. Whatever takes a [`tower_service::Service`], or an
//! answer of the crate `http`, needs no adapter.

#[cfg(feature = "actix-web")]
mod actix;
#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "hyper")]
mod hyper;
#[cfg(feature = "rocket")]
mod rocket;
#[cfg(feature = "warp")]
mod warp;

#[cfg(any(feature = "actix-web", feature = "rocket", feature = "warp"))]
use crate::subscriber::{EventBody, EventSource};

/// Asks for a server whose requests are not of the crate `http`, or not in one piece:
/// all that an answer depends on is the method and the ids.
#[cfg(any(feature = "actix-web", feature = "rocket", feature = "warp"))]
fn respond<'a>(
    events: &EventSource,
    method: &str,
    last_event_ids: impl IntoIterator<Item = &'a [u8]>,
) -> http::Response<EventBody> {
    use http::{HeaderValue, Method, Request};

    let mut request = Request::new(());
    // What is no method is not one that we answer.
    *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap_or(Method::OPTIONS);
    for id in last_event_ids {
        // What cannot stand in a header is an id as little as a space is.
        let id = HeaderValue::from_bytes(id).unwrap_or(HeaderValue::from_static(" "));
        request.headers_mut().append("last-event-id", id);
    }
    events.respond(&request)
}
