//! Asks a server for JSON, within limits.

use std::error::Error;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, HeaderMap, RETRY_AFTER, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;
use tokio::time::timeout;

use crate::source::Fault;

const AGENT: &str = concat!("tornadose-example-weather/", env!("CARGO_PKG_VERSION"));

/// What a request may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connect: Duration,
    /// From the first try to connect to the last byte.
    pub(crate) whole: Duration,
    pub(crate) bytes: usize,
}

impl Default for Limits {
    /// 5 s, 10 s, and 1 MiB; answers of now have some 10 KiB.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            whole: Duration::from_secs(10),
            bytes: 1 << 20,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Fetch {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    limits: Limits,
}

impl Fetch {
    pub(crate) fn new(limits: Limits) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(limits.connect));
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(1)
            .build(connector);
        Self { client, limits }
    }

    /// The answer of a `200`, if it comes in time and is no longer than it may be.
    pub(crate) async fn json(&self, address: &str) -> Result<Value, Fault> {
        let answer = timeout(self.limits.whole, self.bytes(address));
        let bytes = answer.await.map_err(|_| Fault::TimedOut)??;
        serde_json::from_slice(&bytes).map_err(|_| Fault::NotJson)
    }

    async fn bytes(&self, address: &str) -> Result<Bytes, Fault> {
        let request = Request::get(address)
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, AGENT)
            .body(Empty::new())
            .map_err(|_| Fault::Unreachable)?;
        let asked = self.client.request(request).await;
        let answer = asked.map_err(|_| Fault::Unreachable)?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::TOO_MANY_REQUESTS => {
                let again = retry_after(answer.headers());
                return Err(Fault::TooMany { again });
            }
            status => return Err(Fault::Status(status.as_u16())),
        }
        let read = Limited::new(answer.into_body(), self.limits.bytes)
            .collect()
            .await;
        let fault = |error: Box<dyn Error + Send + Sync>| {
            if error.is::<LengthLimitError>() {
                Fault::TooLarge
            } else {
                Fault::Unreachable
            }
        };
        Ok(read.map_err(fault)?.to_bytes())
    }
}

/// The seconds; a date is not worth the trouble.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}
