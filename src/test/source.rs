//! Whatever answers requests, as one type.

use std::error::Error;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

type BoxError = Box<dyn Error + Send + Sync>;

pub(crate) type Ask = Box<dyn FnMut(Request<String>) -> Answer + Send>;
pub(crate) type Answer =
    Pin<Box<dyn Future<Output = Result<Response<Pin<Box<dyn Chunks>>>, Arc<str>>> + Send>>;

/// A body without trailers, whatever its error is.
pub(crate) trait Chunks: Send {
    fn poll_chunk(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Arc<str>>>>;
}

impl<B> Chunks for B
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    fn poll_chunk(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Arc<str>>>> {
        Poll::Ready(match ready!(self.as_mut().poll_frame(cx)) {
            None => None,
            // Trailers say nothing to a page.
            Some(Ok(frame)) => Some(Ok(frame.into_data().unwrap_or_default())),
            Some(Err(error)) => Some(Err(text(error))),
        })
    }
}

pub(crate) fn service<S, B>(service: S) -> Ask
where
    S: Service<Request<String>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    function(move |request| {
        let mut service = service.clone();
        async move {
            poll_fn(|cx| service.poll_ready(cx)).await?;
            service.call(request).await
        }
    })
}

pub(crate) fn function<F, A, B, E>(mut answer: F) -> Ask
where
    F: FnMut(Request<String>) -> A + Send + 'static,
    A: Future<Output = Result<Response<B>, E>> + Send + 'static,
    E: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    Box::new(move |request| {
        let answer = answer(request);
        Box::pin(async move {
            let response = answer.await.map_err(text)?;
            Ok(response.map(|body| Box::pin(body) as Pin<Box<dyn Chunks>>))
        })
    })
}

/// An error and its causes.
fn text(error: impl Into<BoxError>) -> Arc<str> {
    let error = error.into();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text.into()
}
