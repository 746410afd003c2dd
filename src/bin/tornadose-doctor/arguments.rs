//! What is asked for.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue};

use crate::target::Target;

pub(crate) const HELP: &str = "\
tornadose-doctor: tells why an event stream is late or broken.

Usage: tornadose-doctor [OPTIONS] URL

  --direct URL        the same stream without the proxies, to compare with
  --wait SECONDS      how long the stream is kept open (default 20, at most 3600)
  --idle-limit SECONDS
                      the least idle limit on the way to your clients (default 60)
  --timeout SECONDS   for connecting and for each further answer (default 10)
  --origin ORIGIN     the page that reads the stream, as https://app.example
  --credentials       that page reads it with its cookies (withCredentials)
  --header 'NAME: VALUE'
                      sent with each request, but to no other origin; repeatable
  --latest            the stream is one of latest values: what it skips is not lost
  --ca FILE           certificates to trust as well, in PEM
  --json              one JSON object instead of text
  --help, --version

It asks as a browser does, reads at most 8 MiB of a stream, and follows at most 20
redirects. The values of your headers and of queries are never printed.

Exit status: 0 nothing worse than a note, 1 findings, 2 could not be examined.
Each finding and its cure: docs/doctor.md of the crate tornadose.
";

#[derive(Debug)]
pub(crate) enum Asked {
    Help,
    Version,
    Examine(Box<Settings>),
}

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) target: Target,
    pub(crate) direct: Option<Target>,
    pub(crate) wait: Duration,
    pub(crate) idle_limit: Duration,
    pub(crate) timeout: Duration,
    pub(crate) origin: Option<HeaderValue>,
    pub(crate) credentials: bool,
    pub(crate) headers: HeaderMap,
    pub(crate) latest: bool,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) json: bool,
}

impl Settings {
    pub(crate) fn new(target: Target) -> Self {
        Self {
            target,
            direct: None,
            wait: Duration::from_secs(20),
            idle_limit: Duration::from_secs(60),
            timeout: Duration::from_secs(10),
            origin: None,
            credentials: false,
            headers: HeaderMap::new(),
            latest: false,
            ca: None,
            json: false,
        }
    }

    /// The page's origin, if the stream is of another: only then something must be allowed.
    pub(crate) fn other_origin(&self, is_home: bool) -> Option<&HeaderValue> {
        let origin = self.origin.as_ref()?;
        let page = origin.to_str().ok().map(Target::parse);
        let is_same =
            matches!(page, Some(Ok(page)) if is_home && page.is_same_origin(&self.target));
        (!is_same).then_some(origin)
    }
}

/// # Errors
///
/// A phrase that says what is wrong, and holds no value that was given.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Asked, String> {
    let mut arguments = arguments.into_iter();
    let mut url = None;
    // The rest is kept in settings of no place, until there is one.
    let mut settings = Settings::new(Target::parse("http://localhost/")?);
    while let Some(argument) = arguments.next() {
        let argument = text(argument)?;
        let (name, inline) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (argument.as_str(), None),
        };
        let mut value = || match inline.clone() {
            Some(value) => Ok(value),
            None => match arguments.next() {
                Some(value) => text(value),
                None => Err(format!("{name} needs a value")),
            },
        };
        match name {
            "--direct" => settings.direct = Some(Target::parse(&value()?)?),
            "--wait" => settings.wait = seconds(name, &value()?)?,
            "--idle-limit" => settings.idle_limit = seconds(name, &value()?)?,
            "--timeout" => settings.timeout = seconds(name, &value()?)?,
            "--origin" => settings.origin = Some(origin(&value()?)?),
            "--header" => {
                let (name, value) = header(&value()?)?;
                settings.headers.append(name, value);
            }
            "--ca" => settings.ca = Some(value()?.into()),
            _ if inline.is_some() => return Err(unknown(name)),
            "--credentials" => settings.credentials = true,
            "--latest" => settings.latest = true,
            "--json" => settings.json = true,
            "-h" | "--help" => return Ok(Asked::Help),
            "-V" | "--version" => return Ok(Asked::Version),
            _ if name.starts_with('-') => return Err(unknown(name)),
            _ if url.is_some() => return Err("there is more than one URL".to_owned()),
            _ => url = Some(Target::parse(&argument)?),
        }
    }
    settings.target = url.ok_or("there is no URL")?;
    settings.credentials |= settings.headers.contains_key(COOKIE);
    Ok(Asked::Examine(Box::new(settings)))
}

/// Repeats a plain word only: in what is meant for another program a secret may stand.
fn unknown(name: &str) -> String {
    let is_letter = |letter| matches!(letter, 'a'..='z' | '-');
    match name.strip_prefix("--") {
        Some(word) if word.chars().all(is_letter) => {
            format!("{name} is unknown, or takes no value")
        }
        _ => "there is an unknown option".to_owned(),
    }
}

fn text(argument: OsString) -> Result<String, String> {
    argument
        .into_string()
        .map_err(|_| "an argument is not UTF-8".to_owned())
}

fn seconds(name: &str, value: &str) -> Result<Duration, String> {
    let seconds: f64 = value.parse().unwrap_or(f64::NAN);
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if (0.1..=3600.0).contains(&seconds) => Ok(time),
        _ => Err(format!("{name} takes seconds, from 0.1 to 3600")),
    }
}

/// As a browser writes it: no path, not even a `/`.
fn origin(value: &str) -> Result<HeaderValue, String> {
    let wrong = "--origin is a scheme and a host, as https://app.example";
    let (_, authority) = value.split_once("://").ok_or(wrong)?;
    if authority.is_empty() || authority.contains(['/', '?', '#', '@']) {
        return Err(wrong.to_owned());
    }
    value.parse().map_err(|_| wrong.to_owned())
}

fn header(value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let wrong = "--header is 'NAME: VALUE'";
    let (name, value) = value.split_once(':').ok_or(wrong)?;
    let name = name.trim().parse().map_err(|_| wrong.to_owned())?;
    let mut value: HeaderValue = value.trim().parse().map_err(|_| wrong.to_owned())?;
    value.set_sensitive(true);
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Asked, String> {
        parse(arguments.iter().map(OsString::from))
    }

    fn settings(arguments: &[&str]) -> Settings {
        match parsed(arguments) {
            Ok(Asked::Examine(settings)) => *settings,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let asked = settings(&["http://a/e"]);
        assert_eq!(asked.target, Target::parse("http://a/e").expect("a target"));
        assert_eq!(
            (
                asked.wait.as_secs(),
                asked.idle_limit.as_secs(),
                asked.timeout.as_secs()
            ),
            (20, 60, 10)
        );
        assert!(!asked.credentials && !asked.latest && !asked.json && asked.direct.is_none());
    }

    #[test]
    fn a_value_follows_or_stands_behind_the_sign() {
        for asked in [
            settings(&["--wait", "2.5", "http://a/", "--direct", "http://b/?x=1"]),
            settings(&["--direct=http://b/?x=1", "--wait=2.5", "http://a/"]),
        ] {
            assert_eq!(asked.wait, Duration::from_millis(2500));
            assert_eq!(
                asked.direct,
                Some(Target::parse("http://b/?x=1").expect("a target"))
            );
        }
    }

    #[test]
    fn headers_add_up_and_do_not_show_in_errors_or_debug() {
        let asked = settings(&[
            "--header",
            "Cookie: s=secret",
            "--header=X-A: b:c",
            "http://a/",
        ]);
        assert_eq!(
            asked.headers.get("cookie").map(HeaderValue::as_bytes),
            Some(&b"s=secret"[..])
        );
        assert_eq!(
            asked.headers.get("x-a").map(HeaderValue::as_bytes),
            Some(&b"b:c"[..])
        );
        assert!(asked.credentials);
        assert!(!format!("{asked:?}").contains("secret"));
        let wrong = parsed(&["--header", "secret", "http://a/"]).expect_err("wrong");
        assert_eq!(wrong, "--header is 'NAME: VALUE'");
        assert_eq!(
            parsed(&["--header", "a: b\nc: secret", "http://a/"]).expect_err("wrong"),
            wrong
        );
    }

    #[test]
    fn what_is_meant_for_another_program_is_not_repeated() {
        for wrong in [
            "-bsession=secret",
            "-HCookie:secret",
            "-secret",
            "--Cookie:secret",
            "--cookie:secret=7",
        ] {
            let says = parsed(&[wrong, "http://a/"]).expect_err("wrong");
            assert_eq!(says, "there is an unknown option");
        }
        for wrong in ["--nothing", "--nothing=secret"] {
            let says = parsed(&[wrong, "http://a/"]).expect_err("wrong");
            assert_eq!(says, "--nothing is unknown, or takes no value");
        }
    }

    #[test]
    fn a_page_of_the_same_origin_needs_no_leave() {
        for (page, is_other) in [
            ("https://a", false),
            ("https://A:443", false),
            ("https://a:444", true),
            ("http://a", true),
            ("https://b", true),
            ("app://a", true),
        ] {
            let asked = settings(&["--origin", page, "https://a/e"]);
            assert_eq!(asked.other_origin(true).is_some(), is_other, "{page}");
            assert!(asked.other_origin(false).is_some());
        }
        assert!(settings(&["https://a/e"]).other_origin(false).is_none());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [
            &[][..],
            &["--wait", "http://a/"],
            &["--wait", "0", "http://a/"],
            &["--wait", "-1", "http://a/"],
            &["--wait", "nan", "http://a/"],
            &["--wait", "3601", "http://a/"],
            &["http://a/", "--wait"],
            &["--json=1", "http://a/"],
            &["--nothing", "http://a/"],
            &["http://a/", "http://b/"],
            &["--origin", "app.example", "http://a/"],
            &["--origin", "https://app.example/", "http://a/"],
        ] {
            assert!(parsed(wrong).is_err(), "{wrong:?}");
        }
        assert!(matches!(parsed(&["--json", "--help"]), Ok(Asked::Help)));
        assert!(matches!(parsed(&["-V"]), Ok(Asked::Version)));
    }
}
