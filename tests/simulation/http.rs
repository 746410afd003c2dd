//! HTTP/1.1 as a client reads it, without a library.

/// What has been read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// The status of the answer.
    Head(u16),
    Body(Vec<u8>),
    /// The body has ended as it should.
    End,
}

/// Takes an answer in pieces of any size.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    bytes: Vec<u8>,
    state: State,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    /// Everything is body, until the connection ends.
    Raw,
    /// So many bytes of a body of known length.
    Left(usize),
    /// The size of a chunk follows.
    Size,
    /// So many bytes of a chunk, and a line break.
    Chunk(usize),
    /// The line break behind the last chunk.
    Last,
    End,
}

impl Answer {
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Piece>, String> {
        self.bytes.extend_from_slice(bytes);
        let mut pieces = Vec::new();
        while let Some(piece) = self.next()? {
            pieces.extend(piece);
        }
        Ok(pieces)
    }

    /// `None`: there is not enough yet.
    fn next(&mut self) -> Result<Option<Option<Piece>>, String> {
        match self.state {
            State::Head => {
                let end = self.bytes.windows(4).position(|four| four == b"\r\n\r\n");
                let Some(end) = end else {
                    return Ok(None);
                };
                let head: Vec<u8> = self.bytes.drain(..end + 4).collect();
                let head = String::from_utf8(head).map_err(|error| error.to_string())?;
                let status = head
                    .strip_prefix("HTTP/1.1 ")
                    .and_then(|rest| rest.get(..3)?.parse().ok())
                    .ok_or_else(|| format!("the head {head:?}"))?;
                let head = head.to_ascii_lowercase();
                let is_chunked = head.contains("\r\ntransfer-encoding: chunked\r\n");
                let length = head.split("\r\ncontent-length: ").nth(1);
                let length = length.and_then(|rest| rest.lines().next()?.parse().ok());
                self.state = match status {
                    101 => State::Raw,
                    _ if is_chunked => State::Size,
                    _ => State::Left(length.unwrap_or(0)),
                };
                Ok(Some(Some(Piece::Head(status))))
            }
            State::Raw if self.bytes.is_empty() => Ok(None),
            State::Raw => Ok(Some(Some(Piece::Body(std::mem::take(&mut self.bytes))))),
            State::Left(0) => {
                self.state = State::End;
                Ok(Some(Some(Piece::End)))
            }
            State::Left(_) if self.bytes.is_empty() => Ok(None),
            State::Left(left) => {
                let some = left.min(self.bytes.len());
                self.state = State::Left(left - some);
                Ok(Some(Some(Piece::Body(self.bytes.drain(..some).collect()))))
            }
            State::Size => {
                let Some(line) = self.line() else {
                    return Ok(None);
                };
                let size = usize::from_str_radix(&line, 16);
                self.state = match size.map_err(|_| format!("the size {line:?}"))? {
                    0 => State::Last,
                    size => State::Chunk(size),
                };
                Ok(Some(None))
            }
            State::Chunk(0) => match self.line() {
                None => Ok(None),
                Some(line) if line.is_empty() => {
                    self.state = State::Size;
                    Ok(Some(None))
                }
                Some(line) => Err(format!("{line:?} behind a chunk")),
            },
            State::Chunk(_) if self.bytes.is_empty() => Ok(None),
            State::Chunk(left) => {
                let some = left.min(self.bytes.len());
                self.state = State::Chunk(left - some);
                Ok(Some(Some(Piece::Body(self.bytes.drain(..some).collect()))))
            }
            State::Last => match self.line() {
                None => Ok(None),
                Some(line) if line.is_empty() => {
                    self.state = State::End;
                    Ok(Some(Some(Piece::End)))
                }
                Some(line) => Err(format!("{line:?} behind the last chunk")),
            },
            State::End => Ok(None),
        }
    }

    /// The next line, without its end.
    fn line(&mut self) -> Option<String> {
        let end = self.bytes.windows(2).position(|two| two == b"\r\n")?;
        let line: Vec<u8> = self.bytes.drain(..end + 2).collect();
        Some(String::from_utf8_lossy(&line[..end]).into_owned())
    }
}
