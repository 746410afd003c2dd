//! Who may use a server, how, and that nobody is told the secrets.

use std::fs;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};
use tornadose::backplane::{AppendError, Backplane, InvalidNats, Nats};

use crate::server::{Server, program};
use crate::*;

const SECRET: &str = "s3cr3t-of-ours";

async fn is_welcome(engine: Nats) {
    let position = store(&engine, "news", "x").await;
    let mut reading = open(&engine).await;
    assert_eq!(
        come(&mut *reading, position.offset(), 1).await[0].position,
        position
    );
}

async fn is_refused(engine: Nats, why: &str) {
    let shown = format!("{engine:?}");
    let error = engine.open(&latest()).await.err().expect("refused");
    assert_eq!(error.to_string(), format!("nats: {why}"));
    let answers = engine.append(&[append("news", "x")]).await;
    assert_eq!(answers, [Err(AppendError::Unavailable)]);
    for text in [shown, format!("{error:?} {answers:?}")] {
        assert!(
            !text.contains(SECRET) && !text.contains("127.0.0.1"),
            "{text}"
        );
    }
}

fn at(server: &Server, who: &str) -> Nats {
    Nats::new(format!("nats://{who}127.0.0.1:{}", server.port())).expect("an address")
}

const NOT_AUTHORIZED: &str = "cannot connect: not authorized";

#[tokio::test]
async fn a_name_and_a_password() {
    let server = Server::with(&format!(
        "authorization {{ user: ann, password: \"{SECRET}@:/%\" }}"
    ));
    let password = format!("{SECRET}@:/%");
    is_welcome(at(&server, "").user_and_password("ann", &password)).await;
    is_welcome(at(&server, &format!("ann:{SECRET}%40%3A%2F%25@"))).await;
    is_refused(at(&server, ""), NOT_AUTHORIZED).await;
    is_refused(
        at(&server, "").user_and_password("ann", SECRET),
        NOT_AUTHORIZED,
    )
    .await;
    is_refused(at(&server, &format!("ann:{SECRET}@")), NOT_AUTHORIZED).await;
}

/// What `docs/nats.md` says that a user needs.
#[tokio::test]
async fn the_permissions_that_are_needed() {
    let publish = r#"["tornadose.>", "tornadose-latest.>", "$JS.API.STREAM.*.>", "$JS.API.STREAM.NAMES", "$JS.API.CONSUMER.>"]"#;
    let server = Server::with(&format!(
        "authorization {{ users: [ {{ user: ann, password: pw, permissions: {{ publish: {{ allow: {publish} }}, subscribe: {{ allow: [\"_INBOX.>\"] }} }} }} ] }}"
    ));
    is_welcome(at(&server, "ann:pw@")).await;
    let engine = at(&server, "ann:pw@");
    store(&engine, "now/1", "x").await;
    assert_eq!(
        open(&engine).await.latest().await.expect("a server").len(),
        1
    );
}

#[tokio::test]
async fn a_token() {
    let server = Server::with(&format!("authorization {{ token: \"{SECRET}\" }}"));
    is_welcome(at(&server, "").token(SECRET)).await;
    is_welcome(at(&server, &format!("{SECRET}@"))).await;
    is_refused(at(&server, "").token(format!("{SECRET}.")), NOT_AUTHORIZED).await;
}

#[tokio::test]
async fn a_key() {
    let (ours, other) = (KeyPair::new_user(), KeyPair::new_user());
    let server = Server::with(&format!(
        "authorization {{ users: [ {{ nkey: {} }} ] }}",
        ours.public_key()
    ));
    let seed = |pair: &KeyPair| pair.seed().expect("a seed");
    is_welcome(at(&server, "").nkey(seed(&ours)).expect("a seed")).await;
    is_refused(
        at(&server, "").nkey(seed(&other)).expect("a seed"),
        NOT_AUTHORIZED,
    )
    .await;
    assert_eq!(at(&server, "").nkey(SECRET).err(), Some(InvalidNats::Seed));
}

/// A claim of NATS, signed.
fn jwt(issuer: &KeyPair, subject: &KeyPair, name: &str, nats: &Value) -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("a clock");
    let claims = json!({
        "jti": name, "iat": now.as_secs(), "iss": issuer.public_key(),
        "sub": subject.public_key(), "name": name, "nats": nats,
    });
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let text = format!("{header}.{claims}");
    let signature = issuer.sign(text.as_bytes()).expect("a key");
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn credentials() {
    let (operator, account, user) = (
        KeyPair::new_operator(),
        KeyPair::new_account(),
        KeyPair::new_user(),
    );
    let system = KeyPair::new_account();
    let all = json!({ "subs": -1, "conn": -1, "leaf": -1, "imports": -1, "exports": -1, "data": -1, "payload": -1, "wildcards": true });
    let mut limits = all.clone();
    for name in ["mem_storage", "disk_storage", "streams", "consumer"] {
        limits[name] = json!(-1);
    }
    let of_account = |limits: &Value| json!({ "type": "account", "version": 2, "limits": limits });
    let operator_jwt = jwt(
        &operator,
        &operator,
        "O",
        &json!({
            "type": "operator", "version": 2, "system_account": system.public_key(),
        }),
    );
    let account_jwt = jwt(&operator, &account, "A", &of_account(&limits));
    let system_jwt = jwt(&operator, &system, "SYS", &of_account(&all));
    let user_jwt = jwt(
        &account,
        &user,
        "U",
        &json!({
            "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1,
        }),
    );
    let server = Server::with(&format!(
        "operator: \"{operator_jwt}\"\nresolver: MEMORY\nresolver_preload: {{ {}: \"{account_jwt}\", {}: \"{system_jwt}\" }}",
        account.public_key(),
        system.public_key(),
    ));
    let text = |seed: &str| {
        format!(
            "-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    };
    let good = text(&user.seed().expect("a seed"));
    let bad = text(&KeyPair::new_user().seed().expect("a seed"));
    is_welcome(at(&server, "").credentials(&good).expect("credentials")).await;
    is_refused(
        at(&server, "").credentials(&bad).expect("credentials"),
        NOT_AUTHORIZED,
    )
    .await;
    assert_eq!(
        at(&server, "").credentials(SECRET).err(),
        Some(InvalidNats::Credentials)
    );

    // A file is read for each connection.
    let path = server.folder().join("of-ours.creds");
    let engine = at(&server, "").credentials_file(&path);
    let why = async |engine: &Nats| {
        let opened = engine.open(&latest()).await;
        opened.err().map(|error| error.to_string())
    };
    assert_eq!(
        why(&engine).await.as_deref(),
        Some("nats: cannot read the file of credentials")
    );
    fs::write(&path, SECRET).expect("written");
    assert_eq!(
        why(&engine).await.as_deref(),
        Some("nats: the file of credentials holds none")
    );
    fs::write(&path, good).expect("written");
    is_welcome(engine).await;
}

#[tokio::test]
async fn an_account_without_jetstream() {
    let server = Server::with("accounts { plain { users: [ { user: ann, password: pw } ] } }");
    is_refused(at(&server, "ann:pw@"), "JetStream is not available").await;
}

#[tokio::test]
async fn tls() {
    let folder = std::env::temp_dir().join(format!("tornadose-nats-tls-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let path = |name: &str| folder.join(name);
    for name in ["server", "client"] {
        let made = Command::new(program("openssl"))
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "2",
            ])
            .args([
                "-subj",
                "/CN=tornadose",
                "-addext",
                "subjectAltName=IP:127.0.0.1",
            ])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(path(&format!("{name}.key")))
            .arg("-out")
            .arg(path(&format!("{name}.pem")))
            .output()
            .expect("openssl");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
    }
    let here = folder.display();
    let with = |more: &str| {
        format!(
            "tls {{ cert_file: \"{here}/server.pem\", key_file: \"{here}/server.key\"\n{more} }}"
        )
    };
    let server = Server::with(&with(""));
    is_welcome(at(&server, "").root_certificates(path("server.pem"))).await;
    is_welcome(
        at(&server, "")
            .require_tls()
            .root_certificates(path("server.pem")),
    )
    .await;
    let url = format!("tls://127.0.0.1:{}", server.port());
    is_welcome(
        Nats::new(url)
            .expect("an address")
            .root_certificates(path("server.pem")),
    )
    .await;
    is_refused(at(&server, ""), "cannot connect").await;
    is_refused(
        at(&server, "").root_certificates(path("none.pem")),
        "cannot connect: TLS failed",
    )
    .await;

    let strict = Server::with(&with(&format!(
        "verify: true, ca_file: \"{here}/client.pem\""
    )));
    let known = |engine: Nats| {
        engine
            .root_certificates(path("server.pem"))
            .client_certificate(path("client.pem"), path("client.key"))
    };
    is_welcome(known(at(&strict, ""))).await;
    is_refused(
        at(&strict, "").root_certificates(path("server.pem")),
        "cannot connect",
    )
    .await;

    let plain = Server::start();
    is_refused(at(&plain, "").require_tls(), "cannot connect").await;
    let _ = fs::remove_dir_all(&folder);
}

#[tokio::test]
async fn the_first_server_that_answers_is_taken() {
    let server = Server::start();
    let mut dead = Server::start();
    dead.kill();
    let both = format!("127.0.0.1:{},127.0.0.1:{}", dead.port(), server.port());
    for _ in 0..5 {
        is_welcome(Nats::new(&both).expect("addresses")).await;
    }
}

#[tokio::test]
async fn a_domain_is_asked_by_its_name() {
    let server = Server::with("");
    let engine = at(&server, "")
        .domain("elsewhere")
        .expect("a name")
        .timeout(Duration::from_secs(1));
    is_refused(engine, "JetStream is not enabled, or not for this account").await;
}

/// Everything that is logged in this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        struct Text<'a>(&'a mut String);
        impl tracing::field::Visit for Text<'_> {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                use std::fmt::Write;
                let _ = writeln!(self.0, "{field}={value:?}");
            }
        }
        event.record(&mut Text(&mut self.0.lock().expect("no panic")));
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn no_secret_is_logged() {
    let log = Log::default();
    let guard = tracing::subscriber::set_default(log.clone());
    let mut server = Server::with(&format!(
        "authorization {{ user: ann, password: \"{SECRET}\" }}"
    ));
    let engine = at(&server, &format!("ann:{SECRET}@"));
    store(&engine, "news", "x").await;
    let mut reading = open(&engine).await;
    assert_eq!(come(&mut *reading, 1, 1).await.len(), 1);
    is_refused(at(&server, &format!("bob:{SECRET}@")), NOT_AUTHORIZED).await;
    // Also not when the client tries to connect anew, which we do not let it.
    server.kill();
    assert!(reading.wait(2, 1, PATIENCE).await.is_err());
    server.restart();
    store_again(&engine, "news", "y").await;
    drop(guard);
    let text = log.0.lock().expect("no panic");
    assert!(text.contains("CONSUMER.CREATE"), "the client does log");
    assert!(!text.contains(SECRET), "{text}");
}
