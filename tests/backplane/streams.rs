//! Streams of a hub whose engine is away.

use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep};
use tornadose::{EventBody, EventSource, Hub, Permit, Start};

use crate::elsewhere::{next, read, store, topic};
use crate::engine::Engine;

async fn hub(engine: &Engine, patience: Duration) -> Hub {
    let hub = Hub::builder().patience(patience);
    hub.open(engine.clone()).await.expect("an engine")
}

fn stream(hub: &Hub) -> EventBody {
    let source = EventSource::new(hub.clone());
    let source = source.permit(|_| Ok(Permit::new().topics(topic("a"))));
    let response = source.respond(&Request::new(()));
    assert_eq!(response.status(), StatusCode::OK);
    response.into_body()
}

async fn frame(body: &mut EventBody) -> Option<String> {
    let frame = body.frame().await?.expect("infallible");
    let bytes = frame.into_data().expect("data");
    Some(String::from_utf8(bytes.to_vec()).expect("UTF-8"))
}

/// A jittered `retry:` and the end.
async fn is_sent_away(body: &mut EventBody) {
    let farewell = frame(body).await.expect("a farewell");
    let retry = farewell.strip_prefix("retry: ").expect("a farewell");
    let retry: u64 = retry.trim_end().parse().expect("a number");
    assert!((2000..=6000).contains(&retry), "{retry}");
    assert_eq!(frame(body).await, None);
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_the_engine_is_away_is_sent_away() {
    let engine = Engine::new();
    let hub = hub(&engine, Duration::from_secs(30)).await;
    assert!(hub.is_available());
    engine.leave();
    while hub.is_available() {
        sleep(Duration::from_millis(10)).await;
    }
    let mut body = stream(&hub);
    assert_eq!(frame(&mut body).await.as_deref(), Some(":\n\n"));
    is_sent_away(&mut body).await;
    let mut reader = read(&hub, Start::Oldest, &["a"]);
    assert_eq!(next(&mut reader).await, "end Some(Unavailable)");

    engine.come_back();
    while !hub.is_available() {
        sleep(Duration::from_millis(10)).await;
    }
    let mut body = stream(&hub);
    let id = store(&hub, "a", "1").await;
    assert_eq!(
        frame(&mut body).await.expect("a head"),
        ":\n\nid: AAAAAAAAAAc-0\n\n"
    );
    assert_eq!(
        frame(&mut body).await,
        Some(format!("id: {id}\ndata: 1\n\n"))
    );
}

#[tokio::test(start_paused = true)]
async fn who_is_there_stays_for_as_long_as_it_is_told() {
    let engine = Engine::new();
    let patience = Duration::from_secs(40);
    let hub = hub(&engine, patience).await;
    let mut reader = read(&hub, Start::Live, &["a"]);
    let mut body = stream(&hub);
    frame(&mut body).await.expect("a head");
    let left = Instant::now();
    engine.leave();
    assert_eq!(next(&mut reader).await, "end Some(Unavailable)");
    let stayed = left.elapsed();
    // Attempts are up to 5 s apart by then; it does not wait for the next one.
    let late = Duration::from_millis(100);
    assert!(stayed >= patience && stayed < patience + late, "{stayed:?}");
    while let Some(text) = frame(&mut body).await {
        if text != ":\n\n" {
            assert!(text.starts_with("retry: "), "{text}");
            break;
        }
    }
    assert_eq!(frame(&mut body).await, None);
}

#[tokio::test(start_paused = true)]
async fn who_is_there_when_the_engine_comes_back_in_time_goes_on() {
    let engine = Engine::new();
    let hub = hub(&engine, Duration::from_secs(30)).await;
    let mut reader = read(&hub, Start::Live, &["a"]);
    for n in 0..5 {
        engine.leave();
        sleep(Duration::from_secs(20)).await;
        engine.come_back();
        while !hub.is_available() {
            sleep(Duration::from_millis(10)).await;
        }
        store(&hub, "a", n.to_string()).await;
        assert_eq!(next(&mut reader).await, n.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn without_end_of_patience_who_is_there_stays() {
    let engine = Engine::new();
    let hub = hub(&engine, Duration::MAX).await;
    let mut reader = read(&hub, Start::Live, &["a"]);
    engine.leave();
    sleep(Duration::from_secs(86_400)).await;
    engine.come_back();
    while !hub.is_available() {
        sleep(Duration::from_millis(10)).await;
    }
    store(&hub, "a", "1").await;
    assert_eq!(next(&mut reader).await, "1");
}
