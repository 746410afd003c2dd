//! `axum::serve(Listener::new(tcp), app)`.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::detached::{Io, Listener};

/// A connection that cannot be accepted is the next one's turn; where the system has no
/// more descriptors it waits a second.
///
/// For `ConnectInfo<SocketAddr>`, which axum knows of its own listeners:
/// `Listener::new(tcp).tap_io(|_| {})` with axum's `ListenerExt`.
impl axum::serve::Listener for Listener {
    type Io = Io;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Io, SocketAddr) {
        loop {
            match Self::accept(self).await {
                Ok(accepted) => return accepted,
                Err(error) if is_of_one_connection(&error) => {}
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Self::local_addr(self)
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}
