//! An id is read back as it was written, or is malformed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tornadose::{LastEventId, Position};

fuzz_target!(|bytes: &[u8]| {
    let text = str::from_utf8(bytes).ok();
    let read = text.and_then(|text| text.parse::<Position>().ok());
    if let Some(position) = read {
        assert_eq!(position.to_string().as_bytes(), bytes);
        assert!(bytes.len() <= 39);
    }
    let expected = read.map_or(LastEventId::Malformed, LastEventId::At);
    assert_eq!(LastEventId::parse(bytes), expected);
});
