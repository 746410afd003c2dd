//! The keys of events that are stored once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::position::Position;

/// So many keys are remembered at most.
pub(super) const MOST: usize = 1 << 18;

pub(super) struct Once {
    window: Duration,
    known: HashMap<Arc<str>, Position>,
    /// The same, in the order of their positions.
    order: VecDeque<(Instant, Position, Arc<str>)>,
}

impl Once {
    pub(super) fn new(window: Duration) -> Self {
        Self {
            window,
            known: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<Position> {
        self.known.get(key).copied()
    }

    /// A key that was stored so many milliseconds ago.
    pub(super) fn load(&mut self, key: Arc<str>, position: Position, age: u64) {
        let left = self.window.saturating_sub(Duration::from_millis(age));
        self.remember(key, position, left);
    }

    pub(super) fn insert(&mut self, key: Arc<str>, position: Position) {
        self.remember(key, position, self.window);
    }

    fn remember(&mut self, key: Arc<str>, position: Position, left: Duration) {
        let now = Instant::now();
        let until = now.checked_add(left).unwrap_or(now);
        self.known.insert(Arc::clone(&key), position);
        self.order.push_back((until, position, key));
    }

    /// Forgets what is too old, and says up to which offset that was.
    pub(super) fn forget(&mut self) -> Option<u64> {
        let now = Instant::now();
        let mut forgotten = None;
        while let Some((until, position, key)) = self.order.front() {
            if *until > now && self.order.len() <= MOST {
                break;
            }
            forgotten = Some(position.offset());
            if self.known.get(key) == Some(position) {
                self.known.remove(key);
            }
            self.order.pop_front();
        }
        forgotten
    }
}
