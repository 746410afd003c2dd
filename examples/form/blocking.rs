//! A small web server without `async`: a thread for each request, and a bound on
//! everything that a client decides.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::complain;

/// How many requests are answered at the same time. A connection beyond is closed.
const MAX_THREADS: usize = 64;

/// How long a head and a body may be, in bytes.
const MAX_HEAD: usize = 8 << 10;
const MAX_BODY: usize = 64 << 10;

/// How long a request may take to come, and an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much of what comes behind a request that was refused is read, so that its client
/// gets to see the answer, and for how long.
const MAX_REST: usize = 1 << 20;
const REST_PATIENCE: Duration = Duration::from_secs(1);

/// How long we wait when a connection cannot be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(75);

/// A request.
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        Some(value)
    }
}

/// An answer: what its status line and its headers say, and a body.
pub(crate) struct Answer {
    status: &'static str,
    headers: String,
    body: String,
}

impl Answer {
    pub(crate) fn ok(kind: &str, body: String) -> Self {
        Self {
            status: "200 OK",
            headers: format!("content-type: {kind}\r\ncache-control: no-store\r\n"),
            body,
        }
    }

    pub(crate) fn text(status: &'static str, body: &str) -> Self {
        Self {
            status,
            headers: "content-type: text/plain; charset=utf-8\r\n".to_owned(),
            body: body.to_owned(),
        }
    }

    pub(crate) fn see_other(place: &'static str) -> Self {
        Self {
            status: "303 See Other",
            headers: format!("location: {place}\r\n"),
            body: String::new(),
        }
    }

    pub(crate) fn not_allowed(allowed: &'static str) -> Self {
        let mut answer = Self::text("405 Method Not Allowed", "method not allowed\n");
        answer.headers += &format!("allow: {allowed}\r\n");
        answer
    }

    fn bytes(&self, is_head: bool) -> Vec<u8> {
        let Self {
            status,
            headers,
            body,
        } = self;
        let length = body.len();
        let mut text = format!(
            "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n"
        );
        if !is_head {
            text += body;
        }
        text.into_bytes()
    }
}

/// Answers what comes, as long as the process lives.
pub(crate) fn serve<F>(listener: &TcpListener, answer: F)
where
    F: Fn(&Asked) -> Answer + Send + Sync + 'static,
{
    let (answer, running) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
    loop {
        let connection = match listener.accept() {
            Ok((connection, _)) => connection,
            Err(error) => {
                complain(format_args!("cannot accept a connection: {error}"));
                thread::sleep(ACCEPT_PAUSE);
                continue;
            }
        };
        let place = Place::take(&running);
        let answer = Arc::clone(&answer);
        let talk = move || {
            // An error means that the client has left, which clients do.
            let _ = talk(connection, |asked| answer(asked));
            drop(place);
        };
        // Where it is not called, it is dropped, and the connection with it.
        if running.load(Ordering::Relaxed) <= MAX_THREADS {
            let _ = thread::Builder::new().spawn(talk);
        }
    }
}

/// A thread that counts as running.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(running: &Arc<AtomicUsize>) -> Self {
        running.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(running))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One request, one answer, and the connection ends.
fn talk(mut connection: TcpStream, answer: impl Fn(&Asked) -> Answer) -> io::Result<()> {
    connection.set_write_timeout(Some(PATIENCE))?;
    let (answer, is_head) = match read(&mut connection)? {
        Ok(asked) => (answer(&asked), asked.method == "HEAD"),
        Err(status) => (Answer::text(status, &format!("{status}\n")), false),
    };
    connection.write_all(&answer.bytes(is_head))?;
    connection.shutdown(Shutdown::Write)?;

    // A connection that is closed before all of it was read is reset, and the answer with it.
    let end = Instant::now() + REST_PATIENCE;
    let mut rest = [0; 4096];
    for _ in 0..MAX_REST / rest.len() {
        if read_some(&mut connection, &mut rest, end)? == 0 {
            break;
        }
    }
    Ok(())
}

/// Reads a request, or says with which status it is refused.
fn read(connection: &mut TcpStream) -> io::Result<Result<Asked, &'static str>> {
    let end = Instant::now() + PATIENCE;
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    let body_at = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if bytes.len() > MAX_HEAD {
            return Ok(Err("431 Request Header Fields Too Large"));
        }
        match read_some(connection, &mut piece, end)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&piece[..count]),
        }
    };
    if body_at > MAX_HEAD {
        return Ok(Err("431 Request Header Fields Too Large"));
    }
    let Some(mut asked) = head(&bytes[..body_at]) else {
        return Ok(Err("400 Bad Request"));
    };
    if asked.header("transfer-encoding").is_some() {
        return Ok(Err("411 Length Required"));
    }
    let length = match asked.header("content-length").map(str::parse::<usize>) {
        None => 0,
        Some(Ok(length)) if length <= MAX_BODY => length,
        Some(Ok(_)) => return Ok(Err("413 Content Too Large")),
        Some(Err(_)) => return Ok(Err("400 Bad Request")),
    };
    if asked.header("expect").is_some() {
        connection.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    asked.body = bytes.split_off(body_at);
    while asked.body.len() < length {
        match read_some(connection, &mut piece, end)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => asked.body.extend_from_slice(&piece[..count]),
        }
    }
    asked.body.truncate(length);
    Ok(Ok(asked))
}

/// Reads what there is, by this time at the latest.
fn read_some(connection: &mut TcpStream, into: &mut [u8], end: Instant) -> io::Result<usize> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    connection.set_read_timeout(Some(left))?;
    connection.read(into)
}

/// The head of a request, if it is one of HTTP/1.
fn head(bytes: &[u8]) -> Option<Asked> {
    let text = str::from_utf8(bytes).ok()?;
    let mut lines = text.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || !matches!(version, "HTTP/1.0" | "HTTP/1.1") {
        return None;
    }
    let headers = lines.filter(|line| !line.is_empty()).map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.trim().to_owned()))
    });
    Some(Asked {
        method: method.to_owned(),
        target: target.to_owned(),
        headers: headers.collect::<Option<_>>()?,
        body: Vec::new(),
    })
}
