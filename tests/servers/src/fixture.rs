//! A store behind a running server.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tornadose::{
    Cors, EventSource, Head, OnGap, Permit, QueueStore, Refusal, Retention, Shutdown,
    WebSocketSubscriber,
};

use crate::servers::Server;

/// For everything that comes as soon as it can. Nothing pushes a late byte out: the
/// streams have no keep-alive, so what has not come by then would never have come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Whom a server tells where it listens.
pub(crate) struct Ready(mpsc::Sender<SocketAddr>);

impl Ready {
    pub(crate) fn at(&self, address: SocketAddr) {
        self.0.send(address).unwrap();
    }

    pub(crate) fn listen(self) -> std::net::TcpListener {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        self.at(listener.local_addr().unwrap());
        listener
    }

    pub(crate) fn listen_tokio(self) -> tokio::net::TcpListener {
        tokio::net::TcpListener::from_std(self.listen()).unwrap()
    }
}

/// When a server has to stop.
pub(crate) struct Stop(oneshot::Receiver<()>);

impl Stop {
    pub(crate) async fn told(self) {
        let _ = self.0.await;
    }
}

pub(crate) struct Fixture {
    pub(crate) store: QueueStore,
    pub(crate) shutdown: Shutdown,
    pub(crate) server: &'static Server,
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    stopped: mpsc::Receiver<()>,
}

impl Fixture {
    pub(crate) fn new(server: &'static Server) -> Self {
        let retention = Retention::new().events(100);
        Self::with(server, retention, EventSource::without_keep_alive)
    }

    /// One that retains so many events.
    pub(crate) fn retaining(server: &'static Server, events: usize) -> Self {
        let retention = Retention::new().events(events);
        Self::with(server, retention, EventSource::without_keep_alive)
    }

    /// One that ends a stream rather than tell a gap.
    pub(crate) fn stopping(server: &'static Server) -> Self {
        Self::with(server, Retention::new(), |events| {
            events.without_keep_alive().on_gap(OnGap::Stop)
        })
    }

    /// One whose streams only a user may have, and only those of the red room.
    pub(crate) fn guarded(server: &'static Server) -> Self {
        Self::with(server, Retention::new(), |events| {
            let cors = Cors::origins(["https://page.example"]).unwrap();
            let events = events.without_keep_alive().cors(cors);
            events.permit(of_the_red_room)
        })
    }

    /// One that notices who has left: by itself, or else by the keep-alive.
    pub(crate) fn noticing(server: &'static Server, by_itself: bool) -> Self {
        Self::with(server, Retention::new(), |events| {
            if by_itself {
                events.without_keep_alive()
            } else {
                events.keep_alive(Duration::from_millis(20))
            }
        })
    }

    fn with(
        server: &'static Server,
        retention: Retention,
        config: impl FnOnce(EventSource) -> EventSource,
    ) -> Self {
        Self::running(server, retention, |events| {
            let events = config(events);
            move |ready, stop| (server.run)(events, ready, stop)
        })
    }

    /// One that speaks over WebSockets, and answers what it hears.
    pub(crate) fn speaking(server: &'static Server) -> Self {
        Self::with_sockets(server, Retention::new().events(100), |events| {
            events.websocket()
        })
    }

    /// One that speaks over WebSockets and retains so many events.
    pub(crate) fn speaking_of(server: &'static Server, events: usize) -> Self {
        Self::with_sockets(server, Retention::new().events(events), |events| {
            events.websocket()
        })
    }

    /// One that soon asks who is silent, over WebSockets.
    pub(crate) fn pinging(server: &'static Server) -> Self {
        Self::with_sockets(server, Retention::new(), |events| {
            events.websocket().ping(Duration::from_millis(50))
        })
    }

    /// One whose WebSockets only a user may have, and only those of the red room.
    pub(crate) fn guarding_sockets(server: &'static Server) -> Self {
        Self::with_sockets(server, Retention::new(), |events| {
            events.permit(of_the_red_room).websocket()
        })
    }

    fn with_sockets(
        server: &'static Server,
        retention: Retention,
        config: impl FnOnce(EventSource) -> WebSocketSubscriber,
    ) -> Self {
        Self::running(server, retention, |events| {
            let socket = config(events).on_message(|received| {
                if let Some(text) = received.text() {
                    received.reply(format!("heard {text}"));
                }
            });
            move |ready, stop| (server.run_socket)(socket, ready, stop)
        })
    }

    fn running<R>(
        server: &'static Server,
        retention: Retention,
        mount: impl FnOnce(EventSource) -> R,
    ) -> Self
    where
        R: FnOnce(Ready, Stop) + Send + 'static,
    {
        let store = QueueStore::builder().retention(retention).build();
        let shutdown = Shutdown::new();
        let run = mount(EventSource::new(store.clone()).shutdown(&shutdown));

        let (ready, address) = mpsc::channel();
        let (stop, told) = oneshot::channel();
        let (has_stopped, stopped) = mpsc::channel();
        thread::spawn(move || {
            run(Ready(ready), Stop(told));
            let _ = has_stopped.send(());
        });
        Self {
            store,
            shutdown,
            server,
            address: address.recv_timeout(PATIENCE).expect("it listens"),
            stop: Some(stop),
            stopped,
        }
    }

    /// Waits until this is the number of subscriptions.
    pub(crate) fn has_subscribers(&self, number: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.store.subscribers() != number {
            let now = self.store.subscribers();
            assert!(Instant::now() < deadline, "{now} subscribers, not {number}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Tells the server to stop, gracefully.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits until the server has stopped.
    pub(crate) fn has_stopped(&self) {
        self.stopped.recv_timeout(PATIENCE).expect("it stops");
    }
}

fn of_the_red_room(head: &Head<'_>) -> Result<Permit, Refusal> {
    match (head.header("x-user"), head.query("room").as_deref()) {
        (None, _) => Err(Refusal::UNAUTHORIZED),
        (Some(user), Some("red")) => Ok(Permit::new().key(user)),
        (Some(_), _) => Err(Refusal::NOT_FOUND),
    }
}

impl Drop for Fixture {
    /// The server ends by itself, later.
    fn drop(&mut self) {
        self.shutdown.begin();
        self.stop();
    }
}
