//! The page of the document, in several Chromiums: what one says the others see, live, from
//! a server of another origin, which may end and come back.

use std::net::{SocketAddr, TcpListener};

use serde_json::json;

use crate::demo::Demo;
use crate::several::Several;

const TOOLS: &str = "void Object.assign(window, { \
    find: (selector) => document.querySelector(selector), \
    text: (selector) => find(selector).textContent, \
    rows: () => [...document.querySelectorAll('#comments li')].map((row) => row.textContent), \
    say: (name, text) => { find('#name').value = name; find('#say').value = text; \
        find('#post').requestSubmit(); }, \
})";

const SCRIPT: &str =
    "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">";

const EMBEDDED: [&str; 2] = ["--events", "127.0.0.1:0"];

#[tokio::test(flavor = "multi_thread")]
async fn what_one_says_of_a_page_all_see_who_watch_it() {
    let demo = Demo::start_with("document", &EMBEDDED).await;
    let mut ann = open(&demo.url).await;
    let mut bob = open(&format!("{}/pages/welcome", demo.url)).await;
    let mut cleo = open(&format!("{}/pages/roadmap", demo.url)).await;
    let other_origin = "new URL(source.url).origin !== location.origin";
    assert_eq!(ann.value(other_origin).await, true);
    ann.until("find('#none').checkVisibility()").await;
    say(&mut ann, "ann", "hello").await;
    bob.until("rows().length === 1").await;
    say(&mut bob, "<b>bob</b>", SCRIPT).await;
    ann.until("rows().length === 2").await;
    say(&mut ann, "", "two\nlines &amp; %41+").await;
    let rows = json!([
        "ann #1 hello",
        format!("<b>bob</b> #2 {SCRIPT}"),
        "somebody #3 two\nlines &amp; %41+",
    ]);
    let inert = "document.querySelectorAll('#comments script, #comments img, #comments b b').length === 0 \
        && document.title === 'Welcome'";
    for page in [&mut ann, &mut bob] {
        page.until("rows().length === 3").await;
        assert_eq!(page.value("rows()").await, rows);
        assert_eq!(page.value(inert).await, true);
    }
    // Who comes later has it from the app, and then goes on.
    let mut late = open(&demo.url).await;
    assert_eq!(late.value("rows()").await, rows);
    assert_eq!(late.value(inert).await, true);
    say(&mut ann, "ann", "next").await;
    late.until("rows().length === 4 && rows()[3] === 'ann #4 next'")
        .await;
    // Of another page nobody is told.
    say(&mut cleo, "cleo", "elsewhere").await;
    assert_eq!(cleo.value("rows()").await, json!(["cleo #1 elsewhere"]));

    ann.write("void find('#say').removeAttribute('required'); say('ann', ' ')")
        .await;
    ann.until("text('#fault').startsWith('Not taken: the app says 400.')")
        .await;
    let key = ann.value("find('#post button').value").await;
    demo.stop().await;
    ann.until("text('#state') === 'reconnecting'").await;
    ann.write("say('ann', 'kept')").await;
    ann.until("text('#fault').startsWith('Not taken: the app cannot be reached.')")
        .await;
    // So it may be sent again.
    assert_eq!(ann.value("find('#say').value").await, "kept");
    assert_eq!(ann.value("find('#post button').value").await, key);
    for page in [ann, bob, cleo, late] {
        page.quit().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_page_is_for_who_brings_the_token() {
    let demo = Demo::start_with("document", &EMBEDDED).await;
    let mut page = Several::browser(&format!("{}/pages/minutes", demo.url)).await;
    page.write(TOOLS).await;
    assert_eq!(page.value("text('#state')").await, "private");
    // The page says what it is, and its form leads there.
    let token = "[...document.querySelectorAll('code')].at(-1).textContent";
    assert_eq!(page.value(token).await, "sesame");
    let form = "`${find('form').method} ${find('form').action} ${find('form input').name}`";
    let leads = format!("get {}/pages/minutes token", demo.url);
    assert_eq!(page.value(form).await, json!(leads));
    page.quit().await;

    let mut ann = open(&format!("{}/pages/minutes?token=sesame", demo.url)).await;
    let mut bob = open(&format!("{}/pages/minutes?token=sesame", demo.url)).await;
    say(&mut ann, "ann", "between us").await;
    bob.until("rows()[0] === 'ann #1 between us'").await;
    ann.quit().await;
    bob.quit().await;
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_without_scripts_comments_and_reads() {
    let demo = Demo::start_with("document", &EMBEDDED).await;
    let mut live = open(&demo.url).await;
    let mut plain = Several::browser_without_scripts(&demo.url).await;
    for (at, text) in ["first", SCRIPT].iter().enumerate() {
        plain.write("page.fill('#name', 'cleo')").await;
        plain
            .write(&format!("page.fill('#say', {})", json!(text)))
            .await;
        // As the browser does it: a post, a redirect, a page.
        plain.write("page.click('#post button')").await;
        let row = json!(format!("cleo #{} {text}", at + 1));
        live.until(&format!("rows()[{at}] === {row}")).await;
    }
    let seen =
        "[...document.querySelectorAll('#comments li, title, #state')].map((e) => e.textContent)";
    let seen = plain
        .value(&format!("await page.evaluate({})", json!(seen)))
        .await;
    let said = format!("cleo #2 {SCRIPT}");
    assert_eq!(seen, json!(["Welcome", "not live", "cleo #1 first", said]));
    let url = format!("{}/pages/welcome#c2", demo.url);
    assert_eq!(plain.value("page.url()").await, url);
    plain.quit().await;
    live.quit().await;
    demo.stop().await;
}

/// With the memory of the process its log is gone; the app's file is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_told_and_the_app_is_asked() {
    let dir = std::env::temp_dir().join(format!("tornadose-clients-{}", std::process::id()));
    let dir = dir.to_str().expect("a path").to_owned();
    let events = free();
    let listen = events.to_string();
    let args = ["--events", &listen, "--dir", &dir];
    let demo = Demo::start_with("document", &args).await;
    let mut ann = open(&demo.url).await;
    say(&mut ann, "ann", "before").await;
    let address = demo.address();
    demo.stop().await;
    ann.until("text('#state') === 'reconnecting'").await;

    let demo = Demo::start_at(address, "document", &args).await;
    ann.until("text('#state') === 'live'").await;
    let gap = "Comments may be missing, because the log was begun anew. Fetched from the app: 0.";
    ann.until(&format!("text('#gap') === {}", json!(gap))).await;
    say(&mut ann, "ann", "after").await;
    let rows = json!(["ann #1 before", gap, "ann #2 after"]);
    assert_eq!(ann.value("rows()").await, rows);
    ann.quit().await;
    demo.stop().await;
    std::fs::remove_dir_all(&dir).expect("removed");
}

/// Two processes, and a Redis that the test starts: the event server ends and comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_survives_a_restart_of_the_event_server() {
    let redis = crate::server::Server::durable();
    let events = free();
    let (url, at) = (redis.url(), events.to_string());
    let app = Demo::start_with("document", &["app", "--redis", &url, "--events", &at]).await;
    let of = app.address().to_string();
    let args = ["events", "--redis", &url, "--app", &of];
    let server = Demo::start_at(events, "document", &args).await;
    let mut ann = open(&app.url).await;
    let mut bob = open(&app.url).await;
    say(&mut ann, "ann", "one").await;
    bob.until("rows()[0] === 'ann #1 one'").await;

    server.stop().await;
    bob.until("text('#state') === 'reconnecting'").await;
    // Taken while nobody is told.
    say(&mut ann, "ann", "two").await;
    say(&mut ann, "ann", "three").await;
    assert_eq!(bob.value("rows().length").await, 1);
    let server = Demo::start_at(events, "document", &args).await;
    bob.until("text('#state') === 'live'").await;
    bob.until("rows().length === 3").await;
    say(&mut ann, "ann", "four").await;
    let rows = json!(["ann #1 one", "ann #2 two", "ann #3 three", "ann #4 four"]);
    for page in [&mut ann, &mut bob] {
        page.until("rows().length === 4").await;
        assert_eq!(page.value("rows()").await, rows);
        assert_eq!(page.value("text('#gap')").await, "", "nothing is missing");
    }
    ann.quit().await;
    bob.quit().await;
    server.stop().await;
    app.stop().await;
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

/// A page that is live.
async fn open(url: &str) -> Several {
    let mut page = Several::browser(url).await;
    page.write(TOOLS).await;
    page.until("text('#state') === 'live'").await;
    page
}

/// Comments, and waits until it is there.
async fn say(page: &mut Several, name: &str, text: &str) {
    page.write(&format!("say({}, {})", json!(name), json!(text)))
        .await;
    page.until(&format!("rows().at(-1)?.endsWith({})", json!(text)))
        .await;
    page.until("find('#say').value === '' && text('#fault') === ''")
        .await;
}
