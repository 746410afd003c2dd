//! The words that the targets are written in.

use tokio::runtime::{Builder, Runtime};
use tornadose::{Event, EventName, InvalidName};

/// A clock that stands still while there is something to do.
pub fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
}

/// What a target does, read from the bytes that it is given. At their end everything is
/// zero or empty, so every input is one.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// A number below this one, which is at most 256.
    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub fn number(&mut self) -> u64 {
        (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    /// A length, and so many bytes or what is left.
    pub fn part(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte()).min(self.0.len());
        let (part, rest) = self.0.split_at(len);
        self.0 = rest;
        part
    }

    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// What is no UTF-8 is replaced.
    pub fn text(&mut self) -> String {
        String::from_utf8_lossy(self.part()).into_owned()
    }

    /// An event of any name that is one, any data, and perhaps a reconnection time.
    pub fn event(&mut self) -> Event {
        let form = self.byte();
        let mut event = Event::new(self.text());
        if form & 1 == 1 {
            let name = self.text();
            match EventName::new(name.clone()) {
                Ok(name) => event = event.name(name),
                Err(why) => assert_eq!(fault(&name), Some(why)),
            }
        }
        if form & 2 == 2 {
            event = event.retry(std::time::Duration::from_millis(self.number()));
        }
        event
    }
}

/// Why this is no name.
fn fault(name: &str) -> Option<InvalidName> {
    match name {
        "" => Some(InvalidName::Empty),
        "error" | "open" | "gap" => Some(InvalidName::Reserved),
        name if name.chars().any(|c| "\r\n\0".contains(c)) => Some(InvalidName::Control),
        _ => None,
    }
}

/// The data that a page gets: each line break of this is one LF.
pub fn normalised(data: &str) -> String {
    data.replace("\r\n", "\n").replace('\r', "\n")
}

/// Reads chunks of an HTTP/1.1 body (RFC 9112, 7.1). `None` if they are none; what stands
/// behind the last one is handed back.
pub fn dechunked(mut bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|found| found == b"\r\n")?;
        let size = str::from_utf8(&bytes[..end]).ok()?;
        let is_size = !size.is_empty() && size.bytes().all(|digit| digit.is_ascii_hexdigit());
        let size = usize::from_str_radix(size, 16).ok().filter(|_| is_size)?;
        bytes = &bytes[end + 2..];
        let data = bytes.get(..size)?;
        body.extend_from_slice(data);
        bytes = bytes[size..].strip_prefix(b"\r\n")?;
        if size == 0 {
            return Some((body, bytes));
        }
    }
}

/// A frame of a server's (RFC 6455, 5.2).
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    Ping,
    Close(Option<u16>, String),
}

/// Reads all that a server has sent: whole frames that are allowed of one, nothing behind a
/// close. What is cut off at the end is left out if the connection was.
pub fn frames(mut bytes: &[u8], is_cut: bool) -> Vec<Frame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let is_over = matches!(frames.last(), Some(Frame::Close(..)));
        assert!(!is_over, "something follows a close");
        let Some((first, payload, rest)) = frame(bytes) else {
            assert!(is_cut, "half a frame: {bytes:?}");
            break;
        };
        bytes = rest;
        let text = || String::from_utf8(payload.to_vec()).expect("UTF-8");
        assert!(first < 0x88 || payload.len() <= 125, "a long control frame");
        frames.push(match first {
            0x81 => Frame::Text(text()),
            0x82 => Frame::Binary(payload.to_vec()),
            0x89 => Frame::Ping,
            0x8a => Frame::Pong(payload.to_vec()),
            0x88 => match payload.split_first_chunk() {
                Some((code, reason)) => {
                    let reason = String::from_utf8(reason.to_vec()).expect("UTF-8");
                    Frame::Close(Some(u16::from_be_bytes(*code)), reason)
                }
                None => {
                    assert_eq!(payload, b"", "half a code");
                    Frame::Close(None, String::new())
                }
            },
            _ => panic!("no frame of ours begins with {first:#x}"),
        });
    }
    frames
}

fn frame(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[first, len], rest) = bytes.split_first_chunk()?;
    assert_eq!(len & 0x80, 0, "a server does not mask");
    let (len, rest) = match len {
        127 => {
            let (len, rest) = rest.split_first_chunk()?;
            let len = u64::from_be_bytes(*len);
            assert!(len > 65_535, "not the shortest form");
            (usize::try_from(len).ok()?, rest)
        }
        126 => {
            let (len, rest) = rest.split_first_chunk()?;
            let len = u16::from_be_bytes(*len);
            assert!(len > 125, "not the shortest form");
            (usize::from(len), rest)
        }
        len => (usize::from(len), rest),
    };
    let (payload, rest) = rest.split_at_checked(len)?;
    Some((first, payload, rest))
}
