//! Reading: windows, waiting, sizes, cancellation.

use std::time::{Duration, Instant};

use tornadose::backplane::{Backplane, Window};

use crate::server::Server;
use crate::words::*;

#[tokio::test]
async fn an_empty_log_has_an_epoch() {
    let server = Server::start();
    let (one, two) = (server.redis(), server.redis());
    let mut reading = open(&one).await;
    let window = reading.window().await.expect("a window");
    assert_eq!((window.oldest, window.next), (1, 1));
    assert!(window.epoch >= 10_u64.pow(19));
    assert_eq!(open(&two).await.window().await, Ok(window));
    assert!(reading.read(1, MOST).await.expect("records").is_empty());
    assert!(reading.latest().await.expect("values").is_empty());
    append(&two, &["a", "b"]).await;
    let now = Window::new(window.epoch, 1, 3);
    assert_eq!(reading.window().await, Ok(now));
    // Nothing is left, and the numbers go on.
    server.ask(&["XTRIM", KEY, "MAXLEN", "0"]);
    assert_eq!(reading.window().await, Ok(Window::new(now.epoch, 3, 3)));
    assert_eq!(append(&one, &["c"]).await[0].offset(), 3);
}

#[tokio::test]
async fn it_is_read_from_anywhere() {
    let server = Server::start();
    let redis = server.redis();
    append(&redis, &["a", "b", "c", "d"]).await;
    let mut reading = open(&redis).await;
    for (from, most, expected) in [
        (1, MOST, &["a", "b", "c", "d"][..]),
        (0, MOST, &["a", "b", "c", "d"]),
        (2, 2, &["b", "c"]),
        (4, 1, &["d"]),
        (5, MOST, &[]),
        (u64::MAX, MOST, &[]),
        (1, 0, &["a"]),
    ] {
        let read = reading.read(from, most).await.expect("records");
        assert_eq!(data(&read), expected, "{from} {most}");
        if from < u64::MAX {
            let waited = reading
                .wait(from, most, Duration::ZERO)
                .await
                .expect("records");
            assert_eq!(data(&waited), expected, "{from} {most}");
        }
    }
    // What has been taken out is not there, and what is behind it is.
    let (id, _) = &server.stream(KEY)[1];
    server.ask(&["XDEL", KEY, id]);
    assert_eq!(
        offsets(&reading.read(1, MOST).await.expect("records")),
        [1, 3, 4]
    );
    assert_eq!(offsets(&reading.read(2, 1).await.expect("records")), [3]);
}

#[tokio::test]
async fn who_waits_is_told_at_once_or_in_time() {
    let server = Server::start();
    let redis = server.redis();
    let mut reading = open(&redis).await;
    let begin = Instant::now();
    assert!(
        reading
            .wait(1, MOST, MOMENT)
            .await
            .expect("nothing")
            .is_empty()
    );
    assert!(begin.elapsed() >= MOMENT);
    let writer = server.redis();
    let begin = Instant::now();
    let patience = Duration::from_secs(20);
    let (records, _) = tokio::join!(reading.wait(1, MOST, patience), async {
        tokio::time::sleep(MOMENT).await;
        append(&writer, &["a"]).await
    });
    assert_eq!(data(&records.expect("records")), ["a"]);
    assert!(begin.elapsed() < patience / 2);
}

#[tokio::test]
async fn waiting_longer_than_the_time_out_is_no_failure() {
    let server = Server::start();
    let redis = server.redis().timeout(MOMENT);
    let mut reading = open(&redis).await;
    assert!(
        reading
            .wait(1, MOST, 4 * MOMENT)
            .await
            .expect("nothing")
            .is_empty()
    );
}

#[tokio::test]
async fn what_is_dropped_while_it_waits_does_no_harm() {
    let server = Server::start();
    let redis = server.redis();
    let mut reading = open(&redis).await;
    for n in 0..20 {
        let waiting = reading.wait(n + 1, MOST, Duration::from_millis(20));
        let _ = tokio::time::timeout(Duration::from_millis(n), waiting).await;
        append(&redis, &["x"]).await;
        let records = reading.read(n + 1, MOST).await.expect("records");
        assert_eq!(offsets(&records), [n + 1]);
    }
    // So with appending: what was under way is stored, or not, and the next is.
    let mut last = 20;
    for _ in 0..20 {
        let _ = tokio::time::timeout(Duration::from_micros(200), redis.append(&[event("y")])).await;
        let offset = append(&redis, &["z"]).await[0].offset();
        assert!((last + 1..=last + 2).contains(&offset), "{last} {offset}");
        last = offset;
    }
    // A connection that is dropped while it blocks is gone for the server, too.
    let waiting = reading.wait(last + 1, MOST, Duration::from_secs(60));
    let _ = tokio::time::timeout(MOMENT, waiting).await;
    drop(reading);
    crate::server::until("unblocked", || {
        server
            .ask(&["INFO", "clients"])
            .flat()
            .contains("blocked_clients:0")
    })
    .await;
}

#[tokio::test]
async fn answers_are_not_larger_than_some_mebibytes() {
    let server = Server::start();
    let redis = server.redis();
    let large = "x".repeat(256 * 1024);
    for _ in 0..25 {
        append(&redis, &[large.as_str(); 8]).await;
    }
    let mut reading = open(&redis).await;
    let (mut from, mut sizes) = (1, Vec::new());
    while from <= 200 {
        let records = reading.read(from, MOST).await.expect("records");
        assert!(
            offsets(&records)
                .into_iter()
                .eq(from..from + records.len() as u64)
        );
        from += records.len() as u64;
        sizes.push(records.len());
    }
    // The first answer shows how large they are; 16 of them are 4 MiB.
    assert!(
        sizes[0] <= 64 && sizes[1..].iter().all(|size| (1..=16).contains(size)),
        "{sizes:?}"
    );
    // Of small ones more are read at once again.
    let small: Vec<_> = (0..5000).map(|_| "y").collect();
    append(&redis, &small).await;
    let mut most = 0;
    while from <= 5200 {
        let records = reading.read(from, MOST).await.expect("records");
        from += records.len() as u64;
        most = most.max(records.len());
    }
    assert!(most > 1000, "{most}");
}

#[tokio::test]
async fn an_engine_that_is_away_is_an_error_in_time() {
    let mut server = Server::start();
    let redis = server.redis().timeout(Duration::from_millis(500));
    let mut reading = open(&redis).await;
    let mut client = server.client();
    let sleeper = std::thread::spawn(move || client.ask(&["DEBUG", "SLEEP", "5"]));
    tokio::time::sleep(MOMENT).await;
    let begin = Instant::now();
    let error = reading.window().await.expect_err("asleep");
    assert_eq!(error.to_string(), "redis: it has not answered");
    assert!(redis.open(&latest()).await.is_err());
    assert!(
        begin.elapsed() < Duration::from_secs(4),
        "{:?}",
        begin.elapsed()
    );
    sleeper.join().expect("it slept");
    let mut reading = open(&redis).await;
    server.kill();
    let error = reading.wait(1, MOST, MOMENT).await.expect_err("gone");
    assert_eq!(error.to_string(), "redis: the connection is lost");
    assert!(reading.window().await.is_err() && reading.latest().await.is_err());
    let error = redis.open(&latest()).await.map(|_| ()).expect_err("nobody");
    assert_eq!(error.to_string(), "redis: the connection is lost");
}
