//! The application that the recipes are in front of.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::HeaderMap;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tornadose::{
    Cors, Event, EventSource, Head, Permit, Position, QueueStore, ServeError, Server, Shutdown,
    WebSocketSubscriber,
};

use crate::client::within;

/// A page that may read streams from elsewhere.
pub(crate) const ELSEWHERE: &str = "https://elsewhere.example";

pub(crate) struct App {
    pub(crate) address: SocketAddr,
    /// What everybody gets who is nobody in particular.
    pub(crate) store: QueueStore,
    pub(crate) users: Users,
    pub(crate) events: EventSource,
    pub(crate) shutdown: Shutdown,
    /// What came with each request for a stream or a WebSocket.
    pub(crate) heads: Arc<Mutex<Vec<HeaderMap>>>,
    serving: JoinHandle<Result<(), ServeError>>,
}

impl App {
    /// One whose streams and WebSockets say nothing unless there is something to say.
    pub(crate) async fn silent() -> Self {
        let day = Duration::from_secs(86_400);
        Self::start(EventSource::without_keep_alive, |s| s.ping(day), |s| s).await
    }

    /// One that is heard of as often as this.
    pub(crate) async fn every(interval: Duration) -> Self {
        Self::start(|s| s.keep_alive(interval), |s| s.ping(interval), |s| s).await
    }

    pub(crate) async fn start(
        events: impl FnOnce(EventSource) -> EventSource,
        socket: impl FnOnce(WebSocketSubscriber) -> WebSocketSubscriber,
        server: impl FnOnce(Server) -> Server,
    ) -> Self {
        let anywhere = (Ipv4Addr::LOCALHOST, 0).into();
        Self::start_at(anywhere, QueueStore::new(), events, socket, server).await
    }

    /// What is started when this one has ended, with what it had.
    pub(crate) async fn successor(&self) -> Self {
        let (address, store) = (self.address, self.store.clone());
        let silent = EventSource::without_keep_alive;
        Self::start_at(address, store, silent, |s| s, |s| s).await
    }

    async fn start_at(
        address: SocketAddr,
        store: QueueStore,
        events: impl FnOnce(EventSource) -> EventSource,
        socket: impl FnOnce(WebSocketSubscriber) -> WebSocketSubscriber,
        server: impl FnOnce(Server) -> Server,
    ) -> Self {
        let tcp = TcpListener::bind(address).await.expect("a free port");
        let address = tcp.local_addr().expect("bound");
        let port = address.port().to_string();
        let shutdown = Shutdown::new();
        let users = Users::default();
        let heads = Arc::new(Mutex::new(Vec::new()));

        let hook = {
            let (users, heads) = (users.clone(), Arc::clone(&heads));
            move |head: &Head<'_>| {
                heads.lock().expect("heads").push(head.headers().clone());
                Ok(match user(head) {
                    Some(user) => Permit::new().store(users.store(&user)).key(user),
                    None => Permit::new(),
                })
            }
        };
        let cors = Cors::with_credentials([ELSEWHERE]).expect("an origin");
        let source = EventSource::new(store.clone())
            .shutdown(&shutdown)
            .permit(hook)
            .cors(cors);
        let events = events(source);
        let socket = socket(events.websocket()).on_message(|received| {
            let text = received.text().unwrap_or_default().to_owned();
            received.reply(text);
        });
        let app = Router::new()
            .route_service("/events", events.clone())
            .route_service("/socket", socket)
            .route("/port", get(async move || port));
        let server = server(Server::new(tcp).shutdown(&shutdown));
        Self {
            address,
            store,
            users,
            events,
            shutdown,
            heads,
            serving: tokio::spawn(server.serve(app)),
        }
    }

    pub(crate) fn submit(&self, data: impl Into<Event>) -> Position {
        submit(&self.store, data)
    }

    /// Waits until so many streams and WebSockets are open.
    pub(crate) async fn until_streams(&self, count: usize) {
        let what = format!("{count} streams");
        within(&what, async {
            while self.events.streams() != count {
                sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }

    /// Begins the shutdown; all have to leave in time.
    pub(crate) async fn shut_down(&mut self) {
        self.shutdown.begin();
        let ended = within("the end of the server", &mut self.serving).await;
        ended.expect("no panic").expect("nobody is cut off");
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

pub(crate) fn submit(store: &QueueStore, data: impl Into<Event>) -> Position {
    let submitted = store.submit(data).expect("open and small");
    submitted.id().expect("in memory")
}

/// A store for each user.
#[derive(Clone, Default)]
pub(crate) struct Users(Arc<Mutex<HashMap<String, QueueStore>>>);

impl Users {
    pub(crate) fn store(&self, user: &str) -> QueueStore {
        let mut stores = self.0.lock().expect("stores");
        stores.entry(user.to_owned()).or_default().clone()
    }
}

/// Who it is, in three ways to say so.
fn user(head: &Head<'_>) -> Option<String> {
    let cookies = head.header("cookie").unwrap_or_default().split("; ");
    let cookie = cookies.filter_map(|pair| pair.strip_prefix("user=")).next();
    let asked = head.query("user");
    let said = cookie.or(head.header("x-user")).or(asked.as_deref());
    said.map(str::to_owned)
}
