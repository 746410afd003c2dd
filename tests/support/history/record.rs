//! What is written down while it happens.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::decode::{Decoding, Told};

/// Nanoseconds of a clock that never goes back.
pub(crate) type Stamp = u64;

#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) rules: Rules,
    pub(crate) submits: Vec<Submit>,
    /// One for each epoch.
    pub(crate) logs: Vec<Log>,
    pub(crate) connections: Vec<Connection>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) samples: Vec<Sample>,
    /// By then everybody who stays must have reached the end. `None`: nobody has to.
    pub(crate) live_by: Option<Stamp>,
}

/// What kind of store it is a history of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) kind: Kind,
    /// Patterns of topics of which the newest event alone counts.
    pub(crate) latest: Vec<String>,
    /// How many events of a topic are kept at least, if only their number counts: none of
    /// them may be told missing.
    pub(crate) keeps: Option<u64>,
}

impl Rules {
    pub(crate) fn is_latest(&self, topic: &str) -> bool {
        self.kind == Kind::Latest || self.latest.iter().any(|pattern| matches(pattern, topic))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A log in memory, that loses nothing but what is let go of.
    #[default]
    Memory,
    /// A log of one.
    Latest,
    /// A log that is kept by something that may lose parts of it.
    Elsewhere,
}

/// Something that was to be stored. Its data begins with the uid and a `|`.
#[derive(Clone, Debug)]
pub(crate) struct Submit {
    pub(crate) uid: String,
    /// Empty where there are no topics.
    pub(crate) topic: String,
    pub(crate) name: String,
    pub(crate) data: String,
    pub(crate) invoked: Stamp,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Acknowledged, then, and where it stands.
    Ok(Stamp, Id),
    /// It is said that it is not stored.
    Refused,
    /// Nothing is known.
    Unknown,
}

/// What the uid of these data is.
pub(crate) fn uid(data: &str) -> &str {
    data.split_once('|').map_or(data, |(uid, _)| uid)
}

/// An id, read without the library.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) epoch: String,
    pub(crate) offset: u64,
    /// Empty where there are no tags.
    pub(crate) tag: String,
}

impl Id {
    pub(crate) fn new(epoch: &str, offset: u64) -> Self {
        Self {
            epoch: epoch.to_owned(),
            offset,
            tag: String::new(),
        }
    }

    /// `<11 characters>-<number>` or `<11 characters>-<number>-<6 characters>`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !text.bytes().all(is_word) {
            return None;
        }
        let (epoch, rest) = text.split_at_checked(11)?;
        let rest = rest.strip_prefix('-')?;
        let (digits, tag) = rest.split_at_checked(rest.find('-').unwrap_or(rest.len()))?;
        let tag = match tag.strip_prefix('-') {
            None => "",
            Some(tag) if tag.len() == 6 => tag,
            Some(_) => return None,
        };
        let offset: u64 = digits.parse().ok()?;
        (offset.to_string() == digits).then(|| Self {
            epoch: epoch.to_owned(),
            offset,
            tag: tag.to_owned(),
        })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.offset)?;
        match self.tag.as_str() {
            "" => Ok(()),
            tag => write!(f, "-{tag}"),
        }
    }
}

/// A log in truth, read back by somebody else than the library, or kept by who plays it.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) epoch: String,
    /// Everything that ever had a place in it, also what was let go of since; in order.
    pub(crate) events: Vec<Stored>,
    /// What was stored and then lost by a fault, so that others have its places.
    pub(crate) lost: Vec<Stored>,
    /// It is there at the end.
    pub(crate) is_last: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) id: Id,
    pub(crate) topic: String,
    /// As it is kept.
    pub(crate) data: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Transport {
    Sse,
    WebSocket,
}

/// Where a connection begins that brings no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Start {
    Live,
    /// With older events; which, is not judged.
    Older,
}

/// The topics that a client wants, or may have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Filter {
    /// Of a store without topics.
    All,
    /// By name or by pattern.
    Topics(Vec<String>),
}

impl Filter {
    pub(crate) fn wants(&self, topic: &str) -> bool {
        match self {
            Self::All => true,
            Self::Topics(topics) => topics.iter().any(|pattern| matches(pattern, topic)),
        }
    }
}

/// `+` is one level, `#` at the end any number of them.
fn matches(pattern: &str, topic: &str) -> bool {
    let (mut pattern, mut topic) = (pattern.split('/'), topic.split('/'));
    loop {
        match (pattern.next(), topic.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

/// One connection, from its request to its end.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// Which client; its connections follow each other.
    pub(crate) chain: u64,
    pub(crate) node: String,
    pub(crate) transport: Transport,
    /// The id that it brought.
    pub(crate) requested: Option<String>,
    pub(crate) start: Start,
    pub(crate) filter: Filter,
    pub(crate) opened: Stamp,
    /// When it was permitted, if that is known.
    pub(crate) granted: Option<Stamp>,
    /// When what was permitted was taken back.
    pub(crate) revoked: Option<Stamp>,
    /// Of the answer, if there was one.
    pub(crate) status: Option<u16>,
    /// Everything that was received behind the head: of an event stream the body without the
    /// chunks' sizes, of a WebSocket its frames.
    pub(crate) received: Vec<(Stamp, Vec<u8>)>,
    pub(crate) ended: Ended,
    pub(crate) closed: Stamp,
    /// It is to be there at the end.
    pub(crate) stays: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ended {
    /// It has not.
    Open,
    /// The other side has ended it, as the protocol says.
    Cleanly,
    /// It was cut, refused or reset.
    Cut,
    /// Its client has left it.
    Left,
}

impl Connection {
    /// What it was told, and when the last byte of each came.
    pub(crate) fn told(&self) -> Vec<(Stamp, Told)> {
        if self.status != Some(self.transport.status()) {
            return Vec::new();
        }
        let mut decoding = Decoding::of(self.transport);
        let mut all = Vec::new();
        for (stamp, bytes) in &self.received {
            all.extend(decoding.feed(bytes).into_iter().map(|told| (*stamp, told)));
        }
        all
    }
}

impl Transport {
    /// That of an answer that begins a stream.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Sse => 200,
            Self::WebSocket => 101,
        }
    }
}

/// Something that was broken, or mended.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) at: Stamp,
    pub(crate) what: String,
}

/// How much there was of something, and how much there may be.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Stamp,
    pub(crate) what: String,
    pub(crate) is: u64,
    pub(crate) most: u64,
}

pub(super) fn fingerprint(history: &History) -> u64 {
    // By the order in which they appear.
    let mut epochs = Vec::new();
    let mut appear = |id: Option<&Id>| {
        if let Some(id) = id
            && !epochs.contains(&id.epoch)
        {
            epochs.push(id.epoch.clone());
        }
    };
    for submit in &history.submits {
        if let Outcome::Ok(_, id) = &submit.outcome {
            appear(Some(id));
        }
    }
    for one in &history.connections {
        appear(one.requested.as_deref().and_then(Id::parse).as_ref());
        for (_, told) in one.told() {
            appear(told.id());
            if let Told::Gap { from, .. } = &told {
                appear(from.as_ref());
            }
        }
    }
    let named = |text: &str| {
        let mut text = text.to_owned();
        for (number, epoch) in epochs.iter().enumerate() {
            if text.contains(epoch) {
                text = text.replace(epoch, &format!("<{number}>"));
            }
        }
        text
    };
    let mut hasher = DefaultHasher::new();
    for submit in &history.submits {
        (submit.invoked, &submit.topic, &submit.name, &submit.data).hash(&mut hasher);
        match &submit.outcome {
            Outcome::Ok(at, id) => (at, named(&id.to_string())).hash(&mut hasher),
            Outcome::Refused => 1_u8.hash(&mut hasher),
            Outcome::Unknown => 2_u8.hash(&mut hasher),
        }
    }
    for one in &history.connections {
        let requested = one.requested.as_deref().map(named);
        let of = (one.chain, &one.node, one.transport, requested, &one.filter);
        of.hash(&mut hasher);
        (one.opened, one.status, one.ended, one.closed, one.stays).hash(&mut hasher);
        for (stamp, bytes) in &one.received {
            (stamp, bytes.len()).hash(&mut hasher);
        }
        // Not the bytes: where it was cut there may stand a part of an id.
        for (_, told) in one.told() {
            named(&format!("{told:?}")).hash(&mut hasher);
        }
    }
    for fault in &history.faults {
        (fault.at, named(&fault.what)).hash(&mut hasher);
    }
    for sample in &history.samples {
        (sample.at, &sample.what, sample.is, sample.most).hash(&mut hasher);
    }
    hasher.finish()
}
