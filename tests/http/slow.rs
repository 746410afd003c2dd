//! A client that stops reading costs neither memory nor anybody else's events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tornadose::{DataStore, EventSource, QueueStore, Retention};

use crate::vocabulary::{
    Client, Server, alone, data, eventually, field, is_gap, missed, most_resident, resident, submit,
};

const EVENTS: u64 = 10_000;
const EVENT: usize = 10 << 10;
const RETENTION: usize = 1 << 20;

/// What the process may grow by while 100 MB are published past a client that
/// does not read: the retention, what two connections hold, the allocator's own.
const MEMORY: usize = 32 << 20;

/// How far the publisher may be ahead of the healthy client; half the retention.
const AHEAD: u64 = 50;

/// How long anything but the publishing itself may take.
const PATIENCE: Duration = Duration::from_secs(20);

fn numbered(n: u64) -> String {
    let mut data = format!("{n} ");
    data.extend(std::iter::repeat_n('x', EVENT - data.len()));
    data
}

/// The number of an event, which must be whole.
#[track_caller]
fn number(block: &str) -> u64 {
    let data = data(block);
    assert_eq!(data.len(), EVENT);
    let (number, _) = data.split_once(' ').expect("a number");
    number.parse().expect("a number")
}

/// Reads events until the last and counts them where others can see it. They must
/// come in order and without a gap.
async fn healthy(mut client: Client, seen: Arc<AtomicU64>) {
    assert_eq!(client.blocks(2).await[0], ":");
    for n in 1..=EVENTS {
        let block = client.block().await.expect("an event");
        assert_eq!(number(&block), n);
        seen.store(n, Ordering::Release);
    }
}

#[test]
fn a_stalled_client_costs_no_memory_and_is_told_exactly_what_it_missed() {
    const NAME: &str = "slow::a_stalled_client_costs_no_memory_and_is_told_exactly_what_it_missed";
    alone(NAME, async {
        let store = QueueStore::builder()
            .retention(Retention::new().bytes(RETENTION))
            .build();
        let server = Server::tight(EventSource::new(store.clone()));
        let mut stalled = Client::connect_tight(&server).await;
        stalled.get(b"").await;
        let seen = Arc::new(AtomicU64::new(0));
        let client = Client::open(&server).await;
        let healthy = tokio::spawn(healthy(client, Arc::clone(&seen)));

        let (before, begun) = (resident(), Instant::now());
        for n in 1..=EVENTS {
            submit(&store, numbered(n));
            if n % AHEAD == 0 {
                let seen = Arc::clone(&seen);
                let caught_up = move || seen.load(Ordering::Acquire) == n;
                eventually(PATIENCE, "the healthy client keeps up", caught_up).await;
            }
        }
        let grown = most_resident().saturating_sub(before);
        println!(
            "100 MB past a stalled client: {} KiB more at the most, {:?}",
            grown >> 10,
            begun.elapsed()
        );
        healthy.await.expect("every event, in order");
        assert!(grown <= MEMORY, "{grown} bytes");

        assert_eq!(stalled.blocks(2).await[0], ":");
        let (mut last, mut received, mut gaps) = (0, 0, Vec::new());
        let mut after_a_gap = false;
        while last < EVENTS {
            let block = stalled.block().await.expect("the stream goes on");
            if is_gap(&block) {
                assert!(!after_a_gap, "two gaps that are one");
                let resume = field(&block, "id").rsplit_once('-').expect("an id").1;
                last += missed(&block);
                assert_eq!(resume, last.to_string());
                gaps.push(missed(&block));
                after_a_gap = true;
            } else {
                last += 1;
                after_a_gap = false;
                assert_eq!(number(&block), last);
                received += 1;
            }
        }
        println!("the stalled client: {received} received, {gaps:?} missed");
        assert_eq!(received + gaps.iter().sum::<u64>(), EVENTS);
        assert!(received < EVENTS / 10, "it did not stall");
        // One, and one more for each time that the kernel made a little room after
        // all (it probes a closed window) and the stream was overtaken again.
        assert!((1..=4).contains(&gaps.len()), "{gaps:?}");
    });
}

#[tokio::test]
async fn a_stalled_client_of_a_data_store_skips_to_the_latest_value() {
    const VALUES: u64 = 2000;
    let store = DataStore::new();
    let server = Server::tight(EventSource::new(store.clone()));
    let mut stalled = Client::connect_tight(&server).await;
    stalled.get(b"").await;
    for n in 1..=VALUES {
        store.submit(numbered(n)).expect("open");
        // Lets the server write, so that the connection really fills.
        tokio::task::yield_now().await;
    }
    assert_eq!(stalled.blocks(1).await, [":"]);
    let (mut last, mut received) = (0, 0);
    while last < VALUES {
        let block = stalled.block().await.expect("the stream goes on");
        let n = number(&block);
        assert!(n > last, "{n} after {last}");
        last = n;
        received += 1;
    }
    assert!(received < VALUES / 10, "it did not stall");
}
