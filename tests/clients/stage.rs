//! The server that the clients meet: its port stays, everything behind it can be cut,
//! held, closed and replaced.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tornadose::{EventBody, EventSource, OnGap, QueueStore, Shutdown};
#[cfg(feature = "websocket")]
use tornadose::{Origins, WebSocketSubscriber};

use crate::PATIENCE;

const PAGE: &str = concat!(
    "<!doctype html><meta charset=utf-8><title>clients</title><link rel=icon href=data:,><script>",
    include_str!("page.js"),
    "</script>"
);

/// A page that does what its driver says.
const BLANK: &str = concat!(
    "<!doctype html><meta charset=utf-8><title>clients</title><link rel=icon href=data:,><script>",
    include_str!("speak.js"),
    include_str!("several.js"),
    "</script>"
);

/// A server with one stream at `/events`, perhaps the same over WebSockets at `/socket`,
/// and, for a browser, a page at `/` that subscribes and one at `/blank` that does not.
///
/// Whoever drops it cuts every connection.
pub(crate) struct Stage {
    address: SocketAddr,
    /// Bound and never listening: keeps the port ours while nobody listens.
    _port: TcpSocket,
    behind: Arc<Behind>,
    shutdown: Shutdown,
    requests: mpsc::UnboundedReceiver<Option<String>>,
    accepting: Option<JoinHandle<()>>,
}

struct Behind {
    events: Mutex<EventSource>,
    #[cfg(feature = "websocket")]
    socket: Mutex<Option<WebSocketSubscriber>>,
    /// Whether requests are answered at once, or are held until the door opens.
    door: watch::Sender<bool>,
    /// Sending on it ends every connection.
    cut: watch::Sender<()>,
    /// Ends the connection that would send these bytes, right behind them.
    tear: Mutex<Option<&'static str>>,
    /// The id that each request for the stream, or for a WebSocket, has brought.
    requests: mpsc::UnboundedSender<Option<String>>,
}

impl Stage {
    /// Listens, with this store at `/events`.
    pub(crate) fn new(store: &QueueStore) -> io::Result<Self> {
        let port = TcpSocket::new_v4()?;
        port.set_reuseaddr(true)?;
        port.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let (send, requests) = mpsc::unbounded_channel();
        let shutdown = Shutdown::new();
        let mut stage = Self {
            address: port.local_addr()?,
            _port: port,
            behind: Arc::new(Behind {
                events: Mutex::new(events(store, &shutdown)),
                #[cfg(feature = "websocket")]
                socket: Mutex::new(None),
                door: watch::Sender::new(true),
                cut: watch::Sender::new(()),
                tear: Mutex::new(None),
                requests: send,
            }),
            shutdown,
            requests,
            accepting: None,
        };
        stage.listen()?;
        Ok(stage)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Puts this store at `/events`.
    pub(crate) fn mount(&mut self, store: &QueueStore) {
        self.shutdown = Shutdown::new();
        self.set(events(store, &self.shutdown));
    }

    /// The same, but who has missed something is answered `204`.
    pub(crate) fn mount_stopping(&mut self, store: &QueueStore) {
        self.shutdown = Shutdown::new();
        self.set(events(store, &self.shutdown).on_gap(OnGap::Stop));
    }

    /// Puts this store at `/events`, to those whom this lets in.
    pub(crate) fn mount_with(
        &mut self,
        store: &QueueStore,
        rules: impl FnOnce(EventSource) -> EventSource,
    ) {
        self.shutdown = Shutdown::new();
        self.set(rules(events(store, &self.shutdown)));
    }

    /// Puts what is at `/events` at `/socket`, too, for the pages of these origins. What
    /// is said there is submitted.
    #[cfg(feature = "websocket")]
    pub(crate) fn mount_socket(&self, store: &QueueStore, origins: Origins) {
        let store = store.clone();
        let events = self.behind.events.lock().expect("no panic");
        let socket = events
            .websocket()
            .origins(origins)
            .on_message(move |received| {
                let text = received.text().expect("a text");
                store.submit(text).expect("taken");
            });
        *self.behind.socket.lock().expect("no panic") = Some(socket);
    }

    /// From now on, whoever opens a WebSocket is pinged after so much silence.
    #[cfg(feature = "websocket")]
    pub(crate) fn ping(&self, silence: Duration) {
        let mut socket = self.behind.socket.lock().expect("no panic");
        *socket = socket.take().map(|socket| socket.ping(silence));
    }

    /// Ends every stream in the clean way, and those that come.
    #[cfg(feature = "websocket")]
    pub(crate) fn shut_down(&self) {
        self.shutdown.begin();
    }

    fn set(&self, events: EventSource) {
        *self.behind.events.lock().expect("no panic") = events;
    }

    /// Takes connections again.
    pub(crate) fn listen(&mut self) -> io::Result<()> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(self.address)?;
        let listener = socket.listen(64)?;
        self.accepting = Some(tokio::spawn(accept(listener, Arc::clone(&self.behind))));
        Ok(())
    }

    /// Refuses connections from now on, and cuts those that there are.
    pub(crate) async fn refuse(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            // The listener is closed when its task is gone.
            let _ = accepting.await;
        }
        self.cut();
    }

    /// Cuts every connection, in the middle of whatever it sends.
    pub(crate) fn cut(&self) {
        self.behind.cut.send_replace(());
    }

    /// Cuts the connection that sends these bytes, right behind them.
    pub(crate) fn tear_behind(&self, bytes: &'static str) {
        *self.behind.tear.lock().expect("no panic") = Some(bytes);
    }

    /// Ends every stream in the clean way. Who comes back is served again.
    pub(crate) fn send_away(&mut self, store: &QueueStore) {
        self.shutdown.begin();
        self.mount(store);
    }

    /// Holds the requests for the stream that come from now on.
    pub(crate) fn hold(&self) {
        self.behind.door.send_replace(false);
    }

    /// Answers those that were held, and those that come.
    pub(crate) fn let_in(&self) {
        self.behind.door.send_replace(true);
    }

    /// Waits for the next request for the stream or a WebSocket; returns the id that it
    /// brings.
    pub(crate) async fn request(&mut self) -> Option<String> {
        let request = timeout(PATIENCE, self.requests.recv()).await;
        request
            .expect("the client comes back in time")
            .expect("we hold a sender")
    }

    /// How many requests have come that nobody has waited for.
    pub(crate) fn further_requests(&self) -> usize {
        self.requests.len()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(accepting) = &self.accepting {
            accepting.abort();
        }
        self.cut();
    }
}

fn events(store: &QueueStore, shutdown: &Shutdown) -> EventSource {
    EventSource::new(store.clone())
        .retry(Duration::from_millis(200))
        .farewell(Duration::from_millis(100)..=Duration::from_millis(200))
        .keep_alive(Duration::from_millis(250))
        .shutdown(shutdown)
}

async fn accept(listener: TcpListener, behind: Arc<Behind>) {
    loop {
        let (stream, _) = listener.accept().await.expect("accepted");
        let cut = behind.cut.subscribe();
        tokio::spawn(serve(stream, Arc::clone(&behind), cut));
    }
}

async fn serve(stream: TcpStream, behind: Arc<Behind>, mut cut: watch::Receiver<()>) {
    let mut cut_within = cut.clone();
    let stream = Tearable {
        stream,
        behind: Arc::clone(&behind),
        torn: false,
        is_cut: false,
        cut: Box::pin(async move {
            let _ = cut_within.changed().await;
        }),
    };
    let service = service_fn(move |request| answer(request, Arc::clone(&behind)));
    let server = auto::Builder::new(TokioExecutor::new());
    // Clients may leave as they like, so how a connection ends is not judged here.
    tokio::select! {
        _ = server.serve_connection_with_upgrades(TokioIo::new(stream), service) => {}
        _ = cut.changed() => {}
    }
}

type Answer = Response<Either<EventBody, Full<Bytes>>>;

async fn answer(request: Request<Incoming>, behind: Arc<Behind>) -> Result<Answer, Infallible> {
    Ok(match request.uri().path() {
        "/events" => {
            let id = request.headers().get("last-event-id");
            let id = id.map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
            behind.let_in(id).await;
            let events = behind.events.lock().expect("no panic").clone();
            events.respond(&request).map(Either::Left)
        }
        #[cfg(feature = "websocket")]
        "/socket" => {
            let query = request.uri().query().unwrap_or_default();
            let id = query.strip_prefix("lastEventId=").map(str::to_owned);
            behind.let_in(id).await;
            let socket = behind.socket.lock().expect("no panic").clone();
            let socket = socket.expect("mounted");
            socket.respond(&request).map(Either::Left)
        }
        "/" => page(PAGE),
        "/blank" => page(BLANK),
        _ => {
            let mut nothing = Response::new(Either::Right(Full::default()));
            *nothing.status_mut() = StatusCode::NOT_FOUND;
            nothing
        }
    })
}

fn page(text: &'static str) -> Answer {
    let mut page = Response::new(Either::Right(Full::from(text)));
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    page.headers_mut().insert(CONTENT_TYPE, html);
    page
}

impl Behind {
    /// Tells of a request, and waits for the door.
    async fn let_in(&self, id: Option<String>) {
        let _ = self.requests.send(id);
        let mut door = self.door.subscribe();
        let _ = door.wait_for(|is_open| *is_open).await;
    }
}

/// A connection that can be ended between two bytes, also once hyper has handed it over.
struct Tearable {
    stream: TcpStream,
    behind: Arc<Behind>,
    torn: bool,
    is_cut: bool,
    cut: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl AsyncRead for Tearable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_cut || self.cut.as_mut().poll(cx).is_ready() {
            self.is_cut = true;
            self.torn = true;
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tearable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.torn {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let tear = *self.behind.tear.lock().expect("no panic");
        let end = tear.and_then(|tear| {
            let start = bytes
                .windows(tear.len())
                .position(|part| part == tear.as_bytes())?;
            Some(start + tear.len())
        });
        let Some(end) = end else {
            return Pin::new(&mut self.stream).poll_write(cx, bytes);
        };
        let written = std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, &bytes[..end]));
        if matches!(written, Ok(count) if count == end) {
            self.torn = true;
            *self.behind.tear.lock().expect("no panic") = None;
        }
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_cut {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
