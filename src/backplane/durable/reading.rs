//! Reading the file, beside the thread that writes it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::error::Fault;
use super::file::LogFile;
use super::writer::Job;
use super::{Durable, Known, PATIENCE, Shared};
use crate::backplane::{BackplaneError, Latest, Reading, Record, Window};

pub(super) struct FileReading {
    shared: Arc<Shared>,
    jobs: SyncSender<Job>,
    latest: Latest,
    window: watch::Receiver<Known>,
    /// How often the file had been opened again when this began.
    opened: u64,
}

impl FileReading {
    pub(super) fn new(durable: &Durable, latest: &Latest) -> Self {
        Self {
            shared: Arc::clone(&durable.shared),
            jobs: durable.jobs.clone(),
            latest: latest.clone(),
            window: durable.shared.window.clone(),
            opened: durable.shared.opened.load(Ordering::Acquire),
        }
    }

    /// Reads the file on a thread that may wait for the disk.
    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&LogFile) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, BackplaneError> {
        let Ok(runtime) = Handle::try_current() else {
            return Err(error("reading needs a runtime of tokio"));
        };
        let (shared, opened) = (Arc::clone(&self.shared), self.opened);
        let asked = runtime.spawn_blocking(move || match &*shared.file() {
            _ if shared.opened.load(Ordering::Acquire) != opened => Err(anew()),
            Some(file) => ask(file),
            None => Err(Fault::Io(std::io::Error::other("the file is closed"))),
        });
        match timeout(PATIENCE, asked).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(fault))) => {
                if matches!(fault, Fault::Broken(_)) {
                    // If there is no room for that either, the next one tells.
                    let _ = self.jobs.try_send(Job::Mend);
                }
                Err(error(fault.words()))
            }
            Ok(Err(_)) => Err(error("reading was given up")),
            Err(_) => Err(error("the disk does not answer")),
        }
    }

    fn known(&self) -> Result<Window, BackplaneError> {
        if self.shared.opened.load(Ordering::Acquire) != self.opened {
            return Err(error(anew().words()));
        }
        let window = self.window.borrow();
        window.as_ref().copied().map_err(|why| error(why.clone()))
    }
}

#[async_trait]
impl Reading for FileReading {
    /// Nobody else writes, so what the writer knows is what there is.
    async fn window(&mut self) -> Result<Window, BackplaneError> {
        self.known()
    }

    async fn read(&mut self, from: u64, most: usize) -> Result<Vec<Record>, BackplaneError> {
        self.ask(move |file| file.read(from, most)).await
    }

    async fn wait(
        &mut self,
        from: u64,
        most: usize,
        patience: Duration,
    ) -> Result<Vec<Record>, BackplaneError> {
        let until = Instant::now().checked_add(patience);
        let until = until.unwrap_or_else(|| Instant::now() + PATIENCE);
        loop {
            self.window.mark_unchanged();
            if self.known()?.next > from {
                return self.read(from, most).await;
            }
            match timeout_at(until, self.window.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(error("the log is closed")),
                Err(_) => return Ok(Vec::new()),
            }
        }
    }

    async fn latest(&mut self) -> Result<Vec<Record>, BackplaneError> {
        let next = self.known()?.next;
        let latest = self.latest.clone();
        self.ask(move |file| file.latest(&latest, next)).await
    }
}

/// A connection sees one history, and a file that is opened again may be shorter.
fn anew() -> Fault {
    Fault::Io(std::io::Error::other("the file was opened again"))
}

pub(super) fn error(what: impl Into<Arc<str>>) -> BackplaneError {
    BackplaneError::new("durable", what)
}
