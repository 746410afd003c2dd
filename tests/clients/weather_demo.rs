//! The page of the weather, in Chromium.

use serde_json::json;

use crate::demo::Demo;
use crate::several::Several;
use crate::upstream::{Reply, Upstream, set, singapore};

/// What the scripts of these tests have in common.
const TOOLS: &str = "void Object.assign(window, { \
    all: (selector) => [...document.querySelectorAll(selector)], \
    text: (selector) => find(selector)?.textContent.replaceAll('\\u202f', ' ') ?? '', \
    state: () => text('#state'), \
    banner: () => find('#banner').hidden ? '' : text('#banner'), \
    tile: (kind) => find(`input[value=${kind}]`).closest('label').querySelector('.big') \
        .textContent.replace('\\u202f', ' '), \
    names: () => all('.place h3').map((row) => row.textContent), \
    place: (name, what) => all('.place').find((row) => find('h3', row).textContent === name) \
        .querySelector(what).textContent.replaceAll('\\u202f', ' '), \
    choose: (selector, value) => { find(selector).value = value; \
        find(selector).dispatchEvent(new Event('change', { bubbles: true })); }, \
    line: () => find('#chart .line').getAttribute('d'), \
    frame: async (width, height) => { const made = document.createElement('iframe'); \
        made.style.cssText = `width: ${width}px; height: ${height}px; border: 0`; \
        made.src = '/'; find('body').append(made); window.made = made; }, \
    inFrame: () => made.contentDocument, \
})";

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_the_sample_and_moves() {
    let demo = Demo::start_with("weather", &["--source", "sample", "--every", "1"]).await;
    let mut page = open(&demo.url).await;
    page.until("state() === 'sample' && names().length === 12")
        .await;
    page.until("banner().startsWith('Sample, not the weather')")
        .await;
    page.until("text('h1') === 'Weather in Singapore'").await;
    page.until("find('#licence').textContent.includes('a day that never was')")
        .await;
    for (kind, unit) in [
        ("temperature", r"\\.\\d °C"),
        ("humidity", " %"),
        ("wind", " km/h"),
        ("rain", r"\\.\\d mm"),
    ] {
        let right = format!("new RegExp('^\\\\d+{unit}$').test(tile('{kind}'))");
        page.until(&right).await;
    }
    page.until("all('.place').every((row) => /^[\\d.]+\\u202f°C$/.test(find('.temperature', row).textContent))")
        .await;
    // A picture for each, and one that there is.
    page.until("all('.place use').every((use) => find(use.getAttribute('href') + '[viewBox]'))")
        .await;

    // An hour is there at once.
    page.until("text('#chart-title').endsWith('in the last 60 minutes, average of 12 places')")
        .await;
    page.until("line().split('L').length >= 60").await;
    let before = page.value("[text('#updated'), line()]").await;
    page.until(&format!(
        "text('#updated') !== {} && line() !== {}",
        before[0], before[1]
    ))
    .await;
    page.until("line().split('L').length <= 61").await;
    page.write("find('input[value=rain]').click()").await;
    page.until(
        "text('#chart-title').startsWith('Rain in the last') && text('.ys span').endsWith(' mm')",
    )
    .await;

    page.until("names().join() === names().toSorted().join()")
        .await;
    page.write("choose('#order', 'temperature')").await;
    let sorted = "all('.temperature').map((row) => parseFloat(row.textContent)) \
        .every((value, at, all) => at === 0 || all[at - 1] >= value)";
    page.until(&format!("names()[0] !== 'Admiralty' && {sorted}"))
        .await;
    page.quit().await;
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_survived_with_what_is_known() {
    let sample = ["--source", "sample", "--every", "1"];
    let demo = Demo::start_with("weather", &sample).await;
    let address = demo.url["http://".len()..].to_owned();
    let mut page = open(&demo.url).await;
    page.until("state() === 'sample' && names().length === 12")
        .await;
    demo.stop().await;
    page.until("state() === 'reconnecting' && banner().startsWith('Not connected since ')")
        .await;
    page.until("find('main').classList.contains('old')").await;
    let known = page
        .value("[names().length, tile('temperature').endsWith('°C'), line() !== '']")
        .await;
    assert_eq!(known, json!([12, true, true]));

    let again = [&sample[..], &["--listen", &address]].concat();
    let demo = Demo::start_with("weather", &again).await;
    page.until("state() === 'sample' && !banner().includes('Not connected')")
        .await;
    page.until("!find('main').classList.contains('old')").await;
    let before = page.value("text('#updated')").await;
    page.until(&format!("text('#updated') !== {before}")).await;
    // The sample has begun again, and its line with it.
    page.until("line().split('L').length <= 61").await;
    page.quit().await;
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn live_is_live_and_stale_is_stale() {
    let upstream = Upstream::start(singapore(26.8)).await;
    let url = upstream.url();
    let args = ["--upstream", &url, "--pace", "0", "--every", "1"];
    let demo = Demo::start_with("weather", &args).await;
    let mut page = open(&demo.url).await;
    page.until("state() === 'live' && names().length === 2")
        .await;
    let name = "Ang Mo Kio Avenue 5";
    for (what, text) in [
        (".temperature", "26.8 °C"),
        (".humidity", "81 %"),
        (".wind", "NE 19 km/h"),
        (".rain", "0.0 mm"),
        (".sky span", "Partly Cloudy (Night) in Bishan"),
    ] {
        page.until(&format!("place('{name}', '{what}') === '{text}'"))
            .await;
    }
    page.until("find('.place use').getAttribute('href') === '#partly-night'")
        .await;
    page.until("tile('rain') === '2.4 mm' && tile('temperature') === '26.5 °C'")
        .await;
    page.until("all('#areas b').map((area) => area.textContent).join() === 'Bishan,Tuas'")
        .await;
    page.until("text('#forecast-title') === 'Forecast, 22:30 to 00:30'")
        .await;
    page.write("choose('#speed', 'knots')").await;
    page.until(&format!("place('{name}', '.wind') === 'NE 10.0 knots'"))
        .await;

    // What its licence wants, and that its readings are not new.
    for part in ["17 June 2026", "Singapore Open Data Licence version 1.0"] {
        page.until(&format!("text('#licence').includes('{part}')"))
            .await;
    }
    page.until("find('#licence a').href === 'https://data.gov.sg/open-data-licence'")
        .await;
    page.until("banner() === 'data.gov.sg has had nothing new since 22:54.'")
        .await;

    upstream.answer(|_| Reply::Status(500));
    page.until("state() === 'stale' && banner().startsWith('data.gov.sg answers 500, since ')")
        .await;
    page.until("find('main').classList.contains('old')").await;
    assert_eq!(page.value("tile('temperature')").await, "26.5 °C");

    // A name is a text.
    upstream.answer(|path| {
        let mut set = set(path, 30.0);
        if let Some(name) = set.pointer_mut("/data/stations/0/name") {
            *name = json!("<img src=x onerror=find('main').remove()>");
        }
        if let Some(name) = set.pointer_mut("/data/items/0/forecasts/0/forecast") {
            *name = json!("<b>Fair</b>");
        }
        Reply::Json(set)
    });
    page.until("state() === 'live' && names()[0].startsWith('<img')")
        .await;
    page.until("text('#areas li:last-child span') === '<b>Fair</b>'")
        .await;
    assert_eq!(page.value("all('main img, #areas b b').length").await, 0);
    page.quit().await;
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_source_or_a_network_the_page_says_so() {
    let upstream = Upstream::start(|_| Reply::Status(503)).await;
    let url = upstream.url();
    let args = ["--source", "data.gov.sg", "--upstream", &url, "--pace", "0"];
    let demo = Demo::start_with("weather", &args).await;
    let mut page = open(&demo.url).await;
    page.until("state() === 'no data' && banner().startsWith('data.gov.sg answers 503')")
        .await;
    page.until("tile('temperature') === '–' && names().length === 0")
        .await;
    page.quit().await;
    demo.stop().await;

    // With a fallback that is the sample, and it says why.
    let args = ["--upstream", &url, "--pace", "0", "--every", "86400"];
    let demo = Demo::start_with("weather", &args).await;
    let mut page = open(&demo.url).await;
    page.until("state() === 'sample' && banner().includes('The live source answers 503')")
        .await;
    let offline = "void (Object.defineProperty(navigator, 'onLine', \
        { value: false, configurable: true }), dispatchEvent(new Event('offline')))";
    page.write(offline).await;
    page.until("state() === 'offline' && banner().startsWith('Offline since ')")
        .await;
    page.until("names().length === 12").await;
    page.write("void (delete navigator.onLine, dispatchEvent(new Event('online')))")
        .await;
    page.until("state() === 'sample'").await;
    page.quit().await;
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_room_for_it_on_every_screen() {
    let upstream = Upstream::start(|path| {
        let mut set = set(path, 26.8);
        if let Some(name) = set.pointer_mut("/data/stations/0/name") {
            *name = json!("Llanfairpwllgwyngyll".repeat(4));
        }
        Reply::Json(set)
    })
    .await;
    let url = upstream.url();
    for args in [
        &["--source", "sample"][..],
        &["--upstream", &url, "--pace", "0"],
    ] {
        let demo = Demo::start_with("weather", args).await;
        let mut page = open(&demo.url).await;
        for (width, height) in [(320, 700), (375, 800), (1280, 900)] {
            page.write(&format!("frame({width}, {height})")).await;
            page.until("inFrame()?.querySelectorAll('.place').length >= 2")
                .await;
            page.until("inFrame().querySelector('#chart .line').getAttribute('d') !== ''")
                .await;
            let widths = page
                .value("[made.clientWidth, inFrame().documentElement.scrollWidth]")
                .await;
            assert_eq!(widths, json!([width, width]));
            // Nothing hangs out at the side, and what can be used is there and has a name.
            let out = format!(
                "[...inFrame().querySelectorAll('main *')].filter((element) => {{ \
                    const {{ left, right, width }} = element.getBoundingClientRect(); \
                    return width > 0 && (left < 0 || right > {width}); }}) \
                    .map((element) => element.outerHTML)"
            );
            assert_eq!(page.value(&out).await, json!([]), "{width}");
            let controls = "[...inFrame().querySelectorAll('input, select')].map((control) => \
                [control.labels.length, control.getBoundingClientRect().height > 12])";
            let expected = json!([
                [1, true],
                [1, true],
                [1, true],
                [1, true],
                [1, true],
                [1, true]
            ]);
            assert_eq!(page.value(controls).await, expected);
            page.write("made.remove()").await;
        }
        page.quit().await;
        demo.stop().await;
    }
}

async fn open(url: &str) -> Several {
    let mut page = Several::browser(url).await;
    page.write(TOOLS).await;
    page
}
