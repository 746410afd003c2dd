//! Measures servers of event streams beside each other, on this machine, over loopback.
//!
//! `benches/compare/run` builds and installs what is needed and starts this;
//! docs/performance.md says what is measured and how to read it.

mod histogram;
mod load;
mod peers;
mod report;
mod scenario;
mod server;
mod svg;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

use peers::{Peer, Places};
use report::Report;
use scenario::{Plan, Run};

const USAGE: &str = "\
Measures servers of event streams beside each other, on this machine, over loopback.

Usage: benches/compare/run [OPTIONS]

  --quick            every window once, and short: some minutes
  --smoke            a few streams for some seconds, of our own paths and the raw loop:
                     tells only whether figures can be made and nothing is lost
  --only NAME,..     only these servers, and the raw loop
  --streams N,..     only with so many streams: 1000, 10000, and idle 18000
                     (5000 with --quick)
  --no-idle          without the windows in which nothing happens
  --rounds N         how often each server is started for each number of streams [default: 3]
  --docs             writes the tables and the picture into docs/ as well
  --help             this text";

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => match compare(&options) {
            Ok(code) => code,
            Err(fault) => {
                eprintln!("compare: {fault}");
                ExitCode::FAILURE
            }
        },
        Ok(None) => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        Err(fault) => {
            eprintln!("compare: {fault}; --help tells what there is");
            ExitCode::from(2)
        }
    }
}

#[derive(Debug, Default)]
struct Options {
    quick: bool,
    smoke: bool,
    docs: bool,
    no_idle: bool,
    only: Option<Vec<String>>,
    streams: Option<Vec<usize>>,
    rounds: Option<usize>,
}

impl Options {
    /// `None` if help is asked for.
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self::default();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--help" | "-h" => return Ok(None),
                "--quick" => options.quick = true,
                "--smoke" => options.smoke = true,
                "--docs" => options.docs = true,
                "--no-idle" => options.no_idle = true,
                "--only" => {
                    let names: Vec<_> = value()?.split(',').map(str::to_owned).collect();
                    for name in &names {
                        if !peers::ALL.iter().any(|(known, _)| known == name) {
                            let known = peers::ALL.map(|(name, _)| name).join(", ");
                            return Err(format!("--only: {name:?} is none of {known}"));
                        }
                    }
                    options.only = Some(names);
                }
                "--streams" => {
                    let numbers = value()?.split(',').map(number).collect::<Result<_, _>>()?;
                    options.streams = Some(numbers);
                }
                "--rounds" => options.rounds = Some(number(&value()?)?),
                _ => return Err(format!("unknown argument {arg:?}")),
            }
        }
        Ok(Some(options))
    }

    fn plans(&self) -> Vec<Plan> {
        let active = |streams, rate, events, seconds| {
            let idle = None;
            Plan {
                streams,
                rate,
                events,
                seconds,
                idle,
            }
        };
        if self.smoke {
            return vec![active(50, 20.0, 20, 0.3)];
        }
        let mut plans = match self.quick {
            true => vec![active(1_000, 40.0, 60, 1.0), active(10_000, 8.0, 16, 1.0)],
            false => vec![active(1_000, 40.0, 100, 2.0), active(10_000, 8.0, 24, 2.0)],
        };
        if !self.no_idle {
            // A bit more than two intervals of keep-alive of 15 s.
            let (streams, idle) = if self.quick {
                (5_000, 16.0)
            } else {
                (18_000, 31.0)
            };
            plans.push(Plan {
                idle: Some(idle),
                ..active(streams, 0.0, 0, 0.0)
            });
        }
        if let Some(streams) = &self.streams {
            plans.retain(|plan| streams.contains(&plan.streams));
        }
        plans
    }

    fn has(&self, name: &str) -> bool {
        match &self.only {
            _ if name == "raw" => true,
            None if self.smoke => name == "body" || name == "detached",
            None => true,
            Some(only) => only.iter().any(|only| only == name),
        }
    }
}

fn compare(options: &Options) -> Result<ExitCode, String> {
    let rounds = match options.rounds {
        Some(rounds) => rounds,
        None if options.quick || options.smoke => 1,
        None => 3,
    };
    // What is not judged by its time needs no core of its own.
    let is_pinned = !options.smoke;
    prepare(is_pinned)?;
    let places = places(is_pinned)?;
    let out = places.scratch.clone();
    let began = Instant::now();
    let names = peers::ALL.map(|(name, _)| name);
    let mut others: Vec<_> = names
        .into_iter()
        .filter(|name| *name != "raw" && options.has(name))
        .collect();
    let raw = Peer::new("raw", &places);
    let mut report = Report::default();
    let plans = options.plans();
    if plans.is_empty() || others.is_empty() {
        return Err("there is nothing to measure; --help tells what there is".to_owned());
    }
    for plan in plans {
        for round in 0..if plan.idle.is_some() { 1 } else { rounds } {
            // The raw loop before every second other one, so that each is beside it.
            for (index, name) in others.clone().into_iter().enumerate() {
                if index % 2 == 0 {
                    measure(&raw, &plan, began, &mut report)?;
                }
                let peer = Peer::new(name, &places);
                if let Err(fault) = measure(&peer, &plan, began, &mut report) {
                    report.failures.push((name.to_owned(), plan.streams, fault));
                    if round == 0 && report.runs.iter().all(|run| run.server != name) {
                        // It is not there.
                        others.retain(|other| *other != name);
                    }
                }
            }
        }
    }
    let text = report.markdown();
    println!("{text}");
    let json = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
    let svg = svg::draw(&report);
    let write = |path: PathBuf, text: &str| {
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    write(out.join("figures.json"), &json)?;
    write(out.join("report.md"), &text)?;
    write(out.join("performance.svg"), &svg)?;
    eprintln!(
        "compare: the figures of every run are in {}",
        out.join("figures.json").display()
    );
    if options.docs {
        let docs = places.sources.join("../../docs");
        let page = docs.join("performance.md");
        let old =
            fs::read_to_string(&page).map_err(|error| format!("{}: {error}", page.display()))?;
        write(page, &report::fill(&old, &text)?)?;
        write(docs.join("performance.svg"), &svg)?;
    }
    Ok(if report.is_sound() || !options.smoke {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn measure(peer: &Peer, plan: &Plan, began: Instant, report: &mut Report) -> Result<(), String> {
    let run = scenario::run(peer, plan, began).inspect_err(|fault| {
        eprintln!("{:>14} {:>6}: {fault}", peer.name, plan.streams);
    })?;
    eprintln!("{:>14} {:>6}: {}", peer.name, plan.streams, brief(&run));
    report.runs.push(run);
    Ok(())
}

/// A line to watch.
fn brief(run: &Run) -> String {
    let windows = run.windows.iter().map(|window| {
        let lost = if window.is_sound() { "" } else { " NOT SOUND" };
        let each = if window.deliveries == 0 {
            "–".to_owned()
        } else {
            format!("{:.2} us", window.cpu_us_per_delivery)
        };
        format!("{} {each}{lost}", window.name)
    });
    windows.collect::<Vec<_>>().join(", ")
}

/// As many descriptors as may be, and a core that the server has not.
fn prepare(is_pinned: bool) -> Result<(), String> {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, most).map_err(|error| format!("setrlimit: {error}"))?;
    if !is_pinned {
        return Ok(());
    }
    let mut core = CpuSet::new();
    core.set(1);
    sched_setaffinity(None, &core).map_err(|error| format!("needs a second core: {error}"))
}

/// `run` says where things are.
fn places(is_pinned: bool) -> Result<Places, String> {
    let place = |name: &str| {
        let value = std::env::var_os(name).map(PathBuf::from);
        value.ok_or_else(|| format!("{name} is not set; start benches/compare/run"))
    };
    Ok(Places {
        binaries: place("COMPARE_BINARIES")?,
        firehose: place("COMPARE_FIREHOSE")?,
        sources: place("COMPARE_SOURCES")?,
        scratch: place("COMPARE_SCRATCH")?,
        is_pinned,
    })
}

fn number(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("{text:?} is not a number from 1 on"))
}
