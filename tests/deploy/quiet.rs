//! Streams and WebSockets on which nothing happens for longer than a proxy waits.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::app::App;
use crate::client::{Socket, Stream, within};
use crate::recipe::{Proxy, Recipe, replace};

/// The time-outs of the recipes, made short.
const TIME_OUT: Duration = Duration::from_secs(2);

/// All of them at once, because it is a test that waits.
#[tokio::test]
async fn quiet_streams_outlive_the_time_out() {
    tokio::join!(
        outlive_the_time_out(Recipe::Nginx),
        outlive_the_time_out(Recipe::Haproxy),
        outlive_the_time_out(Recipe::Caddy),
        outlive_the_time_out(Recipe::Varnish),
    );
}

async fn outlive_the_time_out(recipe: Recipe) {
    let impatient = |text: &str| replace(text, "60s", "2s");
    let options: &[&str] = match recipe {
        Recipe::Varnish => &["-p", "pipe_timeout=2"],
        _ => &[],
    };
    let heard = App::every(TIME_OUT / 4).await;
    let silent = App::silent().await;
    let (of_heard, of_silent) = tokio::join!(
        Proxy::edited(recipe, &heard, options, impatient),
        Proxy::edited(recipe, &silent, options, impatient),
    );
    tokio::join!(
        async {
            let mut stream = Stream::open(of_heard.address, "/events", &[]).await;
            let mut socket = Socket::open(of_heard.address).await;
            let (_, said) = tokio::join!(
                stream.assert_waits(3 * TIME_OUT),
                timeout(3 * TIME_OUT, socket.next()),
            );
            assert!(said.is_err(), "{said:?}");
            heard.submit("still here");
            assert_eq!(stream.data().await, "still here");
            assert_eq!(socket.message().await["data"], "still here");
            assert_eq!(heard.heads.lock().expect("heads").len(), 2);
        },
        // And without a word it is the proxy who ends it: the time-out was one.
        async {
            let mut stream = Stream::open(of_silent.address, "/events", &[]).await;
            let begun = Instant::now();
            stream.end().await;
            let took = begun.elapsed();
            assert!(took > TIME_OUT / 2, "{recipe:?}: {took:?}");
            println!("{recipe:?}: a silent stream is cut after {took:?}");
        },
        async {
            let mut socket = Socket::open(of_silent.address).await;
            let said = within("the end of a WebSocket", socket.next()).await;
            assert_eq!(said, None, "{recipe:?}");
        },
    );
}
