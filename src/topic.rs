//! What an event is about: [`Topic`]s, [`Pattern`]s of them, and sets of both.
//!
//! A topic is a path of levels, `rooms/7/messages`. It is compared as it is, byte for
//! byte: nothing is decoded, folded or normalised, so there is one way to write each,
//! and no text that a client can send is another name for a topic that it was refused.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::InvalidTopic;

/// The name of a stream of events within a [`Hub`](crate::Hub).
///
/// ```
/// use tornadose::Topic;
///
/// let topic: Topic = "rooms/7/messages".parse()?;
/// assert!("rooms/+/messages".parse::<Topic>().is_err()); // that is a pattern
/// # Ok::<(), tornadose::InvalidTopic>(())
/// ```
///
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Arc<str>);

impl Topic {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 255;
    /// The most levels, which `/` parts.
    pub const MAX_LEVELS: usize = 16;

    /// A name of 1 to [`MAX_LEN`](Self::MAX_LEN) bytes in at most
    /// [`MAX_LEVELS`](Self::MAX_LEVELS) levels, none of which is empty or holds a control
    /// character, `+` or `#`.
    ///
    /// # Errors
    ///
    /// [`InvalidTopic`] says what is wrong.
    pub fn new(name: impl AsRef<str> + Into<Arc<str>>) -> Result<Self, InvalidTopic> {
        judge(name.as_ref(), |level| {
            if level.contains(['+', '#']) {
                Err(InvalidTopic::Wildcard)
            } else {
                Ok(())
            }
        })?;
        Ok(Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The topics whose levels match: `+` is any one level, `#` at the end any number of
/// them, also none.
///
/// ```
/// use tornadose::{Pattern, Topic};
///
/// let pattern: Pattern = "rooms/+/#".parse()?;
/// assert!(pattern.matches(&"rooms/7".parse()?));
/// assert!(pattern.matches(&"rooms/7/messages/new".parse()?));
/// assert!(!pattern.matches(&"rooms".parse()?));
/// # Ok::<(), tornadose::InvalidTopic>(())
/// ```
///
/// Matching takes time linear in the topic. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(Arc<str>);

impl Pattern {
    /// A pattern within the limits of a [`Topic`], in which `+` and `#` are levels of
    /// their own and `#` is the last.
    ///
    /// # Errors
    ///
    /// [`InvalidTopic`] says what is wrong.
    pub fn new(pattern: impl AsRef<str> + Into<Arc<str>>) -> Result<Self, InvalidTopic> {
        let text = pattern.as_ref();
        let mut is_over = false;
        judge(text, |level| {
            let is_wild = matches!(level, "+" | "#");
            if is_over || (!is_wild && level.contains(['+', '#'])) {
                return Err(InvalidTopic::Wildcard);
            }
            is_over = level == "#";
            Ok(())
        })?;
        Ok(Self(pattern.into()))
    }

    /// Whether this topic is one of them.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        let mut levels = topic.0.split('/');
        for expected in self.0.split('/') {
            if expected == "#" {
                return true;
            }
            match levels.next() {
                Some(level) if expected == "+" || expected == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }

    /// Whether every topic that the other one matches is one of them.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let mut levels = other.0.split('/');
        for expected in self.0.split('/') {
            if expected == "#" {
                return true;
            }
            match levels.next() {
                Some(level) if level != "#" && (expected == "+" || expected == level) => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }

    /// Whether there may be a topic that both match.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let (mut own, mut others) = (self.0.split('/'), other.0.split('/'));
        loop {
            match (own.next(), others.next()) {
                (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
                (Some(own), Some(other)) if own == "+" || other == "+" || own == other => {}
                _ => return false,
            }
        }
    }

    /// The pattern.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn judge(
    text: &str,
    mut level: impl FnMut(&str) -> Result<(), InvalidTopic>,
) -> Result<(), InvalidTopic> {
    if text.len() > Topic::MAX_LEN {
        return Err(InvalidTopic::TooLong);
    }
    if text.contains(char::is_control) {
        return Err(InvalidTopic::Control);
    }
    let mut number = 0;
    for part in text.split('/') {
        number += 1;
        if part.is_empty() {
            return Err(InvalidTopic::EmptyLevel);
        }
        level(part)?;
    }
    if number > Topic::MAX_LEVELS {
        return Err(InvalidTopic::TooDeep);
    }
    Ok(())
}

/// What a subscription is to: topics, patterns, or both. Empty, it is to nothing.
///
/// ```
/// use tornadose::{Topic, Topics};
///
/// let topics = Topics::new()
///     .topic("rooms/7".parse::<Topic>()?)
///     .pattern("news/#".parse()?);
/// # Ok::<(), tornadose::InvalidTopic>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Topics {
    pub(crate) topics: Vec<Topic>,
    pub(crate) patterns: Vec<Pattern>,
    left_out: usize,
}

impl Topics {
    /// The most topics and patterns that one subscription is to. What is added beyond
    /// them is left out, and [`left_out`](Self::left_out) tells how many.
    pub const MAX: usize = 256;

    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// This one as well.
    pub fn topic(mut self, topic: Topic) -> Self {
        if self.topics.contains(&topic) {
            return self;
        }
        match self.is_full() {
            true => self.left_out = self.left_out.saturating_add(1),
            false => self.topics.push(topic),
        }
        self
    }

    /// Those of this pattern as well.
    pub fn pattern(mut self, pattern: Pattern) -> Self {
        if self.patterns.contains(&pattern) {
            return self;
        }
        match self.is_full() {
            true => self.left_out = self.left_out.saturating_add(1),
            false => self.patterns.push(pattern),
        }
        self
    }

    /// The topics, in the order in which they were added.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &Topic> {
        self.topics.iter()
    }

    /// The patterns, in the order in which they were added.
    pub fn patterns(&self) -> impl ExactSizeIterator<Item = &Pattern> {
        self.patterns.iter()
    }

    /// Whether this topic is among them, by its name or by a pattern.
    #[must_use]
    pub fn contains(&self, topic: &Topic) -> bool {
        self.topics.contains(topic) || self.patterns.iter().any(|pattern| pattern.matches(topic))
    }

    /// How many were added beyond [`MAX`](Self::MAX), and left out.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    pub(crate) fn add_all(&mut self, others: Self) {
        let mut all = std::mem::take(self);
        all = others.topics.into_iter().fold(all, Self::topic);
        *self = others.patterns.into_iter().fold(all, Self::pattern);
    }

    pub(crate) fn remove_all(&mut self, others: &Self) {
        self.topics.retain(|topic| !others.topics.contains(topic));
        self.patterns
            .retain(|pattern| !others.patterns.contains(pattern));
    }

    /// How many topics and patterns there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.topics.len() + self.patterns.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there are [`MAX`](Self::MAX).
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() >= Self::MAX
    }
}

impl From<Topic> for Topics {
    fn from(topic: Topic) -> Self {
        Self::new().topic(topic)
    }
}

impl From<Pattern> for Topics {
    fn from(pattern: Pattern) -> Self {
        Self::new().pattern(pattern)
    }
}

impl FromIterator<Topic> for Topics {
    fn from_iter<I: IntoIterator<Item = Topic>>(topics: I) -> Self {
        topics.into_iter().fold(Self::new(), Self::topic)
    }
}

impl From<Topic> for Pattern {
    fn from(topic: Topic) -> Self {
        Self(topic.0)
    }
}

macro_rules! text {
    ($($type:ident)*) => {$(
        impl FromStr for $type {
            type Err = InvalidTopic;

            fn from_str(text: &str) -> Result<Self, InvalidTopic> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $type {
            type Error = InvalidTopic;

            fn try_from(text: &str) -> Result<Self, InvalidTopic> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidTopic;

            fn try_from(text: String) -> Result<Self, InvalidTopic> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    )*};
}

text! { Topic Pattern }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged() {
        for good in [
            "a",
            "a/b",
            "rooms/7/new messages",
            "ü/…",
            ".",
            "..",
            "a%2Fb",
            "A",
        ] {
            assert_eq!(Topic::new(good).expect("a topic").as_str(), good);
        }
        for (bad, why) in [
            ("", InvalidTopic::EmptyLevel),
            ("/", InvalidTopic::EmptyLevel),
            ("/a", InvalidTopic::EmptyLevel),
            ("a/", InvalidTopic::EmptyLevel),
            ("a//b", InvalidTopic::EmptyLevel),
            ("a\0", InvalidTopic::Control),
            ("a\r\nb", InvalidTopic::Control),
            ("a\u{85}b", InvalidTopic::Control),
            ("+", InvalidTopic::Wildcard),
            ("a/#", InvalidTopic::Wildcard),
            ("a+b", InvalidTopic::Wildcard),
        ] {
            assert_eq!(Topic::new(bad), Err(why), "{bad:?}");
        }
        assert!(Topic::new("x".repeat(255)).is_ok());
        assert_eq!(Topic::new("x".repeat(256)), Err(InvalidTopic::TooLong));
        assert!(Topic::new(["x"; 16].join("/")).is_ok());
        assert_eq!(Topic::new(["x"; 17].join("/")), Err(InvalidTopic::TooDeep));
        for bad in ["#/a", "a/#/b", "a#", "+a", "a/+b", "++"] {
            assert_eq!(Pattern::new(bad), Err(InvalidTopic::Wildcard), "{bad:?}");
        }
    }

    #[test]
    fn what_is_too_many_is_counted() {
        let topic = |n: usize| Topic::new(format!("t/{n}")).expect("a topic");
        let full: Topics = (0..Topics::MAX).map(topic).collect();
        assert!(full.is_full());
        assert_eq!(full.left_out(), 0);
        let again = full.topic(topic(0));
        assert_eq!(again.left_out(), 0, "it is there already");
        let over = again
            .topic(topic(999))
            .pattern("#".parse().expect("a pattern"));
        assert_eq!((over.len(), over.left_out()), (Topics::MAX, 2));
        assert_eq!(over.names().len() + over.patterns().len(), over.len());
        assert!(over.contains(&topic(7)) && !over.contains(&topic(999)));
    }

    #[test]
    fn patterns_match_levels() {
        for (pattern, topic, matches) in [
            ("a", "a", true),
            ("a", "b", false),
            ("a", "a/b", false),
            ("+", "a", true),
            ("+", "a/b", false),
            ("#", "a", true),
            ("#", "a/b/c", true),
            ("a/#", "a", true),
            ("a/#", "ab", false),
            ("a/+", "a", false),
            ("a/+", "a/b", true),
            ("a/+/c", "a/b/c", true),
            ("a/+/c", "a/b/d", false),
            ("+/+", "a", false),
            ("+/#", "a", true),
            ("a/+/#", "a", false),
            ("a/b/#", "a/c", false),
        ] {
            let (pattern, topic): (Pattern, Topic) = (
                pattern.parse().expect("a pattern"),
                topic.parse().expect("a topic"),
            );
            assert_eq!(pattern.matches(&topic), matches, "{pattern} {topic}");
        }
    }

    #[test]
    fn a_pattern_may_cover_another_one() {
        let pattern = |text: &str| Pattern::new(text).expect("a pattern");
        for (one, other, covers, overlaps) in [
            ("#", "#", true, true),
            ("#", "a/+", true, true),
            ("a/#", "a/+", true, true),
            ("a/#", "a", true, true),
            ("a/+", "a/#", false, true),
            ("a/+", "a/b", true, true),
            ("a/b", "a/+", false, true),
            ("a/+", "b/+", false, false),
            ("a/b", "a/b/c", false, false),
            ("+/b", "a/+", false, true),
            ("a", "a", true, true),
            ("a", "b", false, false),
        ] {
            let (one, other) = (pattern(one), pattern(other));
            assert_eq!(one.covers(&other), covers, "{one:?} {other:?}");
            assert_eq!(one.overlaps(&other), overlaps, "{one:?} {other:?}");
            assert_eq!(other.overlaps(&one), overlaps, "{one:?} {other:?}");
        }
    }
}
