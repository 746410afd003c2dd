//! The usual way in axum: `Sse` over a `tokio::sync::broadcast`, with keep-alive.

use std::convert::Infallible;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use tokio::net::TcpSocket;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt};

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
    let listener = socket.listen(4096)?.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let app = Router::new()
        .route("/events", get(events))
        .route("/pub", post(publish))
        .with_state(broadcast::Sender::<String>::new(1024));
    axum::serve(listener, app).await
}

async fn events(
    State(events): State<broadcast::Sender<String>>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    // Who lags misses events and is not told.
    let events = BroadcastStream::new(events.subscribe())
        .filter_map(|data| data.ok().map(|data| Ok(Event::default().data(data))));
    Sse::new(events).keep_alive(KeepAlive::default())
}

async fn publish(State(events): State<broadcast::Sender<String>>, data: String) -> StatusCode {
    // That nobody listens is no error.
    let _ = events.send(data);
    StatusCode::NO_CONTENT
}
