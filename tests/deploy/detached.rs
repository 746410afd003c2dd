//! Streams that leave their server, behind a proxy.

use tornadose::{EventSource, Server};

use crate::app::App;
use crate::client::{End, Stream};
use crate::contract::{arrive_at_once, keeps_users_apart};
use crate::recipe::{Proxy, Recipe};

#[tokio::test]
async fn streams_leave_behind_nginx() {
    let server = Server::detached;
    let mut app = App::start(EventSource::without_keep_alive, |socket| socket, server).await;
    let proxy = Proxy::start(Recipe::Nginx, &app).await;
    arrive_at_once(&app, &proxy).await;
    keeps_users_apart(&app, &proxy).await;
    app.until_streams(0).await;

    let mut stream = Stream::open(proxy.address, "/events", &[]).await;
    app.submit("the last one");
    assert_eq!(stream.data().await, "the last one");
    assert_eq!(app.events.detached_streams(), 1);
    app.shut_down().await;
    assert_eq!(stream.end().await, End::Whole);
    assert!(stream.decoder.reconnection_time().is_some());
}
