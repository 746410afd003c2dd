//! Pages as HTML: made of texts that stay texts.

use http_body_util::{Either, Full};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use tornadose::Position;

use crate::fields::escaped;
use crate::files::{Files, Page};
use crate::support::{self, Body};

/// How many comments a page begins with.
pub(crate) const SHOWN: usize = 200;

pub(crate) const HTML: &str = "text/html; charset=utf-8";

/// Where a page is seen.
pub(crate) struct Seen<'a> {
    /// The token, if the page needs it.
    pub(crate) token: Option<&'a str>,
    /// Where the event server is.
    pub(crate) port: u16,
    /// Up to where the log was read before the comments were.
    pub(crate) last: Option<Position>,
}

/// A page with its comments.
pub(crate) fn page(files: &Files, page: &Page, seen: &Seen<'_>) -> String {
    let comments = files.after(&page.name, 0, SHOWN);
    let rows = comments.iter().map(|comment| {
        let (name, text) = (escaped(&comment.name), escaped(&comment.text));
        let (key, number) = (escaped(&comment.key), comment.number);
        format!(
            "<li id=\"c{number}\" data-key=\"{key}\"><b>{name}</b> \
             <a class=\"number\" href=\"#c{number}\">#{number}</a> \
             <span class=\"text\">{text}</span></li>"
        )
    });
    let rows: String = rows.collect();
    let earlier = match comments.first() {
        Some(first) if first.number > 1 => format!(
            "<p class=\"muted\">Not shown: {} earlier comments.</p>",
            first.number - 1
        ),
        _ => String::new(),
    };
    let query = seen.token.map(|token| format!("?token={token}"));
    fill(include_str!("../pages/document.html"), |name| match name {
        "title" => escaped(&page.title),
        "name" => page.name.clone(),
        "body" => paragraphs(&page.text),
        "nav" => nav(files, &page.name),
        "query" => query.clone().unwrap_or_default(),
        "token" => seen.token.unwrap_or_default().to_owned(),
        "port" => seen.port.to_string(),
        "last" => seen.last.map(|last| last.to_string()).unwrap_or_default(),
        // As it was when the rows were read.
        "count" => comments.last().map_or(0, |last| last.number).to_string(),
        "key" => new_key(),
        "earlier" => earlier.clone(),
        _ => rows.clone(),
    })
}

/// What stands in the place of a page that is not for everybody.
pub(crate) fn locked(files: &Files, page: &Page, token: &str) -> String {
    fill(
        include_str!("../pages/document-private.html"),
        |name| match name {
            "title" => escaped(&page.title),
            "name" => page.name.clone(),
            "nav" => nav(files, &page.name),
            _ => token.to_owned(),
        },
    )
}

/// A name that no other comment has.
pub(crate) fn new_key() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// Any answer with a body.
pub(crate) fn answer(code: StatusCode, kind: &'static str, body: String) -> Response<Body> {
    let mut response = support::status(code);
    *response.body_mut() = Either::Left(Full::new(body.into()));
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn nav(files: &Files, current: &str) -> String {
    let links = files.pages().iter().map(|page| {
        let (name, title) = (&page.name, escaped(&page.title));
        let mark = if name == current {
            " aria-current=\"page\""
        } else {
            ""
        };
        let lock = if page.is_private {
            " <small>private</small>"
        } else {
            ""
        };
        format!("<li><a href=\"/pages/{name}\"{mark}>{title}</a>{lock}</li>")
    });
    links.collect()
}

fn paragraphs(text: &str) -> String {
    let parts = text.split("\n\n");
    parts
        .map(|part| format!("<p>{}</p>", escaped(part)))
        .collect()
}

/// Puts texts where the template says `{{name}}`. What is put there is not looked at again.
fn fill(template: &str, text: impl Fn(&str) -> String) -> String {
    let mut parts = template.split("{{");
    let mut page = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once("}}").unwrap_or((part, ""));
        page += &text(name);
        page += rest;
    }
    page
}
