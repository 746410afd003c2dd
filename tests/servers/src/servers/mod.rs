//! The servers, each mounted with the line that the README tells.

pub(crate) mod actix;
pub(crate) mod axum;
pub(crate) mod axum_detached;
pub(crate) mod axum_handler;
pub(crate) mod axum_tls;
pub(crate) mod hyper;
pub(crate) mod hyper_detached;
pub(crate) mod hyper_tls;
pub(crate) mod poem;
pub(crate) mod rocket;
pub(crate) mod salvo;
pub(crate) mod tower;
pub(crate) mod warp;

use tornadose::{EventSource, WebSocketSubscriber};

use crate::fixture::{Ready, Stop};

/// A server, and in what it differs from [`PLAIN`].
pub(crate) struct Server {
    /// Serves until it is told to stop.
    pub(crate) run: fn(EventSource, Ready, Stop),
    /// The same, over WebSockets.
    pub(crate) run_socket: fn(WebSocketSubscriber, Ready, Stop),
    /// Whether it is spoken to by TLS.
    pub(crate) tls: bool,
    /// What it adds to every head, besides the time.
    pub(crate) own_headers: &'static [(&'static str, &'static str)],
    /// What it tells, when asked for the head alone, of the body that there would be.
    pub(crate) head_headers: &'static [(&'static str, &'static str)],
    /// Whether it notices that a client of HTTP/1.1 has left before it writes to it
    /// again.
    pub(crate) notices_leaving: bool,
    /// Whether it notices that a stream of HTTP/2 has been cancelled before it writes
    /// to it again.
    pub(crate) notices_cancelling: bool,
    /// Whether it hands over headers that are not UTF-8.
    pub(crate) takes_any_bytes: bool,
}

/// A server that keeps out of the way.
const PLAIN: Server = Server {
    run: |_, _, _| unreachable!("every server runs"),
    run_socket: |_, _, _| unreachable!("asked of those that can"),
    tls: false,
    own_headers: &[],
    head_headers: &[],
    notices_leaving: true,
    notices_cancelling: true,
    takes_any_bytes: true,
};

/// Runs it on a runtime of its own, in this thread.
fn block_on(serve: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(serve);
}
