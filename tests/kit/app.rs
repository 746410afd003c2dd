//! A whole application, as its own tests would test it.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use http::Request;
use tornadose::test::{
    At, Break, Client, Cut, IncompleteReason, Proxy, Script, Way, assert_conserved,
    assert_contiguous, assert_gap_free,
};
use tornadose::{
    DataStore, EventSource, GapReason, Permit, QueueStore, Refusal, Retention, Shutdown,
};
use tower_service::Service;

use crate::scripted::NOTHING;

/// Says what is posted to everybody who has a name.
fn app(store: &QueueStore, shutdown: &Shutdown) -> Router {
    let events = EventSource::new(store.clone())
        .permit(|request| match request.header("cookie") {
            None => Err(Refusal::UNAUTHORIZED),
            Some(_) => Ok(Permit::new()),
        })
        .shutdown(shutdown);
    async fn say(State(store): State<QueueStore>, text: String) -> &'static str {
        match store.submit(text) {
            Ok(_) => "said",
            Err(_) => "closed",
        }
    }
    Router::new()
        .route_service("/events", events)
        .route("/say", post(say).with_state(store.clone()))
}

async fn say(app: &mut Router, text: &str) {
    let request = Request::post("/say").body(text.to_owned());
    let response = app.call(request.expect("a request")).await;
    assert_eq!(response.expect("infallible").status(), 200);
}

#[tokio::test(start_paused = true)]
async fn everybody_who_may_hears_everything() {
    let (store, shutdown) = (QueueStore::new(), Shutdown::new());
    let mut app = app(&store, &shutdown);

    let mut stranger = Client::new(app.clone(), "/events");
    let refused = stranger.open().await.expect_err("a stranger");
    assert_eq!(
        refused.reason,
        IncompleteReason::Status(http::StatusCode::UNAUTHORIZED)
    );

    let mut ada = Client::new(app.clone(), "/events").header("cookie", "user=ada");
    ada.open().await.expect("a stream");
    say(&mut app, "one").await;
    let mut received = ada.collect(1).await.expect("one");
    ada.cut();
    say(&mut app, "two").await;
    say(&mut app, "three").await;
    received.extend(ada.collect(2).await.expect("two"));
    assert_eq!(received, ["one", "two", "three"]);
    assert_contiguous(&received);
    assert_conserved(&received, 3);

    shutdown.begin();
    let rest = ada.until_break().await.expect("the end");
    assert_eq!(rest, NOTHING);
    assert_eq!(ada.last_break(), Some(&Break::Ended));
}

#[tokio::test(start_paused = true)]
async fn cut_at_every_byte_nothing_is_lost() {
    let events = 6;
    let (mut cut_at, mut cuts) = (0, 0);
    loop {
        let store = QueueStore::new();
        let mut client = Client::new(EventSource::new(store.clone()), "/");
        client.open().await.expect("a stream");
        // The bytes with which a stream begins hold its place in the log.
        assert_eq!(
            client.until_quiet(Duration::ZERO).await.expect("quiet"),
            NOTHING
        );
        client.cut_after(cut_at);
        for n in 0..events {
            store.submit(format!("{n}\n{n}")).expect("open");
        }
        let received = client.collect(events).await.expect("all");
        assert_contiguous(&received);
        assert_conserved(&received, events as u64);
        if client.requests() == 1 {
            break;
        }
        cuts += 1;
        cut_at += 1;
    }
    assert!(cuts > events * 20, "{cuts}");
}

#[tokio::test(start_paused = true)]
async fn what_was_evicted_is_told_and_adds_up() {
    let store = QueueStore::builder()
        .retention(Retention::new().events(4))
        .build();
    let mut client = Client::new(EventSource::new(store.clone()), "/");
    client.open().await.expect("a stream");
    let mut received = Vec::new();
    for round in 0..3 {
        for n in 0..10 {
            store.submit(format!("{round} {n}")).expect("open");
        }
        received.extend(client.collect(5).await.expect("a gap and four"));
        client.cut();
    }
    let gaps = received.iter().filter_map(|delivery| delivery.gap());
    let gaps: Vec<_> = gaps.map(|gap| (gap.reason, gap.missed)).collect();
    let evicted = (GapReason::Evicted, Some(6));
    assert_eq!(gaps, [(GapReason::Slow, Some(6)), evicted, evicted]);
    assert_conserved(&received, 30);
}

#[tokio::test(start_paused = true)]
async fn one_value_skips_and_has_no_gap() {
    let store = DataStore::with_initial("0").expect("small");
    let mut client = Client::new(EventSource::new(store.clone()), "/");
    let mut received = client.collect(1).await.expect("the value");
    for n in 1..=9 {
        store.submit(n.to_string()).expect("open");
    }
    received.extend(client.until_quiet(Duration::ZERO).await.expect("quiet"));
    assert_eq!(received, ["0", "9"]);
    assert_gap_free(&received);
}

/// Over TCP, through a proxy that breaks each of its streams; as a client of the kit that
/// asks with hyper.
#[tokio::test]
async fn a_network_that_fails_loses_nothing() {
    let store = QueueStore::new();
    let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let tcp = tcp.expect("a free port");
    let server = tcp.local_addr().expect("bound");
    let app = Router::new().route_service("/events", EventSource::new(store.clone()));
    let serving = tokio::spawn(async move { axum::serve(tcp, app).await });
    let proxy = Proxy::to(server).await.expect("a free port");
    let way = Way::new().split();
    proxy.follow(Script::new().down(way).cut(At::Down(700), Cut::Reset));

    let http = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build_http::<String>();
    let address = proxy.address();
    let mut client = Client::from_fn(
        move |mut request| {
            let path = request.uri().to_string();
            let uri = format!("http://{address}{path}");
            *request.uri_mut() = uri.parse().expect("a URI");
            http.request(request)
        },
        "/events",
    )
    .reconnection_time(Duration::from_millis(1));
    client.open().await.expect("a stream");

    let events = 40;
    for n in 0..events {
        store.submit(format!("{n:030}")).expect("open");
    }
    let mut received = Vec::new();
    while received.len() < events {
        // Until it has an id, a stream that breaks comes back without.
        received.push(client.next().await.expect("in time"));
    }
    assert_contiguous(&received);
    assert_conserved(&received, events as u64);
    assert!(client.requests() > 3, "{client:?}");
    serving.abort();
}
