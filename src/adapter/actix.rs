//! actix-web 4: an [`EventSource`] is a handler.

#[cfg(feature = "websocket")]
mod websocket;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{self, BodySize, BoxBody, MessageBody};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode, Version};
use actix_web::{Handler, HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_core::Stream;
use http_body::Body;

use crate::subscriber::{EventBody, EventSource, When};

/// `App::new().route("/events", web::to(events.clone()))`: every method, because those
/// that are wrong are answered here. In a handler of your own, the answer is
/// `events.call(request).await`.
///
/// actix-web notices that a client has left when it next writes to it, so keep the
/// keep-alive. Closed connections of HTTP/1.1 it notices at once if it is told
/// `HttpServer::h1_allow_half_closed(false)`.
impl<W: When> Handler<HttpRequest> for EventSource<W> {
    type Output = HttpResponse;
    type Future = Pin<Box<dyn Future<Output = HttpResponse>>>;

    fn call(&self, request: HttpRequest) -> Self::Future {
        let answer = self.serve(&asked(&request));
        Box::pin(async move {
            let Ok(response) = answer.await;
            let mut response = convert(response);
            if request.version() < Version::HTTP_11 {
                // Which does not know chunks, but gets them unless we say so.
                response.head_mut().no_chunking(true);
            }
            if request.method() == Method::HEAD {
                // Not the empty body, of which actix-web would tell the length.
                response.map_body(|_, _| BoxBody::new(body::None::new()))
            } else {
                response.map_into_boxed_body()
            }
        })
    }
}

fn asked(request: &HttpRequest) -> http::Request<()> {
    let headers = request.headers().iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
    let uri = request.uri().to_string();
    let mut asked = super::request(request.method().as_str(), &uri, headers);
    *asked.version_mut() = match request.version() {
        Version::HTTP_09 | Version::HTTP_10 => http::Version::HTTP_10,
        Version::HTTP_2 => http::Version::HTTP_2,
        _ => http::Version::HTTP_11,
    };
    asked
}

/// actix-web has its own types of the same names, those of http 0.2. What is valid in
/// the one is valid in the other.
fn convert(response: http::Response<EventBody>) -> HttpResponse<EventBody> {
    let (head, body) = response.into_parts();
    let status =
        StatusCode::from_u16(head.status.as_u16()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::with_body(status, body);
    for (name, value) in &head.headers {
        let name = HeaderName::from_bytes(name.as_str().as_bytes());
        let value = HeaderValue::from_bytes(value.as_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// The bytes are handed on as they are, not copied.
impl MessageBody for EventBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        if self.is_end_stream() {
            BodySize::Sized(0)
        } else {
            BodySize::Stream
        }
    }

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        Stream::poll_next(self, cx)
    }
}
