//! From what was seen to what is found. Nothing here waits, asks or prints.

mod cors;
mod ending;
mod head;
mod resuming;
mod text;
mod timing;

use std::fmt;
use std::time::Duration;

use crate::arguments::Settings;
use crate::finding::Finding;
use crate::seen::{Failure, Seen};

/// All findings, in the order in which things were looked at.
pub(crate) fn judge(settings: &Settings, seen: &Seen) -> Vec<Finding> {
    let mut found = head::redirects(seen);
    let main = match &seen.main {
        None => return found,
        Some(Err(failure)) => {
            found.push(timing::without_head(failure, seen.direct.as_ref()));
            return found;
        }
        Some(Ok(main)) => main,
    };
    found.extend(head::status(&main.head));
    if !main.head.is_event_stream() {
        return found;
    }
    found.extend(head::head(&main.head, seen.is_secure));
    found.extend(timing::timing(
        main,
        seen.plain.as_ref(),
        seen.direct.as_ref(),
    ));
    found.extend(ending::ending(
        main,
        seen.direct.as_ref(),
        settings.idle_limit,
    ));
    // What is compressed can be timed, but not read.
    let read = match &seen.plain {
        Some(Ok(plain)) => plain,
        _ => main,
    };
    if !read.head.is_compressed() {
        found.extend(text::text(read));
        found.extend(resuming::resuming(
            read,
            seen.resumed.as_ref(),
            settings.latest,
        ));
    }
    found.extend(seen.nonsense.as_ref().map(resuming::nonsense));
    let is_home = !seen.redirects.iter().any(|to| to.is_to_other_origin);
    if let Some(origin) = settings.other_origin(is_home) {
        found.extend(cors::cors(origin, settings.credentials, &main.head, seen));
    }
    found
}

/// As a reader takes it in: milliseconds below a second, else seconds.
fn time(time: Duration) -> String {
    match time.as_millis() {
        millis @ ..1000 => format!("{millis} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

/// `1 note`, `2 notes`.
pub(crate) fn counted(count: impl fmt::Display, what: &str) -> String {
    let plural = if count.to_string() == "1" { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// What a server has written may be long.
fn short(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// What there is to say of no answer.
fn failure(failure: &Failure) -> Finding {
    match failure {
        Failure::Unreachable(why) => {
            Finding::error("unreachable", format!("There is no connection: {why}."))
        }
        Failure::Tls(why) => {
            Finding::error("tls", format!("There is a connection, but no TLS: {why}."))
        }
        Failure::NoAnswer(why) => Finding::error(
            "no-answer",
            format!("There is a connection, but no answer of HTTP: {why}."),
        ),
        Failure::NoHead(after) => Finding::error(
            "no-head",
            format!(
                "No head came within {}: either the server sends it with the first event, or something \
                 between holds it back. Compare with --direct.",
                time(*after)
            ),
        ),
    }
}

#[cfg(test)]
mod tests;
