//! A server that sends back whatever it is sent.

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tornadose::{Envelope, EventSource, QueueStore, WebSocketSubscriber};

/// It takes what the largest cases send: 16 MiB at once, and 4 MiB in parts of 64 bytes
/// with an empty one at the end. `Envelope::Data` says nothing of its own.
pub(crate) fn socket() -> WebSocketSubscriber {
    EventSource::new(QueueStore::new())
        .websocket()
        .envelope(Envelope::Data)
        .max_message_bytes(16 << 20)
        .max_fragments((4 << 20) / 64 + 1)
        .on_message(|received| match received.text() {
            Some(text) => received.reply(text),
            None => received.reply_bytes(Bytes::copy_from_slice(received.bytes())),
        })
}

/// Answers on one connection.
pub(crate) async fn serve<I>(socket: WebSocketSubscriber, io: I)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http1::Builder::new().serve_connection(TokioIo::new(io), socket);
    // A client that breaks off is its own business.
    let _ = connection.with_upgrades().await;
}

/// Answers whoever comes.
pub(crate) async fn accept(socket: WebSocketSubscriber, listener: TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        tokio::spawn(serve(socket.clone(), stream));
    }
}
