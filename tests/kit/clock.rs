//! No call waits for ever, and none gives up too early.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame};
use tokio::task::{spawn, spawn_blocking, yield_now};
use tokio::time::{Instant, sleep, timeout};
use tornadose::test::{Client, IncompleteReason, ReadyState, assert_conserved};
use tornadose::{EventSource, QueueStore};

use crate::scripted::{Answer, NOTHING, Scripted};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

/// The limit, and the step of the clock behind it.
fn is_limit(took: Duration, limit: Duration) -> bool {
    (limit..=limit + 3 * MILLI).contains(&took)
}

#[tokio::test(start_paused = true)]
async fn silence_is_an_error_that_holds_what_came_before() {
    let (stream, answer) = Answer::live();
    let mut client = Scripted::new([answer]).client();
    stream
        .send("data: a\n\ndata: b\n\n:\n".into())
        .expect("there");

    let before = Instant::now();
    let failed = client.collect(3).await.expect_err("two");
    assert!(is_limit(before.elapsed(), 10 * SECOND));
    assert_eq!(failed.reason, IncompleteReason::Limit(10 * SECOND));
    assert_eq!(failed.received, ["a", "b"]);
    assert_eq!((failed.state, failed.requests), (ReadyState::Open, 1));
    assert_eq!(
        failed.to_string(),
        "not within 10s; 2 received, open, requests: 1"
    );

    // It goes on where it was, and each call has its limit.
    let mut client = client.limit(SECOND);
    for _ in 0..2 {
        let before = Instant::now();
        let failed = client.next().await.expect_err("silence");
        assert_eq!(failed.reason, IncompleteReason::Limit(SECOND));
        assert!(is_limit(before.elapsed(), SECOND));
    }
    let failed = client.collect_until(|_| true).await.expect_err("silence");
    assert_eq!(failed.received, NOTHING);
    let failed = client.until_break().await.expect_err("silence");
    assert_eq!(failed.reason, IncompleteReason::Limit(SECOND));
    stream.send("data: c\n\n".into()).expect("there");
    assert_eq!(client.next().await.expect("a message"), "c");
}

#[tokio::test]
async fn on_a_running_clock_it_is_the_same() {
    let (_stream, answer) = Answer::live();
    let mut client = Scripted::new([answer]).client().limit(50 * MILLI);
    let before = std::time::Instant::now();
    let failed = client.next().await.expect_err("silence");
    assert_eq!(failed.reason, IncompleteReason::Limit(50 * MILLI));
    assert!(before.elapsed() >= 50 * MILLI);
}

#[tokio::test(start_paused = true)]
async fn what_is_due_when_the_limit_passes_comes_first() {
    let store = QueueStore::new();
    let source = EventSource::new(store.clone());
    // Before it and behind it, so that neither order of timers is what makes it right.
    for is_first in [true, false] {
        let mut client = Client::new(source.clone(), "/").limit(5 * SECOND);
        client.open().await.expect("a stream");
        let store = store.clone();
        let publish = async move {
            sleep(5 * SECOND).await;
            // On its way through many hands, none of which takes any time.
            for _ in 0..1000 {
                spawn(yield_now()).await.expect("no panic");
            }
            store.submit("at last").expect("open");
        };
        let publishing = match is_first {
            true => {
                let publishing = spawn(publish);
                yield_now().await;
                publishing
            }
            false => spawn(publish),
        };
        assert_eq!(client.next().await.expect("in time"), "at last");
        publishing.await.expect("no panic");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_due_later_comes_with_the_next_call() {
    let store = QueueStore::new();
    let mut client = Client::new(EventSource::new(store.clone()), "/").limit(5 * SECOND);
    client.open().await.expect("a stream");
    spawn(async move {
        sleep(5 * SECOND + 10 * MILLI).await;
        store.submit("late").expect("open");
    });
    let failed = client.next().await.expect_err("late");
    assert_eq!(failed.reason, IncompleteReason::Limit(5 * SECOND));
    assert_eq!(client.next().await.expect("in time"), "late");
}

#[tokio::test(start_paused = true)]
async fn blocking_work_holds_the_clock() {
    let store = QueueStore::new();
    let mut client = Client::new(EventSource::new(store.clone()), "/");
    client.open().await.expect("a stream");
    let working = spawn_blocking(move || {
        std::thread::sleep(100 * MILLI);
        store.submit("done").expect("open");
    });
    let before = Instant::now();
    assert_eq!(client.next().await.expect("in time"), "done");
    assert!(before.elapsed() < SECOND);
    working.await.expect("no panic");
}

/// Always ready, with the same bytes.
#[derive(Clone)]
struct Endless(Bytes);

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(self.0.clone()))))
    }
}

#[tokio::test(start_paused = true)]
async fn what_never_stops_is_an_error_too() {
    let long = format!(": {}\n", "x".repeat(16 << 10));
    let event = format!("data: {}\n\n", "x".repeat(16 << 10));
    for (body, some) in [("", false), (long.as_str(), false), (event.as_str(), true)] {
        let ran = Arc::new(AtomicU64::new(0));
        let other = spawn({
            let ran = Arc::clone(&ran);
            async move {
                loop {
                    ran.fetch_add(1, Ordering::Relaxed);
                    yield_now().await;
                }
            }
        });
        let body = Endless(Bytes::copy_from_slice(body.as_bytes()));
        let mut client = Client::from_fn(
            move |_| {
                let response = Response::builder().header("content-type", "text/event-stream");
                let response = response.body(body.clone()).expect("a response");
                async { Ok::<_, Infallible>(response) }
            },
            "/",
        );
        let failed = client.collect_until(|_| false).await.expect_err("never");
        assert_eq!(failed.reason, IncompleteReason::Flood);
        assert_eq!(failed.received.is_empty(), !some);
        assert_eq!(failed.state, ReadyState::Open);
        // Others have had their turns meanwhile.
        assert!(ran.load(Ordering::Relaxed) > 10);
        other.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn who_ends_at_once_again_and_again_is_left_in_time() {
    let ends = || Answer::stream(["retry: 0\n"]);
    let script = Scripted::new([(); 5000].map(|()| ends()));
    let mut client = script.client().limit(4 * SECOND);
    let before = Instant::now();
    let failed = client.next().await.expect_err("nothing");
    assert_eq!(failed.reason, IncompleteReason::Limit(4 * SECOND));
    assert!(is_limit(before.elapsed(), 4 * SECOND));
    assert!((2..5000).contains(&failed.requests), "{failed}");
}

#[tokio::test(start_paused = true)]
async fn quiet_is_when_an_open_stream_says_nothing() {
    let (stream, answer) = Answer::live();
    let script = Scripted::new([Answer::stream(["data: a\n\n"]), answer]);
    let mut client = script.client();
    let before = Instant::now();
    spawn(async move {
        // Behind the 3 s of the reconnection.
        for (wait, data) in [(3500, "b"), (900, "c"), (1000, "d"), (1500, "e")] {
            sleep(wait * MILLI).await;
            let _ = stream.send(format!("data: {data}\n\n").into());
        }
        sleep(60 * SECOND).await;
    });
    let received = client.until_quiet(SECOND).await.expect("quiet");
    assert_eq!(received, ["a", "b", "c", "d"]);
    let took = before.elapsed();
    assert!(is_limit(took, Duration::from_millis(6400)), "{took:?}");
    assert_eq!(client.until_quiet(SECOND).await.expect("quiet"), ["e"]);
    assert_eq!(
        client.until_quiet(Duration::ZERO).await.expect("quiet"),
        NOTHING
    );
}

#[tokio::test(start_paused = true)]
async fn who_is_never_quiet_is_left_in_time() {
    let (stream, answer) = Answer::live();
    let mut client = Scripted::new([answer]).client().limit(5 * SECOND);
    spawn(async move {
        while stream.send("data: x\n\n".into()).is_ok() {
            sleep(SECOND).await;
        }
    });
    let failed = client.until_quiet(2 * SECOND).await.expect_err("never");
    // 5 s and 2 s.
    assert_eq!(failed.reason, IncompleteReason::Limit(7 * SECOND));
    assert_eq!(failed.received.len(), 8);
}

#[tokio::test(start_paused = true)]
async fn keeping_alive_is_quiet() {
    let store = QueueStore::new();
    let source = EventSource::new(store.clone()).keep_alive(SECOND);
    let mut client = Client::new(source, "/");
    client.open().await.expect("a stream");
    (0..100).for_each(|n| drop(store.submit(n.to_string()).expect("open")));
    let received = client.until_quiet(60 * SECOND).await.expect("quiet");
    assert_eq!(received.len(), 100);
    assert_conserved(&received, 100);
    assert_eq!(client.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_has_lost_nothing() {
    let (stream, answer) = Answer::live();
    let script = Scripted::new([Answer::Fails("later"), answer]);
    let mut client = script.client();
    // While it waits to come again, while it waits for an answer, and in a line.
    for _ in 0..20 {
        assert!(timeout(SECOND / 4, client.next()).await.is_err());
    }
    assert_eq!((client.requests(), client.state()), (2, ReadyState::Open));
    stream.send("id: 1\nda".into()).expect("there");
    assert!(timeout(SECOND, client.next()).await.is_err());
    stream.send("ta: x\n\ndata: y\n\n".into()).expect("there");
    assert_eq!(client.next().await.expect("a message"), "x");
    assert_eq!(client.collect(0).await.expect("nothing"), NOTHING);
    assert_eq!(client.next().await.expect("a message"), "y");
}
