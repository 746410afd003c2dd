//! Where the log is, and who may use it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_nats::ServerAddr;
use thiserror::Error;

use super::session::Trouble;
use super::text;

/// Why a text cannot be an option of [`Nats`](super::Nats). The text is not repeated: it may
/// hold a password.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidNats {
    /// It is not the address of a server, `nats://host:port` or `tls://host:port`.
    #[error("not the address of a NATS server")]
    Server,

    /// It is not the name of a stream: 1 to 200 of `A-Z`, `a-z`, `0-9`, `-` and `_`.
    #[error("not the name of a stream")]
    Stream,

    /// It is not what subjects can begin with: tokens of `A-Z`, `a-z`, `0-9`, `-` and `_`,
    /// parted by dots, at most 200 bytes.
    #[error("not what subjects can begin with")]
    Prefix,

    /// It is not a JetStream domain: one token of `A-Z`, `a-z`, `0-9`, `-` and `_`, at most
    /// 200 bytes.
    #[error("not a JetStream domain")]
    Domain,

    /// These are not credentials as NATS writes them, with a JWT and a seed.
    #[error("not credentials of NATS")]
    Credentials,

    /// It is not the seed of a key of NATS.
    #[error("not the seed of a key of NATS")]
    Seed,
}

#[derive(Clone)]
pub(super) struct Options {
    pub(super) servers: Vec<ServerAddr>,
    pub(super) stream: Arc<str>,
    /// Where it is not the name of the stream.
    pub(super) prefix: Option<Arc<str>>,
    pub(super) domain: Option<Arc<str>>,
    pub(super) identity: Identification,
    pub(super) must_encrypt: bool,
    pub(super) roots: Vec<PathBuf>,
    pub(super) certificate: Option<(PathBuf, PathBuf)>,
    pub(super) patience: Duration,
    pub(super) max_events: u64,
    pub(super) max_bytes: Option<u64>,
    pub(super) max_age: Option<Duration>,
    pub(super) once_for: Duration,
    pub(super) is_in_memory: bool,
    pub(super) replicas: u8,
}

impl Options {
    pub(super) fn new(servers: &str) -> Result<Self, InvalidNats> {
        let mut identity = Identification::Is(Identity::Nobody);
        let mut addresses = Vec::new();
        for server in servers.split(',') {
            let (address, found) = server_of(server.trim()).ok_or(InvalidNats::Server)?;
            addresses.push(address);
            if let Some(found) = found {
                identity = Identification::Is(found);
            }
        }
        Ok(Self {
            servers: addresses,
            stream: "tornadose".into(),
            prefix: None,
            domain: None,
            identity,
            must_encrypt: false,
            roots: Vec::new(),
            certificate: None,
            patience: Duration::from_secs(3),
            max_events: 100_000,
            max_bytes: None,
            max_age: None,
            once_for: Duration::from_secs(120),
            is_in_memory: false,
            replicas: 1,
        })
    }

    pub(super) fn prefix(&self) -> &Arc<str> {
        self.prefix.as_ref().unwrap_or(&self.stream)
    }

    pub(super) fn api(&self) -> Arc<str> {
        match &self.domain {
            Some(domain) => format!("$JS.{domain}.API.").into(),
            None => "$JS.API.".into(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats")
            .field("stream", &self.stream)
            .field("prefix", self.prefix())
            .field("servers", &self.servers.len())
            .field("max_events", &self.max_events)
            .field("max_bytes", &self.max_bytes)
            .field("max_age", &self.max_age)
            .field("once_for", &self.once_for)
            .field("in_memory", &self.is_in_memory)
            .field("replicas", &self.replicas)
            .field("timeout", &self.patience)
            .finish_non_exhaustive()
    }
}

/// Who we are, or where that stands.
#[derive(Clone)]
pub(super) enum Identification {
    Is(Identity),
    In(PathBuf),
}

#[derive(Clone)]
pub(super) enum Identity {
    Nobody,
    User(String, String),
    Token(String),
    Key(String),
    Credentials { jwt: String, seed: String },
}

impl Identification {
    /// Read anew for each connection: such files are replaced before they expire.
    pub(super) async fn load(&self) -> Result<Identity, Trouble> {
        let path = match self {
            Self::Is(identity) => return Ok(identity.clone()),
            Self::In(path) => path.clone(),
        };
        let reading = tokio::task::spawn_blocking(move || std::fs::read_to_string(path));
        let text = reading.await.ok().and_then(Result::ok);
        let text = text.ok_or(Trouble::Away("cannot read the file of credentials"))?;
        Identity::from_credentials(&text)
            .map_err(|_| Trouble::Away("the file of credentials holds none"))
    }
}

impl Identity {
    pub(super) fn from_seed(seed: String) -> Result<Self, InvalidNats> {
        match nkeys::KeyPair::from_seed(&seed) {
            Ok(_) => Ok(Self::Key(seed)),
            Err(_) => Err(InvalidNats::Seed),
        }
    }

    /// Of a text with two blocks between lines of dashes, the JWT and the seed.
    pub(super) fn from_credentials(text: &str) -> Result<Self, InvalidNats> {
        let mut blocks = text.lines().map(str::trim).scan(false, |is_inside, line| {
            let is_dashes = line.starts_with("---");
            let content = (*is_inside && !is_dashes && !line.is_empty()).then_some(line);
            *is_inside = match (is_dashes, content) {
                (true, _) => line.contains("BEGIN"),
                (false, Some(_)) => false,
                (false, None) => *is_inside,
            };
            Some(content)
        });
        let mut next = || blocks.by_ref().flatten().next().map(str::to_owned);
        let (jwt, seed) = next().zip(next()).ok_or(InvalidNats::Credentials)?;
        match Self::from_seed(seed) {
            Ok(Self::Key(seed)) => Ok(Self::Credentials { jwt, seed }),
            _ => Err(InvalidNats::Credentials),
        }
    }
}

/// The address of a server, without what stood before an `@` in it.
fn server_of(text: &str) -> Option<(ServerAddr, Option<Identity>)> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("nats", text));
    if !matches!(scheme, "nats" | "tls") {
        return None;
    }
    let (who, host) = match rest.rsplit_once('@') {
        Some((who, host)) => (Some(who), host),
        None => (None, rest),
    };
    let address = ServerAddr::from_str(&format!("{scheme}://{host}")).ok()?;
    if address.host().is_empty() {
        return None;
    }
    let identity = match who {
        None => None,
        Some(who) => Some(match who.split_once(':') {
            Some((name, password)) => Identity::User(
                text::decode(name)?.into_owned(),
                text::decode(password)?.into_owned(),
            ),
            None => Identity::Token(text::decode(who)?.into_owned()),
        }),
    };
    Some((address, identity))
}

/// Whether this is a name of a stream, or of a part of subjects.
pub(super) fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=200).contains(&name.len()) && name.bytes().all(is_plain)
}

pub(super) fn is_prefix(prefix: &str) -> bool {
    prefix.len() <= 200 && prefix.split('.').all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(options: &Options) -> String {
        match &options.identity {
            Identification::Is(Identity::Nobody) => "nobody".to_owned(),
            Identification::Is(Identity::User(name, password)) => format!("{name} {password}"),
            Identification::Is(Identity::Token(token)) => token.clone(),
            _ => panic!("not from an address"),
        }
    }

    #[test]
    fn addresses_are_read() {
        for (text, host, port, who) in [
            ("nats://a.example:4333", "a.example", 4333, "nobody"),
            ("a.example", "a.example", 4222, "nobody"),
            ("[::1]:4222", "::1", 4222, "nobody"),
            (
                "tls://ann:s%40s:t@a.example",
                "a.example",
                4222,
                "ann s@s:t",
            ),
            ("nats://s3cr3t@127.0.0.1:1", "127.0.0.1", 1, "s3cr3t"),
        ] {
            let options = Options::new(text).expect("an address");
            let [server] = &options.servers[..] else {
                panic!("one")
            };
            assert_eq!((server.host(), server.port()), (host, port), "{text}");
            assert_eq!(identity(&options), who);
            assert!(!server.has_user_pass());
        }
        let several = Options::new("ann:pw@a:1, tls://b:2").expect("addresses");
        assert_eq!(
            (several.servers.len(), identity(&several).as_str()),
            (2, "ann pw")
        );
        for text in [
            "",
            ",",
            "http://a",
            "ws://a",
            "nats://",
            "nats://a,",
            "a b",
            "nats://a:x",
            "%zz:p@a",
        ] {
            assert_eq!(
                Options::new(text).err(),
                Some(InvalidNats::Server),
                "{text:?}"
            );
        }
    }

    #[test]
    fn names_are_judged() {
        for (name, is, is_one) in [
            ("log", true, true),
            ("a-b_C9", true, true),
            ("a.b", true, false),
            ("", false, false),
            ("a b", false, false),
            ("a.", false, false),
            ("*", false, false),
            (">", false, false),
            ("a/b", false, false),
            ("é", false, false),
        ] {
            assert_eq!((is_prefix(name), is_name(name)), (is, is_one), "{name:?}");
        }
        assert!(!is_name(&"a".repeat(201)) && !is_prefix(&"a".repeat(201)));
    }

    #[test]
    fn credentials_are_read() {
        let pair = nkeys::KeyPair::new_user();
        let seed = pair.seed().expect("a seed");
        let text = format!(
            "-----BEGIN NATS USER JWT-----\r\neyJ0\r\n------END NATS USER JWT------\r\n\r\n\
             ************ IMPORTANT ************\r\nkeep it\r\n\r\n\
             -----BEGIN USER NKEY SEED-----\r\n{seed}\r\n------END USER NKEY SEED------\r\n"
        );
        match Identity::from_credentials(&text) {
            Ok(Identity::Credentials { jwt, seed: read }) => {
                assert_eq!((jwt.as_str(), read), ("eyJ0", seed.clone()));
            }
            _ => panic!("credentials"),
        }
        let swapped = text.replace(&seed, "SUnotaseed");
        for text in ["", "eyJ0", swapped.as_str()] {
            assert_eq!(
                Identity::from_credentials(text).err(),
                Some(InvalidNats::Credentials)
            );
        }
        assert!(Identity::from_seed(seed).is_ok());
        assert_eq!(
            Identity::from_seed("SUx".to_owned()).err(),
            Some(InvalidNats::Seed)
        );
    }
}
