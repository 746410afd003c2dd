//! What every page has to be, in Chromium: at 375 and at 1280 pixels, light and dark.

use serde_json::{Value, json};

use crate::demo::Demo;
use crate::several::Several;

/// A page, and what it is to show before it is judged.
struct Page {
    name: &'static str,
    args: &'static [&'static str],
    /// What has to be at hand.
    controls: &'static str,
    /// Is asked until it holds; may do something for it.
    is_ready: &'static str,
}

const PAGES: &[Page] = &[
    Page {
        name: "random",
        args: &["--every", "50"],
        controls: "#value, #state, svg",
        is_ready: "document.querySelector('#line').getAttribute('d').length > 100",
    },
    Page {
        name: "fibonacci",
        args: &["--every", "20"],
        controls: "#value, #state, #list",
        is_ready: "document.querySelectorAll('#list li').length > 100",
    },
    Page {
        name: "chat",
        args: &[],
        controls: "#state, #cut, #name, #room, #text, #say button",
        is_ready: "fetch('/topics/lobby', { method: 'POST', body: `ann: ${'long'.repeat(200)}` }) \
            .then(() => document.querySelectorAll('#messages li').length > 2)",
    },
    Page {
        name: "form",
        args: &["--events", "127.0.0.1:0"],
        controls: "#state, #name, #text, #post button",
        is_ready: "fetch('/', { method: 'POST', redirect: 'manual', \
            body: new URLSearchParams({ name: 'ann', text: 'long'.repeat(200) }) }) \
            .then(() => document.querySelectorAll('#posts li').length > 2)",
    },
    Page {
        name: "dashboard",
        args: &[],
        controls: "#state, #cut, #rate, #add, #published, #rates svg, #lag svg",
        // One client that is told its gap, and one that is overtaken.
        is_ready: "(async () => { \
            await fetch('/rate', { method: 'POST', body: '2000' }); \
            const states = [...document.querySelectorAll('.client .state')]; \
            if (states.length < 2) await fetch('/clients', { method: 'POST' }); \
            const isOver = states.every((state) => state.textContent === 'overtaken'); \
            if (isOver && states.length > 1) document.querySelector('.toggle').click(); \
            return document.querySelector('.client p.gap')?.textContent.includes('slow'); })()",
    },
    #[cfg(feature = "redis")]
    Page {
        name: "document",
        args: &["--events", "127.0.0.1:0"],
        controls: "#state, #pages, #name, #say, #post button, #comments",
        is_ready: "fetch('/pages/welcome/comments', { method: 'POST', redirect: 'manual', \
            body: new URLSearchParams({ name: 'ann', text: 'long'.repeat(200) }) }) \
            .then(() => document.querySelectorAll('#comments li').length > 2)",
    },
    #[cfg(feature = "websocket")]
    Page {
        name: "websocket",
        args: &["--every", "50"],
        controls: "#check, #text, #send, #sse .cut, #ws .cut",
        is_ready: "(() => { const cut = document.querySelector('#ws .cut'); \
            const ahead = /; ([0-9]+) more/.exec(document.querySelector('#compared').textContent); \
            if (cut.textContent === 'Cut' || ahead?.[1] > 25) cut.click(); \
            return document.querySelector('#ws p.gap').textContent !== ''; })()",
    },
];

/// Tells what is wrong with how the page looks.
const FAULTS: &str = include_str!("faults.js");

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_fit_to_be_seen() {
    for Page {
        name,
        args,
        controls,
        is_ready,
    } in PAGES
    {
        let demo = Demo::start_with(name, args).await;
        let mut page = Several::browser(&demo.url).await;
        page.until("document.querySelector('[data-state=live]') !== null")
            .await;
        page.until(&format!("await {is_ready}")).await;
        let faults = FAULTS.lines().filter(|line| !line.starts_with("//"));
        let faults = faults.collect::<Vec<_>>().join(" ");
        let mut grounds = Vec::new();
        for width in [375, 1280] {
            for scheme in ["light", "dark"] {
                page.look(width, scheme).await;
                assert_eq!(page.value("innerWidth").await, width);
                let found = page.value(&faults).await;
                assert_eq!(found, json!([]), "{name} at {width}, {scheme}");
                page.until(&at_hand(controls)).await;
                grounds.push(
                    page.value("getComputedStyle(document.body).backgroundColor")
                        .await,
                );
            }
        }
        assert_eq!(grounds[..2], grounds[2..], "{name}");
        assert_ne!(grounds[0], grounds[1], "{name} in the dark");
        the_focus_is_seen(&mut page, name).await;
        page.quit().await;
        demo.stop().await;
    }
}

/// All of them are there and can be scrolled to, and nothing lies over them.
fn at_hand(controls: &str) -> String {
    let count = controls.split(',').count();
    format!(
        "(() => {{ const all = [...document.querySelectorAll('{controls}')]; \
         return all.length === {count} && all.every((e) => {{ \
             e.scrollIntoView({{ block: 'start' }}); \
             const {{ left, top, width, height }} = e.getBoundingClientRect(); \
             const hit = document.elementFromPoint(left + width / 2, top + Math.min(height, 20) / 2); \
             return width > 0 && height > 0 && (e.contains(hit) || hit?.contains(e)); }}); }})()"
    )
}

/// Whoever goes through the page with the keyboard sees where it is.
async fn the_focus_is_seen(page: &mut Several, name: &str) {
    let controls =
        "[...document.querySelectorAll('button:enabled, input:enabled, select, textarea')]";
    let count = page.value(&format!("{controls}.length")).await;
    let marked = format!(
        "{controls}.filter((e) => {{ e.focus({{ focusVisible: true }}); \
         const style = getComputedStyle(e); \
         return style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2; }}).length"
    );
    assert_eq!(page.value(&marked).await, count, "{name}");
}

/// A server that is restarted has another epoch, and its memory is gone: a lossless store
/// tells so, and the page says it; where the latest value counts, nothing is missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_survives_a_restart_of_its_server() {
    for (name, args, is_told) in [
        ("random", &["--every", "50"][..], false),
        ("fibonacci", &["--every", "50"], true),
    ] {
        let demo = Demo::start_with(name, args).await;
        let mut page = Several::browser(&demo.url).await;
        page.write("void Object.assign(window, { text: (id) => document.getElementById(id)?.textContent })")
            .await;
        page.until("text('state') === 'live' && text('value') !== '\u{2013}'")
            .await;
        let address = demo.address();
        demo.stop().await;
        page.until("text('state') === 'reconnecting'").await;
        let last = page.value("text('value')").await;

        let demo = Demo::start_at(address, name, args).await;
        page.until("text('state') === 'live'").await;
        page.until(&format!("text('value') !== {last}")).await;
        if is_told {
            let gap = "Numbers may be missing, because the server was restarted.";
            page.until(&format!("text('gap') === {}", json!(gap))).await;
            // The sequence begins again, and is right.
            page.until("text('check') === 'each the sum of the two before'")
                .await;
            page.until("Number(text('value')) > 100").await;
        } else {
            assert_eq!(page.value("text('gap') ?? null").await, Value::Null);
        }
        page.quit().await;
        demo.stop().await;
    }
}
