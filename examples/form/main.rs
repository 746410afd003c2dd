//! A form in an ordinary blocking program, and its posts live in every page.
//!
//! ```text
//! cargo run --example form
//! curl -d 'name=ann' --data-urlencode 'text=hello' http://127.0.0.1:9000/
//! curl -N http://127.0.0.1:9001/events
//! ```
//!
//! or open <http://127.0.0.1:9000/> in a browser, twice. `--help` tells the options.
//!
//! The form is answered by `std::net` and a thread for each request ([`blocking`]), as a
//! program of long ago would: nothing there knows of `async`. All that it does for the
//! pages that are open is [`QueueStore::submit`], which waits for none of them. The stream
//! is served beside it, at `--events`, by hyper.
//!
//! A page needs no script to post and to read. One that has scripts goes on where the
//! server has written it: with the id of its last row.

mod blocking;
mod fields;
#[allow(dead_code, reason = "the other demos use the rest")]
#[path = "../support/mod.rs"]
mod support;

use std::future::ready;
use std::io;
use std::net::TcpListener;
use std::process::ExitCode;
use std::thread;

use futures_util::FutureExt;
use http_body_util::Either;
use hyper::{Request, Response};
use serde_json::{Value, json};
use tornadose::{Cors, Delivery, EventSource, QueueStore, Retention, Shutdown, Start};

use blocking::{Answer, Asked};
use fields::{escaped, field};

/// What the store keeps, and how much of it a page begins with.
const KEPT: usize = 200;
const SHOWN: u64 = 20;

/// How long a name and a text may be, in bytes.
const MAX_NAME: usize = 160;
const MAX_TEXT: usize = 4096;

#[tokio::main]
async fn main() -> ExitCode {
    let about = "A form in a blocking program, and its posts live in every page.";
    let options = support::Options::with_events(about);
    let page = match TcpListener::bind(options.listen) {
        Ok(listener) => listener,
        Err(error) => {
            support::complain(format_args!("cannot listen on {}: {error}", options.listen));
            return ExitCode::FAILURE;
        }
    };
    match run(page, &options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            support::complain(format_args!("cannot serve {}: {error}", options.events));
            ExitCode::FAILURE
        }
    }
}

async fn run(page: TcpListener, options: &support::Options) -> io::Result<()> {
    let streams = tokio::net::TcpListener::bind(options.events).await?;
    let store = QueueStore::builder()
        .retention(Retention::new().events(KEPT))
        .build();
    let shutdown = Shutdown::new();
    let events = EventSource::new(store.clone())
        .start(Start::Last(SHOWN))
        // The page is of another origin: of another port.
        .cors(Cors::any())
        .shutdown(&shutdown);

    let stop = support::announce(page.local_addr()?)?;
    let port = streams.local_addr()?.port();
    let form = Form { store, port };
    // It ends with the process: there is nothing to undo in it.
    thread::Builder::new()
        .name("form".to_owned())
        .spawn(move || blocking::serve(&page, move |asked| form.answer(asked)))?;

    let app = move |request| ready(app(&events, &request));
    support::accept_until(stop, &streams, &shutdown, app).await;
    Ok(())
}

/// The asynchronous part: the stream.
fn app<B>(events: &EventSource, request: &Request<B>) -> Response<support::Body> {
    match request.uri().path() {
        "/events" => events.respond(request).map(Either::Right),
        _ => support::not_found(),
    }
}

/// The blocking part.
struct Form {
    store: QueueStore,
    /// Where the stream is.
    port: u16,
}

impl Form {
    fn answer(&self, asked: &Asked) -> Answer {
        let path = asked.target.split('?').next().unwrap_or_default();
        match (asked.method.as_str(), path) {
            ("GET" | "HEAD", "/") => Answer::ok("text/html; charset=utf-8", self.page()),
            ("GET" | "HEAD", "/style.css") => {
                let style = include_str!("../pages/style.css");
                Answer::ok("text/css; charset=utf-8", style.to_owned())
            }
            ("POST", "/") => self.post(asked),
            (_, "/") => Answer::not_allowed("GET, HEAD, POST"),
            (_, "/style.css") => Answer::not_allowed("GET, HEAD"),
            _ => Answer::text("404 Not Found", "not found\n"),
        }
    }

    /// Takes what was posted, and sends the browser back to the page: who loads that again
    /// posts nothing again.
    fn post(&self, asked: &Asked) -> Answer {
        let kind = asked.header("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Answer::text("415 Unsupported Media Type", "not a form\n");
        }
        let name = field(&asked.body, "name").unwrap_or_default();
        let text = field(&asked.body, "text").unwrap_or_default();
        if text.trim().is_empty() {
            return Answer::text("400 Bad Request", "there is no text\n");
        }
        if name.len() > MAX_NAME || text.len() > MAX_TEXT {
            return Answer::text("413 Content Too Large", "too long\n");
        }
        let name = match name.trim() {
            "" => "somebody",
            name => name,
        };
        // Whatever the text, it is data. What is returned is for who wants to wait for
        // slow readers, which nobody has to.
        match self
            .store
            .submit(json!({ "name": name, "text": text }).to_string())
        {
            Ok(_) => Answer::see_other("/"),
            Err(_) => Answer::text("503 Service Unavailable", "closed\n"),
        }
    }

    /// The page as it is now, the newest post first.
    fn page(&self) -> String {
        let (mut rows, mut last) = (Vec::new(), String::new());
        let mut posts = self.store.subscribe(Start::Last(SHOWN));
        // What is there, is there at once.
        while let Some(Some(Delivery::Event(post))) = posts.recv().now_or_never() {
            last = post.id().to_string();
            let post: Value = serde_json::from_str(post.data()).unwrap_or_default();
            let part = |key| escaped(post[key].as_str().unwrap_or_default());
            let (name, text) = (part("name"), part("text"));
            rows.push(format!(
                "<li><b>{name}</b> <span class=\"text\">{text}</span></li>"
            ));
        }
        rows.reverse();
        include_str!("../pages/form.html")
            .replace("{{port}}", &self.port.to_string())
            .replace("{{last}}", &last)
            .replace("{{rows}}", &rows.concat())
    }
}
