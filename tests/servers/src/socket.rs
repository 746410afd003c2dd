//! A client of WebSockets that is not ours, over the same connections.

use std::net::Shutdown;

use tungstenite::client::IntoClientRequest;
use tungstenite::error::Error;
use tungstenite::http::StatusCode;
use tungstenite::{HandshakeError, Message, WebSocket};

use crate::client::{Id, Io};
use crate::fixture::Fixture;

#[derive(Debug)]
pub(crate) struct Socket(WebSocket<Io>);

impl Socket {
    /// One that is told where it begins.
    pub(crate) fn live(fixture: &Fixture) -> (Self, Id) {
        let mut socket = Self::open(fixture, "/socket");
        let open = socket.text();
        let id = open
            .strip_prefix(r#"{"id":""#)
            .and_then(|rest| rest.strip_suffix(r#"","event":"open"}"#));
        let id = Id::read(id.unwrap_or_else(|| panic!("{open}")));
        (socket, id)
    }

    pub(crate) fn open(fixture: &Fixture, target: &str) -> Self {
        Self::ask(fixture, target, &[]).expect("101")
    }

    /// The handshake with these headers, or the status that refuses it.
    pub(crate) fn ask(
        fixture: &Fixture,
        target: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, StatusCode> {
        let mut request = format!("ws://localhost{target}")
            .into_client_request()
            .unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match tungstenite::client(request, Io::connect(fixture)) {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(HandshakeError::Failure(Error::Http(response))) => Err(response.status()),
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) fn text(&mut self) -> String {
        match self.message() {
            Message::Text(text) => text.to_string(),
            other => panic!("no text: {other:?}"),
        }
    }

    /// The next one that is not a ping.
    pub(crate) fn message(&mut self) -> Message {
        loop {
            match self.0.read().unwrap() {
                Message::Ping(_) => {}
                message => return message,
            }
        }
    }

    pub(crate) fn send(&mut self, message: Message) {
        self.0.send(message).unwrap();
    }

    /// The code and the reason with which it is closed, and then nothing more.
    pub(crate) fn is_closed(&mut self) -> (u16, String) {
        let closed = match self.message() {
            Message::Close(Some(frame)) => (frame.code.into(), frame.reason.to_string()),
            other => panic!("no close: {other:?}"),
        };
        loop {
            match self.0.read() {
                Ok(Message::Ping(_)) => {}
                Ok(other) => panic!("after the close: {other:?}"),
                Err(Error::ConnectionClosed) => return closed,
                // TLS that is hung up without a word.
                Err(Error::Io(_)) => return closed,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Says that it leaves, and is answered.
    pub(crate) fn leave(mut self) {
        self.0.close(None).unwrap();
        match self.message() {
            Message::Close(_) => {}
            other => panic!("no close: {other:?}"),
        }
    }

    /// Is gone without a word.
    pub(crate) fn vanish(self) {
        let io = self.0.into_inner();
        io.tcp().shutdown(Shutdown::Both).unwrap();
    }

    /// Reads no more, and so answers nothing.
    pub(crate) fn fall_silent(self) -> Io {
        self.0.into_inner()
    }
}
