//! One connection, from its first byte to its last.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;

use super::app::{App, BoxError};
use super::guard::{Guard, Socket};
use super::pulse::{Patience, Pulse, Watch};
use crate::log::{Latch, Notice};
use crate::socket::{Slot, Terms};

/// What all connections of a server have in common.
pub(super) struct Shared {
    pub(super) http: Builder<TokioExecutor>,
    pub(super) terms: Terms,
    pub(super) patience: Patience,
    pub(super) body: Duration,
    /// No more requests.
    pub(super) drain: Arc<Latch>,
    /// Nobody is waited for any more.
    pub(super) cut: Arc<Latch>,
}

/// Serves what comes over a socket.
pub(super) async fn drive<I, S, B>(
    shared: Arc<Shared>,
    (socket, slot): (I, Option<Slot>),
    peer: SocketAddr,
    service: S,
) where
    I: Socket,
    S: tower_service::Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let pulse = Arc::new(Pulse::new());
    let mut watch = Watch::new(Arc::clone(&pulse), shared.patience);
    let guard = Guard::new(socket, Arc::clone(&pulse), shared.terms, &shared.cut, slot);
    let app = App {
        service,
        pulse,
        peer,
        body: shared.body,
    };
    let io = TokioIo::new(guard);
    let mut connection = pin!(shared.http.serve_connection_with_upgrades(io, app));
    let mut drain = Some(Notice::of(&shared.drain));
    let mut cut = Notice::of(&shared.cut);
    poll_fn(|cx| {
        if cut.poll_set(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            // An error means that the client has left, which clients do.
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let drains = drain.as_mut().map(|drain| drain.poll_set(cx));
            if !drains.is_some_and(|drains| drains.is_ready()) {
                return watch.poll(cx);
            }
            drain = None;
            if watch.is_new() {
                return Poll::Ready(());
            }
            connection.as_mut().graceful_shutdown();
        }
    })
    .await;
}
