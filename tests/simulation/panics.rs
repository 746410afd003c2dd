//! Panics of this thread, which runtimes would keep to themselves.

use std::cell::RefCell;

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Notes them from now on.
pub(crate) fn note() {
    std::panic::set_hook(Box::new(|panic| {
        let what = panic.to_string();
        let noted = PANICS.try_with(|panics| panics.borrow_mut().push(what.clone()));
        if noted.is_err() {
            eprintln!("{what}");
        }
    }));
}

pub(crate) fn take() -> Vec<String> {
    PANICS.with(|panics| panics.take())
}
