//! What a log keeps, and what happens to those who do not keep up with it.

use std::time::Duration;

/// What a log keeps for those who come later or come back: whichever bound is
/// reached first decides.
///
/// This is also the bound of its memory, however many subscribers there are and
/// however slowly they read.
///
/// ```
/// use std::time::Duration;
/// use tornadose::{QueueStore, Retention};
///
/// let store = QueueStore::builder()
///     .retention(Retention::new().events(500).bytes(1 << 20).age(Duration::from_secs(600)))
///     .build();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub struct Retention {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
    pub(crate) age: Option<Duration>,
}

impl Retention {
    /// 10,000 events, 16 MiB, of any age.
    pub fn new() -> Self {
        Self {
            events: 10_000,
            bytes: 16 << 20,
            age: None,
        }
    }

    /// At most this many events. Default: 10,000. At least 1 is kept.
    pub fn events(mut self, events: usize) -> Self {
        self.events = events.max(1);
        self
    }

    /// At most this many bytes: the encoded events and
    /// [128 bytes](Self::BYTES_PER_EVENT) for each. Default: 16 MiB.
    ///
    /// An event that would not fit alone is refused as
    /// [`TooLarge`](crate::SubmitError::TooLarge).
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// Nothing that was submitted longer ago. Default: no limit.
    ///
    /// Counted on the monotonic clock. An event that is too old is never sent;
    /// its memory is freed by the next submit.
    pub fn age(mut self, age: Duration) -> Self {
        self.age = Some(age);
        self
    }

    /// What each event is counted with beside its encoded bytes.
    pub const BYTES_PER_EVENT: usize = 128;
}

impl Default for Retention {
    fn default() -> Self {
        Self::new()
    }
}

/// What happens when a connected subscriber is slower than the retention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Overflow {
    /// The oldest events go; who had not read them gets a
    /// [`Gap`](crate::Gap) in their place and goes on. The default.
    #[default]
    DropOldest,

    /// The oldest events go; the stream of who had not read them ends. A browser
    /// comes back with its last id and is told its gap then.
    Disconnect,

    /// Nothing goes that a connected subscriber has not read:
    /// [`Submitted`](crate::Submitted) resolves when there is room again, so
    /// submitters that await it run at the pace of the slowest subscriber.
    ///
    /// Nobody waits for subscribers that
    /// [conflate](crate::Subscribe::conflate): they want the newest event alone.
    ///
    /// The store holds at most twice its retention; beyond that, submitters that
    /// did not await are refused with [`Full`](crate::SubmitError::Full). In a
    /// [`Hub`](crate::Hub) all of this is each topic's own.
    ///
    /// Cost: reading takes the log's lock for writing, so thousands of subscribers
    /// on many cores read one after the other; in a hub those who read a topic that
    /// waits, and nobody else.
    Wait {
        /// How long the store waits for a subscriber that reads nothing at all.
        /// After that the log goes on without it; if it reads again it is told its
        /// gap.
        stall: Duration,
    },
}
