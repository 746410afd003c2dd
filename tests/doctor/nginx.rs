//! Behind a real nginx.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tornadose::{EventSource, QueueStore};

use crate::examine;

/// Our stream, with or without the header that nginx heeds.
async fn upstream(events: EventSource, is_heeded: bool) -> SocketAddr {
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = tcp.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((tcp, _)) = tcp.accept().await {
            let events = events.clone();
            let answer = service_fn(move |request: Request<Incoming>| {
                let mut response = events.respond(&request);
                if !is_heeded {
                    response.headers_mut().remove("x-accel-buffering");
                }
                async { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(tcp), answer);
            tokio::spawn(async move { drop(connection.await) });
        }
    });
    address
}

struct Nginx {
    url: String,
    process: Child,
    folder: PathBuf,
}

impl Nginx {
    /// Passes everything on, as it does by default but for these settings.
    async fn before(upstream: SocketAddr, settings: &str) -> Self {
        let port = free_port();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("nginx-{port}"));
        std::fs::create_dir_all(&folder).expect("a folder");
        let temp = folder.join("temp");
        let temp = temp.to_str().expect("a path");
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let paths = paths
            .map(|name| format!("{name}_temp_path {temp}-{name};"))
            .concat();
        let location = format!("location / {{ proxy_pass http://{upstream}; {settings} }}");
        let server = format!("server {{ listen 127.0.0.1:{port}; {location} }}");
        let config = format!(
            "daemon off; worker_processes 1; pid {temp}-pid; events {{}} http {{ access_log off; {paths} {server} }}"
        );
        let file = folder.join("nginx.conf");
        std::fs::write(&file, config).expect("a file");
        let program = ["/usr/sbin/nginx", "/usr/bin/nginx"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        let process = Command::new(program.unwrap_or("nginx"))
            .arg("-e")
            .arg(folder.join("errors"))
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx, which tests/install installs");
        let nginx = Self {
            url: format!("http://127.0.0.1:{port}/events"),
            process,
            folder,
        };
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return nginx;
            }
            sleep(Duration::from_millis(25)).await;
        }
        panic!("nginx does not listen");
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Told so, it ends its worker, too; killed, it would leave it behind.
        let pid = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn free_port() -> u16 {
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    tcp.local_addr().expect("bound").port()
}

/// An event of some 150 bytes every 20 ms: half a page in half a second.
fn busy() -> EventSource {
    let store = QueueStore::new();
    let events = EventSource::new(store.clone());
    tokio::spawn(async move {
        for number in 0..3000 {
            let _ = store.submit(format!("{number} {}", "x".repeat(110)));
            sleep(Duration::from_millis(20)).await;
        }
    });
    events
}

fn quiet() -> EventSource {
    EventSource::new(QueueStore::new()).keep_alive(Duration::from_millis(400))
}

#[tokio::test]
async fn its_defaults_hold_back_what_does_not_forbid_it() {
    let upstream = upstream(busy(), false).await;
    let nginx = Nginx::before(upstream, "").await;
    let direct = format!("http://{upstream}/events");
    let beside = ["--wait=3", "--direct", &direct, &nginx.url];
    for report in join_all([&["--wait=3", &nginx.url], &beside[..]].map(examine)).await {
        assert_eq!((report.found.as_str(), report.exit), ("http1 buffered", 1));
    }
}

#[tokio::test]
async fn of_a_quiet_stream_nothing_is_seen() {
    let upstream = upstream(quiet(), false).await;
    let nginx = Nginx::before(upstream, "").await;
    let report = examine(&["--wait=1.5", "--timeout=1", &nginx.url]).await;
    assert_eq!((report.found.as_str(), report.exit), ("no-head", 1));
    let direct = format!("http://{upstream}/events");
    let report = examine(&["--wait=1.5", "--timeout=1", "--direct", &direct, &nginx.url]).await;
    assert_eq!((report.found.as_str(), report.exit), ("buffered", 1));
}

#[tokio::test]
async fn the_cure_cures() {
    let cured = "proxy_buffering off; proxy_http_version 1.1; gzip off;";
    let (much, little) = (
        "head timely open keep-alive text resumes nonsense-id",
        "head timely open keep-alive nonsense-id",
    );
    // As our own head asks for, and as the cure says.
    let rows = [
        (busy(), true, "", much),
        (quiet(), true, "", little),
        (busy(), false, cured, much),
        (quiet(), false, cured, little),
    ];
    let judging = rows.map(async |(events, is_heeded, settings, ok)| {
        let upstream = upstream(events, is_heeded).await;
        let nginx = Nginx::before(upstream, settings).await;
        let direct = format!("http://{upstream}/events");
        let report = examine(&["--wait=1.5", "--direct", &direct, &nginx.url]).await;
        assert_eq!((report.found.as_str(), report.exit), ("http1", 0));
        assert_eq!(report.ok, ok);
    });
    join_all(judging).await;
}

#[tokio::test]
async fn its_compression_is_told() {
    let gzip = "gzip on; gzip_types text/event-stream; gzip_min_length 0;";
    let nginx = Nginx::before(upstream(busy(), true).await, gzip).await;
    let report = examine(&["--wait=1.5", &nginx.url]).await;
    assert_eq!(
        (report.found.as_str(), report.exit),
        ("http1 compressed", 0)
    );
}

#[tokio::test]
async fn its_idle_limit_is_told() {
    let events = EventSource::new(QueueStore::new()).without_keep_alive();
    let nginx = Nginx::before(upstream(events, true).await, "proxy_read_timeout 2s;").await;
    let report = examine(&["--wait=4", &nginx.url]).await;
    assert_eq!((report.found.as_str(), report.exit), ("http1 idle-cut", 1));
}
