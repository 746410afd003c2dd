//! A script for pages, and the handler that serves it.
//!
//! | request | answer |
//! |---|---|
//! | `GET` | `200` and the script |
//! | `HEAD` | the head of that |
//! | either, with an `If-None-Match` that has its `ETag` | `304` |
//! | anything else | `405` with `allow` |
//!
//! `content-type: text/javascript; charset=utf-8`. `cache-control: no-cache`: a browser keeps
//! the script and asks each time whether it is still the same, because the address does not
//! change when the crate does. The `ETag` is a hash of the text, so it is the same in every
//! process and build that has the same script.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};

/// Serves the script with which all tabs of a browser share one event stream.
///
/// A page needs no script: every browser has `EventSource`. This one, of at most 3 KiB, adds
/// one connection for all tabs, revival after answers that end an `EventSource` for good, and
/// gaps as objects; `docs/browser.md` says what it promises and what it does not.
///
/// ```
/// use http::Request;
/// use tornadose::Script;
///
/// let script = Script::new(); // mount this at /tornadose.js
/// let response = script.respond(&Request::get("/tornadose.js").body(())?);
/// assert_eq!(response.body(), Script::SOURCE);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// In the page:
///
/// ```js
/// import { SharedEventSource } from "/tornadose.js";
/// const events = new SharedEventSource("/events");
/// events.addEventListener("message", (event) => console.log(event.data));
/// ```
///
/// It is a [`tower_service::Service`] and, with the feature `hyper`, hyper's. Any other server
/// answers with [`SOURCE`](Self::SOURCE) as `text/javascript`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Script(());

impl Script {
    /// The script: a module in UTF-8 without imports.
    pub const SOURCE: &'static str = include_str!("tornadose.js");

    /// Its types, for TypeScript: the text of a `tornadose.d.ts`.
    pub const TYPES: &'static str = include_str!("tornadose.d.ts");

    /// A handler. It has no settings.
    #[must_use]
    pub const fn new() -> Self {
        Self(())
    }

    /// Answers a request, whatever its path. Copies the script for each `GET` that it is sent
    /// to; needs no runtime.
    pub fn respond<B>(&self, request: &Request<B>) -> Response<String> {
        let mut response = Response::new(String::new());
        let headers = response.headers_mut();
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            return response;
        }
        let tag = format!("\"{HASH:016x}\"");
        let is_known = knows(request.headers(), &tag);
        if let Ok(tag) = HeaderValue::try_from(tag) {
            headers.insert(ETAG, tag);
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        let javascript = HeaderValue::from_static("text/javascript; charset=utf-8");
        headers.insert(CONTENT_TYPE, javascript);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(Self::SOURCE.len()));
        if *request.method() == Method::GET {
            Self::SOURCE.clone_into(response.body_mut());
        }
        response
    }
}

impl<B> tower_service::Service<Request<B>> for Script {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(self.respond(&request)))
    }
}

/// Whether the client has it (RFC 9110, 13.1.2: tags are compared weakly).
fn knows(headers: &HeaderMap, tag: &str) -> bool {
    let lists = headers.get_all(IF_NONE_MATCH).iter();
    lists.filter_map(|list| list.to_str().ok()).any(|list| {
        list.split(',')
            .map(str::trim)
            .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
    })
}

const HASH: u64 = fnv1a(Script::SOURCE.as_bytes());

const fn fnv1a(mut rest: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    while let [first, tail @ ..] = rest {
        hash = (hash ^ *first as u64).wrapping_mul(0x0100_0000_01b3);
        rest = tail;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_what_others_call_by_its_name() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
