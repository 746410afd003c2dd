//! The script as a file, and as an answer.

use std::io::Write;
use std::process::Stdio;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body;
use tornadose::Script;
use tower_service::Service as _;

use crate::installed::program;

fn ask(method: Method, headers: &[&str]) -> Response<String> {
    let mut request = Request::builder().method(method).uri("/any/path?x");
    for header in headers {
        request = request.header(IF_NONE_MATCH, *header);
    }
    Script::new().respond(&request.body(()).expect("a request"))
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<_> = headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn it_is_small_and_a_module() {
    assert!(Script::SOURCE.len() <= 3072, "{}", Script::SOURCE.len());
    // It asks for nothing but the stream.
    for (word, times) in [("fetch(", 1), ("import", 0), ("http", 0), ("eval", 0)] {
        assert_eq!(Script::SOURCE.matches(word).count(), times, "{word}");
    }
    let mut node = std::process::Command::new(program("node"))
        .args(["--check", "--input-type=module"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("node starts");
    let mut stdin = node.stdin.take().expect("piped");
    stdin
        .write_all(Script::SOURCE.as_bytes())
        .expect("it reads");
    drop(stdin);
    assert!(node.wait().expect("waited for").success());
}

#[test]
fn its_types_name_what_it_exports() {
    for text in [Script::SOURCE, Script::TYPES] {
        assert_eq!(
            text.matches("SharedEventSource(").count(),
            usize::from(text == Script::SOURCE)
        );
    }
    assert!(Script::TYPES.contains("export declare class SharedEventSource<"));
}

#[test]
fn get_and_head() {
    let got = ask(Method::GET, &[]);
    assert_eq!(got.status(), StatusCode::OK);
    assert_eq!(got.body(), Script::SOURCE);
    assert_eq!(
        got.body().size_hint().exact(),
        Some(Script::SOURCE.len() as u64)
    );
    let headers = got.headers();
    assert_eq!(
        names(headers),
        ["cache-control", "content-length", "content-type", "etag"]
    );
    assert_eq!(headers[CACHE_CONTROL], "no-cache");
    assert_eq!(headers[CONTENT_TYPE], "text/javascript; charset=utf-8");
    assert_eq!(headers[CONTENT_LENGTH], Script::SOURCE.len().to_string());
    let tag = headers[ETAG].to_str().expect("text");
    assert!(
        tag.len() == 18 && tag.starts_with('"') && tag.ends_with('"'),
        "{tag}"
    );

    let head = ask(Method::HEAD, &[]);
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(head.headers(), headers);
    assert_eq!(head.body(), "");
}

#[test]
fn who_has_it_is_told_so() {
    let tag = ask(Method::GET, &[]).headers()[ETAG].clone();
    let tag = tag.to_str().expect("text");
    let weak = format!("W/{tag}");
    let list = format!("\"a, b\" , {tag},\"c\"");
    for known in [&[tag][..], &[&weak], &[&list], &["*"], &["\"a\"", tag]] {
        for method in [Method::GET, Method::HEAD] {
            let answer = ask(method, known);
            assert_eq!(answer.status(), StatusCode::NOT_MODIFIED, "{known:?}");
            assert_eq!(names(answer.headers()), ["cache-control", "etag"]);
            assert_eq!(answer.headers()[ETAG], tag);
            assert_eq!(answer.body(), "");
        }
    }
    let bare = tag.trim_matches('"');
    let other = format!("\"{}\"", bare.chars().rev().collect::<String>());
    for unknown in [&[""][..], &["\"\""], &[bare], &[&other], &["W/"], &["w/*"]] {
        assert_eq!(
            ask(Method::GET, unknown).status(),
            StatusCode::OK,
            "{unknown:?}"
        );
    }
}

#[test]
fn other_methods_are_not_allowed() {
    for method in [Method::POST, Method::OPTIONS, Method::PUT, Method::CONNECT] {
        let answer = ask(method, &["*"]);
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(names(answer.headers()), ["allow"]);
        assert_eq!(answer.headers()[ALLOW], "GET, HEAD");
        assert_eq!(answer.body(), "");
    }
}

#[tokio::test]
async fn it_is_a_service_of_tower_and_of_hyper() {
    let request = || Request::get("/").body(()).expect("a request");
    let Ok(answer) = Script::new().call(request()).await;
    assert_eq!(answer.body(), Script::SOURCE);
    let Ok(answer) = hyper::service::Service::call(&Script::new(), request()).await;
    assert_eq!(answer.body(), Script::SOURCE);
}
