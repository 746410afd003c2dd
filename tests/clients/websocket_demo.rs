//! The page of the demo of both protocols, in Chromium.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::PATIENCE;
use crate::demo::Demo;
use crate::several::Several;

/// What the scripts of this test have in common. `at` is a pane: `sse` or `ws`.
const TOOLS: &str = "void Object.assign(window, { \
    text: (selector) => document.querySelector(selector).textContent, \
    state: (at) => text(`#${at} .state`), \
    last: (at) => text(`#${at} .last`), \
    received: (at) => Number(text(`#${at} .received`)), \
    missed: (at) => Number(text(`#${at} .missed`)), \
    rows: (at) => [...document.querySelectorAll(`#${at} .events li`)].map((row) => row.textContent), \
    click: (at) => document.querySelector(`#${at} button`).click(), \
    live: () => state('sse') === 'live' && state('ws') === 'live', \
    agree: () => live() && text('#check') === 'both agree' && last('sse') === last('ws'), \
})";

/// Both panes have the same rows, which end at the same event.
const SAME: &str = "agree() && rows('sse').join() === rows('ws').join()";

#[tokio::test(flavor = "multi_thread")]
async fn both_panes_agree() {
    let demo = Demo::start("websocket", "200").await;
    let mut page = Several::browser(&demo.url).await;
    page.write(TOOLS).await;
    until(&mut page, "agree() && received('sse') >= 5").await;

    for (cut, other) in [("ws", "sse"), ("sse", "ws")] {
        page.write(&format!("click('{cut}')")).await;
        until(&mut page, &format!("state('{cut}') === 'cut'")).await;
        page.write(&format!("void (from = received('{other}'))"))
            .await;
        until(&mut page, &format!("received('{other}') >= from + 4")).await;
        let name = if other == "ws" {
            "WebSocket"
        } else {
            "Server-Sent Events"
        };
        let lags = format!("text('#compared').includes('more came by {name} only')");
        until(&mut page, &lags).await;
        until(&mut page, "text('#check') === 'both agreed so far'").await;
        until(
            &mut page,
            &format!("received('{cut}') < received('{other}')"),
        )
        .await;

        page.write(&format!("click('{cut}')")).await;
        until(&mut page, SAME).await;
        until(&mut page, "missed('sse') === 0 && missed('ws') === 0").await;
    }

    // What is said is text, in both.
    let say = "document.querySelector('#text').value = '<b>hi</b>'; \
        document.querySelector('#say').requestSubmit()";
    page.write(say).await;
    let said = "['sse', 'ws'].every((at) => rows(at).some((row) => row.endsWith('<b>hi</b>')))";
    until(&mut page, said).await;
    until(&mut page, "document.querySelector('b') === null").await;

    for (cut, other) in [("ws", "sse"), ("sse", "ws")] {
        page.write(&format!("click('{cut}')")).await;
        page.write(&format!("void (from = received('{other}'))"))
            .await;
        until(&mut page, &format!("received('{other}') >= from + 25")).await;
        page.write(&format!("click('{cut}')")).await;
        until(&mut page, &format!("missed('{cut}') > 0")).await;
        let told = format!("text('#{cut} p.gap').includes('away for too long')");
        until(&mut page, &told).await;
        until(
            &mut page,
            "agree() && text('#compared').includes(' events compared.')",
        )
        .await;
    }

    demo.stop().await;
    until(
        &mut page,
        "state('sse') === 'reconnecting' && state('ws') === 'reconnecting'",
    )
    .await;
    page.quit().await;
}

/// Waits until this holds in the page.
async fn until(page: &mut Several, condition: &str) {
    let end = Instant::now() + PATIENCE;
    loop {
        page.write(&format!("report({{ on: 'page', holds: {condition} }})"))
            .await;
        if page.next("page").await["holds"] == true {
            return;
        }
        if Instant::now() > end {
            let all = "report({ on: 'page', all: document.querySelector('main').innerText })";
            page.write(all).await;
            panic!("{condition} in {}", page.next("page").await["all"]);
        }
        sleep(Duration::from_millis(20)).await;
    }
}
