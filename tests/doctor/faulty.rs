//! One server for each thing that can be wrong.

use tokio::task::JoinSet;

use crate::examine;
use crate::scripted::Step::{Hold, Send, Wait};
use crate::scripted::{
    HEAD, Scripted, Step, WELL, chunk, every, head, header, last_chunk, raw, stream,
};

type Row = (fn(&str) -> Vec<Step>, &'static str, i32);

/// Each row's server is examined for 0.6 s, all at the same time.
async fn judged(arguments: &'static [&'static str], rows: &[Row]) {
    let mut judging = JoinSet::new();
    for &(script, found, exit) in rows {
        judging.spawn(async move {
            let server = Scripted::serve(script).await;
            let url = server.url();
            let report = examine(&[&["--wait=0.6", "--timeout=2", &url], arguments].concat()).await;
            assert_eq!((report.found.as_str(), report.exit), (found, exit));
        });
    }
    judging.join_all().await;
}

fn answer(text: &str) -> Vec<Step> {
    vec![raw(text), Hold]
}

#[tokio::test]
async fn what_kills_an_event_source() {
    judged(
        &[],
        &[
            (
                |_| answer("HTTP/1.1 204 No Content\r\n\r\n"),
                "no-content",
                1,
            ),
            (
                |_| answer("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"),
                "status",
                1,
            ),
            (
                |_| answer("HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n"),
                "status",
                1,
            ),
            (
                |_| {
                    answer(
                        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 0\r\n\r\n",
                    )
                },
                "content-type",
                1,
            ),
            (
                |_| answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
                "content-type",
                1,
            ),
            (|_| vec![], "no-answer", 2),
            (|_| answer("SSH-2.0-hello\r\n"), "no-answer", 2),
            (|_| vec![Hold], "no-head", 1),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_a_head_lacks() {
    fn with(head: &str) -> Vec<Step> {
        vec![raw(&format!("{head}\r\n")), chunk(":\n\n"), Hold]
    }
    judged(
        &[],
        &[
            (|_| with(&format!("{HEAD}{WELL}")), "http1", 0),
            (
                |_| with(&format!("{HEAD}cache-control: no-cache\r\n")),
                "cacheable transformable no-accel-header http1",
                0,
            ),
            (
                |_| with(&format!("{HEAD}x-accel-buffering: no\r\n")),
                "cacheable transformable http1",
                1,
            ),
            (
                |_| {
                    with(&format!(
                        "{HEAD}server: nginx\r\ncache-control: no-store, no-transform\r\n"
                    ))
                },
                "http1",
                0,
            ),
            (
                |_| with(&format!("{HEAD}{WELL}age: 12\r\n")),
                "cached http1",
                1,
            ),
            (
                |_| {
                    with(
                        &format!("{HEAD}{WELL}")
                            .replace("event-stream", "event-stream; charset=utf-8"),
                    )
                },
                "charset-named http1",
                0,
            ),
            (
                |_| {
                    with(
                        &format!("{HEAD}{WELL}")
                            .replace("event-stream", "event-stream; charset=utf-16"),
                    )
                },
                "charset http1",
                1,
            ),
            (
                |_| {
                    let with_length = format!("{HEAD}{WELL}\r\n")
                        .replace("transfer-encoding: chunked", "content-length: 3");
                    vec![raw(&with_length), raw(":\n\n"), Hold]
                },
                "content-length http1 ended",
                1,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_no_browser_dispatches() {
    judged(
        &[],
        &[
            (
                |_| stream(&[b"data: a\n\n", b"data: b\n\n"]),
                "http1 no-ids",
                0,
            ),
            (
                |_| stream(&[b"data: a\n", b"data: b\n"]),
                "http1 no-blank-line",
                1,
            ),
            (|_| stream(&[b"{\"a\": 1}\n\n"]), "http1 unknown-field", 1),
            (
                |_| stream(&[b"event: a\n\n"]),
                "http1 event-without-data",
                1,
            ),
            (
                |_| stream(&[b"id: 1\0\ndata: a\n\n"]),
                "http1 id-nul no-ids",
                1,
            ),
            (|_| stream(&[b"retry: 3s\n\n"]), "http1 retry-invalid", 1),
            (|_| stream(&[b"retry: 0\n\n"]), "http1 retry-short", 0),
            (|_| stream(&[b": \xff\n\n"]), "http1 not-utf8", 1),
            (|_| stream(&[b"\xef\xbb\xbf:\n\n"]), "http1 bom", 0),
            (
                |_| stream(&[&[b"data: ", &[b'x'; 70_000][..], b"\n\n"].concat()]),
                "http1 large-event no-ids",
                0,
            ),
            (
                |_| vec![head(""), chunk("data: a\n\ndata: b\n"), last_chunk()],
                "http1 ended unfinished-event no-ids",
                1,
            ),
            // In pieces that no server would write, but a network may.
            (
                |_| stream(&[b"da", b"ta: a", b"\n", b"\n"]),
                "http1 no-ids",
                0,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn how_it_ends() {
    judged(
        &[],
        &[
            (
                |_| vec![head(""), chunk(":\n\n"), last_chunk()],
                "http1 ended",
                1,
            ),
            (
                |_| vec![head(""), chunk(":\n\n"), Wait(100)],
                "http1 cut",
                1,
            ),
            (
                |_| vec![head(""), chunk(":\n\n"), Wait(100), Step::Reset],
                "http1 cut",
                1,
            ),
            (
                |_| vec![head(""), chunk(":\n\n"), raw("nonsense\r\n"), Hold],
                "http1 cut",
                1,
            ),
            (
                |_| {
                    let closing = format!("{HEAD}{WELL}\r\n")
                        .replace("transfer-encoding: chunked", "connection: close");
                    vec![raw(&closing), raw(":\n\n"), Wait(100)]
                },
                "http1 cut",
                1,
            ),
            (|_| vec![head(""), Hold], "http1 silent", 1),
        ],
    )
    .await;
}

/// All events, and with an id those that this says.
fn resuming(request: &str, again: &[&str]) -> Vec<Step> {
    match header(request, "last-event-id") {
        None => stream(&[
            b"id: 1\ndata: a\n\n",
            b"id: 2\ndata: b\n\n",
            b"id: 3\ndata: c\n\n",
        ]),
        Some("2") => {
            let again: Vec<_> = again.iter().map(|event| event.as_bytes()).collect();
            stream(&again)
        }
        Some(_) => stream(&[b":\n\n"]),
    }
}

#[tokio::test]
async fn who_comes_back() {
    judged(
        &[],
        &[
            (
                |request| resuming(request, &["id: 3\ndata: c\n\n"]),
                "http1",
                0,
            ),
            (
                |request| {
                    resuming(
                        request,
                        &["event: gap\nid: 3\ndata: {}\n\n", "id: 4\ndata: d\n\n"],
                    )
                },
                "http1",
                0,
            ),
            (
                |request| resuming(request, &["id: 2\ndata: b\n\n", "id: 3\ndata: c\n\n"]),
                "http1 resume-repeats",
                1,
            ),
            (
                |request| resuming(request, &["id: 4\ndata: d\n\n"]),
                "http1 resume-skips",
                1,
            ),
            (|request| resuming(request, &[]), "http1 resume-skips", 1),
            (
                |request| match header(request, "last-event-id") {
                    Some("2") => answer("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n"),
                    _ => resuming(request, &[]),
                },
                "http1 resume-refused",
                1,
            ),
            (
                |request| match header(request, "last-event-id") {
                    Some(_) => answer("HTTP/1.1 400 Bad\r\ncontent-length: 0\r\n\r\n"),
                    None => stream(&[b":\n\n"]),
                },
                "http1 nonsense-id",
                1,
            ),
            (
                |request| match header(request, "last-event-id") {
                    Some(_) => vec![],
                    None => stream(&[b":\n\n"]),
                },
                "http1 nonsense-id",
                1,
            ),
            // Who has no room says nothing of ids.
            (
                |request| match header(request, "last-event-id") {
                    Some(_) => answer("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"),
                    None => resuming(request, &[]),
                },
                "http1 resume-refused nonsense-id",
                0,
            ),
            (
                |request| match header(request, "last-event-id") {
                    Some("2") => vec![head(""), chunk("retry: 3000\n\n"), last_chunk()],
                    _ => resuming(request, &[]),
                },
                "http1",
                0,
            ),
        ],
    )
    .await;
    judged(
        &["--latest"],
        &[(
            |request| resuming(request, &["id: 4\ndata: d\n\n"]),
            "http1",
            0,
        )],
    )
    .await;
}

/// A stream with these headers for the origin of the request, and that answer to a preflight.
fn cors(request: &str, allow: &str, preflight: &str) -> Vec<Step> {
    let origin = header(request, "origin").expect("an origin");
    let allow = allow.replace("ORIGIN", origin);
    if request.starts_with("OPTIONS") {
        assert_eq!(
            header(request, "access-control-request-headers"),
            Some("last-event-id")
        );
        return answer(&format!(
            "{}\r\n{allow}content-length: 0\r\n\r\n",
            preflight.replace('|', "\r\n")
        ));
    }
    vec![head(&allow), chunk(":\n\n"), Hold]
}

#[tokio::test]
async fn pages_of_other_origins() {
    const ALLOWED: &str = "HTTP/1.1 204 OK|access-control-allow-headers: Last-Event-ID";
    const APP: &str = "access-control-allow-origin: https://app.example\r\n";
    judged(
        &["--origin=https://app.example"],
        &[
            (|request| cors(request, &format!("{APP}vary: Origin\r\n"), ALLOWED), "http1", 0),
            // The same for everybody need not vary.
            (|request| cors(request, APP, ALLOWED), "http1", 0),
            (|request| cors(request, "", ALLOWED), "http1 cors-origin", 1),
            (|request| cors(request, &format!("{APP}{APP}"), ALLOWED), "http1 cors-origin", 1),
            (|request| cors(request, "access-control-allow-origin: https://b.example\r\n", ALLOWED), "http1 cors-origin", 1),
            (|request| cors(request, "access-control-allow-origin: ORIGIN\r\n", ALLOWED), "http1 cors-vary", 1),
            (
                |request| cors(request, "access-control-allow-origin: ORIGIN\r\nvary: a, origin\r\naccess-control-allow-credentials: true\r\n", ALLOWED),
                "http1 cors-any",
                1,
            ),
            (|request| cors(request, APP, "HTTP/1.1 405 No"), "http1 cors-preflight", 1),
            (|request| cors(request, APP, "HTTP/1.1 200 OK"), "http1 cors-preflight", 1),
            (|request| cors(request, APP, "HTTP/1.1 200 OK|access-control-allow-headers: *"), "http1", 0),
        ],
    )
    .await;
    judged(
        &["--origin=https://app.example", "--credentials"],
        &[
            (|request| cors(request, APP, ALLOWED), "http1 cors-credentials", 1),
            (
                |request| cors(request, "access-control-allow-origin: *\r\naccess-control-allow-credentials: true\r\n", ALLOWED),
                "http1 cors-credentials",
                1,
            ),
            (
                |request| cors(request, &format!("{APP}access-control-allow-credentials: true\r\n"), "HTTP/1.1 200 OK|access-control-allow-headers: *"),
                "http1 cors-preflight",
                1,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn compressed() {
    fn squeezed(pieces: Vec<Step>) -> Vec<Step> {
        [head("content-encoding: gzip\r\n")]
            .into_iter()
            .chain(pieces)
            .chain([Hold])
            .collect()
    }
    fn accepts(request: &str) -> bool {
        header(request, "accept-encoding") == Some("gzip, deflate")
    }
    fn plain() -> Vec<Step> {
        [head("")]
            .into_iter()
            .chain(every(200, |_| ":\n\n".into()))
            .collect()
    }
    judged(
        &["--wait=1.6"],
        &[
            (
                |request| match accepts(request) {
                    true => squeezed(every(200, |_| "squeezed".into())),
                    false => plain(),
                },
                "http1 compressed",
                0,
            ),
            (
                |request| match accepts(request) {
                    true => squeezed(vec![Send(b"a\r\n0123456789\r\n".to_vec())]),
                    false => plain(),
                },
                "http1 compressed-late keep-alive-unseen",
                1,
            ),
            (
                |_| squeezed(every(200, |_| "squeezed".into())),
                "http1 compressed-unasked",
                1,
            ),
        ],
    )
    .await;
}
