//! The server that the tabs meet: its port stays, what is behind it can be cut and replaced.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::Either;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tornadose::{EventBody, EventSource, Refusal, Script, Store};

/// Has the stream at `/events`, the script at `/tornadose.js` and a page at `/`.
///
/// Whoever drops it cuts every connection.
pub(crate) struct Stage {
    address: SocketAddr,
    /// Bound and never listening: keeps the port ours while nobody listens.
    _port: TcpSocket,
    behind: Arc<Behind>,
    accepting: Option<JoinHandle<()>>,
}

struct Behind {
    events: Mutex<EventSource>,
    cut: watch::Sender<()>,
    /// Whether `/events` is a page, as that of somebody who wants to see a password.
    is_page: AtomicBool,
    /// The path and query of every request.
    requests: Mutex<Vec<String>>,
}

/// A handler whose clients come back soon.
pub(crate) fn events(store: impl Store) -> EventSource {
    EventSource::new(store)
        .retry(Duration::from_millis(100))
        .farewell(Duration::from_millis(100)..=Duration::from_millis(200))
        .keep_alive(Duration::from_millis(250))
}

impl Stage {
    pub(crate) fn new(events: EventSource) -> Self {
        let port = TcpSocket::new_v4().expect("a socket");
        port.set_reuseaddr(true).expect("an option");
        port.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .expect("a port");
        let mut stage = Self {
            address: port.local_addr().expect("an address"),
            _port: port,
            behind: Arc::new(Behind {
                events: Mutex::new(events),
                cut: watch::Sender::new(()),
                is_page: AtomicBool::new(false),
                requests: Mutex::default(),
            }),
            accepting: None,
        };
        stage.listen();
        stage
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The same by a name that a browser does not trust.
    pub(crate) fn insecure_url(&self) -> String {
        format!("http://insecure.test:{}/", self.address.port())
    }

    /// Puts this at `/events`.
    pub(crate) fn set(&self, events: EventSource) {
        *self.behind.events.lock().expect("no panic") = events;
    }

    /// Answers every request for the stream so, and cuts those that there are.
    pub(crate) fn answer(&self, store: impl Store, status: u16) {
        let status = StatusCode::from_u16(status).expect("a status");
        self.set(events(store).permit(move |_| Err(Refusal::status(status))));
        self.cut();
    }

    /// Answers every request for the stream with a page, or not any more, and cuts those
    /// that there are.
    pub(crate) fn answer_with_a_page(&self, is_page: bool) {
        self.behind.is_page.store(is_page, Ordering::SeqCst);
        self.cut();
    }

    pub(crate) fn cut(&self) {
        self.behind.cut.send_replace(());
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

    pub(crate) fn listen(&mut self) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("an option");
        socket.bind(self.address).expect("our port");
        let listener = socket.listen(64).expect("our port");
        self.accepting = Some(tokio::spawn(accept(listener, Arc::clone(&self.behind))));
    }

    /// The path and query of every request so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.behind.requests.lock().expect("no panic").clone()
    }

    /// How many of them were for the stream.
    pub(crate) fn streams(&self) -> usize {
        let requests = self.requests();
        let streams = requests.iter().filter(|asked| asked.starts_with("/events"));
        streams.count()
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

async fn accept(listener: TcpListener, behind: Arc<Behind>) {
    loop {
        let (stream, _) = listener.accept().await.expect("accepted");
        let cut = behind.cut.subscribe();
        tokio::spawn(serve(stream, Arc::clone(&behind), cut));
    }
}

async fn serve(stream: TcpStream, behind: Arc<Behind>, mut cut: watch::Receiver<()>) {
    let service = service_fn(move |request| answer(request, Arc::clone(&behind)));
    let server = auto::Builder::new(TokioExecutor::new());
    // Clients may leave as they like, so how a connection ends is not judged here.
    tokio::select! {
        _ = server.serve_connection(TokioIo::new(stream), service) => {}
        _ = cut.changed() => {}
    }
}

type Answer = Response<Either<EventBody, String>>;

async fn answer(request: Request<Incoming>, behind: Arc<Behind>) -> Result<Answer, Infallible> {
    let asked = request.uri().to_string();
    behind.requests.lock().expect("no panic").push(asked);
    Ok(match request.uri().path() {
        "/events" if !behind.is_page.load(Ordering::SeqCst) => {
            let events = behind.events.lock().expect("no panic").clone();
            events.respond(&request).map(Either::Left)
        }
        "/tornadose.js" => Script::new().respond(&request).map(Either::Right),
        _ => {
            let page = Either::Right(include_str!("page.html").to_owned());
            let mut page = Response::new(page);
            let html = HeaderValue::from_static("text/html; charset=utf-8");
            page.headers_mut().insert(CONTENT_TYPE, html);
            page
        }
    })
}
