//! What stands in an entry of the stream, for `tests/fuzz`.

use super::entry::{self, Entry};
use crate::backplane::{Append, Record};

/// What an event is written as: names and values in turn.
pub fn written(append: &Append, tag: u32) -> Vec<Vec<u8>> {
    let fields = entry::fields(append, tag).into_iter();
    let flat = fields.flat_map(|(name, value)| [name.as_bytes().to_vec(), value.as_bytes().into()]);
    flat.collect()
}

/// What is read of an entry, if its id can be.
pub fn read(id: &str, fields: Vec<Vec<u8>>, max_bytes: usize, now: Option<u64>) -> Option<Record> {
    Some(Entry::new(id, fields)?.into_record(max_bytes, now))
}

/// What is read of what a script has kept.
pub fn read_kept(kept: &[u8], max_bytes: usize) -> Option<Record> {
    Some(Entry::of_kept(kept)?.into_record(max_bytes, None))
}
