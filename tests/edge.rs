//! Who may have a stream, from where, for how long, and how many.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt;
use http::{HeaderMap, Request, Response};
use tokio_test::task::Spawn;
use tornadose::{
    Cors, DataStore, EventBody, EventSource, OnGap, Overload, Permit, QueueStore, Refusal, Start,
};

const SECOND: Duration = Duration::from_secs(1);

fn get(headers: &[(&str, &str)]) -> Request<()> {
    request("GET", "/events", headers)
}

fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request")
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    let value = all.next()?.to_str().expect("text");
    assert!(all.next().is_none(), "{name} stands twice");
    Some(value)
}

/// A body that is polled by hand.
struct Reader(Spawn<EventBody>);

impl Reader {
    fn of(response: Response<EventBody>) -> Self {
        assert_eq!(response.status(), 200);
        Self(tokio_test::task::spawn(response.into_body()))
    }

    /// What there is to read; `None` at the end.
    fn take(&mut self) -> Poll<Option<String>> {
        self.0
            .poll_next()
            .map(|frame| frame.map(|Ok(bytes)| String::from_utf8(bytes.to_vec()).expect("UTF-8")))
    }

    fn text(&mut self) -> String {
        match self.take() {
            Poll::Ready(Some(text)) => text,
            other => panic!("no bytes: {other:?}"),
        }
    }

    /// After the preamble.
    fn opened(response: Response<EventBody>) -> Self {
        let mut reader = Self::of(response);
        assert!(reader.text().starts_with(":\n\n"));
        reader
    }

    #[track_caller]
    fn assert_farewell(&mut self) {
        let text = self.text();
        let retry = text
            .strip_prefix("retry: ")
            .and_then(|rest| rest.strip_suffix("\n\n"));
        let retry: u64 = retry
            .unwrap_or_else(|| panic!("{text:?}"))
            .parse()
            .expect("a number");
        assert!((2000..=6000).contains(&retry));
        assert_eq!(self.take(), Poll::Ready(None));
    }
}

fn by_user(events: EventSource) -> EventSource {
    events.permit(|head| match head.header("x-user") {
        None => Err(Refusal::UNAUTHORIZED),
        Some("mallory") => Err(Refusal::FORBIDDEN),
        Some(user) => Ok(Permit::new().key(user)),
    })
}

#[test]
fn a_refused_request_registers_nothing() {
    let store = QueueStore::new();
    let events = by_user(EventSource::new(store.clone()));
    for (user, status) in [(None, 401), (Some("mallory"), 403)] {
        let user = user.map(|user| ("x-user", user));
        let response = events.respond(&get(user.as_slice()));
        assert_eq!(response.status(), status);
        assert!(http_body::Body::is_end_stream(response.body()));
        assert_eq!((store.subscribers(), events.streams()), (0, 0));
    }
    let response = events.respond(&get(&[("x-user", "ann")]));
    assert_eq!(response.status(), 200);
    assert_eq!((store.subscribers(), events.streams()), (1, 1));
    drop(response);
    assert_eq!((store.subscribers(), events.streams()), (0, 0));
}

#[test]
fn who_comes_back_is_asked_like_everybody_else() {
    let (shared, own) = (QueueStore::new(), QueueStore::new());
    let id = shared.submit("1").expect("open").id().expect("an id");
    shared.submit("not for mallory").expect("open");
    own.submit("for ann").expect("open");
    let chosen = own.clone();
    let events = EventSource::new(shared.clone()).permit(move |head| match head.header("x-user") {
        Some("ann") => Ok(Permit::new().store(chosen.clone())),
        _ => Err(Refusal::FORBIDDEN),
    });
    let id = id.to_string();
    for uri in ["/events", &format!("/events?lastEventId={id}")] {
        for id in [&*id, "no id"] {
            let headers = [("x-user", "mallory"), ("last-event-id", id)];
            let response = events.respond(&request("GET", uri, &headers));
            assert_eq!(response.status(), 403, "{uri} {id}");
        }
    }
    assert_eq!((shared.subscribers(), events.streams()), (0, 0));
    let headers = [("x-user", "ann"), ("last-event-id", id.as_str())];
    let _stream = Reader::of(events.respond(&get(&headers)));
    assert_eq!((shared.subscribers(), own.subscribers()), (0, 1));
}

#[test]
fn every_refusal_is_its_status() {
    for (refusal, status) in [
        (Refusal::UNAUTHORIZED, 401),
        (Refusal::FORBIDDEN, 403),
        (Refusal::NOT_FOUND, 404),
        (Refusal::DONE, 204),
        (Refusal::status(http::StatusCode::TOO_MANY_REQUESTS), 429),
    ] {
        let events = EventSource::new(DataStore::new()).permit(move |_| Err(refusal.clone()));
        assert_eq!(events.respond(&get(&[])).status(), status);
        assert_eq!(events.respond(&request("HEAD", "/", &[])).status(), status);
    }
    let events = EventSource::new(DataStore::new()).permit(|_| Err(Refusal::LATER));
    let mut reader = Reader::of(events.respond(&get(&[])));
    let text = reader.text();
    assert!(text.starts_with(":\n\nretry: "), "{text:?}");
    assert_eq!(reader.take(), Poll::Ready(None));
}

#[test]
fn wrong_methods_do_not_reach_the_hook() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let events = EventSource::new(DataStore::new()).permit(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        Ok(Permit::new())
    });
    assert_eq!(events.respond(&request("POST", "/", &[])).status(), 405);
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    assert_eq!(events.respond(&request("HEAD", "/", &[])).status(), 200);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(events.streams(), 0);
}

#[test]
fn a_hook_chooses_the_store_and_the_start() {
    let rooms = ["red", "blue"].map(|name| {
        let store = QueueStore::new();
        store.submit(name).expect("open");
        (name, store)
    });
    let events = EventSource::new(QueueStore::new()).permit({
        let rooms = rooms.clone();
        move |head| {
            let name = head
                .path()
                .strip_prefix("/rooms/")
                .ok_or(Refusal::NOT_FOUND)?;
            let (_, store) = rooms
                .iter()
                .find(|room| room.0 == name)
                .ok_or(Refusal::NOT_FOUND)?;
            Ok(Permit::new().store(store.clone()).start(Start::Oldest))
        }
    });
    for (name, store) in &rooms {
        let mut reader =
            Reader::opened(events.respond(&request("GET", &format!("/rooms/{name}"), &[])));
        assert!(reader.text().ends_with(&format!("\ndata: {name}\n\n")));
        assert_eq!(store.subscribers(), 1);
    }
    // Nothing but the very path.
    for path in [
        "/rooms/",
        "/rooms/Red",
        "/rooms/red/",
        "/rooms/re%64",
        "/rooms//red",
        "/rooms/./red",
        "/rooms/red%00",
    ] {
        assert_eq!(
            events.respond(&request("GET", path, &[])).status(),
            404,
            "{path}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_async_hook_is_waited_for() {
    let store = QueueStore::new();
    let events = EventSource::new(store.clone()).permit_async(|head| {
        let user = head.header("x-user").map(str::to_owned);
        async move {
            tokio::time::sleep(SECOND).await;
            user.map(|user| Permit::new().key(user))
                .ok_or(Refusal::UNAUTHORIZED)
        }
    });
    assert_eq!(events.respond(&get(&[])).await.status(), 401);
    assert_eq!(
        events.respond(&request("POST", "/", &[])).await.status(),
        405
    );

    let (ann, head) = (
        get(&[("x-user", "ann")]),
        request("HEAD", "/", &[("x-user", "ann")]),
    );
    let mut answer = tokio_test::task::spawn(events.respond(&ann));
    assert!(answer.poll().is_pending());
    assert_eq!((store.subscribers(), events.streams()), (0, 0));
    drop(answer);
    let response = events.respond(&ann).await;
    assert_eq!((response.status().as_u16(), store.subscribers()), (200, 1));
    assert_eq!(events.respond(&head).await.status(), 200);
    assert_eq!((store.subscribers(), events.streams()), (1, 1));
    assert_eq!(events.revoke("ann"), 1);

    let mut service = events.clone();
    let call = tower_service::Service::call(&mut service, ann);
    assert_eq!(call.await.expect("infallible").status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_expires_ends_the_stream() {
    let store = QueueStore::new();
    let events =
        EventSource::new(store.clone()).permit(|_| Ok(Permit::new().expires_in(20 * SECOND)));
    let mut quiet = Reader::opened(events.respond(&get(&[])));
    let mut busy = Reader::opened(events.respond(&get(&[])));
    assert!(quiet.take().is_pending());
    tokio::time::sleep(15 * SECOND).await;
    assert_eq!(quiet.text(), ":\n\n");
    assert!(quiet.take().is_pending());
    tokio::time::sleep(5 * SECOND).await;
    assert!(quiet.0.is_woken());
    quiet.assert_farewell();

    // What came before the end but was not read is not sent any more: it is kept for
    // a client that is permitted again.
    store.submit("late").expect("open");
    busy.assert_farewell();
    assert_eq!((store.subscribers(), events.streams()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn streams_grow_between_four_fifths_of_their_age_and_all_of_it() {
    let events = EventSource::new(QueueStore::new())
        .max_age(100 * SECOND)
        .without_keep_alive();
    let mut readers: Vec<_> = (0..200)
        .map(|_| Reader::opened(events.respond(&get(&[]))))
        .collect();
    let mut ended = Vec::new();
    for second in 0..=101 {
        let open = readers.len();
        readers.retain_mut(|reader| reader.take().is_pending());
        ended.extend(std::iter::repeat_n(second, open - readers.len()));
        tokio::time::sleep(SECOND).await;
    }
    assert_eq!(ended.len(), 200);
    assert!(
        ended.iter().all(|second| (80..=101).contains(second)),
        "{ended:?}"
    );
    assert!(
        ended.iter().any(|second| *second < 87) && ended.iter().any(|second| *second > 94),
        "{ended:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn times_that_no_clock_can_hold_do_not_panic() {
    let forever = |_: &tornadose::Head<'_>| Ok(Permit::new().expires_in(Duration::MAX));
    for _ in 0..1000 {
        let events = EventSource::new(QueueStore::new()).max_age(Duration::MAX);
        for events in [events.clone(), events.permit(forever)] {
            let mut reader = Reader::opened(events.respond(&get(&[])));
            assert!(reader.take().is_pending());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn revoking_a_key_ends_its_streams_and_no_others() {
    let store = QueueStore::new();
    let events = by_user(EventSource::new(store.clone()));
    let stream = |user| Reader::opened(events.respond(&get(&[("x-user", user)])));
    let (mut ann, mut ann2, mut bob) = (stream("ann"), stream("ann"), stream("bob"));
    assert!(ann.take().is_pending() && bob.take().is_pending());

    assert_eq!(events.clone().revoke("ann"), 2);
    assert!(ann.0.is_woken() && !bob.0.is_woken());
    store.submit("not for ann").expect("open");
    ann.assert_farewell();
    ann2.assert_farewell();
    assert!(bob.text().ends_with("data: not for ann\n\n"));
    assert_eq!((store.subscribers(), events.streams()), (1, 1));

    // Who is permitted again is not revoked any more.
    let mut ann = stream("ann");
    assert!(ann.take().is_pending());
    assert_eq!(events.revoke("nobody"), 0);
}

#[test]
fn beyond_a_limit_clients_get_what_overload_says() {
    let store = QueueStore::new();
    let limited = by_user(EventSource::new(store.clone()))
        .max_streams(3)
        .max_streams_per_key(2);
    let stream = |events: &EventSource, user| events.respond(&get(&[("x-user", user)]));
    let (_a1, _a2) = (stream(&limited, "ann"), stream(&limited, "ann"));

    let mut later = Reader::of(stream(&limited, "ann"));
    let text = later.text();
    assert!(text.starts_with(":\n\nretry: "), "{text:?}");
    assert_eq!(later.take(), Poll::Ready(None));

    for (overload, status) in [(Overload::Unavailable, 503), (Overload::Stop, 204)] {
        let limited = limited.clone().overload(overload);
        assert_eq!(stream(&limited, "ann").status(), status);
    }
    let b1 = stream(&limited, "bob");
    let full = limited.clone().overload(Overload::Unavailable);
    assert_eq!(stream(&full, "carol").status(), 503);
    assert_eq!((store.subscribers(), limited.streams()), (3, 3));
    drop(b1);
    assert_eq!(stream(&full, "carol").status(), 200);
}

#[test]
fn a_client_that_is_stopped_at_a_gap_takes_no_place() {
    let events = EventSource::new(QueueStore::new())
        .on_gap(OnGap::Stop)
        .max_streams(1);
    for _ in 0..3 {
        assert_eq!(
            events.respond(&get(&[("last-event-id", "x")])).status(),
            204
        );
    }
    assert_eq!(events.streams(), 0);
}

const PAGE: &str = "https://page.example";

fn cors_of(cors: Cors, origin: Option<&str>) -> HeaderMap {
    let events = EventSource::new(DataStore::new()).cors(cors);
    let origin = origin.map(|origin| ("origin", origin));
    events.respond(&get(origin.as_slice())).headers().clone()
}

#[test]
fn without_cors_there_is_no_header_of_it() {
    let events = EventSource::new(DataStore::new());
    let response = events.respond(&get(&[("origin", PAGE)]));
    for name in [
        "access-control-allow-origin",
        "access-control-allow-credentials",
        "vary",
    ] {
        assert_eq!(header(response.headers(), name), None);
    }
    let preflight = [("origin", PAGE), ("access-control-request-method", "GET")];
    assert_eq!(
        events
            .respond(&request("OPTIONS", "/", &preflight))
            .status(),
        405
    );
}

#[test]
fn only_a_listed_origin_is_echoed() {
    let cors = Cors::origins([PAGE, "http://localhost:3000"]).expect("origins");
    for origin in [PAGE, "http://localhost:3000"] {
        let headers = cors_of(cors.clone(), Some(origin));
        assert_eq!(
            header(&headers, "access-control-allow-origin"),
            Some(origin)
        );
        assert_eq!(header(&headers, "access-control-allow-credentials"), None);
        assert_eq!(header(&headers, "vary"), Some("origin"));
    }
    for origin in [
        None,
        Some("https://other.example"),
        Some("null"),
        Some("http://page.example"),
        Some("https://page.example:8443"),
        Some("https://PAGE.example"),
        Some("https://page.example/"),
        Some("https://page.example.evil.example"),
        Some("https://evilpage.example"),
        Some(""),
    ] {
        let headers = cors_of(cors.clone(), origin);
        assert_eq!(
            header(&headers, "access-control-allow-origin"),
            None,
            "{origin:?}"
        );
        assert_eq!(header(&headers, "vary"), Some("origin"));
    }
}

#[test]
fn credentials_come_with_an_origin_and_never_with_a_star() {
    let headers = cors_of(
        Cors::with_credentials([PAGE]).expect("an origin"),
        Some(PAGE),
    );
    assert_eq!(header(&headers, "access-control-allow-origin"), Some(PAGE));
    assert_eq!(
        header(&headers, "access-control-allow-credentials"),
        Some("true")
    );
    let headers = cors_of(Cors::any(), Some(PAGE));
    assert_eq!(header(&headers, "access-control-allow-origin"), Some("*"));
    assert_eq!(header(&headers, "access-control-allow-credentials"), None);
}

#[test]
fn a_preflight_is_answered_without_a_stream() {
    let store = DataStore::new();
    let cors = Cors::with_credentials([PAGE]).expect("an origin");
    let events = by_user(EventSource::new(store.clone())).cors(cors);
    let preflight = |origin| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "GET"),
            ("access-control-request-headers", "last-event-id"),
        ];
        events.respond(&request("OPTIONS", "/events", &headers))
    };
    let response = preflight(PAGE);
    assert_eq!(response.status(), 204);
    let headers = response.headers();
    assert_eq!(header(headers, "access-control-allow-origin"), Some(PAGE));
    assert_eq!(
        header(headers, "access-control-allow-credentials"),
        Some("true")
    );
    assert_eq!(
        header(headers, "access-control-allow-methods"),
        Some("GET, HEAD")
    );
    assert_eq!(
        header(headers, "access-control-allow-headers"),
        Some("last-event-id, cache-control")
    );
    assert_eq!(header(headers, "vary"), Some("origin"));

    let response = preflight("https://other.example");
    assert_eq!(response.status(), 204);
    for name in [
        "access-control-allow-origin",
        "access-control-allow-methods",
        "access-control-allow-headers",
    ] {
        assert_eq!(header(response.headers(), name), None);
    }
    // An OPTIONS that is no preflight is a wrong method.
    let response = events.respond(&request("OPTIONS", "/events", &[]));
    assert_eq!(response.status(), 405);
    assert_eq!(
        header(response.headers(), "allow"),
        Some("GET, HEAD, OPTIONS")
    );
    assert_eq!((store.subscribers(), events.streams()), (0, 0));
}

#[test]
fn a_refusal_can_be_read_by_the_page_that_is_allowed() {
    let events =
        by_user(EventSource::new(DataStore::new())).cors(Cors::origins([PAGE]).expect("an origin"));
    let response = events.respond(&get(&[("origin", PAGE)]));
    assert_eq!(response.status(), 401);
    assert_eq!(
        header(response.headers(), "access-control-allow-origin"),
        Some(PAGE)
    );
}

/// A hook that waits is a type of its own, and serves all the same.
#[tokio::test]
async fn bodies_of_both_kinds_are_one_type() {
    type Answer = Pin<Box<dyn Future<Output = Response<EventBody>> + Send>>;
    let now = EventSource::new(DataStore::with_initial("1").expect("small"));
    let awaited = now
        .clone()
        .permit_async(|_| std::future::ready(Ok(Permit::new())));
    let answers: [Answer; 2] = [
        Box::pin(std::future::ready(now.respond(&get(&[])))),
        Box::pin(awaited.respond(&get(&[]))),
    ];
    for answer in answers {
        let mut body = answer.await.into_body();
        assert_eq!(body.next().await, Some(Ok(":\n\n".into())));
    }
    assert_eq!(awaited.streams(), now.streams());
}
