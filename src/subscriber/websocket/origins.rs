//! Which pages may open a WebSocket.

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderValue, Request};

use crate::error::InvalidOrigin;
use crate::subscriber::origin;

/// Which pages may open a WebSocket. Default: those of the same origin.
///
/// A browser asks nobody before it opens one, to whatever server, and sends the cookies
/// of that server along. So the origin that it tells is all that keeps a page of
/// somebody else from listening in the name of your user (cross-site WebSocket
/// hijacking).
///
/// Clients that are no browsers tell no origin and bring no cookies of others; they
/// are let in unless one is [required](Self::required).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins {
    allowed: Allowed,
    required: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Allowed {
    Same,
    SameOr(Vec<HeaderValue>),
    Any,
}

impl Origins {
    /// Pages of the host and port that the request is for (`Host`, or `:authority`).
    /// A proxy has to hand that on as it is. Whether a page came by `https` is not
    /// looked at, because behind a proxy that cannot be known of the request.
    #[must_use]
    pub fn same() -> Self {
        Self {
            allowed: Allowed::Same,
            required: false,
        }
    }

    /// Those, and pages of these origins.
    ///
    /// ```
    /// let origins = tornadose::Origins::same_or(["https://app.example.org"])?;
    /// # Ok::<(), tornadose::InvalidOrigin>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidOrigin`] if one is not a scheme, a host and perhaps a port, just as
    /// browsers write them: in lower case, without a path, without the scheme's own
    /// port.
    pub fn same_or(
        origins: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, InvalidOrigin> {
        let origins = origins
            .into_iter()
            .map(origin::parse)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            allowed: Allowed::SameOr(origins),
            required: false,
        })
    }

    /// Every page there is, with the user's cookies: only for events that everybody may
    /// see.
    #[must_use]
    pub fn any() -> Self {
        Self {
            allowed: Allowed::Any,
            required: false,
        }
    }

    /// Refuses clients that tell no origin.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub(super) fn allow<B>(&self, request: &Request<B>) -> bool {
        let mut origins = request.headers().get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else {
            return !self.required;
        };
        if self.allowed == Allowed::Any {
            return true;
        }
        if origins.next().is_some() {
            return false;
        }
        let listed = match &self.allowed {
            Allowed::SameOr(listed) => listed.contains(origin),
            Allowed::Same | Allowed::Any => false,
        };
        listed || authority(request).is_some_and(|authority| is_of(origin, authority).is_some())
    }
}

impl Default for Origins {
    fn default() -> Self {
        Self::same()
    }
}

/// The host, and perhaps the port, that the request is for.
fn authority<B>(request: &Request<B>) -> Option<&str> {
    match request.uri().authority() {
        Some(authority) => Some(authority.as_str()),
        None => only(request.headers()),
    }
}

fn only(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    hosts.next().is_none().then_some(host)
}

/// Whether the origin is of this authority, in which the scheme's own port may stand.
fn is_of(origin: &HeaderValue, authority: &str) -> Option<()> {
    let origin = origin.to_str().ok()?;
    // What no browser writes is no browser's.
    origin::parse(origin).ok()?;
    let (scheme, host) = origin.split_once("://")?;
    let default = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return None,
    };
    let authority = authority.to_ascii_lowercase();
    let bare = authority.strip_suffix(default);
    (host == authority || Some(host) == bare).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(host: &str, origins: &[&str]) -> Request<()> {
        let mut request = Request::get("/socket").header(HOST, host);
        for origin in origins {
            request = request.header(ORIGIN, *origin);
        }
        request.body(()).expect("a request")
    }

    #[test]
    fn pages_of_the_same_origin_are_let_in() {
        for (host, origin) in [
            ("example.org", "https://example.org"),
            ("example.org", "http://example.org"),
            ("Example.ORG", "https://example.org"),
            ("example.org:443", "https://example.org"),
            ("example.org:80", "http://example.org"),
            ("example.org:8443", "https://example.org:8443"),
            ("127.0.0.1:9000", "http://127.0.0.1:9000"),
            ("[::1]:9000", "http://[::1]:9000"),
            ("[::1]", "http://[::1]"),
            ("xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ] {
            assert!(
                Origins::same().allow(&request(host, &[origin])),
                "{host} {origin}"
            );
        }
    }

    #[test]
    fn nobody_else_is() {
        let listed = Origins::same_or(["https://app.example.org"]).expect("an origin");
        for (host, origin) in [
            ("example.org", "https://evil.example"),
            ("example.org", "null"),
            ("example.org", ""),
            ("example.org", "*"),
            ("example.org", "example.org"),
            ("example.org", "https://example.org.evil.example"),
            ("example.org", "https://evilexample.org"),
            ("example.org", "https://sub.example.org"),
            ("example.org", "https://example.org@evil.example"),
            ("example.org", "https://evil.example/example.org"),
            ("example.org", "https://evil.example#example.org"),
            ("example.org", "https://example.org/"),
            ("example.org", "https://example.org:8443"),
            ("example.org", "http://example.org:443"),
            ("example.org:443", "http://example.org"),
            ("example.org:8443", "https://example.org"),
            ("example.org", "https://EXAMPLE.org"),
            ("example.org", "https://example.org."),
            ("example.org", "https://example.org evil"),
            ("example.org", "file://example.org"),
            ("example.org", "chrome-extension://example.org"),
            ("example.org", "https://еxample.org"),
            ("xn--bcher-kva.example", "https://bücher.example"),
            ("example.org", "https://app.example.org:444"),
            ("example.org", "http://app.example.org"),
            ("", "https://"),
            ("", ""),
        ] {
            let request = request(host, &[origin]);
            assert!(!Origins::same().allow(&request), "{host} {origin}");
            assert!(!listed.allow(&request), "{host} {origin}");
        }
    }

    #[test]
    fn two_origins_or_hosts_are_none() {
        let same = "https://example.org";
        assert!(!Origins::same().allow(&request("example.org", &[same, same])));
        let mut two = request("example.org", &[same]);
        two.headers_mut()
            .append(HOST, HeaderValue::from_static("evil.example"));
        assert!(!Origins::same().allow(&two));
        two.headers_mut().remove(HOST);
        assert!(!Origins::same().allow(&two));
    }

    #[test]
    fn the_authority_of_http_2_is_the_host() {
        let mut request = request("evil.example", &["https://example.org"]);
        *request.uri_mut() = "https://example.org/socket".parse().expect("a URI");
        assert!(Origins::same().allow(&request));
    }

    #[test]
    fn lists_any_and_nobody() {
        let listed = Origins::same_or(["https://app.example.org"]).expect("an origin");
        assert!(listed.allow(&request("example.org", &["https://app.example.org"])));
        assert!(listed.allow(&request("example.org", &["https://example.org"])));
        assert!(Origins::any().allow(&request("example.org", &["null"])));

        let nobody = request("example.org", &[]);
        for origins in [Origins::same(), listed, Origins::any()] {
            assert!(origins.allow(&nobody));
            assert!(!origins.required().allow(&nobody));
        }
        assert_eq!(
            Origins::same_or(["example.org"]),
            Err(InvalidOrigin::new("example.org"))
        );
    }
}
