//! What becomes of the connections of a [`Proxy`](crate::test::Proxy).

use std::time::Duration;

/// What becomes of a connection: nothing, by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Script {
    pub(crate) up: Way,
    pub(crate) down: Way,
    pub(crate) cut: Option<(At, Cut)>,
}

impl Script {
    /// Nothing goes wrong.
    pub fn new() -> Self {
        Self::default()
    }

    /// What becomes of the bytes from the client to the server.
    pub fn up(self, way: Way) -> Self {
        Self { up: way, ..self }
    }

    /// What becomes of the bytes from the server to the client.
    pub fn down(self, way: Way) -> Self {
        Self { down: way, ..self }
    }

    /// Where it is cut, and how; once.
    pub fn cut(self, at: At, cut: Cut) -> Self {
        Self {
            cut: Some((at, cut)),
            ..self
        }
    }
}

/// What becomes of the bytes of one direction: they arrive as they are, by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Way {
    pub(crate) delay: Duration,
    pub(crate) trickle: Option<u32>,
    pub(crate) split: bool,
    pub(crate) flip: Option<u64>,
    pub(crate) hold: Option<usize>,
}

impl Way {
    /// Bytes arrive as they are.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whatever comes waits so long, and what comes meanwhile waits behind it.
    pub fn delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// So many bytes a second at most; 0 is one.
    pub fn trickle(self, bytes: u32) -> Self {
        Self {
            trickle: Some(bytes.max(1)),
            ..self
        }
    }

    /// Each byte is written by itself, so that most of them arrive alone.
    pub fn split(self) -> Self {
        Self {
            split: true,
            ..self
        }
    }

    /// The lowest bit of the byte at this offset, counted from 0, is the other one.
    pub fn flip(self, offset: u64) -> Self {
        Self {
            flip: Some(offset),
            ..self
        }
    }

    /// Nothing arrives until there are so many bytes, or until the direction ends: what a
    /// proxy does that buffers answers. All of that is kept in memory, and is lost where the
    /// connection is [cut](Script::cut).
    pub fn hold(self, bytes: usize) -> Self {
        Self {
            hold: Some(bytes),
            ..self
        }
    }
}

/// When a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum At {
    /// When so many bytes have come from the client.
    Up(u64),
    /// When so many bytes have come from the server.
    Down(u64),
    /// So long after it was made.
    After(Duration),
}

/// How a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cut {
    /// Both sides are told that it is over in the middle (RST).
    Reset,
    /// Both sides are told that the other one has nothing more to say (FIN).
    Finish,
    /// The server alone is told that. The client can still be answered.
    FinishUp,
    /// The client alone. What the server sends is thrown away.
    FinishDown,
    /// Nothing is carried any more, and nobody is told: a client whose network is gone.
    Silence,
    /// From the client to the server nothing is.
    SilenceUp,
    /// From the server to the client nothing is.
    SilenceDown,
}
