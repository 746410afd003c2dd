//! The user's service, as hyper takes it, with its requests counted.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::pulse::{Pulse, Request};

pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// One for each connection.
pub(super) struct App<S> {
    pub(super) service: S,
    pub(super) pulse: Arc<Pulse>,
    pub(super) peer: SocketAddr,
    /// How long the answer to a request that has a body may take.
    pub(super) body: Duration,
}

impl<S, B> hyper::service::Service<http::Request<Incoming>> for App<S>
where
    S: tower_service::Service<http::Request<Incoming>, Response = Response<B>>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
{
    type Response = Response<Answer<B>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn call(&self, mut request: http::Request<Incoming>) -> Self::Future {
        let mut open = self.pulse.request(request.version() >= Version::HTTP_2);
        // A WebSocket over HTTP/2 has a body that does not end, and is not in its answer's.
        let connects = request.method() == Method::CONNECT;
        let has_body = !request.body().is_end_stream() && !connects;
        request.extensions_mut().insert(self.peer);
        let mut service = self.service.clone();
        let answer = async move {
            poll_fn(|cx| service.poll_ready(cx)).await?;
            service.call(request).await
        };
        let patience = self.body;
        Box::pin(async move {
            let answer = if has_body {
                match timeout(patience, answer).await {
                    Ok(answer) => answer,
                    Err(_) => return Ok(Answer::too_late(open)),
                }
            } else {
                answer.await
            };
            let (head, body) = answer.map_err(Into::into)?.into_parts();
            if connects && head.status.is_success() {
                open.stays();
            }
            let body = Answer {
                body: Some(Box::pin(body)),
                _open: open,
            };
            Ok(Response::from_parts(head, body))
        })
    }
}

/// The body of an answer, as it is.
pub(super) struct Answer<B> {
    body: Option<Pin<Box<B>>>,
    _open: Request,
}

impl<B> Answer<B> {
    fn too_late(open: Request) -> Response<Self> {
        let mut response = Response::new(Self {
            body: None,
            _open: open,
        });
        *response.status_mut() = StatusCode::REQUEST_TIMEOUT;
        response
    }
}

impl<B: Body> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match &mut self.body {
            Some(body) => body.as_mut().poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}
