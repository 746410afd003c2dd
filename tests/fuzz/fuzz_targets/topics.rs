//! Topics and patterns are read back as they were written, or are none; and a pattern, the
//! policies and the subscriptions that are made of it mean what a plain matcher says.
#![no_main]

use std::task::{Context, Poll, Waker};

use libfuzzer_sys::fuzz_target;
use tornadose::backplane::Latest;
use tornadose::{Event, Hub, InvalidTopic, Pattern, Policy, Start, Subscribe, Topic, Topics};
use tornadose_fuzz::Input;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let name = input.text();
    let topic = Topic::new(name.as_str());
    assert_eq!(topic.as_ref().err(), fault(&name, false).as_ref());
    let mut topics = Topics::new();
    let mut is_wanted = false;
    let mut patterns = Vec::new();
    while !input.is_empty() {
        let text = input.text();
        let pattern = Pattern::new(text.as_str());
        assert_eq!(pattern.as_ref().err(), fault(&text, true).as_ref());
        let Ok(pattern) = pattern else { continue };
        assert_eq!(pattern.to_string(), text);
        if let Ok(topic) = &topic {
            let (levels, of): (Vec<_>, Vec<_>) =
                (name.split('/').collect(), text.split('/').collect());
            let expected = matches(&of, &levels);
            assert_eq!(pattern.matches(topic), expected, "{pattern} {topic}");
            assert_eq!(Latest::of([pattern.clone()]).contains(topic), expected);
            is_wanted |= expected;
        }
        patterns.push(pattern.clone());
        topics = topics.pattern(pattern);
    }
    if let Ok(topic) = topic {
        assert_eq!(topic.to_string(), name);
        hub(&topic, topics, is_wanted, patterns);
    }
});

/// Who is subscribed before and who is after get the event if a pattern matches, and the
/// first policy whose pattern does is that of the topic.
fn hub(topic: &Topic, topics: Topics, is_wanted: bool, patterns: Vec<Pattern>) {
    let policies = patterns.iter().cloned();
    let hub = policies.fold(Hub::builder(), |hub, pattern| {
        hub.policy(pattern, Policy::latest())
    });
    let hub = hub.build();
    let subscribe = || hub.subscribe(Subscribe::from(Start::Oldest).topics(topics.clone()));
    let mut before = subscribe();
    for _ in 0..2 {
        let event = Event::new("x").topic(topic.clone());
        hub.submit(event).expect("an open hub");
    }
    let held = if is_wanted { 1 } else { 2 };
    let retained = hub.stats_of(topic).map(|stats| stats.retained);
    assert_eq!(retained, Some(held), "latest or queue");
    for subscription in [&mut before, &mut subscribe()] {
        let mut cx = Context::from_waker(Waker::noop());
        let polled = subscription.poll_recv(&mut cx);
        let is_told = matches!(&polled, Poll::Ready(Some(delivery)) if delivery.event().is_some());
        assert_eq!(is_told, is_wanted, "{polled:?}");
    }
}

/// One level after the other, and `#` any number of them.
fn matches(pattern: &[&str], topic: &[&str]) -> bool {
    match (pattern, topic) {
        (["#"], _) | ([], []) => true,
        (["+", pattern @ ..], [_, topic @ ..]) => matches(pattern, topic),
        ([own, pattern @ ..], [other, topic @ ..]) => own == other && matches(pattern, topic),
        _ => false,
    }
}

fn fault(text: &str, is_pattern: bool) -> Option<InvalidTopic> {
    let levels: Vec<_> = text.split('/').collect();
    if text.len() > 255 {
        return Some(InvalidTopic::TooLong);
    }
    if text.chars().any(char::is_control) {
        return Some(InvalidTopic::Control);
    }
    let mut before = "";
    for level in &levels {
        let is_wild = is_pattern && matches!(*level, "+" | "#");
        if level.is_empty() {
            return Some(InvalidTopic::EmptyLevel);
        }
        if before == "#" || (!is_wild && level.contains(['+', '#'])) {
            return Some(InvalidTopic::Wildcard);
        }
        before = level;
    }
    (levels.len() > 16).then_some(InvalidTopic::TooDeep)
}
