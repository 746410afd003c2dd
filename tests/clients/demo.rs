//! The demos of this crate, each a process of its own.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command as StdCommand, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::PATIENCE;
use crate::client::piped;
use crate::installed::target;

/// A running demo. Whoever drops it kills it.
pub(crate) struct Demo {
    pub(crate) url: String,
    process: Child,
    /// Kept open: a closed output is an error to who writes.
    _stdout: Lines<BufReader<ChildStdout>>,
}

impl Demo {
    /// Starts it on any port, with so many milliseconds between two events.
    pub(crate) async fn start(name: &str, every: &str) -> Self {
        Self::start_with(name, &["--every", every]).await
    }

    /// Starts it on any port, with these further arguments.
    pub(crate) async fn start_with(name: &str, args: &[&str]) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), name, args).await
    }

    /// Starts it where another one was.
    pub(crate) async fn start_at(address: SocketAddr, name: &str, args: &[&str]) -> Self {
        // Every test is to say what is missing, not only the first that builds.
        target();
        let program = tokio::task::spawn_blocking(|| &*BUILT).await;
        let mut command = Command::new(&program.expect("built")[name]);
        command.args(["--listen", &address.to_string()]).args(args);
        piped(&mut command).stderr(Stdio::inherit());
        // Where cargo runs elsewhere at the same time it may be replacing the program,
        // which then is not there for a moment.
        let end = Instant::now() + PATIENCE;
        let mut process = loop {
            match command.spawn() {
                Err(error) if error.kind() == ErrorKind::NotFound && Instant::now() < end => {
                    sleep(Duration::from_millis(10)).await;
                }
                process => break process.expect("the demo starts"),
            }
        };
        let mut stdout = BufReader::new(process.stdout.take().expect("piped")).lines();
        let line = timeout(PATIENCE, stdout.next_line()).await;
        let line = line.expect("in time").expect("readable").expect("a line");
        let url = line.strip_prefix("listening on ").expect(&line).to_owned();
        Self {
            url,
            process,
            _stdout: stdout,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.url["http://".len()..].parse().expect("an address")
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn stop(mut self) {
        let pid = self.process.id().expect("it runs").to_string();
        let kill = Command::new("kill").args(["-TERM", &pid]).status().await;
        assert!(kill.expect("kill starts").success());
        let status = timeout(PATIENCE, self.process.wait()).await;
        assert!(status.expect("in time").expect("waited for").success());
    }
}

#[cfg(feature = "websocket")]
const SOCKETS: &[&str] = &["--example", "websocket", "--features", "websocket"];
#[cfg(not(feature = "websocket"))]
const SOCKETS: &[&str] = &[];

#[cfg(feature = "redis")]
const DOCUMENT: &[&str] = &["--example", "document", "--features", "redis"];
#[cfg(not(feature = "redis"))]
const DOCUMENT: &[&str] = &[];

/// The programs of the demos, by name.
static BUILT: LazyLock<HashMap<String, PathBuf>> = LazyLock::new(|| {
    let output = StdCommand::new(env!("CARGO"))
        .args(["build", "--message-format=json", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .arg("--target-dir")
        .arg(target())
        .args(
            [
                "random",
                "fibonacci",
                "chat",
                "form",
                "dashboard",
                "weather",
            ]
            .map(|name| format!("--example={name}")),
        )
        .args(SOCKETS)
        .args(DOCUMENT)
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "the demos cannot be built");
    let programs = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let message: Value = serde_json::from_slice(line).ok()?;
            let program = message.get("executable")?.as_str()?.into();
            let name = message.get("target")?.get("name")?.as_str()?.to_owned();
            Some((name, program))
        });
    programs.collect()
});
