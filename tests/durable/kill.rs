//! `kill -9`, at any moment, again and again.
//!
//! So many kills: `TORNADOSE_DURABLE_KILLS`, 40 by default; half of them for each
//! [`Fsync`]. What the long run was: 1,000.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use tornadose::backplane::{Backplane, Content, Fsync};
use tornadose::{Event, Position, Retention};

use crate::support::*;

/// Tells the writer where its log is, how it is made durable, and what it writes first.
const WRITE: &str = "TORNADOSE_TEST_WRITE";

const INTERVAL: Duration = Duration::from_millis(15);

fn fsync(name: &str) -> Fsync {
    match name {
        "always" => Fsync::Always,
        "every" => Fsync::Every(INTERVAL),
        other => panic!("{other}"),
    }
}

/// What is written is `<number>` from one number on, by one after the other; each that is
/// acknowledged is said, with its id. Ends when it is killed.
#[tokio::test]
#[ignore = "the writer of the other tests here"]
async fn write() {
    let told = std::env::var(WRITE).expect("what to write");
    let mut told = told.splitn(3, ' ');
    let fsync = fsync(told.next().expect("a mode"));
    let mut next: u64 = told.next().expect("a number").parse().expect("a number");
    let builder = tornadose::backplane::Durable::builder(told.next().expect("a path"));
    let engine = builder
        .retention(retention())
        .fsync(fsync)
        .open()
        .await
        .expect("a log");
    let mut random = fastrand::Rng::new();
    // One does not run for ever.
    for _ in 0..100_000 {
        let most = if random.bool() { 3 } else { 100 };
        let count = random.u64(1..=most);
        let events: Vec<_> = (next..next + count).map(numbered).collect();
        let answers = engine.append(&events).await;
        let mut said = String::new();
        for (number, answer) in (next..).zip(answers) {
            said += &format!("stored {number} {}\n", answer.expect("stored"));
        }
        next += count;
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(said.as_bytes()).expect("who reads it");
    }
}

fn retention() -> Retention {
    Retention::new().events(5_000)
}

fn numbered(number: u64) -> tornadose::backplane::Append {
    let data = format!("{number} {}", "x".repeat((number % 300) as usize));
    let event = Event::new(data).once(format!("key {number}"));
    tornadose::backplane::Append::new(topic("t"), event)
}

/// Starts a writer, kills it some time after its first words, and returns what it has said
/// in whole lines.
fn killed(directory: &Directory, mode: &str, first: u64, after: Duration) -> Vec<(u64, Position)> {
    let path = directory.path().display();
    let mut writer = Command::new(std::env::current_exe().expect("this program"))
        .args(["kill::write", "--exact", "--ignored", "--nocapture"])
        .env(WRITE, format!("{mode} {first} {path}"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program again");
    let mut lines = BufReader::new(writer.stdout.take().expect("piped"));
    let mut stored = Vec::new();
    let mut line = String::new();
    loop {
        line.clear();
        let read = lines.read_line(&mut line).expect("UTF-8");
        assert!(read > 0 || !stored.is_empty(), "the writer has not begun");
        // The last line may be torn.
        if read == 0 || !line.ends_with('\n') {
            break;
        }
        // The test harness may have begun the line.
        let Some((_, words)) = line.trim_end().split_once("stored ") else {
            continue;
        };
        if stored.is_empty() {
            let id = writer.id().to_string();
            std::thread::spawn(move || {
                std::thread::sleep(after);
                Command::new("kill").args(["-KILL", &id]).status()
            });
        }
        let (number, id) = words.split_once(' ').expect("a number and an id");
        stored.push((
            number.parse().expect("a number"),
            id.parse().expect("an id"),
        ));
    }
    let status = writer.wait().expect("a child");
    assert_eq!(status.code(), None, "it was killed: {status}");
    stored
}

async fn nothing_acknowledged_is_lost(mode: &str, directory: Directory) {
    let kills = times("TORNADOSE_DURABLE_KILLS", 40) / 2;
    let mut random = fastrand::Rng::new();
    // What has been read at any time: by its offset.
    let mut known = BTreeMap::<u64, (Position, u64)>::new();
    let mut epoch = None;
    let mut next_number = 0;
    for kill in 0..kills {
        let after = Duration::from_micros(random.u64(0..60_000));
        let stored = killed(&directory, mode, next_number, after);

        let builder = directory
            .builder()
            .retention(retention())
            .fsync(fsync(mode));
        let engine = builder.open().await.expect("a log");
        assert_eq!(engine.set_aside(), None, "nothing is broken");
        let mut reading = reading(&engine).await;
        let window = reading.window().await.expect("a window");
        assert_eq!(*epoch.get_or_insert(window.epoch), window.epoch, "one log");
        let records = all(&mut reading).await;

        let mut numbers = HashMap::new();
        for (record, offset) in records.iter().zip(window.oldest..) {
            let Content::Event(_, event) = &record.content else {
                panic!("{record:?}");
            };
            let number: u64 = event
                .data()
                .split(' ')
                .next()
                .expect("one")
                .parse()
                .expect("one");
            assert_eq!(event.data(), numbered(number).event.data());
            assert_eq!(record.position.offset(), offset, "no hole");
            assert_eq!(
                numbers.insert(number, record.position),
                None,
                "once: {number}"
            );
            let before = known.insert(offset, (record.position, number));
            assert!(before.is_none_or(|before| before == (record.position, number)));
        }
        // In the order of submitting, which is that of their numbers.
        let order: Vec<_> = known.values().map(|(_, number)| *number).collect();
        assert!(order.is_sorted_by(|a, b| a < b), "kill {kill}");
        // Nothing that could be read before is gone, but for the retention.
        let last = known.keys().next_back().expect("one");
        assert_eq!(window.next, last + 1);
        for (number, position) in &stored {
            let is_retained = position.offset() >= window.oldest;
            let found = numbers.get(number);
            assert_eq!(
                found,
                is_retained.then_some(position),
                "kill {kill}: {number}"
            );
        }
        // Who submits the last one again, because nobody told it, has stored it once.
        let again = next_number.max(order.last().copied().unwrap_or(0));
        if numbers.contains_key(&again) {
            assert_eq!(
                append(&engine, &[numbered(again)]).await[0],
                numbers[&again]
            );
        }
        next_number = order.last().expect("one") + 1;
        let keep = known.split_off(&window.oldest);
        known = keep;
    }
}

#[tokio::test]
async fn always() {
    nothing_acknowledged_is_lost("always", Directory::on_disk()).await;
}

#[tokio::test]
async fn every_interval() {
    nothing_acknowledged_is_lost("every", Directory::on_disk()).await;
}

/// Another process has it.
#[tokio::test]
async fn one_process_at_a_time() {
    let directory = Directory::new();
    let path = directory.path().to_owned();
    let mut writer = Command::new(std::env::current_exe().expect("this program"))
        .args(["kill::write", "--exact", "--ignored", "--nocapture"])
        .env(WRITE, format!("always 0 {}", path.display()))
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program again");
    let mut lines = BufReader::new(writer.stdout.take().expect("piped")).lines();
    let first = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("stored ")));
    first.expect("it has begun").expect("UTF-8");
    let drain = std::thread::spawn(move || lines.count());
    let refused = directory.builder().open().await.expect_err("in use");
    assert!(matches!(refused, tornadose::backplane::DurableError::InUse));
    // A process that ends while somebody waits for it hands the log over.
    let opening = tokio::spawn(directory.builder().open());
    tokio::time::sleep(Duration::from_millis(100)).await;
    writer.kill().expect("to kill");
    writer.wait().expect("a child");
    opening.await.expect("no panic").expect("a log");
    drain.join().expect("its words");
}
