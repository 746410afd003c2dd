//! Bugs that are here on purpose, so that it can be shown that the tests find them.
//!
//! Each is a slip that somebody could make, at a place that is at risk of it, and has a
//! name. A crate that is built with `--cfg planted` has the one bug that the environment
//! variable `PLANTED` names; any other crate has none, and nothing of this is compiled into
//! it. What each breaks, and which test has to find it, is the table in `tests/planted`.

/// Whether the bug of this name is there.
#[cfg(not(planted))]
#[inline(always)]
pub(crate) const fn planted(_name: &str) -> bool {
    false
}

/// Whether the bug of this name is there.
#[cfg(planted)]
pub(crate) fn planted(name: &str) -> bool {
    use std::sync::OnceLock;

    static NAMED: OnceLock<Option<String>> = OnceLock::new();
    let named = NAMED.get_or_init(|| std::env::var("PLANTED").ok());
    named.as_deref() == Some(name)
}
