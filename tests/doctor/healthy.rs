//! Our own streams.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tornadose::{Cors, DataStore, EventSource, OnGap, Overload, QueueStore, Retention, Server};

use crate::examine;

const LOOKED_AT: &str = "head timely open keep-alive text resumes nonsense-id";

async fn serve(events: EventSource) -> (String, JoinHandle<()>) {
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!(
        "http://{}/events?secret=1",
        tcp.local_addr().expect("bound")
    );
    let serving = tokio::spawn(async move {
        let _ = Server::new(tcp).serve(events).await;
    });
    (url, serving)
}

/// Submits ten times a second, as long as there is somebody to end it.
fn busy(submit: impl Fn(String) + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(async move {
        for number in 0..600 {
            submit(format!("event {number}"));
            sleep(Duration::from_millis(100)).await;
        }
    })
}

#[tokio::test]
async fn a_lossless_stream_is_well() {
    let store = QueueStore::new();
    let (url, _serving) = serve(EventSource::new(store.clone())).await;
    let busy = busy(move |text| drop(store.submit(text)));
    let report = examine(&["--wait=1.5", &url]).await;
    assert_eq!((report.found.as_str(), report.exit), ("http1", 0));
    assert_eq!(report.ok, LOOKED_AT);
    assert_eq!(report.whole["stream"]["end"], "open");
    assert!(report.whole["stream"]["events"].as_u64() >= Some(5));
    busy.abort();
}

#[tokio::test]
async fn a_latest_value_is_well() {
    let store = DataStore::with_initial("0").expect("an event");
    let (url, _serving) = serve(EventSource::new(store.clone())).await;
    let busy = busy(move |text| drop(store.submit(text)));
    let report = examine(&["--wait=1.5", "--latest", &url]).await;
    assert_eq!((report.found.as_str(), report.exit), ("http1", 0));
    assert_eq!(report.ok, LOOKED_AT);
    busy.abort();
}

/// Also where what is asked for is gone: the gap is told.
#[tokio::test]
async fn a_told_gap_is_an_answer() {
    let store = QueueStore::builder()
        .retention(Retention::new().events(1))
        .build();
    let (url, _serving) = serve(EventSource::new(store.clone())).await;
    let busy = busy(move |text| drop(store.submit(text)));
    let report = examine(&["--wait=1", &url]).await;
    assert_eq!((report.found.as_str(), report.exit), ("http1", 0));
    assert_eq!(report.ok, LOOKED_AT);
    busy.abort();
}

#[tokio::test]
async fn a_quiet_stream_is_well_if_its_keep_alive_is_seen() {
    let events = EventSource::new(QueueStore::new()).keep_alive(Duration::from_millis(400));
    let (often, _serving) = serve(events.clone()).await;
    let (never, _serving) = serve(events.without_keep_alive()).await;
    let arguments = [
        &["--wait=1.5", &often][..],
        &["--wait=1.5", &never],
        &["--wait=1.5", "--idle-limit=1", &never],
    ];
    let reports = join_all(arguments.map(examine)).await;
    let found = reports
        .iter()
        .map(|report| (report.found.as_str(), report.exit));
    let expected = [
        ("http1", 0),
        ("http1 keep-alive-unseen", 0),
        ("http1 keep-alive-slow", 1),
    ];
    assert_eq!(found.collect::<Vec<_>>(), expected);
    assert_eq!(reports[0].ok, "head timely open keep-alive nonsense-id");
}

#[tokio::test]
async fn pages_of_other_origins_are_let_in() {
    let page = "https://app.example";
    let one = Cors::origins([page]).expect("an origin");
    let with = Cors::with_credentials([page, "https://other.example"]).expect("origins");
    let rows = [
        (Some(Cors::any()), &[][..], "http1"),
        (Some(one.clone()), &[], "http1"),
        (Some(with.clone()), &[], "http1"),
        (Some(with), &["--credentials"], "http1"),
        (
            Some(one),
            &["--header=Cookie: a=b"],
            "http1 cors-credentials",
        ),
        (
            Some(Cors::any()),
            &["--credentials"],
            "http1 cors-credentials",
        ),
        (
            Some(Cors::origins(["https://a.example"]).expect("an origin")),
            &[],
            "http1 cors-origin",
        ),
        (None, &[], "http1 cors-origin"),
    ];
    let judging = rows.map(async |(cors, arguments, found)| {
        let mut events = EventSource::new(QueueStore::new());
        if let Some(cors) = cors {
            events = events.cors(cors);
        }
        let (url, _serving) = serve(events).await;
        let report = examine(&[&["--wait=0.1", "--origin", page, &url], arguments].concat()).await;
        assert_eq!(report.found, found, "{arguments:?}");
        assert_eq!(report.exit, i32::from(found != "http1"));
        assert_eq!(report.ok.contains("cors"), found == "http1");
    });
    join_all(judging).await;
}

#[tokio::test]
async fn what_we_answer_on_purpose_is_told() {
    let full = || EventSource::new(QueueStore::new()).max_streams(0);
    let rows = [
        (full().overload(Overload::Unavailable), "status", 1),
        (full().overload(Overload::Stop), "no-content", 1),
        (full().overload(Overload::Later), "http1 ended", 1),
        (
            EventSource::new(QueueStore::new()).on_gap(OnGap::Stop),
            "http1 nonsense-id",
            0,
        ),
        (
            EventSource::new(QueueStore::new()).max_age(Duration::from_millis(200)),
            "http1 ended",
            1,
        ),
    ];
    let judging = rows.map(async |(events, found, exit)| {
        let (url, _serving) = serve(events).await;
        let report = examine(&["--wait=0.7", &url]).await;
        assert_eq!((report.found.as_str(), report.exit), (found, exit));
    });
    join_all(judging).await;
}
