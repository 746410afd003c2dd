//! Everything at once, at random, from a seed that is told.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tornadose::{EventSource, Permit, QueueStore, Retention};

use crate::servers::{events_by_axum, tight};
use crate::transcript::{Listening, Transcript};
use crate::vocabulary::{SECOND, eventually, submit};

const KEYS: usize = 5;

/// What a client does until it is told that it is over.
#[derive(Clone, Copy, Debug)]
enum Habit {
    Reads,
    ReadsSlowly,
    Leaves { resets: bool, after: u64 },
}

async fn live(
    mut client: Listening,
    habit: Habit,
    mut over: watch::Receiver<bool>,
) -> Option<Transcript> {
    match habit {
        Habit::Reads => {}
        Habit::ReadsSlowly => {
            while !*over.borrow_and_update() {
                let pause = Duration::from_millis(3);
                if tokio::time::timeout(pause, over.changed()).await.is_err()
                    && let Ok(read) = tokio::time::timeout(pause, client.read(2048)).await
                    && read.expect("no reset") == 0
                {
                    break;
                }
            }
        }
        Habit::Leaves { resets, after } => {
            sleep(Duration::from_millis(after)).await;
            match resets {
                true => client.reset(),
                false => client.leave(),
            }
            return None;
        }
    }
    Some(client.read_to_end().await.without_farewell())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_stays_gets_everything_or_is_told() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = Rng::with_seed(seed);
    let store = QueueStore::builder()
        .retention(Retention::new().events(300))
        .build();
    let events = EventSource::new(store.clone())
        .keep_alive(Duration::from_millis(20))
        .permit(|head| {
            let key = head.header("x-key").unwrap_or("none").to_owned();
            Ok(Permit::new().key(key))
        });
    let server = events_by_axum(tight(), &events);
    let (tell, over) = watch::channel(false);
    let mut clients = JoinSet::new();
    let mut keys = BTreeMap::<usize, u64>::new();
    for n in 0..1500u64 {
        match rng.u32(..100) {
            0..25 => {
                let key = rng.usize(..KEYS);
                let line = format!("x-key: {key}\r\n");
                let habit = match rng.u32(..10) {
                    0..4 => Habit::Reads,
                    4..6 => Habit::ReadsSlowly,
                    _ => Habit::Leaves {
                        resets: rng.bool(),
                        after: rng.u64(..30),
                    },
                };
                let born = keys.get(&key).copied();
                let client = Listening::open_with(&server, line.as_bytes()).await;
                let living = live(client, habit, over.clone());
                clients.spawn(async move { (key, born, habit, living.await) });
            }
            25..28 => {
                let key = rng.usize(..KEYS);
                events.revoke(&key.to_string());
                // Nobody who was there by then may see what comes from here on.
                keys.insert(
                    key,
                    submit(&store, format!("{n} behind a revocation")).offset(),
                );
            }
            28..32 => {
                for m in 0..rng.u32(1..400) {
                    submit(&store, format!("{n} {m} {}", "x".repeat(rng.usize(..500))));
                }
            }
            32..40 => sleep(Duration::from_micros(rng.u64(..3000))).await,
            _ => {
                submit(&store, n.to_string());
            }
        }
    }
    let last = submit(&store, "last").offset();
    let revoked = keys;
    store.close();
    tell.send(true).expect("somebody listens");
    let (mut stayed, mut missed, mut sent_away) = (0, 0, 0);
    for (key, born, habit, told) in clients.join_all().await {
        let Some(told) = told else { continue };
        let judged = told.judge();
        let (from, to) = (judged.from.expect("a place"), judged.to.expect("a place"));
        assert_eq!(judged.received + judged.missed, to - from, "{habit:?}");
        missed += judged.missed;
        if revoked.get(&key).copied() == born {
            assert_eq!(to, last, "{habit:?}");
            stayed += 1;
        } else {
            sent_away += 1;
        }
    }
    println!("{stayed} stayed, {sent_away} were sent away, {missed} of {last} missed in all");
    assert!(stayed > 0 && sent_away > 0);
    eventually(5 * SECOND, "all are gone", || {
        (
            events.streams(),
            events.detached_streams(),
            store.subscribers(),
        ) == (0, 0, 0)
    })
    .await;
}
