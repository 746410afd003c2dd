//! actix-web with a streaming body: events that are encoded once, broadcast as bytes.

use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpResponse, HttpServer};
use tokio::sync::broadcast;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::BroadcastStream;

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).expect("an address");
    let events = Data::new(broadcast::Sender::<Bytes>::new(1024));
    HttpServer::new(move || {
        App::new()
            .app_data(events.clone())
            .route("/events", web::get().to(stream))
            .route("/pub", web::post().to(publish))
    })
    .workers(1)
    .backlog(4096)
    .tcp_nodelay(true)
    .bind(address)?
    .run()
    .await
}

async fn stream(events: Data<broadcast::Sender<Bytes>>) -> HttpResponse {
    // Who lags misses events and is not told.
    let events = BroadcastStream::new(events.subscribe())
        .filter_map(|bytes| bytes.ok().map(Ok::<_, actix_web::Error>));
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .streaming(events)
}

async fn publish(events: Data<broadcast::Sender<Bytes>>, data: Bytes) -> HttpResponse {
    let event = [b"data: ", &*data, b"\n\n"].concat();
    // That nobody listens is no error.
    let _ = events.send(event.into());
    HttpResponse::NoContent().finish()
}
