//! `Script`: as a handler, and in tabs of a real Chromium, which `tests/install` installs;
//! where it is missing, these tests fail.
#![cfg(unix)]

mod browser;
#[allow(dead_code, reason = "it is there for other tests, too")]
#[path = "../clients/installed.rs"]
mod installed;
mod script;
mod sharing;
mod stage;

use std::time::Duration;

/// For everything that comes as soon as it can, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
