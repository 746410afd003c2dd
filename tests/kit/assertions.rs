//! What is right passes, and what is not is found, at its place.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tornadose::test::{Delivery, Message, assert_conserved, assert_contiguous, assert_gap_free};
use tornadose::{Gap, GapReason, Position};

const LOG: &str = "AAAAAAAAAAA";
const OTHER: &str = "-BBBBBBBBBA";

fn at(epoch: &str, offset: u64) -> Delivery {
    Delivery::Message(Message::new("message", "x", format!("{epoch}-{offset}")))
}

fn event(offset: u64) -> Delivery {
    at(LOG, offset)
}

fn place(offset: u64) -> Position {
    format!("{LOG}-{offset}").parse().expect("a position")
}

fn gap(missed: Option<u64>, resume: u64) -> Delivery {
    Delivery::Gap(Gap::new(GapReason::Slow, missed, None, place(resume)))
}

fn tagged(offset: u64, tag: u32) -> Delivery {
    let id = Position::tagged(0, offset, tag).to_string();
    Delivery::Message(Message::new("message", "x", id))
}

fn with(name: &str, id: &str) -> Delivery {
    Delivery::Message(Message::new(name, "x", id))
}

/// What it says, or nothing if it is content.
fn said(assertion: impl FnOnce()) -> String {
    match catch_unwind(AssertUnwindSafe(assertion)) {
        Ok(()) => String::new(),
        Err(panic) => *panic.downcast::<String>().expect("a message"),
    }
}

#[test]
fn without_gaps_ids_rise() {
    for (received, offence) in [
        (vec![], ""),
        (vec![event(7)], ""),
        (vec![event(1), event(2), event(9)], ""),
        (vec![tagged(1, 5), tagged(2, 3)], ""),
        (
            vec![event(1), gap(Some(1), 2), gap(Some(1), 3)],
            "a gap at 1: ",
        ),
        (
            vec![event(1), with("gap", "AAAAAAAAAAA-2")],
            "a gap that cannot be read at 1: ",
        ),
        (
            vec![event(1), event(1)],
            "out of order at 1: AAAAAAAAAAA-1 behind AAAAAAAAAAA-1: ",
        ),
        (
            vec![event(2), event(3), event(1)],
            "out of order at 2: AAAAAAAAAAA-1 behind AAAAAAAAAAA-3: ",
        ),
        (
            vec![event(1), at(OTHER, 2)],
            "another log at 1: -BBBBBBBBBA-2 behind AAAAAAAAAAA-1: ",
        ),
        (vec![tagged(1, 5), tagged(1, 6)], "another log at 1: "),
        (
            vec![with("message", "")],
            "an id that is not a position at 0: ",
        ),
        (
            vec![event(1), with("message", "7")],
            "an id that is not a position at 1: ",
        ),
    ] {
        for assertion in [assert_gap_free, assert_contiguous] {
            let said = said(|| assertion(&received));
            // What is left out is for the other one.
            let is_hole = said.starts_with("a hole") && received.contains(&event(9));
            let is_said = said.starts_with(offence) && said.is_empty() == offence.is_empty();
            assert!(is_said || is_hole, "{said:?} of {received:?}");
        }
    }
}

#[test]
fn neighbours_are_neighbours() {
    assert_contiguous(&[event(3), event(4), event(5)]);
    let received = [event(3), event(4), event(6), event(9)];
    assert_gap_free(&received);
    assert_eq!(
        said(|| assert_contiguous(&received)),
        "a hole at 2: AAAAAAAAAAA-6 behind AAAAAAAAAAA-4: Message { name: \"message\", \
         data: \"x\", last_event_id: \"AAAAAAAAAAA-6\" }"
    );
}

#[test]
fn received_and_missed_are_submitted() {
    assert_conserved(&[], 0);
    assert_conserved(&[event(1), event(2)], 2);
    assert_conserved(&[event(1), gap(Some(3), 4), event(5), gap(Some(1), 6)], 6);
    // Another log behind a gap, and ids that say nothing.
    assert_conserved(&[event(9), gap(Some(0), 0), event(1)], 2);
    assert_conserved(&[with("message", ""), with("message", "")], 2);

    for (received, submitted, offence) in [
        (vec![], 1, "0 received and 0 missed are not 1 submitted"),
        (
            vec![event(1)],
            0,
            "1 received and 0 missed are not 0 submitted",
        ),
        (
            vec![event(1), event(2), event(5)],
            5,
            "3 received and 0 missed are not 5 submitted: \
             AAAAAAAAAAA-5 comes behind AAAAAAAAAAA-2 at 2, untold",
        ),
        (
            vec![event(1), gap(Some(1), 2), event(4)],
            4,
            "2 received and 1 missed are not 4 submitted: \
             AAAAAAAAAAA-4 comes behind AAAAAAAAAAA-2 at 2, untold",
        ),
        // One is lost and one comes twice.
        (
            vec![event(1), event(1), event(3)],
            3,
            "AAAAAAAAAAA-1 comes again behind AAAAAAAAAAA-1 at 1",
        ),
        (
            vec![event(2), event(2)],
            1,
            "2 received and 0 missed are not 1 submitted: \
             AAAAAAAAAAA-2 comes again behind AAAAAAAAAAA-2 at 1",
        ),
        // What has no place does not end the search.
        (
            vec![with("message", ""), event(1), event(1)],
            3,
            "AAAAAAAAAAA-1 comes again behind AAAAAAAAAAA-1 at 2",
        ),
        (
            vec![gap(Some(u64::MAX), 4), event(5)],
            5,
            "1 received and 18446744073709551615 missed are not 5 submitted",
        ),
    ] {
        assert_eq!(said(|| assert_conserved(&received, submitted)), offence);
    }
    let unread = said(|| assert_conserved(&[event(1), with("gap", "AAAAAAAAAAA-2")], 2));
    assert!(
        unread.starts_with("a gap that cannot be read at 1: Message {"),
        "{unread}"
    );
    let said = said(|| assert_conserved(&[event(1), gap(None, 2)], 2));
    assert!(
        said.starts_with("nobody knows how much is missing at 1: Gap {"),
        "{said}"
    );
}

#[test]
fn a_delivery_is_its_data() {
    assert_eq!(with("any", "id"), "x");
    assert_eq!([event(1), event(2)], ["x", "x"]);
    assert_ne!(event(1), "y");
    assert_ne!(gap(None, 1), "x");
}
