//! A client of the document that goes on wherever it was, whatever happens to the servers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::*;

/// What a client is told.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Told {
    Comment(String),
    Gap(String),
}

/// A client that comes back with its id, as a browser does.
pub(super) struct Watch {
    told: Arc<Mutex<Vec<Told>>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Follows the page, and waits until it does.
    pub(super) fn start(events: SocketAddr) -> Self {
        let (told, ends) = (
            Arc::<Mutex<Vec<Told>>>::default(),
            Arc::new(AtomicBool::new(false)),
        );
        let (live, is_live) = mpsc::channel();
        let thread = thread::spawn({
            let (told, ends) = (Arc::clone(&told), Arc::clone(&ends));
            move || {
                let mut last = String::new();
                while !ends.load(Ordering::Relaxed) {
                    let told = |what| told.lock().expect("not poisoned").push(what);
                    // Whatever ends it, it comes back.
                    let _ = follow(events, &mut last, &ends, &told, &|| {
                        let _ = live.send(());
                    });
                    thread::sleep(Duration::from_millis(50));
                }
            }
        });
        is_live.recv_timeout(PATIENCE).expect("it follows");
        Self {
            told,
            ends,
            thread: Some(thread),
        }
    }

    pub(super) fn told(&self) -> Vec<Told> {
        self.told.lock().expect("not poisoned").clone()
    }

    pub(super) fn until_told(&self, text: &str) -> Vec<Told> {
        let end = Instant::now() + PATIENCE;
        let it = Told::Comment(text.to_owned());
        while !self.told().contains(&it) {
            assert!(Instant::now() < end, "no {text} in {:?}", self.told());
            thread::sleep(Duration::from_millis(10));
        }
        self.told()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            ended.expect("once").expect("it does not panic");
        }
    }
}

/// One connection, of HTTP/1.0: its body is the stream.
fn follow(
    events: SocketAddr,
    last: &mut String,
    ends: &AtomicBool,
    told: &dyn Fn(Told),
    live: &dyn Fn(),
) -> std::io::Result<()> {
    let stream = TcpStream::connect(events)?;
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    let id = match last.as_str() {
        "" => String::new(),
        id => format!("Last-Event-ID: {id}\r\n"),
    };
    let request = format!("GET /events?page=welcome HTTP/1.0\r\n{id}\r\n");
    (&stream).write_all(request.as_bytes())?;
    let mut reader = BufReader::new(stream);
    let (mut line, mut id, mut name, mut data) = (Vec::new(), None, String::new(), None);
    let mut is_head = true;
    while !ends.load(Ordering::Relaxed) {
        match reader.read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) if line.ends_with(b"\n") => {}
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        let text = String::from_utf8(std::mem::take(&mut line)).expect("UTF-8");
        let text = text.trim_end_matches(['\r', '\n']);
        if is_head {
            is_head = !text.is_empty();
        } else if let Some(value) = text.strip_prefix("id: ") {
            id = Some(value.to_owned());
            // Somebody has let us in who knows the log.
            live();
        } else if let Some(value) = text.strip_prefix("event: ") {
            value.clone_into(&mut name);
        } else if let Some(value) = text.strip_prefix("data: ") {
            data = Some(value.to_owned());
        } else if text.is_empty() {
            if let Some(id) = id.take() {
                *last = id;
            }
            if let Some(data) = data.take() {
                let data: Value = serde_json::from_str(&data).expect("JSON");
                let part = |name: &str| data[name].as_str().expect(name).to_owned();
                told(match name.as_str() {
                    "gap" => Told::Gap(part("reason")),
                    _ => Told::Comment(part("text")),
                });
            }
            name.clear();
        }
    }
    Ok(())
}
