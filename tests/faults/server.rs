//! The server, from outside.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::matter::Kept;
use crate::serving::SERVE;

/// For everything that comes as soon as it can, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    process: Child,
    pid: Pid,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
}

/// What a server has open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) streams: u64,
    pub(crate) subscribers: u64,
    pub(crate) tasks: u64,
    pub(crate) descriptors: u64,
    pub(crate) resident: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            streams,
            subscribers,
            tasks,
            descriptors,
            resident,
        } = self;
        write!(
            f,
            "{streams} {subscribers} {tasks} {descriptors} {resident}"
        )
    }
}

impl Server {
    /// Starts this program again, as the server, for the so-manieth time.
    pub(crate) async fn start(directory: &Path, life: u64) -> Self {
        Self::start_as(
            "serving::serve",
            SERVE,
            &format!("{life} {}", directory.display()),
        )
        .await
    }

    pub(crate) async fn start_as(test: &str, variable: &str, value: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .args([test, "--exact", "--ignored", "--nocapture"])
            .env(variable, value)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("this program again");
        let stdout = process.stdout.take().expect("piped");
        let id = process.id().and_then(|id| i32::try_from(id).ok());
        let mut server = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            pid: id.and_then(Pid::from_raw).expect("a process"),
            stdin: process.stdin.take().expect("piped"),
            stdout: BufReader::new(stdout).lines(),
            process,
        };
        let address = server.told("listening on ").await;
        server.address = address.parse().expect("an address");
        server
    }

    /// What stands behind these words in the next line that has them. The test harness,
    /// whose output this is, may have begun the line.
    pub(crate) async fn told(&mut self, words: &str) -> String {
        let line = async {
            while let Some(line) = self.stdout.next_line().await.expect("UTF-8") {
                if let Some((_, told)) = line.split_once(words) {
                    return told.to_owned();
                }
            }
            panic!("the server ends and has not said {words:?}");
        };
        let line = timeout(PATIENCE, line).await;
        line.unwrap_or_else(|_| panic!("{words:?} is not said in time"))
    }

    pub(crate) async fn ask(&mut self, what: &str) -> String {
        let line = format!("{what}\n");
        let written = self.stdin.write_all(line.as_bytes()).await;
        written.expect("a server that reads");
        self.told("answer ").await
    }

    pub(crate) async fn figures(&mut self) -> Figures {
        let told = self.ask("figures").await;
        let mut numbers = told.split(' ').map(|word| word.parse().expect("a number"));
        let mut next = || numbers.next().expect("five numbers");
        Figures {
            streams: next(),
            subscribers: next(),
            tasks: next(),
            descriptors: next(),
            resident: next(),
        }
    }

    /// The id of the newest event of each store.
    pub(crate) async fn heads(&mut self) -> Vec<(Kept, String)> {
        let told = self.ask("heads").await;
        let ids = told.split(' ').map(str::to_owned);
        Kept::ALL.into_iter().zip(ids).collect()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).expect("a process that runs");
    }

    /// How many descriptors it may have from now on; as many as may be, or fewer.
    pub(crate) fn limit_descriptors(&self, most: Option<u64>) {
        let maximum = getrlimit(Resource::Nofile).maximum;
        let limit = Rlimit {
            current: most.or(maximum),
            maximum,
        };
        prlimit(Some(self.pid), Resource::Nofile, limit).expect("a process of ours");
    }

    pub(crate) async fn kill(&mut self) {
        self.signal(Signal::KILL);
        let status = timeout(PATIENCE, self.process.wait()).await;
        let status = status.expect("an end in time").expect("a child");
        assert_eq!(status.code(), None, "it was killed: {status}");
    }

    /// It ends by itself, in time, and well.
    pub(crate) async fn terminate(&mut self) {
        self.signal(Signal::TERM);
        self.told("ended ").await;
        let status = timeout(PATIENCE, self.process.wait()).await;
        let status = status.expect("an end in time").expect("a child");
        assert_eq!(status.code(), Some(0), "{status}");
    }

    /// It was told to end, and is killed, whichever it does first.
    pub(crate) async fn end_somehow(&mut self) {
        let _ = kill_process(self.pid, Signal::KILL);
        let status = timeout(PATIENCE, self.process.wait()).await;
        let status = status.expect("an end in time").expect("a child");
        assert!(matches!(status.code(), None | Some(0)), "{status}");
    }
}
