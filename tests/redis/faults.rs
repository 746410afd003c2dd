//! What a server loses, and that it shows. After each fault two judge whether what has been
//! read is still what there is: one by what the engine says, as a hub does, and one by the
//! content of the stream, which another client has read. They must agree: nothing is lost
//! that does not show, and nothing shows that is not lost.

use crate::follower::{Follower, Verdict, reopen};
use crate::server::Server;
use crate::words::*;

const ROUNDS: usize = 20;

/// Appends, follows, does the fault, and compares.
async fn rounds(mut server: Server, fault: impl Fn(&mut Server, usize), expected: Verdict) {
    let redis = server.redis();
    let mut numbers = 0..;
    let mut write =
        async || append_at_last(&redis, &numbers.next().expect("endless").to_string()).await;
    write().await;
    for round in 0..ROUNDS {
        let mut reading = reopen(&redis).await;
        let mut follower = Follower::new(&mut reading).await;
        for _ in 0..=round % 4 {
            write().await;
        }
        follower.follow(&mut reading).await;
        fault(&mut server, round);
        // Every other time somebody has written before it is looked at.
        if round % 2 == 1 {
            for _ in 0..=round % 7 {
                write().await;
            }
        }
        // A connection that has lived through it tells it as well as a new one.
        let survived = match reading.window().await {
            Ok(_) => Some(follower.judge(&mut reading).await),
            Err(_) => None,
        };
        let verdict = follower.judge(&mut reopen(&redis).await).await;
        assert_eq!(
            (verdict, follower.truth(&server)),
            (expected, expected),
            "{round}"
        );
        assert!(
            survived.is_none_or(|survived| survived == expected),
            "{round} {survived:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_nothing_was_lost() {
    let fault = |server: &mut Server, _| {
        server.kill();
        server.again();
    };
    rounds(Server::durable(), fault, Verdict::Unbroken).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_everything_was_lost() {
    let fault = |server: &mut Server, _| {
        server.kill();
        server.again();
    };
    rounds(Server::start(), fault, Verdict::Broken).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flushed() {
    let fault = |server: &mut Server, round: usize| {
        server.ask(&[["FLUSHALL", "FLUSHDB"][round % 2]]);
    };
    rounds(Server::start(), fault, Verdict::Broken).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted() {
    let fault = |server: &mut Server, round: usize| match round % 4 {
        0 | 1 => drop(server.ask(&["DEL", KEY])),
        2 => drop(server.ask(&["RENAME", KEY, "elsewhere"])),
        _ => drop(server.ask(&["PEXPIRE", KEY, "0"])),
    };
    rounds(Server::start(), fault, Verdict::Broken).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_and_begun_by_another_program() {
    let fault = |server: &mut Server, round: usize| {
        server.ask(&["DEL", KEY]);
        for _ in 0..round + 3 {
            server.ask(&["XADD", KEY, "*", "topic", "a", "data", "theirs"]);
        }
    };
    let server = Server::start();
    // The judge of truth only knows streams of ours, and these become ours by being looked at.
    rounds(server, fault, Verdict::Broken).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trimmed_behind_a_reader() {
    let fault = |server: &mut Server, round: usize| {
        server.ask(&["XTRIM", KEY, "MAXLEN", &(round % 2).to_string()]);
    };
    rounds(Server::start(), fault, Verdict::Unbroken).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trimmed_before_a_reader() {
    let fault = |server: &mut Server, _| {
        for n in 0..5 {
            server.ask(&["XADD", KEY, "*", "topic", "a", "data", &n.to_string()]);
        }
        server.ask(&["XTRIM", KEY, "MAXLEN", "2"]);
    };
    let mut server = Server::start();
    let redis = server.redis();
    for _ in 0..ROUNDS {
        append(&redis, &["a"]).await;
        let mut reading = open(&redis).await;
        let follower = Follower::new(&mut reading).await;
        fault(&mut server, 0);
        let expected = Verdict::Missed(3);
        assert_eq!(follower.judge(&mut reading).await, expected);
        assert_eq!(follower.truth(&server), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disconnected() {
    let fault = |server: &mut Server, round: usize| {
        server.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        if round.is_multiple_of(5) {
            server.ask(&["DEBUG", "SLEEP", "0.05"]);
        }
    };
    rounds(Server::start(), fault, Verdict::Unbroken).await;
}

/// A machine that has lost its power has not written the end of the file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_file_was_lost() {
    let fault = |server: &mut Server, round: usize| {
        server.kill();
        server.cut(10 + round as u64);
        server.again();
    };
    let server = Server::with(&[
        "--appendonly",
        "yes",
        "--appendfsync",
        "no",
        "--aof-load-truncated",
        "yes",
    ]);
    rounds(server, fault, Verdict::Broken).await;
}

/// Restored from a copy: what came behind it is gone, and other events take the numbers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_copy_was_restored() {
    let mut server = Server::start();
    let redis = server.redis();
    for round in 0..ROUNDS {
        append_at_last(&redis, &format!("{round}")).await;
        server.ask(&["SAVE"]);
        let mut reading = reopen(&redis).await;
        let mut follower = Follower::new(&mut reading).await;
        for n in 0..=round % 3 {
            append_at_last(&redis, &format!("lost {round} {n}")).await;
        }
        follower.follow(&mut reading).await;
        server.kill();
        server.again();
        for n in 0..round % 5 {
            append_at_last(&redis, &format!("new {round} {n}")).await;
        }
        let verdict = follower.judge(&mut reopen(&redis).await).await;
        assert_eq!(
            (verdict, follower.truth(&server)),
            (Verdict::Broken, Verdict::Broken),
            "{round}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taken_out_of_the_middle() {
    let server = Server::start();
    let redis = server.redis();
    append(&redis, &["a", "b", "c", "d"]).await;
    let mut reading = open(&redis).await;
    let stream = server.stream(KEY);
    server.ask(&["XDEL", KEY, &stream[1].0]);
    assert_eq!(
        offsets(&reading.wait(1, MOST, MOMENT).await.expect("records")),
        [1, 3, 4]
    );
    // A number that is skipped is as a number that is missing.
    let (epoch, _) = crate::follower::parts(&stream[0].0);
    server.ask(&[
        "XADD",
        KEY,
        &format!("{epoch}-9"),
        "topic",
        "a",
        "data",
        "e",
    ]);
    assert_eq!(
        offsets(&reading.wait(5, MOST, MOMENT).await.expect("records")),
        [9]
    );
    assert_eq!(append(&redis, &["f"]).await[0].offset(), 10);
    // An id of a later epoch begins another log, in the same stream.
    server.ask(&[
        "XADD",
        KEY,
        "18446744073709551615-3",
        "topic",
        "a",
        "data",
        "g",
    ]);
    let window = reading.window().await.expect("a window");
    assert_eq!((window.epoch, window.oldest, window.next), (u64::MAX, 3, 4));
    assert_eq!(data(&all(&mut reading).await), ["g"]);
}

/// All of them, in any order, two who append and one who follows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_fault_after_any_other() {
    let mut server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let nodes = [server.redis(), server.redis()];
    let mut random = fastrand::Rng::with_seed(7);
    let mut number = 0;
    let mut found = [0; 3];
    append_at_last(&nodes[0], "first").await;
    for round in 0..150 {
        let mut reading = reopen(&nodes[round % 2]).await;
        let mut follower = Follower::new(&mut reading).await;
        for _ in 0..random.usize(1..20) {
            number += 1;
            append_at_last(&nodes[random.usize(..2)], &number.to_string()).await;
        }
        follower.follow(&mut reading).await;
        for _ in 0..random.usize(1..=2) {
            match random.usize(..8) {
                0 | 1 => {
                    server.kill();
                    server.again();
                }
                2 => {
                    server.kill();
                    server.forget();
                    server.again();
                }
                3 => drop(server.ask(&["FLUSHALL"])),
                4 => drop(server.ask(&["DEL", KEY])),
                5 => drop(server.ask(&["XTRIM", KEY, "MAXLEN", &random.usize(..5).to_string()])),
                6 => drop(server.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])),
                _ => drop(server.ask(&[
                    "XADD",
                    KEY,
                    "*",
                    "topic",
                    "a",
                    "data",
                    &format!("x{round}"),
                ])),
            }
        }
        for _ in 0..random.usize(..20) {
            number += 1;
            append_at_last(&nodes[random.usize(..2)], &number.to_string()).await;
        }
        let verdict = follower
            .judge(&mut reopen(&nodes[random.usize(..2)]).await)
            .await;
        assert_eq!(verdict, follower.truth(&server), "{round}");
        found[match verdict {
            Verdict::Unbroken => 0,
            Verdict::Missed(_) => 1,
            Verdict::Broken => 2,
        }] += 1;
    }
    assert!(found[0] > 20 && found[2] > 20, "{found:?}");
}
