//! What stands in a message, for `tests/fuzz`.

use bytes::Bytes;

use super::message::{self, Fields, Stored};
use super::{stream, text};
use crate::backplane::{Append, Record};

/// The subject and the headers of an event.
pub fn written(append: &Append, tag: u32, prefix: &str) -> (String, Vec<u8>) {
    let subject = text::subject(prefix, &append.topic, append.is_latest);
    let mut headers = b"NATS/1.0\r\n".to_vec();
    for (name, values) in message::headers(append, tag).iter() {
        for value in values {
            headers.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
    }
    headers.extend_from_slice(b"\r\n");
    (subject, headers)
}

/// What is read of a message with these headers.
pub fn read(subject: String, headers: &[u8], data: Bytes, prefix: &str) -> Record {
    let stored = Stored {
        seq: 7,
        nanos: 1,
        subject,
        fields: Fields::read(headers),
        data,
    };
    stored.record(1, prefix)
}

/// What is read of a message as the server tells it.
pub fn read_answer(json: &[u8], prefix: &str) -> Option<Record> {
    let message = serde_json::from_slice(json).ok()?;
    Some(stream::stored(&message)?.record(1, prefix))
}

/// The nanoseconds of a time.
pub fn nanos(time: &str) -> Option<u64> {
    text::nanos(time)
}
