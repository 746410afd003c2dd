//! WebSockets in pages, beside event streams, and where pages may not have them.

use serde_json::json;
use tornadose::{EventSource, Origins, QueueStore, Refusal};

use crate::browser::knows_the_user;
use crate::several::Several;
use crate::sockets::{AWKWARD, closed, sent_away, socket, speak, subscribers};
use crate::stage::Stage;
use tornadose::test::normalised;

#[tokio::test(flavor = "multi_thread")]
async fn chromium_gets_the_same_over_both() {
    let store = QueueStore::new();
    let mut stage = Stage::new(&store).expect("a stage");
    stage.mount_socket(&store, Origins::same());
    let mut page = Several::browser(&format!("{}/blank", stage.url())).await;
    page.write("follow('sse', '/events')").await;
    page.write(&speak(&socket(&stage))).await;
    for _ in 0..2 {
        assert_eq!(stage.request().await, None);
    }
    subscribers(&store, 2).await;
    let mut prev = page.event("ws").await["id"].clone();

    let mut last = String::new();
    for (round, data) in AWKWARD.into_iter().enumerate() {
        if round % 3 == 2 {
            stage.hold();
            stage.cut();
            subscribers(&store, 0).await;
        }
        let ids: Vec<_> = (0..3)
            .map(|_| {
                store
                    .submit(data)
                    .expect("taken")
                    .id()
                    .expect("in memory")
                    .to_string()
            })
            .collect();
        if round % 3 == 2 {
            for _ in 0..2 {
                assert_eq!(stage.request().await.as_ref(), Some(&last));
            }
            stage.let_in();
            assert_eq!(page.event("ws").await, json!({"id": prev, "event": "open"}));
        }
        for id in ids {
            let seen = json!({"id": id, "event": "message", "data": normalised(data)});
            assert_eq!(page.event("sse").await, seen);
            let seen = json!({"id": id, "prev": prev, "event": "message", "data": data});
            assert_eq!(page.event("ws").await, seen);
            prev = json!(id);
            last = id;
        }
    }

    stage.hold();
    stage.shut_down();
    sent_away(&closed(&mut page).await);
    while page.next("sse").await != json!({"error": 0}) {}
    for _ in 0..2 {
        assert_eq!(stage.request().await.as_ref(), Some(&last));
    }
    // Once each, and nothing else.
    let rest = page.quit().await;
    assert!(
        rest.iter().all(|report| report.get("event").is_none()),
        "{rest:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_is_refused_over_both() {
    let store = QueueStore::new();
    let mut stage = Stage::new(&store).expect("a stage");
    stage.mount_with(&store, |events: EventSource| {
        events.permit(|_| Err(Refusal::FORBIDDEN))
    });
    stage.mount_socket(&store, Origins::same());
    let mut page = Several::browser(&format!("{}/blank", stage.url())).await;
    page.write("follow('sse', '/events')").await;
    page.write(&speak(&socket(&stage))).await;
    assert_eq!(page.next("sse").await, json!({"error": 2}));
    is_kept_out(&mut page).await;
    assert_eq!(store.subscribers(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_pages_that_may_open_a_socket_in_the_name_of_a_user() {
    let store = QueueStore::new();
    let mut stage = Stage::new(&store).expect("a stage");
    let other = Stage::new(&QueueStore::new()).expect("a stage");
    stage.mount_with(&store, |events| events.permit(knows_the_user));
    stage.mount_socket(&store, Origins::same());
    let mut page = Several::browser(&format!("{}/blank", other.url())).await;
    page.write("document.cookie = 'user=7'").await;

    // The cookie would have come along, as the last time shows.
    page.write(&speak(&socket(&stage))).await;
    is_kept_out(&mut page).await;
    assert_eq!(store.subscribers(), 0);

    let elsewhere = Origins::same_or([&*stage.url()]).expect("an origin");
    stage.mount_socket(&store, elsewhere);
    is_kept_out(&mut page).await;

    let allowed = Origins::same_or([&*other.url()]).expect("an origin");
    stage.mount_socket(&store, allowed);
    let open = page.event("ws").await;
    assert_eq!(open["event"], "open");
    let id = store
        .submit("for user 7")
        .expect("taken")
        .id()
        .expect("in memory")
        .to_string();
    assert_eq!(
        page.event("ws").await,
        json!({"id": id, "prev": open["id"], "event": "message", "data": "for user 7"})
    );
}

/// An attempt fails: a page is told no more than that.
async fn is_kept_out(page: &mut Several) {
    assert_eq!(page.next("ws").await, json!({"failed": 3}));
    assert_eq!(
        page.next("ws").await,
        json!({"closed": 1006, "reason": "", "clean": false})
    );
}
