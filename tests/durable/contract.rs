//! What every engine owes a hub.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tornadose::backplane::{Append, AppendError, Backplane, Content, DurableError, Fsync, Window};
use tornadose::{Event, EventName};

use crate::support::*;

fn awkward() -> Vec<Append> {
    let long = "x".repeat(255);
    let deep = ["d"; 16].join("/");
    let topics = ["t", "a b/ü€😀", "%2e./*>", "-", &long, &deep];
    let data = [
        "".to_owned(),
        " \u{feff} leading".to_owned(),
        "a\r\nb\rc\nd\0e".to_owned(),
        "data: x\n\nevent: gap\nid: 1\n\n".to_owned(),
        "😀".repeat(1000),
        "y".repeat(1 << 20),
    ];
    let mut events: Vec<_> = topics
        .iter()
        .zip(data)
        .map(|(name, data)| Append::new(topic(name), Event::new(data)))
        .collect();
    let name = EventName::new("ein Name: ü").expect("a name");
    let odd = [
        Event::new("named").name(name),
        Event::new("long").name(EventName::new("n".repeat(70_000)).expect("a name")),
        Event::new("soon").retry(Event::MIN_RETRY),
        Event::new("late").retry(Event::MAX_RETRY),
        Event::from_json("{\"a\": [1, 2]}").expect("JSON"),
        Event::from_json("\"json\"")
            .expect("JSON")
            .once("key")
            .topic(topic("other")),
    ];
    events.extend(odd.map(|event| Append::new(topic("odd"), event)));
    events
}

#[tokio::test]
async fn whatever_is_stored_is_read() {
    for fsync in [Fsync::Always, Fsync::Every(Duration::from_millis(1))] {
        let directory = Directory::new();
        let engine = directory
            .builder()
            .fsync(fsync)
            .open()
            .await
            .expect("a log");
        let events = awkward();
        let positions = append(&engine, &events).await;
        for _ in 0..2 {
            let records = all(&mut reading(&engine).await).await;
            assert_eq!(records.len(), events.len());
            for ((record, position), append) in records.iter().zip(&positions).zip(&events) {
                assert_eq!(record.position, *position);
                assert!(record.age.expect("an age") < PATIENCE);
                let Content::Event(topic, event) = &record.content else {
                    panic!("{record:?}");
                };
                assert_eq!(*topic, append.topic);
                assert_eq!(event.data(), append.event.data());
                assert_eq!(event.event_name(), append.event.event_name());
                assert_eq!(event.retry_after(), append.event.retry_after());
                assert_eq!(event.is_json(), append.event.is_json());
            }
        }
    }
}

#[tokio::test]
async fn offsets_have_no_hole_and_outlive_the_process() {
    let directory = Directory::on_disk();
    let mut ids = HashSet::new();
    let mut tags = HashSet::new();
    for run in 0..5u64 {
        let engine = directory.open().await;
        let mut reading = reading(&engine).await;
        let first = 2 * run + 1;
        let window = reading.window().await.expect("a window");
        assert_eq!((window.oldest, window.next), (1, first));
        let positions = append_texts(&engine, &["a", "b"]).await;
        assert_eq!(
            positions
                .iter()
                .map(|position| position.offset())
                .collect::<Vec<_>>(),
            [first, first + 1]
        );
        for position in positions {
            let (id, tag) = split(position);
            assert!(ids.insert(id.clone()), "{id}");
            assert!(
                id.starts_with(&ids.iter().next().expect("one")[..11]),
                "{id}"
            );
            tags.insert(tag);
        }
        assert_eq!(tags.len() as u64, run + 1, "a tag for each opening");
        let window = reading.window().await.expect("a window");
        assert_eq!((window.oldest, window.next), (1, first + 2));
    }
}

#[tokio::test]
async fn reading_begins_and_ends_where_it_is_told() {
    let directory = Directory::new();
    let engine = directory.open().await;
    let mut reading = reading(&engine).await;
    let window = reading.window().await.expect("a window");
    assert_eq!(window, Window::new(window.epoch, 1, 1));
    for from in [0, 1, 2, u64::MAX] {
        assert!(reading.read(from, 9).await.expect("nothing").is_empty());
    }
    append_texts(&engine, &["a", "b", "c"]).await;
    for (from, most, expected) in [
        (0, 9, vec![(1, "a"), (2, "b"), (3, "c")]),
        (1, 2, vec![(1, "a"), (2, "b")]),
        (3, 9, vec![(3, "c")]),
        (4, 9, vec![]),
        (u64::MAX, 9, vec![]),
        (1, 0, vec![]),
    ] {
        let records = reading.read(from, most).await.expect("records");
        assert_eq!(texts(&records), expected, "{from} {most}");
    }

    // Some mebibytes at once, and never nothing.
    let large = vec![event("x".repeat(1 << 20)); 5];
    append(&engine, &large).await;
    let records = reading.read(4, 9).await.expect("records");
    assert_eq!(records.len(), 2);
    let huge = vec![event("x".repeat(8 << 20)); 2];
    append(&engine, &huge).await;
    assert_eq!(reading.read(9, 9).await.expect("records").len(), 1);
}

#[tokio::test]
async fn who_waits_is_woken_by_the_writer() {
    let directory = Directory::new();
    let engine = directory.open().await;
    let mut reading = reading(&engine).await;
    let begin = Instant::now();
    let patience = Duration::from_millis(50);
    assert!(
        reading
            .wait(1, 9, patience)
            .await
            .expect("nothing")
            .is_empty()
    );
    assert!(begin.elapsed() >= patience);

    let (records, _) = tokio::join!(reading.wait(1, 9, PATIENCE), async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        append_texts(&engine, &["a"]).await
    });
    assert_eq!(texts(&records.expect("records")), [(1, "a")]);
    assert!(begin.elapsed() < PATIENCE);

    // What there is is yielded at once, with no patience at all.
    let records = reading.wait(0, 9, Duration::ZERO).await.expect("records");
    assert_eq!(texts(&records), [(1, "a")]);
    assert!(
        reading
            .wait(7, 9, Duration::ZERO)
            .await
            .expect("none")
            .is_empty()
    );
    // An hour is not too long, and who gives up waiting loses nothing.
    for _ in 0..3 {
        let hour = Duration::from_secs(3600);
        let given_up = tokio::time::timeout(Duration::from_millis(5), reading.wait(2, 9, hour));
        given_up.await.expect_err("nothing comes");
    }
    append_texts(&engine, &["b"]).await;
    let records = reading.wait(2, 9, Duration::MAX).await.expect("records");
    assert_eq!(texts(&records), [(2, "b")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_append_at_once() {
    const TASKS: usize = 64;
    const EACH: usize = 20;
    for fsync in [Fsync::Always, Fsync::Every(Duration::from_millis(1))] {
        let directory = Directory::new();
        let engine = directory
            .builder()
            .fsync(fsync)
            .open()
            .await
            .expect("a log");
        let engine = std::sync::Arc::new(engine);
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let engine = engine.clone();
            tasks.spawn(async move {
                let mut got = Vec::new();
                for n in 0..EACH {
                    let positions = append_texts(&engine, &[&format!("{task} {n}")]).await;
                    got.extend(
                        positions
                            .iter()
                            .map(|position| (position.offset(), task, n)),
                    );
                }
                got
            });
        }
        let mut got: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
        got.sort_unstable();
        let records = all(&mut reading(&engine).await).await;
        let expected: Vec<_> = got
            .iter()
            .map(|(offset, task, n)| (*offset, format!("{task} {n}")))
            .collect();
        assert_eq!(expected.len(), TASKS * EACH);
        for (record, (offset, data)) in records.iter().zip(&expected) {
            assert_eq!(text(record), (*offset, data.as_str()));
        }
        assert_eq!(records.len(), expected.len());
        for task in 0..TASKS {
            let mine = got.iter().filter(|(_, whose, _)| *whose == task);
            assert!(mine.map(|(_, _, n)| *n).eq(0..EACH), "in order");
        }
    }
}

#[tokio::test]
async fn who_gives_up_appending_has_appended() {
    let directory = Directory::new();
    let engine = directory.open().await;
    for n in 0..20 {
        let events = [event(n.to_string())];
        // Mostly it waits for the disk now, but the writer may have been faster.
        let _ = futures_util::poll!(Box::pin(engine.append(&events)));
    }
    append_texts(&engine, &["last"]).await;
    let records = all(&mut reading(&engine).await).await;
    let mut expected: Vec<_> = (0..20).map(|n| n.to_string()).collect();
    expected.push("last".to_owned());
    assert!(
        texts(&records)
            .iter()
            .map(|(_, data)| *data)
            .eq(expected.iter().map(String::as_str))
    );
}

#[tokio::test]
async fn one_bad_event_does_not_spoil_the_others() {
    let directory = Directory::new();
    let retention = tornadose::Retention::new().bytes(10_000);
    let builder = directory.builder().retention(retention);
    let engine = builder.open().await.expect("a log");
    let key = "k".repeat(513);
    let keyed = |key: &str| Append::new(topic("t"), Event::new("keyed").once(key));
    let events = [
        event("x".repeat(10_000)),
        event("a"),
        keyed(&key),
        keyed(&key[1..]),
        event("x".repeat(20_000)),
        event("b"),
    ];
    let answers = engine.append(&events).await;
    let offsets: Vec<_> = answers
        .iter()
        .map(|answer| match answer {
            Ok(position) => position.offset(),
            Err(AppendError::Refused(why)) => {
                assert!(why.contains("than"), "{why}");
                0
            }
            Err(error) => panic!("{error}"),
        })
        .collect();
    assert_eq!(offsets, [0, 1, 0, 2, 0, 3]);
    assert!(engine.append(&[]).await.is_empty());
    let records = all(&mut reading(&engine).await).await;
    assert_eq!(texts(&records), [(1, "a"), (2, "keyed"), (3, "b")]);
}

#[tokio::test]
async fn one_at_a_time() {
    let directory = Directory::new();
    let engine = directory.open().await;
    let refused = directory.builder().open().await.expect_err("in use");
    assert!(matches!(refused, DurableError::InUse), "{refused:?}");
    append_texts(&engine, &["a"]).await;
    // Who reads holds it, too.
    let mut reading = reading(&engine).await;
    drop(engine);
    assert_eq!(texts(&all(&mut reading).await), [(1, "a")]);
    let refused = directory.builder().open().await.expect_err("in use");
    assert!(matches!(refused, DurableError::InUse), "{refused:?}");
    drop(reading);
    let engine = directory.open().await;
    assert_eq!(append_texts(&engine, &["b"]).await[0].offset(), 2);
}

#[tokio::test]
async fn directories_that_cannot_be() {
    let directory = Directory::new();
    let file = directory.path().join("file");
    std::fs::write(&file, "no directory").expect("a file");
    for path in [file.clone(), file.join("below"), "/proc/no/such".into()] {
        let refused = tornadose::backplane::Durable::builder(&path).open().await;
        let error = refused.expect_err("no directory");
        assert!(matches!(error, DurableError::Io(_)), "{error:?}");
        let words = format!("{error} {error:?}");
        assert!(!words.contains("tornadose-durable"), "{words}");
    }
    // Missing ones are made, all of them.
    let deep = directory.path().join("a/b/c");
    let engine = tornadose::backplane::Durable::builder(&deep).open().await;
    append_texts(&engine.expect("a log"), &["a"]).await;
}

/// Outside of a runtime reading is an error and no panic.
#[test]
fn without_a_runtime() {
    let directory = Directory::new();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (engine, mut reading) = runtime.block_on(async {
        let engine = directory.open().await;
        let reading = reading(&engine).await;
        (engine, reading)
    });
    let error = futures_util::FutureExt::now_or_never(reading.read(1, 1)).expect("at once");
    assert!(
        error
            .expect_err("no runtime")
            .to_string()
            .contains("runtime")
    );
    drop(engine);
}

#[test]
fn nothing_of_an_engine_is_shown() {
    let builder = tornadose::backplane::Durable::builder("/secret/place");
    assert!(!format!("{builder:?}").contains("secret"));
}

#[test]
fn goes_to_any_thread() {
    fn goes<T: Send + Sync + Unpin + 'static>() {}
    goes::<tornadose::backplane::Durable>();
    goes::<tornadose::backplane::DurableBuilder>();
    goes::<DurableError>();
}
