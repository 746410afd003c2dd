//! What the demos have in common: the command line, small answers, and a server
//! that ends cleanly.

use std::convert::Infallible;
use std::fmt::Display;
use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, timeout};
use tornadose::{EventBody, Shutdown};

/// A text, or a stream of events.
pub(crate) type Body = Either<Full<Bytes>, EventBody>;

const NAME: &str = env!("CARGO_CRATE_NAME");

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long connections may take to end, once we have been told to stop.
pub(crate) const GRACE: Duration = Duration::from_millis(500);

/// How long we wait when a connection cannot be accepted, for example because the
/// process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(75);

/// The command line.
#[derive(Debug)]
pub(crate) struct Options {
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// The time between two events, where the demo makes them.
    pub(crate) every: Duration,
    /// Where to serve streams, where that is another place.
    pub(crate) events: SocketAddr,
    /// What keeps the log, where that is another server.
    pub(crate) server: Option<String>,
}

impl Options {
    /// Reads the command line. Ends the process if it asks for help (status 0) or
    /// cannot be understood (status 2).
    pub(crate) fn from_args(about: &str) -> Self {
        let usage = "[--listen ADDR] [--every MILLISECONDS]\n\n\
             \x20 --listen ADDR         where to listen [default: 127.0.0.1:9000]\n\
             \x20 --every MILLISECONDS  the time between two events [default: 1000]\n\
             \x20 --help                this text";
        Self::read(about, usage, &["--every"])
    }

    /// The same for a demo in which nothing happens by itself.
    pub(crate) fn without_every(about: &str) -> Self {
        let usage = "[--listen ADDR]\n\n\
             \x20 --listen ADDR  where to listen [default: 127.0.0.1:9000]\n\
             \x20 --help         this text";
        Self::read(about, usage, &[])
    }

    /// The same for a demo that serves its streams elsewhere.
    pub(crate) fn with_events(about: &str) -> Self {
        let usage = "[--listen ADDR] [--events ADDR]\n\n\
             \x20 --listen ADDR  where to listen [default: 127.0.0.1:9000]\n\
             \x20 --events ADDR  where to serve the stream [default: 127.0.0.1:9001]\n\
             \x20 --help         this text";
        Self::read(about, usage, &["--events"])
    }

    /// The same for a demo whose log is kept by a server, `--redis URL` or so. An address with
    /// a password in it is better in the environment, under the other name: everybody can
    /// read a command line.
    pub(crate) fn with_server(about: &str, name: &str, environment: &str, default: &str) -> Self {
        let usage = format!(
            "[--listen ADDR] [{name} URL]\n\n\
             \x20 --listen ADDR  where to listen [default: 127.0.0.1:9000]\n\
             \x20 {name} URL    what keeps the log [default: {environment}, or {default}]\n\
             \x20 --help         this text"
        );
        let mut options = Self::read(about, &usage, &[name]);
        let elsewhere = || std::env::var(environment).unwrap_or_else(|_| default.to_owned());
        options.server.get_or_insert_with(elsewhere);
        options
    }

    fn read(about: &str, usage: &str, takes: &[&str]) -> Self {
        let args = std::env::args_os().skip(1);
        let args = args.map(|arg| arg.to_string_lossy().into_owned());
        match Self::parse(args, takes) {
            Ok(Some(options)) => options,
            Ok(None) => {
                let _ = writeln!(io::stdout(), "{about}\n\nUsage: {NAME} {usage}");
                std::process::exit(0);
            }
            Err(fault) => {
                complain(format_args!("{fault}; --help tells what there is"));
                std::process::exit(2);
            }
        }
    }

    /// `None` if help is asked for.
    fn parse(
        mut args: impl Iterator<Item = String>,
        takes: &[&str],
    ) -> Result<Option<Self>, String> {
        let mut options = Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9000)),
            every: Duration::from_secs(1),
            events: SocketAddr::from(([127, 0, 0, 1], 9001)),
            server: None,
        };
        while let Some(arg) = args.next() {
            let (name, value) = match arg.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (arg.as_str(), None),
            };
            let mut value = |what| {
                let value = value.clone().or_else(|| args.next());
                value.ok_or_else(|| format!("{name} needs {what}"))
            };
            match name {
                "--help" | "-h" => return Ok(None),
                "--listen" => options.listen = address(name, &value("an address")?)?,
                "--events" if takes.contains(&name) => {
                    options.events = address(name, &value("an address")?)?;
                }
                "--redis" | "--nats" if takes.contains(&name) => {
                    options.server = Some(value("a URL")?);
                }
                "--every" if takes.contains(&name) => {
                    let text = value("a number of milliseconds")?;
                    options.every = match text.parse::<u32>() {
                        Ok(millis) if millis > 0 => Duration::from_millis(millis.into()),
                        _ => {
                            return Err(format!(
                                "--every: {text:?} is not a number of milliseconds from 1 to {}",
                                u32::MAX
                            ));
                        }
                    };
                }
                _ => return Err(format!("unknown argument {arg:?}")),
            }
        }
        Ok(Some(options))
    }
}

fn address(name: &str, text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("{name}: {text:?} is not an address like 127.0.0.1:9000"))
}

/// A page.
pub(crate) fn html<B>(request: &Request<B>, text: &'static str) -> Response<Body> {
    file(request, "text/html; charset=utf-8", text)
}

/// A style sheet.
pub(crate) fn css<B>(request: &Request<B>, text: &'static str) -> Response<Body> {
    file(request, "text/css; charset=utf-8", text)
}

/// A script of a page.
pub(crate) fn js<B>(request: &Request<B>, text: &'static str) -> Response<Body> {
    file(request, "text/javascript; charset=utf-8", text)
}

/// There is nothing at this path.
pub(crate) fn not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "not found\n")
}

/// There are only these methods at this path.
pub(crate) fn method_not_allowed(allowed: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
    let allowed = HeaderValue::from_static(allowed);
    response.headers_mut().insert(ALLOW, allowed);
    response
}

/// A status that says it all.
pub(crate) fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::default()));
    *response.status_mut() = status;
    response
}

/// hyper leaves out the body when it answers a `HEAD`.
fn file<B>(request: &Request<B>, kind: &'static str, content: &'static str) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return method_not_allowed("GET, HEAD");
    }
    let mut response = text(StatusCode::OK, content);
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn text(code: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = status(code);
    *response.body_mut() = Either::Left(Full::new(Bytes::from_static(text.as_bytes())));
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

/// Ticks in this period, the first of them after one period. What was missed, for
/// example while the machine slept, is left out.
pub(crate) fn ticks(every: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

/// Serves HTTP/1.0, HTTP/1.1 and HTTP/2 until SIGINT or SIGTERM, then ends the
/// streams and the connections. Returns what the process ends with.
pub(crate) async fn serve<A, F>(options: &Options, shutdown: &Shutdown, app: A) -> ExitCode
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    match listen(options.listen).await {
        Ok((listener, stop)) => {
            accept_until(stop, &listener, shutdown, app).await;
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(format_args!("cannot listen on {}: {error}", options.listen));
            ExitCode::FAILURE
        }
    }
}

/// Listens for connections and for signals, and says so.
pub(crate) async fn listen(
    address: SocketAddr,
) -> io::Result<(TcpListener, impl Future<Output = ()> + Send)> {
    let listener = TcpListener::bind(address).await?;
    let stop = announce(listener.local_addr()?)?;
    Ok((listener, stop))
}

/// Listens for signals, and says where the demo is.
pub(crate) fn announce(address: SocketAddr) -> io::Result<impl Future<Output = ()> + Send> {
    let stop = stop_signal()?;
    let mut stdout = io::stdout();
    // Whoever has closed our output does not want to know.
    let _ = writeln!(stdout, "listening on http://{address}");
    let _ = stdout.flush();
    Ok(stop)
}

/// Serves what comes, then ends it.
pub(crate) async fn accept_until<A, F>(
    stop: impl Future<Output = ()>,
    listener: &TcpListener,
    shutdown: &Shutdown,
    app: A,
) where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    // WebSockets over HTTP/2 begin with a CONNECT.
    server
        .http2()
        .timer(TokioTimer::new())
        .enable_connect_protocol();
    let connections = GracefulShutdown::new();

    let mut stop = pin!(stop);
    loop {
        let stream = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    complain(format_args!("cannot accept a connection: {error}"));
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        // An event is small and has to leave now.
        let _ = stream.set_nodelay(true);

        let app = app.clone();
        let has_asked = Arc::new(AtomicBool::new(false));
        let asks = Arc::clone(&has_asked);
        let service = service_fn(move |request| {
            asks.store(true, Ordering::Relaxed);
            let answer = app(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let connection = server
            .serve_connection_with_upgrades(TokioIo::new(stream), service)
            .into_owned();
        tokio::spawn(drive(connections.watch(connection), has_asked));
    }

    // First the streams, which would not end by themselves, then the connections, and
    // what has become of those that are no longer hyper's: WebSockets. A client that does
    // not read cannot hold us back for longer than this.
    shutdown.begin();
    let ended = async {
        connections.shutdown().await;
        shutdown.ended().await;
    };
    let _ = timeout(GRACE, ended).await;
}

/// Runs a connection to its end. hyper's own limit for the head of a request only
/// begins when it knows the version of HTTP, that is not for a silent client.
async fn drive(connection: impl Future, has_asked: Arc<AtomicBool>) {
    let mut connection = pin!(connection);
    let ended = timeout(HEAD_TIMEOUT, connection.as_mut()).await.is_ok();
    if !ended && has_asked.load(Ordering::Relaxed) {
        // An error means that the client has left, which clients do.
        connection.await;
    }
}

/// Is ready when the process is asked to stop; from now on, that does not kill it.
#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Is ready when the process is asked to stop.
#[cfg(not(unix))]
fn stop_signal() -> io::Result<impl Future<Output = ()> + Send> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}

/// One line on stderr.
pub(crate) fn complain(line: impl Display) {
    let _ = writeln!(io::stderr(), "{NAME}: {line}");
}
