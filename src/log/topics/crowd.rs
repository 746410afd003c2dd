//! Those who read the same.

use std::sync::Arc;

use bytes::Bytes;

use crate::log::sync::Mutex;
use crate::log::waiters::Waiters;

/// The readers of one topic, or by one pattern: who of them waits, and what was joined
/// for one of them last, because the others will want the same.
#[derive(Debug)]
pub(crate) struct Crowd {
    /// Not sharded: there are as many of these as there are topics that somebody reads.
    pub(super) waiters: Waiters<1>,
    pub(super) run: Mutex<Option<Run>>,
    #[cfg(feature = "websocket")]
    pub(super) frames: Mutex<Option<Box<super::frames::Frames>>>,
}

/// Joined blocks of the events from the offset `first` to `last`, and of so many.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) events: usize,
    pub(super) bytes: Bytes,
}

impl Crowd {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            waiters: Waiters::new(),
            run: Mutex::new(None),
            #[cfg(feature = "websocket")]
            frames: Mutex::new(None),
        })
    }
}
