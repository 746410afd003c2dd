//! A client: a process of its own, which tells what it sees, one line of JSON each.

use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::installed::{node, program, python};
use crate::{PATIENCE, curl};

/// The clients that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A page in the browser.
    Chromium,
    /// The npm package `eventsource`.
    Npm,
    /// The `EventSource` of Node.js itself.
    Node,
    /// The Python package `httpx-sse`, which leaves the reconnecting to its user.
    Httpx,
    /// curl, which does so, too, and does not read events either.
    Curl,
}

impl Kind {
    /// Whether it takes over an id that stands in a block without data, as WHATWG
    /// HTML, 9.2.6 says: then it loses nothing if it is cut off before its first event.
    pub(crate) fn keeps_the_id_of_no_event(self) -> bool {
        self != Self::Npm
    }

    /// Whether it comes back after an attempt that was refused, as WHATWG HTML, 9.2.3
    /// says. Node.js does not as long as it bundles undici 6 (seen with 6.24.1 and
    /// 6.29.1; 7.30.2 does).
    pub(crate) fn keeps_trying(self) -> bool {
        self != Self::Node
    }
}

/// What a client tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Who it is.
    Hello(String),
    /// A stream has begun.
    Open,
    /// The stream is lost, or none could be had.
    Lost { comes_back: bool },
    /// An event was dispatched.
    Event(Seen),
    /// What a demo's page shows its reader.
    Shown(String),
    /// What happens on one of several connections.
    Report(Value),
}

/// An event as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) name: String,
    pub(crate) data: String,
    pub(crate) id: String,
}

impl Told {
    /// Reads a line as `follow.cjs` describes it.
    fn read(line: &str) -> Option<Self> {
        let line: Value = serde_json::from_str(line).ok()?;
        let text = |key| line.get(key)?.as_str().map(str::to_owned);
        if line.get("on").is_some() {
            Some(Self::Report(line))
        } else if let (Some(name), Some(data), Some(id)) = (text("type"), text("data"), text("id"))
        {
            Some(Self::Event(Seen { name, data, id }))
        } else if let (Some(client), Some(version)) = (text("client"), text("version")) {
            Some(Self::Hello(format!("{client} {version}")))
        } else if let Some(ready_state) = line.get("error") {
            let comes_back = ready_state.as_u64()? == 0;
            Some(Self::Lost { comes_back })
        } else if let Some(shown) = text("shown") {
            Some(Self::Shown(shown))
        } else {
            line.get("open").map(|_| Self::Open)
        }
    }
}

/// A running client. Whoever drops it kills it.
pub(crate) struct Client {
    /// Its name and version.
    pub(crate) name: String,
    told: mpsc::UnboundedReceiver<Told>,
    history: Vec<Told>,
    /// What it has written to its standard error.
    complaints: Arc<Mutex<String>>,
    /// Its process; curl has a new one for each stream, which its task holds.
    process: Option<Child>,
    tasks: JoinSet<()>,
}

impl Client {
    /// Starts it at a server: the browser at its page, the others at its stream.
    pub(crate) async fn start(kind: Kind, server: &str) -> Self {
        Self::begin(kind, server, &[]).await
    }

    /// The same at a demo, whose page has to be read, too.
    pub(crate) async fn start_at_demo(kind: Kind, server: &str) -> Self {
        Self::begin(kind, server, &["demo"]).await
    }

    async fn begin(kind: Kind, server: &str, page: &[&str]) -> Self {
        let events = format!("{server}/events");
        match kind {
            Kind::Curl => {
                let (mut client, send) = Self::new();
                client.tasks.spawn(curl::follow(events, send));
                client.greeted().await
            }
            Kind::Chromium => {
                let mut command = node("chromium.cjs");
                command.arg(program("chromium")).arg(server).args(page);
                Self::run(&mut command).await
            }
            Kind::Npm => Self::run(node("eventsource.cjs").arg(events)).await,
            Kind::Node => Self::run(node("node.cjs").arg(events)).await,
            Kind::Httpx => Self::run(python("httpx_client.py").arg(events)).await,
        }
    }

    /// Starts this program as a client.
    pub(crate) async fn run(command: &mut Command) -> Self {
        let (mut client, send) = Self::new();
        client.spawn(command, send);
        client.greeted().await
    }

    fn new() -> (Self, mpsc::UnboundedSender<Told>) {
        let (send, told) = mpsc::unbounded_channel();
        let client = Self {
            name: "a client".to_owned(),
            told,
            history: Vec::new(),
            complaints: Arc::default(),
            process: None,
            tasks: JoinSet::new(),
        };
        (client, send)
    }

    async fn greeted(mut self) -> Self {
        match self.next(soon()).await {
            Told::Hello(name) => self.name = name,
            told => self.fail(&format!("began with {told:?}")),
        }
        self
    }

    fn spawn(&mut self, command: &mut Command, send: mpsc::UnboundedSender<Told>) {
        let mut process = piped(command)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}; run tests/install"));
        let mut stdout = BufReader::new(process.stdout.take().expect("piped")).lines();
        let mut stderr = process.stderr.take().expect("piped");
        self.process = Some(process);

        let complaints = Arc::clone(&self.complaints);
        self.tasks.spawn(async move {
            let mut piece = [0; 4096];
            while let Ok(len @ 1..) = stderr.read(&mut piece).await {
                let text = String::from_utf8_lossy(&piece[..len]);
                complaints.lock().expect("no panic").push_str(&text);
            }
        });
        let complaints = Arc::clone(&self.complaints);
        self.tasks.spawn(async move {
            while let Ok(Some(line)) = stdout.next_line().await {
                match Told::read(&line) {
                    Some(told) => drop(send.send(told)),
                    None => complaints.lock().expect("no panic").push_str(&line),
                }
            }
        });
    }

    /// The next thing that it tells, until then.
    async fn next(&mut self, end: Instant) -> Told {
        match timeout_at(end, self.told.recv()).await {
            Ok(Some(told)) => {
                self.history.push(told.clone());
                told
            }
            Ok(None) => self.fail("has ended"),
            Err(_) => self.fail("does not tell in time what is expected"),
        }
    }

    /// Waits until a stream has begun. There is no event before that.
    pub(crate) async fn open(&mut self) {
        let end = soon();
        loop {
            match self.next(end).await {
                Told::Open => return,
                Told::Lost { comes_back: true } | Told::Shown(_) => {}
                told => self.fail(&format!("should open a stream, but told {told:?}")),
            }
        }
    }

    /// Waits until it has lost its stream, or could not have one. There is no event
    /// before that.
    pub(crate) async fn lost(&mut self) {
        let end = soon();
        loop {
            match self.next(end).await {
                Told::Lost { comes_back: true } => return,
                Told::Open | Told::Shown(_) => {}
                told => self.fail(&format!("should lose its stream, but told {told:?}")),
            }
        }
    }

    /// Waits until it tells this, whatever else it tells before.
    pub(crate) async fn until(&mut self, expected: &Told) {
        let end = soon();
        while self.next(end).await != *expected {}
    }

    /// The next event that it tells of.
    pub(crate) async fn event(&mut self) -> Seen {
        let end = soon();
        loop {
            match self.next(end).await {
                Told::Event(seen) => return seen,
                Told::Open | Told::Shown(_) | Told::Lost { comes_back: true } => {}
                told => self.fail(&format!("should get an event, but told {told:?}")),
            }
        }
    }

    /// The next text that a demo's page shows its reader.
    pub(crate) async fn shown(&mut self) -> String {
        let end = soon();
        loop {
            match self.next(end).await {
                Told::Shown(text) => return text,
                Told::Open | Told::Event(_) => {}
                told => self.fail(&format!("should show a value, but told {told:?}")),
            }
        }
    }

    /// The next report of what happens on one of several connections.
    pub(crate) async fn report(&mut self) -> Value {
        match self.next(soon()).await {
            Told::Report(report) => report,
            told => self.fail(&format!("should report, but told {told:?}")),
        }
    }

    /// Writes a line to its standard input.
    pub(crate) async fn write(&mut self, line: &str) {
        let process = self.process.as_mut().expect("a process of its own");
        let stdin = process.stdin.as_mut().expect("piped");
        let line = format!("{line}\n");
        stdin.write_all(line.as_bytes()).await.expect("it reads");
    }

    /// Lets it end, which it does cleanly, and returns everything that it told.
    pub(crate) async fn quit(mut self) -> Vec<Told> {
        if let Some(mut process) = self.process.take() {
            // It ends with its standard input, which `wait` closes.
            let Ok(status) = timeout(PATIENCE, process.wait()).await else {
                self.fail("does not end");
            };
            let status = status.expect("waited for");
            if !status.success() {
                self.fail(&format!("ended with {status}"));
            }
            // The rest of what it told.
            while timeout(PATIENCE, self.tasks.join_next())
                .await
                .is_ok_and(|task| task.is_some())
            {}
        }
        self.tasks.shutdown().await;
        while let Ok(told) = self.told.try_recv() {
            self.history.push(told);
        }
        std::mem::take(&mut self.history)
    }

    pub(crate) fn fail(&self, what: &str) -> ! {
        let history = self.history.iter().rev().take(30).rev();
        let history: Vec<_> = history
            .map(|told| {
                format!("\n  {told:?}")
                    .chars()
                    .take(200)
                    .collect::<String>()
            })
            .collect();
        panic!(
            "{} {what}\nit told last:{}\nand complained:\n{}",
            self.name,
            history.concat(),
            self.complaints.lock().expect("no panic")
        );
    }
}

/// When patience ends that begins now.
fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// A command that ends with us and whose output is ours.
pub(crate) fn piped(command: &mut Command) -> &mut Command {
    command
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "127.0.0.1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
}
