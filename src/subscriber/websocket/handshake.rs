//! The opening handshake: RFC 6455, 4.2 for HTTP/1.1, RFC 8441, 5 for HTTP/2.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};

use crate::subscriber::EventBody;

/// How a WebSocket is opened.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// `GET` with an upgrade, answered `101`.
    Upgrade { accept: HeaderValue },
    /// `CONNECT` with a protocol, answered `200`.
    Connect,
}

/// Why a request does not open one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unopened {
    Method,
    /// It asks for something else, or in another version.
    NoWebSocket,
    Key,
    /// It announces a body, whose bytes could not be told from frames.
    Body,
}

const VERSION: HeaderValue = HeaderValue::from_static("13");
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// Reads what a request asks for.
pub(super) fn read<B>(request: &Request<B>) -> Result<Opening, Unopened> {
    let headers = request.headers();
    let version = only(headers, SEC_WEBSOCKET_VERSION);
    match *request.method() {
        Method::GET if request.version() < Version::HTTP_2 => {
            let asked = request.version() == Version::HTTP_11
                && has_token(headers, CONNECTION, "upgrade")
                && has_token(headers, UPGRADE, "websocket")
                && version == Some(&VERSION);
            if !asked {
                return Err(Unopened::NoWebSocket);
            }
            let length = headers.get(CONTENT_LENGTH).map(HeaderValue::as_bytes);
            if headers.contains_key(TRANSFER_ENCODING) || length.is_some_and(|len| len != b"0") {
                return Err(Unopened::Body);
            }
            let key = only(headers, SEC_WEBSOCKET_KEY).ok_or(Unopened::Key)?;
            accept(key)
        }
        Method::GET => Err(Unopened::NoWebSocket),
        // A server hands over a path with a CONNECT only if there was a `:protocol`. Which
        // one is told in a type of hyper's feature `http2` alone; no other protocol
        // carries the version of a WebSocket.
        Method::CONNECT if request.version() == Version::HTTP_2 => {
            if version == Some(&VERSION) && request.uri().path().starts_with('/') {
                Ok(Opening::Connect)
            } else {
                Err(Unopened::NoWebSocket)
            }
        }
        _ => Err(Unopened::Method),
    }
}

impl Opening {
    pub(super) fn response(self) -> Response<EventBody> {
        let mut response = Response::new(EventBody::empty());
        if let Self::Upgrade { accept } = self {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, WEBSOCKET);
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        response
    }
}

impl Unopened {
    pub(super) fn response(self, version: Version) -> Response<EventBody> {
        let status = match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoWebSocket if version >= Version::HTTP_2 => StatusCode::BAD_REQUEST,
            Self::NoWebSocket => StatusCode::UPGRADE_REQUIRED,
            Self::Key | Self::Body => StatusCode::BAD_REQUEST,
        };
        let mut response = refusal(status);
        let headers = response.headers_mut();
        match status {
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(ALLOW, HeaderValue::from_static("GET"));
            }
            StatusCode::UPGRADE_REQUIRED => {
                // RFC 9110, 15.5.22 asks for the first, 7.8 for the second of a sender
                // of the first, RFC 6455, 4.4 for the third.
                headers.insert(UPGRADE, WEBSOCKET);
                headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
                headers.insert(SEC_WEBSOCKET_VERSION, VERSION);
            }
            _ => {}
        }
        response
    }
}

/// An answer that opens nothing.
pub(super) fn refusal(status: StatusCode) -> Response<EventBody> {
    let mut response = Response::new(EventBody::empty());
    *response.status_mut() = status;
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response
}

fn only(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    headers.get_all(name).iter().any(|value| {
        let tokens = value.to_str().unwrap_or_default().split(',');
        tokens
            .map(str::trim)
            .any(|found| found.eq_ignore_ascii_case(token))
    })
}

/// The proof that the key was read, if it is one: 16 bytes in base64.
fn accept(key: &HeaderValue) -> Result<Opening, Unopened> {
    let key = key.as_bytes();
    let bytes = STANDARD.decode(key).map_err(|_| Unopened::Key)?;
    if bytes.len() != 16 {
        return Err(Unopened::Key);
    }
    let mut sha1 = sha1_smol::Sha1::new();
    sha1.update(key);
    sha1.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = STANDARD.encode(sha1.digest().bytes());
    let accept = HeaderValue::try_from(accept).map_err(|_| Unopened::Key)?;
    Ok(Opening::Upgrade { accept })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn asked(change: impl FnOnce(&mut Request<()>)) -> Result<Opening, Unopened> {
        let mut request = Request::get("/socket")
            .header(CONNECTION, "keep-alive, Upgrade")
            .header(UPGRADE, "WebSocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, KEY)
            .body(())
            .expect("a request");
        change(&mut request);
        read(&request)
    }

    fn with(name: &HeaderName, values: &[&str]) -> Result<Opening, Unopened> {
        asked(|request| {
            request.headers_mut().remove(name);
            for value in values {
                let value = HeaderValue::from_str(value).expect("a value");
                request.headers_mut().append(name, value);
            }
        })
    }

    /// The example of RFC 6455, 1.3.
    fn accepted() -> Result<Opening, Unopened> {
        let accept = HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        Ok(Opening::Upgrade { accept })
    }

    #[test]
    fn the_key_is_answered() {
        assert_eq!(asked(|_| {}), accepted());
        assert_eq!(with(&CONNECTION, &["close", "upgrade"]), accepted());
        assert_eq!(with(&UPGRADE, &["h2c, websocket"]), accepted());
    }

    #[test]
    fn what_asks_for_something_else_is_refused() {
        let other = Err(Unopened::NoWebSocket);
        for values in [&["keep-alive"][..], &[], &["upgraded"], &["up grade"]] {
            assert_eq!(with(&CONNECTION, values), other, "{values:?}");
        }
        for values in [&["h2c"][..], &[], &["websockets"], &["\u{ff}"]] {
            assert_eq!(with(&UPGRADE, values), other, "{values:?}");
        }
        for values in [
            &["7"][..],
            &["8"],
            &["14"],
            &["013"],
            &["13, 8"],
            &["13", "13"],
            &[],
            &[""],
        ] {
            assert_eq!(with(&SEC_WEBSOCKET_VERSION, values), other, "{values:?}");
        }
        assert_eq!(
            asked(|request| *request.version_mut() = Version::HTTP_10),
            other
        );
        assert_eq!(
            asked(|request| *request.version_mut() = Version::HTTP_2),
            other
        );
        assert_eq!(
            asked(|request| *request.method_mut() = Method::POST),
            Err(Unopened::Method)
        );
        assert_eq!(
            asked(|request| *request.method_mut() = Method::CONNECT),
            Err(Unopened::Method)
        );
    }

    #[test]
    fn a_key_is_16_bytes() {
        for values in [
            &[][..],
            &[""],
            &["x"],
            &[KEY, KEY],
            &["dGhlIHNhbXBsZSBub25jZQ"],
            &["dGhlIHNhbXBsZSBub25jZQ=="; 2],
            &["dGhlIHNhbXBsZSBub25jZSE="],
            &["dGhlIHNhbXBsZSBub25j"],
            &["dGhlIHNhbXBsZSBub25jZQ==, x"],
            &["dGhlIHNhbXBsZSBub25j\u{e9}Q=="],
        ] {
            assert_eq!(
                with(&SEC_WEBSOCKET_KEY, values),
                Err(Unopened::Key),
                "{values:?}"
            );
        }
    }

    #[test]
    fn a_request_with_a_body_is_refused() {
        assert_eq!(with(&CONTENT_LENGTH, &["0"]), accepted());
        for length in ["1", "00", "x", ""] {
            assert_eq!(with(&CONTENT_LENGTH, &[length]), Err(Unopened::Body));
        }
        let chunked = with(&TRANSFER_ENCODING, &["chunked"]);
        assert_eq!(chunked, Err(Unopened::Body));
    }

    #[test]
    fn http_2_connects() {
        let connect = |uri: &str, version: &str| {
            let request = Request::connect(uri)
                .version(Version::HTTP_2)
                .header(SEC_WEBSOCKET_VERSION, version)
                .body(())
                .expect("a request");
            read(&request)
        };
        assert_eq!(
            connect("https://example.org/socket", "13"),
            Ok(Opening::Connect)
        );
        assert_eq!(
            connect("https://example.org/socket", "12"),
            Err(Unopened::NoWebSocket)
        );
        assert_eq!(connect("example.org:443", "13"), Err(Unopened::NoWebSocket));
        assert_eq!(Opening::Connect.response().status(), StatusCode::OK);
    }
}
