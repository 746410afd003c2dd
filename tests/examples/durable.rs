//! Topics whose log is in a file, killed and started again.

use std::path::PathBuf;

use super::*;

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = path.join(format!("durable-demo-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn start(&self) -> Demo {
        Demo::start("durable", &["--dir", self.0.to_str().expect("UTF-8")])
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Posts to a topic; returns the id.
fn post(demo: &Demo, topic: &str, text: &str, key: &str) -> String {
    let mut response = demo.ask(&format!(
        "POST /topics/{topic} HTTP/1.1\r\nhost: x\r\nIdempotency-Key: {key}\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    ));
    assert_eq!(response.status, "HTTP/1.1 201 Created");
    response.body()
}

#[test]
fn a_client_goes_on_after_a_kill() {
    let dir = Dir::new("kill");
    let mut id = String::new();
    let mut received = Vec::new();
    let mut expected = Vec::new();
    let mut value = String::new();
    for run in 0..4 {
        let demo = dir.start();
        let header = match id.as_str() {
            "" => String::new(),
            id => format!("Last-Event-ID: {id}\r\n"),
        };
        let mut stream = demo.get("/events?topic=lobby", &header);
        // What has come while the client was away, and what it sees come.
        received.extend(stream.events(expected.len() - received.len()));
        for n in 0..5 {
            let data = format!("{run} {n} Füße");
            let id = post(&demo, "lobby", &data, &format!("{run} {n}"));
            // Again, as if the answer had been lost.
            assert_eq!(post(&demo, "lobby", "other", &format!("{run} {n}")), id);
            expected.push((id, data));
            value = post(&demo, "value/oil", &n.to_string(), "");
        }
        let seen = stream.events(3);
        id = seen[2].id.clone();
        received.extend(seen);
        // The other two are stored and not seen.
        demo.signal("KILL");
    }
    let demo = dir.start();
    let mut stream = demo.get("/events?topic=lobby", &format!("Last-Event-ID: {id}\r\n"));
    received.extend(stream.events(2));
    let received: Vec<_> = received
        .into_iter()
        .map(|event| (event.id, event.data))
        .collect();
    assert_eq!(received, expected);
    // The first one that had the key of all of them.
    let current = demo.get("/events?topic=value/oil", "").event();
    assert_eq!((current.id, current.data.as_str()), (value, "0"));
}

#[test]
fn what_it_cannot_do_is_told_in_one_line() {
    let dir = Dir::new("told");
    let demo = dir.start();
    let path = dir.0.to_str().expect("UTF-8");
    for (args, code, words) in [
        (&[][..], 2, "--dir is missing"),
        (&["--dir"], 2, "--dir needs a value"),
        (
            &["--dir", "x", "--fsync-every", "soon"],
            2,
            "soon is not a number",
        ),
        (
            &["--dir", path],
            1,
            "cannot open the log: the log is in use",
        ),
        (
            &["--dir", "/proc/no/such"],
            1,
            "cannot open the log: the log cannot be read",
        ),
    ] {
        let output = run("durable", args);
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        let stderr = one_line(&output.stderr);
        assert!(
            stderr.starts_with("durable: ") && stderr.contains(words),
            "{stderr}"
        );
    }
    for path in ["/events", "/events?topic=%23", "/nothing"] {
        assert_eq!(demo.get(path, "").status, "HTTP/1.1 404 Not Found");
    }
}
