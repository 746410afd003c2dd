//! The event server: it follows the log through a hub of its own, and tells those who watch.
//!
//! | request | what it is |
//! |---|---|
//! | `GET /events?page=NAME` | the stream of that page; `&token=T` where it is private |
//! | `GET /stats` | what the hub does, and how many watch each page |
//!
//! It is another origin than the pages, so only those of the app may read it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http_body_util::{Either, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tornadose::{
    Awaited, Cors, EventSource, Head, Hub, InvalidOrigin, LastEventId, Permit, Refusal, Shutdown,
    Start, Stats,
};

use crate::files::is_name;
use crate::html::answer;
use crate::link::{Link, TOPICS, topic};
use crate::support::{self, Body};

/// For how long who may read a page may, before the app is asked again.
const PERMITTED_FOR: Duration = Duration::from_secs(10 * 60);

/// How long the app may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long it is waited for an event that the client has seen elsewhere.
const CATCH_UP: Duration = Duration::from_secs(2);

const MAX_STREAMS: usize = 10_000;

/// Of how many pages `/stats` tells, the busiest first.
const MAX_STATS: usize = 1000;

#[derive(Clone)]
pub(crate) struct Events(Arc<Inner>);

struct Inner {
    link: Link,
    app: SocketAddr,
    cors: Cors,
    shutdown: Shutdown,
    /// As soon as there is a hub.
    source: OnceLock<EventSource<Awaited>>,
    /// Until then: everybody is to come back.
    waiting: EventSource,
}

impl Events {
    /// Lets in the pages of the app at this address, by both names of this machine, and of
    /// these further origins.
    pub(crate) fn new(
        link: Link,
        app: SocketAddr,
        origins: &[String],
        shutdown: &Shutdown,
    ) -> Result<Self, InvalidOrigin> {
        let own = [
            format!("http://{app}"),
            format!("http://localhost:{}", app.port()),
        ];
        let cors = Cors::origins(own.iter().chain(origins).map(String::as_str))?;
        let waiting = EventSource::new(Hub::new())
            .permit(|_| Err(Refusal::LATER))
            .cors(cors.clone())
            .shutdown(shutdown);
        Ok(Self(Arc::new(Inner {
            link,
            app,
            cors,
            shutdown: shutdown.clone(),
            source: OnceLock::new(),
            waiting,
        })))
    }

    pub(crate) async fn answer(self, request: Request<Incoming>) -> Response<Body> {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/events" => match self.source() {
                Some(source) => source.respond(&request).await,
                None => self.0.waiting.respond(&request),
            }
            .map(Either::Right),
            "/stats" if is_read => {
                let stats = stats(self.0.link.hub().as_ref());
                answer(StatusCode::OK, "application/json", format!("{stats}\n"))
            }
            "/stats" => support::method_not_allowed("GET, HEAD"),
            _ => support::not_found(),
        }
    }

    fn source(&self) -> Option<&EventSource<Awaited>> {
        if self.0.source.get().is_none() {
            let hub = self.0.link.hub()?;
            // If another request was faster, its is taken.
            let _ = self.0.source.set(self.make(hub));
        }
        self.0.source.get()
    }

    fn make(&self, hub: Hub) -> EventSource<Awaited> {
        let app = self.0.app;
        EventSource::new(hub.clone())
            .start(Start::Oldest)
            .retry(Duration::from_secs(1))
            .max_streams(MAX_STREAMS)
            .cors(self.0.cors.clone())
            .shutdown(&self.0.shutdown)
            .permit_async(move |head| permit(app, hub.clone(), Asked::of(head)))
    }
}

/// What a client wants.
struct Asked {
    page: Option<String>,
    token: Option<String>,
    last: Option<LastEventId>,
}

impl Asked {
    fn of(head: &Head<'_>) -> Self {
        Self {
            page: head.queries("page").next(),
            token: head.queries("token").next(),
            last: head.last_event_id(),
        }
    }
}

/// Whether the app lets this client read that page.
async fn permit(app: SocketAddr, hub: Hub, asked: Asked) -> Result<Permit, Refusal> {
    let page = asked.page.filter(|page| is_name(page));
    let page = page.ok_or(Refusal::NOT_FOUND)?;
    let answer = timeout(PATIENCE, ask(app, &page, asked.token.as_deref())).await;
    match answer {
        Ok(Some(StatusCode::NO_CONTENT)) => {}
        Ok(Some(StatusCode::NOT_FOUND)) => return Err(Refusal::NOT_FOUND),
        Ok(Some(StatusCode::FORBIDDEN)) => return Err(Refusal::FORBIDDEN),
        // A browser would not come back after a status that says so.
        _ => return Err(Refusal::LATER),
    }
    // The app may have read more of the log than we have: what its page ends with is not an
    // id of another log for that.
    if let Some(LastEventId::At(position)) = asked.last {
        let _ = timeout(CATCH_UP, hub.reached(position)).await;
    }
    let topic = topic(&page).map_err(|_| Refusal::NOT_FOUND)?;
    Ok(Permit::new().topics(topic).expires_in(PERMITTED_FOR))
}

/// What the app says, if it says anything.
async fn ask(app: SocketAddr, page: &str, token: Option<&str>) -> Option<StatusCode> {
    let stream = TcpStream::connect(app).await.ok()?;
    let (mut requests, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .ok()?;
    let mut request = Request::get(format!("/pages/{page}/access")).header(HOST, app.to_string());
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    // What is no header is no token, either.
    let Ok(request) = request.body(Empty::<Bytes>::new()) else {
        return Some(StatusCode::FORBIDDEN);
    };
    let answer = requests.send_request(request);
    tokio::select! {
        biased;
        answer = answer => Some(answer.ok()?.status()),
        _ = connection => None,
    }
}

fn stats(hub: Option<&Hub>) -> Value {
    let all = hub.map(Hub::stats).unwrap_or_default();
    let topics = hub.map(|hub| hub.topic_stats(MAX_STATS));
    let pages = topics.iter().flatten().filter_map(|stats| {
        let name = stats.topic.as_ref()?.as_str().strip_prefix(TOPICS)?;
        Some((name, figures(stats)))
    });
    let pages: BTreeMap<_, _> = pages.collect();
    let mut told = figures(&all);
    told["is_available"] = hub.is_some_and(Hub::is_available).into();
    told["pages"] = json!(pages);
    told
}

fn figures(stats: &Stats) -> Value {
    json!({
        "subscribers": stats.subscribers,
        "submitted": stats.submitted,
        "delivered": stats.delivered,
        "retained": stats.retained,
        "gaps": stats.gaps,
        "missed": stats.missed,
        "furthest_behind": stats.lag.max(),
    })
}
