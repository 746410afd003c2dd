//! Streams that come late, by scripts.

use futures_util::future::join_all;

use crate::examine;
use crate::scripted::Step::{Hold, Wait};
use crate::scripted::{Scripted, Step, chunk, every, head, header};

/// An event every 200 ms, the same for all who ask.
fn events(from: usize) -> impl Fn(usize) -> String {
    move |number| {
        let id = from + number;
        format!("id: {id}\ndata: event {id}\n\n")
    }
}

fn well(request: &str) -> Vec<Step> {
    let from = match header(request, "last-event-id").map(str::parse::<usize>) {
        Some(Ok(id)) => id + 1,
        _ => 1,
    };
    [head("")]
        .into_iter()
        .chain(every(200, events(from)))
        .collect()
}

#[tokio::test]
async fn what_comes_at_once_is_timely() {
    let (server, direct) = (Scripted::serve(well).await, Scripted::serve(well).await);
    let report = examine(&["--wait=1.5", "--direct", &direct.url(), &server.url()]).await;
    assert_eq!((report.found.as_str(), report.exit), ("http1", 0));
    assert_eq!(
        report.ok,
        "head timely open keep-alive text resumes nonsense-id"
    );
}

#[tokio::test]
async fn a_head_that_waits_for_the_first_event() {
    let server =
        Scripted::serve(|request| [Wait(1300)].into_iter().chain(well(request)).collect()).await;
    let report = examine(&["--wait=0.5", "--timeout=3", &server.url()]).await;
    assert_eq!((report.found.as_str(), report.exit), ("http1 head-late", 1));

    let silent = Scripted::serve(|_| vec![Hold]).await;
    let report = examine(&["--wait=0.5", "--timeout=1", &silent.url()]).await;
    assert_eq!((report.found.as_str(), report.exit), ("no-head", 1));
}

#[tokio::test]
async fn a_first_byte_that_comes_late() {
    let server = Scripted::serve(|request| {
        let mut steps = well(request);
        steps.insert(1, Wait(2300));
        steps
    });
    let report = examine(&["--wait=2.8", &server.await.url()]).await;
    assert_eq!(
        (report.found.as_str(), report.exit),
        ("http1 first-byte-late", 0)
    );
}

/// What is sent as pages, whatever stands in them.
fn paged(page: usize, millis: u64, event: impl Fn(usize) -> String) -> Vec<Step> {
    let text: String = (1..400).map(event).collect();
    let pages = text.as_bytes().chunks(page);
    let pages = pages.flat_map(|page| [chunk(page), Wait(millis)]);
    [head("")].into_iter().chain(pages).collect()
}

#[tokio::test]
async fn pages_give_a_buffer_away() {
    let rows = [(101, 300), (205, 1200)];
    let judging = rows.map(async |(page, millis)| {
        let server = Scripted::serve(move |request| match header(request, "last-event-id") {
            None => paged(page, millis, events(1)),
            Some(_) => well(request),
        });
        let report = examine(&["--wait=2", &server.await.url()]).await;
        assert_eq!((report.found.as_str(), report.exit), ("http1 buffered", 1));
        assert_eq!(report.severity("buffered"), "error");
    });
    join_all(judging).await;
}

#[tokio::test]
async fn so_do_comments_that_come_together() {
    let server = Scripted::serve(|_| paged(9, 1200, |_| ":\n\n".to_owned())).await;
    let report = examine(&["--wait=2", &server.url()]).await;
    assert_eq!((report.found.as_str(), report.exit), ("http1 buffered", 1));
}

/// Whole events together may be what the server does.
#[tokio::test]
async fn bursts_are_a_buffer_only_beside_the_direct_stream() {
    let bursts = |request: &str| match header(request, "last-event-id") {
        Some(_) => well(request),
        None => {
            let event = events(0);
            let burst = |number: usize| {
                (1..=6)
                    .map(|each| event(number * 6 + each))
                    .collect::<String>()
            };
            let first = [head(""), chunk(":\n\n"), Wait(1200)];
            first.into_iter().chain(every(1200, burst)).collect()
        }
    };
    let server = Scripted::serve(bursts).await;
    let well = Scripted::serve(well).await;
    let (url, direct) = (server.url(), well.url());
    let (alone, beside) = (["--wait=3", &url], ["--wait=3", "--direct", &direct, &url]);
    let (alone, beside) = tokio::join!(examine(&alone), examine(&beside));
    assert_eq!((alone.found.as_str(), alone.exit), ("http1 bursts", 0));
    assert_eq!((beside.found.as_str(), beside.exit), ("http1 buffered", 1));
}

#[tokio::test]
async fn what_comes_later_than_the_direct_stream() {
    let direct = Scripted::serve(well).await;
    let rows = [
        // The head and all else.
        |request: &str| {
            [Wait(800)]
                .into_iter()
                .chain(well(request))
                .collect::<Vec<_>>()
        },
        // The events alone.
        |request: &str| {
            let mut steps = well(request);
            if header(request, "last-event-id").is_none() {
                steps.insert(1, Wait(800));
            }
            steps
        },
        // Nothing at all.
        |request: &str| match header(request, "last-event-id") {
            None => vec![head(""), chunk(":\n\n"), Hold],
            Some(_) => well(request),
        },
    ];
    let judging = rows.map(async |late| {
        let server = Scripted::serve(late).await;
        let report = examine(&["--wait=2", "--direct", &direct.url(), &server.url()]).await;
        assert_eq!(report.severity("buffered"), "error");
        assert_eq!(report.exit, 1);
    });
    join_all(judging).await;

    let silent = Scripted::serve(|_| vec![Hold]).await;
    let arguments = [
        "--wait=0.5",
        "--timeout=1",
        "--direct",
        &direct.url(),
        &silent.url(),
    ];
    let report = examine(&arguments).await;
    assert_eq!((report.found.as_str(), report.exit), ("buffered", 1));
}

/// As some proxies let the kernel collect what is small.
#[tokio::test]
async fn what_lags_behind_the_direct_stream() {
    let direct = Scripted::serve(well).await;
    let server = Scripted::serve(|request| {
        let mut steps = well(request);
        if header(request, "last-event-id").is_none() {
            steps.insert(1, Wait(300));
        }
        steps
    })
    .await;
    let (direct, url) = (direct.url(), server.url());
    let report = examine(&["--wait=1.5", "--direct", &direct, &url]).await;
    assert_eq!((report.found.as_str(), report.exit), ("http1 lag", 0));
}

#[tokio::test]
async fn a_direct_stream_that_is_none() {
    let server = Scripted::serve(well).await;
    let none = Scripted::serve(|_| {
        vec![crate::scripted::raw(
            "HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n",
        )]
    })
    .await;
    for direct in [none.url(), "http://127.0.0.1:1/".to_owned()] {
        let report = examine(&["--wait=0.6", "--direct", &direct, &server.url()]).await;
        assert_eq!(
            (report.found.as_str(), report.exit),
            ("http1 direct-unusable", 1)
        );
    }
}
