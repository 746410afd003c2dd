//! Hubs whose log is in a file: what their clients are told when they come back.

use tornadose::backplane::{Durable, Fsync};
use tornadose::{Hub, Policy, Retention, Start};

use crate::elsewhere::{next, next_of, read, read_after, store, store_here};
use crate::support::{Directory, PATIENCE};

async fn hub_of(engine: Durable) -> Hub {
    let builder = Hub::builder().policy("value/#".parse().expect("a pattern"), Policy::latest());
    builder.open(engine).await.expect("a hub")
}

async fn hub(directory: &Directory) -> Hub {
    hub_of(directory.open().await).await
}

#[tokio::test]
async fn ids_outlive_the_hub() {
    let directory = Directory::new();
    let mut ids = Vec::new();
    for run in 0..5 {
        let hub = hub(&directory).await;
        for (n, id) in ids.iter().enumerate() {
            let mut reader = read_after(&hub, *id, &["a"]);
            let expected: Vec<_> = (n + 1..ids.len()).map(|n| n.to_string()).collect();
            assert_eq!(next_of(&mut reader, expected.len()).await, expected);
        }
        let mut reader = read(&hub, Start::Live, &["a"]);
        for _ in 0..3 {
            let data = ids.len().to_string();
            ids.push(store(&hub, "a", data.clone()).await);
            assert_eq!(next(&mut reader).await, data);
            store(&hub, "value/oil", format!("{run}")).await;
        }
    }
    let hub = hub(&directory).await;
    let value = hub.get(&"value/oil".parse().expect("a topic"));
    assert_eq!(value.expect("a value").data(), "4");
    let mut reader = read(&hub, Start::Oldest, &["a"]);
    let expected: Vec<_> = (0..15).map(|n| n.to_string()).collect();
    assert_eq!(next_of(&mut reader, 15).await, expected);
}

#[tokio::test]
async fn what_the_file_has_let_go_of_is_told() {
    let directory = Directory::new();
    let retention = Retention::new().events(5);
    let engine = || async {
        let builder = directory.builder().retention(retention);
        builder.open().await.expect("a log")
    };
    let first = {
        let hub = hub_of(engine().await).await;
        let first = store(&hub, "a", "0").await;
        store(&hub, "value/tin", "7").await;
        for n in 1..9 {
            store_here(&hub, "a", n.to_string()).await;
        }
        first
    };
    let hub = hub_of(engine().await).await;
    let mut reader = read_after(&hub, first, &["a"]);
    assert!(next(&mut reader).await.starts_with("gap evicted"));
    assert_eq!(next_of(&mut reader, 5).await, ["4", "5", "6", "7", "8"]);
    let mut reader = read(&hub, Start::Live, &["value/tin"]);
    assert_eq!(next(&mut reader).await, "7");
}

/// Somebody puts an old copy of the file in its place.
#[tokio::test]
async fn an_old_copy_is_told_from_what_was_there() {
    let directory = Directory::new();
    {
        let hub = hub(&directory).await;
        store_here(&hub, "a", "0").await;
    }
    // Closed when it can be opened.
    drop(directory.open().await);
    closed(&directory).await;
    let copy = std::fs::read(directory.file()).expect("a file");
    let (kept, lost) = {
        let hub = hub(&directory).await;
        let kept = hub.latest().expect("an event");
        (kept, store_here(&hub, "a", "1").await)
    };
    closed(&directory).await;
    std::fs::write(directory.file(), copy).expect("a file");
    let hub = hub(&directory).await;
    let mut reader = read_after(&hub, lost, &["a"]);
    let told = next(&mut reader).await;
    assert!(
        told.starts_with("gap ahead") || told.starts_with("gap diverged"),
        "{told}"
    );
    let other = store(&hub, "a", "2").await;
    assert_eq!(other.offset(), lost.offset());
    let mut reader = read_after(&hub, lost, &["a"]);
    assert_eq!(next(&mut reader).await, "gap diverged");
    let mut reader = read_after(&hub, kept, &["a"]);
    assert_eq!(next(&mut reader).await, "2");
}

async fn closed(directory: &Directory) {
    let lock = directory.path().join("lock");
    let is_free = || {
        std::fs::File::open(&lock)
            .expect("a lock")
            .try_lock()
            .is_ok()
    };
    let begin = std::time::Instant::now();
    while !is_free() {
        assert!(begin.elapsed() < PATIENCE);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_new_log_in_the_place_of_a_broken_one() {
    let directory = Directory::new();
    let id = store(&hub(&directory).await, "a", "0").await;
    for n in 1..=2 {
        closed(&directory).await;
        std::fs::write(directory.file(), "this is no log").expect("a file");
        let builder = directory.builder();
        let error = builder.open().await.expect_err("a broken log");
        assert!(
            matches!(error, tornadose::backplane::DurableError::Broken(_)),
            "{error:?}"
        );
        let engine = directory
            .builder()
            .recover(true)
            .open()
            .await
            .expect("a log");
        let aside = directory.path().join(format!("log.redb.broken-{n}"));
        assert_eq!(engine.set_aside(), Some(aside.as_path()));
        assert_eq!(std::fs::read(&aside).expect("a file"), b"this is no log");
        let hub = hub_of(engine).await;
        let mut reader = read_after(&hub, id, &["a"]);
        store(&hub, "a", "1").await;
        assert_eq!(next(&mut reader).await, "gap epoch");
        assert_eq!(next(&mut reader).await, "1");
    }
}

/// Two publishers, each of which waits for its answers, and a reader from the beginning.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_order_for_everybody() {
    for fsync in [
        Fsync::Always,
        Fsync::Every(std::time::Duration::from_millis(10)),
    ] {
        let directory = Directory::new();
        let builder = directory.builder().fsync(fsync);
        let hub = hub_of(builder.open().await.expect("a log")).await;
        let mut reader = read(&hub, Start::Oldest, &["a"]);
        let publish = |who: usize| {
            let hub = hub.clone();
            tokio::spawn(async move {
                let mut stored = Vec::new();
                for n in 0..200 {
                    let data = format!("{who} {n}");
                    stored.push((store(&hub, "a", data.clone()).await.offset(), data));
                }
                stored
            })
        };
        let (one, two) = (publish(1), publish(2));
        let mut stored = one.await.expect("no panic");
        stored.extend(two.await.expect("no panic"));
        stored.sort_unstable();
        let offsets = stored.iter().map(|(offset, _)| *offset);
        assert!(offsets.eq(1..=400));
        let expected: Vec<_> = stored.into_iter().map(|(_, data)| data).collect();
        assert_eq!(next_of(&mut reader, 400).await, expected);
    }
}
