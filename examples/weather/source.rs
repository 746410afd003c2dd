//! Where weather comes from.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::Serialize;

use crate::reading::{Kind, Reading};

/// Something that can be asked for the weather.
pub(crate) trait Source: Send {
    fn about(&self) -> About;

    /// Asks once, and hands over each reading as soon as it is there.
    fn poll<'a>(&'a mut self, found: &'a mut (dyn FnMut(Reading) + Send)) -> Polling<'a>;
}

pub(crate) type Polling<'a> = Pin<Box<dyn Future<Output = Polled> + Send + 'a>>;

/// What a source is, and what has to be said where its readings are shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct About {
    pub(crate) source: &'static str,
    /// Whether these are not readings of now.
    pub(crate) is_sample: bool,
    pub(crate) place: String,
    /// Its licence wants it; `{date}` is the date of the readings.
    pub(crate) notice: &'static str,
    /// What the notice refers to: a text, and an address.
    pub(crate) links: &'static [(&'static str, &'static str)],
}

/// How it went.
#[derive(Debug, Default)]
pub(crate) struct Polled {
    /// What could not be had.
    pub(crate) missing: Vec<Kind>,
    /// Why not, if anything is missing.
    pub(crate) fault: Option<Fault>,
    /// When the source wants to be asked again.
    pub(crate) again: Option<Duration>,
}

impl Polled {
    /// Whether nothing at all was had, or the source wants to be left alone.
    pub(crate) fn has_failed(&self) -> bool {
        let nothing = self.missing.len() == Kind::ALL.len();
        nothing || matches!(self.fault, Some(Fault::TooMany { .. }))
    }
}

/// Why a source did not say what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No connection, or one that broke.
    Unreachable,
    /// It took too long.
    TimedOut,
    /// It wants to be asked less often.
    TooMany {
        again: Option<Duration>,
    },
    /// It answered this instead of `200`.
    Status(u16),
    /// The answer is longer than it may be.
    TooLarge,
    NotJson,
    /// It is JSON, but not this.
    Without(&'static str),
    /// It says itself that something is wrong.
    Refused(String),
}

impl Fault {
    /// Whether there is no use in asking the same server something else now.
    pub(crate) fn is_of_all(&self) -> bool {
        matches!(
            self,
            Self::Unreachable | Self::TimedOut | Self::TooMany { .. }
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("cannot be reached"),
            Self::TimedOut => f.write_str("does not answer in time"),
            Self::TooMany { .. } => f.write_str("wants to be asked less often"),
            Self::Status(code) => write!(f, "answers {code}"),
            Self::TooLarge => f.write_str("answers more than is read"),
            Self::NotJson => f.write_str("answers what is not JSON"),
            Self::Without(what) => write!(f, "answers without {what}"),
            Self::Refused(why) => write!(f, "answers: {why}"),
        }
    }
}
