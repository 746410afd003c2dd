//! A clock that moves only when it is told to.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

/// A paused clock for tests that poll by hand.
///
/// What runs in [`at_once`](Self::at_once) sees the paused clock but is not a task,
/// so tokio's budget of polls for one task does not count there.
pub(crate) struct Clock(Runtime);

impl Clock {
    pub(crate) fn paused() -> Self {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        Self(runtime)
    }

    pub(crate) fn at_once<T>(&self, run: impl FnOnce() -> T) -> T {
        let _entered = self.0.enter();
        run()
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.block_on(tokio::time::advance(by));
    }
}
