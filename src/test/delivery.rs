//! What a client has received: messages, and gaps.

use crate::gap::{Gap, GapReason};
use crate::test::decoder::Message;

/// What a [`Client`](crate::test::Client) yields: as [`crate::Delivery`], seen from the page.
///
/// It is equal to a text if it is a message of this data, whatever its name and its id, so
/// that `assert_eq!(received, ["one", "two"])` says what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// An event.
    Message(Message),
    /// Events are missing here: an event of the name `gap`, with the data and the id of one.
    /// Any other event of that name is a message.
    Gap(Gap),
}

impl Delivery {
    /// The message, if it is one.
    #[must_use]
    pub fn message(&self) -> Option<&Message> {
        match self {
            Self::Message(message) => Some(message),
            Self::Gap(_) => None,
        }
    }

    /// The gap, if it is one.
    #[must_use]
    pub fn gap(&self) -> Option<&Gap> {
        match self {
            Self::Message(_) => None,
            Self::Gap(gap) => Some(gap),
        }
    }

    pub(crate) fn of(message: Message) -> Self {
        let gap = (message.name == "gap")
            .then(|| read(&message.data))
            .flatten()
            .filter(|gap| gap.resume.to_string() == message.last_event_id);
        match gap {
            Some(gap) => Self::Gap(gap),
            None => Self::Message(message),
        }
    }
}

impl PartialEq<str> for Delivery {
    fn eq(&self, data: &str) -> bool {
        self.message().is_some_and(|message| message.data == data)
    }
}

impl PartialEq<&str> for Delivery {
    fn eq(&self, data: &&str) -> bool {
        *self == **data
    }
}

/// The JSON of a gap. Its values are words and ids, so there are no escapes in it.
fn read(data: &str) -> Option<Gap> {
    let fields = data.trim().strip_prefix('{')?.strip_suffix('}')?;
    let (mut reason, mut missed, mut from, mut resume) = (None, None, None, None);
    for field in fields.split(',') {
        let (name, value) = field.split_once(':')?;
        let value = unquoted(value)?;
        match unquoted(name)? {
            "reason" => reason = Some(self::reason(value)?),
            "missed" => missed = Some(value.parse().ok()?),
            "from" => from = Some(value.parse().ok()?),
            "resume" => resume = Some(value.parse().ok()?),
            _ => {}
        }
    }
    Some(Gap::new(reason?, missed, from, resume?))
}

fn unquoted(text: &str) -> Option<&str> {
    text.trim().strip_prefix('"')?.strip_suffix('"')
}

fn reason(word: &str) -> Option<GapReason> {
    Some(match word {
        "ahead" => GapReason::Ahead,
        "corrupt" => GapReason::Corrupt,
        "diverged" => GapReason::Diverged,
        "epoch" => GapReason::Epoch,
        "evicted" => GapReason::Evicted,
        "malformed" => GapReason::Malformed,
        "slow" => GapReason::Slow,
        _ => return None,
    })
}
