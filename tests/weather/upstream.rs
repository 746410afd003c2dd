//! A source on loopback that answers as it is told.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::PATIENCE;

/// What is answered to a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Json(Value),
    /// Whatever it is, with `200`.
    Raw(Vec<u8>),
    Status(u16),
    /// `429`, and when to come back, in seconds.
    TooMany(Option<&'static str>),
    /// Says how long it is and sends half of it.
    Cut(Value),
    /// Never ends.
    Endless,
    /// Never begins.
    Hang,
}

type Body = BoxBody<Bytes, Broken>;

/// Why a body ends before its end.
#[derive(Debug, thiserror::Error)]
#[error("cut")]
pub(crate) struct Broken;

type Answer = Arc<dyn Fn(&str) -> Reply + Send + Sync>;

pub(crate) struct Upstream {
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    asked: watch::Sender<Vec<String>>,
    /// Ends with this, with all of its connections.
    _server: JoinSet<()>,
}

impl Upstream {
    /// Answers each path with this.
    pub(crate) async fn start(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), answer).await
    }

    pub(crate) async fn start_at(
        address: SocketAddr,
        answer: impl Fn(&str) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.expect("free");
        let address = listener.local_addr().expect("bound");
        let answer: Arc<Mutex<Answer>> = Arc::new(Mutex::new(Arc::new(answer)));
        let (asked, _) = watch::channel(Vec::new());
        let mut server = JoinSet::new();
        server.spawn(serve(listener, Arc::clone(&answer), asked.clone()));
        Self {
            address,
            answer,
            asked,
            _server: server,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers otherwise from now on.
    pub(crate) fn answer(&self, answer: impl Fn(&str) -> Reply + Send + Sync + 'static) {
        *self.answer.lock().expect("no panic") = Arc::new(answer);
    }

    /// What was asked for, in its order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.borrow().clone()
    }

    /// Waits until so many more requests have come.
    pub(crate) async fn more(&self, count: usize) {
        let wanted = self.asked.borrow().len() + count;
        let mut asked = self.asked.subscribe();
        let enough = asked.wait_for(|asked| asked.len() >= wanted);
        let _ = timeout(PATIENCE, enough)
            .await
            .expect("in time")
            .expect("there");
    }
}

async fn serve(
    listener: TcpListener,
    answer: Arc<Mutex<Answer>>,
    asked: watch::Sender<Vec<String>>,
) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("accepted");
        let (answer, asked) = (Arc::clone(&answer), asked.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let query = request.uri().path_and_query();
            let path = query.map_or_else(String::new, ToString::to_string);
            asked.send_modify(|asked| asked.push(path.clone()));
            let answer = Arc::clone(&answer.lock().expect("no panic"));
            async move { Ok::<_, Infallible>(respond(answer(&path)).await) }
        });
        connections.spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            // Clients leave.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn respond(reply: Reply) -> Response<Body> {
    let full = |bytes: Vec<u8>| Full::from(bytes).map_err(|never| match never {}).boxed();
    let mut response = Response::new(full(Vec::new()));
    match reply {
        Reply::Json(value) => *response.body_mut() = full(value.to_string().into()),
        Reply::Raw(bytes) => *response.body_mut() = full(bytes),
        Reply::Status(code) => *response.status_mut() = StatusCode::from_u16(code).expect("one"),
        Reply::TooMany(again) => {
            *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            *response.body_mut() = full(br#"{"code":24,"errorMsg":"rate limit"}"#.to_vec());
            if let Some(again) = again {
                let again = again.parse().expect("a value");
                response.headers_mut().insert("retry-after", again);
            }
        }
        Reply::Cut(value) => {
            let whole = value.to_string();
            let half = Bytes::from(whole[..whole.len() / 2].to_owned());
            let length = whole.len().into();
            response.headers_mut().insert("content-length", length);
            let parts = [Ok(Frame::data(half)), Err(Broken)];
            *response.body_mut() = BodyExt::boxed(StreamBody::new(stream::iter(parts)));
        }
        Reply::Endless => {
            let piece = Bytes::from(vec![b' '; 16 * 1024]);
            let endless = stream::repeat_with(move || Ok(Frame::data(piece.clone())));
            *response.body_mut() = BodyExt::boxed(StreamBody::new(endless));
        }
        Reply::Hang => std::future::pending().await,
    }
    response
}

/// What Singapore says, with this temperature at Ang Mo Kio.
pub(crate) fn singapore(degrees: f64) -> impl Fn(&str) -> Reply + Send + Sync + 'static {
    move |path| Reply::Json(set(path, degrees))
}

/// One of its data sets.
pub(crate) fn set(path: &str, degrees: f64) -> Value {
    let values = |first: f64, second: f64| json!([{ "stationId": "S109", "value": first }, { "stationId": "S24", "value": second }]);
    match path {
        "/air-temperature" => stations("DBT 1M F", "deg C", &values(degrees, 26.1)),
        "/relative-humidity" => stations("RH 1M F", "percentage", &values(81.4, 100.9)),
        "/wind-speed" => stations("Wind Speed AVG(S)10M M1M", "knots", &values(10.0, 0.0)),
        "/wind-direction" => stations("Wind Dir AVG (S) 10M M1M", "degrees", &values(45.0, 360.0)),
        "/rainfall" => stations("TB1 Rainfall 5 Minute Total F", "mm", &values(0.0, 2.4)),
        "/two-hr-forecast" => json!({ "code": 0, "errorMsg": "", "data": {
            "area_metadata": [{ "name": "Bishan",
                "label_location": { "latitude": 1.350_772, "longitude": 103.839 } }],
            "items": [{
                "update_timestamp": "2026-06-17T22:38:00+08:00",
                "timestamp": "2026-06-17T22:30:00+08:00",
                "valid_period": { "start": "2026-06-17T22:30:00+08:00",
                    "end": "2026-06-18T00:30:00+08:00", "text": "10.30 pm to 12.30 am" },
                "forecasts": [
                    { "area": "Tuas", "forecast": { "text": "Heavy Thundery Showers" } },
                    { "area": "Bishan", "forecast": "Partly Cloudy (Night)" },
                ],
            }],
        }}),
        _ => json!({ "code": 17, "errorMsg": "no such data set", "data": null }),
    }
}

fn stations(kind: &str, unit: &str, values: &Value) -> Value {
    json!({ "code": 0, "errorMsg": null, "data": {
        "stations": [
            { "id": "S109", "deviceId": "S109", "name": "Ang Mo Kio Avenue 5",
                "location": { "latitude": 1.3793, "longitude": 103.85 } },
            { "id": "S24", "deviceId": "S24", "name": "Upper Changi Road North",
                "labelLocation": { "latitude": 1.3678, "longitude": 103.9823 } },
        ],
        "readings": [{ "timestamp": "2026-06-17T22:54:00+08:00", "data": values }],
        "readingType": kind, "readingUnit": unit,
    }})
}

/// Long enough for what is there, on a busy machine.
pub(crate) const LONG: Duration = PATIENCE;
