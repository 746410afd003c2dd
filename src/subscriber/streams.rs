//! The open streams of an event source: how many, and whose.
//!
//! Who is admitted holds an [`Admitted`] until its stream is dropped; nothing else
//! has to be cleaned up. A key is known only while it has a stream.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::log::{Latch, Mutex, Notice};
use crate::planted::planted;

#[derive(Debug)]
pub(crate) struct Streams {
    open: Mutex<Open>,
}

/// Guarded by its mutex as a whole.
#[derive(Debug, Default)]
struct Open {
    total: usize,
    /// How many of them have left their server.
    detached: usize,
    keys: HashMap<Arc<str>, Keyed>,
}

/// The streams of one key.
#[derive(Debug)]
struct Keyed {
    count: usize,
    revoked: Arc<Latch>,
}

/// How many streams there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) total: usize,
    pub(crate) per_key: usize,
}

/// A stream's place among the open ones.
#[derive(Debug)]
pub(crate) struct Admitted {
    streams: Arc<Streams>,
    /// Boxed: most have none, and of streams there are many.
    key: Option<Box<(Arc<str>, Notice)>>,
    is_detached: bool,
}

impl Streams {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            open: Mutex::new(Open::default()),
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.open.lock().total
    }

    pub(crate) fn detached(&self) -> usize {
        self.open.lock().detached
    }

    /// `None` if there are too many already.
    pub(crate) fn admit(
        self: &Arc<Self>,
        key: Option<Arc<str>>,
        limits: Limits,
    ) -> Option<Admitted> {
        let mut open = self.open.lock();
        if open.total >= limits.total {
            return None;
        }
        let key = match key {
            None => None,
            Some(key) => {
                let keyed = open.keys.entry(Arc::clone(&key)).or_insert_with(|| Keyed {
                    count: 0,
                    revoked: Arc::new(Latch::new()),
                });
                if keyed.count >= limits.per_key {
                    let unused = keyed.count == 0;
                    if unused {
                        open.keys.remove(&key);
                    }
                    return None;
                }
                keyed.count += 1;
                Some(Box::new((key, Notice::of(&keyed.revoked))))
            }
        };
        open.total += 1;
        Some(Admitted {
            streams: Arc::clone(self),
            key,
            is_detached: false,
        })
    }

    /// Ends the streams of a key; those that are admitted later are new ones. Returns
    /// how many.
    pub(crate) fn revoke(&self, key: &str) -> usize {
        let keyed = self.open.lock().keys.remove(key);
        keyed.map_or(0, |keyed| {
            keyed.revoked.set();
            keyed.count
        })
    }
}

impl Admitted {
    #[cfg(feature = "websocket")]
    pub(crate) fn key(&self) -> Option<&str> {
        self.key.as_ref().map(|keyed| &*keyed.0)
    }

    /// It has left its server.
    #[cfg(feature = "detached")]
    pub(crate) fn detach(&mut self) {
        if !std::mem::replace(&mut self.is_detached, true) {
            self.streams.open.lock().detached += 1;
        }
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.key.as_ref().is_some_and(|keyed| keyed.1.is_set())
    }

    pub(crate) fn poll_revoked(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.key {
            Some(keyed) => keyed.1.poll_set(cx),
            None => Poll::Pending,
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.streams.open.lock();
        if planted("stream-count-leak") && self.is_revoked() {
            return;
        }
        open.total -= 1;
        if self.is_detached {
            open.detached -= 1;
        }
        if let Some((key, revoked)) = self.key.as_deref()
            && let Some(keyed) = open.keys.get_mut(key)
            // After a revocation the key's place may be another's.
            && revoked.is_of(&keyed.revoked)
        {
            keyed.count -= 1;
            if keyed.count == 0 {
                open.keys.remove(key);
            }
        }
    }
}

#[cfg(all(test, not(tornadose_loom)))]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        total: 3,
        per_key: 2,
    };

    #[test]
    fn limits_hold_and_places_come_back() {
        let streams = Streams::new();
        let a1 = streams.admit(Some("a".into()), LIMITS).expect("room");
        let a2 = streams.admit(Some("a".into()), LIMITS).expect("room");
        assert!(streams.admit(Some("a".into()), LIMITS).is_none());
        let b = streams.admit(Some("b".into()), LIMITS).expect("room");
        assert!(streams.admit(None, LIMITS).is_none());
        drop((a1, b));
        assert_eq!(streams.count(), 1);
        let a1 = streams.admit(Some("a".into()), LIMITS).expect("room");
        drop((a1, a2));
        assert_eq!(streams.count(), 0);
        assert!(streams.open.lock().keys.is_empty());
    }

    #[test]
    fn a_revoked_key_begins_anew() {
        let streams = Streams::new();
        let old = streams.admit(Some("a".into()), LIMITS).expect("room");
        let other = streams.admit(Some("b".into()), LIMITS).expect("room");
        assert_eq!(
            (
                streams.revoke("a"),
                streams.revoke("a"),
                streams.revoke("c")
            ),
            (1, 0, 0)
        );
        assert!(old.is_revoked() && !other.is_revoked());
        let new = streams.admit(Some("a".into()), LIMITS).expect("room");
        assert!(!new.is_revoked());
        drop(old);
        assert_eq!(streams.revoke("a"), 1);
        drop((new, other));
        assert!(streams.open.lock().keys.is_empty());
        assert_eq!(streams.count(), 0);
    }

    #[test]
    fn a_limit_of_none_keeps_no_key() {
        let streams = Streams::new();
        let none = Limits {
            total: 3,
            per_key: 0,
        };
        assert!(streams.admit(Some("a".into()), none).is_none());
        assert!(streams.open.lock().keys.is_empty());
    }
}
