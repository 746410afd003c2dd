//! Who comes with an id that is ahead of what this process has read.
//!
//! Another process has read more, for a moment, and its client has come here; or the engine
//! has lost what the id is of. The engine knows, once it has been asked after the client has
//! come. Until then the client is sent away for a while, because a gap, and everything anew,
//! would be told to somebody who has lost nothing.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Window;
use crate::position::Position;

/// So many are remembered, and for so long; of more nobody is let in.
const MOST: usize = 4096;
const TIME: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Ahead(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Who has come, and when first.
    came: HashMap<Position, Instant>,
    /// When the engine was asked last, and what it said.
    asked: Option<(Instant, Window)>,
}

impl Ahead {
    /// Whether what this id is of may still be read.
    pub(super) fn may_come(&self, id: Position) -> bool {
        let now = Instant::now();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.came.len() >= MOST {
            state
                .came
                .retain(|_, came| now.duration_since(*came) < TIME);
        }
        let is_full = state.came.len() >= MOST;
        let came = match state.came.get(&id) {
            Some(came) => *came,
            None => {
                if !is_full {
                    state.came.insert(id, now);
                }
                return true;
            }
        };
        match state.asked {
            Some((asked, window)) if asked > came => {
                window.epoch == id.epoch().number() && window.next > id.offset()
            }
            _ => true,
        }
    }

    /// The engine was asked at this time, or later.
    pub(super) fn asked(&self, at: Instant, window: Window) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.asked = Some((at, window));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(epoch: u64, offset: u64) -> Position {
        Position::tagged(epoch, offset, 1)
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_ahead_is_judged_by_what_was_asked_later() {
        let ahead = Ahead::default();
        let said = |next| Window {
            epoch: 7,
            oldest: 1,
            next,
        };
        let moment = || tokio::time::advance(Duration::from_millis(1));
        ahead.asked(Instant::now(), said(5));
        moment().await;
        // What was asked before says nothing.
        assert!(ahead.may_come(id(7, 9)) && ahead.may_come(id(7, 9)));
        moment().await;
        ahead.asked(Instant::now(), said(5));
        assert!(!ahead.may_come(id(7, 9)), "it is lost");
        assert!(ahead.may_come(id(7, 8)), "it has just come");
        moment().await;
        ahead.asked(Instant::now(), said(10));
        assert!(
            ahead.may_come(id(7, 9)) && ahead.may_come(id(7, 8)),
            "it is there"
        );
        ahead.asked(
            Instant::now(),
            Window {
                epoch: 8,
                ..said(10)
            },
        );
        assert!(!ahead.may_come(id(7, 9)), "it was of another log");
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_are_remembered() {
        let ahead = Ahead::default();
        for offset in 0..2 * MOST as u64 {
            assert!(ahead.may_come(id(7, offset)));
        }
        assert_eq!(ahead.0.lock().expect("no panic").came.len(), MOST);
        tokio::time::advance(2 * TIME).await;
        assert!(ahead.may_come(id(7, u64::MAX)));
        assert_eq!(ahead.0.lock().expect("no panic").came.len(), 1);
    }
}
