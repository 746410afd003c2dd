//! A run: a server, clients that come back, faults, and a verdict.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::client::{Act, Pace, Seen, Session, TARGETS, Target};
use crate::crowd::Crowd;
use crate::faults::{Fault, deck};
use crate::history::{Fault as Noted, Id, Sample};
use crate::judge::{Evidence, InFile, Verdict};
use crate::matter::{Kept, now};
use crate::server::{PATIENCE, Server};
use crate::serving::WAYS;
use tornadose::test::{Cut, Proxy, Script};

/// So many clients ask for each target; the last of them is slow.
const CLIENTS: usize = 3;

/// More than a server with so few streams needs, whatever happens to it.
const MOST_RESIDENT: u64 = 256 << 10;

/// What a run has done.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) faults: BTreeMap<Fault, u64>,
    pub(crate) verdict: Verdict,
    pub(crate) connections: u64,
    pub(crate) lives: u64,
    pub(crate) resident: u64,
    pub(crate) took: Duration,
}

impl Report {
    pub(crate) fn add(&mut self, other: Self) {
        for (fault, times) in other.faults {
            *self.faults.entry(fault).or_default() += times;
        }
        for (reason, times) in other.verdict.gaps {
            *self.verdict.gaps.entry(reason).or_default() += times;
        }
        self.verdict.violations.extend(other.verdict.violations);
        self.verdict.deliveries += other.verdict.deliveries;
        self.connections += other.connections;
        self.lives += other.lives;
        self.resident = self.resident.max(other.resident);
        self.took += other.took;
    }

    pub(crate) fn count(&self) -> u64 {
        self.faults.values().sum()
    }

    /// What it was, and in the last line how much.
    pub(crate) fn print(&self) {
        for (fault, times) in &self.faults {
            println!("{times:>6} {}", fault.name());
        }
        println!(
            "{} connections to {} servers in {:.0?}, at most {} MiB each; gaps: {:?}",
            self.connections,
            self.lives,
            self.took,
            self.resident >> 10,
            self.verdict.gaps,
        );
        println!(
            "{} faults of {} kinds, {} deliveries, {} violations",
            self.count(),
            self.faults.len(),
            self.verdict.deliveries,
            self.verdict.violations.len(),
        );
    }
}

/// A session in this process, and how to get at it.
pub(crate) struct Client {
    target: Target,
    seen: Arc<Seen>,
    acts: mpsc::UnboundedSender<Act>,
    pub(crate) proxy: Proxy,
    session: JoinHandle<()>,
}

impl Client {
    async fn start(session: Session, server: SocketAddr) -> Self {
        let proxy = Proxy::to(server).await.expect("a free port");
        let (acts, told) = mpsc::unbounded_channel();
        let session = Session {
            server: proxy.address(),
            ..session
        };
        Self {
            target: session.target,
            seen: Arc::clone(&session.seen),
            acts,
            proxy,
            session: tokio::spawn(session.run(told)),
        }
    }

    pub(crate) fn act(&self, act: Act) {
        self.acts.send(act).expect("it does not leave by itself");
    }

    /// What becomes of its connections from now on; it gets a new one at once.
    pub(crate) fn follow(&self, script: Script) {
        self.proxy.follow(script);
        self.seen.sound.store(u64::MAX, Ordering::SeqCst);
        self.proxy.cut(Cut::Reset);
    }

    /// The same; and of each of its connections only so many bytes are sound.
    pub(crate) fn follow_damaged(&self, script: Script, sound: u64) {
        self.seen.sound.store(sound, Ordering::SeqCst);
        self.proxy.follow(script);
        self.proxy.cut(Cut::Reset);
    }
}

pub(crate) struct Run {
    pub(crate) random: fastrand::Rng,
    pub(crate) server: Server,
    pub(crate) clients: Vec<Client>,
    pub(crate) crowd: Crowd,
    directory: PathBuf,
    life: u64,
    in_file: InFile,
    report: Report,
    notes: Vec<Noted>,
    samples: Vec<Sample>,
}

impl Run {
    /// Inflicts so many faults of these kinds, heals everything, and judges.
    pub(crate) async fn of(seed: u64, times: usize, kinds: &[Fault]) -> Report {
        let began = Instant::now();
        let mut run = Self::start(seed).await;
        let mut inflicted = 0;
        while inflicted < times {
            let mut deck = deck(kinds);
            run.random.shuffle(&mut deck);
            for fault in deck.into_iter().take(times - inflicted) {
                run.note(format!("{fault:?}"));
                fault.inflict(&mut run).await;
                *run.report.faults.entry(fault).or_default() += 1;
                inflicted += 1;
                let pause = run.random.u64(10..80);
                sleep(Duration::from_millis(pause)).await;
            }
            let resident = run.server.figures().await.resident;
            run.report.resident = run.report.resident.max(resident);
        }
        let mut report = run.end().await;
        report.took = began.elapsed();
        report
    }

    async fn start(seed: u64) -> Self {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let directory = directory.join(format!("faults-{}-{seed}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).expect("a directory");
        // Each way of serving is the first one, in turns.
        let life = seed % WAYS;
        let server = Server::start(&directory, life).await;
        let mut clients = Vec::new();
        for number in 0..CLIENTS * TARGETS.len() {
            let session = session(&directory, number);
            clients.push(Client::start(session, server.address).await);
        }
        let crowd = Crowd::start(&directory, clients.len(), server.address).await;
        Self {
            random: fastrand::Rng::with_seed(seed),
            server,
            clients,
            crowd,
            directory,
            life,
            in_file: InFile::default(),
            report: Report::default(),
            notes: Vec::new(),
            samples: Vec::new(),
        }
    }

    fn note(&mut self, what: String) {
        self.notes.push(Noted { at: now(), what });
    }

    pub(crate) fn a_client(&mut self) -> &Client {
        self.random.choice(&self.clients).expect("some")
    }

    /// The server has ended. Somebody else looks at what it has left, and the next one comes.
    pub(crate) async fn succeed(&mut self) {
        self.life += 1;
        self.in_file.read(&self.directory).await;
        self.server = Server::start(&self.directory, self.life).await;
        for client in &self.clients {
            client.proxy.lead_to(self.server.address);
        }
        self.crowd.proxy.lead_to(self.server.address);
        self.report.lives += 1;
    }

    /// Heals everything, waits until everybody has everything, and judges.
    async fn end(mut self) -> Report {
        self.report.lives += 1;
        let others = self.crowd.end().await;
        for session in others {
            let client = Client::start(session, self.server.address).await;
            self.clients.push(client);
        }
        for client in &self.clients {
            client.seen.hurries.store(true, Ordering::Relaxed);
            client.follow(Script::default());
        }
        self.server.ask("pause").await;
        let missing = self.converge().await;
        let live_by = now();
        for what in &missing {
            println!("{what}");
        }
        let figures = self.server.figures().await;
        let clients = self.clients.len() as u64;
        self.sample("streams at the end", figures.streams, clients);
        self.sample("subscribers at the end", figures.subscribers, clients);
        self.sample("KiB in memory", self.report.resident, MOST_RESIDENT);
        self.leave().await;
        self.report.connections = self
            .clients
            .iter()
            .map(|client| client.seen.connections.load(Ordering::Relaxed))
            .sum();
        let life = self.life;
        self.is_like_new().await;
        let evidence = Evidence {
            directory: self.directory,
            sessions: self.clients.iter().map(|client| client.target).collect(),
            in_file: self.in_file,
            faults: self.notes,
            samples: self.samples,
            life,
            live_by,
        };
        self.report.verdict = evidence.judge();
        match self.report.verdict.violations.is_empty() {
            true => drop(std::fs::remove_dir_all(&evidence.directory)),
            false => println!("what was received is in {}", evidence.directory.display()),
        }
        self.report
    }

    fn sample(&mut self, what: &str, is: u64, most: u64) {
        self.samples.push(Sample {
            at: now(),
            what: what.to_owned(),
            is,
            most,
        });
    }

    /// Everybody reaches the end of its log, or is named.
    async fn converge(&mut self) -> Vec<String> {
        let until = Instant::now() + PATIENCE;
        loop {
            let heads: BTreeMap<Kept, String> = self.server.heads().await.into_iter().collect();
            let behind = self
                .clients
                .iter()
                .enumerate()
                .filter_map(|(number, client)| {
                    let (last, head) = (client.seen.last(), &heads[&client.target.store]);
                    let has_it = last.as_ref().is_some_and(|last| is_at(last, head));
                    (!has_it).then(|| format!("{number} is at {last:?}, not at {head}"))
                });
            let behind: Vec<_> = behind.collect();
            let streams = self.server.figures().await.streams;
            let is_over = behind.is_empty() && streams == self.clients.len() as u64;
            if is_over || Instant::now() > until {
                return behind;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Everybody leaves, and nothing is left of them.
    async fn leave(&mut self) {
        for client in &mut self.clients {
            client.act(Act::Quit);
            let session = &mut client.session;
            session.await.expect("a session that ends well");
            client.proxy.cut(Cut::Reset);
        }
        let left = self.settled().await;
        self.sample("streams when all have left", left.streams, 0);
        self.sample("subscribers when all have left", left.subscribers, 0);
    }

    /// What a server has open when that does not change any more, for longer than somebody
    /// may take to ask.
    async fn settled(&mut self) -> crate::server::Figures {
        let until = Instant::now() + PATIENCE;
        let mut quiet = 0;
        let mut before = self.server.figures().await;
        while (quiet < 25 || before.streams > 0) && Instant::now() < until {
            sleep(Duration::from_millis(100)).await;
            let figures = self.server.figures().await;
            let is_same =
                (figures.tasks, figures.descriptors) == (before.tasks, before.descriptors);
            quiet = if is_same { quiet + 1 } else { 0 };
            before = figures;
        }
        before
    }

    /// A server that has had all that has no more open than one that has had one client of
    /// each kind.
    async fn is_like_new(&mut self) {
        let left = self.settled().await;
        // The next one that serves in the same way.
        self.life += WAYS - 1;
        self.server.terminate().await;
        self.succeed().await;
        let directory = self.directory.join("another");
        std::fs::create_dir_all(&directory).expect("a directory");
        let mut clients = Vec::new();
        for number in 0..TARGETS.len() {
            let session = session(&directory, number);
            clients.push(Client::start(session, self.server.address).await);
        }
        for client in &clients {
            let until = Instant::now() + PATIENCE;
            while client.seen.last().is_none() && Instant::now() < until {
                sleep(Duration::from_millis(5)).await;
            }
        }
        self.server.ask("pause").await;
        for client in clients {
            client.act(Act::Quit);
            client.session.await.expect("a session that ends well");
        }
        let new = self.settled().await;
        self.sample("tasks when all have left", left.tasks, new.tasks);
        self.sample(
            "descriptors when all have left",
            left.descriptors,
            new.descriptors,
        );
        self.server.terminate().await;
    }
}

/// The tag may be missing where a position stands between events.
fn is_at(last: &str, head: &str) -> bool {
    let (last, head) = (Id::parse(last), Id::parse(head));
    last.zip(head)
        .is_some_and(|(last, head)| (last.epoch, last.offset) == (head.epoch, head.offset))
}

/// One that has not begun.
pub(crate) fn session(directory: &std::path::Path, number: usize) -> Session {
    Session {
        number,
        target: TARGETS[number % TARGETS.len()],
        pace: match number / TARGETS.len() + 1 {
            CLIENTS => Pace::Slow,
            _ => Pace::Fast,
        },
        server: SocketAddr::from(([127, 0, 0, 1], 0)),
        directory: directory.to_owned(),
        connections: 0,
        seen: Arc::default(),
    }
}
