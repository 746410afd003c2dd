//! What became of what was submitted.

use std::collections::HashMap;

use super::record::{History, Outcome, uid};
use super::truth::Truth;
use super::{Promise, Violation};

/// P6: what was acknowledged is in the log once and where it was said to be, what is unknown
/// at most once, what was refused is not, and nothing else is.
pub(super) fn acknowledged(history: &History, truth: &Truth<'_>, found: &mut Vec<Violation>) {
    let mut places: HashMap<&str, Vec<_>> = HashMap::new();
    for log in &history.logs {
        for stored in log.events.iter().chain(&log.lost) {
            let uid = uid(&stored.data);
            places.entry(uid).or_default().push(&stored.id);
            if !truth.submits.contains_key(uid) {
                found.push(broken(format!("{} was never submitted", stored.id)));
            }
        }
    }
    for submit in &history.submits {
        let places = places.get(submit.uid.as_str());
        let places = places.map(Vec::as_slice).unwrap_or_default();
        let is_right = match &submit.outcome {
            Outcome::Ok(_, id) => places == [id],
            Outcome::Refused => places.is_empty(),
            Outcome::Unknown => places.len() <= 1,
        };
        if !is_right {
            let places: Vec<_> = places.iter().map(|id| id.to_string()).collect();
            let what = format!("{}, {:?}, is at {places:?}", submit.uid, submit.outcome);
            found.push(broken(what));
        }
    }
}

fn broken(what: String) -> Violation {
    Violation::new(Promise::Acknowledged, None, what)
}

/// P7: what was acknowledged before something else was submitted stands before it.
pub(super) fn real_time(history: &History, found: &mut Vec<Violation>) {
    let submits = history.submits.iter();
    let submits: HashMap<_, _> = submits.map(|of| (of.uid.as_str(), of)).collect();
    for log in &history.logs {
        // From the end: the first acknowledgement of what stands behind.
        let mut first: Option<(u64, &str)> = None;
        for stored in log.events.iter().rev() {
            let Some(submit) = submits.get(uid(&stored.data)) else {
                continue;
            };
            if let Some((ended, behind)) = first
                && ended < submit.invoked
            {
                let what = format!(
                    "{behind} stands behind {}, which was submitted after it was acknowledged",
                    submit.uid
                );
                found.push(Violation::new(Promise::RealTime, None, what));
            }
            if let Outcome::Ok(ended, _) = submit.outcome
                && first.is_none_or(|(other, _)| ended < other)
            {
                first = Some((ended, &submit.uid));
            }
        }
    }
}
