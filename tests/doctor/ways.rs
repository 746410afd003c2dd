//! A good stream, and a way to it on which things go wrong.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::TcpListener;
use tornadose::{EventSource, QueueStore, Server};

use crate::examine;
use tornadose::test::{At, Cut, Proxy, Script, Way};

/// A keep-alive every 400 ms, through such a proxy.
async fn behind(script: Script, keep_alive: Duration) -> (String, String, Proxy) {
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = tcp.local_addr().expect("bound");
    let events = EventSource::new(QueueStore::new()).keep_alive(keep_alive);
    tokio::spawn(async move { drop(Server::new(tcp).serve(events).await) });
    let proxy = Proxy::to(address).await.expect("a proxy");
    proxy.follow(script);
    let url = |address| format!("http://{address}/events");
    (url(proxy.address()), url(address), proxy)
}

const OFTEN: Duration = Duration::from_millis(400);
const SELDOM: Duration = Duration::from_secs(30);

fn ends(at: At, cut: Cut) -> Script {
    Script::new().cut(at, cut)
}

#[tokio::test]
async fn a_way_without_faults() {
    let (url, direct, _proxy) = behind(Script::new(), OFTEN).await;
    let report = examine(&["--wait=1.5", "--direct", &direct, &url]).await;
    assert_eq!((report.found.as_str(), report.exit), ("http1", 0));
    assert_eq!(report.ok, "head timely open keep-alive nonsense-id");
}

#[tokio::test]
async fn a_slow_way() {
    let script = Script::new().down(Way::new().delay(Duration::from_millis(1200)));
    let (url, direct, _proxy) = behind(script, OFTEN).await;
    // Three comments have come together meanwhile, in each piece.
    let beside = ["--wait=3", "--direct", &direct, &url];
    for report in join_all([&["--wait=3", &url], &beside[..]].map(examine)).await {
        assert_eq!(
            (report.found.as_str(), report.exit),
            ("http1 buffered head-late", 1)
        );
    }
}

/// It is no matter how the bytes are cut.
#[tokio::test]
async fn a_way_byte_by_byte() {
    let script = Script::new().down(Way::new().split());
    let (url, _, _proxy) = behind(script, OFTEN).await;
    let report = examine(&["--wait=1.5", &url]).await;
    assert_eq!((report.found.as_str(), report.exit), ("http1", 0));
}

#[tokio::test]
async fn a_way_that_ends() {
    let soon = At::After(Duration::from_millis(900));
    let later = At::After(Duration::from_millis(1500));
    let rows = [
        (ends(soon, Cut::Reset), OFTEN, "http1 cut", "reset"),
        (ends(soon, Cut::FinishDown), OFTEN, "http1 cut", "cut"),
        (ends(later, Cut::Reset), SELDOM, "http1 idle-cut", "reset"),
        (
            ends(later, Cut::FinishDown),
            SELDOM,
            "http1 idle-cut",
            "cut",
        ),
    ];
    let judging = rows.map(async |(script, keep_alive, found, end)| {
        let (url, _, _proxy) = behind(script, keep_alive).await;
        let report = examine(&["--wait=3", &url]).await;
        assert_eq!((report.found.as_str(), report.exit), (found, 1));
        assert_eq!(report.whole["stream"]["end"], end);
    });
    join_all(judging).await;
}

#[tokio::test]
async fn a_way_that_falls_silent() {
    let silent = ends(At::After(Duration::from_millis(600)), Cut::SilenceDown);
    let (url, direct, _proxy) = behind(silent, OFTEN).await;
    let alone = ["--wait=3", "--idle-limit=1", &url];
    let beside = ["--wait=3", "--direct", &direct, &url];
    let (report, beside) = tokio::join!(examine(&alone), examine(&beside));
    assert_eq!(
        (report.found.as_str(), report.exit),
        ("http1 keep-alive-slow", 1)
    );
    assert_eq!(
        (beside.found.as_str(), beside.exit),
        ("http1 buffered keep-alive-unseen", 1)
    );

    let mute = ends(At::Up(1), Cut::SilenceDown);
    let (url, direct, _proxy) = behind(mute, OFTEN).await;
    let report = examine(&["--wait=1", "--timeout=1", &url]).await;
    assert_eq!((report.found.as_str(), report.exit), ("no-head", 1));
    let report = examine(&["--wait=1", "--timeout=1", "--direct", &direct, &url]).await;
    assert_eq!((report.found.as_str(), report.exit), ("buffered", 1));
}
