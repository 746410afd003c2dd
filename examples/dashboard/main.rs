//! The library at work: what a hub takes, hands out, keeps and lets go of, live.
//!
//! ```text
//! cargo run --example dashboard
//! curl -N 'http://127.0.0.1:9000/events?topic=figures'
//! curl -d 500 http://127.0.0.1:9000/rate
//! curl -X POST http://127.0.0.1:9000/clients
//! ```
//!
//! or open <http://127.0.0.1:9000/> in a browser. `--help` tells the options.
//!
//! One [`Hub`] has two topics. `events` is lossless: numbered events at a rate that the page
//! sets ([`load`]). `figures` is the latest value of [`Hub::stats_of`] that topic, twice a
//! second ([`figures`]). Both come to the page over one connection.
//!
//! The page can add clients that stop reading ([`clients`]): real connections of this
//! process to itself. Each falls behind, is overtaken by what the hub keeps, and is told so
//! when it reads again: how many events it has missed, and why.
//!
//! | request | what it does |
//! |---|---|
//! | `GET /events?topic=T` | the stream of the topics that are named, of both if none is |
//! | `POST /rate` | the body is how many events per second there are to be: `204` |
//! | `POST /clients` | one more that does not read: `201`, or `409` if there are enough |
//! | `POST /clients/N/resume`, `POST /clients/N/stall` | it reads again, or no longer: `204` |
//! | `DELETE /clients/N` | it leaves: `204` |

mod clients;
mod figures;
mod load;
#[allow(dead_code, reason = "the other demos use the rest")]
#[path = "../support/mod.rs"]
mod support;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

use http_body_util::{BodyExt, Either, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tornadose::{
    EventSource, Head, Hub, InvalidTopic, Permit, Policy, Refusal, Retention, Shutdown, Start,
    Topic, Topics,
};

use clients::Clients;

/// How many events are kept: few, so that who does not read is soon overtaken; and at the
/// highest rate enough for a page that is busy for a moment.
const KEPT: usize = 1000;

/// How many events per second there are at first, and at most.
const RATE: u32 = 100;
const MAX_RATE: u32 = 5000;

/// How many streams there may be.
const MAX_STREAMS: usize = 256;

/// How many bytes the system is to hold for a client that does not read. Little, so that
/// it soon shows here; what it holds by itself may be megabytes.
const SEND_BUFFER: u32 = 8 << 10;

/// How many streams may wait to be accepted.
const BACKLOG: u32 = 128;

#[tokio::main]
async fn main() -> ExitCode {
    let about = "The library at work: what a hub takes, hands out, keeps and lets go of.";
    let options = support::Options::without_every(about);
    match run(options.listen).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            support::complain(format_args!("cannot listen on {}: {error}", options.listen));
            ExitCode::FAILURE
        }
    }
}

async fn run(address: SocketAddr) -> io::Result<()> {
    let listener = listen(address)?;
    let address = listener.local_addr()?;
    let stop = support::announce(address)?;
    let shutdown = Shutdown::new();
    let app = App::new(address, &shutdown).expect("these are topics");

    tokio::spawn(load::publish(
        app.hub.clone(),
        app.events.clone(),
        app.rate.subscribe(),
    ));
    tokio::spawn(figures::tell(app.clone()));
    support::accept_until(stop, &listener, &shutdown, move |request| {
        app.clone().answer(request)
    })
    .await;
    Ok(())
}

/// Connections inherit the buffer of the listener.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[derive(Clone)]
struct App {
    hub: Hub,
    /// The topics.
    events: Topic,
    figures: Topic,
    source: EventSource,
    rate: watch::Sender<u32>,
    clients: Clients,
}

impl App {
    fn new(address: SocketAddr, shutdown: &Shutdown) -> Result<Self, InvalidTopic> {
        let (events, figures): (Topic, Topic) = ("events".parse()?, "figures".parse()?);
        let hub = Hub::builder()
            .policy("figures".parse()?, Policy::latest())
            .default_policy(Policy::queue(Retention::new().events(KEPT)))
            .build();
        let all = [events.clone(), figures.clone()];
        let source = EventSource::new(hub.clone())
            .permit(move |head| permit(head, &all))
            .start(Start::Live)
            .max_streams(MAX_STREAMS)
            .shutdown(shutdown);
        Ok(Self {
            hub,
            events,
            figures,
            source,
            rate: watch::Sender::new(RATE),
            clients: Clients::of(address),
        })
    }

    async fn answer(self, request: Request<Incoming>) -> Response<support::Body> {
        match request.uri().path() {
            "/" => support::html(&request, include_str!("../pages/dashboard.html")),
            "/dashboard.js" => support::js(&request, include_str!("../pages/dashboard.js")),
            "/style.css" => support::css(&request, include_str!("../pages/style.css")),
            "/events" => self.source.respond(&request).map(Either::Right),
            "/rate" if request.method() == Method::POST => self.set_rate(request).await,
            "/clients" if request.method() == Method::POST => {
                support::status(match self.clients.add() {
                    true => StatusCode::CREATED,
                    false => StatusCode::CONFLICT,
                })
            }
            "/rate" | "/clients" => support::method_not_allowed("POST"),
            path => match path.strip_prefix("/clients/") {
                Some(what) => self.client(request.method(), what),
                None => support::not_found(),
            },
        }
    }

    async fn set_rate(&self, request: Request<Incoming>) -> Response<support::Body> {
        let body = Limited::new(request.into_body(), 16).collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        let rate = str::from_utf8(&body)
            .ok()
            .and_then(|text| text.parse().ok());
        support::status(match rate.filter(|rate| *rate <= MAX_RATE) {
            Some(rate) => {
                self.rate.send_replace(rate);
                StatusCode::NO_CONTENT
            }
            None => StatusCode::BAD_REQUEST,
        })
    }

    /// `what` is the number of a client, and perhaps what it is to do.
    fn client(&self, method: &Method, what: &str) -> Response<support::Body> {
        let (number, order) = match what.split_once('/') {
            Some((number, order)) => (number, Some(order)),
            None => (what, None),
        };
        let Ok(number) = number.parse() else {
            return support::not_found();
        };
        let done = match (method, order) {
            (&Method::POST, Some("resume")) => self.clients.set_reading(number, true),
            (&Method::POST, Some("stall")) => self.clients.set_reading(number, false),
            (&Method::DELETE, None) => self.clients.remove(number),
            (_, Some("resume" | "stall")) => return support::method_not_allowed("POST"),
            (_, None) => return support::method_not_allowed("DELETE"),
            _ => false,
        };
        match done {
            true => support::status(StatusCode::NO_CONTENT),
            false => support::not_found(),
        }
    }
}

/// The topics that are named, or all. Our own clients say who they are, so that it is seen
/// which is how far behind.
fn permit(head: &Head<'_>, all: &[Topic]) -> Result<Permit, Refusal> {
    let find = |name: String| all.iter().find(|topic| topic.as_str() == name).cloned();
    let named: Option<Topics> = head.queries("topic").map(find).collect();
    let topics = match named {
        None => return Err(Refusal::NOT_FOUND),
        Some(named) if named.is_empty() => all.iter().cloned().collect(),
        Some(named) => named,
    };
    let permit = Permit::new().topics(topics);
    Ok(match head.queries("name").next() {
        Some(name) if name.len() <= clients::MAX_NAME => permit.name(name),
        _ => permit,
    })
}
