//! What cures what: the line of a configuration, or a method of ours.

/// A line, and where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cure {
    pub(crate) place: &'static str,
    pub(crate) line: &'static str,
}

const fn cure(place: &'static str, line: &'static str) -> Cure {
    Cure { place, line }
}

/// The cures of the finding of this name.
pub(crate) fn of(code: &str) -> &'static [Cure] {
    let found = CURES.iter().find(|(name, _)| *name == code);
    found.map_or(&[], |(_, cures)| cures)
}

const TORNADOSE_HEAD: Cure = cure(
    "tornadose",
    "EventSource sends it by itself; let no middleware replace it",
);

const UNBUFFERED: &[Cure] = &[
    cure("server", "x-accel-buffering: no"),
    cure(
        "nginx",
        "proxy_buffering off; proxy_http_version 1.1; gzip off;",
    ),
    cure("Caddy", "reverse_proxy … { flush_interval -1 }"),
    cure(
        "varnish",
        "sub vcl_recv { if (req.url ~ \"^/events\") { return (pipe); } }",
    ),
    cure("haproxy", "option http-no-delay"),
    cure(
        "Apache",
        "ProxyPass … flushpackets=on, and SetEnv no-gzip 1",
    ),
    cure(
        "tornadose",
        "EventSource sends a first comment and x-accel-buffering by itself; let no compression layer stand around it",
    ),
];

const UNCOMPRESSED: &[Cure] = &[
    cure("server", "cache-control: no-store, no-transform"),
    cure("nginx", "gzip off;, or no text/event-stream in gzip_types"),
    cure(
        "Caddy",
        "encode with a match that leaves text/event-stream out",
    ),
    cure(
        "varnish",
        "sub vcl_backend_response { set beresp.do_gzip = false; }",
    ),
    cure("haproxy", "no text/event-stream in compression type"),
    cure("Apache", "SetEnv no-gzip 1"),
    cure(
        "Cloudflare",
        "cache-control: no-transform, or compression off by a rule",
    ),
    cure("tornadose", "no compression layer around EventSource"),
];

const IDLE: &[Cure] = &[
    cure(
        "tornadose",
        "EventSource::keep_alive(Duration::from_secs(15)), which is the default",
    ),
    cure(
        "server",
        "a comment (a line `:` and a blank line) every 15 s",
    ),
    cure("nginx", "proxy_read_timeout 1h;"),
    cure("haproxy", "timeout server 1h and timeout client 1h"),
    cure("Caddy", "no read_timeout in transport http"),
    cure(
        "varnish",
        "sub vcl_backend_fetch { set bereq.between_bytes_timeout = 1h; }, and -p pipe_timeout=3600 for what is piped",
    ),
    cure("Apache", "ProxyPass … timeout=3600"),
    cure(
        "ALB",
        "idle_timeout.timeout_seconds above the keep-alive interval (default 60)",
    ),
    cure(
        "Cloudflare",
        "a keep-alive well below 100 s; the limit is not to be set in most plans",
    ),
];

const REFUSED: &[Cure] = &[
    cure(
        "tornadose",
        "Overload::Later answers 200 and says when to come back; Overload::Unavailable answers 503",
    ),
    cure(
        "server",
        "200, content-type: text/event-stream, and `retry:` with the time to wait, then the end",
    ),
];

const CONTENT_TYPE: &[Cure] = &[
    cure("server", "content-type: text/event-stream"),
    TORNADOSE_HEAD,
];

const CACHE: &[Cure] = &[
    cure("server", "cache-control: no-store, no-transform"),
    cure("nginx", "proxy_cache off;"),
    cure(
        "varnish",
        "sub vcl_recv { if (req.url ~ \"^/events\") { return (pipe); } }",
    ),
    cure("Cloudflare", "a cache rule that bypasses this path"),
    TORNADOSE_HEAD,
];

const HTTP2: &[Cure] = &[
    cure("nginx", "listen 443 ssl http2; (from 1.25.1 on: http2 on;)"),
    cure("haproxy", "bind :443 ssl crt … alpn h2,http/1.1"),
    cure("Apache", "Protocols h2 http/1.1"),
    cure("Caddy", "h2 is on by default, over TLS"),
    cure("page", "one EventSource for all tabs, in a SharedWorker"),
    cure("tornadose", "a Hub has many topics on one connection"),
];

const CORS: &[Cure] = &[
    cure(
        "tornadose",
        "EventSource::cors(Cors::origins([\"https://app.example\"])?)",
    ),
    cure(
        "server",
        "access-control-allow-origin: https://app.example, and vary: origin",
    ),
];

const CREDENTIALS: &[Cure] = &[
    cure(
        "tornadose",
        "EventSource::cors(Cors::with_credentials([\"https://app.example\"])?)",
    ),
    cure(
        "server",
        "access-control-allow-origin: https://app.example, access-control-allow-credentials: true, vary: origin",
    ),
];

const PREFLIGHT: &[Cure] = &[
    cure(
        "tornadose",
        "EventSource::cors answers it; let OPTIONS reach it, without a login",
    ),
    cure(
        "server",
        "OPTIONS: 204, access-control-allow-origin, access-control-allow-headers: last-event-id",
    ),
];

const RESUME: &[Cure] = &[
    cure(
        "tornadose",
        "a QueueStore or a Hub with a Retention that covers the time clients are away",
    ),
    cure(
        "server",
        "send what is behind the event of last-event-id, in its order, each once",
    ),
    cure("proxies", "let the header last-event-id through"),
];

const CURES: &[(&str, &[Cure])] = &[
    (
        "unreachable",
        &[cure(
            "you",
            "look at the name, the port, and whether the server listens on more than 127.0.0.1",
        )],
    ),
    (
        "tls",
        &[cure(
            "you",
            "the whole chain in the certificate file, the name in the certificate; --ca FILE for an authority of your own",
        )],
    ),
    (
        "no-answer",
        &[cure(
            "you",
            "https:// instead of http://, or the other way round; the log of the proxy",
        )],
    ),
    (
        "redirects",
        &[cure("you", "the final address, in the page, too")],
    ),
    (
        "redirect",
        &[cure(
            "page",
            "the final address: each redirect is a round trip at each return",
        )],
    ),
    (
        "redirect-insecure",
        &[cure(
            "server",
            "redirects to https; behind a proxy, heed x-forwarded-proto",
        )],
    ),
    (
        "no-content",
        &[
            cure(
                "tornadose",
                "OnGap::Tell instead of OnGap::Stop, Overload::Later instead of Overload::Stop",
            ),
            cure("server", "204 only for who shall never come back"),
        ],
    ),
    ("status", REFUSED),
    ("content-type", CONTENT_TYPE),
    ("charset", CONTENT_TYPE),
    ("charset-named", CONTENT_TYPE),
    ("cacheable", CACHE),
    ("cached", CACHE),
    (
        "transformable",
        &[
            cure("server", "cache-control: no-store, no-transform"),
            TORNADOSE_HEAD,
        ],
    ),
    (
        "no-accel-header",
        &[cure("server", "x-accel-buffering: no"), TORNADOSE_HEAD],
    ),
    (
        "content-length",
        &[cure(
            "server",
            "write the answer as it comes, without a length; no ETag or logging middleware that collects bodies",
        )],
    ),
    ("http1", HTTP2),
    ("no-head", UNBUFFERED),
    ("head-late", UNBUFFERED),
    ("buffered", UNBUFFERED),
    ("bursts", UNBUFFERED),
    (
        "lag",
        &[
            cure(
                "haproxy",
                "option http-no-delay, or it lets the kernel collect for 200 ms",
            ),
            cure("nginx", "tcp_nodelay on;, which is the default"),
        ],
    ),
    ("silent", IDLE),
    (
        "first-byte-late",
        &[
            cure("server", "a comment as the first bytes"),
            TORNADOSE_HEAD,
        ],
    ),
    (
        "direct-unusable",
        &[cure(
            "you",
            "the address of the server itself in --direct, and --header 'Host: …' if it needs the name",
        )],
    ),
    ("compressed", UNCOMPRESSED),
    ("compressed-late", UNCOMPRESSED),
    ("compressed-unasked", UNCOMPRESSED),
    (
        "ended",
        &[
            cure(
                "tornadose",
                "EventSource::max_age and Permit::expires_in end streams; so do a Shutdown and Overload::Later",
            ),
            cure(
                "server",
                "leave the answer open; look for a limit of the time of a request",
            ),
        ],
    ),
    (
        "cut",
        &[
            cure(
                "proxies",
                "look for a limit of the time of a whole request or answer (Envoy: timeout 0s for the route)",
            ),
            cure(
                "Google Cloud",
                "the time-out of the backend service (30 s by default) is of the whole answer",
            ),
            cure(
                "server",
                "look whether the process, or its worker, is restarted",
            ),
        ],
    ),
    ("idle-cut", IDLE),
    ("keep-alive-slow", IDLE),
    ("keep-alive-unseen", &[cure("you", "--wait 70")]),
    ("cors-origin", CORS),
    ("cors-vary", CORS),
    ("cors-credentials", CREDENTIALS),
    ("cors-any", CREDENTIALS),
    ("cors-preflight", PREFLIGHT),
    ("no-ids", RESUME),
    ("resume-refused", RESUME),
    ("resume-repeats", RESUME),
    ("resume-skips", RESUME),
    (
        "nonsense-id",
        &[
            cure(
                "tornadose",
                "OnGap::Tell, which is the default: the stream begins with a gap event",
            ),
            cure(
                "server",
                "200 for every last-event-id; one that is not known begins anew",
            ),
        ],
    ),
    (
        "no-blank-line",
        &[cure(
            "server",
            "a blank line behind each event: data: …\\n\\n",
        )],
    ),
    (
        "unfinished-event",
        &[cure(
            "server",
            "write an event as a whole, with its blank line, before the stream ends",
        )],
    ),
    (
        "unknown-field",
        &[
            cure("server", "`data: ` before each line of the data"),
            cure("tornadose", "Event::new splits data into lines"),
        ],
    ),
    (
        "event-without-data",
        &[cure("server", "a line `data` with the name")],
    ),
    ("id-nul", &[cure("server", "ids without NUL")]),
    (
        "retry-invalid",
        &[
            cure("server", "retry: 3000"),
            cure("tornadose", "EventSource::retry"),
        ],
    ),
    (
        "retry-short",
        &[
            cure("server", "retry: 3000"),
            cure("tornadose", "EventSource::retry"),
        ],
    ),
    (
        "not-utf8",
        &[cure("server", "UTF-8, and base64 for what is no text")],
    ),
    ("bom", &[cure("server", "UTF-8 without a byte order mark")]),
    (
        "large-event",
        &[cure(
            "server",
            "less in one event: a reference to what is large",
        )],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finding_and_cure_is_documented() {
        let document = include_str!("../../../docs/doctor.md");
        for (code, cures) in CURES {
            assert!(!cures.is_empty(), "{code}");
            assert!(document.contains(&format!("| `{code}` |")), "{code}");
        }
        let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
        for row in rows.filter(|row| !row.starts_with("--")) {
            let code = row.split('`').next().expect("a code");
            assert!(!of(code).is_empty(), "{code}");
        }
    }

    #[test]
    fn every_error_has_a_cure() {
        let sources = [
            include_str!("judge/mod.rs"),
            include_str!("judge/cors.rs"),
            include_str!("judge/ending.rs"),
            include_str!("judge/head.rs"),
            include_str!("judge/resuming.rs"),
            include_str!("judge/text.rs"),
            include_str!("judge/timing.rs"),
        ];
        let mut codes = Vec::new();
        for source in sources {
            for severity in ["note", "warning", "error"] {
                for call in source.split(&format!("Finding::{severity}(")).skip(1) {
                    let code = call
                        .trim_start()
                        .strip_prefix('"')
                        .and_then(|rest| rest.split('"').next());
                    codes.push(code.expect("a literal"));
                }
            }
        }
        assert!(codes.len() > 50);
        for code in codes {
            assert!(!of(code).is_empty(), "{code}");
        }
    }
}
