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
    /// Blocks, by the first and the last offset of their events and their number.
    pub(super) run: Latest<(u64, u64, usize)>,
    #[cfg(feature = "websocket")]
    pub(super) frames: Latest<super::frames::Key>,
}

/// The bytes that were made last, and what of. Boxed: most crowds never need any.
#[derive(Debug)]
pub(super) struct Latest<K>(Mutex<Option<Box<(K, Bytes)>>>);

impl<K: PartialEq> Latest<K> {
    fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// The bytes of this, which are made if they were not the last ones.
    pub(super) fn get(&self, key: K, make: impl FnOnce() -> Bytes) -> Bytes {
        let mut latest = self.0.lock();
        if let Some(latest) = &*latest
            && latest.0 == key
        {
            return latest.1.clone();
        }
        let bytes = make();
        *latest = Some(Box::new((key, bytes.clone())));
        bytes
    }
}

impl Crowd {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            waiters: Waiters::new(),
            run: Latest::new(),
            #[cfg(feature = "websocket")]
            frames: Latest::new(),
        })
    }
}
