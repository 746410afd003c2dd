//! A log that is kept in NATS JetStream.
//!
//! The log is a stream: an event is a message, its offset the message's number in the stream,
//! and the topic is in the subject. A second stream copies those of latest-value topics and
//! keeps the newest of each. The page `docs/nats.md` is the whole of it.

mod batch;
mod care;
mod feed;
#[cfg(fuzzing)]
pub mod fuzzing;
mod message;
mod options;
mod reading;
mod session;
mod stream;
mod text;
mod writer;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::time::timeout;

use self::care::Care;
pub use self::options::InvalidNats;
use self::options::{Identification, Identity, Options};
use self::reading::Log;
use self::session::Trouble;
use self::writer::Writer;
use super::{Append, AppendError, Backplane, BackplaneError, Latest, Reading};
use crate::position::Position;

const NAME: &str = "nats";

/// A log that is kept in NATS JetStream, from server 2.9 on.
///
/// ```
/// use std::time::Duration;
/// use tornadose::backplane::Nats;
///
/// let engine = Nats::new("nats://127.0.0.1:4222")?
///     .stream("orders")?
///     .max_events(1_000_000)
///     .max_age(Duration::from_secs(24 * 3600));
/// # Ok::<(), tornadose::backplane::InvalidNats>(())
/// ```
///
/// # What it promises
///
/// An event that is answered with its position has been stored by the stream; with
/// [`replicas`](Self::replicas), by most of them. When that is on the disk, the server
/// decides (`sync_interval`, 2 minutes by default; a process that is killed loses nothing).
/// All processes read one order, that of the stream.
///
/// # The stream
///
/// It is made when the log is first opened, with the limits given here, and then never
/// changed: who wants other limits changes it with the tools of NATS. One that is there
/// already is used as it is, if it has the subjects `<prefix>.>` and `<prefix>-latest.>`,
/// discards by age and size alone, and has no limit for each subject.
///
/// # Connections
///
/// One for storing, one for reading. They are never restored behind your back: what was
/// answered with [`Unavailable`](AppendError::Unavailable) will not be sent later.
///
/// # Secrets
///
/// Neither `Debug` nor an error shows an address, a name, a password or a key. What is said
/// to a server when a connection is made is kept out of the log; beyond that, the client
/// logs on its own, under the target `async_nats`, at `DEBUG` also addresses.
#[must_use]
pub struct Nats {
    options: Arc<Options>,
    care: Care,
    writer: Mutex<Writer>,
}

impl Nats {
    /// The log on this server, or on the first of these that answers: addresses of one
    /// cluster, parted by commas. `tls://` demands TLS. What stands before an `@` is a name
    /// and a password, `name:password`, or a token, percent-encoded.
    ///
    /// # Errors
    ///
    /// [`InvalidNats::Server`].
    pub fn new(servers: impl AsRef<str>) -> Result<Self, InvalidNats> {
        Ok(Self {
            options: Arc::new(Options::new(servers.as_ref())?),
            care: Care::default(),
            writer: Mutex::new(Writer::new()),
        })
    }

    /// What the stream is called, and what its subjects begin with. Default: `tornadose`.
    /// Hubs with the same stream are one hub.
    ///
    /// # Errors
    ///
    /// [`InvalidNats::Stream`].
    pub fn stream(self, name: impl Into<Arc<str>>) -> Result<Self, InvalidNats> {
        let name = name.into();
        if !options::is_name(&name) {
            return Err(InvalidNats::Stream);
        }
        Ok(self.with(|options| options.stream = name))
    }

    /// What the subjects begin with, if that is not the name of the [stream](Self::stream).
    ///
    /// # Errors
    ///
    /// [`InvalidNats::Prefix`].
    pub fn prefix(self, prefix: impl Into<Arc<str>>) -> Result<Self, InvalidNats> {
        let prefix = prefix.into();
        if !options::is_prefix(&prefix) {
            return Err(InvalidNats::Prefix);
        }
        Ok(self.with(|options| options.prefix = Some(prefix)))
    }

    /// The JetStream domain that the stream is in, behind a leaf node. Default: that of the
    /// server.
    ///
    /// # Errors
    ///
    /// [`InvalidNats::Domain`].
    pub fn domain(self, domain: impl Into<Arc<str>>) -> Result<Self, InvalidNats> {
        let domain = domain.into();
        if !options::is_name(&domain) {
            return Err(InvalidNats::Domain);
        }
        Ok(self.with(|options| options.domain = Some(domain)))
    }

    /// How many events the stream keeps, at least 1. Default: 100,000.
    pub fn max_events(self, most: u64) -> Self {
        self.with(|options| options.max_events = most.max(1))
    }

    /// How many bytes the stream keeps, with what NATS needs for each event. Default: as
    /// many as the server allows.
    pub fn max_bytes(self, most: u64) -> Self {
        self.with(|options| options.max_bytes = Some(most.max(1)))
    }

    /// For how long the stream keeps an event, at least 100 ms. Default: for ever.
    pub fn max_age(self, age: Duration) -> Self {
        let age = age.max(Duration::from_millis(100));
        self.with(|options| options.max_age = Some(age))
    }

    /// For how long the stream remembers the [key](crate::Event::once) of an event. Default:
    /// 2 minutes. The server holds all keys of that time in memory.
    pub fn once_for(self, window: Duration) -> Self {
        let window = window.max(Duration::from_millis(100));
        self.with(|options| options.once_for = window)
    }

    /// Keeps the stream in the memory of the server, where it dies with it. Default: in
    /// files.
    pub fn in_memory(self) -> Self {
        self.with(|options| options.is_in_memory = true)
    }

    /// How many servers of a cluster keep the stream, all copies counted, 1 to 5; an odd number. Default: 1. An event is
    /// answered when most of them have it.
    pub fn replicas(self, replicas: u8) -> Self {
        self.with(|options| options.replicas = replicas.clamp(1, 5))
    }

    /// How long a connection or an answer may take, at least 100 ms. Default: 3 seconds.
    pub fn timeout(self, patience: Duration) -> Self {
        let patience = patience.max(Duration::from_millis(100));
        self.with(|options| options.patience = patience)
    }

    /// Says to the server who we are.
    pub fn user_and_password(self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.identity(Identity::User(name.into(), password.into()))
    }

    /// Says a token to the server.
    pub fn token(self, token: impl Into<String>) -> Self {
        self.identity(Identity::Token(token.into()))
    }

    /// Signs with this key, given as its seed (`SU...`).
    ///
    /// # Errors
    ///
    /// [`InvalidNats::Seed`].
    pub fn nkey(self, seed: impl Into<String>) -> Result<Self, InvalidNats> {
        Ok(self.identity(Identity::from_seed(seed.into())?))
    }

    /// Uses these credentials, the text of a `.creds` file.
    ///
    /// # Errors
    ///
    /// [`InvalidNats::Credentials`].
    pub fn credentials(self, text: impl AsRef<str>) -> Result<Self, InvalidNats> {
        Ok(self.identity(Identity::from_credentials(text.as_ref())?))
    }

    /// Uses the credentials in this file, which is read for each connection.
    pub fn credentials_file(self, path: impl Into<PathBuf>) -> Self {
        self.with(|options| options.identity = Identification::In(path.into()))
    }

    /// Refuses a connection without TLS. Default: TLS if the server demands it.
    pub fn require_tls(self) -> Self {
        self.with(|options| options.must_encrypt = true)
    }

    /// Trusts the certificates in this PEM file as well as those of the system.
    pub fn root_certificates(self, path: impl Into<PathBuf>) -> Self {
        self.with(|options| options.roots.push(path.into()))
    }

    /// Shows the server this certificate, a PEM file, with its key, another.
    pub fn client_certificate(
        self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        let files = Some((certificate.into(), key.into()));
        self.with(|options| options.certificate = files)
    }

    fn identity(self, identity: Identity) -> Self {
        self.with(|options| options.identity = Identification::Is(identity))
    }

    fn with(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(Arc::make_mut(&mut self.options));
        self
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.options, f)
    }
}

#[async_trait]
impl Backplane for Nats {
    async fn append(&self, events: &[Append]) -> Vec<Result<Position, AppendError>> {
        let mut writer = self.writer.lock().await;
        writer.append(&self.options, events).await
    }

    async fn open(&self, latest: &Latest) -> Result<Box<dyn Reading>, BackplaneError> {
        let (options, care) = (Arc::clone(&self.options), self.care.clone());
        let opening = Log::open(options, care, latest.clone());
        let opened = timeout(2 * self.options.patience, opening).await;
        let log = opened.unwrap_or(Err(Trouble::SILENT));
        Ok(Box::new(log.map_err(|trouble| reading::error(&trouble))?))
    }

    fn name(&self) -> &'static str {
        NAME
    }
}
