//! What is submitted, and what is written down of that.
//!
//! An event is known by its number, and everything else about it follows from that, so
//! that what a client got can be judged by itself.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tornadose::{Event, Topic};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kept {
    /// A `QueueStore`.
    Queue,
    /// A `Hub` in memory.
    Hub,
    /// A `Hub` whose log is in a file.
    Durable,
}

impl Kept {
    pub(crate) const ALL: [Self; 3] = [Self::Queue, Self::Hub, Self::Durable];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Hub => "hub",
            Self::Durable => "durable",
        }
    }
}

/// The number of an event: the life of the server, who submits, and a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Uid(pub(crate) u64);

impl Uid {
    const COUNTS: u64 = 10_000_000;
    const PUBLISHERS: u64 = 10;

    pub(crate) fn new(life: u64, store: Kept, publisher: u64, count: u64) -> Self {
        assert!(count < Self::COUNTS && publisher < Self::PUBLISHERS);
        let store = store as u64;
        Self(((life * 3 + store) * Self::PUBLISHERS + publisher) * Self::COUNTS + count)
    }

    pub(crate) fn store(self) -> Kept {
        let store = self.0 / Self::COUNTS / Self::PUBLISHERS % 3;
        Kept::ALL[usize::try_from(store).expect("small")]
    }

    pub(crate) fn life(self) -> u64 {
        self.0 / Self::COUNTS / Self::PUBLISHERS / 3
    }

    /// What it is about, where there are topics.
    pub(crate) fn topic(self) -> &'static str {
        const TOPICS: [&str; 10] = [
            "t/0", "t/1", "t/2", "t/3", "t/4", "t/5", "t/6", "t/7", SMALL, VALUE,
        ];
        TOPICS[usize::try_from(self.0 % 10).expect("small")]
    }

    /// Begins as the checker wants it. Short and long, of one line and of many, and not only ASCII.
    pub(crate) fn data(self) -> String {
        let Self(number) = self;
        match number % 13 {
            0 => format!("{number}|\nsecond line\r\nthird line\rfourth line\n"),
            1 => format!("{number}|{}", "long ".repeat((number % 700) as usize)),
            2 => format!("{number}|\u{feff}päivää \u{1f32a} data: id: event: {{\"a\":1}}"),
            rest => format!("{number}|{}", "x".repeat((rest * 11) as usize)),
        }
    }

    pub(crate) fn event(self) -> Event {
        let event = Event::new(self.data());
        match self.store() {
            Kept::Queue => event,
            Kept::Hub | Kept::Durable => {
                let topic: Topic = self.topic().parse().expect("a topic");
                event.topic(topic)
            }
        }
    }
}

/// A topic of which little is kept.
pub(crate) const SMALL: &str = "small/0";
/// A topic of which the newest is.
pub(crate) const VALUE: &str = "value/0";

/// The same clock in every process.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let now = Duration::try_from(now).expect("a time");
    u64::try_from(now.as_nanos()).expect("not that long")
}

/// What one publisher did, in a file: what a killed process has written stays written.
pub(crate) struct Journal(File);

impl Journal {
    pub(crate) fn create(path: &Path) -> Self {
        Self(File::create(path).expect("a file"))
    }

    pub(crate) fn begins(&mut self, uid: Uid) {
        self.write(format_args!("begins {} {}", now(), uid.0));
    }

    pub(crate) fn stored(&mut self, uid: Uid, id: impl std::fmt::Display) {
        self.write(format_args!("stored {} {} {id}", now(), uid.0));
    }

    pub(crate) fn refused(&mut self, uid: Uid) {
        self.write(format_args!("refused {} {}", now(), uid.0));
    }

    fn write(&mut self, line: std::fmt::Arguments<'_>) {
        let line = format!("{line}\n");
        self.0.write_all(line.as_bytes()).expect("room on the disk");
    }
}

/// A line of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) at: u64,
    pub(crate) uid: Uid,
    pub(crate) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Begins,
    /// Under this id.
    Stored(String),
    /// It is in no log.
    Refused,
}

/// What a journal says; its last line may be torn.
pub(crate) fn read(journal: &Path) -> Vec<Noted> {
    let text = std::fs::read_to_string(journal).expect("a journal");
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    let lines = text[..whole].lines().map(|line| {
        let mut words = line.split(' ');
        let what = words.next().expect("a word");
        let mut number = || words.next().and_then(|word| word.parse().ok());
        let (at, uid) = (number().expect("a time"), number().expect("a number"));
        let what = match what {
            "begins" => What::Begins,
            "stored" => What::Stored(words.next().expect("an id").to_owned()),
            "refused" => What::Refused,
            other => panic!("{other}"),
        };
        Noted {
            at,
            uid: Uid(uid),
            what,
        }
    });
    lines.collect()
}
