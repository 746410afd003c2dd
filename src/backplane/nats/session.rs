//! One connection to a server, for as long as it lasts.
//!
//! The client would connect anew by itself and then send what it still had. An event that was
//! answered long ago must not be stored after all; so here a connection is one connection, and
//! whoever needs another one asks for it.

use std::future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_nats::client::{Client, Request, RequestErrorKind};
use async_nats::connection::State;
use async_nats::{Auth, AuthError, ConnectErrorKind, ConnectOptions, Subscriber};
use futures_core::Stream;
use serde_json::Value;
use thiserror::Error;
use tokio::time::timeout;
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use super::options::{Identity, Options};

/// How often a connection is tried that is silent.
const PING: Duration = Duration::from_secs(5);

/// JetStream's words for: it has no leader, it is another server, it is not enabled.
const NOT_AVAILABLE: [u64; 4] = [10008, 10009, 10039, 10076];

/// Why the engine does not do what it was asked.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It cannot be reached, or does not answer.
    #[error("{0}")]
    Away(&'static str),
    /// It says no: a code of JetStream's and its words.
    #[error("{1}")]
    No(u64, Arc<str>),
}

impl Trouble {
    pub(super) const LOST: Self = Self::Away("the connection was lost");
    pub(super) const SILENT: Self = Self::Away("no answer in time");

    pub(super) fn no(text: impl Into<Arc<str>>) -> Self {
        Self::No(0, text.into())
    }
}

#[derive(Clone)]
pub(super) struct Session {
    client: Client,
    /// What the names of JetStream's requests begin with.
    api: Arc<str>,
    patience: Duration,
}

impl Session {
    pub(super) async fn connect(options: &Options) -> Result<Self, Trouble> {
        let identity = options.identity.load().await?;
        let connected = Arc::new(OnceLock::new());
        let mut how = ConnectOptions::with_auth_callback({
            let connected = Arc::clone(&connected);
            move |nonce| {
                let answer = match connected.get() {
                    None => answer(&identity, &nonce),
                    Some(()) => Err(AuthError::new("a connection is not made again")),
                };
                async move { answer }
            }
        })
        .name("tornadose")
        // Each gets its share, so that one that is silent does not use up all of it.
        .connection_timeout(
            options.patience / u32::try_from(options.servers.len()).unwrap_or(1).max(1),
        )
        .ping_interval(PING)
        .max_reconnects(options.servers.len())
        .reconnect_delay_callback(|_| Duration::ZERO)
        .ignore_discovered_servers()
        .require_tls(options.must_encrypt);
        for path in &options.roots {
            how = how.add_root_certificates(path.clone());
        }
        if let Some((certificate, key)) = &options.certificate {
            how = how.add_client_certificate(certificate.clone(), key.clone());
        }
        // The client would write to the log what it sends, also a password.
        let connecting = how
            .connect(options.servers.clone())
            .with_subscriber(NoSubscriber::default());
        let client = match timeout(options.patience, connecting).await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return Err(Trouble::Away(words(error.kind()))),
            Err(_) => return Err(Trouble::Away("cannot connect: no answer in time")),
        };
        let _ = connected.set(());
        Ok(Self {
            client,
            api: options.api(),
            patience: options.patience,
        })
    }

    /// Whether the connection is known not to be there any more.
    pub(super) fn is_lost(&self) -> bool {
        self.client.connection_state() != State::Connected
    }

    /// How long an answer may take.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn api_subject(&self, call: &str) -> String {
        format!("{}{call}", self.api)
    }

    /// Everything that is sent to this inbox or below it.
    pub(super) async fn inbox(&self) -> Result<(String, Subscriber), Trouble> {
        let inbox = self.client.new_inbox();
        let subscribing = self.client.subscribe(format!("{inbox}.*"));
        match timeout(self.patience, subscribing).await {
            Ok(Ok(subscriber)) => Ok((inbox, subscriber)),
            Ok(Err(_)) => Err(Trouble::LOST),
            Err(_) => Err(Trouble::SILENT),
        }
    }

    /// What JetStream answers to a request.
    pub(super) async fn call(&self, call: &str, body: Option<&Value>) -> Result<Value, Trouble> {
        let payload = body.map(Value::to_string).unwrap_or_default();
        let request = Request::new()
            .payload(payload.into())
            .timeout(Some(self.patience));
        let asking = self.client.send_request(self.api_subject(call), request);
        // Also for as long as the request does not even get to the connection.
        let message = match timeout(self.patience, asking).await {
            Ok(Ok(message)) => message,
            Ok(Err(error)) => return Err(why(error.kind())),
            Err(_) => return Err(Trouble::SILENT),
        };
        let answer: Value = serde_json::from_slice(&message.payload)
            .map_err(|_| Trouble::Away("an answer that is none"))?;
        match refusal(&answer) {
            Some(no) => Err(no),
            None => Ok(answer),
        }
    }
}

/// The error in an answer, if there is one.
pub(super) fn refusal(answer: &Value) -> Option<Trouble> {
    let error = answer.get("error").filter(|error| !error.is_null())?;
    let number = |name| error.get(name).and_then(Value::as_u64);
    let code = number("err_code").or_else(|| number("code"));
    let words = error.get("description").and_then(Value::as_str);
    // Nothing is wrong with what was asked.
    if code.is_some_and(|code| NOT_AVAILABLE.contains(&code)) {
        return Some(Trouble::Away("JetStream is not available"));
    }
    let words = words.unwrap_or("an error without words").into();
    Some(Trouble::No(code.unwrap_or_default(), words))
}

/// The next message, `None` when the connection is over.
pub(super) async fn next(messages: &mut Subscriber) -> Option<async_nats::Message> {
    future::poll_fn(|cx| Pin::new(&mut *messages).poll_next(cx)).await
}

fn answer(identity: &Identity, nonce: &[u8]) -> Result<Auth, AuthError> {
    let mut auth = Auth::new();
    let sign = |seed: &str| {
        let pair = nkeys::KeyPair::from_seed(seed).ok();
        let signature = pair.as_ref().and_then(|pair| pair.sign(nonce).ok());
        pair.zip(signature)
            .ok_or_else(|| AuthError::new("not a seed"))
    };
    match identity {
        Identity::Nobody => {}
        Identity::User(name, password) => {
            auth.username = Some(name.clone());
            auth.password = Some(password.clone());
        }
        Identity::Token(token) => auth.token = Some(token.clone()),
        Identity::Key(seed) => {
            let (pair, signature) = sign(seed)?;
            auth.nkey = Some(pair.public_key());
            auth.signature = Some(signature);
        }
        Identity::Credentials { jwt, seed } => {
            let (_, signature) = sign(seed)?;
            auth.jwt = Some(jwt.clone());
            auth.signature = Some(signature);
        }
    }
    Ok(auth)
}

fn words(kind: ConnectErrorKind) -> &'static str {
    match kind {
        ConnectErrorKind::ServerParse => "cannot connect: not the address of a server",
        ConnectErrorKind::Dns => "cannot connect: the name of the server is not known",
        ConnectErrorKind::Authentication => "cannot connect: the credentials cannot be used",
        ConnectErrorKind::AuthorizationViolation => "cannot connect: not authorized",
        ConnectErrorKind::TimedOut => "cannot connect: no answer in time",
        ConnectErrorKind::Tls => "cannot connect: TLS failed",
        ConnectErrorKind::Io | ConnectErrorKind::MaxReconnects => "cannot connect",
    }
}

fn why(kind: RequestErrorKind) -> Trouble {
    match kind {
        RequestErrorKind::TimedOut => Trouble::SILENT,
        RequestErrorKind::NoResponders => {
            Trouble::Away("JetStream is not enabled, or not for this account")
        }
        _ => Trouble::LOST,
    }
}
