//! `EventBody`, polled by hand: what it yields and when, and what it leaves behind.

use std::collections::HashSet;
use std::convert::Infallible;
use std::future::poll_fn;
use std::mem::size_of;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use http::{Request, StatusCode};
use http_body::Body;
use tokio::runtime;
use tokio::time::{Instant, sleep, timeout};
use tokio_test::task::Spawn;
use tornadose::{
    DataStore, Event, EventBody, EventName, EventSource, LastEventId, OnGap, Overflow, Permit,
    Position, QueueStore, Retention, Shutdown, Start, Store, SubmitError, Submitted, Subscribe,
    Subscription,
};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// The most that may be joined for one frame.
const PAGE: usize = 16 << 10;

/// What the standard farewell lies between, in milliseconds.
const FAREWELL: std::ops::RangeInclusive<u64> = 2000..=6000;

// ---------------------------------------------------------------------------
// Vocabulary
// ---------------------------------------------------------------------------

fn body(events: &EventSource) -> EventBody {
    let response = events.grant(Permit::new(), None);
    assert_eq!(response.status(), StatusCode::OK);
    response.into_body()
}

fn body_after(events: &EventSource, id: Position) -> EventBody {
    events
        .grant(Permit::new(), Some(LastEventId::At(id)))
        .into_body()
}

/// A body whose wake-ups are seen.
fn reader(events: &EventSource) -> Spawn<EventBody> {
    tokio_test::task::spawn(body(events))
}

/// The next frame, which must be there; `None` is the end.
#[track_caller]
fn taken(reader: &mut Spawn<EventBody>) -> Option<Bytes> {
    match reader.poll_next() {
        Poll::Ready(Some(Ok(bytes))) => Some(bytes),
        Poll::Ready(Some(Err(never))) => match never {},
        Poll::Ready(None) => None,
        Poll::Pending => panic!("the body is parked"),
    }
}

#[track_caller]
fn text(reader: &mut Spawn<EventBody>) -> String {
    let bytes = taken(reader).expect("a frame, not the end");
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[track_caller]
fn assert_parked(reader: &mut Spawn<EventBody>) {
    let polled = reader.poll_next();
    assert!(polled.is_pending(), "{polled:?}");
}

#[track_caller]
fn assert_ended(reader: &mut Spawn<EventBody>) {
    for _ in 0..5 {
        assert_eq!(taken(reader), None);
        assert!(reader.is_end_stream());
    }
}

/// Takes the opening frame and parks.
#[track_caller]
fn opened(events: &EventSource) -> Spawn<EventBody> {
    let mut reader = reader(events);
    assert!(text(&mut reader).starts_with(":\n\n"));
    assert_parked(&mut reader);
    reader
}

async fn next(body: &mut EventBody) -> Option<Bytes> {
    let frame = poll_fn(|cx| Pin::new(&mut *body).poll_next(cx)).await?;
    Some(frame.unwrap_or_else(|never: Infallible| match never {}))
}

/// The next frames of a stream with the time at which each of them came.
async fn timed(body: &mut EventBody, since: Instant, frames: usize) -> Vec<(Duration, String)> {
    let mut seen = Vec::new();
    for _ in 0..frames {
        let bytes = next(body).await.expect("a frame");
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        seen.push((since.elapsed(), text));
    }
    seen
}

/// What a body yields until it parks or ends, in one piece.
fn drained_as_stream(body: &mut EventBody) -> Vec<u8> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut all = Vec::new();
    while let Poll::Ready(Some(Ok(bytes))) = Pin::new(&mut *body).poll_next(&mut cx) {
        all.extend_from_slice(&bytes);
    }
    all
}

/// The same through the other face.
fn drained_as_body(body: &mut EventBody) -> Vec<u8> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut all = Vec::new();
    while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut *body).poll_frame(&mut cx) {
        all.extend_from_slice(&frame.into_data().expect("data, not trailers"));
    }
    all
}

/// The place before the next event of a store.
fn end_of(store: &QueueStore) -> Position {
    let position = store.subscribe(Start::Live).position();
    position.expect("a store of ours has positions")
}

fn submit(store: &QueueStore, data: impl Into<Event>) -> Position {
    store
        .submit(data)
        .expect("open and small")
        .id()
        .expect("in memory")
}

fn comment() -> String {
    ":\n\n".to_owned()
}

fn block(id: Position, data: &str) -> String {
    format!("id: {id}\ndata: {data}\n\n")
}

/// The milliseconds of a block that is nothing but a farewell.
#[track_caller]
fn farewell(block: &str) -> u64 {
    let digits = block
        .strip_prefix("retry: ")
        .and_then(|rest| rest.strip_suffix("\n\n"))
        .unwrap_or_else(|| panic!("{block:?} is no farewell"));
    digits.parse().expect("a number")
}

/// The blocks of a frame, which must be whole ones.
#[track_caller]
fn whole_blocks(frame: &str) -> Vec<&str> {
    assert!(frame.ends_with("\n\n"), "{frame:?} ends inside a block");
    frame.split_terminator("\n\n").collect()
}

/// A waker that counts; how many hold it tells who remembers it.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Polls with a waker of its own and lets go of it.
fn poll_with(body: &mut EventBody, count: &Arc<Count>) -> Poll<Option<Bytes>> {
    let waker = Waker::from(Arc::clone(count));
    let polled = Pin::new(body).poll_next(&mut Context::from_waker(&waker));
    polled.map(|frame| frame.map(|Ok(bytes)| bytes))
}

/// Resident memory of this process in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kibibytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

// ---------------------------------------------------------------------------
// The opening
// ---------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn a_stream_of_a_data_store_opens_with_a_bare_comment() {
    let store = DataStore::new();
    let events = EventSource::new(store.clone());
    let mut empty = reader(&events);
    assert_eq!(text(&mut empty), ":\n\n");
    assert_parked(&mut empty);

    let id = store.submit("21.5").expect("open").id().expect("in memory");
    let mut full = reader(&events);
    assert_eq!(text(&mut full), ":\n\n");
    assert_eq!(text(&mut full), block(id, "21.5"));
    assert_parked(&mut full);
}

#[tokio::test(start_paused = true)]
async fn a_lossless_stream_at_its_end_opens_with_a_bookmark() {
    let store = QueueStore::new();
    let events = EventSource::new(store.clone());
    let start = end_of(&store);
    assert_eq!(start.offset(), 0);
    let mut first = reader(&events);
    assert_eq!(text(&mut first), format!(":\n\nid: {start}\n\n"));
    assert_parked(&mut first);

    let id = submit(&store, "x");
    let mut second = reader(&events);
    assert_eq!(text(&mut second), format!(":\n\nid: {id}\n\n"));
    assert_parked(&mut second);

    let mut resumed = tokio_test::task::spawn(body_after(&events, id));
    assert_eq!(text(&mut resumed), format!(":\n\nid: {id}\n\n"));
    assert_parked(&mut resumed);
}

#[tokio::test(start_paused = true)]
async fn a_bookmark_is_where_a_client_goes_on_that_was_cut_off_before_its_first_event() {
    let store = QueueStore::new();
    let events = EventSource::new(store.clone());
    submit(&store, "before");
    let opening = text(&mut reader(&events));
    let bookmark = opening
        .strip_prefix(":\n\nid: ")
        .and_then(|rest| rest.strip_suffix("\n\n"))
        .expect("a bookmark");
    let missed = submit(&store, "while it was away");
    let body = body_after(&events, bookmark.parse().expect("an id"));
    let mut resumed = tokio_test::task::spawn(body);
    assert_eq!(text(&mut resumed), comment());
    assert_eq!(text(&mut resumed), block(missed, "while it was away"));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_begins_with_an_event_or_a_gap_has_no_bookmark() {
    let store = QueueStore::builder()
        .retention(Retention::new().events(2))
        .build();
    let ids: Vec<_> = (0..4).map(|n| submit(&store, n.to_string())).collect();
    let events = EventSource::new(store).start(Start::Oldest);

    let mut oldest = reader(&events);
    assert_eq!(text(&mut oldest), comment());
    assert_eq!(
        text(&mut oldest),
        block(ids[2], "2") + &block(ids[3], "3"),
        "both in one frame"
    );

    let mut late = tokio_test::task::spawn(body_after(&events, ids[0]));
    assert_eq!(text(&mut late), comment());
    assert!(text(&mut late).starts_with("event: gap\n"));
    assert_eq!(text(&mut late), block(ids[2], "2") + &block(ids[3], "3"));
}

#[tokio::test(start_paused = true)]
async fn the_reconnection_time_stands_in_the_opening() {
    let queue = QueueStore::new();
    let start = end_of(&queue);
    for (told, heard) in [
        (Duration::from_millis(2500), 2500),
        (Duration::ZERO, 100),
        (Duration::MAX, 3_600_000),
    ] {
        let data = EventSource::new(DataStore::new()).retry(told);
        assert_eq!(text(&mut reader(&data)), format!(":\n\nretry: {heard}\n\n"));
        let queue = EventSource::new(queue.clone()).retry(told);
        assert_eq!(
            text(&mut reader(&queue)),
            format!(":\n\nid: {start}\nretry: {heard}\n\n")
        );
    }
}

// ---------------------------------------------------------------------------
// Keep-alive
// ---------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_sends_a_comment_every_fifteen_seconds() {
    let begun = Instant::now();
    let store = DataStore::new();
    let mut body = body(&EventSource::new(store.clone()));
    let seen = timed(&mut body, begun, 5).await;
    let expected = [0, 15, 30, 45, 60].map(|at| (at * SECOND, comment()));
    assert_eq!(seen, expected);
}

#[tokio::test(start_paused = true)]
async fn an_event_moves_the_next_comment() {
    let begun = Instant::now();
    let store = QueueStore::new();
    let mut body = body(&EventSource::new(store.clone()));
    let publisher = tokio::spawn(async move {
        sleep(10 * SECOND).await;
        let first = submit(&store, "at ten");
        sleep(44 * SECOND).await;
        let second = submit(&store, "at fifty-four");
        (store, first, second)
    });
    let seen = timed(&mut body, begun, 6).await;
    let (_store, first, second) = publisher.await.expect("no panic");
    let expected = [
        (10 * SECOND, block(first, "at ten")),
        (25 * SECOND, comment()),
        (40 * SECOND, comment()),
        (54 * SECOND, block(second, "at fifty-four")),
        (69 * SECOND, comment()),
    ];
    assert_eq!(seen[1..], expected);
}

#[tokio::test(start_paused = true)]
async fn the_interval_can_be_chosen_and_is_at_least_a_millisecond() {
    for (chosen, kept) in [
        (7 * MILLISECOND, 7 * MILLISECOND),
        (3 * SECOND, 3 * SECOND),
        (Duration::ZERO, MILLISECOND),
    ] {
        let begun = Instant::now();
        let store = DataStore::new();
        let mut body = body(&EventSource::new(store.clone()).keep_alive(chosen));
        let seen = timed(&mut body, begun, 4).await;
        assert_eq!(seen, [0, 1, 2, 3].map(|n| (n * kept, comment())));
    }
}

/// Whoever wants "practically never" writes this.
#[tokio::test(start_paused = true)]
async fn the_longest_interval_there_is_does_not_panic() {
    let store = QueueStore::new();
    let events = EventSource::new(store.clone()).keep_alive(Duration::MAX);
    let mut reader = opened(&events);
    let id = submit(&store, "x");
    assert_eq!(text(&mut reader), block(id, "x"));
    assert_parked(&mut reader);
}

#[tokio::test(start_paused = true)]
async fn without_keep_alive_a_quiet_stream_is_silent() {
    let store = QueueStore::new();
    let mut body = body(&EventSource::new(store.clone()).without_keep_alive());
    assert!(next(&mut body).await.is_some());
    let day = timeout(24 * 3600 * SECOND, next(&mut body)).await;
    assert!(day.is_err(), "{day:?}");
    let id = submit(&store, "x");
    assert_eq!(
        next(&mut body).await.expect("a frame"),
        block(id, "x").as_bytes()
    );
}

#[tokio::test(start_paused = true)]
async fn comments_stand_between_events_and_never_inside_one() {
    let store = QueueStore::new();
    let events = EventSource::new(store.clone()).keep_alive(MILLISECOND);
    let mut body = body(&events);
    let opening = next(&mut body).await.expect("a frame");
    assert!(opening.starts_with(b":\n\nid: "));

    let publisher = tokio::spawn(async move {
        let mut submitted = String::new();
        for n in 0..500_u64 {
            let data = format!("{n}\n:\n\n: not a comment\n{}", "x".repeat(n as usize % 90));
            let event = Event::new(data).name(EventName::from_static("tick"));
            store.submit(event).expect("open and small");
            let entry = store
                .subscribe(Start::Last(1))
                .recv()
                .await
                .expect("an event");
            let entry = entry.event().expect("an event").sse().clone();
            submitted += str::from_utf8(&entry).expect("UTF-8");
            // Sometimes two at once, sometimes none for longer than the interval.
            match n % 5 {
                0 => {}
                1 => sleep(MILLISECOND).await,
                2 => sleep(3 * MILLISECOND).await,
                _ => tokio::task::yield_now().await,
            }
        }
        store.close();
        submitted
    });

    let (mut received, mut comments) = (String::new(), 0);
    while let Some(frame) = next(&mut body).await {
        let frame = String::from_utf8(frame.to_vec()).expect("UTF-8");
        for block in whole_blocks(&frame) {
            match block {
                ":" => comments += 1,
                block if block.starts_with("id: ") => received += &format!("{block}\n\n"),
                block => assert!(FAREWELL.contains(&farewell(&format!("{block}\n\n")))),
            }
        }
    }
    assert_eq!(received, publisher.await.expect("no panic"));
    assert!(comments > 100, "{comments}");
}

// ---------------------------------------------------------------------------
// Runtimes
// ---------------------------------------------------------------------------

#[test]
fn outside_a_runtime_events_come_all_the_same() {
    let store = QueueStore::new();
    let events = EventSource::new(store.clone()).keep_alive(MILLISECOND);
    let count = Arc::new(Count::default());
    let mut body = body(&events);
    assert!(poll_with(&mut body, &count).is_ready());
    assert!(poll_with(&mut body, &count).is_pending());

    let id = submit(&store, "x");
    assert_eq!(count.get(), 1);
    assert_eq!(
        poll_with(&mut body, &count),
        Poll::Ready(Some(block(id, "x").into()))
    );
    assert!(poll_with(&mut body, &count).is_pending());

    store.close();
    assert_eq!(count.get(), 2);
    let Poll::Ready(Some(last)) = poll_with(&mut body, &count) else {
        panic!("no farewell");
    };
    farewell(str::from_utf8(&last).expect("UTF-8"));
    assert_eq!(poll_with(&mut body, &count), Poll::Ready(None));
}

#[test]
fn in_a_runtime_without_time_a_stream_without_keep_alive_is_whole() {
    let store = QueueStore::new();
    let events = EventSource::new(store.clone()).without_keep_alive();
    let mut body = body(&events);
    runtime_without_time().block_on(async {
        assert!(next(&mut body).await.is_some());
        let count = Arc::new(Count::default());
        assert!(poll_with(&mut body, &count).is_pending());
        let id = submit(&store, "x");
        assert_eq!(count.get(), 1);
        assert_eq!(
            next(&mut body).await.expect("a frame"),
            block(id, "x").as_bytes()
        );
    });
}

/// As the documentation says; tokio does not let anybody ask beforehand.
#[test]
#[should_panic = "timers are disabled"]
fn in_a_runtime_without_time_a_stream_with_keep_alive_panics() {
    let store = QueueStore::new();
    let mut body = body(&EventSource::new(store.clone()));
    runtime_without_time().block_on(async {
        assert!(next(&mut body).await.is_some());
        let _ = poll_with(&mut body, &Arc::new(Count::default()));
    });
}

fn runtime_without_time() -> runtime::Runtime {
    let runtime = runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime")
}

#[test]
fn a_body_outlives_the_runtime_that_polled_it_first() {
    let store = QueueStore::new();
    let mut body = body(&EventSource::new(store.clone()));
    let count = Arc::new(Count::default());
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        assert!(poll_with(&mut body, &count).is_ready());
        assert!(poll_with(&mut body, &count).is_pending());
    });
    drop(runtime);

    let id = submit(&store, "x");
    assert_eq!(
        poll_with(&mut body, &count),
        Poll::Ready(Some(block(id, "x").into()))
    );
    assert!(poll_with(&mut body, &count).is_pending());
}

// ---------------------------------------------------------------------------
// Two faces
// ---------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn both_faces_yield_the_same_bytes() {
    let store = QueueStore::builder()
        .retention(Retention::new().events(300))
        .build();
    let events = EventSource::new(store.clone())
        .start(Start::Oldest)
        .retry(SECOND)
        .farewell(3 * SECOND..=3 * SECOND);
    for n in 0..500_usize {
        submit(&store, format!("{n}\n{}", "x".repeat(n)));
    }
    let late = Some(LastEventId::Malformed);
    let (mut one, mut other) = (
        events.grant(Permit::new(), late).into_body(),
        events.grant(Permit::new(), late).into_body(),
    );
    let mut bytes = drained_as_stream(&mut one);
    assert_eq!(bytes, drained_as_body(&mut other));

    submit(&store, "last");
    store.close();
    let rest = drained_as_stream(&mut one);
    assert_eq!(rest, drained_as_body(&mut other));
    bytes.extend(rest);

    let text = String::from_utf8(bytes).expect("UTF-8");
    let blocks = whole_blocks(&text);
    assert_eq!(blocks.len(), 1 + 1 + 1 + 300 + 1 + 1);
    assert_eq!(blocks.last(), Some(&"retry: 3000"));
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_no_known_length_until_it_has_ended() {
    let store = QueueStore::new();
    let mut reader = opened(&EventSource::new(store.clone()));
    assert!(!reader.is_end_stream());
    assert_eq!(Body::size_hint(&*reader).exact(), None);
    assert_eq!(Body::size_hint(&*reader).lower(), 0);

    store.close();
    assert!(!reader.is_end_stream());
    farewell(&text(&mut reader));
    assert!(reader.is_end_stream());
    assert_eq!(Body::size_hint(&*reader).exact(), Some(0));
    assert_ended(&mut reader);
}

#[test]
fn the_body_of_an_answer_that_is_no_stream_is_empty() {
    let store = DataStore::with_initial("x").expect("small");
    let events = EventSource::new(store.clone());
    for method in ["HEAD", "POST", "DELETE", "BREW"] {
        let request = Request::builder().method(method).body(()).expect("valid");
        let mut body = events.respond(&request).into_body();
        assert!(body.is_end_stream());
        // A `HEAD` is answered as the `GET` would be, which has no length: a server
        // that tells the length of what it is given must not find one here.
        let len = (method != "HEAD").then_some(0);
        assert_eq!(Body::size_hint(&body).exact(), len);
        assert_eq!(drained_as_body(&mut body), b"");
        assert_eq!(drained_as_stream(&mut body), b"");
    }
    assert_eq!(store.subscribers(), 0);
}

// ---------------------------------------------------------------------------
// The end
// ---------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn closing_the_store_drains_takes_leave_and_ends() {
    let store = QueueStore::new();
    let events = EventSource::new(store.clone());
    let mut reader = opened(&events);
    let id = submit(&store, "last");
    store.close();
    assert!(reader.is_woken());
    assert_eq!(text(&mut reader), block(id, "last"));
    assert!(FAREWELL.contains(&farewell(&text(&mut reader))));
    assert_eq!(store.subscribers(), 0, "before the end is polled");
    assert_ended(&mut reader);

    let mut late = tokio_test::task::spawn(body(&events));
    assert_eq!(text(&mut late), format!(":\n\nid: {id}\n\n"));
    assert!(FAREWELL.contains(&farewell(&text(&mut late))));
    assert_ended(&mut late);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_of_a_store_does_not_end_what_its_event_source_serves() {
    let store = DataStore::new();
    let events = EventSource::new(store.clone());
    let mut reader = opened(&events);
    drop(store);
    assert_parked(&mut reader);
    drop(events);
    assert!(reader.is_woken());
    farewell(&text(&mut reader));
    assert_ended(&mut reader);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_wakes_parked_streams_drains_them_takes_leave_and_ends() {
    let store = QueueStore::new();
    let shutdown = Shutdown::new();
    let events = EventSource::new(store.clone()).shutdown(&shutdown);
    let (mut parked, mut behind) = (opened(&events), opened(&events));
    let id = submit(&store, "last");
    assert_eq!(text(&mut parked), block(id, "last"));
    assert_parked(&mut parked);
    assert!(!parked.is_woken());

    shutdown.begin();
    shutdown.begin();
    assert!(parked.is_woken());
    assert!(FAREWELL.contains(&farewell(&text(&mut parked))));
    assert_ended(&mut parked);

    assert_eq!(text(&mut behind), block(id, "last"));
    assert!(FAREWELL.contains(&farewell(&text(&mut behind))));
    assert_ended(&mut behind);
    assert_eq!(store.subscribers(), 0);

    // The store is still open; only these streams have ended.
    submit(&store, "after");
    let mut late = tokio_test::task::spawn(body_after(&events, id));
    assert_eq!(text(&mut late), comment());
    assert!(text(&mut late).ends_with("data: after\n\n"));
    farewell(&text(&mut late));
    assert_ended(&mut late);
}

/// A busy store must not keep a server from going down.
#[tokio::test(start_paused = true)]
async fn a_shutdown_sends_what_there_was_and_ends_although_events_keep_coming() {
    const BACKLOG: usize = 100;
    let store = QueueStore::new();
    let shutdown = Shutdown::new();
    let events = EventSource::new(store.clone()).shutdown(&shutdown);
    let mut reader = opened(&events);
    let backlog: String = (0..BACKLOG)
        .map(|n| {
            let data = format!("{n:01000}");
            block(submit(&store, data.as_str()), &data)
        })
        .collect();
    shutdown.begin();
    let mut received = String::new();
    for _ in 0..BACKLOG {
        submit(&store, "x".repeat(PAGE));
        match taken(&mut reader) {
            Some(frame) => received += str::from_utf8(&frame).expect("UTF-8"),
            None => break,
        }
    }
    assert_ended(&mut reader);
    let rest = received.strip_prefix(&backlog).expect("the whole backlog");
    let last = whole_blocks(rest).pop().expect("a farewell");
    farewell(&format!("{last}\n\n"));
}

/// A store that has nothing in common with ours.
struct Silent;

impl Store for Silent {
    fn submit(&self, event: Event) -> Result<Submitted, SubmitError> {
        Err(SubmitError::Closed(event))
    }

    fn subscribe(&self, _: Subscribe) -> Subscription {
        Subscription::from_stream(futures_util::stream::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_the_streams_of_any_store() {
    let shutdown = Shutdown::new();
    let events = EventSource::new(Silent).shutdown(&shutdown);
    let mut reader = reader(&events);
    assert_eq!(text(&mut reader), comment());
    assert_parked(&mut reader);
    shutdown.begin();
    assert!(reader.is_woken());
    assert!(FAREWELL.contains(&farewell(&text(&mut reader))));
    assert_ended(&mut reader);
}

#[tokio::test(start_paused = true)]
async fn farewells_lie_in_their_range_and_differ() {
    let ranges = [
        (None, 2000..=6000),
        (Some((10 * SECOND, 20 * SECOND)), 10_000..=20_000),
    ];
    for (chosen, range) in ranges {
        let store = DataStore::new();
        let mut events = EventSource::new(store.clone());
        if let Some((least, most)) = chosen {
            events = events.farewell(least..=most);
        }
        let mut readers: Vec<_> = (0..200).map(|_| opened(&events)).collect();
        store.close();
        let told: Vec<u64> = readers
            .iter_mut()
            .map(|reader| farewell(&text(reader)))
            .collect();
        assert!(told.iter().all(|told| range.contains(told)), "{told:?}");
        let distinct: HashSet<_> = told.iter().collect();
        assert!(distinct.len() > 150, "{told:?}");
        let third = (range.end() - range.start()) / 3;
        assert!(told.iter().any(|told| *told < range.start() + third));
        assert!(told.iter().any(|told| *told > range.end() - third));
    }
}

#[tokio::test(start_paused = true)]
async fn a_farewell_is_held_between_the_bounds_of_retry_times() {
    for (least, most, range) in [
        (Duration::ZERO, Duration::ZERO, 100..=100),
        (Duration::MAX, Duration::MAX, 3_600_000..=3_600_000),
        (5 * SECOND, SECOND, 5000..=5000),
        (Duration::ZERO, Duration::MAX, 100..=3_600_000),
    ] {
        let store = DataStore::new();
        let events = EventSource::new(store.clone()).farewell(least..=most);
        let mut reader = opened(&events);
        store.close();
        let told = farewell(&text(&mut reader));
        assert!(range.contains(&told), "{told}");
    }
}

// ---------------------------------------------------------------------------
// The end of a shutdown
// ---------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn a_shutdown_has_ended_when_the_last_stream_is_gone() {
    let shutdown = Shutdown::new();
    let events = EventSource::new(QueueStore::new()).shutdown(&shutdown);
    let other = EventSource::new(Silent).shutdown(&shutdown);
    let (mut told, mut left) = (opened(&events), reader(&other));
    let mut ended = tokio_test::task::spawn(shutdown.ended());
    assert!(ended.poll().is_pending());

    shutdown.begin();
    assert!(ended.is_woken());
    assert!(ended.poll().is_pending());
    farewell(&text(&mut told));
    assert!(!ended.is_woken(), "another one is open");
    assert!(ended.poll().is_pending());
    assert_eq!(text(&mut left), comment());
    drop(left);
    assert!(ended.is_woken());
    assert!(ended.poll().is_ready());
    assert_eq!((events.streams(), other.streams()), (0, 0));

    // It holds as long as nobody comes.
    assert!(tokio_test::task::spawn(shutdown.ended()).poll().is_ready());
    let late = body(&events);
    let mut ended = tokio_test::task::spawn(shutdown.ended());
    assert!(ended.poll().is_pending());
    drop(late);
    assert!(ended.poll().is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_has_not_ended_before_it_begins() {
    let shutdown = Shutdown::new();
    let events = EventSource::new(QueueStore::new()).shutdown(&shutdown);
    let mut ended = tokio_test::task::spawn(shutdown.ended());
    assert!(ended.poll().is_pending());
    drop(opened(&events));
    assert!(ended.poll().is_pending());
    assert!(timeout(3600 * SECOND, shutdown.ended()).await.is_err());
    shutdown.begin();
    assert!(ended.is_woken());
    assert!(ended.poll().is_ready());
}

#[tokio::test(start_paused = true)]
async fn what_is_no_stream_does_not_keep_a_shutdown_waiting() {
    let shutdown = Shutdown::new();
    let events = EventSource::new(QueueStore::new())
        .shutdown(&shutdown)
        .max_streams(0);
    let request = Request::head("/").body(()).expect("valid");
    let _open = (events.respond(&request), events.grant(Permit::new(), None));
    shutdown.begin();
    assert!(tokio_test::task::spawn(shutdown.ended()).poll().is_ready());
}

// ---------------------------------------------------------------------------
// A paced shutdown
// ---------------------------------------------------------------------------

/// Takes what the readers still have to say. Returns how many of them have ended.
fn gone(readers: &mut Vec<Spawn<EventBody>>) -> usize {
    let before = readers.len();
    readers.retain_mut(|reader| match reader.poll_next() {
        Poll::Pending => true,
        Poll::Ready(last) => {
            let Ok(last) = last.expect("a farewell");
            farewell(str::from_utf8(&last).expect("UTF-8"));
            assert_ended(reader);
            false
        }
    });
    before - readers.len()
}

#[tokio::test(start_paused = true)]
async fn a_paced_shutdown_ends_one_batch_after_each_interval() {
    let shutdown = Shutdown::paced(10, 100 * MILLISECOND);
    let events = EventSource::new(QueueStore::new()).shutdown(&shutdown);
    // One row of turns for all that it was given to.
    let more = EventSource::new(QueueStore::new()).shutdown(&shutdown);
    let mut readers: Vec<_> = (0..25).map(|_| opened(&events)).collect();
    readers.extend((0..20).map(|_| opened(&more)));
    let mut ended = tokio_test::task::spawn(shutdown.ended());
    sleep(SECOND).await;
    assert_eq!(gone(&mut readers), 0);

    shutdown.begin();
    assert_eq!(gone(&mut readers), 10);
    sleep(50 * MILLISECOND).await;
    shutdown.begin();
    assert_eq!(gone(&mut readers), 0);
    sleep(49 * MILLISECOND).await;
    assert_eq!(gone(&mut readers), 0);
    sleep(MILLISECOND).await;
    assert_eq!(gone(&mut readers), 10);
    for batch in [10, 10, 5] {
        assert!(ended.poll().is_pending());
        sleep(99 * MILLISECOND).await;
        assert_eq!(gone(&mut readers), 0);
        sleep(MILLISECOND).await;
        assert!(readers[..batch].iter().all(Spawn::is_woken));
        assert_eq!(gone(&mut readers), batch);
    }
    assert!(ended.poll().is_ready());
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_its_turn_goes_on_until_then() {
    let store = QueueStore::new();
    let shutdown = Shutdown::paced(1, 40 * SECOND);
    let events = EventSource::new(store.clone()).shutdown(&shutdown);
    let mut readers = vec![opened(&events)];
    let mut body = body(&events);
    let opening = next(&mut body).await.expect("a frame");
    assert!(opening.starts_with(b":\n\n"));

    let begun = Instant::now();
    shutdown.begin();
    assert_eq!(gone(&mut readers), 1);
    let publisher = tokio::spawn(async move {
        sleep(10 * SECOND).await;
        let first = submit(&store, "at ten");
        sleep(30 * SECOND - MILLISECOND).await;
        let second = submit(&store, "at the last moment");
        let third = submit(&store, "together with it");
        sleep(2 * MILLISECOND).await;
        submit(&store, "too late");
        [first, second, third]
    });
    let seen = timed(&mut body, begun, 3).await;
    let last = next(&mut body).await.expect("a farewell");
    assert_eq!(begun.elapsed(), 40 * SECOND);
    farewell(str::from_utf8(&last).expect("UTF-8"));
    assert_eq!(next(&mut body).await, None);
    let [first, second, third] = publisher.await.expect("no panic");
    let at_last = block(second, "at the last moment") + &block(third, "together with it");
    let expected = [
        (10 * SECOND, block(first, "at ten")),
        (25 * SECOND, comment()),
        (40 * SECOND - MILLISECOND, at_last),
    ];
    assert_eq!(seen, expected);
}

/// Such a stream never gets to look at its timer.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_never_quiet_leaves_at_its_turn_with_what_there_was() {
    let store = QueueStore::new();
    let shutdown = Shutdown::paced(1, SECOND);
    let events = EventSource::new(store.clone()).shutdown(&shutdown);
    let mut readers = vec![opened(&events)];
    let mut busy = opened(&events);
    shutdown.begin();
    assert_eq!(gone(&mut readers), 1);
    for tenth in 0..10 {
        let id = submit(&store, tenth.to_string());
        assert_eq!(text(&mut busy), block(id, &tenth.to_string()));
        sleep(100 * MILLISECOND).await;
    }
    let large = "x".repeat(PAGE);
    let ids = [
        submit(&store, large.as_str()),
        submit(&store, large.as_str()),
    ];
    for id in ids {
        assert_eq!(text(&mut busy), block(id, &large));
        submit(&store, "too late");
    }
    farewell(&text(&mut busy));
    assert_ended(&mut busy);
}

#[tokio::test(start_paused = true)]
async fn what_ends_a_stream_anyway_does_not_wait_for_its_turn() {
    let shutdown = Shutdown::paced(1, 10 * SECOND);
    let store = QueueStore::new();
    let closing = EventSource::new(store.clone()).shutdown(&shutdown);
    let expiring = EventSource::new(QueueStore::new())
        .shutdown(&shutdown)
        .permit(|_| Ok(Permit::new().expires_in(5 * SECOND)));
    let revoked = EventSource::new(QueueStore::new())
        .shutdown(&shutdown)
        .permit(|_| Ok(Permit::new().key("ann")));
    let asked = |events: &EventSource| {
        let request = Request::get("/").body(()).expect("valid");
        let mut reader = tokio_test::task::spawn(events.respond(&request).into_body());
        assert!(text(&mut reader).starts_with(":\n\n"));
        assert_parked(&mut reader);
        reader
    };
    let mut first = vec![asked(&closing)];
    let mut readers = [&closing, &expiring, &revoked].map(|events| vec![asked(events)]);
    shutdown.begin();
    assert_eq!(gone(&mut first), 1);
    assert_eq!(readers.each_mut().map(gone), [0, 0, 0]);
    store.close();
    assert_eq!(readers.each_mut().map(gone), [1, 0, 0]);
    assert_eq!(revoked.revoke("ann"), 1);
    assert_eq!(readers.each_mut().map(gone), [0, 0, 1]);
    sleep(5 * SECOND - MILLISECOND).await;
    assert_eq!(readers.each_mut().map(gone), [0, 0, 0]);
    sleep(MILLISECOND).await;
    assert_eq!(readers.each_mut().map(gone), [0, 1, 0]);
}

/// Otherwise clients that come back would keep a shutdown going for ever.
#[tokio::test(start_paused = true)]
async fn who_comes_during_a_paced_shutdown_gets_what_it_missed_and_leaves_at_once() {
    let store = QueueStore::new();
    let shutdown = Shutdown::paced(1, SECOND);
    let events = EventSource::new(store.clone()).shutdown(&shutdown);
    let mut readers: Vec<_> = (0..3).map(|_| opened(&events)).collect();
    shutdown.begin();
    let (had, missed) = (submit(&store, "had"), submit(&store, "missed"));
    let mut late = tokio_test::task::spawn(body_after(&events, had));
    assert_eq!(text(&mut late), comment());
    assert_eq!(text(&mut late), block(missed, "missed"));
    farewell(&text(&mut late));
    assert_ended(&mut late);

    // Nor does it take anybody's turn.
    let both = block(had, "had") + &block(missed, "missed");
    for reader in &mut readers {
        assert_eq!(text(reader), both);
    }
    for _ in 0..3 {
        assert_eq!(gone(&mut readers), 1);
        sleep(SECOND).await;
    }
}

/// The connection of a stalled client does not poll its body.
#[tokio::test(start_paused = true)]
async fn a_stalled_stream_that_reads_after_its_turn_leaves_at_once() {
    let store = QueueStore::new();
    let shutdown = Shutdown::paced(1, SECOND);
    let events = EventSource::new(store.clone()).shutdown(&shutdown);
    let mut readers: Vec<_> = (0..3).map(|_| opened(&events)).collect();
    shutdown.begin();
    sleep(60 * SECOND).await;
    let id = submit(&store, "last");
    for reader in &mut readers {
        assert_eq!(text(reader), block(id, "last"));
    }
    assert_eq!(gone(&mut readers), 3);
}

#[tokio::test(start_paused = true)]
async fn paces_that_make_no_sense_do_not_panic() {
    const DAY: Duration = Duration::from_secs(86_400);
    for (batch, interval, at_once, after) in [
        (0, Duration::ZERO, 3, None),
        (usize::MAX, Duration::MAX, 3, None),
        (0, SECOND, 1, Some(SECOND)),
        (1, Duration::MAX, 1, Some(DAY)),
    ] {
        let shutdown = Shutdown::paced(batch, interval);
        let events = EventSource::new(QueueStore::new())
            .shutdown(&shutdown)
            .without_keep_alive();
        let mut readers: Vec<_> = (0..3).map(|_| opened(&events)).collect();
        shutdown.begin();
        assert_eq!(gone(&mut readers), at_once, "{batch} {interval:?}");
        if let Some(after) = after {
            sleep(after - MILLISECOND).await;
            assert_eq!(gone(&mut readers), 0);
            sleep(MILLISECOND).await;
            assert_eq!(gone(&mut readers), 1);
        }
    }
}

#[test]
fn outside_a_runtime_nobody_waits_for_its_turn() {
    let store = QueueStore::new();
    let shutdown = Shutdown::paced(1, SECOND);
    let events = EventSource::new(store.clone()).shutdown(&shutdown);
    let mut readers: Vec<_> = (0..3).map(|_| opened(&events)).collect();
    shutdown.begin();
    let id = submit(&store, "last");
    for reader in &mut readers {
        assert_eq!(text(reader), block(id, "last"));
    }
    assert_eq!(gone(&mut readers), 3);
}

// ---------------------------------------------------------------------------
// Gaps
// ---------------------------------------------------------------------------

/// Another place in the same log. An epoch may hold a dash and digits, too.
fn at(id: Position, offset: u64) -> String {
    let id = id.to_string();
    let (epoch, _) = id.rsplit_once('-').expect("an id");
    format!("{epoch}-{offset}")
}

fn queue_of(events: usize) -> QueueStore {
    QueueStore::builder()
        .retention(Retention::new().events(events))
        .build()
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_overtaken_is_told_one_gap_and_goes_on() {
    let store = queue_of(2);
    let mut reader = opened(&EventSource::new(store.clone()));
    let ids: Vec<_> = (0..5).map(|n| submit(&store, n.to_string())).collect();
    let from = at(ids[0], 0);
    assert_eq!(
        text(&mut reader),
        format!(
            "event: gap\nid: {resume}\ndata: {{\"reason\":\"slow\",\"missed\":\"3\",\
             \"from\":\"{from}\",\"resume\":\"{resume}\"}}\n\n",
            resume = ids[2]
        )
    );
    assert_eq!(text(&mut reader), block(ids[3], "3") + &block(ids[4], "4"));
    assert_parked(&mut reader);
}

/// The connection of a stalled client does not poll its body.
#[tokio::test(start_paused = true)]
async fn a_stalled_stream_is_told_one_gap_however_much_went_past_it() {
    const EVENTS: u64 = 10_000;
    let store = QueueStore::builder()
        .retention(Retention::new().bytes(1 << 20))
        .build();
    let events = EventSource::new(store.clone());
    let (mut stalled, mut healthy) = (opened(&events), opened(&events));
    for n in 1..=EVENTS {
        let data = format!("{n:010240}");
        let id = submit(&store, data.as_str());
        assert_eq!(text(&mut healthy), block(id, &data));
    }
    assert_parked(&mut healthy);

    let gap = text(&mut stalled);
    let missed = gap
        .split_once("\"missed\":\"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .expect("a gap with a number")
        .0;
    let missed: u64 = missed.parse().expect("a number");
    for n in missed + 1..=EVENTS {
        let block = text(&mut stalled);
        assert!(block.ends_with(&format!("\ndata: {n:010240}\n\n")));
    }
    assert_parked(&mut stalled);
}

#[test]
fn a_stream_that_stops_at_gaps_answers_204_where_it_would_begin_with_one() {
    let store = queue_of(2);
    let ids: Vec<_> = (0..5).map(|n| submit(&store, n.to_string())).collect();
    let ahead = at(ids[4], 6);
    let events = EventSource::new(store.clone()).on_gap(OnGap::Stop);
    let other = end_of(&QueueStore::new());
    for id in [&ids[0].to_string(), &ahead, &other.to_string(), "nonsense"] {
        let request = Request::get("/").header("last-event-id", id);
        let response = events.respond(&request.body(()).expect("valid"));
        assert_eq!(response.status(), StatusCode::NO_CONTENT, "{id}");
        assert_eq!(store.subscribers(), 0);
        assert!(response.body().is_end_stream());
    }
    for id in [Some(LastEventId::At(ids[2])), None] {
        let response = events.grant(Permit::new(), id);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(store.subscribers(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_stops_at_gaps_ends_without_a_farewell_when_it_is_overtaken() {
    let store = queue_of(2);
    let events = EventSource::new(store.clone()).on_gap(OnGap::Stop);
    let mut reader = opened(&events);
    let had = submit(&store, "had");
    assert_eq!(text(&mut reader), block(had, "had"));
    for n in 0..5 {
        submit(&store, n.to_string());
    }
    assert_eq!(taken(&mut reader), None);
    assert_eq!(store.subscribers(), 0);
    assert_ended(&mut reader);

    let response = events.grant(Permit::new(), Some(LastEventId::At(had)));
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_disconnects_ends_the_stream_of_a_reader_that_is_overtaken() {
    let store = QueueStore::builder()
        .retention(Retention::new().events(2))
        .overflow(Overflow::Disconnect)
        .build();
    let events = EventSource::new(store.clone());
    let mut reader = opened(&events);
    for n in 0..5 {
        submit(&store, n.to_string());
    }
    farewell(&text(&mut reader));
    assert_ended(&mut reader);
    assert_eq!(store.subscribers(), 0);
}

// ---------------------------------------------------------------------------
// Joined frames
// ---------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn events_that_wait_are_joined_into_few_frames() {
    let store = QueueStore::new();
    let events = EventSource::new(store.clone());
    let (mut one, mut other) = (opened(&events), opened(&events));
    let mut everything = String::new();
    for n in 0..1000_usize {
        let data = format!("{n} {}", "x".repeat(n % 80));
        let id = submit(&store, data.as_str());
        everything += &block(id, &data);
    }

    let mut received = String::new();
    let mut frames = 0;
    while received.len() < everything.len() {
        let frame = taken(&mut one).expect("a frame");
        let same = taken(&mut other).expect("a frame");
        assert!(frame.len() <= PAGE, "{}", frame.len());
        assert_eq!(frame, same);
        assert_eq!(frame.as_ptr(), same.as_ptr(), "joined once, for both");
        let frame = str::from_utf8(&frame).expect("UTF-8");
        whole_blocks(frame);
        received += frame;
        frames += 1;
    }
    assert_eq!(received, everything);
    assert!(
        frames <= everything.len().div_ceil(PAGE - 120),
        "{frames} frames for {} bytes",
        everything.len()
    );
    assert_parked(&mut one);
    assert_parked(&mut other);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_small_events_are_one_frame() {
    let store = QueueStore::new();
    let mut reader = opened(&EventSource::new(store.clone()));
    let everything: String = (0..100)
        .map(|n| block(submit(&store, n.to_string()), &n.to_string()))
        .collect();
    assert!(reader.is_woken());
    assert_eq!(text(&mut reader), everything);
    assert_parked(&mut reader);
}

#[tokio::test(start_paused = true)]
async fn an_event_larger_than_a_frame_should_be_is_one_frame_that_nobody_copies() {
    let store = QueueStore::new();
    let events = EventSource::new(store.clone());
    let (mut one, mut other) = (opened(&events), opened(&events));
    let large = "x".repeat(5 * PAGE);
    let ids = [
        submit(&store, "small"),
        submit(&store, large.as_str()),
        submit(&store, "small"),
    ];
    for (id, data) in ids.into_iter().zip(["small", &large, "small"]) {
        let (frame, same) = (taken(&mut one), taken(&mut other));
        let (frame, same) = (frame.expect("a frame"), same.expect("a frame"));
        assert_eq!(frame, block(id, data).as_bytes());
        assert_eq!(frame.as_ptr(), same.as_ptr());
    }
}

#[tokio::test(start_paused = true)]
async fn one_event_is_one_allocation_for_all_streams() {
    let store = DataStore::new();
    let events = EventSource::new(store.clone());
    let mut readers: Vec<_> = (0..50).map(|_| opened(&events)).collect();
    store.submit("x").expect("open");
    let kept = store.get().expect("a value");
    for reader in &mut readers {
        let frame = taken(reader).expect("a frame");
        assert_eq!(frame.as_ptr(), kept.sse().as_ptr());
    }
}

// ---------------------------------------------------------------------------
// What is left behind
// ---------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn dropping_a_body_leaves_no_subscription_and_no_waker() {
    let store = QueueStore::new();
    let shutdown = Shutdown::new();
    let events = EventSource::new(store.clone()).shutdown(&shutdown);
    let count = Arc::new(Count::default());
    let mut bodies: Vec<_> = (0..100).map(|_| body(&events)).collect();
    for body in &mut bodies {
        assert!(poll_with(body, &count).is_ready());
        assert!(poll_with(body, &count).is_pending());
    }
    assert_eq!(store.subscribers(), 100);
    assert!(Arc::strong_count(&count) > 100);

    bodies.drain(..).step_by(2).for_each(drop);
    assert_eq!(store.subscribers(), 0);
    assert_eq!(Arc::strong_count(&count), 1);

    submit(&store, "x");
    shutdown.begin();
    sleep(60 * SECOND).await;
    assert_eq!(count.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_has_ended_leaves_no_subscription_and_no_waker_before_it_is_dropped() {
    let store = QueueStore::new();
    let shutdown = Shutdown::new();
    let events = EventSource::new(store.clone()).shutdown(&shutdown);
    let count = Arc::new(Count::default());
    let mut body = body(&events);
    assert!(poll_with(&mut body, &count).is_ready());
    assert!(poll_with(&mut body, &count).is_pending());
    shutdown.begin();
    assert!(count.get() >= 1);
    assert!(poll_with(&mut body, &count).is_ready());
    assert_eq!(store.subscribers(), 0);
    assert_eq!(Arc::strong_count(&count), 1);
    assert_eq!(poll_with(&mut body, &count), Poll::Ready(None));
}

#[tokio::test(start_paused = true)]
async fn only_the_waker_of_the_last_poll_is_kept_and_woken() {
    let store = QueueStore::new();
    let shutdown = Shutdown::new();
    let events = EventSource::new(store.clone()).shutdown(&shutdown);
    let (first, second) = (Arc::new(Count::default()), Arc::new(Count::default()));
    let mut body = body(&events);
    assert!(poll_with(&mut body, &first).is_ready());
    assert!(poll_with(&mut body, &first).is_pending());
    assert!(poll_with(&mut body, &second).is_pending());
    assert_eq!(Arc::strong_count(&first), 1);

    submit(&store, "x");
    assert_eq!((first.get(), second.get()), (0, 1));
}

#[test]
fn a_body_is_small() {
    // Moved a few times, until the server has boxed it.
    assert!(size_of::<EventBody>() <= 448, "{}", size_of::<EventBody>());

    // For the reader of the log; other tests of this process blur it a little.
    const BODIES: usize = 20_000;
    let store = QueueStore::new();
    let shutdown = Shutdown::new();
    let events = EventSource::new(store.clone()).shutdown(&shutdown);
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let _entered = runtime.enter();
    let mut bodies = Vec::with_capacity(BODIES);
    let before = resident();
    bodies.extend((0..BODIES).map(|_| body(&events)));
    let opened = resident();
    let count = Arc::new(Count::default());
    for body in &mut bodies {
        assert!(poll_with(body, &count).is_ready());
        assert!(poll_with(body, &count).is_pending());
    }
    let parked = resident();
    let each = |bytes: u64| bytes.saturating_sub(before) / BODIES as u64;
    println!(
        "heap of a body: {} bytes when made, {} bytes when parked with a keep-alive",
        each(opened),
        each(parked)
    );
    assert_eq!(store.subscribers(), BODIES);
    bodies.clear();
    assert_eq!(store.subscribers(), 0);
    assert_eq!(Arc::strong_count(&count), 1);
}
