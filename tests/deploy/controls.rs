//! Configurations that are wrong, and what becomes of streams behind them: so the contract can
//! be broken. And some that know nothing of streams, behind which our headers are enough.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::app::{App, submit};
use crate::client::{Socket, Stream, within};
use crate::contract::{arrive_at_once, keeps_users_apart};
use crate::recipe::{Proxy, Recipe, replace};

/// Long enough for whatever is not held back.
const A_WHILE: Duration = Duration::from_secs(1);

/// What its documentation begins with: a location, and the application.
fn plain_nginx(text: &str) -> String {
    let text = replace(text, "            proxy_buffering off;\n", "");
    let text = replace(&text, "            proxy_cache off;\n", "");
    replace(&text, "        proxy_http_version 1.1;\n", "")
}

#[tokio::test]
async fn nginx_that_knows_nothing_of_streams_does_not_buffer_ours() {
    let app = App::silent().await;
    let plain = |text: &str| plain_nginx(text);
    let proxy = Proxy::edited(Recipe::Nginx, &app, &[], plain).await;
    arrive_at_once(&app, &proxy).await;
}

#[tokio::test]
async fn nginx_that_does_not_heed_our_headers_holds_events_back() {
    let app = App::silent().await;
    let deaf = |text: &str| {
        let here = "        location = /events {\n";
        let deaf = format!("{here}            proxy_ignore_headers X-Accel-Buffering;\n");
        replace(&plain_nginx(text), here, &deaf)
    };
    let proxy = Proxy::edited(Recipe::Nginx, &app, &[], deaf).await;
    // Not even the first comment.
    let mut opening = Box::pin(Stream::try_open(proxy.address, "/events", &[]));
    assert!(timeout(A_WHILE, &mut opening).await.is_err());
    app.until_streams(1).await;
    app.submit("alone");
    assert!(timeout(A_WHILE, &mut opening).await.is_err());
    // Others push it out.
    for _ in 0..100 {
        app.submit("x".repeat(1000));
    }
    let opened = within("what was held back", opening).await;
    assert_eq!(opened.expect("a stream").data().await, "alone");
}

#[tokio::test]
async fn varnish_that_does_not_stream_holds_everything_back() {
    let app = App::silent().await;
    let whole = |text: &str| replace(text, "do_stream = true", "do_stream = false");
    let proxy = Proxy::edited(Recipe::Varnish, &app, &[], whole).await;
    let mut opening = Box::pin(Stream::try_open(proxy.address, "/events", &[]));
    assert!(timeout(A_WHILE, &mut opening).await.is_err());
    app.until_streams(1).await;
    app.submit("x".repeat(100_000));
    assert!(timeout(A_WHILE, &mut opening).await.is_err());
}

#[tokio::test]
async fn varnish_that_caches_whatever_it_can_shows_one_user_what_is_anothers() {
    let app = App::silent().await;
    let careless = |text: &str| {
        let text = replace(text, "        return (pass);\n", "        return (hash);\n");
        let kept = "set beresp.ttl = 1h;\n        unset beresp.http.Cache-Control";
        replace(&text, "set beresp.uncacheable = true", kept)
    };
    let proxy = Proxy::edited(Recipe::Varnish, &app, &[], careless).await;
    let alices = [("x-user", "alice")];
    let mut alice = Stream::open(proxy.address, "/events", &alices).await;
    submit(&app.users.store("alice"), "for alice");
    assert_eq!(alice.data().await, "for alice");
    let bobs = [("x-user", "bob")];
    let mut bob = Stream::open(proxy.address, "/events", &bobs).await;
    assert_eq!(bob.data().await, "for alice");
}

/// The cache is for the whole site and looks at the address alone; what we say of our
/// streams keeps them out of it.
#[tokio::test]
async fn varnish_that_knows_nothing_of_streams_keeps_users_apart() {
    let app = App::silent().await;
    let plain = |text: &str| {
        let text = replace(text, "        return (pass);\n", "        return (hash);\n");
        let begin = text.find("sub vcl_backend_response").expect("it is there");
        text[..begin].to_owned()
    };
    let proxy = Proxy::edited(Recipe::Varnish, &app, &[], plain).await;
    keeps_users_apart(&app, &proxy).await;
}

/// The same in nginx.
#[tokio::test]
async fn nginx_with_a_cache_keeps_users_apart() {
    for knows_of_streams in [true, false] {
        let app = App::silent().await;
        let caching = |text: &str| {
            let zone = "http {\n    proxy_cache_path cache keys_zone=site:1m;\n    \
                proxy_cache site;\n    proxy_cache_key $uri;\n    proxy_cache_valid any 1h;\n";
            let text = replace(text, "http {\n", zone);
            if knows_of_streams {
                text
            } else {
                plain_nginx(&text)
            }
        };
        let proxy = Proxy::edited(Recipe::Nginx, &app, &[], caching).await;
        keeps_users_apart(&app, &proxy).await;
        // What has ended is what could be kept.
        let alices = [("x-user", "alice")];
        let mut alice = Stream::open(proxy.address, "/events", &alices).await;
        let of_alice = app.users.store("alice");
        submit(&of_alice, "for alice");
        of_alice.close();
        assert_eq!(alice.data().await, "for alice");
        alice.end().await;
        let bobs = [("x-user", "bob")];
        let mut bob = Stream::open(proxy.address, "/events", &bobs).await;
        submit(&app.users.store("bob"), "for bob");
        assert_eq!(bob.data().await, "for bob");
    }
}

/// nginx tells the application a name of its own, if nobody says otherwise.
#[tokio::test]
async fn without_its_host_a_page_opens_no_websocket() {
    for host in ["$proxy_host", "$host"] {
        let app = App::silent().await;
        let renamed = |text: &str| replace(text, "$http_host", host);
        let proxy = Proxy::edited(Recipe::Nginx, &app, &[], renamed).await;
        let page = format!("http://{}", proxy.address);
        let refused = Socket::of_page(proxy.address, &page).await;
        assert_eq!(refused.err(), Some(403), "{host}");
    }
}

/// What is advised for streams of another content type: with it Caddy does not tell the
/// application that a client has left.
#[tokio::test]
async fn caddy_that_flushes_by_order_keeps_streams_whose_clients_have_left() {
    let app = App::silent().await;
    let flushing = |text: &str| {
        let here = "\t\ttransport http {\n";
        replace(text, here, &format!("\t\tflush_interval -1\n{here}"))
    };
    let proxy = Proxy::edited(Recipe::Caddy, &app, &[], flushing).await;
    drop(Stream::open(proxy.address, "/events", &[]).await);
    sleep(A_WHILE).await;
    assert_eq!(app.events.streams(), 1);
}
