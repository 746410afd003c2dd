//! Texts of ours in the places that NATS has for texts: topics in subjects, names and keys
//! in headers, times out of answers.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::topic::Topic;

/// Between the tokens of a subject.
const DOT: char = '.';

/// Of a topic of which every event matters, the subjects that begin with the prefix itself;
/// of a topic of which the newest is kept, those that begin with this behind the prefix.
pub(super) const LATEST: &str = "-latest";

/// The subject of a topic.
pub(super) fn subject(prefix: &str, topic: &Topic, is_latest: bool) -> String {
    let name = topic.as_str();
    let mut subject = String::with_capacity(prefix.len() + LATEST.len() + name.len() + 9);
    subject.push_str(prefix);
    if is_latest {
        subject.push_str(LATEST);
    }
    for level in name.split('/') {
        subject.push(DOT);
        encode(&mut subject, level, is_special_in_subjects);
    }
    subject
}

/// The topic of a subject, if it is the subject of one.
pub(super) fn topic(prefix: &str, text: &str) -> Option<Topic> {
    let rest = text.strip_prefix(prefix)?;
    let (rest, is_latest) = match rest.strip_prefix(LATEST) {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let mut name = String::with_capacity(rest.len());
    for token in rest.strip_prefix(DOT)?.split(DOT) {
        if !name.is_empty() {
            name.push('/');
        }
        name.push_str(&decode(token)?);
    }
    let topic = Topic::new(name).ok()?;
    // Another spelling would be another subject: two newest events of one topic.
    (subject(prefix, &topic, is_latest) == text).then_some(topic)
}

/// A text as the value of a header, which is never empty.
pub(super) fn header(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    encode(&mut value, text, |c| c != ' ' && is_special(c));
    // Spaces at the ends would be taken for padding.
    if value.starts_with(' ') || value.ends_with(' ') {
        value.clear();
        encode(&mut value, text, is_special);
    }
    if value.is_empty() {
        // What no other text is written as.
        value.push('%');
    }
    value
}

fn is_special_in_subjects(c: char) -> bool {
    matches!(c, DOT | '*' | '>' | char::REPLACEMENT_CHARACTER) || is_special(c)
}

fn is_special(c: char) -> bool {
    c == '%' || c.is_control() || c.is_whitespace()
}

fn encode(out: &mut String, text: &str, must: impl Fn(char) -> bool) {
    for c in text.chars() {
        if must(c) {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(out, "%{byte:02X}");
            }
        } else {
            out.push(c);
        }
    }
}

/// The text that was percent-encoded; `None` if this is not what one looks like.
pub(super) fn decode(text: &str) -> Option<Cow<'_, str>> {
    let mut parts = text.split('%');
    let first = parts.next()?;
    if first.len() == text.len() {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::from(first);
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        if !code.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// The nanoseconds since 1970 of a time as NATS writes it, `2026-11-21T18:12:08.506050216Z`.
pub(super) fn nanos(time: &str) -> Option<u64> {
    let (date, clock) = time.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(digits);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut clock = clock.splitn(3, ':').map(digits);
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if !(1970..=2500).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let fraction = match fraction.len() {
        0 => 0,
        len @ 1..=9 => digits(fraction)?.checked_mul(10u64.pow(9 - u32::try_from(len).ok()?))?,
        _ => return None,
    };
    // Years that begin in March end with their leap day; 306 days lie between the two starts.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    let seconds = days.checked_sub(719_469)? * 86_400 + hour * 3_600 + minute * 60 + second;
    seconds.checked_mul(1_000_000_000)?.checked_add(fraction)
}

fn digits(text: &str) -> Option<u64> {
    let is_number = (1..=9).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// 64 bits of a text that are the same in every process and version.
pub(super) fn hash(text: &str) -> u64 {
    let fnv = text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(fnv)
}

/// Spreads every bit of a number over all bits.
pub(super) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The upper half of a number.
pub(super) fn upper(number: u64) -> u32 {
    let [a, b, c, d, ..] = number.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(name: &str) -> Topic {
        Topic::new(name).expect("a topic")
    }

    #[test]
    fn subjects_are_exact() {
        for (name, expected) in [
            ("news", "log.news"),
            ("rooms/7/messages", "log.rooms.7.messages"),
            ("a.b/c d", "log.a%2Eb.c%20d"),
            ("*/>/%", "log.%2A.%3E.%25"),
            ("räume/东京", "log.räume.东京"),
            ("a\u{a0}b\u{3000}", "log.a%C2%A0b%E3%80%80"),
            ("\u{fffd}", "log.%EF%BF%BD"),
            ("$SYS/-latest", "log.$SYS.-latest"),
        ] {
            assert_eq!(subject("log", &of(name), false), expected);
            assert_eq!(topic("log", expected), Some(of(name)));
            let latest = expected.replacen("log", "log-latest", 1);
            assert_eq!(subject("log", &of(name), true), latest);
            assert_eq!(topic("log", &latest), Some(of(name)));
        }
    }

    #[test]
    fn another_spelling_is_no_topic() {
        for text in [
            "log",
            "log.",
            "log..a",
            "log.a.",
            "log.a..b",
            "logs.a",
            "log.a/b",
            "log.%2f",
            "log.a%2Fb",
            "log.%41",
            "log.%2e",
            "log.%",
            "log.%2",
            "log.%+2",
            "log.%zz",
            "log.+",
            "log.#",
            "log.a+b",
            "log.%00",
            "log.%FF",
            "log.\u{fffd}",
            "other.a",
            "log-latest",
            "log-latest.",
            "log-latests.a",
            "-latest.a",
        ] {
            assert_eq!(topic("log", text), None, "{text:?}");
        }
        assert_eq!(topic("log", &format!("log.{}", "a".repeat(256))), None);
        assert_eq!(topic("log", &format!("log{}", ".a".repeat(17))), None);
    }

    #[test]
    fn headers_are_exact() {
        for (text, expected) in [
            ("tick", "tick"),
            ("new message", "new message"),
            (" a b ", "%20a%20b%20"),
            ("100%", "100%25"),
            ("\t\u{b}\u{85}\u{2028}", "%09%0B%C2%85%E2%80%A8"),
            ("a\r\nb", "a%0D%0Ab"),
            ("größe", "größe"),
        ] {
            assert_eq!(header(text), expected);
            assert_eq!(decode(expected).as_deref(), Some(text));
        }
        assert_eq!(header(""), "%");
        assert_eq!(decode("%"), None);
    }

    #[test]
    fn times_are_exact() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-01T00:00:00.000000001Z", Some(1)),
            ("2000-02-29T23:59:59.5Z", Some(951_868_799_500_000_000)),
            (
                "2026-11-21T18:12:08.506050216Z",
                Some(1_795_284_728_506_050_216),
            ),
            ("2100-03-01T00:00:00Z", Some(4_107_542_400_000_000_000)),
            ("0001-01-01T00:00:00Z", None),
            ("2026-11-21T18:12:08+01:00", None),
            ("2026-11-21T18:12:08.Z", Some(1_795_284_728_000_000_000)),
            ("2026-13-21T18:12:08Z", None),
            ("2026-11-21", None),
            ("", None),
        ] {
            assert_eq!(nanos(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_topic_is_read_back(
            levels in proptest::collection::vec("[^/+#\\pC]{1,8}|[ .*>%$\\-]{1,8}", 1..8),
            is_latest: bool,
        ) {
            let name = levels.join("/");
            prop_assume!(Topic::new(name.as_str()).is_ok());
            let subject = subject("some.log", &of(&name), is_latest);
            prop_assert!(!subject.contains(|c: char| c.is_whitespace() || c.is_control()));
            prop_assert!(subject.split('.').all(|token| !matches!(token, "" | "*" | ">")));
            prop_assert_eq!(topic("some.log", &subject), Some(of(&name)));
        }

        #[test]
        fn any_text_is_read_back_from_a_header(text in any::<String>(), odd in "[ %\\t\\r\\n]*a[ %]*") {
            for text in [&text, &odd] {
                let value = header(text);
                prop_assert_eq!(value.trim(), value.as_str());
                prop_assert!(!value.contains(['\r', '\n']));
                if !text.is_empty() {
                    let read = decode(&value);
                    prop_assert_eq!(read.as_deref(), Some(text.as_str()));
                }
            }
        }

        #[test]
        fn nothing_panics(text in any::<String>(), odd in "[0-9TZ:.\\-%]{0,32}") {
            for text in [&text, &odd] {
                let _ = (topic("log", text), decode(text), nanos(text));
            }
        }
    }
}
