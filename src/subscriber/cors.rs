//! Pages of other origins.
//!
//! Fetch, 3.3: an origin that is let in is echoed; with credentials it must be, a
//! `*` would not do. A browser asks first (`OPTIONS`) where a request is not simple,
//! which a `Last-Event-ID` makes it by the letter of Fetch.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
    VARY,
};
use http::{HeaderMap, HeaderValue, Method};

use super::head::Head;
use super::origin;
use crate::error::InvalidOrigin;

/// Which pages of other origins may read a stream. Without it, none.
///
/// `*` together with credentials cannot be said, because browsers refuse it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    allowed: Allowed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Allowed {
    Any,
    Origins {
        origins: Vec<HeaderValue>,
        credentials: bool,
    },
}

impl Cors {
    /// Every page, without its cookies (`*`).
    #[must_use]
    pub fn any() -> Self {
        Self {
            allowed: Allowed::Any,
        }
    }

    /// The pages of these origins, without their cookies.
    ///
    /// ```
    /// let cors = tornadose::Cors::origins(["https://example.org", "http://localhost:3000"])?;
    /// # Ok::<(), tornadose::InvalidOrigin>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidOrigin`] if one is not a scheme, a host and perhaps a port, just as
    /// browsers write them: in lower case, without a path, without the scheme's own
    /// port.
    pub fn origins(
        origins: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, InvalidOrigin> {
        Self::list(origins, false)
    }

    /// The pages of these origins, with their cookies (`withCredentials`).
    ///
    /// # Errors
    ///
    /// As [`origins`](Self::origins).
    pub fn with_credentials(
        origins: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, InvalidOrigin> {
        Self::list(origins, true)
    }

    fn list(
        origins: impl IntoIterator<Item = impl AsRef<str>>,
        credentials: bool,
    ) -> Result<Self, InvalidOrigin> {
        let origins = origins
            .into_iter()
            .map(origin::parse)
            .collect::<Result<_, _>>()?;
        let allowed = Allowed::Origins {
            origins,
            credentials,
        };
        Ok(Self { allowed })
    }

    /// Whether this is a browser that asks before it asks.
    pub(crate) fn is_preflight(head: Head<'_>) -> bool {
        *head.method() == Method::OPTIONS
            && head.headers().contains_key(ORIGIN)
            && head.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// The headers of any answer to this request.
    pub(crate) fn headers(&self, head: Head<'_>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match &self.allowed {
            Allowed::Any => {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
            Allowed::Origins {
                origins,
                credentials,
            } => {
                // Also where nothing is allowed: a cache must not show one page the
                // answer to another.
                headers.insert(VARY, HeaderValue::from_static("origin"));
                if let Some(origin) = head.headers().get(ORIGIN)
                    && origins.contains(origin)
                {
                    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                    if *credentials {
                        let yes = HeaderValue::from_static("true");
                        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
                    }
                }
            }
        }
        headers
    }

    /// The headers of the answer to a preflight.
    pub(crate) fn preflight(&self, head: Head<'_>) -> HeaderMap {
        let mut headers = self.headers(head);
        if headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
            for (name, value) in [
                (ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"),
                (ACCESS_CONTROL_ALLOW_HEADERS, "last-event-id, cache-control"),
                (ACCESS_CONTROL_MAX_AGE, "600"),
            ] {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
        headers
    }
}
