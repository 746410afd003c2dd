//! The command line.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::support::complain;

const HELP: &str = "\
Pages that people comment on: whoever watches a page sees the comment.

Usage: document [--embedded] [OPTIONS]        both parts, and no Redis
       document app --redis URL [OPTIONS]     what is read and written
       document events --redis URL [OPTIONS]  who watches is told

  --listen ADDR    where to listen [default: 127.0.0.1:9000; `events`: 127.0.0.1:9001]
  --events ADDR    where the event server is [default: 127.0.0.1:9001]
  --app ADDR       where the app is, for `events` [default: 127.0.0.1:9000]
  --origin ORIGIN  whose pages may follow, too; besides the app's; may be repeated
  --dir DIR        where the app keeps its files [default: a new one, removed at the end]
  --redis URL      such as redis://127.0.0.1:6379 [default: what REDIS_URL says, which
                   not everybody can read who sees the list of processes]
  --help           this text
";

/// What this process is.
pub(crate) enum Part {
    /// Everything.
    Both,
    /// The app, and the URL of Redis.
    App(String),
    /// The event server, and the URL of Redis.
    Events(String),
}

pub(crate) struct Options {
    pub(crate) part: Part,
    pub(crate) listen: SocketAddr,
    pub(crate) events: SocketAddr,
    pub(crate) app: SocketAddr,
    pub(crate) origins: Vec<String>,
    /// A new one if none is given.
    pub(crate) dir: Option<PathBuf>,
}

impl Options {
    /// Reads the command line. Ends the process if it asks for help (status 0) or
    /// cannot be understood (status 2).
    pub(crate) fn from_args() -> Self {
        let args = std::env::args_os().skip(1);
        match Self::parse(args.map(|arg| arg.to_string_lossy().into_owned())) {
            Ok(Some(options)) => options,
            Ok(None) => {
                let _ = io::stdout().write_all(HELP.as_bytes());
                std::process::exit(0);
            }
            Err(fault) => {
                complain(format_args!("{fault}; --help tells what there is"));
                std::process::exit(2);
            }
        }
    }

    /// `None` if help is asked for.
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let (app, events) = (local(9000), local(9001));
        let (mut part, mut is_embedded, mut redis, mut listen) = (None, false, None, None);
        let mut options = Self {
            part: Part::Both,
            listen: app,
            events,
            app,
            origins: Vec::new(),
            dir: None,
        };
        while let Some(arg) = args.next() {
            let (name, value) = match arg.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (arg.as_str(), None),
            };
            let mut value = |what: &str| {
                let value = value.clone().or_else(|| args.next());
                value.ok_or_else(|| format!("{name} needs {what}"))
            };
            match name {
                "--help" | "-h" => return Ok(None),
                "app" | "events" if part.is_none() => part = Some(name.to_owned()),
                "--embedded" => is_embedded = true,
                "--listen" => listen = Some(address(name, &value("an address")?)?),
                "--events" => options.events = address(name, &value("an address")?)?,
                "--app" => options.app = address(name, &value("an address")?)?,
                "--origin" => options.origins.push(value("an origin")?),
                "--dir" => options.dir = Some(value("a directory")?.into()),
                "--redis" => redis = Some(value("a URL")?),
                _ => return Err(format!("unknown argument {arg:?}")),
            }
        }
        if let Some(part) = part {
            if is_embedded {
                return Err(format!("--embedded is both parts, and {part} is one"));
            }
            let redis = redis.or_else(|| std::env::var("REDIS_URL").ok());
            let redis = redis.ok_or_else(|| format!("{part} needs --redis URL"))?;
            (options.part, options.listen) = match part.as_str() {
                "app" => (Part::App(redis), app),
                _ => (Part::Events(redis), events),
            };
        } else if redis.is_some() {
            return Err("--redis is for `app` or for `events`".to_owned());
        }
        options.listen = listen.unwrap_or(options.listen);
        Ok(Some(options))
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn address(name: &str, text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("{name}: {text:?} is not an address like 127.0.0.1:9000"))
}
