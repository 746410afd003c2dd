//! An event in its place.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::event::{Event, Shown};
use crate::planted::planted;
use crate::position::Position;
use crate::topic::Topic;
use crate::wire::sse::{self, Encoded, Span};

/// An event as the log keeps it: numbered, encoded, shared.
///
/// Cheap to clone; all clones share the same bytes, which are freed with the last
/// of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    position: Position,
    sse: Bytes,
    /// The length of the `id:` line, behind which the spans count.
    id_line: usize,
    name: Span,
    data: Span,
    lines: Option<Arc<str>>,
    is_json: bool,
    topic: Option<Topic>,
    /// Its block has no id: its place in the order is past.
    out_of_order: bool,
}

impl Entry {
    /// An event at a place, for stores of your own that make their positions
    /// themselves.
    #[must_use]
    pub fn new(position: Position, event: &Event) -> Self {
        let encoded = match position.tag() {
            None => sse::encode(event),
            Some(_) => sse::encode_tagged(event),
        };
        let entry = Self::stamped(position, encoded);
        match event.topic_name() {
            Some(topic) => entry.about(topic.clone()),
            None => entry,
        }
    }

    /// Costs no allocation that grows with the event.
    pub(crate) fn stamped(position: Position, event: Encoded) -> Self {
        let (name, data) = event.spans();
        let is_json = event.is_json();
        let (sse, id_line, lines) = event.stamp(position);
        Self {
            position,
            sse,
            id_line,
            name,
            data,
            lines,
            is_json,
            topic: None,
            out_of_order: false,
        }
    }

    /// The same without an id, for a reader that has been told later ones.
    pub(crate) fn out_of_order(mut self) -> Self {
        if planted("id-of-an-old-value") {
            return self;
        }
        self.sse = self.sse.slice(self.id_line..);
        self.id_line = 0;
        self.out_of_order = true;
        self
    }

    #[cfg(feature = "websocket")]
    pub(crate) fn is_in_order(&self) -> bool {
        !self.out_of_order
    }

    /// The same, of this topic.
    pub(crate) fn about(mut self, topic: Topic) -> Self {
        self.topic = Some(topic);
        self
    }

    /// Its position; printed, the id that browsers know it by.
    #[must_use]
    pub fn id(&self) -> Position {
        self.position
    }

    /// Its name, `message` if it was given none.
    #[must_use]
    pub fn name(&self) -> &str {
        if self.name.is_empty() {
            return "message";
        }
        self.name.of(&self.sse, self.id_line)
    }

    /// Its data, as it was submitted.
    #[must_use]
    pub fn data(&self) -> &str {
        match &self.lines {
            Some(lines) => lines,
            None => self.data.of(&self.sse, self.id_line),
        }
    }

    /// Whether its data was submitted as JSON, not as text that may happen to be JSON.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.is_json
    }

    /// What it is about, if it comes from a [`Hub`](crate::Hub).
    #[must_use]
    pub fn topic(&self) -> Option<&Topic> {
        self.topic.as_ref()
    }

    /// The bytes that go to a browser: one block of `text/event-stream`, its
    /// blank line included.
    #[must_use]
    pub fn sse(&self) -> &Bytes {
        &self.sse
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("id", &self.id())
            .field("topic", &self.topic())
            .field("name", &self.name())
            .field("data", &Shown(self.data()))
            .field("data_len", &self.data().len())
            .finish()
    }
}
