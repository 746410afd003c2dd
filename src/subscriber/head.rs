//! What is read from a request.

use std::fmt;

use http::header::HeaderName;
use http::request::Parts;
use http::{Extensions, HeaderMap, Method, Request, Uri};

use crate::log::LastEventId;

/// The head of a request, whatever its body: what a permission hook decides on.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
}

impl<'a> Head<'a> {
    /// The head of this request.
    #[must_use]
    pub fn of<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }

    /// The head of a request that has been taken apart.
    #[must_use]
    pub fn of_parts(parts: &'a Parts) -> Self {
        Self {
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
            extensions: &parts.extensions,
        }
    }

    /// The method: `GET` or `HEAD` when a hook sees it, or the `CONNECT` of a WebSocket
    /// inside HTTP/2.
    #[must_use]
    pub fn method(self) -> &'a Method {
        self.method
    }

    /// The path as it was sent: not decoded, not normalised.
    #[must_use]
    pub fn path(self) -> &'a str {
        self.uri.path()
    }

    /// The whole of it, as it was sent.
    #[must_use]
    pub fn uri(self) -> &'a Uri {
        self.uri
    }

    /// The first value of this name in the query, decoded like all of
    /// [`queries`](Self::queries).
    #[must_use]
    pub fn query(self, name: &str) -> Option<String> {
        self.raw_queries(name).next().map(decode)
    }

    /// All values of this name in the query, decoded (`%41`, and `+` for a space), in
    /// their order. What is not UTF-8 becomes U+FFFD, as in browsers. The name is compared
    /// as it was sent.
    pub fn queries<'n>(self, name: &'n str) -> impl Iterator<Item = String> + use<'a, 'n> {
        self.raw_queries(name).map(decode)
    }

    fn raw_queries<'n>(self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        let pairs = self.uri.query().unwrap_or_default().split('&');
        pairs.filter_map(move |pair| {
            let (found, value) = pair.split_once('=').unwrap_or((pair, ""));
            (found == name).then_some(value)
        })
    }

    /// The header of this name, if there is one and it is text.
    #[must_use]
    pub fn header(self, name: &str) -> Option<&'a str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// All headers.
    #[must_use]
    pub fn headers(self) -> &'a HeaderMap {
        self.headers
    }

    /// What the server or a middleware has attached, for example the peer's address
    /// or the user of a session. Nothing with actix-web, warp and rocket, which attach
    /// in ways of their own.
    #[must_use]
    pub fn extension<T: Send + Sync + 'static>(self) -> Option<&'a T> {
        self.extensions.get()
    }

    /// The id of the last event that the client has: the header, else the first of
    /// the names in the query that polyfills use, which cannot set headers.
    ///
    /// An empty id is none: a client sends its id only if it has one (WHATWG HTML,
    /// 9.2.3), and some send the empty header. Two ids are none that can be judged.
    #[must_use]
    pub fn last_event_id(self) -> Option<LastEventId> {
        let mut ids = self.headers.get_all(LAST_EVENT_ID).iter();
        let id = match ids.next() {
            Some(_) if ids.next().is_some() => return Some(LastEventId::Malformed),
            Some(id) => id.as_bytes(),
            None => IN_QUERY
                .iter()
                .find_map(|name| self.raw_queries(name).next())?
                .as_bytes(),
        };
        match id {
            b"" => None,
            id => Some(LastEventId::parse(id)),
        }
    }
}

impl fmt::Debug for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the query nor what the headers say: tokens and cookies stand there.
        let headers: Vec<_> = self.headers.keys().collect();
        f.debug_struct("Head")
            .field("method", self.method)
            .field("path", &self.path())
            .field("headers", &headers)
            .finish_non_exhaustive()
    }
}

/// A value of `application/x-www-form-urlencoded` (WHATWG URL, 5.1).
fn decode(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        bytes.push(match (first, tail) {
            (b'+', _) => b' ',
            // What is no code stands for itself.
            (b'%', [high, low, tail @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    rest = tail;
                    high << 4 | low
                }
                _ => b'%',
            },
            (first, _) => *first,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16)?.try_into().ok()
}

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

const IN_QUERY: [&str; 4] = [
    "lastEventId",
    "last_event_id",
    "last-event-id",
    "evs_last_event_id",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn id(uri: &str, headers: &[&str]) -> Option<LastEventId> {
        let mut request = Request::get(uri);
        for header in headers {
            request = request.header("last-event-id", *header);
        }
        Head::of(&request.body(()).expect("a request")).last_event_id()
    }

    #[test]
    fn queries_are_decoded() {
        let of = |uri: &str| -> Vec<String> {
            let request = Request::get(uri).body(()).expect("a request");
            Head::of(&request).queries("t").collect()
        };
        assert_eq!(of("/?t=a&x=b&t=c%2Fd&tt=e&t"), ["a", "c/d", ""]);
        assert_eq!(of("/?t=a+b%20c%2b"), ["a b c+"]);
        assert_eq!(
            of("/?t=%&t=%4&t=%zz&t=%C3%BC&t=%ff&t=%00"),
            ["%", "%4", "%zz", "ü", "\u{fffd}", "\0"]
        );
        assert!(of("/").is_empty());

        let request = Request::get("/?t=a%20b&t=c").body(()).expect("a request");
        assert_eq!(Head::of(&request).query("t").as_deref(), Some("a b"));
        assert_eq!(Head::of(&request).query("T"), None);
    }

    #[test]
    fn what_is_secret_is_never_printed() {
        let request = Request::get("/a?token=secret-7")
            .header("cookie", "secret-8")
            .body(())
            .expect("a request");
        let printed = format!("{:?}", Head::of(&request));
        assert!(!printed.contains("secret"), "{printed}");
        assert!(printed.contains("/a") && printed.contains("cookie"));
    }

    const A: &str = "AAAAAAAAAAA-7";
    const B: &str = "AAAAAAAAAAA-8";

    #[test]
    fn the_header_comes_first_and_then_the_query() {
        let (a, b) = (
            LastEventId::parse(A.as_bytes()),
            LastEventId::parse(B.as_bytes()),
        );
        assert_eq!(id("/", &[]), None);
        assert_eq!(id("/", &[""]), None);
        assert_eq!(id("/?lastEventId=", &[]), None);
        assert_eq!(id("/", &[A]), Some(a));
        for name in IN_QUERY {
            assert_eq!(id(&format!("/?x=1&{name}={A}&y"), &[]), Some(a), "{name}");
            assert_eq!(id(&format!("/?{name}={A}"), &[B]), Some(b), "{name}");
        }
        assert_eq!(id("/", &[A, A]), Some(LastEventId::Malformed));
        assert_eq!(id("/?lastEventId=%41", &[]), Some(LastEventId::Malformed));
        assert_eq!(id(&format!("/?LASTEVENTID={A}"), &[]), None);
    }
}
