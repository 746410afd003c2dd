//! Positions that no submit has returned.

use tornadose::Position;

/// The place `offset` in the log that `known` is of.
pub(crate) fn place(known: Position, offset: u64) -> Position {
    at(epoch(known).as_str(), offset)
}

/// The place `offset` in a log that is none of ours.
pub(crate) fn foreign(offset: u64) -> Position {
    at("AAAAAAAAAAA", offset)
}

/// The part of an id that names its log.
pub(crate) fn epoch(known: Position) -> String {
    let id = known.to_string();
    let (epoch, _) = id.rsplit_once('-').expect("an id has a dash");
    epoch.to_owned()
}

fn at(epoch: &str, offset: u64) -> Position {
    format!("{epoch}-{offset}").parse().expect("an id")
}
