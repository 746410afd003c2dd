//! Live weather, asked for once and pushed to every page that is open.
//!
//! ```text
//! cargo run --example weather
//! curl -N http://127.0.0.1:9000/events
//! curl -N 'http://127.0.0.1:9000/events?topic=wind'
//! ```
//!
//! or open <http://127.0.0.1:9000/> in a browser. `--help` tells the options: another
//! place, another interval, and a sample that needs no network.
//!
//! One [poller](poller) asks a [source](source::Source), however many pages are open, and
//! tells a [board](board). That puts each kind of reading into a topic of a [`Hub`] when it
//! has changed, and only then: five equal answers are one event. Who connects gets what is
//! known now, and who was away what has changed since. The points of the chart are the only
//! topic of which more than the newest is kept: who comes gets the last hour, once.
//!
//! The topics, each the name of its events, whose data is JSON: `status`, what the source is
//! and how it is; `places`, names and locations by id; `temperature`, `humidity`, `wind`,
//! `rain` and `forecast`, values by id, in °C, %, km/h, mm and words; `point`.
//!
//! Where the source cannot be reached what there was stays for an hour, marked as such;
//! where there was nothing, a made-up [sample](sample::Sample) is played. The poller goes on
//! trying, ever more seldom, and the first reading that it gets replaces the sample.

mod board;
mod data_gov_sg;
mod fetch;
mod open_meteo;
mod options;
mod poller;
mod reading;
mod sample;
mod source;
#[allow(dead_code, reason = "the other demos use the rest")]
#[path = "../support/mod.rs"]
mod support;

use std::future::ready;
use std::process::ExitCode;

use http_body_util::Either;
use hyper::{Request, Response};
use tokio::runtime::Runtime;
use tornadose::{EventSource, Head, Permit, Refusal, Shutdown, Start, Topic, Topics};

use crate::board::{Board, Feed};
use crate::options::{KEEP, Options};

fn main() -> ExitCode {
    let options = Options::from_args();
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            support::complain(format_args!("cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run(options));
    // A name that is being looked up cannot be let go of: without a network that takes
    // longer than anybody waits for an end.
    runtime.shutdown_background();
    code
}

async fn run(options: Options) -> ExitCode {
    let shutdown = Shutdown::new();

    let hub = board::hub();
    let events = EventSource::new(hub.clone())
        .permit(permit)
        .start(Start::Last(board::POINTS))
        .shutdown(&shutdown);

    let (source, timing) = options.source();
    let feed = Feed::start(source, timing);
    let listen = support::Options {
        listen: options.listen,
        every: timing.every,
        events: options.listen,
        server: None,
    };
    let falls_back = options.falls_back();
    let fallback = falls_back.then_some(move || {
        let (source, timing) = options.sample();
        Feed::start(source, timing)
    });
    tokio::spawn(Board::new(hub, KEEP).run(feed, fallback));

    let app = move |request| ready(app(&events, &request));
    support::serve(&listen, &shutdown, app).await
}

/// Answers a request: the page, its style, or the stream.
fn app<B>(events: &EventSource, request: &Request<B>) -> Response<support::Body> {
    match request.uri().path() {
        "/" => support::html(request, include_str!("../pages/weather.html")),
        "/style.css" => support::css(request, include_str!("../pages/style.css")),
        "/events" => events.respond(request).map(Either::Right),
        _ => support::not_found(),
    }
}

/// A stream is of the topics that are asked for, and of all of them if none is.
fn permit(head: &Head<'_>) -> Result<Permit, Refusal> {
    let mut names: Vec<String> = head.queries("topic").collect();
    if names.is_empty() {
        names.extend(board::topics().map(str::to_owned));
    }
    let topic = |name: String| {
        let is_one = board::topics().any(|topic| topic == name);
        let topic = Topic::new(name).ok().filter(|_| is_one);
        topic.ok_or(Refusal::NOT_FOUND)
    };
    let topics: Topics = names.into_iter().map(topic).collect::<Result<_, _>>()?;
    Ok(Permit::new().topics(topics))
}
