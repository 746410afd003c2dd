//! Servers that die, hang, forget and go back in time.

use std::time::Duration;

use tornadose::backplane::{AppendError, Backplane, Window};

use crate::server::Server;
use crate::*;

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let mut server = Server::start();
    let engine = engine(&server);
    server.kill();
    let error = engine.open(&latest()).await.err().expect("nobody is there");
    assert_eq!(error.to_string(), "nats: cannot connect");
    assert!(is_unavailable(
        &engine.append(&vec![append("news", "x"); 3]).await
    ));
    server.restart();
    assert_eq!(store(&engine, "news", "y").await.offset(), 1);
    let mut reading = open(&engine).await;
    assert_eq!(told(&come(&mut *reading, 1, 1).await[0]).2, "y");
}

#[tokio::test]
async fn what_was_unavailable_is_not_stored_later() {
    let mut server = Server::start();
    let engine = engine(&server);
    for round in 1..=10 {
        assert_eq!(store_again(&engine, "news", "stored").await.offset(), round);
        server.kill();
        let answers = engine
            .append(&[append("news", "not"), append("news", "neither")])
            .await;
        for answer in answers {
            // The first that is told of the death may have been on its way.
            assert!(matches!(
                answer,
                Err(AppendError::Unavailable | AppendError::Unknown)
            ));
        }
        for _ in 0..3 {
            assert!(is_unavailable(
                &engine.append(&[append("news", "never")]).await
            ));
        }
        server.restart();
    }
    let mut reading = open(&engine).await;
    let records = all(&mut *reading, 1).await;
    assert!(records.iter().all(|record| told(record).2 == "stored"));
    assert_eq!(records.len(), 10);
}

#[tokio::test]
async fn a_kill_loses_nothing_that_was_answered() {
    let mut server = Server::start();
    let engine = engine(&server);
    let mut stored = Vec::new();
    for round in 0..5 {
        // Some of a batch may be on their way when it dies.
        let events: Vec<_> = (0..200)
            .map(|n| append("news", format!("{round}.{n}")))
            .collect();
        let killing = async {
            tokio::time::sleep(Duration::from_millis(1 + 2 * round)).await;
            server.kill();
        };
        let (answers, ()) = tokio::join!(engine.append(&events), killing);
        for (event, answer) in events.iter().zip(answers) {
            if let Ok(position) = answer {
                stored.push((position, event.event.data().to_owned()));
            }
        }
        server.restart();
        let position = store_again(&engine, "now/1", "alive").await;
        stored.push((position, "alive".to_owned()));
    }
    let mut reading = open(&engine).await;
    let records = all(&mut *reading, 1).await;
    for (position, data) in &stored {
        let at = usize::try_from(position.offset()).expect("small") - 1;
        assert_eq!(
            (records[at].position, &told(&records[at]).2),
            (*position, data)
        );
    }
    let mut seen = std::collections::HashSet::new();
    let mut others = records
        .iter()
        .map(|record| told(record).2)
        .filter(|data| data != "alive");
    assert!(
        others.all(|data| seen.insert(data)),
        "nothing is stored twice"
    );
    // The epoch and the copy have outlived it.
    assert_eq!(
        offsets(&reading.latest().await.expect("a server")),
        [stored[stored.len() - 1].0.offset()]
    );
}

#[tokio::test]
async fn a_reader_of_a_dead_server_is_told() {
    let mut server = Server::start();
    let engine = engine(&server);
    store(&engine, "news", "1").await;
    let mut reading = open(&engine).await;
    let before = window(&mut *reading).await;
    assert_eq!(offsets(&come(&mut *reading, 1, 1).await), [1]);
    let dying = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.kill();
    };
    let (waited, ()) = tokio::join!(reading.wait(2, 10, PATIENCE), dying);
    assert_eq!(
        waited.expect_err("dead").to_string(),
        "nats: the connection was lost"
    );
    assert!(reading.window().await.is_err());
    assert!(reading.read(1, 10).await.is_err());
    server.restart();
    let mut reading = reopen(&engine).await;
    assert_eq!(window(&mut *reading).await, before, "the same log");
    store_again(&engine, "news", "2").await;
    assert_eq!(offsets(&come(&mut *reading, 2, 1).await), [2]);
}

#[tokio::test]
async fn a_server_without_its_store_has_another_log() {
    let mut server = Server::start();
    let engine = engine(&server);
    let old = store(&engine, "now/1", "old").await;
    let mut reading = open(&engine).await;
    let before = window(&mut *reading).await;
    assert_eq!(reading.latest().await.expect("a server").len(), 1);
    server.wipe();
    server.restart();
    let mut reading = reopen(&engine).await;
    let after = window(&mut *reading).await;
    assert_ne!(after.epoch, before.epoch);
    assert_eq!((after.oldest, after.next), (1, 1));
    assert!(reading.latest().await.expect("a server").is_empty());
    let new = store_again(&engine, "now/1", "new").await;
    assert_eq!(new.partial_cmp(&old), None);
    assert_eq!(come(&mut *reading, 1, 1).await[0].position, new);
}

#[tokio::test]
async fn a_log_that_is_deleted_and_made_anew_is_another_one() {
    let server = Server::start();
    let engine = engine(&server);
    let mut reading = open(&engine).await;
    for _ in 0..3 {
        store(&engine, "now/1", "old").await;
    }
    let before = window(&mut *reading).await;
    assert_eq!(come(&mut *reading, 1, 3).await.len(), 3);

    // While somebody waits for more, and somebody stores more.
    let mut peer = server.peer();
    assert_eq!(peer.call("STREAM.DELETE.tornadose", "")["success"], true);
    let answers = engine.append(&vec![append("now/1", "gone"); 2]).await;
    assert!(is_unavailable(&answers), "{answers:?}");
    let new = store_again(&engine, "now/2", "new").await;
    assert_eq!(new.offset(), 1);
    assert!(
        reading
            .wait(4, 10, Duration::from_millis(500))
            .await
            .is_err()
    );
    let mut reading = open(&engine).await;
    let after = window(&mut *reading).await;
    assert_ne!(after.epoch, before.epoch);
    assert_eq!(come(&mut *reading, 1, 1).await[0].position, new);
    let newest = reading.latest().await.expect("a server");
    assert_eq!(
        newest
            .iter()
            .map(|record| told(record).1)
            .collect::<Vec<_>>(),
        ["now/2"]
    );
    // Only the copy of the log that there is, is left.
    let names = peer.call("STREAM.NAMES", "");
    assert_eq!(
        names["streams"].as_array().map(Vec::len),
        Some(2),
        "{names}"
    );

    // By somebody else, behind our back, with numbers that fit.
    let config = peer.call("STREAM.INFO.tornadose", "")["config"].to_string();
    peer.call("STREAM.DELETE.tornadose", "");
    peer.call("STREAM.CREATE.tornadose", &config);
    let answers = engine.append(&[append("news", "x")]).await;
    assert_eq!(
        answers,
        [Err(AppendError::Unknown)],
        "the log is another one than it thought"
    );
    let epoch = window(&mut *reading).await.epoch;
    assert!(epoch != after.epoch && epoch != before.epoch);
    assert_eq!(offsets(&come(&mut *reading, 1, 1).await), [1]);
    assert_eq!(store(&engine, "news", "y").await.offset(), 2);
}

#[tokio::test]
async fn an_old_copy_of_the_store_is_told_by_its_tags() {
    let mut server = Server::start();
    let engine = engine(&server).max_events(5);
    store(&engine, "now/1", "1").await;
    store(&engine, "now/2", "2").await;
    server.save();
    server.restart();
    let lost: Vec<_> = [
        store_again(&engine, "now/1", "lost").await,
        store_again(&engine, "now/3", "lost").await,
        store_again(&engine, "news", "lost").await,
    ]
    .into();
    let before = window(&mut *reopen(&engine).await).await;
    // Only the log goes back; the copy of the newest is that of before.
    server.kill();
    let streams =
        std::fs::read_dir(server.folder().join("store/jetstream/$G/streams")).expect("a store");
    let copy = streams
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.to_string_lossy().contains("-latest-"))
        .expect("a copy");
    let aside = server.folder().join("aside");
    std::fs::rename(&copy, &aside).expect("moved");
    server.restore();
    std::fs::remove_dir_all(&copy).expect("its older self");
    std::fs::rename(&aside, &copy).expect("moved");
    server.restart();

    let mut reading = reopen(&engine).await;
    let after = window(&mut *reading).await;
    assert_eq!((after.epoch, after.next), (before.epoch, 3));
    let newest = reading.latest().await.expect("a server");
    let mut newest: Vec<_> = newest.iter().map(told).collect();
    newest.sort();
    assert_eq!(
        newest,
        [
            (1, "now/1".to_owned(), "1".to_owned()),
            (2, "now/2".to_owned(), "2".to_owned())
        ]
    );
    let again = store_again(&engine, "now/1", "again").await;
    assert_eq!((again.offset(), again.partial_cmp(&lost[0])), (3, None));
    assert_eq!(come(&mut *reading, 3, 1).await[0].position, again);
    // The copy goes on with what is new, also when the log has let go of it.
    for _ in 0..10 {
        store(&engine, "news", "x").await;
    }
    let newest = reading.latest().await.expect("a server");
    let mut newest: Vec<_> = newest.iter().map(told).collect();
    newest.sort();
    assert_eq!(
        newest,
        [
            (2, "now/2".to_owned(), "2".to_owned()),
            (3, "now/1".to_owned(), "again".to_owned())
        ]
    );
}

#[tokio::test]
async fn a_server_that_hangs_is_not_waited_for() {
    let server = Server::start();
    let engine = engine(&server).timeout(Duration::from_millis(500));
    store(&engine, "news", "1").await;
    let mut reading = open(&engine).await;
    assert_eq!(offsets(&come(&mut *reading, 1, 1).await), [1]);
    server.signal("-STOP");
    let begun = Instant::now();
    let answers = engine
        .append(&[append("news", "2"), append("news", "3")])
        .await;
    assert_eq!(answers, vec![Err(AppendError::Unknown); 2]);
    assert!(is_unavailable(&engine.append(&[append("news", "4")]).await));
    assert!(is_unavailable(&engine.append(&[append("news", "5")]).await));
    let error = reading.window().await.expect_err("it hangs");
    assert_eq!(error.to_string(), "nats: no answer in time");
    assert!(engine.open(&latest()).await.is_err());
    assert!(begun.elapsed() < PATIENCE, "some seconds");
    server.signal("-CONT");
    let mut reading = reopen(&engine).await;
    store_again(&engine, "news", "6").await;
    // What was sent has arrived, in its place; what was not, has not.
    let records = come(&mut *reading, 1, 4).await;
    let data: Vec<_> = records.iter().map(|record| told(record).2).collect();
    assert_eq!(data, ["1", "2", "3", "6"]);
}

#[tokio::test]
async fn a_hang_that_passes_keeps_the_order() {
    let server = Server::start();
    let engine = engine(&server).timeout(Duration::from_millis(500));
    store(&engine, "news", "0").await;
    for round in 0..5 {
        server.signal("-STOP");
        let hung = engine
            .append(&[append("news", format!("hung {round}"))])
            .await;
        assert_eq!(hung, [Err(AppendError::Unknown)]);
        server.signal("-CONT");
        store_again(&engine, "news", &format!("after {round}")).await;
    }
    let records = all(&mut *open(&engine).await, 2).await;
    let data: Vec<_> = records.iter().map(|record| told(record).2).collect();
    let expected: Vec<_> = (0..5)
        .flat_map(|round| [format!("hung {round}"), format!("after {round}")])
        .collect();
    assert_eq!(data, expected);
}

#[tokio::test]
async fn a_consumer_that_somebody_deletes_is_replaced() {
    let server = Server::start();
    let engine = engine(&server);
    let mut reading = open(&engine).await;
    store(&engine, "news", "1").await;
    assert_eq!(offsets(&come(&mut *reading, 1, 1).await), [1]);
    let mut peer = server.peer();
    let names = peer.call("CONSUMER.NAMES.tornadose", "");
    let consumers = names["consumers"].as_array().expect("names");
    assert!(!consumers.is_empty());
    for consumer in consumers {
        let name = consumer.as_str().expect("a name");
        peer.call(&format!("CONSUMER.DELETE.tornadose.{name}"), "");
    }
    store(&engine, "news", "2").await;
    let mut patience = 10;
    let records = loop {
        patience -= 1;
        assert!(patience > 0);
        match reading.wait(2, 10, Duration::from_millis(200)).await {
            Ok(records) if records.is_empty() => {}
            Ok(records) => break records,
            Err(_) => reading = open(&engine).await,
        }
    };
    assert_eq!(offsets(&records), [2]);
}

#[tokio::test]
async fn an_append_that_is_dropped_does_no_harm() {
    let server = Server::start();
    let engine = engine(&server);
    for round in 0..50 {
        let events: Vec<_> = (0..50)
            .map(|n| append("news", format!("{round}.{n}")))
            .collect();
        let patience = Duration::from_micros(100 * (round % 20));
        let _ = timeout(patience, engine.append(&events)).await;
    }
    let last = store(&engine, "news", "last").await;
    let mut reading = open(&engine).await;
    let records = all(&mut *reading, 1).await;
    let Window { next, .. } = window(&mut *reading).await;
    assert_eq!(next, last.offset() + 1);
    assert_eq!(records.len() as u64, last.offset());
    let mut places: Vec<(u64, u64)> = Vec::new();
    for record in &records[..records.len() - 1] {
        let data = told(record).2;
        let (round, n) = data.split_once('.').expect("two numbers");
        places.push((
            round.parse().expect("a number"),
            n.parse().expect("a number"),
        ));
    }
    for round in 0..50 {
        let of: Vec<_> = places
            .iter()
            .filter(|place| place.0 == round)
            .map(|place| place.1)
            .collect();
        assert_eq!(
            of,
            (0..of.len() as u64).collect::<Vec<_>>(),
            "a beginning, in order"
        );
    }
}

#[tokio::test]
async fn a_wait_that_is_dropped_loses_nothing() {
    let server = Server::start();
    let engine = engine(&server);
    let mut reading = open(&engine).await;
    let mut read = Vec::new();
    for round in 0..200 {
        if round % 2 == 0 {
            store(&engine, "news", format!("{round}")).await;
        }
        let from = read.len() as u64 + 1;
        let patience = Duration::from_micros(50 * (round % 30));
        if let Ok(records) = timeout(patience, reading.wait(from, 10, PATIENCE)).await {
            read.extend(offsets(&records.expect("a server")));
        }
    }
    let rest = 100 - read.len();
    read.extend(offsets(
        &come(&mut *reading, read.len() as u64 + 1, rest).await,
    ));
    assert_eq!(read, (1..=100).collect::<Vec<_>>());
}
