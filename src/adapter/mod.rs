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

/// The request as those servers have it whose requests are not of the crate `http`, or
/// not in one piece, but for its body and what is attached to it.
#[cfg(any(feature = "actix-web", feature = "rocket", feature = "warp"))]
fn request<'a>(
    method: &str,
    uri: &str,
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> http::Request<()> {
    use http::{HeaderName, HeaderValue, Method, Request, Uri};

    let mut request = Request::new(());
    // What is no method is not one that we answer, and no path is one that is known.
    *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap_or(Method::CONNECT);
    *request.uri_mut() = uri.parse().unwrap_or_else(|_| Uri::from_static("*"));
    for (name, value) in headers {
        // What cannot stand in a header is an id as little as a space is.
        let value = HeaderValue::from_bytes(value).unwrap_or(HeaderValue::from_static(" "));
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            request.headers_mut().append(name, value);
        }
    }
    request
}
