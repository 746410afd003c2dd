//! What an engine loses is told, where it is missing and once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;
use tornadose::backplane::{
    Append, AppendError, Backplane, BackplaneError, Latest, Reading, Record, Window,
};
use tornadose::{Hub, Policy, Position, Retention, Start, Subscription};

use crate::elsewhere::{next, next_of, reached, read, read_after, store, store_here, topic};
use crate::engine::Engine;

async fn hub(engine: &Engine) -> Hub {
    let builder = Hub::builder().policy("price/#".parse().expect("a pattern"), Policy::latest());
    builder.open(engine.clone()).await.expect("an engine")
}

async fn available(hub: &Hub) {
    while !hub.is_available() {
        sleep(Duration::from_millis(10)).await;
    }
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
    // It may be of what has just been stored. When the engine has been asked, it is not.
    assert_eq!(next(&mut lost).await, "end Some(Unavailable)");
    sleep(Duration::from_secs(10)).await;
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

/// An engine that keeps back from one process, for a while, what others read.
#[derive(Clone)]
struct Slow(Engine, Arc<AtomicBool>);

struct SlowReading(Box<dyn Reading>, Arc<AtomicBool>);

#[async_trait]
impl Backplane for Slow {
    async fn append(&self, events: &[Append]) -> Vec<Result<Position, AppendError>> {
        self.0.append(events).await
    }

    async fn open(&self, latest: &Latest) -> Result<Box<dyn Reading>, BackplaneError> {
        let reading = self.0.open(latest).await?;
        Ok(Box::new(SlowReading(reading, Arc::clone(&self.1))))
    }

    fn name(&self) -> &'static str {
        "slow"
    }
}

#[async_trait]
impl Reading for SlowReading {
    async fn window(&mut self) -> Result<Window, BackplaneError> {
        self.0.window().await
    }

    async fn read(&mut self, from: u64, most: usize) -> Result<Vec<Record>, BackplaneError> {
        self.0.read(from, most).await
    }

    async fn wait(
        &mut self,
        from: u64,
        most: usize,
        patience: Duration,
    ) -> Result<Vec<Record>, BackplaneError> {
        if self.1.load(Ordering::Relaxed) {
            sleep(patience).await;
            return Ok(Vec::new());
        }
        self.0.wait(from, most, patience).await
    }

    async fn latest(&mut self) -> Result<Vec<Record>, BackplaneError> {
        self.0.latest().await
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_from_a_process_that_has_read_more_loses_nothing() {
    let engine = Engine::new();
    let is_slow = Arc::new(AtomicBool::new(false));
    let here = hub(&engine).await;
    let there = Hub::builder().open(Slow(engine, Arc::clone(&is_slow)));
    let there = there.await.expect("a hub");
    let first = store_here(&here, "a", "1").await;
    reached(&there, first).await;
    is_slow.store(true, Ordering::Relaxed);
    // What it waits for already it is told.
    sleep(Duration::from_secs(2)).await;
    let ahead = store_here(&here, "a", "2").await;
    for _ in 0..5 {
        let mut reader = read_after(&there, ahead, &["a"]);
        assert_eq!(next(&mut reader).await, "end Some(Unavailable)");
        sleep(Duration::from_secs(3)).await;
    }
    // Who has what this process has may come all the time.
    let mut behind = read_after(&there, first, &["a"]);
    is_slow.store(false, Ordering::Relaxed);
    reached(&there, ahead).await;
    assert_eq!(next(&mut behind).await, "2");
    let mut reader = read_after(&there, ahead, &["a"]);
    store_here(&here, "a", "3").await;
    assert_eq!(next(&mut reader).await, "3");
}
