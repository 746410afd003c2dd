//! Who reads a topic, told as events of another one.

use crate::event::{Event, EventName};
use crate::topic::Topic;
use crate::wire::json;

pub(super) const JOIN: EventName = EventName::from_static("join");
pub(super) const LEAVE: EventName = EventName::from_static("leave");

/// `presence/` and the name of the topic, if that is short enough to be one.
pub(super) fn topic_of(topic: &Topic) -> Option<Topic> {
    Topic::new(format!("presence/{topic}")).ok()
}

/// Somebody has come to a topic or gone, after which there are so many.
pub(super) fn event(topic: &Topic, what: EventName, who: Option<&str>, readers: usize) -> Event {
    let mut data = String::from("{\"topic\":");
    json::string(&mut data, topic.as_str());
    if let Some(who) = who {
        data += ",\"name\":";
        json::string(&mut data, who);
    }
    data += &format!(",\"count\":{readers}}}");
    Event::of_json(data).name(what)
}
