//! Where a stream is.

use http::Uri;

/// An absolute `http` or `https` address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    uri: Uri,
}

impl Target {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        // What is behind the `#` never leaves a browser.
        let text = text.split_once('#').map_or(text, |(before, _)| before);
        let wrong = "this is no URL";
        let uri: Uri = text.parse().map_err(|_| wrong.to_owned())?;
        let authority = uri
            .authority()
            .ok_or("a URL begins with http:// or https://")?;
        if authority.as_str().contains('@') {
            return Err("give a name and a password as --header, not in the URL".to_owned());
        }
        let Some(scheme @ ("http" | "https")) = uri.scheme_str() else {
            return Err("a URL begins with http:// or https://".to_owned());
        };
        // Nobody can be asked for a query without a path.
        let uri = match uri.path_and_query() {
            Some(query) if query.as_str().starts_with('?') => {
                let whole = format!("{scheme}://{authority}/{}", query.as_str());
                whole.parse().map_err(|_| wrong.to_owned())?
            }
            _ => uri,
        };
        Ok(Self { uri })
    }

    /// Where a `Location` leads to from here.
    pub(crate) fn join(&self, location: &str) -> Result<Self, String> {
        let scheme = location.split_once("://").map(|(scheme, _)| scheme);
        if scheme.is_some_and(|scheme| !scheme.contains(['/', '?', '#'])) {
            return Self::parse(location);
        }
        let (scheme, authority) = (self.scheme(), self.authority());
        if location.starts_with("//") {
            return Self::parse(&format!("{scheme}:{location}"));
        }
        let path = self.uri.path();
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        Self::parse(&match location.as_bytes().first() {
            Some(b'/') => format!("{scheme}://{authority}{location}"),
            Some(b'?') => format!("{scheme}://{authority}{path}{location}"),
            _ => format!("{scheme}://{authority}{folder}/{location}"),
        })
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    fn scheme(&self) -> &str {
        self.uri.scheme_str().unwrap_or("http")
    }

    /// As it is written in the URL.
    pub(crate) fn authority(&self) -> &str {
        self.uri
            .authority()
            .map_or("", |authority| authority.as_str())
    }

    /// Without the brackets of IPv6.
    pub(crate) fn host(&self) -> &str {
        let host = self.uri.host().unwrap_or_default();
        let inner = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        inner.unwrap_or(host)
    }

    pub(crate) fn port(&self) -> u16 {
        let default = if self.is_secure() { 443 } else { 80 };
        self.uri.port_u16().unwrap_or(default)
    }

    pub(crate) fn is_same_origin(&self, other: &Self) -> bool {
        let origin = |target: &Self| {
            (
                target.is_secure(),
                target.host().to_lowercase(),
                target.port(),
            )
        };
        origin(self) == origin(other)
    }

    /// What may be printed: a query may hold a secret.
    pub(crate) fn shown(&self) -> String {
        let query = if self.uri.query().is_some() {
            "?…"
        } else {
            ""
        };
        format!(
            "{}://{}{}{query}",
            self.scheme(),
            self.authority(),
            self.uri.path()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_http_without_secrets_is_a_target() {
        for wrong in [
            "",
            "x",
            "/events",
            "ftp://a/",
            "http://",
            "http://a:b@c/",
            "http://a b/",
        ] {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
        let target = Target::parse("https://[::1]/e?token=7#part").expect("a target");
        assert_eq!((target.host(), target.port()), ("::1", 443));
        assert_eq!(target.authority(), "[::1]");
        assert_eq!(target.shown(), "https://[::1]/e?…");
        for (text, asked) in [
            ("https://a?b=7", "/?b=7"),
            ("http://a:81?", "/?"),
            ("http://a", "/"),
        ] {
            let target = Target::parse(text).expect("a target");
            let path = target.uri().path_and_query().map(|path| path.as_str());
            assert_eq!(path, Some(asked));
        }
    }

    #[test]
    fn a_location_is_joined_as_browsers_do() {
        let here = Target::parse("http://a:81/b/c?d").expect("a target");
        for (location, there) in [
            ("https://x/y", "https://x/y"),
            ("//x/y", "http://x/y"),
            ("/y?z", "http://a:81/y?z"),
            ("?z", "http://a:81/b/c?z"),
            ("y", "http://a:81/b/y"),
            ("/l?to=https://x/y", "http://a:81/l?to=https://x/y"),
            ("l?to=https://x/y", "http://a:81/b/l?to=https://x/y"),
            ("?to=https://x/y", "http://a:81/b/c?to=https://x/y"),
            ("//x/l?to=https://y", "http://x/l?to=https://y"),
            ("https://x?y", "https://x/?y"),
        ] {
            let joined = here.join(location).expect("joined");
            assert_eq!(joined.uri().to_string(), there, "{location}");
        }
        assert!(here.join("ftp://x/").is_err());
        assert!(
            here.join("javascript:1")
                .is_ok_and(|there| there.is_same_origin(&here))
        );
        assert!(!here.is_same_origin(&Target::parse("http://a/").expect("a target")));
    }
}
