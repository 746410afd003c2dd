//! Streams over TLS, with certificates that `openssl` makes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};
use tornadose::{EventSource, QueueStore};

use crate::examine;
use tornadose::test::{At, Cut, Proxy, Script};

fn openssl(folder: &Path, words: &str) {
    let output = Command::new("openssl")
        .current_dir(folder)
        .args(words.split_ascii_whitespace())
        .output();
    let output = output.expect("openssl, which tests/install installs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// An authority, and its certificate for `localhost`.
fn certificates() -> PathBuf {
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("doctor-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(
        &folder,
        &format!("req -x509 {new} -keyout ca.key -out ca.pem -days 2 -subj /CN=tests"),
    );
    openssl(
        &folder,
        &format!("req {new} -keyout key.pem -out request.pem -subj /CN=localhost"),
    );
    std::fs::write(folder.join("names"), "subjectAltName=DNS:localhost").expect("a file");
    openssl(
        &folder,
        "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 2 -extfile names",
    );
    folder
}

/// Takes this long for a handshake.
async fn serve(folder: &Path, alpn: &[&str], handshake: Duration) -> u16 {
    let chain = CertificateDer::pem_file_iter(folder.join("cert.pem")).expect("a file");
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("certificates");
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).expect("a key");
    let mut config =
        ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("protocols")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a certificate and its key");
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = tcp.local_addr().expect("bound").port();
    let events = EventSource::new(QueueStore::new()).keep_alive(Duration::from_millis(300));
    tokio::spawn(async move {
        while let Ok((tcp, _)) = tcp.accept().await {
            let (acceptor, events) = (acceptor.clone(), events.clone());
            tokio::spawn(async move {
                sleep(handshake).await;
                if let Ok(tls) = acceptor.accept(tcp).await {
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(tls), events).await;
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn what_is_offered_is_told() {
    let folder = certificates();
    let ca = folder.join("ca.pem");
    let ca = ca.to_str().expect("a path");
    let at_once = Duration::ZERO;
    let both = serve(&folder, &["h2", "http/1.1"], at_once).await;
    let url = format!("https://localhost:{both}/events");
    let report = examine(&["--wait=1.2", "--ca", ca, &url]).await;
    assert_eq!((report.found.as_str(), report.exit), ("", 0));
    assert_eq!(report.ok, "head http2 timely open keep-alive nonsense-id");
    assert_eq!(report.whole["stream"]["version"], "HTTP/2.0");

    for alpn in [&["http/1.1"][..], &[]] {
        let port = serve(&folder, alpn, at_once).await;
        let url = format!("https://localhost:{port}/events");
        let report = examine(&["--wait=0.5", "--ca", ca, &url]).await;
        assert_eq!((report.found.as_str(), report.exit), ("http1", 1));
        assert_eq!(report.severity("http1"), "warning");
    }

    // The time of a handshake is not that of a head, nor of an event.
    let slow = serve(&folder, &["h2"], Duration::from_millis(1200)).await;
    let slow = format!("https://localhost:{slow}/events");
    let report = examine(&["--wait=1.2", "--ca", ca, "--direct", &url, &slow]).await;
    assert_eq!((report.found.as_str(), report.exit), ("", 0));

    // An end in the middle, which over TLS and HTTP/2 nobody has announced either.
    let proxy = Proxy::to(([127, 0, 0, 1], both).into())
        .await
        .expect("a proxy");
    let soon = At::After(Duration::from_millis(700));
    for end in [Cut::Reset, Cut::FinishDown] {
        proxy.follow(Script::new().cut(soon, end));
        let url = format!("https://localhost:{}/events", proxy.address().port());
        let report = examine(&["--wait=3", "--ca", ca, &url]).await;
        assert_eq!((report.found.as_str(), report.exit), ("cut", 1), "{end:?}");
    }

    // Signed by nobody who is trusted, for another name, spoken to without TLS.
    let report = examine(&["--wait=0.5", &url]).await;
    assert_eq!((report.found.as_str(), report.exit), ("tls", 2));
    let report = examine(&[
        "--wait=0.5",
        "--ca",
        ca,
        &format!("https://127.0.0.1:{both}/events"),
    ])
    .await;
    assert_eq!((report.found.as_str(), report.exit), ("tls", 2));
    let report = examine(&["--wait=0.5", &format!("http://localhost:{both}/events")]).await;
    assert_eq!((report.found.as_str(), report.exit), ("no-answer", 2));
    std::fs::remove_dir_all(&folder).expect("a folder of ours");
}
