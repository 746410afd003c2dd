//! The page of the demo of both protocols, in Chromium.

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
    page.until("agree() && received('sse') >= 5").await;

    for (cut, other) in [("ws", "sse"), ("sse", "ws")] {
        page.write(&format!("click('{cut}')")).await;
        page.until(&format!("state('{cut}') === 'cut'")).await;
        page.write(&format!("void (from = received('{other}'))"))
            .await;
        page.until(&format!("received('{other}') >= from + 4"))
            .await;
        let name = if other == "ws" {
            "WebSocket"
        } else {
            "Server-Sent Events"
        };
        let lags = format!("text('#compared').includes('more came by {name} only')");
        page.until(&lags).await;
        page.until("text('#check') === 'both agreed so far'").await;
        page.until(&format!("received('{cut}') < received('{other}')"))
            .await;

        page.write(&format!("click('{cut}')")).await;
        page.until(SAME).await;
        page.until("missed('sse') === 0 && missed('ws') === 0")
            .await;
    }

    // What is said is text, in both.
    let say = "document.querySelector('#text').value = '<b>hi</b>'; \
        document.querySelector('#say').requestSubmit()";
    page.write(say).await;
    let said = "['sse', 'ws'].every((at) => rows(at).some((row) => row.endsWith('<b>hi</b>')))";
    page.until(said).await;
    page.until("document.querySelector('b') === null").await;

    for (cut, other) in [("ws", "sse"), ("sse", "ws")] {
        page.write(&format!("click('{cut}')")).await;
        page.write(&format!("void (from = received('{other}'))"))
            .await;
        page.until(&format!("received('{other}') >= from + 25"))
            .await;
        page.write(&format!("click('{cut}')")).await;
        page.until(&format!("missed('{cut}') > 0")).await;
        let told = format!("text('#{cut} p.gap').includes('away for too long')");
        page.until(&told).await;
        page.until("agree() && text('#compared').includes(' events compared.')")
            .await;
    }

    demo.stop().await;
    page.until("state('sse') === 'reconnecting' && state('ws') === 'reconnecting'")
        .await;
    page.quit().await;
}
