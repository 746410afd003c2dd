//! What is written in it.

use super::counted;
use crate::finding::Finding;
use crate::seen::{End, Stream};

const SHORT_RETRY: u64 = 100;

pub(super) fn text(read: &Stream) -> Vec<Finding> {
    let (text, faults) = (&read.text, &read.text.faults);
    let mut found = Vec::new();
    let mut add = |times: u32, finding: fn(String) -> Finding, says: &str| {
        if times > 0 {
            let times = if times == 1 {
                "once".to_owned()
            } else {
                format!("{times} times")
            };
            found.push(finding(format!("{says} ({times}).")));
        }
    };
    add(
        u32::from(text.events == 0 && text.awaits_blank_line()),
        |says| Finding::error("no-blank-line", says),
        "Lines of data come, but no blank line behind them, so no event is ever dispatched",
    );
    let is_over = !matches!(read.end, End::Open | End::Enough);
    add(
        u32::from(is_over && text.is_cut() && !(text.events == 0 && text.awaits_blank_line())),
        |says| Finding::warning("unfinished-event", says),
        "The stream ended in the middle of an event, which a browser throws away",
    );
    add(
        faults.unknown_fields,
        |says| Finding::warning("unknown-field", says),
        "A line is neither data, event, id, retry nor a comment, and is ignored; data needs `data: ` before each of its lines",
    );
    add(
        faults.without_data,
        |says| Finding::warning("event-without-data", says),
        "An event has a name and no data line, and is not dispatched",
    );
    add(
        faults.ids_with_nul,
        |says| Finding::warning("id-nul", says),
        "An id holds a NUL and is ignored, so a browser comes back with an older one",
    );
    add(
        faults.bad_retries,
        |says| Finding::warning("retry-invalid", says),
        "A retry is no whole number of milliseconds, and is ignored",
    );
    add(
        faults.not_utf8,
        |says| Finding::warning("not-utf8", says),
        "A line is not UTF-8, and arrives with replacement characters",
    );
    add(
        faults.bom,
        |says| Finding::note("bom", says),
        "There is a byte order mark; browsers skip one at the very beginning, other clients do not",
    );
    add(
        u32::from(faults.least_retry.is_some_and(|least| least < SHORT_RETRY)),
        |says| Finding::note("retry-short", says),
        "retry is below 100 ms: when the server restarts, all clients ask at once, again and again",
    );
    add(
        u32::from(faults.is_large()),
        |says| Finding::note("large-event", says),
        "An event has more than 64 KiB, which line buffers of some clients do not take",
    );
    if found.is_empty() && text.events > 0 {
        found.push(Finding::ok(
            "text",
            format!(
                "{}, and a browser dispatches all.",
                counted(text.events, "event")
            ),
        ));
    }
    found
}
