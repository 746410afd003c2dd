//! Topics whose log is in a file: ids and what they stand for outlive the process.
//!
//! ```text
//! cargo run --example durable --features durable -- --dir target/events
//! curl -N 'http://127.0.0.1:9000/events?topic=lobby&topic=value/oil'
//! curl -d 'hello' http://127.0.0.1:9000/topics/lobby
//! curl -d '81.20' -H 'Idempotency-Key: 7' http://127.0.0.1:9000/topics/value/oil
//! ```
//!
//! Kill it in the middle (`kill -9`), start it again, and come back with the last id: nothing
//! is missing. A `POST` is answered with the id when the event is on the disk, so what was
//! answered is not lost; what was not can be posted again with the same `Idempotency-Key`
//! and is stored once.
//!
//! A topic below `value/` has a value, the newest one; all others are queues.

#[allow(dead_code, reason = "the demos on hyper use the rest")]
mod support;
#[path = "support/topics.rs"]
mod topics;

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tornadose::Retention;
use tornadose::backplane::{Durable, Fsync};

const USAGE: &str = "\
Topics whose log is in a file: ids outlive the process.

Usage: durable --dir DIR [--listen ADDR] [--fsync-every MILLISECONDS]

  --dir DIR                   where the log is; it is made if it is missing
  --listen ADDR               where to listen [default: 127.0.0.1:9000]
  --fsync-every MILLISECONDS  acknowledge first, and make durable that often [default: before]
  --help                      this text";

#[tokio::main]
async fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            let _ = writeln!(std::io::stdout(), "{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(fault) => {
            support::complain(format_args!("{fault}; --help tells what there is"));
            return ExitCode::from(2);
        }
    };
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            support::complain(error);
            ExitCode::FAILURE
        }
    }
}

struct Options {
    dir: PathBuf,
    listen: SocketAddr,
    fsync: Fsync,
}

impl Options {
    /// `None` if help is asked for.
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut dir = None;
        let mut listen = SocketAddr::from(([127, 0, 0, 1], 9000));
        let mut fsync = Fsync::Always;
        while let Some(name) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{name} needs a value"));
            match name.as_str() {
                "--help" | "-h" => return Ok(None),
                "--dir" => dir = Some(value()?.into()),
                "--listen" => {
                    let text = value()?;
                    let fault = format!("{text} is not an address like 127.0.0.1:9000");
                    listen = text.parse().map_err(|_| fault)?;
                }
                "--fsync-every" => {
                    let text = value()?;
                    let fault = format!("{text} is not a number of milliseconds");
                    let millis = text.parse::<u32>().map_err(|_| fault)?;
                    fsync = Fsync::Every(Duration::from_millis(millis.into()));
                }
                _ => return Err(format!("unknown argument {name}")),
            }
        }
        let dir = dir.ok_or("--dir is missing")?;
        Ok(Some(Self { dir, listen, fsync }))
    }
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let engine = Durable::builder(options.dir)
        .fsync(options.fsync)
        .retention(Retention::new().events(100_000).bytes(64 << 20))
        .open()
        .await
        .map_err(|error| format!("cannot open the log: {error}"))?;
    let hub = topics::settings()?.open(engine).await?;
    topics::serve(hub, options.listen).await
}
