//! Pages that people comment on, and whoever watches a page sees the comment: the app is one
//! server, the events are another one, and Redis is between them.
//!
//! ```text
//! cargo run --example document --features redis
//! ```
//!
//! is both in one process and needs no Redis. Open <http://127.0.0.1:9000/> twice, or
//!
//! ```text
//! curl -N 'http://127.0.0.1:9001/events?page=welcome'
//! curl -d 'name=ann' --data-urlencode 'text=hello' http://127.0.0.1:9000/pages/welcome/comments
//! ```
//!
//! In two processes:
//!
//! ```text
//! cargo run --example document --features redis -- app --redis redis://127.0.0.1:6379
//! cargo run --example document --features redis -- events --redis redis://127.0.0.1:6379
//! ```
//!
//! ```text
//!  form ──► app: file, synced ──► outbox ──► Redis ──► event server ──► pages that watch
//!             ▲                                             │
//!             └──────────── may this one read it? ──────────┘
//! ```
//!
//! - The app ([`app`]) answers a form when the comment is on its disk ([`files`]), whether
//!   Redis is there or not. What is not published yet is the end of the same file; it is
//!   published in its order when Redis is back ([`outbox`]). Each comment has a key: one of
//!   which it is not known whether Redis has it is sent again, and Redis stores it once.
//! - The event server ([`events`]) has no data and no rules. Before each stream it asks the
//!   app, over HTTP, whether this page is there and may be read: one place decides, the two
//!   need not share a disk, and a page that is made private is private at once for who comes
//!   and within ten minutes for who is there. While the app is away nobody new is let in,
//!   is told to come back, and does; who is there stays.
//! - The page is of the app's origin and its stream of another one, which lets in only the
//!   origins that it knows.
//!
//! `--help` tells the options.

mod app;
mod events;
#[path = "../form/fields.rs"]
mod fields;
mod files;
mod html;
mod link;
mod options;
mod outbox;
#[allow(dead_code, reason = "the other demos use the rest")]
#[path = "../support/mod.rs"]
mod support;

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::net::TcpListener;
use tornadose::Shutdown;

use app::App;
use events::Events;
use files::Files;
use link::Link;
use options::{Options, Part};

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::from_args();
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            support::complain(error);
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let shutdown = Shutdown::new();
    match options.part {
        Part::Both => {
            let listener = bind(options.listen).await?;
            let streams = bind(options.events).await?;
            let (here, port) = (listener.local_addr()?, streams.local_addr()?.port());
            let files = Arc::new(Files::open(options.dir)?);
            let link = Link::in_memory();
            let app = App::new(Arc::clone(&files), link.clone(), port);
            let events = Events::new(link.clone(), here, &options.origins, &shutdown)?;
            let stop = support::announce(here)?;
            tokio::spawn(outbox::publish(files, link));
            tokio::join!(
                support::accept_until(stop, &listener, &shutdown, move |request| {
                    app.clone().answer(request)
                }),
                support::accept_until(shutdown.begun(), &streams, &shutdown, move |request| {
                    events.clone().answer(request)
                }),
            );
        }
        Part::App(redis) => {
            let link = Link::to(&redis)?;
            let listener = bind(options.listen).await?;
            let files = Arc::new(Files::open(options.dir)?);
            let app = App::new(Arc::clone(&files), link.clone(), options.events.port());
            let stop = support::announce(listener.local_addr()?)?;
            tokio::spawn(outbox::publish(files, link));
            support::accept_until(stop, &listener, &shutdown, move |request| {
                app.clone().answer(request)
            })
            .await;
        }
        Part::Events(redis) => {
            let link = Link::to(&redis)?;
            let events = Events::new(link, options.app, &options.origins, &shutdown)?;
            let listener = bind(options.listen).await?;
            let stop = support::announce(listener.local_addr()?)?;
            support::accept_until(stop, &listener, &shutdown, move |request| {
                events.clone().answer(request)
            })
            .await;
        }
    }
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| format!("cannot listen on {address}: {error}"))
}
