//! Connections of HTTP/2.

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::fixture::{Fixture, PATIENCE};
use crate::tls;

/// Runs what a client has to say, which must not take long.
pub(crate) fn talk(talk: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let in_time = runtime.block_on(async { timeout(PATIENCE * 2, talk).await });
    in_time.expect("all of it comes");
}

pub(crate) async fn connect(fixture: &Fixture) -> SendRequest<Empty<Bytes>> {
    let tcp = tokio::net::TcpStream::connect(fixture.address).await;
    let tcp = tcp.unwrap();
    if !fixture.server.tls {
        return shake_hands(TokioIo::new(tcp)).await;
    }
    let name = tls::NAME.try_into().unwrap();
    let tls = TlsConnector::from(tls::client("h2")).connect(name, tcp);
    let tls = tls.await.unwrap();
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    shake_hands(TokioIo::new(tls)).await
}

async fn shake_hands<I>(io: I) -> SendRequest<Empty<Bytes>>
where
    I: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    sender
}
