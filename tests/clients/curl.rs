//! curl, and around it what it does not do: reading events, and coming back.

use std::str;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::client::{Seen, Told, piped};
use crate::installed::program;
use tornadose::test::Decoder;

/// Follows a stream until nobody listens, or until it is told not to come back.
pub(crate) async fn follow(url: String, tell: mpsc::UnboundedSender<Told>) {
    let tell = |told| tell.send(told).is_ok();
    tell(Told::Hello(version().await));
    let mut last_event_id = String::new();
    let mut reconnection_time = Duration::from_secs(3);
    loop {
        let mut curl = Command::new(program("curl"));
        // The status is all that stands on its standard error.
        curl.args(["--disable", "--noproxy", "*", "--no-buffer", "--silent"]);
        curl.args(["--write-out", "%{stderr}%{http_code}", url.as_str()]);
        if !last_event_id.is_empty() {
            curl.args(["--header", &format!("Last-Event-ID: {last_event_id}")]);
        }
        let mut curl = piped(&mut curl).spawn().expect("curl starts");
        let mut stdout = curl.stdout.take().expect("piped");

        let mut decoder = Decoder::default();
        let mut is_open = false;
        let mut piece = [0; 4096];
        while let Ok(len @ 1..) = stdout.read(&mut piece).await {
            if !is_open {
                is_open = true;
                tell(Told::Open);
            }
            for event in decoder.feed(&piece[..len]) {
                tell(Told::Event(Seen {
                    name: event.name,
                    data: event.data,
                    id: event.last_event_id,
                }));
            }
        }
        // An id holds until there is another one, over all streams.
        if !decoder.last_event_id().is_empty() {
            decoder.last_event_id().clone_into(&mut last_event_id);
        }
        if let Some(time) = decoder.reconnection_time() {
            reconnection_time = time;
        }

        let output = curl.wait_with_output().await.expect("curl ends");
        // 000 where there was no answer.
        let comes_back = matches!(&*output.stderr, b"200" | b"000");
        if !tell(Told::Lost { comes_back }) || !comes_back {
            return;
        }
        sleep(reconnection_time).await;
    }
}

async fn version() -> String {
    let mut curl = Command::new(program("curl"));
    let output = piped(curl.arg("--version")).output().await;
    let output = output.expect("curl starts").stdout;
    let words = str::from_utf8(&output).expect("UTF-8").split(' ');
    words.take(2).collect::<Vec<_>>().join(" ")
}
