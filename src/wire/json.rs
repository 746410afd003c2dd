//! The JSON that we write ourselves.

use crate::gap::Gap;

/// A gap. Its values are words and ids, so they need no escapes.
pub(crate) fn gap(gap: &Gap) -> String {
    let mut json = format!("{{\"reason\":\"{}\"", gap.reason);
    if let Some(missed) = gap.missed {
        json += &format!(",\"missed\":\"{missed}\"");
    }
    if let Some(from) = gap.from {
        json += &format!(",\"from\":\"{from}\"");
    }
    json += &format!(",\"resume\":\"{}\"}}", gap.resume);
    json
}

/// Appends a text as a string (RFC 8259, 7).
pub(crate) fn string(json: &mut String, text: &str) {
    json.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(|c| matches!(c, '"' | '\\' | '\0'..='\x1f')) {
        let (plain, tail) = rest.split_at(at);
        json.push_str(plain);
        let mut tail = tail.chars();
        match tail.next() {
            Some('\n') => json.push_str("\\n"),
            Some('\r') => json.push_str("\\r"),
            Some('\t') => json.push_str("\\t"),
            Some(c @ ('"' | '\\')) => json.extend(['\\', c]),
            Some(c) => json.push_str(&format!("\\u{:04x}", u32::from(c))),
            None => {}
        }
        rest = tail.as_str();
    }
    json.push_str(rest);
    json.push('"');
}

#[cfg(all(test, feature = "json"))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_read_back(text in any::<String>(), control in "[\\x00-\\x22\\\\]*") {
            let text = text + &control;
            let mut json = String::new();
            string(&mut json, &text);
            prop_assert_eq!(serde_json::from_str::<String>(&json).ok(), Some(text));
        }
    }
}
