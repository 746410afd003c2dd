//! Where sockets are: with hyper, to the end.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::net::TcpStream;

use super::app::BoxError;
use super::connection::{Shared, drive};
use crate::socket::Slot;

pub(super) struct Home;

impl Home {
    pub(super) fn new(_: bool, _: &Shared) -> Self {
        Self
    }

    pub(super) fn start<S, B>(
        &self,
        shared: &Arc<Shared>,
        (tcp, slot): (TcpStream, Slot),
        peer: SocketAddr,
        service: S,
    ) where
        S: tower_service::Service<Request<Incoming>, Response = Response<B>>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let shared = Arc::clone(shared);
        drop(tokio::spawn(drive(
            shared,
            (tcp, Some(slot)),
            peer,
            service,
        )));
    }

    pub(super) fn cut(&self) {}
}
