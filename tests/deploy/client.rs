//! Clients: they know HTTP and event streams, and nothing of what is between.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::panic::Location;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use tornadose::test::{self, Decoder};

/// How long anything may take that has no bound of its own, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The outcome of something that must not take forever.
#[track_caller]
pub(crate) fn within<T>(what: &str, future: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = Location::caller();
    async move {
        match timeout(PATIENCE, future).await {
            Ok(outcome) => outcome,
            Err(_) => panic!("{what}: not within {PATIENCE:?}, at {caller}"),
        }
    }
}

/// The body of an answer, if there is one.
pub(crate) async fn get(address: SocketAddr, target: &str) -> Option<String> {
    let asked = async {
        let (response, _connection) = ask(address, Method::GET, target, &[]).await?;
        let body = response.into_body().collect().await.ok()?.to_bytes();
        String::from_utf8(body.to_vec()).ok()
    };
    timeout(Duration::from_secs(5), asked).await.ok()?
}

/// What a request is answered with, and the connection, which ends when it is dropped.
pub(crate) async fn ask(
    address: SocketAddr,
    method: Method,
    target: &str,
    headers: &[(&str, &str)],
) -> Option<(Response<Incoming>, Connection)> {
    let tcp = TcpStream::connect(address).await.ok()?;
    tcp.set_nodelay(true).ok()?;
    let (mut sender, connection) = handshake(TokioIo::new(tcp)).await.ok()?;
    let task = tokio::spawn(async move { drop(connection.await) });
    let mut request = Request::builder().method(method).uri(target);
    request = request.header("host", address.to_string());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::new()).expect("a request");
    let sent = sender.send_request(request).await;
    let connection = Connection {
        task,
        _sender: sender,
    };
    Some((sent.ok()?, connection))
}

pub(crate) struct Connection {
    task: JoinHandle<()>,
    _sender: SendRequest<Empty<Bytes>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How a stream has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// As its server ends one.
    Whole,
    /// The connection was cut.
    Cut,
}

/// An event stream that is open.
pub(crate) struct Stream {
    pub(crate) head: http::response::Parts,
    pub(crate) decoder: Decoder,
    body: Incoming,
    dispatched: VecDeque<test::Message>,
    _connection: Connection,
}

impl Stream {
    /// One that has had its head and its first comment.
    #[track_caller]
    pub(crate) fn open(
        address: SocketAddr,
        target: &str,
        headers: &[(&str, &str)],
    ) -> impl Future<Output = Self> {
        within("the beginning of a stream", async move {
            let opened = Self::try_open(address, target, headers).await;
            opened.expect("a stream")
        })
    }

    pub(crate) async fn try_open(
        address: SocketAddr,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Option<Self> {
        // What every browser says.
        let headers = [headers, &[("accept-encoding", "gzip, deflate, br, zstd")]].concat();
        let (response, connection) = ask(address, Method::GET, target, &headers).await?;
        let (head, body) = response.into_parts();
        assert_eq!(head.status, 200, "no browser would ask again");
        let mut stream = Self {
            head,
            decoder: Decoder::default(),
            body,
            dispatched: VecDeque::new(),
            _connection: connection,
        };
        stream.read().await.ok()?;
        Some(stream)
    }

    /// The next event, or how the stream has ended.
    pub(crate) async fn next(&mut self) -> Result<test::Message, End> {
        loop {
            if let Some(event) = self.dispatched.pop_front() {
                return Ok(event);
            }
            self.read().await?;
        }
    }

    /// The data of the next event, which must come.
    #[track_caller]
    pub(crate) fn data(&mut self) -> impl Future<Output = String> {
        within("an event", async {
            let event = self.next().await.expect("an event, not an end");
            assert_eq!(event.name, "message", "{event:?}");
            event.data
        })
    }

    /// That nothing comes for so long, and the stream does not end.
    pub(crate) async fn assert_waits(&mut self, long: Duration) {
        let next = timeout(long, self.next()).await;
        assert!(next.is_err(), "{next:?}");
    }

    /// Reads to the end of a stream in which there is no other event.
    #[track_caller]
    pub(crate) fn end(&mut self) -> impl Future<Output = End> {
        within("the end of a stream", async {
            self.next().await.expect_err("an end, not an event")
        })
    }

    async fn read(&mut self) -> Result<(), End> {
        match self.body.frame().await {
            None => Err(End::Whole),
            Some(Err(_)) => Err(End::Cut),
            Some(Ok(frame)) => {
                let bytes = frame.into_data().unwrap_or_default();
                self.dispatched.extend(self.decoder.feed(&bytes));
                Ok(())
            }
        }
    }
}

/// A client as a browser is: cut off it comes back, with the id that it has, and an answer
/// other than 200 is the end.
pub(crate) struct Browser {
    address: SocketAddr,
    id: String,
    stream: Option<Stream>,
    pub(crate) times_opened: usize,
}

impl Browser {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = Stream::open(address, "/events", &[]).await;
        Self {
            address,
            id: String::new(),
            stream: Some(stream),
            times_opened: 1,
        }
    }

    pub(crate) async fn next(&mut self) -> test::Message {
        loop {
            match &mut self.stream {
                Some(stream) => match stream.next().await {
                    Ok(event) => return event,
                    Err(_) => {
                        // A stream that was cut before its first event has told none.
                        if !stream.decoder.last_event_id().is_empty() {
                            stream.decoder.last_event_id().clone_into(&mut self.id);
                        }
                        self.stream = None;
                    }
                },
                None => {
                    sleep(Duration::from_millis(20)).await;
                    let id = [("last-event-id", self.id.as_str())];
                    let headers = if self.id.is_empty() { &[][..] } else { &id };
                    self.stream = Stream::try_open(self.address, "/events", headers).await;
                    self.times_opened += usize::from(self.stream.is_some());
                }
            }
        }
    }
}

/// A WebSocket that is open.
pub(crate) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// One of a page that is where the server is, and that has read its first message.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let mut socket = Self::of_page(address, &format!("http://{address}"))
            .await
            .expect("a WebSocket");
        assert_eq!(socket.message().await["event"], "open");
        socket
    }

    /// One of a page of this origin, or the status of the refusal.
    pub(crate) async fn of_page(address: SocketAddr, origin: &str) -> Result<Self, u16> {
        let opened = Self::try_open(address, "/socket", origin);
        within("a handshake", opened).await.map_err(|error| {
            let Error::Http(response) = error else {
                panic!("{error}");
            };
            response.status().as_u16()
        })
    }

    async fn try_open(address: SocketAddr, target: &str, origin: &str) -> Result<Self, Error> {
        let mut request = format!("ws://{address}{target}").into_client_request()?;
        let origin = origin.parse().expect("a value");
        request.headers_mut().insert("origin", origin);
        let tcp = TcpStream::connect(address).await?;
        let (socket, _) = client_async(request, tcp).await?;
        Ok(Self(socket))
    }

    pub(crate) async fn send(&mut self, text: &str) {
        let sent = within("to send", self.0.send(Message::text(text))).await;
        sent.expect("a server that reads");
    }

    /// The next message, which must come.
    #[track_caller]
    pub(crate) fn message(&mut self) -> impl Future<Output = serde_json::Value> {
        within("a message", async {
            match self.next().await {
                Some(Message::Text(text)) => serde_json::from_str(&text).expect("JSON"),
                other => panic!("{other:?} is no message"),
            }
        })
    }

    /// The next thing that is no ping, which is answered meanwhile; `None` if the
    /// connection is cut.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            match self.0.next().await?.ok()? {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return Some(message),
            }
        }
    }
}

/// What a script in a page does with a WebSocket: cut off it comes back, with the id that it has.
pub(crate) struct Script {
    address: SocketAddr,
    id: String,
    socket: Option<Socket>,
    pub(crate) times_opened: usize,
}

impl Script {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let mut script = Self {
            address,
            id: String::new(),
            socket: None,
            times_opened: 0,
        };
        let opened = within("the beginning", script.message()).await;
        assert_eq!(opened["event"], "open");
        script
    }

    /// The data of the next event.
    pub(crate) async fn data(&mut self) -> String {
        loop {
            let message = self.message().await;
            match message["event"].as_str() {
                Some("open") => {}
                Some("message") => return message["data"].as_str().expect("data").to_owned(),
                _ => panic!("{message}"),
            }
        }
    }

    async fn message(&mut self) -> serde_json::Value {
        loop {
            let Some(socket) = &mut self.socket else {
                sleep(Duration::from_millis(20)).await;
                let target = match &*self.id {
                    "" => "/socket".to_owned(),
                    id => format!("/socket?lastEventId={id}"),
                };
                let origin = format!("http://{}", self.address);
                self.socket = Socket::try_open(self.address, &target, &origin).await.ok();
                self.times_opened += usize::from(self.socket.is_some());
                continue;
            };
            match socket.next().await {
                Some(Message::Text(text)) => {
                    let message: serde_json::Value = serde_json::from_str(&text).expect("JSON");
                    if let Some(id) = message["id"].as_str() {
                        id.clone_into(&mut self.id);
                    }
                    return message;
                }
                _ => self.socket = None,
            }
        }
    }
}
