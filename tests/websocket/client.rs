//! A client that means well: tungstenite's.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderName, HeaderValue};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tornadose::WebSocketSubscriber;

use crate::server::{Server, TIGHT, in_memory};
use crate::vocabulary::{PATIENCE, retry, within};

pub(crate) struct Client<S = TcpStream>(pub(crate) WebSocketStream<S>);

impl Client {
    /// A client without an id.
    pub(crate) async fn open(server: &Server) -> Self {
        Self::get(server, "/socket", &[]).await
    }

    /// A client that comes back as scripts do: with its id in the query.
    pub(crate) async fn open_after(server: &Server, id: impl ToString) -> Self {
        let target = format!("/socket?lastEventId={}", id.to_string());
        Self::get(server, &target, &[]).await
    }

    /// A client that asks for this, with these headers, and must get it.
    pub(crate) async fn get(server: &Server, target: &str, headers: &[(&str, &[u8])]) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        Self::over(server, socket, target, headers)
            .await
            .expect("an open WebSocket")
    }

    /// A client whose kernel buffers are small and do not grow.
    pub(crate) async fn open_tight(server: &Server) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .set_recv_buffer_size(TIGHT)
            .expect("before it connects");
        Self::over(server, socket, "/socket", &[])
            .await
            .expect("an open WebSocket")
    }

    /// The status of what is answered instead of a WebSocket.
    pub(crate) async fn refused(server: &Server, headers: &[(&str, &[u8])]) -> u16 {
        let socket = TcpSocket::new_v4().expect("a socket");
        match Self::over(server, socket, "/socket", headers).await {
            Err(Error::Http(response)) => response.status().as_u16(),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("a WebSocket"),
        }
    }

    async fn over(
        server: &Server,
        socket: TcpSocket,
        target: &str,
        headers: &[(&str, &[u8])],
    ) -> Result<Self, Error> {
        let socket = within(PATIENCE, "to connect", socket.connect(server.address)).await;
        let socket = socket.expect("a listening server");
        socket.set_nodelay(true).expect("a TCP socket");
        let url = format!("ws://{}{target}", server.address);
        Self::shake(socket, &url, headers).await
    }

    /// Leaves as a client does whose process was killed.
    pub(crate) fn reset(self) {
        self.0.get_ref().set_zero_linger().expect("a TCP socket");
    }
}

impl Client<tokio::io::DuplexStream> {
    /// A client in memory, for clocks that stand still.
    pub(crate) async fn in_memory(socket: &WebSocketSubscriber) -> Self {
        let io = in_memory(socket, 64 << 10);
        Self::shake(io, "ws://localhost/socket", &[])
            .await
            .expect("an open WebSocket")
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    async fn shake(io: S, url: &str, headers: &[(&str, &[u8])]) -> Result<Self, Error> {
        let mut request = url.into_client_request().expect("a URL");
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a name");
            let value = HeaderValue::from_bytes(value).expect("a value");
            request.headers_mut().append(name, value);
        }
        let shaken = within(PATIENCE, "a handshake", client_async(request, io)).await;
        shaken.map(|(socket, _)| Self(socket))
    }

    /// The next message of any kind; pings are answered on the way.
    pub(crate) async fn next(&mut self) -> Message {
        let next = within(PATIENCE, "a message", self.0.next()).await;
        next.expect("a message, not the end")
            .expect("no reset by the server")
    }

    /// The next message, which must be a text.
    pub(crate) async fn text(&mut self) -> String {
        match self.next().await {
            Message::Text(text) => text.as_str().to_owned(),
            other => panic!("{other:?}"),
        }
    }

    /// The next so many texts.
    pub(crate) async fn texts(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::new();
        for _ in 0..count {
            texts.push(self.text().await);
        }
        texts
    }

    /// The data of the next so many events, between which nothing else stands.
    pub(crate) async fn data(&mut self, count: usize) -> Vec<String> {
        let texts = self.texts(count).await;
        let data = texts.iter().map(|text| {
            let value = crate::vocabulary::parsed(text);
            assert_eq!(value["event"], "message", "{text}");
            value["data"].as_str().expect("a text").to_owned()
        });
        data.collect()
    }

    pub(crate) async fn send(&mut self, message: Message) {
        let sent = within(PATIENCE, "to send", self.0.send(message)).await;
        sent.expect("a server that reads");
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.send(Message::text(text)).await;
    }

    pub(crate) async fn ping(&mut self, bytes: &'static [u8]) {
        self.send(Message::Ping(Bytes::from_static(bytes))).await;
    }

    /// The code and the reason with which the server closes, which must be the next that
    /// comes; and then that the connection ends properly.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        let Message::Close(Some(CloseFrame { code, reason })) = self.next().await else {
            panic!("no close with a code");
        };
        self.ended().await;
        (code.into(), reason.as_str().to_owned())
    }

    /// That the server closes with this code, and when the client is to come back.
    pub(crate) async fn closed_for_a_while(&mut self, code: u16) {
        let (found, reason) = self.closed().await;
        assert_eq!(found, code, "{reason}");
        assert!((2000..=6000).contains(&retry(&reason)), "{reason}");
    }

    /// That nothing more comes but the end.
    pub(crate) async fn ended(&mut self) {
        let end = within(PATIENCE, "the end", self.0.next()).await;
        assert!(
            matches!(end, None | Some(Err(Error::ConnectionClosed))),
            "{end:?}"
        );
    }

    /// Closes as browsers do, and waits until the server has.
    pub(crate) async fn close(mut self) {
        self.send(Message::Close(None)).await;
        loop {
            match within(PATIENCE, "the end", self.0.next()).await {
                Some(Ok(_)) => {}
                None | Some(Err(Error::ConnectionClosed)) => return,
                Some(Err(error)) => panic!("{error}"),
            }
        }
    }
}
