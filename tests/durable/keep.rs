//! What is kept: within the retention, of latest-value topics, and of keys.

use std::time::Duration;

use tornadose::backplane::{Append, Content, Durable, Fsync};
use tornadose::{Event, Retention};

use crate::support::*;

async fn retaining(directory: &Directory, retention: Retention) -> Durable {
    let builder = directory.builder().retention(retention);
    builder.open().await.expect("a log")
}

fn about(name: &str, data: &str) -> Append {
    Append::new(topic(name), Event::new(data))
}

fn keyed(key: &str, data: &str) -> Append {
    Append::new(topic("t"), Event::new(data).once(key))
}

/// The topics, offsets and data of what is newest, by topic.
async fn newest(engine: &Durable, patterns: &[&str]) -> Vec<(String, u64, String)> {
    let mut reading = reading_latest(engine, patterns).await;
    let records = reading.latest().await.expect("records");
    let mut newest: Vec<_> = records
        .iter()
        .map(|record| match &record.content {
            Content::Event(topic, event) => (
                topic.as_str().to_owned(),
                record.position.offset(),
                event.data().to_owned(),
            ),
            other => panic!("{other:?}"),
        })
        .collect();
    newest.sort();
    newest
}

fn value(topic: &str, offset: u64, data: &str) -> (String, u64, String) {
    (topic.to_owned(), offset, data.to_owned())
}

#[tokio::test]
async fn so_many_events() {
    let directory = Directory::new();
    let engine = retaining(&directory, Retention::new().events(10)).await;
    let mut reading_ = reading(&engine).await;
    for n in 1..=100u64 {
        append_texts(&engine, &[&n.to_string()]).await;
        let window = reading_.window().await.expect("a window");
        assert_eq!(
            (window.oldest, window.next),
            (n.saturating_sub(9).max(1), n + 1)
        );
    }
    // More at once than it keeps.
    let many: Vec<_> = (0..35).map(|n| event(n.to_string())).collect();
    append(&engine, &many).await;
    let records = all(&mut reading_).await;
    let expected: Vec<_> = (25..35).map(|n| (n + 101, n.to_string())).collect();
    assert_eq!(texts(&records).len(), 10);
    for (record, (offset, data)) in records.iter().zip(&expected) {
        assert_eq!(text(record), (*offset, data.as_str()));
    }
    drop((engine, reading_));

    // Less is kept from now on, and never nothing.
    let engine = retaining(&directory, Retention::new().events(0)).await;
    let records = all(&mut reading(&engine).await).await;
    assert_eq!(texts(&records), [(135, "34")]);
    assert_eq!(append_texts(&engine, &["next"]).await[0].offset(), 136);
    let records = all(&mut reading(&engine).await).await;
    assert_eq!(texts(&records), [(136, "next")]);
}

#[tokio::test]
async fn so_many_bytes() {
    let directory = Directory::new();
    // 28 bytes of a head, a topic of one, 871 of data, and 128.
    let data = "x".repeat(871);
    let engine = retaining(&directory, Retention::new().bytes(10 * 1028)).await;
    for n in 1..=25u64 {
        append_texts(&engine, &[&data]).await;
        let window = reading(&engine).await.window().await.expect("a window");
        assert_eq!(window.next - window.oldest, n.min(10));
    }
    // A larger one takes the place of two.
    append(&engine, &[event("y".repeat(872))]).await;
    let window = reading(&engine).await.window().await.expect("a window");
    assert_eq!((window.oldest, window.next), (18, 27));
    drop(engine);
    // The bytes are counted again when it is opened.
    let engine = retaining(&directory, Retention::new().bytes(10 * 1028 + 1)).await;
    let window = reading(&engine).await.window().await.expect("a window");
    assert_eq!((window.oldest, window.next), (18, 27));
    append_texts(&engine, &[&data]).await;
    let window = reading(&engine).await.window().await.expect("a window");
    assert_eq!((window.oldest, window.next), (18, 28));
}

#[tokio::test]
async fn nothing_that_is_too_old() {
    let directory = Directory::new();
    let engine = directory.open().await;
    append_texts(&engine, &["a", "b", "c"]).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    append_texts(&engine, &["d"]).await;
    let records = all(&mut reading(&engine).await).await;
    let ages: Vec<_> = records
        .iter()
        .map(|record| record.age.expect("an age"))
        .collect();
    assert!(ages[2] >= Duration::from_millis(290), "{ages:?}");
    assert!(ages[2] > ages[3], "{ages:?}");
    drop(engine);
    let age = Retention::new().age(Duration::from_millis(250));
    let engine = retaining(&directory, age).await;
    let records = all(&mut reading(&engine).await).await;
    assert_eq!(texts(&records).last(), Some(&(4, "d")));
    assert_eq!(records.len(), 1);
    // The newest stays, with the number of the next one.
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(engine);
    let engine = retaining(&directory, age).await;
    assert_eq!(texts(&all(&mut reading(&engine).await).await), [(4, "d")]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    append_texts(&engine, &["e", "f"]).await;
    assert_eq!(
        texts(&all(&mut reading(&engine).await).await),
        [(5, "e"), (6, "f")]
    );
}

#[tokio::test]
async fn the_newest_of_a_topic_outlives_the_retention() {
    let directory = Directory::new();
    let retention = Retention::new().events(2);
    let engine = retaining(&directory, retention).await;
    let batch = [
        about("price/oil", "1").latest(),
        about("price/tin", "2").latest(),
        about("price/oil", "3").latest(),
    ];
    append(&engine, &batch).await;
    append_texts(&engine, &["x", "y", "z"]).await;
    let expected = [value("price/oil", 3, "3"), value("price/tin", 2, "2")];
    for _ in 0..2 {
        assert_eq!(newest(&engine, &["price/#"]).await, expected);
    }
    // Also after a restart, with the tag that it had.
    let mut reading_ = reading_latest(&engine, &["price/#"]).await;
    let before = reading_.latest().await.expect("records");
    drop((engine, reading_));
    let engine = retaining(&directory, retention).await;
    assert_eq!(newest(&engine, &["price/#"]).await, expected);
    let mut reading_ = reading_latest(&engine, &["price/#"]).await;
    let after = reading_.latest().await.expect("records");
    let positions = |records: &[tornadose::backplane::Record]| {
        let positions = records.iter().map(|record| record.position.to_string());
        positions.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(positions(&before), positions(&after));
    // One of them alone.
    assert_eq!(newest(&engine, &["price/tin"]).await, expected[1..]);
}

#[tokio::test]
async fn topics_become_latest_and_cease_to_be() {
    let directory = Directory::new();
    let retention = Retention::new().events(4);
    let engine = retaining(&directory, retention).await;
    append(
        &engine,
        &[about("a", "1"), about("b", "2").latest(), about("a", "3")],
    )
    .await;
    // `a` was none of them when it was stored, and is retained.
    let both = [value("a", 3, "3"), value("b", 2, "2")];
    assert_eq!(newest(&engine, &["#"]).await, both);
    append_texts(&engine, &["x", "y", "z", "z"]).await;
    assert_eq!(newest(&engine, &["a", "b"]).await, both);
    // `b` is none of them for a while, and gone then.
    assert_eq!(newest(&engine, &["a"]).await, both[..1]);
    assert_eq!(newest(&engine, &["a", "b"]).await, both[..1]);
    drop(engine);
    let engine = retaining(&directory, retention).await;
    append(&engine, &[about("b", "8")]).await;
    assert_eq!(
        newest(&engine, &["a", "b"]).await,
        [value("a", 3, "3"), value("b", 8, "8")]
    );
    // An older one never takes the place of a newer one.
    append(&engine, &[about("b", "9").latest()]).await;
    assert_eq!(newest(&engine, &["b"]).await, [value("b", 9, "9")]);
}

#[tokio::test]
async fn a_key_is_stored_once() {
    for fsync in [Fsync::Always, Fsync::Every(Duration::from_secs(3600))] {
        let directory = Directory::new();
        let builder = || {
            directory
                .builder()
                .fsync(fsync)
                .retention(Retention::new().events(3))
        };
        let engine = builder().open().await.expect("a log");
        // Within a batch.
        let batch = [
            keyed("k", "1"),
            event("2"),
            keyed("k", "3"),
            keyed("l", "4"),
            keyed("", "5"),
        ];
        let first = append(&engine, &batch).await;
        let offsets: Vec<_> = first.iter().map(|position| position.offset()).collect();
        assert_eq!(offsets, [1, 2, 1, 3, 4]);
        // Between batches, of which the second one is nothing but that.
        assert_eq!(
            append(&engine, &[keyed("k", "6"), keyed("", "7")]).await,
            [first[0], first[4]]
        );
        // When the event is gone, and after a restart.
        append_texts(&engine, &["x", "y", "z"]).await;
        assert_eq!(append(&engine, &[keyed("k", "8")]).await, [first[0]]);
        drop(engine);
        let engine = builder().open().await.expect("a log");
        assert_eq!(
            append(&engine, &[keyed("k", "9"), keyed("l", "9"), keyed("", "9")]).await,
            [first[0], first[3], first[4]]
        );
        let records = all(&mut reading(&engine).await).await;
        assert_eq!(texts(&records), [(5, "x"), (6, "y"), (7, "z")]);
    }
}

#[tokio::test]
async fn a_key_is_forgotten() {
    let directory = Directory::new();
    let window = Duration::from_millis(400);
    let builder = || directory.builder().once_for(window);
    let engine = builder().open().await.expect("a log");
    let first = append(&engine, &[keyed("k", "1"), keyed("l", "2")]).await;
    assert_eq!(append(&engine, &[keyed("k", "1")]).await[0], first[0]);
    drop(engine);
    tokio::time::sleep(window).await;
    let engine = builder().open().await.expect("a log");
    let second = append(&engine, &[keyed("k", "3")]).await;
    assert_eq!(second[0].offset(), 3);
    tokio::time::sleep(window / 2).await;
    assert_eq!(append(&engine, &[keyed("k", "4")]).await, second);
    tokio::time::sleep(window).await;
    assert_eq!(append(&engine, &[keyed("k", "5")]).await[0].offset(), 4);
    // And not at all.
    drop(engine);
    let engine = directory
        .builder()
        .once_for(Duration::ZERO)
        .open()
        .await
        .expect("a log");
    append(&engine, &[keyed("m", "6")]).await;
    append(&engine, &[keyed("m", "7")]).await;
    let records = all(&mut reading(&engine).await).await;
    let data: Vec<_> = texts(&records).into_iter().map(|(_, data)| data).collect();
    assert_eq!(data, ["1", "2", "3", "5", "6", "7"]);
}
