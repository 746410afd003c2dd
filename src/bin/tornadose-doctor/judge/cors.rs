//! Pages of other origins (Fetch, 3.3).

use http::HeaderValue;

use super::{failure, short};
use crate::examine::FOREIGN;
use crate::finding::Finding;
use crate::seen::{Failure, Head, Seen};

const ALLOW_ORIGIN: &str = "access-control-allow-origin";
const ALLOW_CREDENTIALS: &str = "access-control-allow-credentials";
const ALLOW_HEADERS: &str = "access-control-allow-headers";

pub(super) fn cors(
    origin: &HeaderValue,
    credentials: bool,
    main: &Head,
    seen: &Seen,
) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(refused) = refused(origin, credentials, main) {
        found.push(refused);
        return found;
    }
    let allowed = main.headers.get(ALLOW_ORIGIN);
    let foreign = seen
        .foreign
        .as_ref()
        .and_then(|answer| answer.as_ref().ok());
    // Who has no time says nothing of origins.
    let foreign = foreign.filter(|foreign| !foreign.is_busy());
    let other = foreign.and_then(|foreign| foreign.headers.get(ALLOW_ORIGIN));
    if other == Some(&FOREIGN) && foreign.is_some_and(says_true) {
        let says = "Pages of any origin may read the stream with the cookies of their visitors.";
        found.push(Finding::warning("cors-any", says));
    }
    let is_named = allowed.is_some_and(|allowed| allowed == origin);
    let differs = is_named && foreign.is_some() && other != allowed;
    let varies = main
        .words("vary")
        .iter()
        .any(|word| word == "origin" || word == "*");
    if differs && !varies {
        let says = "What is allowed depends on the origin, and there is no vary: origin: a cache may give one page the answer to another.";
        found.push(Finding::warning("cors-vary", says));
    }
    if let Some(wrong) = seen
        .preflight
        .as_ref()
        .and_then(|answer| preflight(origin, credentials, answer))
    {
        let says = format!("A client that asks before it sends last-event-id is refused: {wrong}.");
        found.push(Finding::warning("cors-preflight", says));
    }
    if found.is_empty() {
        found.push(Finding::ok(
            "cors",
            "Pages of the origin may read the stream.",
        ));
    }
    found
}

fn refused(origin: &HeaderValue, credentials: bool, head: &Head) -> Option<Finding> {
    let Some(allowed) = head.headers.get(ALLOW_ORIGIN) else {
        let says = "There is no access-control-allow-origin: a page of that origin cannot read the stream.";
        return Some(Finding::error("cors-origin", says));
    };
    if head.headers.get_all(ALLOW_ORIGIN).iter().count() > 1 {
        let says = "There is more than one access-control-allow-origin, which browsers refuse; two of those between set it.";
        return Some(Finding::error("cors-origin", says));
    }
    if allowed != "*" && allowed != origin {
        let allowed = allowed.to_str().map_or("no text".to_owned(), short);
        let says = format!(
            "access-control-allow-origin is {allowed}, so a page of that origin cannot read the stream."
        );
        return Some(Finding::error("cors-origin", says));
    }
    if !credentials {
        return None;
    }
    let wrong = match (allowed == "*", says_true(head)) {
        (true, _) => "access-control-allow-origin is *",
        (false, false) => "there is no access-control-allow-credentials: true",
        (false, true) => return None,
    };
    let says = format!("A page cannot read the stream with its cookies: {wrong}.");
    Some(Finding::error("cors-credentials", says))
}

fn preflight(
    origin: &HeaderValue,
    credentials: bool,
    answer: &Result<Head, Failure>,
) -> Option<String> {
    let head = match answer {
        Ok(head) => head,
        Err(why) => return Some(failure(why).says.trim_end_matches('.').to_owned()),
    };
    if head.is_busy() {
        return None;
    }
    if !head.status.is_success() {
        return Some(format!("OPTIONS is answered with {}", head.status.as_u16()));
    }
    if refused(origin, credentials, head).is_some() {
        return Some("OPTIONS is answered without what allows the origin".to_owned());
    }
    let allowed = head.words(ALLOW_HEADERS);
    let is_allowed = |word: &String| word == "last-event-id" || (word == "*" && !credentials);
    let is_allowed = allowed.iter().any(is_allowed);
    (!is_allowed).then(|| "access-control-allow-headers does not name it".to_owned())
}

fn says_true(head: &Head) -> bool {
    head.header(ALLOW_CREDENTIALS) == Some("true")
}
