//! The document in two processes, with a Redis between them that is killed.
//!
//! What was taken, what is in the app's file and what a client was shown are counted
//! against each other: nothing is lost, nothing is there twice, nothing is out of its place.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::document::{Folder, comment, get, stats, until};
use super::server::{Server, free_port};
use super::*;

/// The app and the event server.
struct Site {
    redis: String,
    folder: Folder,
    /// Where the events are, also after a restart.
    events: SocketAddr,
    app: Demo,
    event_server: Option<Demo>,
}

impl Site {
    fn start(name: &str, redis: &str) -> Self {
        let folder = Folder::new(name);
        let events = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let app = app(redis, &folder, &[]);
        let mut site = Self {
            redis: redis.to_owned(),
            folder,
            events,
            app,
            event_server: None,
        };
        site.start_events();
        site
    }

    /// Starts the event server, where it was.
    fn start_events(&mut self) {
        let (app, listen) = (self.app.addr.to_string(), self.events.to_string());
        let args = [
            "events",
            "--redis",
            &self.redis,
            "--app",
            &app,
            "--listen",
            &listen,
        ];
        self.event_server = Some(Demo::start("document", &args));
    }

    /// SIGKILL, and a new one with the same files in its place.
    fn restart_app(&mut self) {
        let listen = self.app.addr.to_string();
        let kill = self.app.process.0.kill();
        kill.expect("killed");
        self.app.process.wait();
        self.app = app(&self.redis, &self.folder, &["--listen", &listen]);
    }

    /// What is in the app's file: the texts, in their order.
    fn written(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.0.join("comments.jsonl")).expect("a file");
        let lines = text.lines().map(|line| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            line["text"].as_str().expect("a text").to_owned()
        });
        lines.collect()
    }

    fn says(&self, text: &str) {
        let begun = Instant::now();
        let response = comment(self.app.addr, "welcome", &format!("text={text}"));
        assert_eq!(response.status, "HTTP/1.1 303 See Other");
        // Redis is not waited for: it is given three seconds to answer.
        assert!(
            begun.elapsed() < Duration::from_millis(2500),
            "{:?}",
            begun.elapsed()
        );
    }
}

fn app(redis: &str, folder: &Folder, more: &[&str]) -> Demo {
    let dir = folder.0.to_str().expect("a path");
    let args = [&["app", "--redis", redis, "--dir", dir], more].concat();
    Demo::start("document", &args)
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Comment(String),
    Gap(String),
}

/// A client that comes back with its id, as a browser does.
struct Watch {
    told: Arc<Mutex<Vec<Told>>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Follows the page, and waits until it does.
    fn start(events: SocketAddr) -> Self {
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

    fn told(&self) -> Vec<Told> {
        self.told.lock().expect("not poisoned").clone()
    }

    fn until_told(&self, text: &str) -> Vec<Told> {
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

#[test]
fn a_redis_that_keeps_what_it_has_loses_and_doubles_nothing() {
    let mut redis = Server::durable();
    let mut site = Site::start("durable", &redis.url());
    until(site.events, |told| told["is_available"] == true);
    let watches: Vec<_> = (0..3).map(|_| Watch::start(site.events)).collect();
    let said = say_while(&mut site, 240, |site, at| match at {
        // While it is killed and started again, comments go on.
        20 | 90 | 150 => redis.kill(),
        50 | 110 | 160 => redis.again(),
        // What the app writes is not what Redis has yet.
        100 | 155 => site.restart_app(),
        // And who watches has to come back.
        60 | 130 | 152 => site.event_server = None,
        75 | 140 | 158 => site.start_events(),
        _ => {}
    });
    assert_eq!(site.written(), said, "what was taken is in the file, once");
    let comments: Vec<_> = said.iter().cloned().map(Told::Comment).collect();
    for watch in &watches {
        let told = watch.until_told(said.last().expect("many"));
        assert_eq!(told, comments, "each, once, in its place, and no gap");
    }
    // So it is for who looks at Redis.
    let entries = redis.stream("document");
    assert_eq!(entries.len(), said.len());
    // Who comes later is told what there is: the newest.
    let late = Watch::start(site.events).until_told(said.last().expect("many"));
    assert_eq!(late, comments[comments.len() - 200..]);
}

#[test]
fn a_redis_that_keeps_nothing_is_told_as_a_gap() {
    let mut redis = Server::start();
    let mut site = Site::start("lossy", &redis.url());
    until(site.events, |told| told["is_available"] == true);
    let watches: Vec<_> = (0..3).map(|_| Watch::start(site.events)).collect();
    let said = say_while(&mut site, 240, |site, at| match at {
        30 | 90 | 150 => redis.kill(),
        45 | 100 | 160 => redis.again(),
        95 => site.restart_app(),
        125 => site.event_server = None,
        140 => site.start_events(),
        _ => {}
    });
    assert_eq!(site.written(), said, "what was taken is in the file, once");
    for watch in &watches {
        let told = watch.until_told(said.last().expect("many"));
        let gaps = judge(&told, &said);
        assert!(gaps >= 1, "the log was begun anew, and nobody was told");
    }
}

/// Judges that each comment was shown in its place, or that a gap was told where it stood;
/// returns how many gaps there were. Redis may be killed between giving a comment to who
/// watches and saying that it has it: then it is published again, and is there twice in two
/// logs, with a gap between them. The page knows it by its key.
fn judge(told: &[Told], said: &[String]) -> usize {
    let (mut next, mut gaps, mut is_told) = (0, 0, false);
    for what in told {
        match what {
            Told::Gap(reason) => {
                assert!(
                    ["epoch", "diverged", "evicted", "ahead"].contains(&reason.as_str()),
                    "{reason}"
                );
                gaps += 1;
                is_told = true;
            }
            Told::Comment(text) => {
                let at = said.iter().position(|one| one == text).expect("was said");
                if at + 1 == next && is_told {
                    // Again, in the new log.
                    is_told = false;
                    continue;
                }
                assert!(at >= next, "{text} is there twice, or late: {told:?}");
                assert!(
                    at == next || is_told,
                    "{at} after {next}, and no gap: {told:?}"
                );
                next = at + 1;
                is_told = false;
            }
        }
    }
    assert_eq!(next, said.len(), "the last one was shown");
    gaps
}

/// Says so many things, and lets something happen before some of them.
fn say_while(
    site: &mut Site,
    count: usize,
    mut happens: impl FnMut(&mut Site, usize),
) -> Vec<String> {
    let mut said = Vec::new();
    for at in 0..count {
        happens(site, at);
        let text = format!("comment-{at}");
        site.says(&text);
        said.push(text);
    }
    said
}

#[test]
fn what_was_written_without_redis_is_published_by_the_next_app() {
    let port = free_port();
    let url = format!("redis://127.0.0.1:{port}");
    let mut site = Site::start("outbox", &url);
    // Nobody has ever reached Redis: comments are taken, and who wants to watch is asked
    // to come back, with a status that a browser comes back after.
    for text in ["one", "two"] {
        site.says(text);
    }
    site.restart_app();
    site.says("three");
    assert_eq!(stats(site.events)["is_available"], false);
    let mut stream = get(site.events, "/events?page=welcome", "");
    assert_eq!(stream.status, "HTTP/1.1 200 OK");
    assert_retry(&stream.rest());

    let redis = Server::at(port);
    let told = Watch::start(site.events).until_told("three");
    let comments = ["one", "two", "three"].map(|text| Told::Comment(text.to_owned()));
    assert_eq!(told, comments);
    // The next app knows that they are published.
    site.restart_app();
    site.says("four");
    until(site.events, |told| told["submitted"] == 4);
    assert_eq!(redis.stream("document").len(), 4);
}

#[test]
fn without_the_app_nobody_new_is_let_in_and_who_is_there_stays() {
    let redis = Server::start();
    let mut site = Site::start("away", &redis.url());
    until(site.events, |told| told["is_available"] == true);
    let watch = Watch::start(site.events);
    site.app.process.0.kill().expect("killed");
    site.app.process.wait();
    let mut refused = get(site.events, "/events?page=welcome", "");
    assert_eq!(refused.status, "HTTP/1.1 200 OK");
    assert_retry(&refused.rest());
    assert_eq!(stats(site.events)["subscribers"], 1);
    site.restart_app();
    site.says("back");
    assert_eq!(watch.until_told("back"), [Told::Comment("back".to_owned())]);
    assert_eq!(
        get(site.events, "/events?page=nothing", "").status,
        "HTTP/1.1 404 Not Found"
    );
}
