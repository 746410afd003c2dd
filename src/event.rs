//! What is submitted: an [`Event`], and the [`EventName`] that cannot hold a bad byte.
//!
//! An event is data, optionally with a name and a reconnection time. It has no
//! id: the log gives it one ([`Position`](crate::Position)) when it is
//! submitted. Nothing that a user can put into an event can add a field, an
//! event or a comment to a stream.
//!
//! # Line breaks
//!
//! The wire knows only lines ([WHATWG HTML, 9.2.6]): CR, LF and CRLF in data are
//! one line break each, and a browser sees each of them as LF. All other text
//! arrives exactly: leading spaces, a leading U+FEFF, an empty string, lines that
//! look like fields.
//!
//! [WHATWG HTML, 9.2.6]: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{InvalidName, InvalidUtf8};
use crate::planted::planted;
use crate::topic::Topic;

/// Something to tell every subscriber.
///
/// ```
/// use tornadose::{Event, EventName};
///
/// const TICK: EventName = EventName::from_static("tick");
///
/// let plain = Event::new("hello");
/// let named = Event::new("12.5").name(TICK);
/// let from_text: Event = format!("{} °C", 21).into();
/// # assert_eq!((plain.data(), named.event_name().as_str(), from_text.data()), ("hello", "tick", "21 °C"));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
#[must_use = "an event does nothing until it is submitted"]
pub struct Event {
    name: EventName,
    /// In milliseconds: an event is handed back in errors, which should be small.
    retry: Option<u32>,
    data: String,
    is_json: bool,
    topic: Option<Topic>,
    once: Option<Arc<str>>,
}

impl Event {
    /// The shortest reconnection time that is sent; a browser told to wait 0 ms
    /// asks again some 500 times a second.
    pub const MIN_RETRY: Duration = Duration::from_millis(100);

    /// The longest reconnection time that is sent.
    pub const MAX_RETRY: Duration = Duration::from_secs(3600);

    /// An event that carries this text and is dispatched as a `message`.
    ///
    /// Empty text is an event, too: a browser dispatches it with empty data.
    pub fn new(data: impl Into<String>) -> Self {
        Self {
            data: data.into(),
            ..Self::default()
        }
    }

    /// An event that carries these bytes, which must be UTF-8: the wire has no
    /// other encoding (WHATWG HTML, 9.2.5).
    ///
    /// # Errors
    ///
    /// [`InvalidUtf8`] hands the bytes back.
    pub fn from_utf8(data: impl Into<Vec<u8>>) -> Result<Self, InvalidUtf8> {
        match String::from_utf8(data.into()) {
            Ok(data) => Ok(Self::new(data)),
            Err(invalid) => Err(InvalidUtf8::new(invalid)),
        }
    }

    /// An event that carries `value` as JSON, on one line. Over a WebSocket its data is
    /// that value, not a string.
    ///
    /// # Errors
    ///
    /// [`JsonError`](crate::JsonError) if `value` cannot be written as JSON, for
    /// example a map whose keys are not strings.
    #[cfg(feature = "json")]
    pub fn json<T: serde::Serialize + ?Sized>(value: &T) -> Result<Self, crate::error::JsonError> {
        let json = serde_json::to_string(value).map_err(crate::error::JsonError)?;
        Ok(Self::of_json(json))
    }

    /// An event that carries this text, which is JSON already, as [`json`](Self::json)
    /// does a value.
    ///
    /// # Errors
    ///
    /// [`JsonError`](crate::JsonError) if it is not JSON.
    #[cfg(feature = "json")]
    pub fn from_json(data: impl Into<String>) -> Result<Self, crate::error::JsonError> {
        let data = data.into();
        serde_json::from_str::<serde::de::IgnoredAny>(&data).map_err(crate::error::JsonError)?;
        Ok(Self::of_json(data))
    }

    pub(crate) fn of_json(data: String) -> Self {
        Self {
            data,
            is_json: true,
            ..Self::default()
        }
    }

    /// The name (`event:`) under which a browser dispatches the event, that is
    /// what a page gives to `addEventListener`. Default: `message`.
    pub fn name(mut self, name: EventName) -> Self {
        self.name = name;
        self
    }

    /// What the event is about, for a [`Hub`](crate::Hub). Default: nothing, which is
    /// right for stores that have but one topic.
    pub fn topic(mut self, topic: Topic) -> Self {
        self.topic = Some(topic);
        self
    }

    /// Lets the event be submitted again where it is not known whether it was stored: of
    /// events with the same key, which is a text of yours that no other event has, such as
    /// a UUID, a hub that is kept [elsewhere](crate::backplane) stores the first one alone.
    /// For how long it remembers a key its engine says. Default: none. Every other store
    /// takes no notice.
    pub fn once(mut self, key: impl Into<Arc<str>>) -> Self {
        self.once = Some(key.into());
        self
    }

    /// Tells clients how long to wait before they reconnect from now on
    /// (`retry:`, sent in whole milliseconds).
    ///
    /// Held between [`MIN_RETRY`](Self::MIN_RETRY) and
    /// [`MAX_RETRY`](Self::MAX_RETRY). Default: not sent, which in browsers means
    /// about 3 seconds.
    pub fn retry(mut self, retry: Duration) -> Self {
        let least = match planted("retry-zero") {
            true => Duration::ZERO,
            false => Self::MIN_RETRY,
        };
        let retry = retry.clamp(least, Self::MAX_RETRY);
        self.retry = u32::try_from(retry.as_millis()).ok();
        self
    }

    /// The text, as it was given.
    #[must_use]
    pub fn data(&self) -> &str {
        &self.data
    }

    /// The name, [`EventName::MESSAGE`] if none was given.
    #[must_use]
    pub fn event_name(&self) -> &EventName {
        &self.name
    }

    /// What it is about, if that was given.
    #[must_use]
    pub fn topic_name(&self) -> Option<&Topic> {
        self.topic.as_ref()
    }

    /// Its [key](Self::once), if it was given one.
    #[must_use]
    pub fn once_key(&self) -> Option<&str> {
        self.once.as_deref()
    }

    /// The reconnection time that is told with this event, if any.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry.map(|retry| Duration::from_millis(retry.into()))
    }

    /// The text, taken out.
    #[must_use]
    pub fn into_data(self) -> String {
        self.data
    }

    /// Whether the text was given as JSON.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.is_json
    }

    /// What the event's size limit is compared with: the bytes of data and name, if
    /// it was given one.
    pub(crate) fn size(&self) -> usize {
        let name = match &self.name {
            name if name.is_message() => 0,
            name => name.as_str().len(),
        };
        self.data.len() + name
    }
}

/// Shows the beginning of the data and its length: an event often ends in a log line.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("topic", &self.topic_name())
            .field("name", &self.name)
            .field("retry", &self.retry_after())
            .field("data", &Shown(&self.data))
            .field("data_len", &self.data.len())
            .finish()
    }
}

/// The beginning of data, 64 characters.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self
            .0
            .char_indices()
            .nth(64)
            .map_or(self.0.len(), |(at, _)| at);
        fmt::Debug::fmt(self.0.get(..end).unwrap_or_default(), f)
    }
}

macro_rules! from_text {
    ($($text:ty),+) => {$(
        impl From<$text> for Event {
            fn from(data: $text) -> Self {
                Self::new(data)
            }
        }
    )+};
}

from_text!(&str, String, &String, Box<str>, Cow<'_, str>, char);

impl From<Arc<str>> for Event {
    fn from(data: Arc<str>) -> Self {
        Self::new(&*data)
    }
}

/// The name of an event: never empty, without CR, LF and NUL, and none of the
/// reserved names `error`, `open` and `gap`.
///
/// A browser fires the page's own `onerror` and `onopen` for events of the first
/// two names; `gap` is how a subscriber is told of a loss ([`Gap`](crate::Gap)).
/// Names are compared byte for byte, as browsers do.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventName(Cow<'static, str>);

impl EventName {
    /// The name of an event that was given none.
    pub const MESSAGE: Self = Self(Cow::Borrowed("message"));

    /// A name out of data.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] tells which rule `name` breaks.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidName> {
        let name = name.into();
        match fault(name.as_bytes()) {
            None => Ok(Self(Cow::Owned(name))),
            Some(fault) => Err(fault),
        }
    }

    /// A name out of a literal, also in a `const`.
    ///
    /// # Panics
    ///
    /// If the name is not a valid one; at compile time in a `const`.
    #[must_use]
    #[track_caller]
    #[allow(clippy::panic, reason = "for literals; data goes through `new`")]
    pub const fn from_static(name: &'static str) -> Self {
        match fault(name.as_bytes()) {
            None => Self(Cow::Borrowed(name)),
            Some(InvalidName::Empty) => panic!("an event name cannot be empty"),
            Some(InvalidName::Control) => panic!("an event name cannot hold CR, LF or NUL"),
            Some(InvalidName::Reserved) => panic!("`error`, `open` and `gap` are reserved"),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the name that needs no `event:` line.
    pub(crate) fn is_message(&self) -> bool {
        self.0 == "message"
    }
}

impl Default for EventName {
    fn default() -> Self {
        Self::MESSAGE
    }
}

impl fmt::Debug for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl AsRef<str> for EventName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl FromStr for EventName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        Self::new(name)
    }
}

impl TryFrom<&str> for EventName {
    type Error = InvalidName;

    fn try_from(name: &str) -> Result<Self, InvalidName> {
        Self::new(name)
    }
}

impl TryFrom<String> for EventName {
    type Error = InvalidName;

    fn try_from(name: String) -> Result<Self, InvalidName> {
        Self::new(name)
    }
}

#[allow(
    clippy::indexing_slicing,
    reason = "`const`, and `i` is below the length"
)]
const fn fault(name: &[u8]) -> Option<InvalidName> {
    if name.is_empty() {
        return Some(InvalidName::Empty);
    }
    let mut i = 0;
    while i < name.len() {
        if matches!(name[i], b'\r' | b'\n' | b'\0') {
            return Some(InvalidName::Control);
        }
        i += 1;
    }
    match name {
        b"error" | b"open" | b"gap" => Some(InvalidName::Reserved),
        _ => None,
    }
}
