//! Plain hyper, with events that are encoded once: their bytes are broadcast over
//! `tokio::sync::broadcast` and each stream's body is a receiver.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpSocket;
use tokio::sync::broadcast::{self, error::RecvError};

type Body = UnsyncBoxBody<Bytes, Infallible>;

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).expect("an address");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async { runtime.spawn(serve(address)).await.expect("no panic") })
}

async fn serve(address: String) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(address.parse().expect("an address"))?;
    let listener = socket.listen(4096)?;
    let events = broadcast::Sender::<Bytes>::new(1024);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let events = events.clone();
        let service = service_fn(move |request| answer(request, events.clone()));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

async fn answer(
    request: Request<Incoming>,
    events: broadcast::Sender<Bytes>,
) -> Result<Response<Body>, Infallible> {
    let mut response = Response::new(Full::default().boxed_unsync());
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/events") => {
            let kind = "text/event-stream".parse().expect("a value");
            response.headers_mut().insert("content-type", kind);
            let frames = stream::unfold(events.subscribe(), async |mut events| {
                loop {
                    match events.recv().await {
                        Ok(bytes) => return Some((Ok(Frame::data(bytes)), events)),
                        Err(RecvError::Lagged(_)) => {}
                        Err(RecvError::Closed) => return None,
                    }
                }
            });
            *response.body_mut() = StreamBody::new(frames).boxed_unsync();
        }
        (&Method::POST, "/pub") => {
            if let Ok(body) = request.into_body().collect().await {
                let event = [b"data: ", &*body.to_bytes(), b"\n\n"].concat();
                // That nobody listens is no error.
                let _ = events.send(event.into());
            }
            *response.status_mut() = StatusCode::NO_CONTENT;
        }
        _ => *response.status_mut() = StatusCode::NOT_FOUND,
    }
    Ok(response)
}
