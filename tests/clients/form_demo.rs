//! The page of the form, in two Chromiums, one of them without scripts.

use serde_json::json;

use crate::demo::Demo;
use crate::several::Several;

const TOOLS: &str = "void Object.assign(window, { \
    find: (selector) => document.querySelector(selector), \
    text: (selector) => find(selector).textContent, \
    rows: () => [...document.querySelectorAll('#posts li')].map((row) => row.textContent), \
    say: (name, text) => { find('#name').value = name; find('#text').value = text; \
        find('#post').requestSubmit(); }, \
})";

const SCRIPT: &str =
    "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">";

#[tokio::test(flavor = "multi_thread")]
async fn what_one_posts_all_see_as_text() {
    let demo = Demo::start_with("form", &["--events", "127.0.0.1:0"]).await;
    let mut ann = open(&demo.url).await;
    let mut bob = open(&demo.url).await;
    ann.until("find('#none').checkVisibility()").await;
    say(&mut ann, "ann", "hello").await;
    say(&mut bob, "<b>bob</b>", SCRIPT).await;
    say(&mut ann, "", "two\nlines &amp; %41+").await;
    let rows = json!([
        "somebody two\nlines &amp; %41+",
        format!("<b>bob</b> {SCRIPT}"),
        "ann hello",
    ]);
    let inert = "document.querySelectorAll('#posts script, #posts img, #posts b b').length === 0 \
        && document.title === 'A form and its posts'";
    for page in [&mut ann, &mut bob] {
        page.until("rows().length === 3").await;
        assert_eq!(page.value("rows()").await, rows);
        assert_eq!(page.value(inert).await, true);
    }
    // Who comes later has it from the server, written into the page.
    let mut late = open(&demo.url).await;
    assert_eq!(late.value("rows()").await, rows);
    assert_eq!(late.value(inert).await, true);
    say(&mut ann, "ann", "next").await;
    late.until("rows().length === 4 && rows()[0] === 'ann next'")
        .await;

    // Nothing to say, or nobody to say it to.
    ann.write("void find('#text').removeAttribute('required'); say('ann', ' ')")
        .await;
    ann.until("text('#fault') === 'Not posted: the server says 400.'")
        .await;
    demo.stop().await;
    ann.until("text('#state') === 'reconnecting'").await;
    ann.write("say('ann', 'kept')").await;
    ann.until("text('#fault') === 'Not posted: the server cannot be reached.'")
        .await;
    assert_eq!(ann.value("find('#text').value").await, "kept");
    for page in [ann, bob, late] {
        page.quit().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_without_scripts_posts_and_reads() {
    let demo = Demo::start_with("form", &["--events", "127.0.0.1:0"]).await;
    let mut live = open(&demo.url).await;
    let mut plain = Several::browser_without_scripts(&demo.url).await;
    for text in ["first", SCRIPT] {
        plain.write("page.fill('#name', 'cleo')").await;
        plain
            .write(&format!("page.fill('#text', {})", json!(text)))
            .await;
        // As the browser does it: a post, a redirect, a page.
        plain.write("page.click('#post button')").await;
        live.until(&format!("rows()[0] === {}", json!(format!("cleo {text}"))))
            .await;
    }
    let seen =
        "[...document.querySelectorAll('#posts li, title, #state')].map((e) => e.textContent)";
    let seen = plain
        .value(&format!("await page.evaluate({})", json!(seen)))
        .await;
    let said = format!("cleo {SCRIPT}");
    let expected = ["A form and its posts", "not live", &said, "cleo first"];
    assert_eq!(seen, json!(expected));
    assert_eq!(plain.value("page.url()").await, format!("{}/", demo.url));
    plain.quit().await;
    live.quit().await;
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_told_and_survived() {
    let demo = Demo::start_with("form", &["--events", "127.0.0.1:0"]).await;
    let mut page = open(&demo.url).await;
    say(&mut page, "ann", "before").await;
    let port = page.value("find('#posts').dataset.port").await;
    let events = format!("127.0.0.1:{}", port.as_str().expect("a port"));
    let address = demo.address();
    demo.stop().await;
    page.until("text('#state') === 'reconnecting'").await;

    let demo = Demo::start_at(address, "form", &["--events", &events]).await;
    page.until("text('#state') === 'live'").await;
    let gap = "Posts may be missing, because the server was restarted.";
    page.until(&format!("text('#gap') === {}", json!(gap)))
        .await;
    say(&mut page, "ann", "after").await;
    assert_eq!(
        page.value("rows()").await,
        json!(["ann after", gap, "ann before"])
    );
    page.quit().await;
    demo.stop().await;
}

/// A page that is live.
async fn open(url: &str) -> Several {
    let mut page = Several::browser(url).await;
    page.write(TOOLS).await;
    page.until("text('#state') === 'live'").await;
    page
}

/// Posts, and waits until it is there.
async fn say(page: &mut Several, name: &str, text: &str) {
    page.write(&format!("say({}, {})", json!(name), json!(text)))
        .await;
    page.until(&format!("rows()[0]?.endsWith({})", json!(text)))
        .await;
    page.until("find('#text').value === '' && text('#fault') === ''")
        .await;
}
