//! Origins: who a page is.

use http::HeaderValue;

use crate::error::InvalidOrigin;

/// An origin as browsers serialise it (WHATWG HTML, 7.1.1); `null` is everybody's and
/// cannot be listed.
pub(crate) fn parse(text: impl AsRef<str>) -> Result<HeaderValue, InvalidOrigin> {
    let text = text.as_ref();
    judge(text).ok_or_else(|| InvalidOrigin::new(text))
}

fn judge(text: &str) -> Option<HeaderValue> {
    let (scheme, rest) = text.split_once("://")?;
    let (host, port) = match rest.strip_prefix('[').map(|v6| v6.split_once(']')) {
        Some(v6) => match v6? {
            (host, "") => (host, None),
            (host, port) => (host, Some(port.strip_prefix(':')?)),
        },
        None => match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    let is_scheme = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
    let is_host = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._:".contains(c);
    let is_port = |port: &str| {
        let default = matches!((scheme, port), ("http", "80") | ("https", "443"));
        port.parse::<u16>().is_ok() && !port.starts_with(['0', '+']) && !default
    };
    let good = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.chars().all(is_scheme)
        && !host.is_empty()
        && host.chars().all(is_host)
        && port.is_none_or(is_port);
    if !good {
        return None;
    }
    HeaderValue::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_as_browsers_write_them() {
        for good in [
            "https://example.org",
            "http://localhost:3000",
            "http://127.0.0.1:9000",
            "http://[::1]:9000",
            "http://[::1]",
            "https://xn--bcher-kva.example",
            "app+x-1.y://host",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "*",
            "null",
            "example.org",
            "https://",
            "https://Example.org",
            "HTTPS://example.org",
            "https://example.org/",
            "https://example.org/x",
            "https://example.org:443",
            "http://example.org:80",
            "https://example.org:",
            "https://example.org:0",
            "https://example.org:65536",
            "https://example.org:+1",
            "https://user@example.org",
            "https://example.org?x",
            "https://bücher.example",
            "https://a b",
            "://x",
            "http://[::1",
            "http://[::1]x",
            "https://a\r\nb",
            "https://*.example.org",
            "1x://host",
            "http://a:1:2",
        ] {
            assert_eq!(parse(bad), Err(InvalidOrigin::new(bad)), "{bad:?}");
        }
    }
}
