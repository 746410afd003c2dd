//! What every recipe promises of a stream and of a WebSocket.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::Method;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;

use crate::app::{App, ELSEWHERE, submit};
use crate::client::{self, Browser, End, Script, Socket, Stream, within};
use crate::recipe::{Proxy, Recipe, replace};

/// A test of each promise, of this recipe.
macro_rules! contract {
    ($name:ident, $recipe:expr) => {
        mod $name {
            use crate::contract;

            #[tokio::test]
            async fn events_need_no_other_to_arrive() {
                contract::events_need_no_other_to_arrive($recipe).await;
            }

            #[tokio::test]
            async fn nothing_is_compressed() {
                contract::nothing_is_compressed($recipe).await;
            }

            #[tokio::test]
            async fn users_are_kept_apart() {
                contract::users_are_kept_apart($recipe).await;
            }

            #[tokio::test]
            async fn a_restart_loses_nothing() {
                contract::a_restart_loses_nothing($recipe).await;
            }

            #[tokio::test]
            async fn headers_arrive() {
                contract::headers_arrive($recipe).await;
            }

            #[tokio::test]
            async fn a_shutdown_is_told() {
                contract::a_shutdown_is_told($recipe).await;
            }

            #[tokio::test]
            async fn clients_wait_for_an_application_that_is_away() {
                contract::clients_wait_for_an_application_that_is_away($recipe).await;
            }

            #[tokio::test]
            async fn who_leaves_is_noticed() {
                contract::who_leaves_is_noticed($recipe).await;
            }

            #[tokio::test]
            async fn pages_of_other_origins_open_no_websocket() {
                contract::pages_of_other_origins_open_no_websocket($recipe).await;
            }
        }
    };
}

contract!(nginx, crate::recipe::Recipe::Nginx);
contract!(haproxy, crate::recipe::Recipe::Haproxy);
contract!(caddy, crate::recipe::Recipe::Caddy);
contract!(varnish, crate::recipe::Recipe::Varnish);

/// What a user would call at once.
const AT_ONCE: Duration = Duration::from_millis(100);

/// The streams say nothing but their events, so nothing pushes one out of a buffer. How long
/// it takes is judged by the best of several, because the machine may be busy.
async fn events_need_no_other_to_arrive(recipe: Recipe) {
    let app = App::silent().await;
    let proxy = Proxy::start(recipe, &app).await;
    arrive_at_once(&app, &proxy).await;
    assert_no_cost_to_websockets(&app, &proxy).await;
}

pub(crate) async fn arrive_at_once(app: &App, proxy: &Proxy) {
    let (mut first_bytes, mut events) = (Vec::new(), Vec::new());
    for n in 0..10 {
        let begun = Instant::now();
        let mut stream = Stream::open(proxy.address, "/events", &[]).await;
        first_bytes.push(begun.elapsed());
        assert_as_sent(&stream);
        let begun = Instant::now();
        app.submit(n.to_string());
        assert_eq!(stream.data().await, n.to_string());
        events.push(begun.elapsed());
    }
    for (what, mut took) in [("first byte", first_bytes), ("event", events)] {
        took.sort_unstable();
        let (best, median) = (took[0], took[took.len() / 2]);
        println!(
            "{:?}: {what}: best {best:?}, median {median:?}",
            proxy.recipe
        );
        assert!(best < AT_ONCE, "{:?}: {what}: {took:?}", proxy.recipe);
    }
}

/// The head as we wrote it, as far as clients go by it.
#[track_caller]
fn assert_as_sent(stream: &Stream) {
    let headers = &stream.head.headers;
    assert_eq!(headers["content-type"], "text/event-stream");
    assert_eq!(headers["cache-control"], "no-store, no-transform");
    assert!(!headers.contains_key("content-encoding"), "{headers:?}");
    assert!(!headers.contains_key("content-length"), "{headers:?}");
}

async fn assert_no_cost_to_websockets(app: &App, proxy: &Proxy) {
    let mut socket = Socket::open(proxy.address).await;
    for n in 0..3 {
        let id = app.submit(format!("for sockets {n}"));
        let message = socket.message().await;
        assert_eq!(message["data"], format!("for sockets {n}"));
        assert_eq!(message["id"], id.to_string());
        socket.send(&format!("{{\"said\":{n}}}")).await;
        assert_eq!(socket.message().await["said"], n);
    }
}

/// A proxy that compresses whatever it can leaves streams as they are, and at once.
async fn nothing_is_compressed(recipe: Recipe) {
    let app = App::silent().await;
    let compressing = |text: &str| match recipe {
        Recipe::Nginx => replace(
            text,
            "gzip_types ",
            "gzip_min_length 1; gzip_types text/event-stream ",
        ),
        Recipe::Haproxy => replace(
            text,
            "    default_backend app\n",
            "    filter compression\n    compression algo gzip\n    compression type text/event-stream\n    default_backend app\n",
        ),
        Recipe::Caddy => replace(
            text,
            "\tencode @pages gzip\n",
            "\tencode @pages gzip {\n\t\tminimum_length 1\n\t\tmatch {\n\t\t\theader Content-Type text/*\n\t\t}\n\t}\n",
        ),
        Recipe::Varnish => replace(
            text,
            "sub vcl_backend_response {\n",
            "sub vcl_backend_response {\n    set beresp.do_gzip = true;\n",
        ),
    };
    let proxy = Proxy::edited(recipe, &app, &[], compressing).await;
    arrive_at_once(&app, &proxy).await;
}

async fn users_are_kept_apart(recipe: Recipe) {
    let app = App::silent().await;
    let proxy = Proxy::start(recipe, &app).await;
    keeps_users_apart(&app, &proxy).await;
}

/// Twelve users, who say in four ways who they are, two streams each, and 600 events that
/// are submitted by turns. Each stream has all of its user's, and nothing else.
pub(crate) async fn keeps_users_apart(app: &App, proxy: &Proxy) {
    const EACH: usize = 50;
    let users: Vec<_> = (0..12).map(|n| format!("u{n}")).collect();
    let mut streams = Vec::new();
    for _ in 0..2 {
        for (n, user) in users.iter().enumerate() {
            let cookie = format!("theme=dark; user={user}");
            let (target, headers) = match n % 4 {
                0 => ("/events".to_owned(), vec![("cookie", cookie.as_str())]),
                1 => ("/events".to_owned(), vec![("x-user", user.as_str())]),
                2 => (format!("/events?user={user}"), vec![]),
                // Whoever looks at the query alone takes these for one.
                _ => ("/events?q=1".to_owned(), vec![("cookie", cookie.as_str())]),
            };
            let stream = Stream::open(proxy.address, &target, &headers).await;
            assert_as_sent(&stream);
            streams.push((user, stream));
        }
    }
    assert_eq!(app.events.streams(), streams.len());
    for n in 0..EACH {
        for user in &users {
            submit(&app.users.store(user), format!("{user} {n}"));
        }
        tokio::task::yield_now().await;
    }
    let received = join_all(streams.iter_mut().map(async |(user, stream)| {
        for n in 0..EACH {
            assert_eq!(stream.data().await, format!("{user} {n}"));
        }
        EACH
    }));
    let received: usize = received.await.iter().sum();
    assert_eq!(received, 2 * users.len() * EACH);
    for (_, stream) in &mut streams {
        stream.assert_waits(Duration::from_millis(1)).await;
    }
}

/// A proxy loses its power twice while events are submitted. Everybody has each of them
/// once, and in order.
async fn a_restart_loses_nothing(recipe: Recipe) {
    const EVENTS: usize = 300;
    let app = App::every(Duration::from_secs(1)).await;
    let mut proxy = Proxy::start(recipe, &app).await;
    let browsers = join_all((0..6).map(|_| Browser::open(proxy.address))).await;
    let scripts = join_all((0..3).map(|_| Script::open(proxy.address))).await;
    let store = app.store.clone();
    let submitting = tokio::spawn(async move {
        for n in 0..EVENTS {
            submit(&store, n.to_string());
            sleep(Duration::from_millis(5)).await;
        }
    });
    let mut reading = Vec::new();
    for mut browser in browsers {
        reading.push(tokio::spawn(async move {
            for n in 0..EVENTS {
                let event = browser.next().await;
                assert_eq!((&*event.name, event.data), ("message", n.to_string()));
            }
            browser.times_opened
        }));
    }
    for mut script in scripts {
        reading.push(tokio::spawn(async move {
            for n in 0..EVENTS {
                assert_eq!(script.data().await, n.to_string());
            }
            script.times_opened
        }));
    }
    for _ in 0..2 {
        sleep(Duration::from_millis(400)).await;
        proxy.restart().await;
    }
    within("the last event", submitting)
        .await
        .expect("submitted");
    for reading in reading {
        let opened = within("all events", reading).await.expect("all events");
        assert!(opened >= 2, "{recipe:?}: it was never cut");
    }
}

async fn headers_arrive(recipe: Recipe) {
    let app = App::silent().await;
    let proxy = Proxy::start(recipe, &app).await;
    let host = proxy.address.to_string();
    let ids: Vec<_> = (0..3).map(|n| app.submit(n.to_string())).collect();
    let id = ids[0].to_string();
    let headers = [
        ("last-event-id", id.as_str()),
        ("origin", ELSEWHERE),
        ("cookie", "a=b; c=d"),
        // What only the proxy can know.
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-proto", "gopher"),
    ];
    let mut stream = Stream::open(proxy.address, "/events", &headers).await;
    assert_eq!(stream.data().await, "1");
    assert_eq!(stream.data().await, "2");
    assert_eq!(stream.decoder.last_event_id(), ids[2].to_string());

    let answered = &stream.head.headers;
    assert_eq!(answered["access-control-allow-origin"], ELSEWHERE);
    assert_eq!(answered["access-control-allow-credentials"], "true");

    let came = app.heads.lock().expect("heads").pop().expect("a request");
    assert_eq!(came["last-event-id"], id);
    assert_eq!(came["origin"], ELSEWHERE);
    assert_eq!(came["cookie"], "a=b; c=d");
    assert_eq!(came["host"], host);
    let all: Vec<_> = came.get_all("x-forwarded-for").iter().collect();
    assert_eq!(all, ["127.0.0.1"], "{recipe:?}");
    // Varnish knows nothing of TLS: who does stands before it.
    if recipe != Recipe::Varnish {
        let all: Vec<_> = came.get_all("x-forwarded-proto").iter().collect();
        assert_eq!(all, ["http"], "{recipe:?}");
    }

    let asks = [
        ("origin", ELSEWHERE),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "last-event-id"),
    ];
    let asked = client::ask(proxy.address, Method::OPTIONS, "/events", &asks).await;
    let (preflight, _connection) = asked.expect("an answer");
    assert_eq!(preflight.status(), 204, "{recipe:?}");
    assert_eq!(
        preflight.headers()["access-control-allow-origin"],
        ELSEWHERE
    );
}

/// Clients are told when to come back, and that the stream is whole.
async fn a_shutdown_is_told(recipe: Recipe) {
    let mut app = App::silent().await;
    let proxy = Proxy::start(recipe, &app).await;
    let mut stream = Stream::open(proxy.address, "/events", &[]).await;
    let mut socket = Socket::open(proxy.address).await;
    app.submit("the last one");
    tokio::join!(
        app.shut_down(),
        async {
            assert_eq!(stream.data().await, "the last one");
            assert_eq!(stream.end().await, End::Whole, "{recipe:?}");
            let told = stream.decoder.reconnection_time().expect("a farewell");
            let range = Duration::from_secs(2)..=Duration::from_secs(6);
            assert!(range.contains(&told), "{told:?}");
        },
        async {
            assert_eq!(socket.message().await["data"], "the last one");
            let close = within("a close", socket.next()).await.expect("a close");
            let Message::Close(Some(frame)) = &close else {
                panic!("{close:?}");
            };
            assert_eq!(u16::from(frame.code), 1012);
            assert!(frame.reason.starts_with("retry: "), "{close:?}");
            // It is answered, and then there is no more.
            assert_eq!(within("the end", socket.next()).await, None);
        },
    );
}

/// An answer of 502 or 503 would be the end of every page that is open.
async fn clients_wait_for_an_application_that_is_away(recipe: Recipe) {
    let mut app = App::silent().await;
    let proxy = Proxy::start(recipe, &app).await;
    let mut browser = Browser::open(proxy.address).await;
    app.submit("before");
    assert_eq!(browser.next().await.data, "before");
    app.shut_down().await;

    let mut stream = Stream::open(proxy.address, "/events", &[]).await;
    assert_eq!(stream.head.headers["content-type"], "text/event-stream");
    assert_eq!(stream.end().await, End::Whole);
    assert_eq!(
        stream.decoder.reconnection_time(),
        Some(Duration::from_secs(3))
    );
    // Whoever asks for no stream, and for nothing that is cached, is told the truth.
    let asked = client::ask(proxy.address, Method::GET, "/port?new", &[]).await;
    let (other, _connection) = asked.expect("an answer");
    assert!(other.status().is_server_error(), "{other:?}");

    app.submit("meanwhile");
    let app = app.successor().await;
    app.submit("afterwards");
    let next = within("what it missed", browser.next()).await;
    assert_eq!(next.data, "meanwhile");
    assert_eq!(browser.next().await.data, "afterwards");
}

/// Though nothing is sent. Varnish alone notices it only when it has something to pass on.
async fn who_leaves_is_noticed(recipe: Recipe) {
    let app = match recipe {
        Recipe::Varnish => App::every(Duration::from_millis(500)).await,
        _ => App::silent().await,
    };
    let proxy = Proxy::start(recipe, &app).await;
    let streams = join_all((0..10).map(|_| Stream::open(proxy.address, "/events", &[]))).await;
    app.until_streams(10).await;
    let begun = Instant::now();
    drop(streams);
    app.until_streams(0).await;
    println!("{recipe:?}: streams have left after {:?}", begun.elapsed());

    let sockets = join_all((0..3).map(|_| Socket::open(proxy.address))).await;
    app.until_streams(3).await;
    let begun = Instant::now();
    drop(sockets);
    app.until_streams(0).await;
    println!("{recipe:?}: WebSockets after {:?}", begun.elapsed());
}

/// The application sees which page asks, and which host it asked.
async fn pages_of_other_origins_open_no_websocket(recipe: Recipe) {
    let app = App::silent().await;
    let proxy = Proxy::start(recipe, &app).await;
    let refused = Socket::of_page(proxy.address, ELSEWHERE).await;
    assert_eq!(refused.err(), Some(403), "{recipe:?}");
    assert_eq!(app.events.streams(), 0);
    // The port is of the origin.
    let refused = Socket::of_page(proxy.address, "http://127.0.0.1").await;
    assert_eq!(refused.err(), Some(403), "{recipe:?}");
    Socket::open(proxy.address).await;
}
