//! What a test says of all that was received. They panic, and tell the first offence.
#![allow(clippy::panic, reason = "that is what an assertion does")]

use crate::gap::Gap;
use crate::position::Position;
use crate::test::decoder::Message;
use crate::test::delivery::Delivery;

/// There is no gap, and the ids are of one log and rise: nothing is lost, nothing comes twice
/// and nothing out of order.
///
/// Offsets may be left out, as a [`DataStore`](crate::DataStore) does, and a
/// [`Hub`](crate::Hub) with topics that the client does not have;
/// [`assert_contiguous`] takes none of that.
///
/// # Panics
///
/// Where that is not so: at a gap; at a message of the name `gap`, which is one that cannot be
/// read; at an id that is not a [`Position`], is of another log than the one before, or does
/// not stand behind it. The value of a topic that is added to a live stream has no id of its
/// own: what a client receives then is not for this assertion.
#[track_caller]
pub fn assert_gap_free(received: &[Delivery]) {
    if let Err(offence) = walk(received, false) {
        panic!("{offence}");
    }
}

/// As [`assert_gap_free`], and each offset is that of the one before and one: of a
/// [`QueueStore`](crate::QueueStore), or of a [`Hub`](crate::Hub) all of whose topics the
/// client has.
///
/// # Panics
///
/// As [`assert_gap_free`], and at an offset that is left out.
#[track_caller]
pub fn assert_contiguous(received: &[Delivery]) {
    if let Err(offence) = walk(received, true) {
        panic!("{offence}");
    }
}

/// Received and missed are together what was submitted: for stores that are lossless, and a
/// client that was there, or had an id, before the first of so many events.
///
/// # Panics
///
/// Where the sum is another one, with the first place at which something is left out that no
/// gap tells of, as far as ids tell; at an event that comes again or too early; and at a gap
/// that does not know how much is missing ([`Gap::missed`]) or that cannot be read.
#[track_caller]
pub fn assert_conserved(received: &[Delivery], submitted: u64) {
    let mut messages = 0_u64;
    let mut missed = 0_u64;
    for (at, delivery) in received.iter().enumerate() {
        match delivery {
            Delivery::Message(message) if message.name == "gap" => {
                panic!("a gap that cannot be read at {at}: {message:?}");
            }
            Delivery::Message(_) => messages = messages.saturating_add(1),
            Delivery::Gap(Gap {
                missed: Some(some), ..
            }) => missed = missed.saturating_add(*some),
            Delivery::Gap(gap) => panic!("nobody knows how much is missing at {at}: {gap:?}"),
        }
    }
    let is_sum = messages.saturating_add(missed) == submitted;
    match untold(received, !is_sum) {
        Some(offence) if is_sum => panic!("{offence}"),
        offence if !is_sum => {
            let offence = offence
                .map(|offence| format!(": {offence}"))
                .unwrap_or_default();
            panic!(
                "{messages} received and {missed} missed are not {submitted} submitted{offence}"
            );
        }
        _ => {}
    }
}

fn walk(received: &[Delivery], is_contiguous: bool) -> Result<(), String> {
    let mut last: Option<Position> = None;
    for (at, delivery) in received.iter().enumerate() {
        let message = match delivery {
            Delivery::Gap(gap) => return Err(format!("a gap at {at}: {gap:?}")),
            Delivery::Message(message) if message.name == "gap" => {
                return Err(format!("a gap that cannot be read at {at}: {message:?}"));
            }
            Delivery::Message(message) => message,
        };
        let Some(position) = position(message) else {
            return Err(format!("an id that is not a position at {at}: {message:?}"));
        };
        if let Some(last) = last {
            let behind = || format!("{position} behind {last}: {message:?}");
            match position.partial_cmp(&last) {
                None => return Err(format!("another log at {at}: {}", behind())),
                Some(order) if order.is_le() => {
                    return Err(format!("out of order at {at}: {}", behind()));
                }
                Some(_) if is_contiguous && position.offset() - last.offset() > 1 => {
                    return Err(format!("a hole at {at}: {}", behind()));
                }
                Some(_) => {}
            }
        }
        last = Some(position);
    }
    Ok(())
}

/// The first place at which an event comes twice or too early, or, if that is asked for, comes
/// behind others that no gap tells of.
fn untold(received: &[Delivery], with_holes: bool) -> Option<String> {
    let mut last: Option<Position> = None;
    for (at, delivery) in received.iter().enumerate() {
        let message = match delivery {
            Delivery::Gap(gap) => {
                last = Some(gap.resume);
                continue;
            }
            Delivery::Message(message) => message,
        };
        let Some(position) = position(message) else {
            continue;
        };
        if let Some(last) = last {
            match position.partial_cmp(&last) {
                Some(order) if order.is_le() => {
                    return Some(format!("{position} comes again behind {last} at {at}"));
                }
                Some(_) if with_holes && position.offset() - last.offset() > 1 => {
                    return Some(format!("{position} comes behind {last} at {at}, untold"));
                }
                _ => {}
            }
        }
        last = Some(position);
    }
    None
}

fn position(message: &Message) -> Option<Position> {
    message.last_event_id.parse().ok()
}
