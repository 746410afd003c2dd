//! A chat in actix-web: what anybody posts, everybody reads.
//!
//! ```text
//! cargo run --manifest-path examples/actix/Cargo.toml
//! curl -N http://127.0.0.1:9000/events
//! curl -d 'hello' http://127.0.0.1:9000/say
//! ```
//!
//! Who comes gets the last 20 lines, and who comes back gets what it missed.

use actix_web::{App, HttpResponse, HttpServer, rt, web};
use tornadose::{EventSource, QueueStore, Shutdown, Start};

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let shutdown = Shutdown::new();
    let store = QueueStore::new();
    let events = EventSource::new(store.clone())
        .start(Start::Last(20))
        .shutdown(&shutdown);

    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(store.clone()))
            .route("/events", web::to(events.clone()))
            .route("/say", web::post().to(say))
    });
    println!("listening on http://127.0.0.1:9000");
    server
        // Else a closed connection is taken for one that is only done asking, and is
        // noticed no sooner than something is written to it.
        .h1_allow_half_closed(false)
        .shutdown_signal(async move {
            // An error is that there is no such signal here.
            let _ = rt::signal::ctrl_c().await;
            // actix-web waits for its answers, and these end only if they are told to.
            shutdown.begin();
        })
        .bind("127.0.0.1:9000")?
        .run()
        .await
}

/// Whatever the text, it is data: no line of it can become a field.
async fn say(store: web::Data<QueueStore>, text: String) -> HttpResponse {
    match store.submit(text) {
        Ok(_) => HttpResponse::NoContent().finish(),
        Err(_) => HttpResponse::PayloadTooLarge().finish(),
    }
}
