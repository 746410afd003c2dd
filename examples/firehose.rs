//! A server to measure: one stream of events for everybody, and events on request.
//!
//! ```text
//! cargo run --release --example firehose --features detached
//! curl -N http://127.0.0.1:9000/events
//! curl -X POST 'http://127.0.0.1:9000/go?rate=10&count=100&size=100'
//! ```
//!
//! | request | what it does |
//! |---|---|
//! | `GET /events` | the stream, of a [`QueueStore`] with its defaults |
//! | `POST /pub` | submits the body, a text of at most 256 KiB, as one event: `204` |
//! | `POST /go?rate=R&count=C&size=S` | answers `202` at once and submits `C` events, `R` per second |
//! | `GET /stats` | the counts: `{"streams":1,"submitted":2,"running":0}` |
//!
//! `size` counts the data of an event, without the field names and line breaks of the
//! stream and without its id. The data is `{"t":<ns>,"p":"xxx.."}`, where `t` is
//! `CLOCK_MONOTONIC` in ns when the event was submitted, which every process of the
//! machine can compare with its own. Defaults: 1, 1 and 100. What is due within the same
//! millisecond is submitted together. `running` counts the requests to `/go` that are
//! not yet done.
//!
//! It is HTTP/1 only, and believes its clients: it limits neither how many they are nor
//! how long they take.
//!
//! `--path` says how streams leave: `body`, the response body of hyper, or `detached`, from
//! threads of their own behind a [`Listener`]. `--workers` is how many threads serve. An
//! event is one small chunk, which is cheaper to copy behind its length than to hand to the
//! kernel in pieces: hence `writev(false)` for the body.

#[allow(dead_code, reason = "the other demos use the rest")]
mod support;

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future;
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tornadose::{EventSource, Listener, QueueStore, Shutdown};

use support::Body;

const USAGE: &str = "\
A server to measure: one stream of events for everybody, and events on request.

Usage: firehose [--listen ADDR] [--path PATH] [--workers N]

  --listen ADDR  where to listen [default: 127.0.0.1:9000]
  --path PATH    how streams leave: body, detached [default: body]
  --workers N    threads that serve, from 1 to 64 [default: 1]
  --help         this text";

/// The most data of one event, which is well below what a store takes.
const MAX_SIZE: usize = 256 << 10;

/// The least: the data around a time of 20 digits, the most that 64 bits have.
const MIN_SIZE: usize = r#"{"t":,"p":""}"#.len() + 20;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            let _ = writeln!(io::stdout(), "{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(fault) => {
            support::complain(format_args!("{fault}; --help tells what there is"));
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(options.workers)
        .enable_all()
        .build();
    let served = runtime.and_then(|runtime| {
        // Not in `block_on` itself, which would be one more thread that accepts.
        let served = runtime.block_on(runtime.spawn(serve(options)));
        runtime.shutdown_background();
        served.map_err(io::Error::other)?
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            support::complain(format_args!("cannot serve {}: {error}", options.listen));
            ExitCode::FAILURE
        }
    }
}

#[derive(Clone, Copy)]
struct Options {
    listen: SocketAddr,
    path: Path,
    workers: usize,
}

/// How streams leave.
#[derive(Clone, Copy)]
enum Path {
    /// As the response body of hyper.
    Body,
    /// From threads of their own, without hyper.
    Detached,
}

impl Options {
    /// `None` if help is asked for.
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9000)),
            path: Path::Body,
            workers: 1,
        };
        while let Some(arg) = args.next() {
            let (name, value) = match arg.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (arg.as_str(), None),
            };
            let mut value = || {
                let value = value.clone().or_else(|| args.next());
                value.ok_or_else(|| format!("{name} needs a value"))
            };
            match name {
                "--help" | "-h" => return Ok(None),
                "--listen" => {
                    let text = value()?;
                    options.listen = text.parse().map_err(|_| {
                        format!("--listen: {text:?} is not an address like 127.0.0.1:9000")
                    })?;
                }
                "--path" => options.path = Path::parse(&value()?)?,
                "--workers" => {
                    let text = value()?;
                    let workers = text.parse().ok();
                    options.workers =
                        workers.filter(|n| (1..=64).contains(n)).ok_or_else(|| {
                            format!("--workers: {text:?} is not a number from 1 to 64")
                        })?;
                }
                _ => return Err(format!("unknown argument {arg:?}")),
            }
        }
        Ok(Some(options))
    }
}

impl Path {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "body" => Ok(Self::Body),
            "detached" => Ok(Self::Detached),
            _ => Err(format!("--path: {text:?} is neither body nor detached")),
        }
    }
}

/// Listens, and chooses what a connection is: the only place that knows the paths.
async fn serve(options: Options) -> io::Result<()> {
    let (tcp, stop) = support::listen(options.listen).await?;
    let app = App::new();
    match options.path {
        Path::Body => app.accept_until(stop, tcp, false).await,
        Path::Detached => app.accept_until(stop, Listener::new(tcp), true).await,
    }
    Ok(())
}

/// Where connections come from.
trait Accept: Send {
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn next(&mut self) -> impl Future<Output = io::Result<Self::Io>> + Send;
}

impl Accept for TcpListener {
    type Io = TcpStream;

    async fn next(&mut self) -> io::Result<TcpStream> {
        let (stream, _) = self.accept().await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Accept for Listener {
    type Io = tornadose::Io;

    async fn next(&mut self) -> io::Result<Self::Io> {
        Ok(self.accept().await?.0)
    }
}

type Answer = Result<Response<Body>, Infallible>;

#[derive(Clone)]
struct App {
    store: QueueStore,
    events: EventSource,
    shutdown: Shutdown,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    submitted: AtomicU64,
    running: AtomicU64,
}

impl App {
    fn new() -> Self {
        let (store, shutdown) = (QueueStore::new(), Shutdown::new());
        Self {
            events: EventSource::new(store.clone()).shutdown(&shutdown),
            store,
            shutdown,
            counts: Arc::default(),
        }
    }

    /// Serves what comes until `stop`, then ends the streams and waits a moment for their
    /// connections.
    async fn accept_until(
        &self,
        stop: impl Future<Output = ()>,
        mut listener: impl Accept,
        writev: bool,
    ) {
        // Each connection holds a receiver; nothing is ever sent.
        let open = watch::Sender::new(());
        let mut stop = pin!(stop);
        loop {
            let accepted = tokio::select! {
                () = &mut stop => break,
                accepted = listener.next() => accepted,
            };
            let io = match accepted {
                Ok(io) => TokioIo::new(io),
                Err(error) => {
                    support::complain(format_args!("cannot accept a connection: {error}"));
                    sleep(Duration::from_millis(75)).await;
                    continue;
                }
            };
            let (app, is_open) = (self.clone(), open.subscribe());
            let service = service_fn(move |request| app.clone().serve(request));
            let connection = http1::Builder::new()
                .writev(writev)
                .serve_connection(io, service);
            tokio::spawn(async move {
                // An error means that the client has left, which clients do.
                let _ = connection.await;
                drop(is_open);
            });
        }
        self.shutdown.begin();
        let ended = async {
            self.shutdown.ended().await;
            open.closed().await;
        };
        let _ = timeout(support::GRACE, ended).await;
    }

    /// Boxed where it waits: hyper keeps the place of a handler's future for as long as the
    /// connection lasts, and of streams there are many.
    fn serve(
        self,
        request: Request<Incoming>,
    ) -> future::Either<Ready<Answer>, Pin<Box<dyn Future<Output = Answer> + Send>>> {
        match request.uri().path() {
            "/events" => future::Either::Left(ready(Ok(self.stream(&request)))),
            _ => future::Either::Right(Box::pin(async move { Ok(self.answer(request).await) })),
        }
    }

    fn stream(&self, request: &Request<Incoming>) -> Response<Body> {
        let mut response = self.events.respond(request).map(Either::Right);
        // So that the end of the stream is the end of the connection.
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        response
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        match (request.uri().path(), request.method()) {
            ("/pub", &Method::POST) => self.publish(request.into_body()).await,
            ("/go", &Method::POST) => match Go::parse(request.uri().query().unwrap_or("")) {
                Ok(go) => {
                    self.counts.running.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(self.clone().go(go));
                    support::status(StatusCode::ACCEPTED)
                }
                Err(fault) => text(StatusCode::BAD_REQUEST, format!("{fault}\n")),
            },
            ("/stats", &Method::GET) => self.stats(),
            ("/pub" | "/go", _) => support::method_not_allowed("POST"),
            ("/stats", _) => support::method_not_allowed("GET"),
            _ => support::not_found(),
        }
    }

    async fn publish(&self, body: Incoming) -> Response<Body> {
        let Ok(body) = Limited::new(body, MAX_SIZE).collect().await else {
            // Or the client has left, and does not see it.
            return support::status(StatusCode::PAYLOAD_TOO_LARGE);
        };
        match String::from_utf8(body.to_bytes().into()) {
            Err(_) => text(StatusCode::BAD_REQUEST, "not UTF-8\n".to_owned()),
            Ok(data) => support::status(match self.submit(data) {
                true => StatusCode::NO_CONTENT,
                false => StatusCode::SERVICE_UNAVAILABLE,
            }),
        }
    }

    async fn go(self, go: Go) {
        let begun = Instant::now();
        let padding = "x".repeat(go.size);
        for number in 0..go.count {
            let due = begun + Duration::from_secs_f64(number as f64 / f64::from(go.rate));
            if due > Instant::now() {
                sleep_until(due).await;
            } else if number % 64 == 0 {
                // Who cannot keep up still serves.
                tokio::task::yield_now().await;
            }
            if !self.submit(go.data(&padding)) {
                break;
            }
        }
        self.counts.running.fetch_sub(1, Ordering::Relaxed);
    }

    fn submit(&self, data: String) -> bool {
        let submitted = self.store.submit(data).is_ok();
        if submitted {
            self.counts.submitted.fetch_add(1, Ordering::Relaxed);
        }
        submitted
    }

    fn stats(&self) -> Response<Body> {
        let streams = self.events.streams();
        let submitted = self.counts.submitted.load(Ordering::Relaxed);
        let running = self.counts.running.load(Ordering::Relaxed);
        let stats =
            format!(r#"{{"streams":{streams},"submitted":{submitted},"running":{running}}}"#);
        let mut response = text(StatusCode::OK, stats);
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }
}

/// What `/go` is asked for.
struct Go {
    rate: u32,
    count: u32,
    size: usize,
}

impl Go {
    fn parse(query: &str) -> Result<Self, String> {
        let mut go = Self {
            rate: 1,
            count: 1,
            size: 100,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let number = |least: u32, most: u32| {
                let number = value.parse().ok();
                let number = number.filter(|number| (least..=most).contains(number));
                number.ok_or_else(|| format!("{name} is a number from {least} to {most}"))
            };
            match name {
                "rate" => go.rate = number(1, 1_000_000)?,
                "count" => go.count = number(1, u32::MAX)?,
                "size" => go.size = number(MIN_SIZE as u32, MAX_SIZE as u32)? as usize,
                _ => return Err("there are rate, count and size".to_owned()),
            }
        }
        Ok(go)
    }

    fn data(&self, padding: &str) -> String {
        let head = format!(r#"{{"t":{},"p":""#, monotonic_nanos());
        let padding = &padding[..self.size - head.len() - r#""}"#.len()];
        format!(r#"{head}{padding}"}}"#)
    }
}

#[cfg(unix)]
fn monotonic_nanos() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Elsewhere there is no clock that processes share: the time since the first event.
#[cfg(not(unix))]
fn monotonic_nanos() -> u64 {
    static FIRST: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    FIRST.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

fn text(code: StatusCode, text: String) -> Response<Body> {
    let mut response = support::status(code);
    *response.body_mut() = Either::Left(Full::new(Bytes::from(text)));
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}
