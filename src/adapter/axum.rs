//! axum 0.8: the id that a client brings, as an extractor; a listener for `axum::serve`.
//!
//! All else fits by itself: an [`EventSource`](crate::EventSource) is a service for
//! `route_service`, and its answers are responses.

#[cfg(feature = "detached")]
mod listener;

use std::convert::Infallible;

use axum::extract::OptionalFromRequestParts;
use http::request::Parts;

use crate::log::LastEventId;
use crate::subscriber::Head;

/// For handlers that have more to do than to answer:
/// `async |id: Option<LastEventId>, ..| events.grant(permit, id)`.
///
/// `None` is a client that brings no id. There is no rejection: what cannot be read
/// is [`Malformed`](Self::Malformed).
impl<S: Sync> OptionalFromRequestParts<S> for LastEventId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(Head::of_parts(parts).last_event_id())
    }
}
