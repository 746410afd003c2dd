//! HTTP/2 over TLS, as browsers speak it: many streams on one connection.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::app::App;
use crate::client::within;
use crate::recipe::{Proxy, Recipe, replace};

/// More than a browser would open connections, by far.
const STREAMS: usize = 20;

#[tokio::test]
async fn nginx_has_twenty_streams_on_one_connection() {
    let cert = Certificate::new("nginx");
    let lines = format!(
        "listen 80;\n        listen localhost:443 ssl http2;\n        \
         ssl_certificate {0}/cert.pem;\n        ssl_certificate_key {0}/key.pem;\n",
        cert.0.display()
    );
    twenty_streams(Recipe::Nginx, |text| replace(text, "listen 80;", &lines)).await;
}

#[tokio::test]
async fn haproxy_has_twenty_streams_on_one_connection() {
    let cert = Certificate::new("haproxy");
    let line = format!(
        "    bind :80\n    bind localhost:443 ssl crt {}/both.pem alpn h2,http/1.1\n",
        cert.0.display()
    );
    twenty_streams(Recipe::Haproxy, |text| {
        replace(text, "    bind :80\n", &line)
    })
    .await;
}

#[tokio::test]
async fn caddy_has_twenty_streams_on_one_connection() {
    let cert = Certificate::new("caddy");
    let of_ours = format!("tls {0}/cert.pem {0}/key.pem", cert.0.display());
    twenty_streams(Recipe::Caddy, |text| {
        let text = replace(
            text,
            "{\n\t# When",
            "{\n\tauto_https disable_redirects\n\t# When",
        );
        // The site once more, with a name.
        let site = text.find("\n:80 {\n").expect("a site");
        let named = replace(
            &text[site..],
            ":80 {",
            &format!("https://localhost:443 {{\n\t{of_ours}"),
        );
        text + &named
    })
    .await;
}

async fn twenty_streams(recipe: Recipe, edit: impl FnOnce(&str) -> String) {
    let mut app = App::silent().await;
    let proxy = Proxy::edited(recipe, &app, &[], edit).await;
    // It waits for the first connection to see whether it takes more than one request.
    let mut curl = Command::new("curl")
        .args([
            "--http2",
            "--insecure",
            "--silent",
            "--show-error",
            "--no-buffer",
        ])
        .args(["--no-progress-meter", "--parallel", "--max-time", "30"])
        .args([
            "--write-out",
            "\nHTTP/%{http_version} %{num_connects} %{http_code}\n",
        ])
        .arg(format!(
            "https://localhost:{}/events?n=[1-{STREAMS}]",
            proxy.tls()
        ))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("curl, which tests/install installs");
    let mut output = curl.stdout.take().expect("piped");
    app.until_streams(STREAMS).await;
    for head in &*app.heads.lock().expect("heads") {
        assert_eq!(head["x-forwarded-proto"], "https", "{recipe:?}");
        assert_eq!(head["host"], format!("localhost:{}", proxy.tls()));
    }
    app.submit("hello");
    let mut text = String::new();
    within("an event on each stream", async {
        while text.matches("data: hello\n").count() < STREAMS {
            let mut bytes = vec![0; 4096];
            let read = output.read(&mut bytes).await.expect("output");
            assert!(read > 0, "{recipe:?}: {text}");
            text += &String::from_utf8_lossy(&bytes[..read]);
        }
    })
    .await;

    app.shut_down().await;
    let mut rest = String::new();
    let read = within("the end of curl", output.read_to_string(&mut rest)).await;
    read.expect("output");
    let ended: Vec<_> = rest
        .lines()
        .filter(|line| line.starts_with("HTTP/"))
        .collect();
    assert_eq!(ended.len(), STREAMS, "{recipe:?}: {rest}");
    assert!(ended.iter().all(|line| line.ends_with(" 200")), "{ended:?}");
    let connected = ended.iter().filter(|line| **line == "HTTP/2 1 200").count();
    let shared = ended.iter().filter(|line| **line == "HTTP/2 0 200").count();
    assert_eq!(
        (connected, shared),
        (1, STREAMS - 1),
        "{recipe:?}: {ended:?}"
    );
    assert_eq!(rest.matches("retry: ").count(), STREAMS);
}

/// A certificate in a folder of its own, for two days.
struct Certificate(PathBuf);

impl Certificate {
    fn new(name: &str) -> Self {
        let name = format!("deploy-tls-{}-{name}", std::process::id());
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&dir).expect("a folder");
        let made = std::process::Command::new("openssl")
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            ])
            .args([
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
            ])
            .args(["-keyout", "key.pem", "-out", "cert.pem"])
            .current_dir(&dir)
            .output()
            .expect("openssl, which tests/install installs");
        assert!(made.status.success(), "{made:?}");
        let read = |file| fs::read_to_string(dir.join(file)).expect("a file");
        let both = read("cert.pem") + &read("key.pem");
        fs::write(dir.join("both.pem"), both).expect("a file");
        Self(dir)
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
