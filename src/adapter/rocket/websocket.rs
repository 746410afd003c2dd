//! A [`WebSocketSubscriber`] becomes routes, one for each method.

use std::io;
use std::pin::Pin;

use http::header::{CONNECTION, UPGRADE};
use rocket::data::{IoHandler, IoStream};
use rocket::route::{Handler, Outcome};
use rocket::{Data, Request, Route, Shutdown};

use super::{METHODS, asked, convert};
use crate::subscriber::{Handshake, Session, WebSocketSubscriber, When};

/// `rocket::build().mount("/socket", socket)`: every method, because those that are wrong
/// are answered here. The connections also end when rocket's own shutdown begins.
impl<W: When> From<WebSocketSubscriber<W>> for Vec<Route> {
    fn from(socket: WebSocketSubscriber<W>) -> Self {
        METHODS
            .map(|method| Route::new(method, "/", socket.clone()))
            .into()
    }
}

#[rocket::async_trait]
impl<W: When> Handler for WebSocketSubscriber<W> {
    async fn handle<'r>(&self, request: &'r Request<'_>, _: Data<'r>) -> Outcome<'r> {
        let shutdown = request.rocket().shutdown();
        let answer = self.shake(&asked(request), |shaken| shaken);
        let Handshake {
            mut response,
            session,
        } = answer.await;
        if session.is_some() {
            // What rocket answers by itself, in case that it cannot be done.
            *response.status_mut() = http::StatusCode::NOT_IMPLEMENTED;
            response.headers_mut().remove(CONNECTION);
            response.headers_mut().remove(UPGRADE);
        }
        let mut response = convert(response, shutdown.clone());
        if let Some(session) = session {
            response.add_upgrade("websocket", Connected { session, shutdown });
        }
        Outcome::Success(response)
    }
}

/// Rocket runs it with the connection.
struct Connected {
    session: Session,
    shutdown: Shutdown,
}

#[rocket::async_trait]
impl IoHandler for Connected {
    async fn io(self: Pin<Box<Self>>, io: IoStream) -> io::Result<()> {
        let Self { session, shutdown } = *Pin::into_inner(self);
        session.run_until(io, shutdown).await;
        Ok(())
    }
}
