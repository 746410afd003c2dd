//! The page of the library at work, in Chromium.

use crate::demo::Demo;
use crate::several::Several;

const TOOLS: &str = "void Object.assign(window, { \
    find: (selector) => document.querySelector(selector), \
    text: (selector) => find(selector)?.textContent, \
    number: (selector) => Number(text(selector).replaceAll(',', '')), \
    state: () => text('#state'), \
    rate: (at) => { find('#rate').value = at; \
        find('#rate').dispatchEvent(new InputEvent('input', { bubbles: true })); }, \
    client: (at, what) => `#clients li:nth-child(${at}) ${what}`, \
    click: (selector) => find(selector).click(), \
    nodes: () => document.querySelectorAll('*').length, \
})";

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_reading_is_told_its_gap() {
    let demo = Demo::start_with("dashboard", &[]).await;
    let mut page = open(&demo.url).await;
    page.until("number('#published') > 0 && number('#subscribers') === 1 && text('#gaps') === '0'")
        .await;
    page.until("find('#no-clients').checkVisibility()").await;
    page.write("rate(9); click('#add')").await;
    page.until("text('#rate-shown') === '500' && number('#published') > 200")
        .await;
    page.until("text(client(1, '.state')) === 'overtaken'")
        .await;
    page.until("text('#behind') === '1,000' && number('#subscribers') === 2")
        .await;
    page.until("text(client(1, '.figure')) === '1,000 events behind, 0 received, 0 missed'")
        .await;
    page.until("text(client(1, '.gap')) === '' && !find('#no-clients').checkVisibility()")
        .await;

    page.write("click(client(1, '.toggle'))").await;
    page.until("/^Missed: [1-9][0-9,]*, because it read too slowly \\(slow\\)\\.$/.test(text(client(1, '.gap')))")
        .await;
    page.until("text(client(1, '.state')) === 'reading' && text(client(1, '.toggle')) === 'Stall'")
        .await;
    page.until("text('#gaps') === '1' && text('#missed') === `${/[0-9,]+[0-9]/.exec(text(client(1, '.gap')))[0]} missed`")
        .await;
    // It does not fall behind this page again, and what it has had adds up.
    page.until("!text(client(1, '.figure')).includes('add up')")
        .await;

    page.write("for (let i = 0; i < 6; i += 1) click('#add')")
        .await;
    page.until("document.querySelectorAll('#clients li').length === 6")
        .await;
    page.until("text('#fault') === 'Not done: there are enough of them.'")
        .await;
    for _ in 0..6 {
        page.write("click(client(1, '.remove'))").await;
        page.write("void (left = document.querySelectorAll('#clients li').length)")
            .await;
        page.until("document.querySelectorAll('#clients li').length < left || left === 0")
            .await;
    }
    page.until("number('#subscribers') === 1 && text('#fault') === ''")
        .await;
    page.until("text('#own-check').startsWith('None is missing')")
        .await;
    page.quit().await;
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_cut_goes_on_where_it_was() {
    let demo = Demo::start_with("dashboard", &[]).await;
    let mut page = open(&demo.url).await;
    page.until("number('#published') > 0 && text('#own').includes('received')")
        .await;
    page.write("click('#cut')").await;
    page.until("state() === 'cut' && text('#cut') === 'Resume'")
        .await;
    page.write("void (before = text('#own'))").await;
    page.write("click('#cut')").await;
    page.until("state() === 'live' && text('#own') !== before")
        .await;
    page.until("text('#own-check').startsWith('None is missing') && text('#gap') === ''")
        .await;

    // Away for longer than the hub keeps what it would have had.
    page.write("click('#cut')").await;
    page.until("state() === 'cut'").await;
    let script = "fetch('/rate', { method: 'POST', body: '5000' })";
    page.write(script).await;
    let evicted = "fetch('/events?topic=figures').then(async (answer) => { \
        const reader = answer.body.getReader(); let text = ''; \
        while (!/\"evicted\":[1-9]\\d{3}/.test(text)) \
            text += new TextDecoder().decode((await reader.read()).value); \
        reader.cancel(); return true; })";
    page.write(&format!(
        "void {evicted}.then((value) => {{ window.isGone = value; }})"
    ))
    .await;
    page.until("window.isGone === true").await;
    // So slowly that no other gap is told, however busy the machine is.
    page.write("fetch('/rate', { method: 'POST', body: '50' })")
        .await;
    page.write("click('#cut')").await;
    page.until("text('#gap').endsWith('because this page was away for too long (evicted).')")
        .await;
    page.until("/^[1-9][0-9,]* missing by their numbers; 1 gap told\\.$/.test(text('#own-check'))")
        .await;
    page.until("number('#gaps') === 1").await;
    page.quit().await;
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_stays_sane_at_any_rate() {
    let demo = Demo::start_with("dashboard", &[]).await;
    let mut page = open(&demo.url).await;
    page.until("document.querySelectorAll('#feed li').length === 8")
        .await;
    page.until("number('#submitted') !== 0 && text('#rate-shown') === '100'")
        .await;
    page.write("void (before = nodes())").await;
    for (at, shown) in [(12, "5,000"), (0, "0"), (9, "500"), (12, "5,000"), (1, "1")] {
        page.write(&format!("rate({at})")).await;
        page.until(&format!("text('#rate-shown') === '{shown}'"))
            .await;
        page.until("Math.abs(nodes() - before) < 20").await;
        page.until("document.querySelectorAll('#feed li').length <= 8")
            .await;
        // The server has it, and the page says what the server says.
        let asked = shown.replace(',', "");
        page.until(&format!(
            "number('#published') >= {asked} * 0.5 && number('#published') <= {asked} * 2 + 1"
        ))
        .await;
    }
    page.until("state() === 'live'").await;
    page.quit().await;
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_told_and_survived() {
    let demo = Demo::start_with("dashboard", &[]).await;
    let mut page = open(&demo.url).await;
    page.until("number('#published') > 0 && text('#own').includes('received')")
        .await;
    let address = demo.address();
    demo.stop().await;
    page.until("state() === 'reconnecting'").await;
    let demo = Demo::start_at(address, "dashboard", &[]).await;
    page.until("state() === 'live'").await;
    page.until(
        "text('#gap') === 'Events may be missing, because the server was restarted (epoch).'",
    )
    .await;
    page.write("void (before = text('#own'))").await;
    page.until("text('#own') !== before && text('#own-check').startsWith('None is missing')")
        .await;
    page.quit().await;
    demo.stop().await;
}

/// A page that is live.
async fn open(url: &str) -> Several {
    let mut page = Several::browser(url).await;
    page.write(TOOLS).await;
    page.until("state() === 'live'").await;
    page
}
