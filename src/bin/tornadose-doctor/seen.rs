//! What was seen of a server: plain values, without any judgement.

use std::time::Duration;

use http::{HeaderMap, StatusCode, Version};

use crate::text::Text;

/// Everything that was asked, and what came of it. Times are since the first question.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) redirects: Vec<Redirect>,
    /// Too many of them, or one to nowhere.
    pub(crate) lost: Option<String>,
    /// As a browser asks.
    pub(crate) main: Option<Result<Stream, Failure>>,
    /// Where that was compressed: the same, asked for without.
    pub(crate) plain: Option<Result<Stream, Failure>>,
    pub(crate) direct: Option<Result<Stream, Failure>>,
    pub(crate) preflight: Option<Result<Head, Failure>>,
    /// The answer to a page of an origin that nobody can know.
    pub(crate) foreign: Option<Result<Head, Failure>>,
    pub(crate) resumed: Option<Resumed>,
    /// The answer to an id that nobody has given.
    pub(crate) nonsense: Option<Result<Head, Failure>>,
    /// Whether the stream that was judged is at an `https` address.
    pub(crate) is_secure: bool,
}

#[derive(Debug)]
pub(crate) struct Redirect {
    pub(crate) status: StatusCode,
    /// May be printed.
    pub(crate) to: String,
    pub(crate) is_to_insecure: bool,
    pub(crate) is_to_other_origin: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Unreachable(String),
    Tls(String),
    /// What came is no answer of HTTP, or nothing came and the connection ended.
    NoAnswer(String),
    /// Nothing came for so long.
    NoHead(Duration),
}

#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    /// When it was: the connection was there already.
    pub(crate) asked: Duration,
    pub(crate) at: Duration,
}

impl Head {
    pub(crate) fn after(&self) -> Duration {
        self.at.saturating_sub(self.asked)
    }

    /// If there is one and it is printable.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// All values of a list, in lower case and without what is behind a `;` or `=`.
    pub(crate) fn words(&self, name: &str) -> Vec<String> {
        let values = self.headers.get_all(name).iter();
        let values = values.filter_map(|value| value.to_str().ok());
        let words = values.flat_map(|value| value.split(','));
        let words = words.map(|word| word.split([';', '=']).next().unwrap_or_default());
        let words = words.map(|word| word.trim().to_ascii_lowercase());
        words.filter(|word| !word.is_empty()).collect()
    }

    /// Whether it says that another time it might be answered.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.status.as_u16(), 429 | 503)
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.words("content-encoding")
            .iter()
            .any(|word| word != "identity")
    }

    /// Whether a browser would read what follows.
    pub(crate) fn is_event_stream(&self) -> bool {
        let essence = self
            .header("content-type")
            .and_then(|value| value.split(';').next());
        self.status == StatusCode::OK
            && essence
                .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("text/event-stream"))
    }
}

/// A stream that was watched for a while.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) head: Head,
    pub(crate) lumps: Vec<Lump>,
    pub(crate) text: Text,
    pub(crate) bytes: u64,
    pub(crate) end: End,
    /// When that was.
    pub(crate) until: Duration,
}

impl Stream {
    /// From the question to the first byte behind the head.
    pub(crate) fn first_byte_after(&self) -> Option<Duration> {
        let first = self.lumps.first()?;
        Some(first.begin.saturating_sub(self.head.asked))
    }

    /// When the last thing came that it sent.
    pub(crate) fn last_sign(&self) -> Duration {
        self.lumps.last().map_or(self.head.at, |lump| lump.end)
    }

    /// From its head to its end.
    pub(crate) fn lasted(&self) -> Duration {
        self.until.saturating_sub(self.head.at)
    }

    /// How long nothing came behind each lump.
    pub(crate) fn quiet_after(&self) -> impl Iterator<Item = (&Lump, Duration)> {
        let nexts = self.lumps.iter().skip(1).map(|lump| lump.begin);
        let nexts = nexts.chain([self.until]);
        self.lumps
            .iter()
            .zip(nexts)
            .map(|(lump, next)| (lump, next.saturating_sub(lump.end)))
    }

    /// The longest time in which nothing came.
    pub(crate) fn longest_silence(&self) -> Duration {
        let first = self.lumps.first().map_or(self.until, |lump| lump.begin);
        let silences = self.quiet_after().map(|(_, quiet)| quiet);
        let silences = silences.chain([first.saturating_sub(self.head.at)]);
        silences.max().unwrap_or_default()
    }
}

/// Bytes that came together: no two of them further apart than `watch::TOGETHER`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lump {
    pub(crate) begin: Duration,
    pub(crate) end: Duration,
    pub(crate) bytes: u64,
    /// Events that were completed in it.
    pub(crate) events: u32,
    pub(crate) comments: u32,
    /// Whether it ends in the middle of an event or a line.
    pub(crate) is_cut: bool,
}

impl Lump {
    pub(crate) fn begun(at: Duration) -> Self {
        Self {
            begin: at,
            end: at,
            ..Self::default()
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It was still open when the time was over.
    Open,
    /// As much was read as is ever read.
    Enough,
    /// As HTTP says (a last chunk, `END_STREAM`, the length that was told).
    Complete,
    /// The connection was closed, which here is the only end that there can be.
    Closed,
    /// The connection was closed in the middle (FIN).
    Cut,
    /// The connection was reset (RST).
    Reset,
    /// The protocol was broken, or the stream reset by HTTP/2.
    Broken(String),
}

/// A stream that was asked for with an id of the first one.
#[derive(Debug)]
pub(crate) struct Resumed {
    /// How many events behind the one of this id had been received.
    pub(crate) from: usize,
    pub(crate) answer: Result<Stream, Failure>,
}
