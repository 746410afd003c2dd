//! Redirects and the head of the answer.

use http::{StatusCode, Version};

use super::short;
use crate::finding::Finding;
use crate::seen::{Head, Seen};

pub(super) fn redirects(seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    for redirect in &seen.redirects {
        let (status, to) = (redirect.status.as_u16(), short(&redirect.to));
        let elsewhere = if redirect.is_to_other_origin {
            ", which is another origin: a page there needs CORS, and --header is not sent on"
        } else {
            ""
        };
        found.push(Finding::note(
            "redirect",
            format!("{status} leads to {to}{elsewhere}."),
        ));
        if redirect.is_to_insecure {
            let says =
                format!("{status} leads from https to http, which a browser does not follow.");
            found.push(Finding::error("redirect-insecure", says));
        }
    }
    if let Some(why) = &seen.lost {
        found.push(Finding::error(
            "redirects",
            format!("The redirects lead nowhere: {why}."),
        ));
    }
    found
}

/// Whether a browser takes it for an event stream.
pub(super) fn status(head: &Head) -> Vec<Finding> {
    let status = head.status;
    let code = status.as_u16();
    if status == StatusCode::NO_CONTENT {
        let says = "204: a browser closes its EventSource and never comes back.";
        return vec![Finding::error("no-content", says)];
    }
    if status != StatusCode::OK {
        let why = match code {
            401 | 403 => ": not without what a cookie or a token proves (--header)",
            404 | 410 => ": there is nothing at this address",
            406 => ": the server does not give text/event-stream here",
            429 | 503 => ": too busy, but a browser does not ask again",
            502 | 504 => ": a proxy has no answer from the server behind it",
            _ => "",
        };
        let says = format!(
            "{code}{why}. With anything but 200 a browser gives up its EventSource for good."
        );
        return vec![Finding::error("status", says)];
    }
    let Some(content_type) = head.header("content-type") else {
        let says = "There is no content-type: a browser refuses the stream.";
        return vec![Finding::error("content-type", says)];
    };
    if !head.is_event_stream() {
        let says = format!(
            "The content-type is {}, not text/event-stream: a browser refuses the stream.",
            short(content_type)
        );
        return vec![Finding::error("content-type", says)];
    }
    let mut found = Vec::new();
    match charset(content_type) {
        None => found.push(Finding::ok("head", "200 and text/event-stream, as a browser wants it.")),
        Some(charset) if charset.eq_ignore_ascii_case("utf-8") => found.push(Finding::note(
            "charset-named",
            "The content-type names its charset; some proxies know only the bare type, and stop buffering only for that.",
        )),
        Some(charset) => found.push(Finding::error(
            "charset",
            format!("The charset is {}; event streams are UTF-8, and browsers refuse any other.", short(charset)),
        )),
    }
    found
}

fn charset(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_charset = name.trim().eq_ignore_ascii_case("charset");
        is_charset.then(|| value.trim().trim_matches('"'))
    })
}

/// What those between make of it.
pub(super) fn head(head: &Head, is_secure: bool) -> Vec<Finding> {
    let mut found = Vec::new();
    let cache = head.words("cache-control");
    let says = |word: &str| cache.iter().any(|found| found == word);
    if !says("no-store") {
        found.push(if says("no-cache") || says("private") {
            let says = "cache-control has no no-store, so a cache may still keep the stream.";
            Finding::note("cacheable", says)
        } else {
            let says =
                "cache-control forbids no cache to keep the stream, and to give it to others.";
            Finding::warning("cacheable", says)
        });
    }
    if !says("no-transform") && !head.is_compressed() {
        let says = "cache-control has no no-transform: who is between may compress the stream, and then hold it back.";
        found.push(Finding::note("transformable", says));
    }
    if is_from_cache(head) {
        let says = "The answer is from a cache, not from its server.";
        found.push(Finding::error("cached", says));
    }
    if head.headers.contains_key("content-length") {
        let says = "There is a content-length: what has a length is not a stream, it was collected before it was sent.";
        found.push(Finding::error("content-length", says));
    }
    // nginx takes the header for itself, so behind it there is nothing to see.
    let server = head
        .header("server")
        .unwrap_or_default()
        .to_ascii_lowercase();
    let is_nginx = ["nginx", "openresty", "tengine"]
        .iter()
        .any(|name| server.contains(name));
    let buffering = head.header("x-accel-buffering").unwrap_or_default();
    if !buffering.eq_ignore_ascii_case("no") && !is_nginx {
        let says =
            "There is no x-accel-buffering: no, with which nginx would not buffer the stream.";
        found.push(Finding::note("no-accel-header", says));
    }
    found.push(protocol(head, is_secure));
    found
}

fn is_from_cache(head: &Head) -> bool {
    let age = head
        .header("age")
        .and_then(|age| age.trim().parse::<u64>().ok());
    let hit = [
        "x-cache",
        "cf-cache-status",
        "x-cache-status",
        "x-varnish-cache",
    ];
    let is_hit = |name: &&str| {
        let value = head.header(name).unwrap_or_default().to_ascii_lowercase();
        value
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| word == "hit")
    };
    age.is_some_and(|age| age > 0) || hit.iter().any(is_hit)
}

fn protocol(head: &Head, is_secure: bool) -> Finding {
    const SIX: &str = "a browser opens no more than six connections to it, for all tabs together, and each stream takes one";
    match (head.version, is_secure) {
        (Version::HTTP_2 | Version::HTTP_3, _) => Finding::ok(
            "http2",
            "HTTP/2: many streams of one browser share a connection.",
        ),
        (_, true) => Finding::warning(
            "http1",
            format!("The server does not offer HTTP/2 (ALPN): {SIX}."),
        ),
        (_, false) => Finding::note(
            "http1",
            format!("Without TLS browsers speak HTTP/1.1: {SIX}."),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderMap;

    use super::*;
    use crate::finding::Severity;

    fn of(status: u16, headers: &[(&'static str, &'static str)]) -> Head {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().expect("a value"));
        }
        Head {
            status: StatusCode::from_u16(status).expect("a status"),
            version: Version::HTTP_11,
            headers: map,
            asked: Duration::ZERO,
            at: Duration::ZERO,
        }
    }

    fn codes(found: &[Finding]) -> Vec<(&'static str, Severity)> {
        found
            .iter()
            .map(|found| (found.code, found.severity))
            .collect()
    }

    #[test]
    fn what_a_browser_refuses_is_an_error() {
        use Severity::{Error, Note, Ok};
        for (head, finding) in [
            (
                of(200, &[("content-type", "text/event-stream")]),
                ("head", Ok),
            ),
            (
                of(200, &[("content-type", "Text/Event-Stream ; x=y")]),
                ("head", Ok),
            ),
            (
                of(
                    200,
                    &[("content-type", "text/event-stream; charset=\"UTF-8\"")],
                ),
                ("charset-named", Note),
            ),
            (
                of(200, &[("content-type", "text/event-stream;charset=latin1")]),
                ("charset", Error),
            ),
            (
                of(200, &[("content-type", "text/event-streams")]),
                ("content-type", Error),
            ),
            (of(200, &[]), ("content-type", Error)),
            (
                of(204, &[("content-type", "text/event-stream")]),
                ("no-content", Error),
            ),
            (
                of(201, &[("content-type", "text/event-stream")]),
                ("status", Error),
            ),
            (of(503, &[]), ("status", Error)),
        ] {
            assert_eq!(codes(&status(&head)), [finding], "{head:?}");
        }
    }

    #[test]
    fn good_headers_leave_nothing_to_say() {
        let good = of(
            200,
            &[
                ("cache-control", "No-Store"),
                ("cache-control", "no-transform"),
                ("x-accel-buffering", "NO"),
            ],
        );
        assert_eq!(codes(&head(&good, false)), [("http1", Severity::Note)]);
        assert_eq!(codes(&head(&good, true)), [("http1", Severity::Warning)]);
    }

    #[test]
    fn each_header_that_does_harm_is_told() {
        let bad = of(200, &[("age", "3"), ("content-length", "7")]);
        assert_eq!(
            codes(&head(&bad, false)),
            [
                ("cacheable", Severity::Warning),
                ("transformable", Severity::Note),
                ("cached", Severity::Error),
                ("content-length", Severity::Error),
                ("no-accel-header", Severity::Note),
                ("http1", Severity::Note),
            ]
        );
        let behind = of(
            200,
            &[
                ("cache-control", "no-cache, no-transform"),
                ("server", "nginx/1.2"),
                ("age", "0"),
                ("x-cache", "MISS, whitehit"),
            ],
        );
        assert_eq!(
            codes(&head(&behind, false)),
            [("cacheable", Severity::Note), ("http1", Severity::Note)]
        );
        let hit = of(
            200,
            &[
                ("cache-control", "no-store, no-transform"),
                ("x-accel-buffering", "no"),
                ("x-cache", "Hit from there"),
            ],
        );
        assert_eq!(
            codes(&head(&hit, false)),
            [("cached", Severity::Error), ("http1", Severity::Note)]
        );
    }
}
