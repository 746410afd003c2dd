//! The document in two processes, with a Redis between them that is killed.
//!
//! What was taken, what is in the app's file and what a client was shown are counted
//! against each other: nothing is lost, nothing is there twice, nothing is out of its place.

use std::fs;

use serde_json::Value;

use super::document::{Folder, comment, get, stats, until};
use super::document_watch::{Told, Watch};
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
    let mut redis = Server::start();
    redis.kill();
    let mut site = Site::start("outbox", &redis.url());
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

    redis.again();
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

/// Redis takes the comment and says so too late: that it has it is not known, and it is
/// sent again.
#[test]
fn a_comment_of_which_nothing_is_known_is_sent_again_and_is_there_once() {
    let redis = Server::start();
    let mut site = Site::start("unknown", &redis.url());
    until(site.events, |told| told["is_available"] == true);
    let watch = Watch::start(site.events);
    site.says("before");
    watch.until_told("before");
    // Longer than the engine waits for an answer.
    let mut client = redis.client();
    let sleeping = thread::spawn(move || client.ask(&["DEBUG", "SLEEP", "5"]));
    thread::sleep(Duration::from_millis(300));
    for text in ["one", "two"] {
        site.says(text);
    }
    sleeping.join().expect("it wakes up");
    let told = watch.until_told("two");
    let texts = ["before", "one", "two"].map(str::to_owned);
    assert_eq!(told, texts.clone().map(Told::Comment));
    until(site.events, |told| told["submitted"] == 3);
    assert_eq!(site.written(), texts);
    assert_eq!(redis.stream("document").len(), 3);
    // It was so: the app has said it.
    site.app.process.0.kill().expect("killed");
    let stderr = site.app.stderr.take().expect("the first").join();
    let stderr = String::from_utf8(stderr.expect("read")).expect("UTF-8");
    assert!(
        stderr.contains("waits to be published: what keeps the log has not answered"),
        "{stderr}"
    );
}
