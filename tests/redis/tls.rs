//! TLS, with certificates that `openssl` makes.

use std::path::Path;
use std::process::Command;

use tornadose::backplane::{AppendError, Backplane, Redis};

use crate::server::{Server, free_port};
use crate::words::*;

fn openssl(dir: &Path, words: &str) {
    let mut command = Command::new("openssl");
    command
        .current_dir(dir)
        .args(words.split_ascii_whitespace());
    let output = command
        .output()
        .expect("openssl, which tests/install installs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A server with TLS alone, and who has signed its certificate, which is for `localhost`.
fn server() -> (Server, u16, Vec<u8>) {
    let server = Server::start();
    let dir = server.dir();
    let new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(
        dir,
        &format!("req -x509 {new} -keyout ca.key -out ca.pem -days 2 -subj /CN=tests"),
    );
    openssl(
        dir,
        &format!("req {new} -keyout key.pem -out request.pem -subj /CN=localhost"),
    );
    std::fs::write(dir.join("names"), "subjectAltName=DNS:localhost").expect("a file");
    openssl(
        dir,
        "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 2 -extfile names",
    );
    let file = |name: &str| dir.join(name).to_str().expect("a path").to_owned();
    server.ask(&["CONFIG", "SET", "tls-auth-clients", "no"]);
    let root = std::fs::read(file("ca.pem")).expect("a certificate");
    for _ in 0..20 {
        let port = free_port();
        server.ask(&[
            "CONFIG",
            "SET",
            "tls-cert-file",
            &file("cert.pem"),
            "tls-key-file",
            &file("key.pem"),
            "tls-ca-cert-file",
            &file("ca.pem"),
            "tls-port",
            &port.to_string(),
        ]);
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return (server, port, root);
        }
    }
    panic!("redis-server does not listen with TLS");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_checked() {
    let (server, port, root) = server();
    let redis = |host: &str| Redis::new(&format!("rediss://{host}:{port}")).expect("a URL");
    let good = redis("localhost").root_certificate(root.clone());
    let mut reading = open(&good).await;
    append(&good, &["a", "b"]).await;
    assert_eq!(
        data(&reading.wait(1, MOST, MOMENT).await.expect("records")),
        ["a", "b"]
    );
    assert_eq!(server.stream(KEY).len(), 2);
    // Signed by nobody who is trusted, for another name, no certificate at all.
    for bad in [
        redis("localhost"),
        redis("127.0.0.1").root_certificate(root.clone()),
        Redis::new(&format!("rediss://localhost:{}", server.port))
            .expect("a URL")
            .root_certificate(root),
        redis("localhost").root_certificate("no certificate"),
    ] {
        assert_eq!(
            bad.append(&[event("c")]).await,
            [Err(AppendError::Unavailable)]
        );
        assert!(bad.open(&latest()).await.is_err());
    }
    assert_eq!(server.stream(KEY).len(), 2);
}
