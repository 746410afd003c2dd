//! What an engine loses is told, where it is missing and once.

use std::time::Duration;

use tokio::time::sleep;
use tornadose::{Hub, Policy, Position, Retention, Start, SubmitError, Subscription};

use crate::elsewhere::{next, next_of, reached, read, read_after, store, store_here, topic};
use crate::engine::{Engine, event};

async fn hub(engine: &Engine) -> Hub {
    let builder = Hub::builder().policy("price/#".parse().expect("a pattern"), Policy::latest());
    builder.open(engine.clone()).await.expect("an engine")
}

async fn available(hub: &Hub) {
    while !hub.is_available() {
        sleep(Duration::from_millis(10)).await;
    }
}

/// The same id with another offset.
fn moved(id: Position, offset: u64) -> Position {
    let text = id.to_string();
    let (epoch, tag) = (&text[..11], &text[text.len() - 6..]);
    format!("{epoch}-{offset}-{tag}").parse().expect("an id")
}

/// Nothing comes for a long time.
async fn quiet(subscription: &mut Subscription) {
    let next = tokio::time::timeout(Duration::from_secs(600), subscription.recv()).await;
    assert!(next.is_err(), "{next:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_loses_nothing() {
    let engine = Engine::new();
    let (here, there) = (hub(&engine).await, hub(&engine).await);
    let mut reader = read(&there, Start::Live, &["a"]);
    for n in 0..20 {
        engine.cut();
        store(&here, "a", n.to_string()).await;
        assert_eq!(next(&mut reader).await, n.to_string());
    }
    quiet(&mut reader).await;
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_deleted_is_another_one() {
    let engine = Engine::new();
    let hub = hub(&engine).await;
    let mut reader = read(&hub, Start::Live, &["a"]);
    let mut values = read(&hub, Start::Live, &["price/oil"]);
    let old = store(&hub, "a", "1").await;
    store(&hub, "price/oil", "80").await;
    assert_eq!(next(&mut reader).await, "1");
    assert_eq!(next(&mut values).await, "80");
    engine.delete();
    // Told although nobody submits anything.
    assert_eq!(next(&mut reader).await, "gap epoch");
    store(&hub, "a", "2").await;
    assert_eq!(next(&mut reader).await, "2");
    let mut resumed = read_after(&hub, old, &["a"]);
    assert_eq!(next(&mut resumed).await, "gap epoch");
    store(&hub, "price/oil", "90").await;
    assert_eq!(next_of(&mut values, 2).await, ["gap epoch", "90"]);
    quiet(&mut reader).await;
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_lost_is_told_to_who_had_it() {
    let engine = Engine::new();
    let (here, there) = (hub(&engine).await, hub(&engine).await);
    let mut slow = read(&here, Start::Live, &["a"]);
    let mut fast = read(&here, Start::Live, &["a"]);
    let mut other = read(&here, Start::Live, &["b"]);
    let mut ids = Vec::new();
    for n in 1..=5 {
        ids.push(store_here(&here, "a", n.to_string()).await);
    }
    assert_eq!(next_of(&mut slow, 2).await, ["1", "2"]);
    assert_eq!(next_of(&mut fast, 5).await, ["1", "2", "3", "4", "5"]);
    // The engine goes on without 4 and 5, and gives their numbers again.
    engine.cut();
    engine.forget(2);
    let other4 = store_here(&there, "a", "other 4").await;
    assert_eq!(other4.offset(), 4);
    assert_eq!(next_of(&mut fast, 2).await, ["gap diverged", "other 4"]);
    // Who was not told what is lost has lost nothing.
    assert_eq!(next_of(&mut slow, 2).await, ["3", "other 4"]);
    for hub in [&here, &there] {
        available(hub).await;
        let mut lost = read_after(hub, ids[4], &["a"]);
        assert_eq!(next_of(&mut lost, 2).await, ["gap diverged", "other 4"]);
        let mut kept = read_after(hub, ids[2], &["a"]);
        assert_eq!(next(&mut kept).await, "other 4");
    }
    // One that was not there does not know from where on.
    let late = hub(&engine).await;
    let mut lost = read_after(&late, ids[4], &["a"]);
    assert_eq!(next(&mut lost).await, "gap ahead");
    assert_eq!(next_of(&mut lost, 4).await, ["1", "2", "3", "other 4"]);
    let mut lost = read_after(&late, ids[3], &["a"]);
    assert_eq!(next(&mut lost).await, "gap diverged");
    assert_eq!(next(&mut lost).await, "1");
    quiet(&mut fast).await;
    // Nor has who was told nothing at all.
    quiet(&mut other).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_trimmed_before_it_was_read_is_told() {
    let engine = Engine::new();
    let (here, there) = (hub(&engine).await, hub(&engine).await);
    let mut reader = read(&here, Start::Live, &["a"]);
    let mut values = read(&here, Start::Live, &["price/+"]);
    store_here(&here, "a", "1").await;
    assert_eq!(next(&mut reader).await, "1");
    // Nobody reads while these come.
    engine.leave();
    sleep(Duration::from_millis(10)).await;
    engine.come_back();
    for n in 2..=5 {
        store(&there, "a", n.to_string()).await;
        store(&there, "price/oil", n.to_string()).await;
    }
    engine.trim(1);
    store(&there, "a", "6").await;
    assert_eq!(next_of(&mut reader, 2).await, ["gap evicted", "6"]);
    // Of a value nothing is lost.
    assert_eq!(next(&mut values).await, "5");
    engine.trim(0);
    store(&there, "a", "7").await;
    assert_eq!(next(&mut reader).await, "7");
    quiet(&mut reader).await;
    quiet(&mut values).await;
}

#[tokio::test(start_paused = true)]
async fn what_somebody_took_out_of_the_middle_is_told_to_who_reads_it_later() {
    let engine = Engine::new();
    let early = hub(&engine).await;
    for n in 1..=5 {
        store_here(&early, "a", n.to_string()).await;
    }
    engine.remove(3);
    let mut reader = read(&early, Start::Oldest, &["a"]);
    assert_eq!(next_of(&mut reader, 5).await, ["1", "2", "3", "4", "5"]);
    let late = hub(&engine).await;
    let mut reader = read_after(&late, store_here(&late, "b", "x").await, &["a"]);
    store(&late, "a", "6").await;
    assert_eq!(next(&mut reader).await, "6");
    let first = engine.stored()[0].0;
    let mut reader = read_after(&late, first, &["a"]);
    assert_eq!(
        next_of(&mut reader, 4).await,
        ["2", "gap evicted", "4", "5"]
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_no_event_is_a_gap_for_who_reads_its_topic() {
    let engine = Engine::new();
    let hub = hub(&engine).await;
    let first = store_here(&hub, "a", "1").await;
    let mut a = read(&hub, Start::Live, &["a"]);
    let mut b = read(&hub, Start::Live, &["b"]);
    let mut values = read(&hub, Start::Live, &["price/oil"]);
    engine.scrawl(Some("a"));
    assert_eq!(next(&mut a).await, "gap corrupt 1");
    store(&hub, "b", "2").await;
    assert_eq!(next(&mut b).await, "2");
    engine.scrawl(None);
    assert_eq!(next(&mut a).await, "gap corrupt 1");
    assert_eq!(next(&mut b).await, "gap corrupt 1");
    store(&hub, "a", "3").await;
    assert_eq!(next(&mut a).await, "3");
    store(&hub, "price/oil", "80").await;
    assert_eq!(next(&mut values).await, "80");
    let mut resumed = read_after(&hub, first, &["a"]);
    assert_eq!(next_of(&mut resumed, 2).await, ["gap corrupt 2", "3"]);
    let mut oldest = read(&hub, Start::Oldest, &["a"]);
    assert_eq!(next(&mut oldest).await, "1");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_its_topic_here_is_told() {
    let engine = Engine::new();
    let small = Policy::queue(Retention::new().bytes(200));
    let here = Hub::builder().default_policy(small);
    let here = here.open(engine.clone()).await.expect("an engine");
    let there = hub(&engine).await;
    let mut reader = read(&here, Start::Live, &["a"]);
    store(&there, "a", "x".repeat(300)).await;
    store(&there, "a", "y").await;
    assert_eq!(next_of(&mut reader, 2).await, ["gap corrupt 1", "y"]);
}

#[tokio::test(start_paused = true)]
async fn who_reads_while_the_log_is_lost_keeps_its_topics() {
    let engine = Engine::new();
    let hub = hub(&engine).await;
    let control = tornadose::Control::new();
    let subscribe = tornadose::Subscribe::default().control(&control);
    let mut reader = hub.subscribe(subscribe.topics(topic("a")));
    control.add(topic("b"));
    engine.delete();
    assert_eq!(next(&mut reader).await, "gap epoch");
    store(&hub, "b", "1").await;
    assert_eq!(next(&mut reader).await, "1");
    control.remove(topic("a"));
    store(&hub, "a", "2").await;
    store(&hub, "b", "3").await;
    assert_eq!(next(&mut reader).await, "3");
    assert_eq!(hub.subscribers(), 1);
    drop(reader);
    assert_eq!(hub.subscribers(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_began_live_is_not_told_of_what_was_before() {
    let engine = Engine::new();
    let hub = hub(&engine).await;
    store(&hub, "price/oil", "80").await;
    for n in 1..=3 {
        store_here(&hub, "a", n.to_string()).await;
    }
    let mut reader = read(&hub, Start::Live, &["a", "price/oil"]);
    engine.forget(1);
    assert_eq!(next(&mut reader).await, "80");
    store(&hub, "a", "4").await;
    // It had not been told what is lost, and what was before it is not for it.
    assert_eq!(next(&mut reader).await, "4");
    quiet(&mut reader).await;
}

#[tokio::test(start_paused = true)]
async fn a_value_in_a_hole_does_not_hide_it() {
    let engine = Engine::new();
    let (here, there) = (hub(&engine).await, hub(&engine).await);
    let mut events = read(&here, Start::Live, &["a"]);
    let mut values = read(&here, Start::Live, &["price/oil"]);
    store_here(&here, "a", "1").await;
    assert_eq!(next(&mut events).await, "1");
    // All of it is stored and trimmed before it is read here.
    engine.stall(1);
    store(&there, "a", "2").await;
    store(&there, "price/oil", "80").await;
    store(&there, "a", "3").await;
    store(&there, "price/gas", "3").await;
    engine.trim(0);
    store(&there, "a", "4").await;
    engine.stall(0);
    assert_eq!(next_of(&mut events, 2).await, ["gap evicted", "4"]);
    assert_eq!(next(&mut values).await, "80");
    assert_eq!(here.get(&topic("price/gas")).expect("a value").data(), "3");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_comes_later_has_the_values_of_a_hole() {
    let engine = Engine::new();
    let early = hub(&engine).await;
    store(&early, "a", "1").await;
    let value = store(&early, "price/oil", "80").await;
    store(&early, "a", "3").await;
    engine.remove(value.offset());
    let late = hub(&engine).await;
    assert_eq!(late.get(&topic("price/oil")).expect("a value").data(), "80");
    let mut events = read(&late, Start::Oldest, &["a"]);
    assert_eq!(next_of(&mut events, 2).await, ["1", "3"]);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_taken_back_is_replaced_by_the_one_before() {
    let engine = Engine::new();
    let hub = hub(&engine).await;
    store(&hub, "price/oil", "80").await;
    store(&hub, "a", "1").await;
    let mut values = read(&hub, Start::Live, &["price/oil"]);
    assert_eq!(next(&mut values).await, "80");
    store(&hub, "price/oil", "81").await;
    assert_eq!(next(&mut values).await, "81");
    engine.cut();
    engine.take_back(1, &[("price/oil", 1)]);
    assert_eq!(next_of(&mut values, 2).await, ["gap diverged", "80"]);
    assert_eq!(hub.get(&topic("price/oil")).expect("a value").data(), "80");
}

#[tokio::test(start_paused = true)]
async fn an_id_of_what_was_lost_is_not_given_again() {
    let engine = Engine::new();
    let (here, there) = (hub(&engine).await, hub(&engine).await);
    let mut reader = read(&here, Start::Live, &["a"]);
    let mut lost = None;
    for n in 1..=5 {
        lost = Some(store(&here, "a", n.to_string()).await);
    }
    assert_eq!(next_of(&mut reader, 5).await, ["1", "2", "3", "4", "5"]);
    engine.cut();
    engine.forget(2);
    available(&there).await;
    store(&there, "a", "4").await;
    let fifth = store(&there, "b", "5").await;
    assert_eq!(next_of(&mut reader, 2).await, ["gap diverged", "4"]);
    store_here(&here, "b", "6").await;
    assert_eq!(fifth.offset(), lost.expect("five").offset());
    quiet(&mut reader).await;
    let place = reader.position().expect("a place");
    assert_ne!(Some(place), lost);
    let mut again = read_after(&here, place, &["a"]);
    quiet(&mut again).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_event_is_told_of_a_topic_that_nobody_knows() {
    let engine = Engine::new();
    let hub = hub(&engine).await;
    let mut rooms = read(&hub, Start::Live, &["rooms/#"]);
    let mut others = read(&hub, Start::Live, &["doors/#"]);
    engine.scrawl(Some("rooms/9"));
    assert_eq!(next(&mut rooms).await, "gap corrupt 1");
    store(&hub, "doors/1", "open").await;
    assert_eq!(next(&mut others).await, "open");
}

#[tokio::test(start_paused = true)]
async fn many_scars_are_told_once() {
    let engine = Engine::new();
    let hub = hub(&engine).await;
    let mut a = read(&hub, Start::Live, &["a"]);
    let mut b = read(&hub, Start::Live, &["b"]);
    for n in 0..600 {
        engine.scrawl(Some("b"));
        if n % 100 == 0 {
            store_here(&hub, "a", n.to_string()).await;
            assert_eq!(next(&mut a).await, n.to_string());
        }
    }
    store(&hub, "a", "last").await;
    assert_eq!(next(&mut a).await, "last");
    store(&hub, "b", "last").await;
    assert_eq!(next_of(&mut b, 2).await[1], "last");
    quiet(&mut a).await;
    quiet(&mut b).await;
}

#[tokio::test(start_paused = true)]
async fn who_hops_to_a_slower_process_is_told_nothing_of_that() {
    let engine = Engine::new();
    let (fast, slow) = (hub(&engine).await, hub(&engine).await);
    let first = store_here(&fast, "a", "1").await;
    reached(&slow, first).await;
    // This one reads nothing for a while, and does not know that it is behind.
    engine.stall(2);
    let second = store_here(&fast, "a", "2").await;
    let mut hopped = read_after(&slow, second, &["a"]);
    let waiting = tokio::time::timeout(Duration::from_millis(500), hopped.recv()).await;
    assert!(waiting.is_err(), "{waiting:?}");
    assert_eq!(hopped.position(), Some(second));
    engine.stall(0);
    store(&fast, "a", "3").await;
    assert_eq!(next(&mut hopped).await, "3");
    // One that nobody has given is found out, too.
    let ahead = moved(second, 99);
    let mut hopped = read_after(&slow, ahead, &["a"]);
    assert_eq!(next(&mut hopped).await, "gap ahead");
    assert_eq!(next_of(&mut hopped, 3).await, ["1", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_hangs_is_away() {
    let engine = Engine::new();
    let hub = hub(&engine).await;
    let mut reader = read(&hub, Start::Live, &["a"]);
    engine.hang(true);
    let submitted = hub.submit(event("a", "1")).expect("there is room");
    let unknown = submitted.await.expect_err("it hangs");
    assert_eq!(unknown, SubmitError::Unknown(event("a", "1")));
    assert_eq!(next(&mut reader).await, "end Some(Unavailable)");
    assert!(!hub.is_available());
    engine.hang(false);
    available(&hub).await;
    store(&hub, "a", "2").await;
}

#[test]
fn a_runtime_that_ends_leaves_nobody_waiting() {
    let engine = Engine::new();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let hub = runtime.block_on(hub(&engine));
    engine.hang(true);
    let submitted: Vec<_> = (0..3)
        .map(|n| {
            hub.submit(event("a", n.to_string()))
                .expect("there is room")
        })
        .collect();
    let mut reader = read(&hub, Start::Live, &["a"]);
    runtime.shutdown_background();
    for submitted in submitted {
        let error = submitted.wait().expect_err("nobody stores it");
        assert!(matches!(
            error,
            SubmitError::Unknown(_) | SubmitError::Unavailable(_)
        ));
    }
    let end = tokio_test::block_on(reader.recv());
    assert!(end.is_none());
    let late = hub.submit(event("a", "late")).expect_err("closed");
    assert_eq!(late, SubmitError::Closed(event("a", "late")));
}
