//! What a client sends.

use std::fmt;

use bytes::Bytes;
use tokio_websockets::Message;

use crate::log::topics::Control;

/// A message that a client has sent, see
/// [`on_message`](crate::WebSocketSubscriber::on_message).
pub struct Received<'a> {
    bytes: &'a [u8],
    text: Option<&'a str>,
    key: Option<&'a str>,
    control: Option<&'a Control>,
    replies: Vec<Message>,
}

impl<'a> Received<'a> {
    /// `None` if it should be a text and is none.
    ///
    /// What becomes a `str` is judged here, once, and not taken on trust.
    pub(super) fn new(
        message: &'a Message,
        key: Option<&'a str>,
        control: Option<&'a Control>,
    ) -> Option<Self> {
        let bytes: &[u8] = message.as_payload();
        let text = match message.is_text() {
            true => Some(str::from_utf8(bytes).ok()?),
            false => None,
        };
        Some(Self {
            bytes,
            text,
            key,
            control,
            replies: Vec::new(),
        })
    }

    pub(super) fn into_replies(self) -> Vec<Message> {
        self.replies
    }

    /// The text, unless the message is binary.
    #[must_use]
    pub fn text(&self) -> Option<&'a str> {
        self.text
    }

    /// The bytes, of a text, too.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The [key](crate::Permit::key) under which the client was permitted.
    #[must_use]
    pub fn key(&self) -> Option<&'a str> {
        self.key
    }

    /// What the client is subscribed to can be changed with this, if its permit
    /// [has one](crate::Permit::control). Whether it may have what it asks for is for the
    /// listener to decide.
    #[must_use]
    pub fn control(&self) -> Option<&'a Control> {
        self.control
    }

    /// Sends this text to this client alone, as it is, before the events that follow.
    pub fn reply(&mut self, text: impl Into<String>) {
        self.replies.push(Message::text(text.into()));
    }

    /// Sends these bytes to this client alone, before the events that follow.
    pub fn reply_bytes(&mut self, bytes: impl Into<Bytes>) {
        self.replies.push(Message::binary(bytes.into()));
    }
}

impl fmt::Debug for Received<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the key nor what was sent: both may be secrets.
        f.debug_struct("Received")
            .field("is_text", &self.text.is_some())
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}
