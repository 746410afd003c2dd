//! The hub: in the memory of this process, or on Redis, as soon as that is there.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tornadose::backplane::{InvalidRedis, Redis};
use tornadose::{Hub, InvalidTopic, Policy, Retention, Topic};

use crate::files::MAX_COMMENT;
use crate::support::complain;

/// What is kept of each page for those who come back.
const KEPT: usize = 200;

/// For how long Redis remembers that it has a comment. A comment of which the app does not
/// know it is sent again under its key; whatever keeps the app or Redis away for less than
/// this doubles nothing.
const ONCE_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// How long it is waited before something is tried again, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// The way to a hub, which is not there before Redis is.
#[derive(Clone)]
pub(crate) struct Link {
    hub: watch::Receiver<Option<Hub>>,
    /// Who opens it.
    _open: Arc<watch::Sender<Option<Hub>>>,
}

impl Link {
    pub(crate) fn in_memory() -> Self {
        let open = watch::Sender::new(Some(builder().build()));
        Self {
            hub: open.subscribe(),
            _open: Arc::new(open),
        }
    }

    /// To the Redis at this URL. Tries until it is there.
    pub(crate) fn to(url: &str) -> Result<Self, InvalidRedis> {
        redis(url)?;
        let open = Arc::new(watch::Sender::new(None));
        tokio::spawn(connect(url.to_owned(), Arc::clone(&open)));
        Ok(Self {
            hub: open.subscribe(),
            _open: open,
        })
    }

    /// The hub, if it is there.
    pub(crate) fn hub(&self) -> Option<Hub> {
        self.hub.borrow().clone()
    }

    /// The hub, as soon as it is there. `None` if it will never be.
    pub(crate) async fn opened(&self) -> Option<Hub> {
        let mut hub = self.hub.clone();
        let opened = hub.wait_for(Option::is_some).await;
        opened.ok().and_then(|hub| hub.clone())
    }
}

async fn connect(url: String, open: Arc<watch::Sender<Option<Hub>>>) {
    let mut pauses = Pauses::new();
    let mut is_told = false;
    while let Ok(redis) = redis(&url) {
        match builder().open(redis).await {
            Ok(hub) => {
                open.send_replace(Some(hub));
                return;
            }
            // Its text holds neither an address nor a password.
            Err(error) if !is_told => {
                is_told = true;
                let source = std::error::Error::source(&error);
                let why = source.map_or_else(|| error.to_string(), ToString::to_string);
                complain(format_args!("waiting for the log: {why}"));
            }
            Err(_) => {}
        }
        pauses.wait().await;
    }
}

fn redis(url: &str) -> Result<Redis, InvalidRedis> {
    Ok(Redis::new(url)?.key("document")?.once_for(ONCE_FOR))
}

fn builder() -> tornadose::HubBuilder {
    Hub::builder()
        .default_policy(Policy::queue(
            Retention::new().events(KEPT).bytes(KEPT * MAX_COMMENT),
        ))
        .max_event_bytes(MAX_COMMENT)
}

/// What is told of a page is about this topic.
pub(crate) fn topic(page: &str) -> Result<Topic, InvalidTopic> {
    Topic::new(format!("{TOPICS}{page}"))
}

pub(crate) const TOPICS: &str = "pages/";

/// Longer and longer, each a little different.
pub(crate) struct Pauses(Duration);

impl Pauses {
    pub(crate) fn new() -> Self {
        Self(PAUSES.0)
    }

    pub(crate) async fn wait(&mut self) {
        sleep(self.0.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        self.0 = (self.0 * 2).min(PAUSES.1);
    }
}
