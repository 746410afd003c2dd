//! The app: pages that are read and commented on.
//!
//! | request | what it is |
//! |---|---|
//! | `GET /`, `GET /pages/NAME` | the first page, that page |
//! | `POST /pages/NAME/comments` | a form with `text`, perhaps `name`, and a `key` of its own: `303` |
//! | `GET /pages/NAME/comments?after=N` | the comments behind that number, as JSON |
//! | `GET /pages/NAME/access` | whether who asks may read it: `204`, `403`, `404` |
//!
//! A page that is private is for who brings the token: `?token=sesame`, or the header
//! `authorization: Bearer sesame`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Method, Request, Response, StatusCode};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tornadose::Head;

use crate::fields::field;
use crate::files::{Files, Page, is_name};
use crate::html::{self, HTML, Seen, answer, new_key};
use crate::link::Link;
use crate::support::{self, Body};

const TOKEN: &str = "sesame";

/// How long a name and a text may be, in bytes.
const MAX_NAME: usize = 160;
const MAX_TEXT: usize = 8 << 10;

/// How long a form may be, in which a byte of a text may take three, and how long it may
/// take to come.
const MAX_FORM: usize = 32 << 10;
const FORM_TIMEOUT: Duration = Duration::from_secs(10);

/// How many comments are told at once.
const MAX_TOLD: usize = 500;

#[derive(Clone)]
pub(crate) struct App {
    files: Arc<Files>,
    link: Link,
    /// Of the event server.
    port: u16,
}

impl App {
    pub(crate) fn new(files: Arc<Files>, link: Link, port: u16) -> Self {
        Self { files, link, port }
    }

    pub(crate) async fn answer(self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        if path == "/style.css" {
            return support::css(&request, include_str!("../pages/style.css"));
        }
        let (name, what) = match path.strip_prefix("/pages/") {
            Some(rest) => rest.split_once('/').unwrap_or((rest, "")),
            None if path == "/" => (self.files.pages()[0].name.as_str(), ""),
            None => return support::not_found(),
        };
        let Some(page) = self.files.page(name) else {
            return support::not_found();
        };
        // `/pages/name/` is none.
        if what.is_empty() && path.ends_with('/') && path != "/" {
            return support::not_found();
        }
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let may_read = !page.is_private || has_token(&Head::of(&request));
        match what {
            "" | "access" if !is_read => support::method_not_allowed("GET, HEAD"),
            "access" if may_read => support::status(StatusCode::NO_CONTENT),
            "" | "access" | "comments" if !may_read => {
                let page = html::locked(&self.files, page, TOKEN);
                answer(StatusCode::FORBIDDEN, HTML, page)
            }
            "" => answer(StatusCode::OK, HTML, self.page(page)),
            "comments" if is_read => self.comments(page, &Head::of(&request)),
            "comments" if request.method() == Method::POST => {
                let name = page.name.clone();
                let token = token_of(page);
                self.post(name, token, request).await
            }
            "comments" => support::method_not_allowed("GET, HEAD, POST"),
            _ => support::not_found(),
        }
    }

    fn page(&self, page: &Page) -> String {
        // First up to where the log is read, then the comments: what is published later is
        // told by the stream, and what is told twice has the same key.
        let last = self.link.hub().and_then(|hub| hub.latest());
        let seen = Seen {
            token: token_of(page),
            port: self.port,
            last,
        };
        html::page(&self.files, page, &seen)
    }

    fn comments(&self, page: &Page, head: &Head<'_>) -> Response<Body> {
        let after = head.queries("after").next().unwrap_or_default();
        let Ok(after) = (if after.is_empty() { "0" } else { &after }).parse() else {
            return text(StatusCode::BAD_REQUEST, "`after` is a number\n");
        };
        let comments = self.files.after(&page.name, after, MAX_TOLD);
        let told = serde_json::to_string(&comments).expect("texts and numbers");
        answer(StatusCode::OK, "application/json", told)
    }

    /// Takes a comment. It is answered when it is on the disk; nobody who watches, and no
    /// Redis, is waited for.
    async fn post(
        self,
        page: String,
        token: Option<&'static str>,
        request: Request<Incoming>,
    ) -> Response<Body> {
        if !is_form(&request) {
            return text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not a form\n");
        }
        let body = Limited::new(request.into_body(), MAX_FORM).collect();
        let body = match timeout(FORM_TIMEOUT, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) => return text(StatusCode::PAYLOAD_TOO_LARGE, "too long\n"),
            Err(_) => return text(StatusCode::REQUEST_TIMEOUT, "too slow\n"),
        };
        let part = |name| field(&body, name).unwrap_or_default();
        let (name, said, key) = (part("name"), part("text"), part("key"));
        if said.trim().is_empty() {
            return text(StatusCode::BAD_REQUEST, "there is no text\n");
        }
        if name.len() > MAX_NAME || said.len() > MAX_TEXT {
            return text(StatusCode::PAYLOAD_TOO_LARGE, "too long\n");
        }
        let key = match key.as_str() {
            "" => new_key(),
            key if is_name(key) => key.to_owned(),
            _ => return text(StatusCode::BAD_REQUEST, "a key is of a-z, 0-9 and -\n"),
        };
        let name = match name.trim() {
            "" => "somebody".to_owned(),
            name => name.to_owned(),
        };
        let (files, of) = (self.files, page.clone());
        let written = spawn_blocking(move || files.write(&of, key, name, said)).await;
        match written {
            Ok(Ok(number)) => {
                let query = token.map(|token| format!("?token={token}"));
                let query = query.unwrap_or_default();
                see_other(&format!("/pages/{page}{query}#c{number}"))
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::StorageFull => {
                text(StatusCode::INSUFFICIENT_STORAGE, "there is no room\n")
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::AlreadyExists => text(
                StatusCode::CONFLICT,
                "sent before, with another text; load the page again\n",
            ),
            _ => text(StatusCode::SERVICE_UNAVAILABLE, "not written\n"),
        }
    }
}

fn has_token(head: &Head<'_>) -> bool {
    let bearer = head.header("authorization");
    bearer.and_then(|value| value.strip_prefix("Bearer ")) == Some(TOKEN)
        || head.queries("token").any(|token| token == TOKEN)
}

fn token_of(page: &Page) -> Option<&'static str> {
    page.is_private.then_some(TOKEN)
}

fn is_form<B>(request: &Request<B>) -> bool {
    let kind = Head::of(request).header("content-type");
    let kind = kind.unwrap_or_default().split(';').next();
    kind.is_some_and(|kind| {
        kind.trim()
            .eq_ignore_ascii_case("application/x-www-form-urlencoded")
    })
}

fn see_other(location: &str) -> Response<Body> {
    let mut response = support::status(StatusCode::SEE_OTHER);
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn text(code: StatusCode, text: &'static str) -> Response<Body> {
    answer(code, "text/plain; charset=utf-8", text.to_owned())
}
