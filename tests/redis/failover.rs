//! Replicas that become primaries, with everything or without the end.

use std::time::Duration;

use tornadose::backplane::{AppendError, Backplane, Redis};

use crate::follower::{Follower, Verdict, reopen};
use crate::server::{Server, free_port, until};
use crate::words::*;

fn replicate(replica: &Server, primary: &Server) {
    replica.ask(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()]);
}

async fn in_sync(replica: &Server, primary: &Server) {
    let offset = |server: &Server, name: &str| {
        let info = server.ask(&["INFO", "replication"]).flat();
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix(name).map(str::to_owned));
        line.and_then(|value| value.trim().parse::<u64>().ok())
    };
    until("in sync", || {
        replica
            .ask(&["INFO", "replication"])
            .flat()
            .contains("master_link_status:up")
            && offset(replica, "slave_repl_offset:") == offset(primary, "master_repl_offset:")
    })
    .await;
}

/// One that does not find its primary any more, and has what it has.
fn cut_off(replica: &Server) {
    replica.ask(&["REPLICAOF", "127.0.0.1", &free_port().to_string()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_behind_becomes_the_primary() {
    let (mut primary, mut replica) = (
        Server::with(&["--repl-diskless-sync-delay", "0"]),
        Server::with(&["--repl-diskless-sync-delay", "0"]),
    );
    let redis = primary.redis().or_at(&replica.url()).expect("a URL");
    for round in 0..20 {
        replicate(&replica, &primary);
        let texts: Vec<_> = (0..5).map(|n| format!("both {round} {n}")).collect();
        for text in &texts {
            append_at_last(&redis, text).await;
        }
        in_sync(&replica, &primary).await;
        let mut reading = reopen(&redis).await;
        let mut follower = Follower::new(&mut reading).await;
        // Every other time nothing is lost.
        let is_behind = round % 2 == 0;
        if is_behind {
            cut_off(&replica);
        }
        for n in 0..=round % 3 {
            append_at_last(&redis, &format!("end {round} {n}")).await;
        }
        follower.follow(&mut reading).await;
        if !is_behind {
            in_sync(&replica, &primary).await;
        }
        primary.kill();
        replica.ask(&["REPLICAOF", "NO", "ONE"]);
        for n in 0..round % 6 {
            append_at_last(&redis, &format!("new {round} {n}")).await;
        }
        let mut reading = reopen(&redis).await;
        let expected = if is_behind {
            Verdict::Broken
        } else {
            Verdict::Unbroken
        };
        let verdict = follower.judge(&mut reading).await;
        assert_eq!(
            (verdict, follower.truth(&replica)),
            (expected, expected),
            "{round}"
        );
        primary.again();
        std::mem::swap(&mut primary, &mut replica);
    }
}

/// The server of a connection that goes on turns into a replica of another one, and takes over
/// what that has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_becomes_a_replica_under_its_readers() {
    let args = ["--repl-diskless-sync-delay", "0"];
    let (one, two) = (Server::with(&args), Server::with(&args));
    replicate(&two, &one);
    let redis = one.redis().or_at(&two.url()).expect("a URL");
    append(&redis, &["a", "b"]).await;
    in_sync(&two, &one).await;
    two.ask(&["REPLICAOF", "NO", "ONE"]);
    append(&redis, &["only one"]).await;
    let mut reading = open(&redis).await;
    let follower = Follower::new(&mut reading).await;
    replicate(&one, &two);
    // Both ways in must find the new primary, and say nothing but that they do not know.
    let stored = append_at_last(&redis, "c").await;
    assert_eq!(stored.offset(), 3);
    assert_eq!(data(&all(&mut reopen(&redis).await).await), ["a", "b", "c"]);
    assert_eq!(
        follower.judge(&mut reopen(&redis).await).await,
        Verdict::Broken
    );
    in_sync(&one, &two).await;
    // Who has not noticed reads the same there by now.
    if reading.window().await.is_ok() {
        assert_eq!(follower.judge(&mut reading).await, Verdict::Broken);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_waited_for() {
    let (primary, replica) = (
        Server::with(&["--repl-diskless-sync-delay", "0"]),
        Server::start(),
    );
    let careful = || primary.redis().replicas(1);
    let redis = careful().timeout(Duration::from_millis(500));
    // The event is there, and it is not known for how long.
    assert_eq!(
        redis.append(&[once("a", "1")]).await,
        [Err(AppendError::Unknown)]
    );
    replicate(&replica, &primary);
    in_sync(&replica, &primary).await;
    // A primary counts a replica some time after that has caught up.
    let patient = careful().timeout(Duration::from_secs(30));
    let again = patient.append(&[once("a", "1"), event("b")]).await;
    let offsets: Vec<_> = again
        .into_iter()
        .map(|answer| answer.expect("stored").offset())
        .collect();
    assert_eq!(offsets, [1, 2]);
    assert_eq!(replica.stream(KEY), primary.stream(KEY));
    cut_off(&replica);
    assert_eq!(
        redis.append(&[once("a", "1"), event("c")]).await,
        [Err(AppendError::Unknown), Err(AppendError::Unknown)]
    );
    assert_eq!(primary.stream(KEY).len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_not_taken_for_the_primary() {
    let (primary, replica) = (
        Server::with(&["--repl-diskless-sync-delay", "0"]),
        Server::start(),
    );
    replicate(&replica, &primary);
    let redis = replica.redis();
    assert_eq!(
        redis.append(&[event("a")]).await,
        [Err(AppendError::Unavailable)]
    );
    let error = redis
        .open(&latest())
        .await
        .map(|_| ())
        .expect_err("a replica");
    assert_eq!(error.to_string(), "redis: it is a replica (READONLY)");
    let both = replica.redis().or_at(&primary.url()).expect("a URL");
    assert_eq!(append(&both, &["a"]).await[0].offset(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_say_who_the_primary_is() {
    let args = ["--repl-diskless-sync-delay", "0"];
    let (mut primary, replica) = (Server::with(&args), Server::with(&args));
    replicate(&replica, &primary);
    in_sync(&replica, &primary).await;
    let config = primary.dir().join("sentinel.conf");
    let text = format!(
        "sentinel monitor mine 127.0.0.1 {} 1\nsentinel down-after-milliseconds mine 300\n\
         sentinel failover-timeout mine 2000\n",
        primary.port
    );
    std::fs::write(&config, text).expect("a file");
    let sentinel = Server::sentinel(&config);
    let nobody = format!("redis://127.0.0.1:{}", free_port());
    // The address of the first URL is not one.
    let redis = Redis::new("redis://nowhere.invalid")
        .and_then(|redis| redis.sentinels("mine", [nobody.as_str(), &sentinel.url()]))
        .expect("URLs");
    append(&redis, &["a", "b"]).await;
    until("the sentinel knows the replica", || {
        sentinel.ask(&["SENTINEL", "REPLICAS", "mine"]).list().len() == 1
    })
    .await;
    in_sync(&replica, &primary).await;
    let mut reading = open(&redis).await;
    let follower = Follower::new(&mut reading).await;
    primary.kill();
    // It takes the sentinel some seconds.
    let stored = append_at_last(&redis, "c").await;
    assert_eq!(stored.offset(), 3);
    let mut reading = reopen(&redis).await;
    assert_eq!(follower.judge(&mut reading).await, Verdict::Unbroken);
    assert_eq!(data(&all(&mut reading).await), ["a", "b", "c"]);
    let unknown = Redis::new("redis://nowhere.invalid")
        .and_then(|redis| redis.sentinels("other", [sentinel.url().as_str()]))
        .expect("URLs");
    let error = unknown
        .open(&latest())
        .await
        .map(|_| ())
        .expect_err("unknown");
    assert_eq!(error.to_string(), "redis: its sentinel does not know it");
}
