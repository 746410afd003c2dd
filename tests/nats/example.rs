//! The example, as a user starts it: two processes on one server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::PATIENCE;
use crate::server::Server;

/// Built as this test was; `cargo test --test nats` has not.
fn example() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["build", "--example=nats", "--no-default-features"]);
    cargo.arg("--message-format=json-render-diagnostics");
    for (feature, is_on) in [
        ("nats", true),
        ("hyper", cfg!(feature = "hyper")),
        ("json", cfg!(feature = "json")),
        ("websocket", cfg!(feature = "websocket")),
        ("axum", cfg!(feature = "axum")),
        ("metrics", cfg!(feature = "metrics")),
        ("tracing", cfg!(feature = "tracing")),
        ("detached", cfg!(feature = "detached")),
        ("full", cfg!(feature = "full")),
    ] {
        if is_on {
            cargo.args(["--features", feature]);
        }
    }
    let output = cargo.stdin(Stdio::null()).output().expect("cargo runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let messages = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
    let mut built = messages.filter_map(|message| {
        let message = message.expect("JSON");
        let path = message["executable"].as_str().map(PathBuf::from);
        path.filter(|_| message["target"]["name"] == "nats")
    });
    built.next().expect("an executable")
}

struct Node {
    child: Child,
    address: String,
}

impl Node {
    fn start(program: &PathBuf, url: &str) -> Self {
        let mut child = Command::new(program)
            .args(["--listen", "127.0.0.1:0"])
            .env("NATS_URL", url)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let line = stdout.lines().next().expect("a line").expect("text");
        let address = line.strip_prefix("listening on http://").expect(&line);
        Self {
            child,
            address: address.to_owned(),
        }
    }

    fn ask(&self, request: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.write_all(request.as_bytes()).expect("sent");
        BufReader::new(stream)
    }

    /// The status, and the id if it was stored.
    fn say(&self, topic: &str, text: &str) -> (String, String) {
        let len = text.len();
        let mut answer = String::new();
        self.ask(&format!(
            "POST /topics/{topic} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len}\r\n\r\n{text}"
        ))
        .read_to_string(&mut answer)
        .expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head[9..12].to_owned(), body.to_owned())
    }

    fn listen(&self, query: &str, id: &str) -> Stream {
        let last = if id.is_empty() {
            String::new()
        } else {
            format!("last-event-id: {id}\r\n")
        };
        let request = format!("GET /events?{query} HTTP/1.0\r\nhost: x\r\n{last}\r\n");
        Stream(self.ask(&request))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Stream(BufReader<TcpStream>);

impl Stream {
    /// The id, the name and the data of the next event.
    fn next(&mut self) -> [String; 3] {
        let mut event = <[String; 3]>::default();
        loop {
            let mut line = String::new();
            assert_ne!(
                self.0.read_line(&mut line).expect("in time"),
                0,
                "it has ended"
            );
            let line = line.trim_end();
            for (field, value) in ["id: ", "event: ", "data: "].iter().zip(&mut event) {
                if let Some(text) = line.strip_prefix(field) {
                    text.clone_into(value);
                }
            }
            if line.is_empty() && !event[2].is_empty() {
                return event;
            }
        }
    }
}

#[test]
fn two_processes_are_one_hub() {
    let program = example();
    let server = Server::start();
    let (one, two) = (
        Node::start(&program, &server.url()),
        Node::start(&program, &server.url()),
    );
    let mut stream = two.listen("topic=lobby&topic=garden", "");
    let mut expected = Vec::new();
    for (node, topic, text) in [
        (&one, "lobby", "hello"),
        (&two, "garden", "roses"),
        (&one, "lobby", "data: x"),
    ] {
        let (status, id) = node.say(topic, text);
        assert_eq!(status, "201");
        expected.push([id, topic.to_owned(), text.to_owned()]);
    }
    for event in &expected {
        assert_eq!(stream.next(), *event);
    }
    server
        .peer()
        .publish(b"tornadose.lobby", None, b"from elsewhere");
    assert_eq!(stream.next()[2], "from elsewhere");
    // Its process is gone, and the client goes on in the other one.
    drop((two, stream));
    assert_eq!(one.say("lobby", "meanwhile").0, "201");
    let mut stream = one.listen("topic=lobby&topic=garden", &expected[1][0]);
    assert_eq!(stream.next(), expected[2]);
    assert_eq!(stream.next()[2], "from elsewhere");
    assert_eq!(stream.next()[2], "meanwhile");
    assert_eq!(one.say("a//b", "x").0, "404");
    assert_eq!(one.say("lobby", &"x".repeat(20_000)).0, "413");
}

#[test]
fn a_server_that_is_not_there_is_told_without_its_address() {
    let program = example();
    let mut server = Server::start();
    server.kill();
    let url = server.url().replace("nats://", "nats://ann:s3cr3t@");
    let output = Command::new(program)
        .args(["--listen", "127.0.0.1:0"])
        .env("NATS_URL", url)
        .output()
        .expect("it starts");
    let told = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told.starts_with("nats: ") && !told.contains("s3cr3t") && !told.contains("127.0.0.1"),
        "{told}"
    );
}
