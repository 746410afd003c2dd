//! The command line.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use hyper::Uri;

use crate::fetch::{Fetch, Limits};
use crate::poller::{Backoff, Timing};
use crate::source::Source;
use crate::{data_gov_sg, open_meteo, sample, support};

const USAGE: &str = "\
Live weather, asked for once and pushed to every page.

Usage: weather [OPTIONS]

  --listen ADDR         where to listen [default: 127.0.0.1:9000]
  --every SECONDS       the time between two polls, or two steps of the sample
                        [default: 60, and 5 for the sample]
  --source SOURCE       [default: live]
                          live         one of the next two, and the sample where that
                                       cannot be reached
                          data.gov.sg  the stations of Singapore
                          open-meteo   one place, see below
                          sample       a made-up day, without any network
  --latitude DEGREES    of a place on Earth: live is open-meteo then
  --longitude DEGREES   [default: those of Singapore]
  --upstream URL        where to ask instead of the source's own address
  --pace MILLISECONDS   at least this between two requests
                        [default: 2000 for data.gov.sg, 10000 for open-meteo]
  --help                this text
";

/// How long live readings are shown that cannot be renewed, before the sample is.
pub(crate) const KEEP: Duration = Duration::from_secs(3600);

/// A step of the sample, of which each is a minute.
const STEP: Duration = Duration::from_secs(5);

const SINGAPORE: (f64, f64) = (1.3521, 103.8198);

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) listen: SocketAddr,
    every: Option<Duration>,
    which: Which,
    location: Option<(f64, f64)>,
    upstream: Option<String>,
    pace: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Live,
    DataGovSg,
    OpenMeteo,
    Sample,
}

impl Options {
    /// Reads the command line. Ends the process if it asks for help (status 0) or cannot
    /// be understood (status 2).
    pub(crate) fn from_args() -> Self {
        let args = std::env::args_os().skip(1);
        match Self::parse(args.map(|arg| arg.to_string_lossy().into_owned())) {
            Ok(Some(options)) => options,
            Ok(None) => {
                let _ = write!(io::stdout(), "{USAGE}");
                std::process::exit(0);
            }
            Err(fault) => {
                support::complain(format_args!("{fault}; --help tells what there is"));
                std::process::exit(2);
            }
        }
    }

    /// `None` if help is asked for.
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9000)),
            every: None,
            which: Which::Live,
            location: None,
            upstream: None,
            pace: None,
        };
        let (mut latitude, mut longitude) = (None, None);
        while let Some(arg) = args.next() {
            let (name, value) = match arg.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (arg.as_str(), None),
            };
            if matches!(name, "--help" | "-h") {
                return Ok(None);
            }
            let mut value = || {
                let value = value.clone().or_else(|| args.next());
                value.ok_or_else(|| format!("{name} needs a value"))
            };
            match name {
                "--listen" => options.listen = read(name, &value()?, "an address", |_| true)?,
                "--every" => {
                    let is_fine = |seconds: &u64| (1..=86_400).contains(seconds);
                    let seconds = read(name, &value()?, "seconds from 1 to 86400", is_fine)?;
                    options.every = Some(Duration::from_secs(seconds));
                }
                "--pace" => {
                    let is_fine = |millis: &u64| *millis <= 60_000;
                    let millis = read(name, &value()?, "milliseconds up to 60000", is_fine)?;
                    options.pace = Some(Duration::from_millis(millis));
                }
                "--latitude" => {
                    let is_fine = |degrees: &f64| degrees.abs() <= 90.0;
                    latitude = Some(read(name, &value()?, "degrees from -90 to 90", is_fine)?);
                }
                "--longitude" => {
                    let is_fine = |degrees: &f64| degrees.abs() <= 180.0;
                    longitude = Some(read(name, &value()?, "degrees from -180 to 180", is_fine)?);
                }
                "--upstream" => {
                    let what = "an address like http://127.0.0.1:8080";
                    let is_fine = |uri: &Uri| {
                        let scheme = uri.scheme_str();
                        matches!(scheme, Some("http" | "https")) && uri.query().is_none()
                    };
                    let upstream: Uri = read(name, &value()?, what, is_fine)?;
                    options.upstream = Some(upstream.to_string());
                }
                "--source" => {
                    options.which = match &*value()? {
                        "live" => Which::Live,
                        "data.gov.sg" => Which::DataGovSg,
                        "open-meteo" => Which::OpenMeteo,
                        "sample" => Which::Sample,
                        text => return Err(format!("--source: {text:?} is not one of them")),
                    }
                }
                _ => return Err(format!("unknown argument {arg:?}")),
            }
        }
        options.location = match (latitude, longitude) {
            (None, None) => None,
            (Some(latitude), Some(longitude)) => Some((latitude, longitude)),
            _ => return Err("--latitude and --longitude need each other".to_owned()),
        };
        let is_elsewhere = matches!(options.which, Which::DataGovSg | Which::Sample);
        if is_elsewhere && options.location.is_some() {
            return Err("this source is of Singapore, not of any place".to_owned());
        }
        Ok(Some(options))
    }

    /// What is asked, and when.
    pub(crate) fn source(&self) -> (Box<dyn Source>, Timing) {
        let fetch = || Fetch::new(Limits::default());
        let base = |own| self.upstream.as_deref().unwrap_or(own);
        let source: Box<dyn Source> = match (self.which, self.location) {
            (Which::Sample, _) => return self.sample(),
            (Which::DataGovSg, _) | (Which::Live, None) => {
                let pace = self.pace.unwrap_or(data_gov_sg::PACE);
                let base = base(data_gov_sg::BASE);
                Box::new(data_gov_sg::DataGovSg::new(base, pace, fetch()))
            }
            (Which::OpenMeteo | Which::Live, location) => {
                let pace = self.pace.unwrap_or(open_meteo::PACE);
                let location = location.unwrap_or(SINGAPORE);
                let base = base(open_meteo::BASE);
                Box::new(open_meteo::OpenMeteo::new(base, location, pace, fetch()))
            }
        };
        (
            source,
            self.timing(self.every.unwrap_or(Duration::from_secs(60))),
        )
    }

    /// Whether the sample is to be played where the source cannot be asked.
    pub(crate) fn falls_back(&self) -> bool {
        self.which == Which::Live
    }

    pub(crate) fn sample(&self) -> (Box<dyn Source>, Timing) {
        // As the only source it moves at the pace that is asked for.
        let every = self.every.filter(|_| self.which == Which::Sample);
        let timing = self.timing(every.unwrap_or(STEP));
        (Box::new(sample::Sample::new()), timing)
    }

    fn timing(&self, every: Duration) -> Timing {
        let backoff = Backoff {
            first: every.min(Duration::from_secs(5)),
            most: Duration::from_secs(300),
            asked: Duration::from_secs(3600),
        };
        Timing { every, backoff }
    }
}

fn read<T: std::str::FromStr>(
    name: &str,
    text: &str,
    what: &str,
    is_fine: impl Fn(&T) -> bool,
) -> Result<T, String> {
    let value = text.parse().ok().filter(is_fine);
    value.ok_or_else(|| format!("{name}: {text:?} is not {what}"))
}
