//! Finding the server that has the log, and asking it: the one place that knows of addresses,
//! time-outs and the errors of a server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, Pipeline, ProtocolVersion,
    PushInfo, RedisError, Value,
};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::backplane::BackplaneError;

/// More than a cluster that is not broken ever asks for.
const MAX_REDIRECTS: usize = 5;

/// Where to look for the server that has the log.
#[derive(Clone)]
pub(super) struct Servers {
    /// Any of them may be it. The first one also says who we are.
    pub(super) seeds: Vec<ConnectionInfo>,
    /// Who knows it under this name, instead.
    pub(super) sentinels: Option<(String, Vec<ConnectionInfo>)>,
    #[cfg(feature = "redis-tls")]
    pub(super) root_certificate: Option<Vec<u8>>,
    pub(super) timeout: Duration,
}

impl Servers {
    /// A connection to the server that has this key and takes writes.
    pub(super) async fn connect(&self, key: &str) -> Result<Connection, Failure> {
        let seeds = match &self.sentinels {
            Some((name, sentinels)) => vec![self.ask(name, sentinels).await?],
            None => self.seeds.clone(),
        };
        let share = self.share(seeds.len());
        let mut failure = Failure::Away("no server is known");
        for seed in seeds {
            match timeout(share, self.follow(seed, key)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(failed)) => failure = failed,
                Err(_) => failure = Failure::Away("it does not answer"),
            }
        }
        Err(failure)
    }

    /// One that does not answer takes no more than its share of the time.
    fn share(&self, count: usize) -> Duration {
        self.timeout / u32::try_from(count.max(1)).unwrap_or(u32::MAX)
    }

    async fn follow(&self, seed: ConnectionInfo, key: &str) -> Result<Connection, Failure> {
        let mut info = seed;
        for _ in 0..MAX_REDIRECTS {
            let mut connection = self.dial(&info).await?;
            match connection.serves(key).await? {
                Served::Here => return Ok(connection),
                Served::By(host, port) => {
                    let addr = moved(info.addr(), host, port);
                    info = info.set_addr(addr);
                }
            }
        }
        Err(Failure::Away("its cluster sends us in circles"))
    }

    async fn ask(
        &self,
        name: &str,
        sentinels: &[ConnectionInfo],
    ) -> Result<ConnectionInfo, Failure> {
        let Some(base) = self.seeds.first() else {
            return Err(Failure::Away("no server is known"));
        };
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
        let share = self.share(sentinels.len().saturating_add(1));
        let mut failure = Failure::Away("no sentinel is known");
        for sentinel in sentinels {
            let asked = timeout(share, async {
                let mut connection = self.dial(sentinel).await?;
                connection.ask(&question).await
            });
            match asked.await {
                Ok(Ok(answer)) => {
                    let mut words = list(answer).into_iter().filter_map(text);
                    let port = words.next().zip(words.next());
                    if let Some((host, port)) = port
                        && let Ok(port) = port.parse()
                    {
                        return Ok(base.clone().set_addr(moved(base.addr(), host, port)));
                    }
                    failure = Failure::Away("its sentinel does not know it");
                }
                Ok(Err(failed)) => failure = failed,
                Err(_) => failure = Failure::Away("its sentinel does not answer"),
            }
        }
        Err(failure)
    }

    async fn dial(&self, info: &ConnectionInfo) -> Result<Connection, Failure> {
        let settings = info.redis_settings().clone();
        // Only then are we told at once that the server has hung up.
        let settings = settings.set_protocol(ProtocolVersion::RESP3);
        let info = info
            .clone()
            .set_redis_settings(settings.set_skip_set_lib_name());
        let client = self.client(info).map_err(|error| Failure::of(&error))?;
        let (told, hung_up) = mpsc::unbounded_channel();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(None)
            .set_push_sender(told);
        let link = client.get_multiplexed_async_connection_with_config(&config);
        match timeout(self.timeout, link).await {
            Ok(Ok(link)) => Ok(Connection {
                link,
                client,
                hung_up,
                timeout: self.timeout,
            }),
            Ok(Err(error)) => Err(Failure::of(&error).before_asking()),
            Err(_) => Err(Failure::Away("it does not answer")),
        }
    }

    #[cfg(not(feature = "redis-tls"))]
    #[allow(clippy::unused_self, reason = "with TLS it is used")]
    fn client(&self, info: ConnectionInfo) -> Result<Client, RedisError> {
        Client::open(info)
    }

    #[cfg(feature = "redis-tls")]
    fn client(&self, info: ConnectionInfo) -> Result<Client, RedisError> {
        // Where two providers are compiled in and none is chosen, rustls panics. That there
        // is one by now is as good.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        match (&self.root_certificate, info.addr()) {
            (Some(root), ConnectionAddr::TcpTls { .. }) => Client::build_with_tls(
                info,
                redis::TlsCertificates {
                    client_tls: None,
                    root_cert: Some(root.clone()),
                },
            ),
            _ => Client::open(info),
        }
    }
}

/// How to reach this host in the way that the other one is reached.
fn moved(like: &ConnectionAddr, host: String, port: u16) -> ConnectionAddr {
    match like {
        ConnectionAddr::TcpTls {
            insecure,
            tls_params,
            ..
        } => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host, port),
    }
}

enum Served {
    Here,
    By(String, u16),
}

/// A connection that one task uses.
pub(super) struct Connection {
    link: MultiplexedConnection,
    client: Client,
    hung_up: mpsc::UnboundedReceiver<PushInfo>,
    timeout: Duration,
}

impl Connection {
    /// Whether it is known that nobody is at the other end any more.
    pub(super) fn is_gone(&self) -> bool {
        self.hung_up.is_closed() || !self.hung_up.is_empty()
    }

    /// For another connection to the same server.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) async fn ask(&mut self, command: &Cmd) -> Result<Value, Failure> {
        self.wait(command, Duration::ZERO).await
    }

    /// The same, of a command that takes so long by itself.
    pub(super) async fn wait(
        &mut self,
        command: &Cmd,
        patience: Duration,
    ) -> Result<Value, Failure> {
        match self.answer(command, patience).await? {
            Value::ServerError(error) => Err(Failure::said(error.code())),
            value => Ok(value),
        }
    }

    /// What it says, which may be an error of its own.
    async fn answer(&mut self, command: &Cmd, patience: Duration) -> Result<Value, Failure> {
        let limit = self.timeout.saturating_add(patience);
        match timeout(limit, self.link.send_packed_command(command)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Failure::of(&error)),
            Err(_) => Err(Failure::Silent("it has not answered")),
        }
    }

    /// One answer for each command; some may be errors.
    pub(super) async fn ask_all(
        &mut self,
        commands: &Pipeline,
        patience: Duration,
    ) -> Result<Vec<Value>, Failure> {
        let count = commands.len();
        let limit = self.timeout.saturating_add(patience);
        let answers = self.link.req_packed_commands(commands, 0, count);
        match timeout(limit, answers).await {
            Ok(Ok(answers)) if answers.len() == count => Ok(answers),
            Ok(Ok(_)) => Err(Failure::Silent("it has answered something else")),
            Ok(Err(error)) => Err(Failure::of(&error)),
            Err(_) => Err(Failure::Silent("it has not answered")),
        }
    }

    async fn serves(&mut self, key: &str) -> Result<Served, Failure> {
        let mut exists = redis::cmd("EXISTS");
        exists.arg(key);
        let answer = self.answer(&exists, Duration::ZERO).await;
        if let Value::ServerError(error) = answer.map_err(Failure::before_asking)? {
            let to = error.details().and_then(redirected);
            return match (error.code(), to) {
                ("MOVED" | "ASK", Some((host, port))) => Ok(Served::By(host, port)),
                (code, _) => Err(Failure::said(code)),
            };
        }
        self.is_primary().await?;
        Ok(Served::Here)
    }

    /// An error if it is known that it is not.
    pub(super) async fn is_primary(&mut self) -> Result<(), Failure> {
        let role = match self.ask(&redis::cmd("ROLE")).await {
            // Who must not ask, or asks a server that does not know the word, is not told.
            Err(failure @ Failure::Said(_)) if !failure.is_passing() => return Ok(()),
            role => list(role?),
        };
        match role.into_iter().next().and_then(text) {
            Some(role) if role == "slave" => Err(Failure::said("READONLY")),
            _ => Ok(()),
        }
    }
}

/// `<slot> <host>:<port>`
fn redirected(details: &str) -> Option<(String, u16)> {
    let (_, address) = details.split_once(' ')?;
    let (host, port) = address.trim().rsplit_once(':')?;
    let port = port.parse().ok()?;
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// Why there is no answer, in words that hold no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing has been sent.
    Away(&'static str),
    /// Something has been sent.
    Silent(&'static str),
    /// The server has refused it, with this code.
    Said(Arc<str>),
}

impl Failure {
    /// What else an error of a server says may hold an address or a user.
    pub(super) fn said(code: &str) -> Self {
        let is_code = !code.is_empty()
            && code.len() <= 24
            && code.bytes().all(|byte| byte.is_ascii_uppercase());
        Self::Said(if is_code { code } else { "ERR" }.into())
    }

    fn of(error: &RedisError) -> Self {
        match error.code() {
            Some(code) => Self::said(code),
            None if error.kind() == redis::ErrorKind::AuthenticationFailed => {
                Self::said("WRONGPASS")
            }
            None if error.is_io_error() => Self::Silent("the connection is lost"),
            None => Self::Silent("it has answered something else"),
        }
    }

    fn before_asking(self) -> Self {
        match self {
            Self::Silent(why) => Self::Away(why),
            other => other,
        }
    }

    /// Whether it is the server, not what was asked: another one, or the same a moment
    /// later, may do it.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Away(_) | Self::Silent(_) => true,
            Self::Said(code) => matches!(
                &**code,
                "READONLY"
                    | "LOADING"
                    | "MASTERDOWN"
                    | "CLUSTERDOWN"
                    | "MOVED"
                    | "ASK"
                    | "TRYAGAIN"
                    | "BUSY"
                    | "UNBLOCKED"
                    | "NOSCRIPT"
            ),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = match self {
            Self::Away(why) | Self::Silent(why) => return f.write_str(why),
            Self::Said(code) => code,
        };
        let why = match &**code {
            "OOM" => "it is out of memory",
            "WRONGTYPE" => "a key of the log holds something else",
            "NOAUTH" | "WRONGPASS" => "it does not accept the credentials",
            "NOPERM" => "the user lacks a permission",
            "READONLY" => "it is a replica",
            "LOADING" => "it is loading its data",
            "MASTERDOWN" => "it has lost its primary",
            "MISCONF" => "it cannot save to its disk",
            "NOREPLICAS" => "it has too few replicas",
            "CLUSTERDOWN" => "its cluster is down",
            "MOVED" | "ASK" | "TRYAGAIN" => "its cluster has moved the log",
            _ => "it has refused",
        };
        write!(f, "{why} ({code})")
    }
}

impl From<Failure> for BackplaneError {
    fn from(failure: Failure) -> Self {
        Self::new(super::NAME, failure.to_string())
    }
}

/// The elements of an answer that has some.
pub(super) fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(values) | Value::Set(values) => values,
        Value::Map(pairs) => pairs.into_iter().flat_map(|(a, b)| [a, b]).collect(),
        _ => Vec::new(),
    }
}

pub(super) fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    }
}

pub(super) fn text(value: Value) -> Option<String> {
    String::from_utf8(bytes(value)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_says_where_to_go() {
        let to = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(redirected("3999 10.0.0.1:6381"), to("10.0.0.1", 6381));
        assert_eq!(redirected("3999 fe80::1:6381"), to("fe80::1", 6381));
        for bad in ["", "3999", "3999 :6381", "3999 a:", "3999 a:65536", "a:1"] {
            assert_eq!(redirected(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn only_the_code_of_an_error_is_told() {
        let told = |code| Failure::said(code).to_string();
        assert_eq!(told("OOM"), "it is out of memory (OOM)");
        assert_eq!(told("SOMETHING"), "it has refused (SOMETHING)");
        for secret in ["hunter2", "10.0.0.1:6379", "", &"A".repeat(25)] {
            assert_eq!(told(secret), "it has refused (ERR)");
        }
    }
}
