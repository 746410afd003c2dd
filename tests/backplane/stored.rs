//! What becomes of what is submitted, where nothing is lost.

use std::time::Duration;

use tornadose::{End, Event, Hub, OpenError, Overflow, Policy, Retention, Start, SubmitError};

use crate::elsewhere::{next, next_of, read, read_after, store, store_here, topic};
use crate::engine::{Engine, event};

async fn hub(engine: &Engine) -> Hub {
    let builder = Hub::builder().policy("price/#".parse().expect("a pattern"), Policy::latest());
    builder.open(engine.clone()).await.expect("an engine")
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_is_told_in_every_process() {
    let engine = Engine::new();
    let (here, there) = (hub(&engine).await, hub(&engine).await);
    let mut readers = [&here, &there].map(|hub| read(hub, Start::Live, &["a", "b"]));
    let first = store(&here, "a", "1").await;
    store(&there, "b", "2").await;
    store(&there, "c", "nobody's").await;
    store(&here, "b", "3").await;
    for reader in &mut readers {
        assert_eq!(next_of(reader, 3).await, ["1", "2", "3"]);
    }
    // And an id of one is an id of the other.
    let mut resumed = read_after(&there, first, &["b"]);
    assert_eq!(next_of(&mut resumed, 2).await, ["2", "3"]);
    assert_eq!(first.to_string(), "AAAAAAAAAAc-1-AAAAZQ");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_comes_later_has_what_was_stored_before() {
    let engine = Engine::of(3);
    let early = hub(&engine).await;
    let old = store(&early, "price/oil", "80").await;
    for n in 1..=4 {
        store(&early, "a", n.to_string()).await;
    }
    let late = hub(&engine).await;
    assert_eq!(late.latest().map(|id| id.offset()), Some(5));
    let mut reader = read(&late, Start::Oldest, &["a", "price/oil"]);
    // The value is older than all that is retained, and still the value.
    assert_eq!(next_of(&mut reader, 4).await, ["80", "2", "3", "4"]);
    let mut resumed = read_after(&late, old, &["a"]);
    assert_eq!(next(&mut resumed).await, "gap evicted");
    assert_eq!(next_of(&mut resumed, 3).await, ["2", "3", "4"]);
    let mut values = read_after(&late, old, &["price/oil"]);
    store(&late, "price/oil", "81").await;
    assert_eq!(next(&mut values).await, "81");
}

#[tokio::test(start_paused = true)]
async fn an_event_is_as_old_as_its_engine_says() {
    let minute = Duration::from_secs(60);
    let engine = Engine::new();
    let hub = || async {
        let builder = Hub::builder().default_policy(Policy::default().age(minute));
        builder.open(engine.clone()).await.expect("an engine")
    };
    let early = hub().await;
    let first = store(&early, "a", "1").await;
    store_here(&early, "a", "2").await;
    engine.grow_old(minute / 2);
    let late = hub().await;
    let mut reader = read(&late, Start::Oldest, &["a"]);
    assert_eq!(next_of(&mut reader, 2).await, ["1", "2"]);
    tokio::time::advance(minute / 2).await;
    store_here(&late, "a", "3").await;
    let mut reader = read_after(&late, first, &["a"]);
    assert_eq!(next_of(&mut reader, 2).await, ["gap evicted", "3"]);
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_stored_in_order_and_in_few_batches() {
    let engine = Engine::new();
    let hub = hub(&engine).await;
    let submitted: Vec<_> = (0..3000)
        .map(|n| {
            hub.submit(event("a", n.to_string()))
                .expect("there is room")
        })
        .collect();
    for (n, submitted) in (1..).zip(submitted) {
        assert_eq!(submitted.await.expect("stored").offset(), n);
    }
    assert_eq!(engine.appends(), 3);
}

#[tokio::test(start_paused = true)]
async fn several_are_stored_together() {
    let engine = Engine::new();
    let hub = hub(&engine).await;
    let events = ["1", "2", "3"].map(|data| event("a", data));
    let mut stored = Vec::new();
    for submitted in hub.submit_all(events).expect("there is room") {
        assert_eq!(submitted.id(), None);
        stored.push(submitted.await.expect("stored").offset());
    }
    assert_eq!((stored, engine.appends()), (vec![1, 2, 3], 1));

    let bad = [event("a", "4"), Event::new("5"), event("a", "6")];
    let error = hub.submit_all(bad.clone()).expect_err("one has no topic");
    assert_eq!(error.index(), 1);
    assert_eq!(error.error(), &SubmitError::NoTopic(Event::new("5")));
    assert_eq!(error.into_events(), bad);
    assert_eq!(engine.stored().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_stored_is_handed_back() {
    let engine = Engine::new();
    let hub = Hub::builder().max_event_bytes(3).queue(2);
    let hub = hub.open(engine.clone()).await.expect("an engine");
    let plain = Event::new("1");
    assert_eq!(
        hub.submit(plain.clone()).expect_err("no topic"),
        SubmitError::NoTopic(plain)
    );
    let large = event("a", "1234");
    assert!(matches!(
        hub.submit(large.clone()).expect_err("too large"),
        SubmitError::TooLarge { event, size: 4, limit: 3 } if event == large
    ));
    let two = [event("a", "1"), event("a", "2")].map(|event| hub.submit(event).expect("room"));
    let third = event("a", "3");
    assert_eq!(
        hub.submit(third.clone()).expect_err("no room"),
        SubmitError::Full(third)
    );
    for submitted in two {
        submitted.await.expect("stored");
    }

    engine.fill(true);
    let refused = hub.submit(event("a", "4")).expect("room").await;
    assert!(matches!(
        refused.expect_err("full"),
        SubmitError::Refused { event: of, reason } if of == event("a", "4") && &*reason == "full"
    ));
    engine.fill(false);
    engine.mute(true);
    let unknown = hub.submit(event("a", "5")).expect("room").await;
    assert_eq!(unknown, Err(SubmitError::Unknown(event("a", "5"))));
    engine.mute(false);
    engine.leave();
    let away = hub.submit(event("a", "6")).expect("room").await;
    assert_eq!(away, Err(SubmitError::Unavailable(event("a", "6"))));
    hub.close();
    let closed = hub.submit(event("a", "7")).expect_err("closed");
    assert_eq!(closed, SubmitError::Closed(event("a", "7")));
    let stored: Vec<_> = engine
        .stored()
        .into_iter()
        .map(|(_, _, data)| data)
        .collect();
    assert_eq!(stored, ["1", "2", "5"]);
}

#[tokio::test(start_paused = true)]
async fn with_a_key_it_is_stored_once() {
    let engine = Engine::new();
    let hub = hub(&engine).await;
    let order = || event("a", "order").once("order 17");
    engine.mute(true);
    let unknown = hub.submit(order()).expect("room").await;
    let event = unknown.expect_err("no answer").into_event();
    assert_eq!(event, order());
    engine.mute(false);
    let again = hub.submit(event).expect("room").await.expect("stored");
    assert_eq!(again.offset(), 1);
    assert_eq!(store(&hub, "a", "next").await.offset(), 2);
    assert_eq!(engine.stored().len(), 2);
}

#[test]
fn a_plain_thread_waits_for_the_answer() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let hub = runtime.block_on(hub(&Engine::new()));
    let submitted = hub.submit(event("a", "1")).expect("there is room");
    assert_eq!(submitted.wait().expect("stored").offset(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_submitted_before_the_hub_is_closed_is_stored() {
    let engine = Engine::new();
    let hub = hub(&engine).await;
    let mut reader = read(&hub, Start::Live, &["a"]);
    store_here(&hub, "a", "0").await;
    let last = hub.submit(event("a", "1")).expect("there is room");
    drop(hub);
    last.await.expect("stored");
    assert_eq!(next_of(&mut reader, 2).await, ["0", "1"]);
    assert_eq!(next(&mut reader).await, "end Some(Closed)");
    assert_eq!(reader.end(), Some(End::Closed));
    assert_eq!(engine.stored().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn each_topic_keeps_what_its_policy_says() {
    let engine = Engine::new();
    let two = Policy::queue(Retention::new().events(2));
    let hub = Hub::builder().default_policy(two);
    let hub = hub.open(engine).await.expect("an engine");
    let first = store(&hub, "a", "1").await;
    for n in 2..=4 {
        store(&hub, "a", n.to_string()).await;
    }
    store_here(&hub, "b", "5").await;
    let mut reader = read_after(&hub, first, &["a", "b"]);
    assert_eq!(
        next_of(&mut reader, 4).await,
        ["gap evicted", "3", "4", "5"]
    );
    let stats = hub.stats_of(&topic("a")).expect("a topic");
    assert_eq!((stats.submitted, stats.retained), (4, 2));
    assert_eq!(hub.get(&topic("b")).expect("an event").data(), "5");
}

#[tokio::test(start_paused = true)]
async fn what_only_a_log_in_memory_has_is_refused() {
    let stall = Duration::from_secs(1);
    let waits = Policy::default().overflow(Overflow::Wait { stall });
    let open = Hub::builder().default_policy(waits).open(Engine::new());
    assert_eq!(open.await.expect_err("it waits"), OpenError::Waits);
    let presence = Hub::builder().presence("#".parse().expect("a pattern"));
    let open = presence.open(Engine::new());
    assert_eq!(open.await.expect_err("presence"), OpenError::Presence);
    let engine = Engine::new();
    engine.leave();
    let open = Hub::builder().open(engine.clone()).await;
    let error = open.expect_err("nobody is there");
    assert!(matches!(error, OpenError::Engine(_)));
    assert_eq!(engine.opened(), 0);
}
