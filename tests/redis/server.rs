//! Real servers: each with a port and a folder of its own, killed when dropped.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tornadose::backplane::Redis;

pub(crate) struct Server {
    pub(crate) port: u16,
    dir: PathBuf,
    args: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// One that keeps nothing over its end.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// One that has written whatever it has answered.
    pub(crate) fn durable() -> Self {
        Self::with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// One that watches others, as this file says.
    pub(crate) fn sentinel(config: &std::path::Path) -> Self {
        Self::with(&[config.to_str().expect("a path"), "--sentinel"])
    }

    pub(crate) fn with(args: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tornadose-redis-{}-{count}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).expect("a folder");
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        let mut server = Self {
            port: 0,
            dir,
            args,
            child: None,
        };
        // Somebody else may take a port that was free.
        for _ in 0..20 {
            server.port = free_port();
            if server.try_again() {
                return server;
            }
        }
        panic!("redis-server does not start; tests/install installs it");
    }

    /// Starts it again, with what it has written.
    pub(crate) fn again(&mut self) {
        assert!(self.try_again(), "redis-server starts again");
    }

    fn try_again(&mut self) -> bool {
        let mut command = Command::new("redis-server");
        // The file of a configuration comes first, and a sentinel has no data.
        let is_sentinel = self.args.iter().any(|arg| arg == "--sentinel");
        if !is_sentinel {
            command.args(["--save", "", "--enable-debug-command", "yes"]);
        }
        command
            .args(&self.args)
            .args([
                "--bind",
                "127.0.0.1",
                "--port",
                &self.port.to_string(),
                "--dir",
            ])
            .arg(&self.dir)
            .stdout(Stdio::null());
        let mut child = command
            .spawn()
            .expect("redis-server, which tests/install installs");
        for _ in 0..1000 {
            if child.try_wait().expect("a child").is_some() {
                return false;
            }
            if self.is_ready() {
                self.child = Some(child);
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
        false
    }

    fn is_ready(&self) -> bool {
        let Some(mut client) = Client::connect(self.port) else {
            return false;
        };
        let answer = client.try_ask(&["PING"]);
        // With a password, too, it is there.
        answer.is_some_and(|answer| {
            let answer = answer.flat();
            answer.contains("PONG") || answer.contains("NOAUTH")
        })
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(crate) fn forget(&self) {
        let _ = std::fs::remove_dir_all(&self.dir);
        std::fs::create_dir_all(&self.dir).expect("a folder");
    }

    /// Takes so many bytes off the end of what it has written.
    pub(crate) fn cut(&self, bytes: u64) {
        let files = std::fs::read_dir(self.dir.join("appendonlydir")).expect("a folder");
        let newest = files
            .map(|file| file.expect("a file").path())
            .filter(|path| path.to_string_lossy().ends_with(".incr.aof"))
            .max()
            .expect("a file");
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(newest)
            .expect("a file");
        let len = file.metadata().expect("a length").len();
        file.set_len(len.saturating_sub(bytes)).expect("shorter");
    }

    pub(crate) fn dir(&self) -> &PathBuf {
        &self.dir
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// An engine of this server.
    pub(crate) fn redis(&self) -> Redis {
        Redis::new(&self.url()).expect("a URL")
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.port).expect("a connection")
    }

    /// Asks on a connection of its own; an error is a panic.
    pub(crate) fn ask(&self, words: &[&str]) -> Reply {
        self.client().ask(words)
    }

    /// What is in the stream, by another reader than ours: id, and fields in turn.
    pub(crate) fn stream(&self, key: &str) -> Vec<(String, Vec<String>)> {
        let entries = self.ask(&["XRANGE", key, "-", "+"]).list();
        entries
            .into_iter()
            .map(|entry| {
                let mut parts = entry.list().into_iter();
                let (id, fields) = parts.next().zip(parts.next()).expect("an entry");
                let fields = fields.list().into_iter().map(|field| field.text());
                (id.text(), fields.collect())
            })
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Looks until it is so; panics if it does not become so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A client of a few lines, so that what is found is not found by the code under test.
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(port: u16) -> Option<Self> {
        let tcp = TcpStream::connect(("127.0.0.1", port)).ok()?;
        tcp.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
        tcp.set_nodelay(true).ok()?;
        Some(Self(BufReader::new(tcp)))
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, words: &[&str]) -> Reply {
        match self.try_ask(words).expect("an answer") {
            Reply::Error(error) => panic!("{words:?}: {error}"),
            reply => reply,
        }
    }

    pub(crate) fn try_ask(&mut self, words: &[&str]) -> Option<Reply> {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.try_ask_bytes(&words)
    }

    pub(crate) fn try_ask_bytes(&mut self, words: &[&[u8]]) -> Option<Reply> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend(format!("${}\r\n", word.len()).bytes());
            request.extend(*word);
            request.extend(b"\r\n");
        }
        self.0.get_mut().write_all(&request).ok()?;
        self.read()
    }

    fn read(&mut self) -> Option<Reply> {
        let mut line = String::new();
        self.0.read_line(&mut line).ok().filter(|len| *len > 0)?;
        let (kind, rest) = line.trim_end().split_at(1);
        Some(match kind {
            "+" => Reply::Text(rest.as_bytes().to_vec()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Int(rest.parse().ok()?),
            "$" if rest == "-1" => Reply::Nil,
            "*" if rest == "-1" => Reply::Nil,
            "$" => {
                let len: usize = rest.parse().ok()?;
                let mut bytes = vec![0; len + 2];
                self.0.read_exact(&mut bytes).ok()?;
                bytes.truncate(len);
                Reply::Text(bytes)
            }
            "*" => {
                let len: usize = rest.parse().ok()?;
                Reply::List((0..len).map(|_| self.read()).collect::<Option<_>>()?)
            }
            other => panic!("an answer begins with {other:?}"),
        })
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    Nil,
    Int(i64),
    Text(Vec<u8>),
    Error(String),
    List(Vec<Self>),
}

impl Reply {
    #[track_caller]
    pub(crate) fn text(self) -> String {
        match self {
            Self::Text(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Self::Int(number) => number.to_string(),
            other => panic!("{other:?} is no text"),
        }
    }

    #[track_caller]
    pub(crate) fn list(self) -> Vec<Self> {
        match self {
            Self::List(replies) => replies,
            other => panic!("{other:?} is no list"),
        }
    }

    /// All texts in it, behind each other.
    pub(crate) fn flat(&self) -> String {
        match self {
            Self::Nil => String::new(),
            Self::Int(number) => number.to_string(),
            Self::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Error(error) => error.clone(),
            Self::List(replies) => replies.iter().map(|reply| reply.flat() + " ").collect(),
        }
    }
}
