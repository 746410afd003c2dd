//! What a form sends, and what a page may be made of.

/// The first field of this name in a form that is `application/x-www-form-urlencoded`. What
/// is not UTF-8 becomes U+FFFD, and line breaks become LF.
pub(crate) fn field(form: &[u8], name: &str) -> Option<String> {
    let pairs = form.split(|byte| *byte == b'&');
    let mut pairs = pairs.map(|pair| match pair.iter().position(|byte| *byte == b'=') {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, &pair[pair.len()..]),
    });
    let (_, value) = pairs.find(|(key, _)| decoded(key) == name)?;
    Some(decoded(value).replace("\r\n", "\n"))
}

/// `+` is a space, and `%41` is an `A`; a `%` without two digits is itself.
fn decoded(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, behind @ ..] = rest {
        rest = behind;
        bytes.push(match (first, behind) {
            (b'+', _) => b' ',
            (b'%', [high, low, behind @ ..]) => match hex(*high, *low) {
                Some(byte) => {
                    rest = behind;
                    byte
                }
                None => b'%',
            },
            _ => *first,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// As text in a page, where it cannot become anything else.
pub(crate) fn escaped(text: &str) -> String {
    let mut page = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => page.push_str("&amp;"),
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            '"' => page.push_str("&quot;"),
            '\'' => page.push_str("&#39;"),
            other => page.push(other),
        }
    }
    page
}
