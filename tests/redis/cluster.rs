//! A log in a cluster: all of it in one slot, found from any node.

use tornadose::backplane::Backplane;

use crate::server::{Server, until};
use crate::words::*;

/// Three nodes with a third of the slots each.
async fn cluster() -> [Server; 3] {
    let nodes = [(); 3]
        .map(|()| Server::with(&["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]));
    let slots = [("0", "5461"), ("5462", "10922"), ("10923", "16383")];
    for (node, (first, last)) in nodes.iter().zip(slots) {
        node.ask(&["CLUSTER", "ADDSLOTSRANGE", first, last]);
        node.ask(&["CLUSTER", "MEET", "127.0.0.1", &nodes[0].port.to_string()]);
    }
    for node in &nodes {
        until("a cluster", || {
            let info = node.ask(&["CLUSTER", "INFO"]).flat();
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        })
        .await;
    }
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_found_where_its_slot_is() {
    let nodes = cluster().await;
    for n in 0..12 {
        let key = format!("log {n}");
        let redis = nodes[n % 3].redis().key(&*key).expect("a key");
        let mut reading = open(&redis).await;
        let answers = redis
            .append(&[once("a", "1"), once("a", "1"), value("value/a", "b")])
            .await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        assert_eq!(data(&all(&mut reading).await), ["a", "b"]);
        assert_eq!(data(&reading.latest().await.expect("values")), ["b"]);
    }
    let keys: Vec<usize> = nodes
        .iter()
        .map(|node| node.ask(&["DBSIZE"]).text().parse().expect("a number"))
        .collect();
    assert!(
        keys.iter().all(|count| *count > 0 && count % 3 == 0),
        "{keys:?}"
    );
    assert_eq!(keys.iter().sum::<usize>(), 36);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_moves_is_followed() {
    let nodes = cluster().await;
    let redis = nodes[0].redis();
    let before = append(&redis, &["a", "b"]).await[1];
    let mut reading = open(&redis).await;
    let slot = nodes[0].ask(&["CLUSTER", "KEYSLOT", KEY]).text();
    let from = nodes.iter().find(|node| {
        node.client()
            .try_ask(&["XLEN", KEY])
            .is_some_and(|reply| reply.flat() == "2")
    });
    let from = from.expect("it is somewhere");
    let to = nodes
        .iter()
        .find(|node| node.port != from.port)
        .expect("another one");
    let id = |node: &Server| node.ask(&["CLUSTER", "MYID"]).text();
    to.ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(from)]);
    from.ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(to)]);
    from.ask(&[
        "MIGRATE",
        "127.0.0.1",
        &to.port.to_string(),
        KEY,
        "0",
        "5000",
    ]);
    for node in [to, from] {
        node.ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &id(to)]);
    }
    let error = reading.read(1, MOST).await.expect_err("it is elsewhere");
    assert_eq!(
        error.to_string(),
        "redis: its cluster has moved the log (MOVED)"
    );
    let after = append_at_last(&redis, "c").await;
    assert!(before < after && after.offset() == 3);
    let mut reading = open(&redis).await;
    assert_eq!(data(&all(&mut reading).await), ["a", "b", "c"]);
    assert!(redis.open(&latest()).await.is_ok());
}
