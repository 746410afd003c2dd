//! A disk that is full: a file system of 1 MiB, in memory and in a namespace of our own.
//! Needs the program `unshare`, and either root or a system that allows user namespaces.
#![cfg(target_os = "linux")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tornadose::Retention;
use tornadose::backplane::{AppendError, Backplane, Durable, DurableError, Fsync};

use crate::support::*;

/// Where the disk is.
const DISK: &str = "TORNADOSE_TEST_DISK";

/// Runs one of the ignored tests below with a disk of its own.
fn on_a_small_disk(test: &str) {
    let directory = Directory::new();
    let script = "mount -t tmpfs -o size=1m tmpfs \"$1\" && exec \"$2\" \"$3\" --exact --ignored --nocapture";
    let run = |namespaces: &[&str]| {
        let program = std::env::current_exe().expect("this program");
        let output = Command::new("unshare")
            .args(namespaces)
            .args(["--mount", "sh", "-c", script, "sh"])
            .arg(directory.path())
            .arg(program)
            .arg(format!("full::{test}"))
            .env(DISK, directory.path())
            .stdin(Stdio::null())
            .output()
            .expect("unshare, of util-linux");
        let words = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        (output.status, words)
    };
    let (status, words) = run(&[]);
    let (status, words) = if words.contains("unshare:") || words.contains("mount:") {
        run(&["--map-root-user", "--user"])
    } else {
        (status, words)
    };
    assert!(status.success(), "{status}:\n{words}");
    assert!(words.contains("test result: ok. 1 passed"), "{words}");
}

#[test]
fn what_does_not_fit_is_refused() {
    on_a_small_disk("refused");
}

#[test]
fn what_is_let_go_of_makes_room() {
    on_a_small_disk("makes_room");
}

#[test]
fn no_room_for_a_log() {
    on_a_small_disk("no_room");
}

fn disk() -> std::path::PathBuf {
    std::env::var_os(DISK).expect("a disk").into()
}

fn builder(path: &Path, fsync: Fsync) -> tornadose::backplane::DurableBuilder {
    let retention = Retention::new().events(1_000_000).bytes(1 << 30);
    Durable::builder(path).fsync(fsync).retention(retention)
}

/// Appends until the disk is full, and returns what is stored.
async fn fill(engine: &Durable, stored: &mut Vec<String>) {
    for batch in 0..10_000 {
        let texts: Vec<_> = (0..10)
            .map(|n| format!("{batch} {n} {}", "x".repeat(200)))
            .collect();
        let events: Vec<_> = texts.iter().map(event).collect();
        let answers = engine.append(&events).await;
        let mut is_full = false;
        for (answer, text) in answers.into_iter().zip(texts) {
            match answer {
                Ok(position) => {
                    assert!(!is_full, "nothing behind what is refused");
                    stored.push(text);
                    assert_eq!(position.offset(), stored.len() as u64);
                }
                Err(AppendError::Refused(why)) => {
                    assert!(why.contains("No space left on device"), "{why}");
                    is_full = true;
                }
                Err(error) => panic!("{error:?} after {}", stored.len()),
            }
        }
        if is_full {
            return;
        }
    }
    panic!("the disk is larger than it should be");
}

async fn holds(engine: &Durable, stored: &[String]) {
    let records = all(&mut reading(engine).await).await;
    let found: Vec<_> = texts(&records).into_iter().map(|(_, text)| text).collect();
    assert_eq!(found, stored);
}

#[tokio::test]
#[ignore = "run by another test, on a disk of its own"]
async fn refused() {
    for (fsync, name) in [
        (Fsync::Always, "always"),
        (Fsync::Every(Duration::from_millis(10)), "every"),
    ] {
        let path = disk().join(name);
        let ballast = disk().join("ballast");
        std::fs::write(&ballast, vec![0; 300_000]).expect("there is room");
        let engine = builder(&path, fsync).open().await.expect("a log");
        let mut stored = Vec::new();
        for _ in 0..3 {
            fill(&engine, &mut stored).await;
            assert!(stored.len() > 100, "{}", stored.len());
            holds(&engine, &stored).await;
        }
        // Also what has been full before it was opened.
        drop(engine);
        let engine = builder(&path, fsync).open().await.expect("a log");
        assert_eq!(engine.set_aside(), None);
        holds(&engine, &stored).await;
        fill(&engine, &mut stored).await;
        holds(&engine, &stored).await;

        // It goes on by itself when there is room.
        std::fs::remove_file(&ballast).expect("a file");
        let begin = Instant::now();
        while engine.append(&[event("room")]).await[0].is_err() {
            assert!(begin.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stored.push("room".to_owned());
        fill(&engine, &mut stored).await;
        holds(&engine, &stored).await;
        drop(engine);
        let engine = builder(&path, fsync).open().await.expect("a log");
        holds(&engine, &stored).await;
        drop(engine);
        while std::fs::File::open(path.join("lock"))
            .expect("a lock")
            .try_lock()
            .is_err()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        std::fs::remove_dir_all(&path).expect("a directory");
    }
}

#[tokio::test]
#[ignore = "run by another test, on a disk of its own"]
async fn makes_room() {
    for fsync in [Fsync::Always, Fsync::Every(Duration::from_millis(10))] {
        let path = disk().join("log");
        let builder = Durable::builder(&path).fsync(fsync);
        let engine = builder
            .retention(Retention::new().events(500))
            .open()
            .await
            .expect("a log");
        for batch in 0..1_000 {
            let events: Vec<_> = (0..10)
                .map(|n| event(format!("{batch} {n} {}", "x".repeat(200))))
                .collect();
            append(&engine, &events).await;
        }
        let window = reading(&engine).await.window().await.expect("a window");
        assert_eq!(window.next - window.oldest, 500);
        let len = std::fs::metadata(path.join("log.redb"))
            .expect("a file")
            .len();
        assert!(len < 1 << 20, "{len}");
    }
}

#[tokio::test]
#[ignore = "run by another test, on a disk of its own"]
async fn no_room() {
    std::fs::write(disk().join("ballast"), vec![0; (1 << 20) - 8192]).expect("there is room");
    let error = Durable::builder(disk().join("log")).open().await;
    let error = error.expect_err("there is no room");
    assert!(matches!(error, DurableError::Io(_)), "{error:?}");
    // Nothing is left behind that is no log.
    std::fs::remove_file(disk().join("ballast")).expect("a file");
    let engine = Durable::builder(disk().join("log"))
        .open()
        .await
        .expect("a log");
    append_texts(&engine, &["a"]).await;
}
