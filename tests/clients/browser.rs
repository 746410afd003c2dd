//! What only a browser does: it gives up for good when it is refused, and it keeps pages
//! of other origins out.

use serde_json::json;
use tornadose::{Cors, EventSource, Head, Permit, QueueStore, Refusal};

use crate::several::Several;
use crate::stage::Stage;

/// A server, a page of it or of another origin, and an event stream in that page.
struct Scene {
    stage: Stage,
    store: QueueStore,
    page: Several,
}

impl Scene {
    async fn open(page_of: impl FnOnce(&Stage) -> String) -> Self {
        let store = QueueStore::new();
        let stage = Stage::new(&store).expect("a stage");
        let page = Several::browser(&format!("{}/blank", page_of(&stage))).await;
        Self { stage, store, page }
    }

    /// Opens a stream under these rules.
    async fn follow(&mut self, options: &str, rules: impl FnOnce(EventSource) -> EventSource) {
        self.stage.mount_with(&self.store, rules);
        let url = format!("{}/events", self.stage.url());
        let script = format!("follow('sse', '{url}', {options})");
        self.page.write(&script).await;
        assert_eq!(self.stage.request().await, None);
    }

    async fn gets_in(&mut self) {
        assert_eq!(self.page.next("sse").await, json!({"open": true}));
    }

    /// `onerror`, and the page's `EventSource` is closed.
    async fn is_kept_out(&mut self) {
        assert_eq!(self.page.next("sse").await, json!({"error": 2}));
    }

    async fn gets(&mut self, data: &str) {
        let id = self
            .store
            .submit(data)
            .expect("taken")
            .id()
            .expect("in memory")
            .to_string();
        let event = json!({"id": id, "event": "message", "data": data});
        assert_eq!(self.page.event("sse").await, event);
    }

    /// Nothing else has happened, and nobody has come back.
    async fn close(self) {
        assert_eq!(self.stage.further_requests(), 0);
        let name = self.page.name().to_owned();
        assert_eq!(self.page.quit().await, [json!(null); 0]);
        println!("{name}");
    }
}

/// A hook that lets one user in, by the cookie.
pub(crate) fn knows_the_user(head: &Head<'_>) -> Result<Permit, Refusal> {
    match head.header("cookie") {
        Some("user=7") => Ok(Permit::new()),
        _ => Err(Refusal::UNAUTHORIZED),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_does_not_come_back() {
    let mut scene = Scene::open(Stage::url).await;
    for refusal in [
        Refusal::UNAUTHORIZED,
        Refusal::FORBIDDEN,
        Refusal::NOT_FOUND,
        Refusal::DONE,
    ] {
        let rules = |events: EventSource| events.permit(move |_| Err(refusal.clone()));
        scene.follow("{}", rules).await;
        scene.is_kept_out().await;
    }
    assert_eq!(scene.store.subscribers(), 0);

    // But is told to, where it is only not now.
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let rules = |events: EventSource| {
        events.permit(
            move |_| match asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                0 | 1 => Err(Refusal::LATER),
                _ => Ok(Permit::new()),
            },
        )
    };
    scene.follow("{}", rules).await;
    for _ in 0..2 {
        scene.gets_in().await;
        assert_eq!(scene.page.next("sse").await, json!({"error": 0}));
        assert_eq!(scene.stage.request().await, None);
    }
    scene.gets_in().await;
    scene.gets("at last").await;
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_read_what_they_may() {
    let other = Stage::new(&QueueStore::new()).expect("a stage");
    let origin = other.url();
    let mut scene = Scene::open(|_| origin.clone()).await;

    scene.follow("{}", |events| events).await;
    scene.is_kept_out().await;
    let elsewhere = Cors::origins([&*scene.stage.url()]).expect("an origin");
    scene.follow("{}", |events| events.cors(elsewhere)).await;
    scene.is_kept_out().await;

    let allowed = Cors::origins([&*origin]).expect("an origin");
    scene.follow("{}", |events| events.cors(allowed)).await;
    scene.gets_in().await;
    scene.gets("allowed").await;

    // It comes back across origins, too.
    scene.stage.hold();
    scene.stage.cut();
    let last = scene.store.latest().expect("an event").to_string();
    assert_eq!(scene.page.next("sse").await, json!({"error": 0}));
    let missed = scene
        .store
        .submit("missed")
        .expect("taken")
        .id()
        .expect("in memory");
    assert_eq!(scene.stage.request().await, Some(last));
    scene.stage.let_in();
    let missed = json!({"id": missed.to_string(), "event": "message", "data": "missed"});
    assert_eq!(scene.page.event("sse").await, missed);
    scene.gets("live again").await;
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_go_to_other_origins_only_if_both_want_it() {
    let other = Stage::new(&QueueStore::new()).expect("a stage");
    let origin = other.url();
    let mut scene = Scene::open(|_| origin.clone()).await;
    scene.page.write("document.cookie = 'user=7'").await;

    let with = || Cors::with_credentials([&*origin]).expect("an origin");
    let without = || Cors::origins([&*origin]).expect("an origin");
    let rules = |cors| move |events: EventSource| events.permit(knows_the_user).cors(cors);
    // The page does not send them: the hook refuses.
    scene.follow("{}", rules(with())).await;
    scene.is_kept_out().await;
    // The server does not ask for them: the browser refuses.
    let send = "{ withCredentials: true }";
    scene.follow(send, rules(without())).await;
    scene.is_kept_out().await;
    scene.follow(send, rules(Cors::any())).await;
    scene.is_kept_out().await;

    scene.follow(send, rules(with())).await;
    scene.gets_in().await;
    scene.gets("for user 7").await;
    scene.close().await;
}
