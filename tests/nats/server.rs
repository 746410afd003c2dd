//! A NATS server of our own, with its store in a folder of its own.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// For everything that comes as soon as it can, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    child: Option<Child>,
    port: u16,
    folder: PathBuf,
    config: PathBuf,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// With this as well in its configuration, where `FOLDER` is a folder of its own.
    pub(crate) fn with(config: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("tornadose-nats-{}-{number}", std::process::id());
        let folder = env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        let port = free_port();
        let here = folder.display().to_string();
        let config = config.replace("FOLDER", &here);
        let text = format!(
            "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{here}/store\" }}\n{config}\n"
        );
        let path = folder.join("server.conf");
        fs::write(&path, text).expect("written");
        let mut server = Self {
            child: None,
            port,
            folder,
            config: path,
        };
        server.restart();
        server
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it, and waits until JetStream is ready.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let log = fs::File::create(self.folder.join("log")).expect("a file");
        let child = Command::new(program("nats-server"))
            .arg("-c")
            .arg(&self.config)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.child = Some(child.expect("it starts"));
        let deadline = Instant::now() + PATIENCE;
        while !self.is_ready() {
            let exited = self.child.as_mut().map(|child| child.try_wait());
            assert!(
                matches!(exited, Some(Ok(None))) && Instant::now() < deadline,
                "{}",
                fs::read_to_string(self.folder.join("log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Says "Server is ready", behind JetStream.
    fn is_ready(&self) -> bool {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        log.contains("Server is ready")
    }

    /// Forgets everything that it has stored.
    pub(crate) fn wipe(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(self.folder.join("store"));
    }

    /// Puts its store aside, or back.
    pub(crate) fn save(&mut self) {
        self.kill();
        copy(&self.folder.join("store"), &self.folder.join("saved"));
    }

    pub(crate) fn restore(&mut self) {
        self.wipe();
        copy(&self.folder.join("saved"), &self.folder.join("store"));
    }

    /// Stops it as a machine that hangs, or lets it go on.
    pub(crate) fn signal(&self, name: &str) {
        let child = self.child.as_ref().expect("it runs");
        let done = Command::new("kill")
            .args([name, &child.id().to_string()])
            .status();
        assert!(done.expect("kill").success());
        if name == "-STOP" {
            let stat = format!("/proc/{}/stat", child.id());
            let deadline = Instant::now() + PATIENCE;
            while !fs::read_to_string(&stat)
                .expect("a process")
                .contains(") T ")
            {
                assert!(Instant::now() < deadline, "it does not stop");
                std::thread::yield_now();
            }
        }
    }

    pub(crate) fn peer(&self) -> Peer {
        Peer::connect(
            self.port,
            "{\"verbose\":false,\"headers\":true,\"no_responders\":true}",
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(done.expect("cp").success());
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}

/// The full path of a program, which Debian has in a folder that is not everybody's.
pub(crate) fn program(name: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("there is no {name}; run tests/install"))
}

/// Somebody else at the server: the protocol as it is written, without any client.
pub(crate) struct Peer {
    stream: BufReader<TcpStream>,
    number: u32,
}

impl Peer {
    pub(crate) fn connect(port: u16, options: &str) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a server");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let mut peer = Self {
            stream: BufReader::new(stream),
            number: 0,
        };
        assert!(peer.line().starts_with("INFO "));
        peer.write(format!("CONNECT {options}\r\nSUB answers.* 1\r\n").as_bytes());
        peer.sync();
        peer
    }

    /// Publishes, with these bytes as headers, and knows that the server has it.
    pub(crate) fn publish(&mut self, subject: &[u8], headers: Option<&[u8]>, data: &[u8]) {
        self.send(subject, "", headers, data);
        self.sync();
    }

    fn send(&mut self, subject: &[u8], reply: &str, headers: Option<&[u8]>, data: &[u8]) {
        let sizes = match headers {
            Some(headers) => format!("{} {}", headers.len(), headers.len() + data.len()),
            None => data.len().to_string(),
        };
        let verb = if headers.is_some() { "HPUB " } else { "PUB " };
        let head = format!(" {reply} {sizes}\r\n");
        let headers = headers.unwrap_or_default();
        let all = [
            verb.as_bytes(),
            subject,
            head.as_bytes(),
            headers,
            data,
            b"\r\n",
        ];
        self.write(&all.concat());
    }

    /// What JetStream answers to a request.
    pub(crate) fn call(&mut self, call: &str, body: &str) -> Value {
        self.request(&format!("$JS.API.{call}"), None, body.as_bytes())
    }

    /// What is answered to this.
    pub(crate) fn request(&mut self, subject: &str, headers: Option<&[u8]>, data: &[u8]) -> Value {
        self.number += 1;
        let reply = format!("answers.{}", self.number);
        self.send(subject.as_bytes(), &reply, headers, data);
        loop {
            let line = self.line();
            if line == "PING" {
                self.write(b"PONG\r\n");
            } else if line.contains(&format!("MSG {reply} ")) {
                let len = line.rsplit(' ').next().expect("a length");
                let mut body = vec![0; len.parse::<usize>().expect("a number") + 2];
                self.stream.read_exact(&mut body).expect("a body");
                return serde_json::from_slice(&body).unwrap_or_default();
            }
        }
    }

    fn sync(&mut self) {
        self.write(b"PING\r\n");
        loop {
            match self.line().as_str() {
                "PONG" => return,
                "PING" => self.write(b"PONG\r\n"),
                line => assert!(!line.starts_with("-ERR"), "{line}"),
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("sent");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a line");
        assert!(!line.is_empty(), "the server has hung up");
        line.trim_end().to_owned()
    }
}
