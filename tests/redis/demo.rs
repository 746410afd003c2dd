//! The example, as a user starts it: twice, and both are one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use crate::server::Server;
use crate::words::KEY;

/// Cargo builds it with the tests only where all targets are wanted.
static BUILT: LazyLock<()> = LazyLock::new(|| {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "build",
        "--quiet",
        "--example",
        "redis",
        "--features",
        "redis",
    ]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    assert!(cargo.status().expect("cargo").success());
});

struct Demo(Child, String);

impl Demo {
    fn start(server: &Server) -> Self {
        LazyLock::force(&BUILT);
        let tests = std::env::current_exe().expect("a path");
        let built = tests
            .parent()
            .and_then(|deps| deps.parent())
            .expect("a folder");
        let mut child = Command::new(built.join("examples/redis"))
            .args(["--listen", "127.0.0.1:0", "--redis", &server.url()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let mut line = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let address = line.trim_end().strip_prefix("listening on http://");
        Self(child, address.expect(&line).to_owned())
    }

    fn ask(&self, request: &str) -> BufReader<TcpStream> {
        let mut tcp = TcpStream::connect(&self.1).expect("a connection");
        let patience = Some(Duration::from_secs(30));
        tcp.set_read_timeout(patience).expect("a time-out");
        tcp.write_all(request.as_bytes()).expect("sent");
        BufReader::new(tcp)
    }

    /// The status, and the id.
    fn post(&self, topic: &str, text: &str) -> (String, String) {
        let len = text.len();
        let mut answer = String::new();
        self.ask(&format!(
            "POST /topics/{topic} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             content-length: {len}\r\n\r\n{text}"
        ))
        .read_to_string(&mut answer)
        .expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head[9..12].to_owned(), body.trim_end().to_owned())
    }

    /// The next lines of data, and the id of the last one.
    fn read(stream: &mut BufReader<TcpStream>, count: usize) -> (Vec<String>, String) {
        let (mut data, mut id) = (Vec::new(), String::new());
        while data.len() < count {
            let mut line = String::new();
            assert!(
                stream.read_line(&mut line).expect("a line") > 0,
                "it has ended"
            );
            if let Some(text) = line.trim_end().strip_prefix("id: ") {
                id = text.to_owned();
            } else if let Some(text) = line.trim_end().strip_prefix("data: ") {
                data.push(text.to_owned());
            }
        }
        (data, id)
    }

    fn get(&self, id: &str) -> BufReader<TcpStream> {
        self.ask(&format!(
            "GET /events?topic=lobby HTTP/1.1\r\nhost: x\r\nlast-event-id: {id}\r\n\r\n"
        ))
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn two_of_them_are_one() {
    let mut server = Server::durable();
    let (one, two) = (Demo::start(&server), Demo::start(&server));
    let (status, first) = one.post("lobby", "a");
    assert_eq!(status, "201");
    assert_eq!(two.post("lobby", "b").0, "201");
    server.ask(&["XADD", KEY, "*", "topic", "lobby", "data", "c"]);
    server.ask(&["XADD", KEY, "*", "topic", "elsewhere", "data", "x"]);
    let mut stream = two.get(&first);
    let (data, id) = Demo::read(&mut stream, 2);
    assert_eq!(data, ["b", "c"]);
    // The process ends in the middle of a stream, and the client goes on at the other.
    drop(two);
    let mut stream = one.get(&id);
    assert_eq!(one.post("lobby", "d").0, "201");
    assert_eq!(Demo::read(&mut stream, 1).0, ["d"]);
    server.kill();
    // Unavailable, or sent before that was known.
    let (status, _) = one.post("lobby", "e");
    assert!(["503", "504"].contains(&&*status), "{status}");
    server.again();
    // Nothing is missing, and the stream has stayed.
    let stored = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        one.post("lobby", "f").0 == "201"
    });
    assert!(stored);
    assert_eq!(Demo::read(&mut stream, 1).0, ["f"]);
    assert_eq!(one.post("not//one", "x").0, "404");
}
