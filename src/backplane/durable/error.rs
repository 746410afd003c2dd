//! What can be wrong with a file.

use std::io;
use std::sync::Arc;

use thiserror::Error;

/// Why a log cannot be opened. It stays where it is, for another attempt.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DurableError {
    /// Another process has it open, or another [`Durable`](super::Durable) of this one.
    #[error("the log is in use")]
    InUse,

    /// Nothing of the file can be read as a log, for this reason, also not by redb's own
    /// attempt at a repair, which may have changed some bytes of its head.
    /// [`recover`](super::DurableBuilder::recover) sets it aside and begins anew.
    #[error("the log is broken: {0}")]
    Broken(Arc<str>),

    /// It is in a format of a later version of this crate.
    #[error("the log is of a format that is not known, {0}")]
    Format(u32),

    /// The system refuses a file or a directory.
    #[error("the log cannot be read or written")]
    Io(#[source] io::Error),
}

/// The same, wherever it happens.
#[derive(Debug)]
pub(super) enum Fault {
    InUse,
    Broken(Arc<str>),
    Format(u32),
    Io(io::Error),
}

impl Fault {
    pub(super) fn broken(why: impl Into<Arc<str>>) -> Self {
        Self::Broken(why.into())
    }

    /// In words, in which no path stands.
    pub(super) fn words(&self) -> Arc<str> {
        match self {
            Self::InUse => "the log is in use".into(),
            Self::Broken(why) => format!("the log is broken: {why}").into(),
            Self::Format(format) => format!("the log is of format {format}").into(),
            Self::Io(error) => error.to_string().into(),
        }
    }
}

impl From<Fault> for DurableError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::InUse => Self::InUse,
            Fault::Broken(why) => Self::Broken(why),
            Fault::Format(format) => Self::Format(format),
            Fault::Io(error) => Self::Io(error),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<redb::Error> for Fault {
    fn from(error: redb::Error) -> Self {
        use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        match error {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => Self::InUse,
            // What is not in the file is the file's fault and not that of the system.
            redb::Error::Io(error)
                if matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof) =>
            {
                Self::broken(error.to_string())
            }
            redb::Error::Io(error) => Self::Io(error),
            redb::Error::PreviousIo => Self::Io(io::Error::other("the system refused it before")),
            redb::Error::DatabaseClosed => Self::Io(io::Error::other("the file is closed")),
            error => Self::broken(error.to_string()),
        }
    }
}

macro_rules! from_redb {
    ($($error:ty),+) => {$(
        impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                redb::Error::from(error).into()
            }
        }
    )+};
}

from_redb!(
    redb::CommitError,
    redb::DatabaseError,
    redb::StorageError,
    redb::TableError,
    redb::TransactionError
);
