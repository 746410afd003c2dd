//! Real clients, none of which knows this crate, against real servers.
//!
//! Every client goes through the same [`scenario`]: awkward events, streams that are
//! torn, cut and ended, a server that is gone for too long, and one that is restarted.
//! Then it reads the demos. What only a [`browser`] does comes on top, and what other
//! clients there are for WebSockets. `tests/install` installs what they need; where that is
//! missing, these tests fail.
#![cfg(unix)]

mod browser;
mod chat_demo;
mod client;
mod curl;
mod dashboard_demo;
mod demo;
#[cfg(feature = "redis")]
mod document_demo;
mod form_demo;
mod installed;
mod pages;
mod scenario;
#[cfg(feature = "redis")]
#[allow(dead_code, reason = "the tests of the engine use the rest")]
#[path = "../redis/server.rs"]
mod server;
mod several;
#[cfg(feature = "websocket")]
mod sockets;
#[cfg(feature = "websocket")]
mod sockets_in_pages;
mod stage;
#[allow(dead_code, reason = "it is there for other tests, too")]
#[path = "../weather/upstream.rs"]
mod upstream;
mod weather_demo;
#[cfg(feature = "websocket")]
mod websocket_demo;

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::timeout;
use tornadose::Position;

use crate::client::{Client, Kind, Seen, Told};
use crate::demo::Demo;

/// For everything that comes as soon as it can, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

macro_rules! clients {
    ($($name:ident: $kind:expr,)+) => {$(
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn loses_nothing_silently() {
                scenario::play($kind).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn reads_the_demos() {
                random($kind).await;
                fibonacci($kind).await;
            }
        }
    )+};
}

clients! {
    chromium: Kind::Chromium,
    npm_eventsource: Kind::Npm,
    node: Kind::Node,
    httpx_sse: Kind::Httpx,
    curl_by_hand: Kind::Curl,
}

async fn random(kind: Kind) {
    // The next number would come in a minute.
    let demo = Demo::start("random", "60000").await;
    let mut client = Client::start_at_demo(kind, &demo.url).await;
    number(&client.event().await);
    stop(demo, client).await;

    let demo = Demo::start("random", "50").await;
    let mut client = Client::start_at_demo(kind, &demo.url).await;
    let mut last = number(&client.event().await);
    for _ in 0..4 {
        let id = number(&client.event().await);
        assert!(id > last);
        last = id;
    }
    the_page_shows_values(kind, &mut client).await;
    stop(demo, client).await;
}

/// Checks a random number; returns its id.
fn number(event: &Seen) -> Position {
    let number: f64 = event.data.parse().expect("a number");
    assert!((0.0..1.0).contains(&number), "{event:?}");
    assert_eq!(event.name, "message");
    event.id.parse().expect("a position")
}

async fn fibonacci(kind: Kind) {
    let demo = Demo::start("fibonacci", "50").await;
    let mut client = Client::start_at_demo(kind, &demo.url).await;
    let (mut number, mut next) = (0u128, 1);
    for offset in 1..=30 {
        let event = client.event().await;
        assert_eq!(event.data, number.to_string());
        assert_eq!(event.name, "message");
        let id: Position = event.id.parse().expect("a position");
        assert_eq!(id.offset(), offset);
        (number, next) = (next, number + next);
    }
    the_page_shows_values(kind, &mut client).await;
    stop(demo, client).await;
}

/// The demo says good-bye, and its client notices.
async fn stop(demo: Demo, mut client: Client) {
    demo.stop().await;
    client.until(&Told::Lost { comes_back: true }).await;
    client.quit().await;
}

/// The page subscribes by itself; what it makes of the events is for its reader.
async fn the_page_shows_values(kind: Kind, client: &mut Client) {
    if kind != Kind::Chromium {
        return;
    }
    let mut shown = HashSet::new();
    let three_values = async {
        while shown.len() < 3 {
            let text = client.shown().await;
            if text.parse::<f64>().is_ok() {
                shown.insert(text);
            }
        }
    };
    let in_time = timeout(PATIENCE, three_values).await;
    in_time.expect("the page shows three values");
}

/// Counts what a client told.
fn count(told: &[Told], what: impl Fn(&Told) -> bool) -> usize {
    told.iter().filter(|told| what(told)).count()
}
