//! What is left of an answer without its head and without the sizes of its chunks.

use crate::history::Transport;

/// Takes an answer in pieces of any size.
pub(crate) struct Body {
    transport: Transport,
    unread: Vec<u8>,
    state: State,
    status: Option<u16>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Head,
    Frames,
    /// Of a chunk that begins.
    Size,
    Chunk(usize),
    BehindChunk,
    /// It has said its end.
    Ended,
    /// Another answer than a stream.
    Other,
}

impl Body {
    pub(crate) fn of(transport: Transport) -> Self {
        Self {
            transport,
            unread: Vec::new(),
            state: State::Head,
            status: None,
        }
    }

    /// When the whole head is there.
    pub(crate) fn status(&self) -> Option<u16> {
        self.status
    }

    /// Whether the end was said, of an event stream.
    pub(crate) fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// The bytes of the body; or what is wrong.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        self.unread.extend_from_slice(bytes);
        let mut body = Vec::new();
        while self.step(&mut body)? {}
        Ok(body)
    }

    /// `false` where it needs more bytes.
    fn step(&mut self, body: &mut Vec<u8>) -> Result<bool, String> {
        match self.state {
            State::Head => self.head(),
            State::Frames => {
                body.append(&mut self.unread);
                Ok(false)
            }
            State::Size => self.size(),
            State::Chunk(left) => {
                let taken = left.min(self.unread.len());
                body.extend(self.unread.drain(..taken));
                self.state = match left - taken {
                    0 => State::BehindChunk,
                    left => State::Chunk(left),
                };
                Ok(taken > 0)
            }
            State::BehindChunk => match self.unread.get(..2) {
                None => Ok(false),
                Some(b"\r\n") => {
                    self.unread.drain(..2);
                    self.state = State::Size;
                    Ok(true)
                }
                Some(other) => Err(format!("{other:?} behind a chunk")),
            },
            State::Ended => {
                // What a client has sent behind its request may have been no other one.
                let ends: [&[u8]; 2] = [b"\r\n", b"\r\nHTTP/1.1 400 Bad Request\r\n"];
                let is_one =
                    |end: &[u8]| self.unread.starts_with(end) || end.starts_with(&self.unread);
                match self.unread.len() {
                    0..=2 if is_one(ends[0]) => Ok(false),
                    _ if is_one(ends[1]) => Ok(false),
                    _ => Err(format!("{} behind the end", self.unread.escape_ascii())),
                }
            }
            State::Other => {
                self.unread.clear();
                Ok(false)
            }
        }
    }

    fn head(&mut self) -> Result<bool, String> {
        let Some(end) = find(&self.unread, b"\r\n\r\n") else {
            return Ok(false);
        };
        let head: Vec<u8> = self.unread.drain(..end + 4).collect();
        let head = String::from_utf8(head).map_err(|error| error.to_string())?;
        let status = head
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok());
        self.status = status;
        let is_chunked = head.contains("transfer-encoding: chunked\r\n");
        self.state = match (status, self.transport) {
            (None, _) => return Err(format!("no answer: {head}")),
            (Some(101), Transport::WebSocket) => State::Frames,
            (Some(200), Transport::Sse) if is_chunked => State::Size,
            (Some(200 | 101), _) => return Err(format!("no stream: {head}")),
            _ => State::Other,
        };
        Ok(true)
    }

    fn size(&mut self) -> Result<bool, String> {
        let Some(end) = find(&self.unread, b"\r\n") else {
            return match self.unread.len() {
                0..=16 => Ok(false),
                _ => Err("no size of a chunk".to_owned()),
            };
        };
        let line: Vec<u8> = self.unread.drain(..end + 2).collect();
        let size = str::from_utf8(&line[..end]).ok();
        let size = size.and_then(|size| usize::from_str_radix(size, 16).ok());
        self.state = match size {
            None => return Err(format!("{line:?} as the size of a chunk")),
            Some(0) => State::Ended,
            Some(size) => State::Chunk(size),
        };
        Ok(true)
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|found| found == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n:\n\n\r\n2\r\nx\n\r\n0\r\n\r\n";

    fn read(answer: &str, piece: usize) -> Result<(String, bool), String> {
        let mut body = Body::of(Transport::Sse);
        let mut all = Vec::new();
        for piece in answer.as_bytes().chunks(piece) {
            all.extend(body.feed(piece)?);
        }
        Ok((String::from_utf8(all).expect("UTF-8"), body.has_ended()))
    }

    #[test]
    fn a_stream_in_pieces_of_any_size() {
        for piece in 1..=STREAM.len() {
            assert_eq!(read(STREAM, piece), Ok((":\n\nx\n".to_owned(), true)));
            let answered = format!("{STREAM}HTTP/1.1 400 Bad Request\r\n\r\n");
            assert_eq!(read(&answered, piece), read(STREAM, piece));
        }
        let cut = STREAM.strip_suffix("0\r\n\r\n").expect("its end");
        assert_eq!(read(cut, 5), Ok((":\n\nx\n".to_owned(), false)));
    }

    #[test]
    fn what_is_no_stream() {
        assert!(read(&format!("{STREAM}id: 1"), 1).is_err());
        assert!(read(&STREAM.replace("0\r\n\r\n", "0\r\nx"), 4).is_err());
        assert!(read(&STREAM.replace("3\r\n:", "z\r\n:"), 4).is_err());
        assert!(read(&STREAM.replace("\n\r\n2", "\nxx2"), 4).is_err());
        assert!(read(&STREAM.replace("transfer-encoding", "x"), 4).is_err());
    }
}
