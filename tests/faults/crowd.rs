//! Clients in a process of their own, which is killed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use crate::client::{Act, Session, TARGETS, connections, transcripts};
use crate::run::session;
use crate::server::Server;
use tornadose::test::Proxy;

/// Tells the clients where to go and who they are: `<address> <first> <directory>`.
const CLIENTS: &str = "TORNADOSE_TEST_FAULTS_CLIENTS";

pub(crate) struct Crowd {
    process: Server,
    pub(crate) proxy: Proxy,
    first: usize,
    directory: PathBuf,
}

impl Crowd {
    /// One client for each target, the first of which has this number.
    pub(crate) async fn start(directory: &Path, first: usize, server: SocketAddr) -> Self {
        let proxy = Proxy::to(server).await.expect("a free port");
        Self {
            process: process(directory, first, proxy.address()).await,
            proxy,
            first,
            directory: directory.to_owned(),
        }
    }

    /// They are killed, and others come in their place, with what they have kept.
    pub(crate) async fn kill(&mut self) {
        self.process.kill().await;
        self.process = process(&self.directory, self.first, self.proxy.address()).await;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// They are killed, and are to go on elsewhere.
    pub(crate) async fn end(&mut self) -> Vec<Session> {
        self.process.kill().await;
        sessions(&self.directory, self.first)
    }
}

async fn process(directory: &Path, first: usize, server: SocketAddr) -> Server {
    let told = format!("{server} {first} {}", directory.display());
    Server::start_as("crowd::clients", CLIENTS, &told).await
}

/// Where they were, as their transcripts tell.
fn sessions(directory: &Path, first: usize) -> Vec<Session> {
    let sessions = (first..first + TARGETS.len()).map(|number| {
        let session = session(directory, number);
        let transcripts = transcripts(directory, number);
        let last = transcripts.last();
        let last = last.and_then(|last| last.last(session.target.speaks));
        Session {
            connections: connections(directory, number),
            ..session
        }
        .with_id(last)
    });
    sessions.collect()
}

#[tokio::test]
#[ignore = "clients, which the other tests start"]
async fn clients() {
    let Ok(told) = std::env::var(CLIENTS) else {
        return;
    };
    let mut words = told.splitn(3, ' ');
    let mut next = || words.next().expect("three words");
    let server: SocketAddr = next().parse().expect("an address");
    let first = next().parse().expect("a number");
    let directory = PathBuf::from(next());
    let mut acts = Vec::new();
    for session in sessions(&directory, first) {
        let (act, told) = mpsc::unbounded_channel::<Act>();
        acts.push(act);
        tokio::spawn(Session { server, ..session }.run(told));
    }
    println!("listening on {server}");
    // They end with those who started them.
    let _ = tokio::io::stdin().read(&mut [0]).await;
    std::process::exit(0);
}
