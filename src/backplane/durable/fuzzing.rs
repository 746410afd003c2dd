//! What stands in a file, for `tests/fuzz`.

use super::record::{self, Draft};
use crate::backplane::{Append, Record};

/// An event as the file keeps it in this place.
pub fn written(append: &Append, epoch: u64, offset: u64, tag: u32, time: u64) -> Vec<u8> {
    let draft = Draft::of(append).ok();
    draft.map_or_else(Vec::new, |draft| draft.stamp(epoch, offset, tag, time))
}

/// What is read in this place.
pub fn read(epoch: u64, offset: u64, bytes: &[u8], now: u64) -> Record {
    record::read(epoch, offset, bytes, now)
}
