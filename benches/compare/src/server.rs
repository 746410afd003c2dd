//! A server process: started, pinned, and asked of the system what it costs.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take until it listens.
const START: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

/// What a process and its children have used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    pub(crate) nanos: u64,
    user_ticks: u64,
    ticks: u64,
}

impl Server {
    /// Starts a command with the address that it is to listen on, on core 0 if it is to
    /// be pinned. It does not outlive this process.
    ///
    /// # Errors
    ///
    /// What it has to say, if it ends.
    pub(crate) fn start(
        command: &[String],
        directory: &Path,
        address: SocketAddr,
        is_pinned: bool,
    ) -> Result<Self, String> {
        let log = directory.join("stderr");
        let stderr = File::create(&log).map_err(|error| error.to_string())?;
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .args(if is_pinned {
                &["taskset", "-c", "0"][..]
            } else {
                &[]
            })
            .args(command)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .map_err(|error| format!("setpriv does not run: {error}"))?;
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = child.try_wait().map_err(|error| error.to_string())?;
            if ended.is_some() {
                return Err(fs::read_to_string(&log)
                    .unwrap_or_default()
                    .trim()
                    .to_owned());
            }
            if begun.elapsed() > START {
                let _ = child.kill();
                let _ = child.wait();
                return Err("does not listen".to_owned());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(Self { child, address })
    }

    /// What it has used until now, in all its threads.
    pub(crate) fn cpu(&self) -> Cpu {
        let mut cpu = Cpu::default();
        for pid in self.processes() {
            for task in entries(&format!("/proc/{pid}/task")) {
                let text = read(&format!("/proc/{pid}/task/{task}/schedstat"));
                cpu.nanos += number(text.split(' ').next());
            }
            let text = read(&format!("/proc/{pid}/stat"));
            // Behind the name, which may hold anything.
            let fields = text.rsplit(") ").next().unwrap_or_default();
            let mut fields = fields.split(' ').skip(11);
            let (user, system) = (number(fields.next()), number(fields.next()));
            cpu.user_ticks += user;
            cpu.ticks += user + system;
        }
        cpu
    }

    /// Its resident memory in bytes.
    pub(crate) fn rss(&self) -> u64 {
        let rss = |pid| {
            let text = read(&format!("/proc/{pid}/smaps_rollup"));
            let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
            let kibibytes = line.and_then(|line| line.trim().strip_suffix("kB"));
            number(kibibytes.map(str::trim)) * 1024
        };
        self.processes().into_iter().map(rss).sum()
    }

    /// It and its children.
    fn processes(&self) -> Vec<u32> {
        let mut all = vec![self.child.id()];
        let mut at = 0;
        while let Some(&pid) = all.get(at) {
            for task in entries(&format!("/proc/{pid}/task")) {
                let children = read(&format!("/proc/{pid}/task/{task}/children"));
                all.extend(
                    children
                        .split_whitespace()
                        .filter_map(|pid| pid.parse::<u32>().ok()),
                );
            }
            at += 1;
        }
        all
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Cpu {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            nanos: self.nanos - before.nanos,
            user_ticks: self.user_ticks - before.user_ticks,
            ticks: self.ticks - before.ticks,
        }
    }

    /// How much of it was not spent in the kernel, from 0 to 1.
    pub(crate) fn user_share(self) -> f64 {
        self.user_ticks as f64 / self.ticks as f64
    }
}

/// An address that was free a moment ago.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

fn entries(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// What cannot be read has ended meanwhile.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn number(text: Option<&str>) -> u64 {
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}
