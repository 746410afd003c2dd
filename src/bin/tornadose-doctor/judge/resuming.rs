//! Who comes back.

use std::collections::HashSet;

use http::StatusCode;

use super::{counted, failure};
use crate::finding::Finding;
use crate::seen::{End, Failure, Head, Resumed, Stream};

pub(super) fn resuming(read: &Stream, resumed: Option<&Resumed>, latest: bool) -> Option<Finding> {
    let Some(resumed) = resumed else {
        let has_id = !read.text.last_event_id.is_empty();
        return (read.text.events > 0 && !has_id).then(|| {
            let says = "The events have no ids: who is away for a moment misses what is sent meanwhile, and does not know.";
            Finding::note("no-ids", says)
        });
    };
    let again = match &resumed.answer {
        Ok(again) => again,
        Err(why) => {
            let says = format!(
                "Who comes back with an id that was given gets no answer. {}",
                failure(why).says
            );
            return Some(Finding::error("resume-refused", says));
        }
    };
    if again.head.is_busy() {
        let says = format!(
            "Who comes back with an id that was given gets {}: too many streams at once, perhaps; what follows is not known.",
            again.head.status.as_u16()
        );
        return Some(Finding::note("resume-refused", says));
    }
    if !again.head.is_event_stream() {
        let says = format!(
            "Who comes back with an id that was given gets {} and no event stream.",
            again.head.status.as_u16()
        );
        return Some(Finding::error("resume-refused", says));
    }
    let (known, expected) = read.text.remembered.split_at_checked(resumed.from)?;
    let known: HashSet<_> = known
        .iter()
        .filter_map(|event| event.id.as_deref())
        .collect();
    let follows = &again.text.remembered;
    let repeated = follows
        .iter()
        .filter(|event| event.id.as_deref().is_some_and(|id| known.contains(id)));
    let repeated = repeated.count();
    if repeated > 0 {
        let says = format!(
            "Who comes back with an id that was given gets {} again that do not stand behind it.",
            counted(repeated, "event")
        );
        return Some(Finding::error("resume-repeats", says));
    }
    let expected = expected.iter().find(|event| event.id.is_some());
    let Some(expected) = expected else {
        let says = "Who comes back with the last id gets nothing again.";
        return Some(Finding::ok("resumes", says));
    };
    // An end at once, without a word, puts off to another time.
    let is_over = !matches!(again.end, End::Open | End::Enough);
    if is_over && follows.is_empty() && again.text.last_event_id.is_empty() {
        return None;
    }
    match follows.iter().find(|event| event.id.is_some()) {
        Some(first) if first.id == expected.id => {
            let says = "Who comes back with an older id goes on with the very next event.";
            Some(Finding::ok("resumes", says))
        }
        // Something without an id, before the rest, can say what is missing.
        _ if follows
            .first()
            .is_some_and(|first| first.is_gap || first.id.is_none()) =>
        {
            let says = "Who comes back with an older id is first told that events are gone, or something without an id.";
            Some(Finding::ok("resumes", says))
        }
        _ if latest => Some(Finding::ok(
            "resumes",
            "Who comes back with an older id skips what is no longer the latest.",
        )),
        Some(_) => {
            let says = "Who comes back with an older id does not get the event that was sent next, and is not told so: it is lost, \
                        unless the stream is one of latest values (--latest).";
            Some(Finding::warning("resume-skips", says))
        }
        None => {
            let says =
                "Who comes back with an older id does not get the events that were sent since.";
            Some(Finding::warning("resume-skips", says))
        }
    }
}

pub(super) fn nonsense(answer: &Result<Head, Failure>) -> Finding {
    match answer {
        Ok(head) if head.is_event_stream() => Finding::ok(
            "nonsense-id",
            "An id that nobody gave is answered with a stream.",
        ),
        Ok(head) if head.status == StatusCode::NO_CONTENT => {
            let says = "An id that nobody gave is answered with 204: a browser that was away for too long never comes back.";
            Finding::note("nonsense-id", says)
        }
        Ok(head) if head.is_busy() => {
            let says = format!(
                "An id that nobody gave is answered with {}: too many streams at once, perhaps.",
                head.status.as_u16()
            );
            Finding::note("nonsense-id", says)
        }
        Ok(head) => {
            let says = format!(
                "An id that nobody gave is answered with {}: a browser with an id from before a restart never comes back.",
                head.status.as_u16()
            );
            Finding::error("nonsense-id", says)
        }
        Err(why) => {
            let says = format!(
                "An id that nobody gave gets no answer. {}",
                failure(why).says
            );
            Finding::error("nonsense-id", says)
        }
    }
}
