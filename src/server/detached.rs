//! Where sockets are: with hyper, or, if streams are to leave it, with shards.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::net::TcpStream;

use super::app::BoxError;
use super::connection::{Shared, drive};
use super::guard::Socket;
use crate::detached::{Engine, Io};
use crate::socket::Slot;

impl Socket for Io {
    fn tcp(&self) -> Option<&TcpStream> {
        Self::tcp(self).ok()
    }
}

pub(super) struct Home(Option<Arc<Engine>>);

impl Home {
    pub(super) fn new(is_left: bool, shared: &Shared) -> Self {
        Self(is_left.then(|| Arc::new(Engine::for_each_core(shared.terms))))
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
        match &self.0 {
            Some(engine) => {
                let io = Io::new(tcp, Arc::clone(engine), Some(slot));
                drop(tokio::spawn(drive(shared, (io, None), peer, service)));
            }
            None => {
                drop(tokio::spawn(drive(
                    shared,
                    (tcp, Some(slot)),
                    peer,
                    service,
                )));
            }
        }
    }

    pub(super) fn cut(&self) {
        if let Some(engine) = &self.0 {
            engine.cut();
        }
    }
}
