//! The power fails at any moment: of what was written since the disk last said that
//! everything is durable, any sectors may be there and any may not.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Directory, Faulty, Step, all, event};
use crate::backplane::Backplane;
use crate::backplane::durable::Fsync;
use crate::{Position, Retention};

const SECTOR: usize = 512;

/// What is on the disk if the power fails after so many steps.
fn remains(image: &[u8], steps: &[Step], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut disk = image.to_vec();
    let synced = steps.iter().rposition(|step| matches!(step, Step::Sync));
    let synced = synced.map_or(0, |at| at + 1);
    // None of them, all of them, or any.
    let luck = [0.0, 1.0, 0.5, 0.1, 0.9][random.usize(..5)];
    for (at, step) in steps.iter().enumerate() {
        let is_kept = |random: &mut fastrand::Rng| at < synced || random.f64() < luck;
        match step {
            Step::Sync => {}
            Step::Len(len) => {
                if is_kept(random) {
                    disk.resize(*len as usize, 0);
                }
            }
            Step::Write(offset, data) => {
                for (n, sector) in data.chunks(SECTOR).enumerate() {
                    if is_kept(random) {
                        let begin = *offset as usize + n * SECTOR;
                        let end = begin + sector.len();
                        if disk.len() < end {
                            disk.resize(end, 0);
                        }
                        disk[begin..end].copy_from_slice(sector);
                    }
                }
            }
        }
    }
    disk
}

#[tokio::test]
async fn what_is_acknowledged_is_on_the_disk() {
    let directory = Directory::new();
    let disk = Arc::new(Faulty::default());
    let retention = Retention::new().events(100);
    let builder = directory.builder().retention(retention);
    let engine = builder.on(&disk).open().await.expect("a log");
    let mut random = fastrand::Rng::new();

    // When each event was acknowledged, counted in steps of the disk.
    let mut stored = BTreeMap::<u64, (Position, String, usize)>::new();
    for batch in 0..60 {
        let count = random.usize(1..12);
        let events: Vec<_> = (0..count)
            .map(|n| event(format!("{batch} {n} {}", "x".repeat(random.usize(..700)))))
            .collect();
        let answers = engine.append(&events).await;
        let steps = disk.steps.lock().expect("a disk").len();
        for (answer, append) in answers.into_iter().zip(events) {
            let position = answer.expect("stored");
            stored.insert(
                position.offset(),
                (position, append.event.into_data(), steps),
            );
        }
    }
    let image = disk.image.lock().expect("a disk").clone();
    let steps = disk.steps.lock().expect("a disk").clone();
    let syncs = steps
        .iter()
        .filter(|step| matches!(step, Step::Sync))
        .count();
    assert!(syncs >= 60, "{syncs} for 60 batches, one after the other");
    drop(engine);

    for _ in 0..150 {
        let failed = Directory::new();
        let at = random.usize(..=steps.len());
        let remains = remains(&image, &steps[..at], &mut random);
        std::fs::write(failed.file(), remains).expect("a file");
        let engine = failed.builder().open().await.expect("a log");
        assert_eq!(engine.set_aside(), None);
        let found = all(&engine).await;
        let acknowledged = stored.values().rev().find(|(.., steps)| *steps <= at);
        let last = acknowledged.map_or(0, |(position, ..)| position.offset());
        let end = found.last().map_or(0, |(position, _)| position.offset());
        assert!(end >= last, "at {at} of {}: {end} of {last}", steps.len());
        let begin = end.saturating_sub(99).max(1);
        assert_eq!(
            found.len() as u64,
            if end == 0 { 0 } else { end - begin + 1 }
        );
        for ((position, data), offset) in found.iter().zip(begin..) {
            let (expected, text, _) = &stored[&offset];
            assert_eq!((position, data), (expected, text));
        }
    }
}

/// With a journal what is lost is the end, and nothing but that.
#[tokio::test]
async fn what_was_acknowledged_before_it_was_durable_is_lost_from_the_end() {
    let directory = Directory::new();
    let hour = Fsync::Every(std::time::Duration::from_secs(3600));
    let engine = directory.builder().fsync(hour).open().await.expect("a log");
    let mut stored = Vec::new();
    for n in 0..40 {
        let answers = engine.append(&[event(n.to_string())]).await;
        stored.push((answers[0].clone().expect("stored"), n.to_string()));
    }
    // Nothing has been made durable: the file is as it was made.
    let file = std::fs::read(directory.file()).expect("a file");
    let journal = std::fs::read(directory.0.join("journal")).expect("a journal");
    let mut random = fastrand::Rng::new();
    let mut before = 0;
    for len in 0..=journal.len() {
        let mut torn = journal[..len].to_vec();
        // What is behind the end may be anything that was there.
        if len % 3 == 0 {
            torn.resize(journal.len(), 0);
        } else if len % 3 == 1 {
            torn.extend((len..journal.len()).map(|_| random.u8(..)));
        }
        if len % 11 != 0 && len != journal.len() {
            continue;
        }
        let failed = Directory::new();
        std::fs::write(failed.file(), &file).expect("a file");
        std::fs::write(failed.0.join("journal"), torn).expect("a journal");
        let engine = failed.builder().open().await.expect("a log");
        let found = all(&engine).await;
        assert!(found.len() >= before && found.len() <= 40);
        assert_eq!(found[..], stored[..found.len()]);
        before = found.len();
        let next = engine
            .append(&[event("next")])
            .await
            .remove(0)
            .expect("stored");
        assert_eq!(next.offset(), before as u64 + 1);
        assert!(stored.iter().all(|(position, _)| *position != next));
        drop(engine);
        // And it is not read a second time.
        let engine = failed.builder().open().await.expect("a log");
        assert_eq!(all(&engine).await.len(), before + 1);
    }
    assert_eq!(before, 40);
}
