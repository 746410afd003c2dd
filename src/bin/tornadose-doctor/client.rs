//! One question, one connection, one answer.

use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::rt::{Read, Write};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use crate::seen::{Failure, Head};
use crate::target::Target;

/// Asks questions and tells the time since it was made.
pub(crate) struct Client {
    tls: TlsConnector,
    begun: Instant,
    timeout: Duration,
}

/// A head, and what is still to come. Dropped, its connection is closed.
pub(crate) struct Answer {
    pub(crate) head: Head,
    pub(crate) body: Incoming,
    connection: Connection,
}

impl Answer {
    /// Whether the end of the body is the end of the connection, and so cannot be told from
    /// its being cut off.
    pub(crate) fn ends_with_connection(&self) -> bool {
        let headers = &self.head.headers;
        self.connection.is_http1
            && !headers.contains_key("transfer-encoding")
            && !headers.contains_key("content-length")
    }
}

/// The task that moves the bytes.
struct Connection {
    task: JoinHandle<()>,
    is_http1: bool,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Client {
    /// # Errors
    ///
    /// A sentence, if the certificates cannot be had.
    pub(crate) fn new(limit: Duration, ca: Option<&Path>) -> Result<Self, String> {
        let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        if let Some(path) = ca {
            let wrong = |error: &dyn Error| format!("--ca {}: {error}", path.display());
            let pem = fs::read(path).map_err(|error| wrong(&error))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| wrong(&error))?;
                roots.add(certificate).map_err(|error| wrong(&error))?;
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be used: {error}"))?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
            begun: Instant::now(),
            timeout: limit,
        })
    }

    pub(crate) fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// When this time since its beginning will have come.
    pub(crate) fn at(&self, time: Duration) -> Instant {
        self.begun + time
    }

    /// Asks, and waits this long for a head.
    pub(crate) async fn ask(
        &self,
        target: &Target,
        method: Method,
        headers: HeaderMap,
        head_within: Duration,
    ) -> Result<Answer, Failure> {
        let tcp = self.connect(target).await?;
        let (asked, (response, connection)) = if target.is_secure() {
            let tls = timeout(self.timeout, self.handshake(target, tcp)).await;
            let (stream, is_http2) =
                tls.map_err(|_| Failure::Tls(format!("no handshake within {:?}", self.timeout)))??;
            let request = request(target, method, headers, is_http2);
            let asked = self.now();
            (asked, speak(stream, is_http2, request, head_within).await?)
        } else {
            let request = request(target, method, headers, false);
            let asked = self.now();
            (asked, speak(tcp, false, request, head_within).await?)
        };
        let (head, body) = response.into_parts();
        Ok(Answer {
            head: Head {
                status: head.status,
                version: head.version,
                headers: head.headers,
                asked,
                at: self.now(),
            },
            body,
            connection,
        })
    }

    async fn connect(&self, target: &Target) -> Result<TcpStream, Failure> {
        let connecting = TcpStream::connect((target.host(), target.port()));
        let tcp = match timeout(self.timeout, connecting).await {
            Ok(Ok(tcp)) => tcp,
            Ok(Err(error)) => return Err(Failure::Unreachable(error.to_string())),
            Err(_) => {
                let says = format!("no connection within {:?}", self.timeout);
                return Err(Failure::Unreachable(says));
            }
        };
        // Without it a question would be late by itself, at worst.
        let _ = tcp.set_nodelay(true);
        Ok(tcp)
    }

    async fn handshake(
        &self,
        target: &Target,
        tcp: TcpStream,
    ) -> Result<(tokio_rustls::client::TlsStream<TcpStream>, bool), Failure> {
        let name = ServerName::try_from(target.host().to_owned());
        let name = name.map_err(|error| Failure::Tls(error.to_string()))?;
        let stream = self.tls.connect(name, tcp).await;
        let stream = stream.map_err(|error| Failure::Tls(error.to_string()))?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((stream, is_http2))
    }
}

fn request(target: &Target, method: Method, headers: HeaderMap, is_http2: bool) -> Request<String> {
    let uri = target.uri();
    let mut request = Request::new(String::new());
    *request.method_mut() = method;
    *request.headers_mut() = headers;
    if is_http2 {
        uri.clone_into(request.uri_mut());
        return request;
    }
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    if let Ok(path) = path.parse::<Uri>() {
        *request.uri_mut() = path;
    }
    if let Ok(host) = HeaderValue::from_str(target.authority()) {
        request.headers_mut().entry(HOST).or_insert(host);
    }
    request
}

async fn speak(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    is_http2: bool,
    request: Request<String>,
    head_within: Duration,
) -> Result<(Response<Incoming>, Connection), Failure> {
    let stream = TokioIo::new(stream);
    let mut task = None;
    let asking = async {
        if is_http2 {
            over_http2(stream, request, &mut task).await
        } else {
            over_http1(stream, request, &mut task).await
        }
    };
    let answered = timeout(head_within, asking).await;
    let connection = task.map(|task| Connection {
        task,
        is_http1: !is_http2,
    });
    match (answered, connection) {
        (Ok(Ok(response)), Some(connection)) => Ok((response, connection)),
        (Ok(Ok(_)), None) => Err(Failure::NoAnswer("there was no connection".to_owned())),
        (Ok(Err(error)), _) => Err(Failure::NoAnswer(told(&error))),
        (Err(_), _) => Err(Failure::NoHead(head_within)),
    }
}

async fn over_http1(
    stream: impl Read + Write + Unpin + Send + 'static,
    request: Request<String>,
    task: &mut Option<JoinHandle<()>>,
) -> hyper::Result<Response<Incoming>> {
    let (mut sender, connection) = http1::handshake(stream).await?;
    *task = Some(tokio::spawn(async move {
        let _ = connection.await;
    }));
    sender.send_request(request).await
}

async fn over_http2(
    stream: impl Read + Write + Unpin + Send + 'static,
    request: Request<String>,
    task: &mut Option<JoinHandle<()>>,
) -> hyper::Result<Response<Incoming>> {
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
    *task = Some(tokio::spawn(async move {
        let _ = connection.await;
    }));
    sender.send_request(request).await
}

/// An error of the connection, with its causes.
pub(crate) fn told(error: &hyper::Error) -> String {
    let mut says = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !says.contains(&more) {
            says.push_str(": ");
            says.push_str(&more);
        }
        cause = error.source();
    }
    says
}

/// What the connection itself says of its end.
pub(crate) fn kind(error: &hyper::Error) -> Option<io::ErrorKind> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}
