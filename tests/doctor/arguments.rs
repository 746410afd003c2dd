//! The program as a program: what it takes, what it follows, what it keeps to itself.

use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;

use crate::scripted::{Scripted, Step, chunk, head, header, raw, stream};
use crate::{examine, run};

fn leads_to(status: &str, location: &str) -> Vec<Step> {
    vec![raw(&format!(
        "HTTP/1.1 {status}\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
    ))]
}

#[tokio::test]
async fn what_is_no_question_is_not_asked() {
    let help = run(&["--help"]).await;
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&help.stdout).contains("Usage: tornadose-doctor"));
    let version = run(&["--version"]).await;
    let expected = concat!("tornadose-doctor ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(version.stdout, expected.as_bytes());
    for wrong in [
        &[][..],
        &["--wait=never", "http://a/"],
        &["events"],
        &["--ca=/nowhere", "http://a/"],
    ] {
        let output = run(wrong).await;
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(output.stdout.is_empty());
        assert!(output.stderr.starts_with(b"tornadose-doctor: "));
    }
}

#[tokio::test]
async fn who_is_not_there_is_not_examined() {
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = free.local_addr().expect("bound");
    drop(free);
    for url in [
        format!("http://{address}/"),
        "http://nobody.invalid/".to_owned(),
    ] {
        let report = examine(&[&url]).await;
        assert_eq!((report.found.as_str(), report.exit), ("unreachable", 2));
    }
}

#[tokio::test]
async fn redirects_are_followed_as_far_as_browsers_do() {
    let well = Scripted::serve(|request| match request.starts_with("GET /final?x=1 ") {
        true => stream(&[b":\n\n"]),
        false => leads_to("307 Over there", "/final?x=1"),
    });
    let report = examine(&["--wait=0.3", &well.await.url()]).await;
    assert_eq!((report.found.as_str(), report.exit), ("redirect http1", 0));

    let circle = Scripted::serve(|_| leads_to("302 Round", "/events")).await;
    let report = examine(&["--wait=0.3", &circle.url()]).await;
    assert_eq!(report.found, ["redirect"; 20].join(" ") + " redirects");
    assert_eq!(report.exit, 1);

    let nowhere = Scripted::serve(|_| leads_to("308 There", "ftp://nowhere/")).await;
    let report = examine(&["--wait=0.3", &nowhere.url()]).await;
    assert_eq!((report.found.as_str(), report.exit), ("redirects", 1));
}

#[tokio::test]
async fn secrets_stay_where_they_belong() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&seen);
    let other = Scripted::serve(move |request| {
        heard.lock().expect("no panic").push(request.to_owned());
        stream(&[b"id: a\ndata: top-secret\n\n", b"id: b\ndata: b\n\n"])
    });
    let other = other.await;
    let there = format!("{}?token=top-secret", other.url());
    let home = Scripted::serve(move |request| {
        assert_eq!(header(request, "cookie"), Some("s=top-secret"));
        assert_eq!(header(request, "authorization"), Some("Bearer top-secret"));
        leads_to("302 There", &there)
    });
    let home = home.await;
    let url = format!("{}?token=top-secret", home.url());
    let secrets = [
        "--header=Cookie: s=top-secret",
        "--header",
        "Authorization: Bearer top-secret",
    ];
    for more in [&[][..], &["--json"]] {
        let output = run(&[&secrets[..], &["--wait=0.3", &url], more].concat()).await;
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            said.contains("redirect") && !said.contains("top-secret"),
            "{said}"
        );
        assert!(!said.contains('\x1b'));
        assert!(output.stderr.is_empty());
    }
    let seen = seen.lock().expect("no panic");
    // As a browser, with an id, and with nonsense, each twice.
    assert_eq!(seen.len(), 6);
    for request in &*seen {
        assert_eq!(header(request, "cookie"), None);
        assert_eq!(header(request, "authorization"), None);
        assert_eq!(header(request, "accept"), Some("text/event-stream"));
    }
}

/// A page needs no leave to read what is of its own origin, and says no origin.
#[tokio::test]
async fn a_page_of_the_same_origin() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&seen);
    let home = Scripted::serve(move |request| {
        heard.lock().expect("no panic").push(request.to_owned());
        stream(&[b":\n\n"])
    });
    let home = home.await;
    let origin = format!("http://{}", home.address);
    let report = examine(&["--wait=0.3", "--origin", &origin, &home.url()]).await;
    assert_eq!((report.found.as_str(), report.exit), ("http1", 0));
    let seen = seen.lock().expect("no panic");
    // As a browser, and with nonsense.
    assert_eq!(seen.len(), 2);
    for request in &*seen {
        assert!(request.starts_with("GET ") && header(request, "origin").is_none());
    }
}

/// Who allows a client one stream at a time is not misread.
#[tokio::test]
async fn one_question_is_asked_after_another() {
    let streams = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&streams);
    let server = Scripted::serve(move |request| {
        let id = header(request, "last-event-id").unwrap_or("none");
        let method = request.split(' ').next().unwrap_or_default();
        let origin = header(request, "origin").expect("an origin").to_owned();
        heard
            .lock()
            .expect("no panic")
            .push(format!("{method} {id} {origin}"));
        let mut steps = match id {
            "none" => stream(&[b"id: 1\ndata: a\n\n", b"id: 2\ndata: b\n\n"]),
            _ => stream(&[b"id: 2\ndata: b\n\n"]),
        };
        steps.insert(0, Step::Wait(100));
        steps
    });
    let server = server.await;
    let app = "--origin=https://app.example";
    examine(&["--wait=0.3", app, &server.url()]).await;
    let streams = streams.lock().expect("no panic");
    assert_eq!(
        *streams,
        [
            "GET none https://app.example",
            "GET 1 https://app.example",
            "GET tornadose-doctor, 1-2_3:4 https://app.example",
            "OPTIONS none https://app.example",
            "GET none https://tornadose-doctor.invalid",
        ]
    );
}

/// What a server says reaches a terminal as plain text, and not without end.
#[tokio::test]
async fn a_server_cannot_write_to_a_terminal() {
    let rude = Scripted::serve(|_| {
        let long = "x".repeat(5000);
        vec![raw(&format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/{long}\u{9b}31m\r\ncontent-length: 0\r\n\r\n"
        ))]
    });
    let output = run(&[&rude.await.url()]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.len() < 2000);
    assert!(!String::from_utf8_lossy(&output.stdout).contains(['\x1b', '\u{9b}']));
}

/// A server that never stops talking is left.
#[tokio::test]
async fn no_more_is_read_than_is_said() {
    let endless = Scripted::serve(|_| {
        let chunks = (0..600).map(|_| chunk([&[b'x'; 65_530][..], b"\n\n"].concat()));
        [head("")]
            .into_iter()
            .chain(chunks)
            .chain([Step::Hold])
            .collect()
    });
    let report = examine(&["--wait=20", &endless.await.url()]).await;
    assert_eq!(report.whole["stream"]["end"], "enough");
    let bytes = report.whole["stream"]["bytes"].as_u64().expect("a number");
    assert!((8 << 20..9 << 20).contains(&bytes), "{bytes}");
}
