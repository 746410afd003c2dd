//! What goes over a WebSocket: text frames (RFC 6455, 5.2) of one JSON object each.
//!
//! ```text
//! {"id":"WUFZSxsBWn0-42","prev":"WUFZSxsBWn0-41","event":"tick","data":"12.5"}
//! ```
//!
//! - A server's frames are not masked, so one written frame is the same for
//!   everybody.
//! - No message is split: its length is known.
//! - `prev` is the id of the message before it on this connection. Where it is not
//!   the id that a client has, something is missing and was told.

use crate::entry::Entry;
use crate::gap::Gap;
use crate::planted::planted;
use crate::position::Position;
use crate::wire::json;

/// How an event is written as a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Envelope {
    /// `{"id":"..","prev":"..","event":"..","data":..}`, and a first message of the
    /// event `open`, whose id is where the connection begins. The default. Events of a
    /// [`Hub`](crate::Hub) also have their `topic`.
    ///
    /// `data` is a string, or a JSON value if the event was made of one
    /// (`Event::json`).
    #[default]
    Full,
    /// `{"data": ..}`, as the Python package wrote it. A client does not learn any id,
    /// so it cannot go on where it was; a gap is `{"gap": {..}}`.
    Data,
}

/// FIN, and that it is text.
const TEXT: u8 = 0x81;

/// Appends the message of an event that follows the position `prev`.
pub(crate) fn event(
    frames: &mut Vec<u8>,
    envelope: Envelope,
    entry: &Entry,
    prev: Option<Position>,
) {
    let mut text = String::with_capacity(entry.data().len() + 128);
    match envelope {
        Envelope::Full => {
            text.push('{');
            if entry.is_in_order() {
                text += &format!("\"id\":\"{}\",", entry.id());
                if let Some(prev) = prev {
                    text += &format!("\"prev\":\"{prev}\",");
                }
            }
            if let Some(topic) = entry.topic() {
                text += "\"topic\":";
                json::string(&mut text, topic.as_str());
                text.push(',');
            }
            text += "\"event\":";
            json::string(&mut text, entry.name());
            text += ",\"data\":";
        }
        Envelope::Data => text += "{\"data\": ",
    }
    if entry.is_json() {
        text += entry.data();
    } else {
        json::string(&mut text, entry.data());
    }
    text.push('}');
    frame(frames, &text);
}

/// Appends the message that tells a gap.
pub(crate) fn gap(frames: &mut Vec<u8>, envelope: Envelope, gap: &Gap) {
    let (told, id) = (json::gap(gap), gap.resume);
    let text = match envelope {
        Envelope::Full => format!("{{\"id\":\"{id}\",\"event\":\"gap\",\"data\":{told}}}"),
        Envelope::Data => format!("{{\"gap\": {told}}}"),
    };
    frame(frames, &text);
}

/// Appends the first message, if the envelope has one.
pub(crate) fn open(frames: &mut Vec<u8>, envelope: Envelope, at: Option<Position>) {
    match (envelope, at) {
        (Envelope::Full, Some(id)) => {
            frame(frames, &format!("{{\"id\":\"{id}\",\"event\":\"open\"}}"));
        }
        (Envelope::Full, None) => frame(frames, "{\"event\":\"open\"}"),
        (Envelope::Data, _) => {}
    }
}

/// Appends the position that a client goes on from, if the envelope tells any.
pub(crate) fn bookmark(frames: &mut Vec<u8>, envelope: Envelope, at: Position) {
    match envelope {
        Envelope::Full => frame(frames, &format!("{{\"id\":\"{at}\"}}")),
        Envelope::Data => {}
    }
}

fn frame(frames: &mut Vec<u8>, text: &str) {
    let len = text.len();
    frames.reserve(len + 10);
    frames.push(TEXT);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len), _) if len < 126 + u8::from(planted("frame-length")) => frames.push(len),
        (_, Ok(len)) => {
            frames.push(126);
            frames.extend_from_slice(&len.to_be_bytes());
        }
        (_, Err(_)) => {
            frames.push(127);
            frames.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frames.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, EventName};
    use crate::gap::GapReason;
    use crate::position::Epoch;

    fn at(offset: u64) -> Position {
        Position::new(Epoch::zero(), offset)
    }

    fn message(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut frames = Vec::new();
        write(&mut frames);
        let (head, text) = frames.split_at(2);
        assert_eq!(head, [TEXT, u8::try_from(text.len()).expect("short")]);
        String::from_utf8(text.to_vec()).expect("UTF-8")
    }

    fn written(envelope: Envelope, event: impl Into<Event>, prev: Option<u64>) -> String {
        let entry = Entry::new(at(7), &event.into());
        message(|frames| super::event(frames, envelope, &entry, prev.map(at)))
    }

    #[test]
    fn messages_are_exact() {
        let full = |event| written(Envelope::Full, event, Some(6));
        assert_eq!(
            full(Event::new("hello")),
            r#"{"id":"AAAAAAAAAAA-7","prev":"AAAAAAAAAAA-6","event":"message","data":"hello"}"#
        );
        assert_eq!(
            full(Event::new("a\r\nb\n").name(EventName::from_static("ti\"ck"))),
            r#"{"id":"AAAAAAAAAAA-7","prev":"AAAAAAAAAAA-6","event":"ti\"ck","data":"a\r\nb\n"}"#
        );
        assert_eq!(
            written(Envelope::Full, "", None),
            r#"{"id":"AAAAAAAAAAA-7","event":"message","data":""}"#
        );
        assert_eq!(written(Envelope::Data, "12", None), r#"{"data": "12"}"#);
    }

    #[test]
    #[cfg(feature = "json")]
    fn a_json_value_stands_as_itself() {
        let value = Event::json(&serde_json::json!({"a": [1, "x\n"]})).expect("JSON");
        assert_eq!(
            written(Envelope::Full, value.clone(), None),
            r#"{"id":"AAAAAAAAAAA-7","event":"message","data":{"a":[1,"x\n"]}}"#
        );
        assert_eq!(
            written(Envelope::Data, value, None),
            r#"{"data": {"a":[1,"x\n"]}}"#
        );
        let number = Event::json(&12).expect("JSON");
        assert_eq!(written(Envelope::Data, number, None), r#"{"data": 12}"#);
    }

    #[test]
    fn control_messages_are_exact() {
        let full = Envelope::Full;
        assert_eq!(
            message(|frames| open(frames, full, Some(at(3)))),
            r#"{"id":"AAAAAAAAAAA-3","event":"open"}"#
        );
        assert_eq!(
            message(|frames| open(frames, full, None)),
            r#"{"event":"open"}"#
        );
        let told = Gap::new(GapReason::Slow, Some(2), Some(at(3)), at(5));
        let json =
            r#"{"reason":"slow","missed":"2","from":"AAAAAAAAAAA-3","resume":"AAAAAAAAAAA-5"}"#;
        assert_eq!(
            message(|frames| gap(frames, full, &told)),
            format!(r#"{{"id":"AAAAAAAAAAA-5","event":"gap","data":{json}}}"#)
        );
        assert_eq!(
            message(|frames| gap(frames, Envelope::Data, &told)),
            format!(r#"{{"gap": {json}}}"#)
        );
    }

    #[test]
    fn lengths_stand_in_the_shortest_form() {
        for (len, head) in [
            (0, vec![TEXT, 0]),
            (125, vec![TEXT, 125]),
            (126, vec![TEXT, 126, 0, 126]),
            (255, vec![TEXT, 126, 0, 255]),
            (256, vec![TEXT, 126, 1, 0]),
            (65_535, vec![TEXT, 126, 255, 255]),
            (65_536, vec![TEXT, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut frames = Vec::new();
            frame(&mut frames, &"x".repeat(len));
            assert_eq!(frames[..head.len()], head);
            assert_eq!(frames.len(), head.len() + len);
        }
    }
}
