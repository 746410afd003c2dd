//! A disk that refuses: what could not be stored is not acknowledged, what was stored can be
//! read, and the log goes on by itself as soon as the disk does.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Directory, Faulty, all, event, reading};
use crate::Position;
use crate::backplane::durable::{Durable, Fsync};
use crate::backplane::{AppendError, Backplane};

async fn append(engine: &Durable, data: &str) -> Result<Position, AppendError> {
    let mut answers = engine.append(&[event(data)]).await;
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}

/// Until it stores again. Everything else is refused.
async fn stores_again(engine: &Durable, data: &str) -> Position {
    let begin = Instant::now();
    loop {
        match append(engine, data).await {
            Ok(position) => return position,
            Err(error) => assert!(matches!(error, AppendError::Refused(_)), "{error:?}"),
        }
        assert!(begin.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn data(found: &[(Position, String)]) -> Vec<&str> {
    found.iter().map(|(_, data)| data.as_str()).collect()
}

#[cfg(unix)]
fn inode(directory: &Directory) -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(directory.file()).expect("a file").ino()
}

#[tokio::test]
async fn a_disk_that_does_not_write() {
    for fsync in [Fsync::Always, Fsync::Every(Duration::from_millis(5))] {
        let directory = Directory::new();
        let disk = Arc::new(Faulty::default());
        let builder = directory.builder().fsync(fsync);
        let engine = builder.on(&disk).open().await.expect("a log");
        append(&engine, "a").await.expect("stored");
        tokio::time::sleep(Duration::from_millis(50)).await;
        *disk.write.lock().expect("a disk") = Some(ErrorKind::StorageFull);
        let mut acknowledged = vec!["a".to_owned()];
        for n in 0..5 {
            match append(&engine, &n.to_string()).await {
                Ok(_) => acknowledged.push(n.to_string()),
                Err(AppendError::Refused(why)) => {
                    assert!(why.contains("storage") || why.contains("space"), "{why}");
                }
                // It could not be opened to look.
                Err(AppendError::Unknown) => {}
                Err(error) => panic!("{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if fsync == Fsync::Always {
            assert_eq!(acknowledged, ["a"]);
        }
        *disk.write.lock().expect("a disk") = None;
        let again = stores_again(&engine, "b").await;
        acknowledged.push("b".to_owned());
        let found = all(&engine).await;
        assert_eq!(found.last(), Some(&(again, "b".to_owned())));
        let mut expected = acknowledged.iter().map(String::as_str).peekable();
        for data in data(&found) {
            expected.next_if_eq(&data);
        }
        assert_eq!(expected.next(), None, "all that was acknowledged, in order");
        let offsets = found.iter().map(|(position, _)| position.offset());
        assert!(offsets.eq(1..=found.len() as u64));
    }
}

/// A disk that could not make something durable may have forgotten it, whatever it says
/// later: everything is written once more, to another file.
#[cfg(unix)]
#[tokio::test]
async fn a_disk_that_does_not_make_durable_once() {
    let directory = Directory::new();
    let disk = Arc::new(Faulty::default());
    let engine = directory.builder().on(&disk).open().await.expect("a log");
    let first = append(&engine, "a").await.expect("stored");
    let mut waiting = reading(&engine).await;
    let before = inode(&directory);
    *disk.sync.lock().expect("a disk") = Some((ErrorKind::Other, 1));
    let second = append(&engine, "b").await;
    assert_ne!(inode(&directory), before, "another file");
    let found = all(&engine).await;
    match second {
        // It was in the memory of the system and is on the disk now.
        Ok(second) => assert_eq!(found, [(first, "a".into()), (second, "b".into())]),
        Err(AppendError::Refused(_)) => assert_eq!(found, [(first, "a".into())]),
        Err(error) => panic!("{error}"),
    }
    let third = append(&engine, "c").await.expect("stored");
    assert_eq!(third.offset(), found.len() as u64 + 1);
    // Who reads has to look what there is now.
    waiting.window().await.expect_err("opened again");
    waiting
        .read(third.offset(), 9)
        .await
        .expect_err("opened again");
    drop(waiting);
    let mut waiting = reading(&engine).await;
    let records = waiting.read(third.offset(), 9).await.expect("records");
    assert_eq!(records.len(), 1);
    drop((engine, waiting));
    let engine = directory.builder().open().await.expect("a log");
    assert_eq!(data(&all(&engine).await).last(), Some(&"c"));
}

#[tokio::test]
async fn a_disk_that_does_not_make_durable_any_more() {
    for fsync in [Fsync::Always, Fsync::Every(Duration::from_millis(5))] {
        let directory = Directory::new();
        let disk = Arc::new(Faulty::default());
        let builder = directory.builder().fsync(fsync);
        let engine = builder.on(&disk).open().await.expect("a log");
        let mut before = reading(&engine).await;
        let epoch = before.window().await.expect("a window").epoch;
        append(&engine, "a").await.expect("stored");
        tokio::time::sleep(Duration::from_millis(50)).await;
        *disk.sync.lock().expect("a disk") = Some((ErrorKind::Other, usize::MAX));
        let begin = Instant::now();
        let mut acknowledged = 1;
        // With a journal there are some before it is noticed.
        loop {
            match append(&engine, "lost?").await {
                Ok(_) => acknowledged += 1,
                Err(_) => break,
            }
            assert!(begin.elapsed() < Duration::from_secs(30));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(fsync != Fsync::Always || acknowledged == 1);
        // From now on nothing is acknowledged, and who reads is told.
        for _ in 0..5 {
            let error = append(&engine, "no").await.expect_err("refused");
            assert!(matches!(error, AppendError::Refused(_)), "{error:?}");
        }
        before.window().await.expect_err("closed");
        before.read(1, 1).await.expect_err("closed");
        before
            .wait(1, 1, Duration::from_secs(30))
            .await
            .expect_err("closed");
        before.latest().await.expect_err("closed");
        *disk.sync.lock().expect("a disk") = None;
        let again = stores_again(&engine, "b").await;
        assert!(again.offset() > acknowledged);
        let found = all(&engine).await;
        assert_eq!((data(&found)[0], data(&found)[found.len() - 1]), ("a", "b"));
        before.window().await.expect_err("opened again");
        let mut reading = reading(&engine).await;
        assert_eq!(reading.window().await.expect("a window").epoch, epoch);
        let records = reading.read(1, 1).await.expect("open");
        assert_eq!(records.len(), 1);
    }
}
