//! The engine as one node reaches it: with time on the way, and not at all while the way is
//! broken.
//!
//! Before a hub asks an engine again that has failed, it waits for a while that is random,
//! and not from a seed. Here the engine answers when the longest of these whiles would be
//! over, so that nothing comes of it.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep, sleep_until};
use tornadose::Position;
use tornadose::backplane::{
    Append, AppendError, Backplane, BackplaneError, Latest, Reading, Record, Window,
};

use crate::engine::Engine;

/// Clones are one way to the engine.
#[derive(Clone)]
pub(crate) struct Far {
    engine: Engine,
    delay: Duration,
    way: Arc<Mutex<Way>>,
}

#[derive(Default)]
struct Way {
    is_broken: bool,
    /// When the last attempt or connection failed, and how many have since one lasted.
    failed: Option<Instant>,
    failures: u32,
}

/// The longest whiles: after one failure, and at most.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

impl Far {
    pub(crate) fn new(engine: Engine, delay: Duration) -> Self {
        Self {
            engine,
            delay,
            way: Arc::default(),
        }
    }

    /// As another process uses it, which has not tried anything yet.
    pub(crate) fn anew(&self) -> Self {
        let mut way = self.way();
        (way.failed, way.failures) = (None, 0);
        drop(way);
        self.clone()
    }

    pub(crate) fn set_broken(&self, is_broken: bool) {
        self.way().is_broken = is_broken;
    }

    fn way(&self) -> MutexGuard<'_, Way> {
        self.way.lock().unwrap_or_else(|error| error.into_inner())
    }

    fn check(&self) -> Result<(), BackplaneError> {
        match self.way().is_broken {
            true => Err(BackplaneError::new("far", "out of reach")),
            false => Ok(()),
        }
    }

    fn fail(&self) {
        let mut way = self.way();
        way.failed = Some(Instant::now());
        way.failures = way.failures.saturating_add(1);
    }

    async fn hop(&self) {
        if !self.delay.is_zero() {
            sleep(self.delay).await;
        }
    }
}

#[async_trait]
impl Backplane for Far {
    async fn append(&self, events: &[Append]) -> Vec<Result<Position, AppendError>> {
        let none = |error: AppendError| events.iter().map(|_| Err(error.clone())).collect();
        if self.check().is_err() {
            return none(AppendError::Unavailable);
        }
        self.hop().await;
        let answers = self.engine.append(events).await;
        self.hop().await;
        // The answer is lost on the way.
        match self.check() {
            Ok(()) => answers,
            Err(_) => none(AppendError::Unknown),
        }
    }

    async fn open(&self, latest: &Latest) -> Result<Box<dyn Reading>, BackplaneError> {
        let waits = {
            let way = self.way();
            let longest = FIRST.saturating_mul(1 << way.failures.min(10)).min(LONGEST);
            way.failed.map(|failed| failed + longest + FIRST)
        };
        if let Some(until) = waits {
            sleep_until(until).await;
        }
        self.hop().await;
        let opened = match self.check() {
            Ok(()) => self.engine.open(latest).await,
            Err(error) => Err(error),
        };
        match opened {
            Ok(reading) => Ok(Box::new(Connection {
                reading,
                far: self.clone(),
                since: Instant::now(),
            })),
            Err(error) => {
                self.fail();
                Err(error)
            }
        }
    }

    fn name(&self) -> &'static str {
        "far"
    }
}

/// A connection over that way.
struct Connection {
    reading: Box<dyn Reading>,
    far: Far,
    since: Instant,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.since.elapsed() > LONGEST {
            self.far.way().failures = 0;
        }
        self.far.fail();
    }
}

#[async_trait]
impl Reading for Connection {
    async fn window(&mut self) -> Result<Window, BackplaneError> {
        self.far.hop().await;
        self.far.check()?;
        self.reading.window().await
    }

    async fn read(&mut self, from: u64, most: usize) -> Result<Vec<Record>, BackplaneError> {
        self.far.hop().await;
        self.far.check()?;
        self.reading.read(from, most).await
    }

    async fn wait(
        &mut self,
        from: u64,
        most: usize,
        patience: Duration,
    ) -> Result<Vec<Record>, BackplaneError> {
        self.far.check()?;
        let records = self.reading.wait(from, most, patience).await?;
        self.far.check()?;
        Ok(records)
    }

    async fn latest(&mut self) -> Result<Vec<Record>, BackplaneError> {
        self.far.hop().await;
        self.far.check()?;
        self.reading.latest().await
    }
}
