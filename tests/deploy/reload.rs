//! A configuration that is read again, and a proxy that is stopped, while streams are open.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::Message;

use crate::app::App;
use crate::client::{Browser, Socket, Stream, within};
use crate::recipe::{Proxy, Recipe, replace};

/// How long what is open may stay; 30 s as it is shipped.
const GRACE: Duration = Duration::from_secs(2);

fn hasty(text: &str) -> String {
    replace(text, "30s", "2s")
}

/// Both at once, because it is a test that waits.
#[tokio::test]
async fn nginx_and_haproxy_end_old_streams_after_a_while() {
    tokio::join!(
        old_streams_end_after_a_while(Recipe::Nginx),
        old_streams_end_after_a_while(Recipe::Haproxy),
    );
}

/// What is open goes on, what comes meanwhile is served, and when the time is over the old
/// stream ends and its client misses nothing.
async fn old_streams_end_after_a_while(recipe: Recipe) {
    let app = App::silent().await;
    let proxy = Proxy::edited(recipe, &app, &[], hasty).await;
    let (mut old, mut browser) = heard_before(&app, &proxy).await;
    let mut socket = Socket::open(proxy.address).await;

    let begun = Instant::now();
    proxy.reload();
    sleep(GRACE / 4).await;
    let mut new = Stream::open(proxy.address, "/events", &[]).await;
    app.submit("meanwhile");
    assert_eq!(old.data().await, "meanwhile", "{recipe:?}");
    assert_eq!(socket.message().await["data"], "meanwhile", "{recipe:?}");
    assert_eq!(new.data().await, "meanwhile");
    assert_eq!(browser.next().await.data, "meanwhile");

    old.end().await;
    let took = begun.elapsed();
    println!("{recipe:?}: a stream of before is ended after {took:?}");
    assert!(took >= GRACE / 2, "{recipe:?}: {took:?}");
    let said = within("the end of a WebSocket", socket.next()).await;
    assert_eq!(said, None, "{recipe:?}");
    app.submit("afterwards");
    assert_eq!(new.data().await, "afterwards");
    assert_eq!(browser.next().await.data, "afterwards");
    assert_eq!(browser.times_opened, 2);
}

/// WebSockets it closes at once; streams end when they end.
#[tokio::test]
async fn caddy_lets_old_streams_be() {
    let app = App::silent().await;
    let proxy = Proxy::edited(Recipe::Caddy, &app, &[], hasty).await;
    let (mut old, mut browser) = heard_before(&app, &proxy).await;
    let mut socket = Socket::open(proxy.address).await;
    proxy.reload();
    let said = within("the end of a WebSocket", socket.next()).await;
    assert!(matches!(said, None | Some(Message::Close(_))), "{said:?}");
    old.assert_waits(2 * GRACE).await;
    app.submit("meanwhile");
    assert_eq!(old.data().await, "meanwhile");
    assert_eq!(browser.next().await.data, "meanwhile");
    assert_eq!(browser.times_opened, 1);
}

#[tokio::test]
async fn caddy_that_is_stopped_gives_streams_their_time() {
    let app = App::silent().await;
    let mut proxy = Proxy::edited(Recipe::Caddy, &app, &[], hasty).await;
    let (mut old, mut browser) = heard_before(&app, &proxy).await;
    let begun = Instant::now();
    proxy.signal(Signal::TERM);
    old.end().await;
    let took = begun.elapsed();
    println!("Caddy: a stream is ended after {took:?}");
    assert!(took >= GRACE / 2, "{took:?}");
    proxy.restart().await;
    app.submit("afterwards");
    assert_eq!(browser.next().await.data, "afterwards");
    assert_eq!(browser.times_opened, 2);
}

async fn heard_before(app: &App, proxy: &Proxy) -> (Stream, Browser) {
    let mut stream = Stream::open(proxy.address, "/events", &[]).await;
    let mut browser = Browser::open(proxy.address).await;
    app.submit("before");
    assert_eq!(stream.data().await, "before");
    assert_eq!(browser.next().await.data, "before");
    // haproxy 2.6 forgets for ever that it is to reload if it is told while it starts.
    sleep(Duration::from_secs(1)).await;
    (stream, browser)
}
