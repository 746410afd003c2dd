//! Tabs that share a stream: what each of them gets is what was submitted, once, whatever
//! becomes of the others and of the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::sleep;
use tornadose::{
    DataStore, Event, EventName, Hub, Permit, Policy, Position, QueueStore, Refusal, Retention,
    Topics,
};

use crate::browser::{Browser, until};
use crate::stage::{Stage, events};

const TABS: [&str; 3] = ["a", "b", "c"];

/// Three tabs that share the connection of the first.
async fn three(stage: &Stage, streams: impl Fn() -> usize) -> Browser {
    let mut browser = Browser::start();
    for tab in TABS {
        browser.follow(tab, &stage.url()).await;
        until("the tab shares the stream", || streams() == 1).await;
    }
    browser
}

fn submit(store: &QueueStore, event: impl Into<Event>) -> Position {
    let submitted = store.submit(event).expect("taken");
    submitted.id().expect("in memory")
}

#[tokio::test(flavor = "multi_thread")]
async fn tabs_share_one_connection() {
    let store = QueueStore::new();
    let stage = Stage::new(events(store.clone()));
    let mut browser = three(&stage, || store.subscribers()).await;

    let long = "ä€😀".repeat(30_000);
    for data in [
        "plain",
        "one\rtwo\r\nthree\nfour",
        "",
        " one space before",
        "\u{feff}a byte order mark",
        "id: 9\nevent: x\n:x",
        "data: x\n\nretry: 1\n\n",
        "\n",
        "\n\n\n",
        "a: b: c",
        "null \0 null",
        "\u{b}\u{c}\u{1c}\u{85}\u{2028}data: x\u{2029} break no line",
        &long,
    ] {
        let position = submit(&store, data);
        let data = data.replace("\r\n", "\n").replace('\r', "\n");
        browser.all_get(&TABS, &data, position).await;
    }
    let tick = Event::new("1").name(EventName::from_static("tick"));
    let position = submit(&store, tick).to_string();
    for tab in TABS {
        let event = ("tick".to_owned(), json!("1"), position.clone());
        assert_eq!(browser.event(tab).await, event);
        assert!(browser.is_quiet(tab).await);
    }

    // The two that came later had one of their own, until they knew where they were.
    assert_eq!(store.subscribers(), 1);
    let requests = stage.requests();
    let mut expected = Vec::new();
    for _ in TABS {
        expected.extend(["/", "/tornadose.js", "/events?lastEventId=&for=tabs"]);
    }
    assert_eq!(requests, expected);
}

/// How the tab that has the connection leaves.
#[derive(Clone, Copy)]
enum Leaving {
    Closed,
    Crashed,
    Frozen,
    Told,
}

/// While events are submitted, the tab that has the connection leaves, and then the next.
async fn leave_one_after_the_other(first: Leaving, second: Leaving) {
    const EVENTS: usize = 400;
    let store = QueueStore::new();
    let stage = Stage::new(events(store.clone()));
    let mut browser = three(&stage, || store.subscribers()).await;

    let submitting = tokio::spawn({
        let store = store.clone();
        async move {
            for n in 0..EVENTS {
                submit(&store, n.to_string());
                sleep(Duration::from_millis(5)).await;
            }
        }
    });
    let mut received = Vec::new();
    for (leader, leaving) in [("a", first), ("b", second)] {
        let enough = received.len() + EVENTS / 4;
        while received.len() < enough {
            received.push(browser.event("c").await);
        }
        match leaving {
            Leaving::Closed => browser.close(leader).await,
            Leaving::Crashed => browser.crash(leader).await,
            Leaving::Frozen => browser.lifecycle(leader, "frozen").await,
            Leaving::Told => browser.run(leader, "source.close()").await,
        }
    }
    while received.len() < EVENTS {
        received.push(browser.event("c").await);
    }
    submitting.await.expect("submitted");
    assert!(browser.is_quiet("c").await);
    for (n, (name, data, _)) in received.iter().enumerate() {
        assert_eq!((&**name, data), ("message", &json!(n.to_string())));
    }
    until("one stream is left", || store.subscribers() == 1).await;

    // Who is thawed has missed nothing either.
    for (tab, leaving) in [("a", first), ("b", second)] {
        if let Leaving::Frozen = leaving {
            browser.lifecycle(tab, "active").await;
            for n in 0..EVENTS {
                let (name, data, _) = browser.event(tab).await;
                assert_eq!((&*name, data), ("message", json!(n.to_string())));
            }
            until("it shares the stream", || store.subscribers() == 1).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tabs_are_closed() {
    leave_one_after_the_other(Leaving::Closed, Leaving::Told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tabs_crash() {
    leave_one_after_the_other(Leaving::Crashed, Leaving::Closed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tabs_freeze_and_thaw() {
    leave_one_after_the_other(Leaving::Frozen, Leaving::Frozen).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_revives_whatever_ends_it() {
    let store = QueueStore::new();
    let mut stage = Stage::new(events(store.clone()));
    let mut browser = three(&stage, || store.subscribers()).await;

    let first = submit(&store, "first");
    browser.all_get(&TABS, "first", first).await;
    for status in [503, 500, 404, 401] {
        stage.answer(store.clone(), status);
        // The stream itself was cut, and then is not given.
        for tab in TABS {
            browser.loses(tab, 200).await;
            browser.loses(tab, status).await;
            browser.loses(tab, status).await;
        }
        let missed = submit(&store, format!("during {status}"));
        stage.set(events(store.clone()));
        browser
            .all_get(&TABS, &format!("during {status}"), missed)
            .await;
    }
    // It is something else.
    stage.answer_with_a_page(true);
    for tab in TABS {
        for _ in 0..3 {
            browser.loses(tab, 200).await;
        }
    }
    stage.answer_with_a_page(false);
    let position = submit(&store, "a stream again");
    browser.all_get(&TABS, "a stream again", position).await;
    // Nobody is there.
    stage.refuse().await;
    for tab in TABS {
        browser.loses(tab, 200).await;
        browser.loses(tab, 0).await;
        browser.loses(tab, 0).await;
    }
    let missed = submit(&store, "alone");
    stage.listen();
    for tab in TABS {
        browser.gets(tab, "alone", missed).await;
        assert_eq!(browser.value(tab, "source.readyState").await, 1);
        assert!(browser.is_quiet(tab).await);
    }
    assert_eq!(store.subscribers(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_longer_and_longer() {
    let store = QueueStore::new();
    let stage = Stage::new(events(store.clone()));
    let mut browser = Browser::start();
    browser.open("a", &stage.url()).await;
    // Where waiting is seen, and takes no time; chance is at its most.
    let script = "Math.random = () => 1;
        const real = setTimeout;
        window.setTimeout = (act, time) => (report({ waits: time }), real(act, 1));
        follow()";
    browser.run("a", script).await;
    assert_eq!(browser.next("a").await, json!({"open": 1}));
    submit(&store, "first");
    browser.event("a").await;

    stage.answer(store.clone(), 503);
    let mut waits = Vec::new();
    while waits.len() < 13 {
        if let Some(time) = browser.next("a").await.get("waits") {
            waits.push(time.as_u64().expect("a time"));
        }
    }
    // 100 ms was told; at most twice that, then double, up to a minute at most twice.
    let doubled = (0..).map(|n| 200 << n);
    let mut expected: Vec<u64> = doubled.take_while(|wait| *wait < 120_000).collect();
    expected.resize(13, 120_000);
    assert_eq!(waits, expected);
}

/// The next event of each tab is this gap.
async fn all_get_a_gap(browser: &mut Browser, reason: &str, missed: Option<&str>) {
    for tab in TABS {
        let (name, gap, id) = browser.event(tab).await;
        assert_eq!((&*name, &gap["reason"]), ("gap", &json!(reason)));
        assert_eq!(gap.get("missed").and_then(Value::as_str), missed);
        assert_eq!(gap["resume"], *id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_tabs_are_told_of_a_gap() {
    let short = || {
        let retention = Retention::new().events(5);
        QueueStore::builder().retention(retention).build()
    };
    let store = short();
    let mut stage = Stage::new(events(store.clone()));
    let mut browser = three(&stage, || store.subscribers()).await;
    let first = submit(&store, "first");
    browser.all_get(&TABS, "first", first).await;

    // By the retention.
    stage.refuse().await;
    until("it is lost", || store.subscribers() == 0).await;
    let positions: Vec<_> = (1..=20).map(|n| submit(&store, n.to_string())).collect();
    stage.listen();
    all_get_a_gap(&mut browser, "evicted", Some("15")).await;
    for n in 16..=20 {
        browser
            .all_get(&TABS, &n.to_string(), positions[n - 1])
            .await;
    }

    // By another server, which has another log.
    stage.refuse().await;
    until("it is lost", || store.subscribers() == 0).await;
    let other = short();
    submit(&other, "nobody was there");
    stage.set(events(other.clone()));
    stage.listen();
    all_get_a_gap(&mut browser, "epoch", None).await;
    let next = submit(&other, "next");
    for tab in TABS {
        browser.gets(tab, "next", next).await;
        assert!(browser.is_quiet(tab).await);
    }
    assert_eq!((store.subscribers(), other.subscribers()), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_content_ends_it_in_all_tabs() {
    let store = QueueStore::new();
    let stage = Stage::new(events(store.clone()));
    let mut browser = three(&stage, || store.subscribers()).await;
    stage.answer(store.clone(), 204);
    for tab in TABS {
        assert_eq!(browser.next(tab).await, json!({"error": 200, "state": 0}));
        assert_eq!(browser.next(tab).await, json!({"error": 204, "state": 2}));
    }
    let streams = stage.streams();
    assert_eq!(streams, TABS.len() + 1);
    // And nobody comes back, also not when it is woken.
    browser.lifecycle("b", "frozen").await;
    browser.lifecycle("b", "active").await;
    stage.set(events(store.clone()));
    sleep(Duration::from_millis(500)).await;
    for tab in TABS {
        assert!(browser.is_quiet(tab).await);
    }
    assert_eq!(stage.streams(), streams);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_tab_begins_as_it_would_alone() {
    let store = DataStore::with_initial("21.5").expect("a value");
    let stage = Stage::new(events(store.clone()));
    let mut browser = Browser::start();
    for tab in TABS {
        browser.follow(tab, &stage.url()).await;
        let (_, data, _) = browser.event(tab).await;
        assert_eq!(data, "21.5", "{tab}");
        until("it shares the stream", || store.subscribers() == 1).await;
    }
    store.submit("22").expect("taken");
    for tab in TABS {
        assert_eq!(browser.event(tab).await.1, "22");
        assert!(browser.is_quiet(tab).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_tab_has_the_values_of_all_topics() {
    let policy = Policy::latest();
    let hub = Hub::builder().policy("value/#".parse().expect("a pattern"), policy);
    let hub = hub.build();
    let say = |topic: &str, data: &str| {
        let event = Event::new(data).topic(topic.parse().expect("a topic"));
        hub.submit(event).expect("taken");
    };
    let rules = |hub: Hub| {
        let topics = ["value/a", "value/b", "said"].map(|name| name.parse().expect("a topic"));
        let topics: Topics = topics.into_iter().collect();
        events(hub).permit(move |_| Ok(Permit::new().topics(topics.clone())))
    };
    say("value/a", "1");
    let stage = Stage::new(rules(hub.clone()));
    let mut browser = Browser::start();
    browser.follow("a", &stage.url()).await;
    assert_eq!(browser.event("a").await.1, "1");
    say("value/b", "2");
    say("said", "before b came");
    for data in ["2", "before b came"] {
        assert_eq!(browser.event("a").await.1, data);
    }
    // What nobody here reads moves the position.
    say("elsewhere", "3");
    browser.follow("b", &stage.url()).await;
    for data in ["1", "2"] {
        assert_eq!(browser.event("b").await.1, data);
    }
    until("it shares the stream", || hub.stats().subscribers == 1).await;
    say("elsewhere", "4");
    say("said", "after b came");
    for tab in ["a", "b"] {
        assert_eq!(browser.event(tab).await.1, "after b came");
        assert!(browser.is_quiet(tab).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_out_of_step_catches_up_alone() {
    let store = QueueStore::new();
    let stage = Stage::new(events(store.clone()));
    let mut browser = three(&stage, || store.subscribers()).await;
    let first = submit(&store, "first");
    browser.all_get(&TABS, "first", first).await;
    // What the leader tells does not get to the others.
    let mute = "window.channel = BroadcastChannel.prototype;
        window.post = channel.postMessage;
        channel.postMessage = () => {}";
    browser.run("a", mute).await;
    let lost = submit(&store, "lost on the way");
    browser.gets("a", "lost on the way", lost).await;
    for tab in ["b", "c"] {
        assert!(browser.is_quiet(tab).await);
    }
    // Then its next message does.
    browser.run("a", "channel.postMessage = post").await;
    let next = submit(&store, "next");
    browser.gets("a", "next", next).await;
    for tab in ["b", "c"] {
        browser.gets(tab, "lost on the way", lost).await;
        browser.gets(tab, "next", next).await;
    }
    until("they share the stream", || store.subscribers() == 1).await;

    // What a tab told that is no longer there comes late: all have had it.
    let name = "tornadose1same-origin${location.origin}/events?for=tabs";
    let late = json!({
        "from": lost.to_string(), "id": next.to_string(), "state": 1,
        "event": "message", "data": "next",
    });
    let last = submit(&store, "last");
    browser.all_get(&TABS, "last", last).await;
    let streams = stage.streams();
    browser.open("late", &stage.url()).await;
    let tell = format!("new BroadcastChannel(`{name}`).postMessage({late})");
    browser.run("late", &tell).await;
    // The others look, and find that there was nothing.
    until("they have looked", || stage.streams() == streams + 2).await;
    until("they share the stream", || store.subscribers() == 1).await;
    let end = submit(&store, "the end");
    for tab in TABS {
        browser.gets(tab, "the end", end).await;
        assert!(browser.is_quiet(tab).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_parsed_where_it_is_asked_for() {
    let store = QueueStore::new();
    let stage = Stage::new(events(store.clone()));
    let mut browser = Browser::start();
    browser.open("a", &stage.url()).await;
    browser.run("a", "follow({ json: true })").await;
    assert_eq!(browser.next("a").await, json!({"open": 1}));
    // Who does not ask for it shares the stream with who does.
    browser.follow("b", &stage.url()).await;
    until("it shares the stream", || store.subscribers() == 1).await;
    for (text, value) in [
        ("{\"n\":[1,null]}", json!({"n": [1, null]})),
        ("7", json!(7)),
        ("no JSON", json!("no JSON")),
        ("", json!("")),
        ("null", json!(null)),
    ] {
        let position = submit(&store, text);
        let event = ("message".to_owned(), value, position.to_string());
        assert_eq!(browser.event("a").await, event);
        browser.gets("b", text, position).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_can_be_shared_each_tab_has_its_own() {
    let store = QueueStore::new();
    let stage = Stage::new(events(store.clone()));
    let mut browser = Browser::start();
    for (n, tab) in TABS.into_iter().enumerate() {
        browser.follow(tab, &stage.insecure_url()).await;
        assert_eq!(
            browser.value(tab, "navigator.locks === undefined").await,
            true
        );
        until("it has a stream", || store.subscribers() == n + 1).await;
    }
    let first = submit(&store, "first");
    browser.all_get(&TABS, "first", first).await;
    stage.answer(store.clone(), 503);
    for tab in TABS {
        browser.loses(tab, 200).await;
        browser.loses(tab, 503).await;
    }
    let missed = submit(&store, "missed");
    stage.set(events(store.clone()));
    browser.all_get(&TABS, "missed", missed).await;
    browser.run("a", "source.close()").await;
    until("two are left", || store.subscribers() == 2).await;
    assert_eq!(browser.value("a", "source.readyState").await, 2);
    let last = submit(&store, "last");
    browser.all_get(&["b", "c"], "last", last).await;
    assert!(browser.is_quiet("a").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_left_and_returned_to_goes_on() {
    let store = QueueStore::new();
    let stage = Stage::new(events(store.clone()));
    let mut browser = three(&stage, || store.subscribers()).await;
    let first = submit(&store, "first");
    browser.all_get(&TABS, "first", first).await;
    browser
        .run("a", "setTimeout(() => location = '/other')")
        .await;
    until("another tab has the stream", || stage.streams() == 4).await;
    let missed = submit(&store, "missed");
    browser.all_get(&["b", "c"], "missed", missed).await;
    browser.back("a").await;
    // It is the same page, not a new one.
    browser.gets("a", "missed", missed).await;
    until("it shares the stream", || store.subscribers() == 1).await;
    let last = submit(&store, "last");
    for tab in TABS {
        browser.gets(tab, "last", last).await;
        assert!(browser.is_quiet(tab).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_kept_without_being_frozen_goes_on() {
    let store = QueueStore::new();
    let stage = Stage::new(events(store.clone()));
    let mut browser = three(&stage, || store.subscribers()).await;
    let is = |what: &str| format!("dispatchEvent(new Event('{what}'))");
    // It is shown while it runs, as when it is loaded.
    browser.run("a", &is("pageshow")).await;
    browser.run("a", &is("pagehide")).await;
    until("another tab has the stream", || stage.streams() == 4).await;
    let missed = submit(&store, "missed");
    browser.all_get(&["b", "c"], "missed", missed).await;
    assert!(browser.is_quiet("a").await);
    for what in ["pageshow", "pageshow"] {
        browser.run("a", &is(what)).await;
    }
    browser.gets("a", "missed", missed).await;
    until("it shares the stream", || store.subscribers() == 1).await;
    let last = submit(&store, "last");
    for tab in TABS {
        browser.gets(tab, "last", last).await;
        assert!(browser.is_quiet(tab).await);
    }
    assert_eq!(stage.streams(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_and_inherits_the_stream_does_not_wait() {
    let store = QueueStore::new();
    let stage = Stage::new(events(store.clone()));
    let mut browser = Browser::start();
    browser.follow("a", &stage.url()).await;
    let busy = StatusCode::SERVICE_UNAVAILABLE;
    stage.set(events(store.clone()).permit(move |_| Err(Refusal::status(busy))));
    browser.open("b", &stage.url()).await;
    // Its wait never ends.
    browser
        .run("b", "window.setTimeout = () => {}; follow()")
        .await;
    browser.loses("b", 503).await;
    stage.set(events(store.clone()));
    browser.close("a").await;
    assert_eq!(browser.next("b").await, json!({"open": 1}));
    let next = submit(&store, "next");
    browser.gets("b", "next", next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fragment_makes_no_other_stream() {
    let store = QueueStore::new();
    let stage = Stage::new(events(store.clone()));
    let mut browser = Browser::start();
    for (tab, url) in TABS
        .into_iter()
        .zip(["/events#a", "/events#b?c", "/events"])
    {
        browser.open(tab, &stage.url()).await;
        browser.run(tab, &format!("follow({{}}, '{url}')")).await;
        assert_eq!(browser.next(tab).await, json!({"open": 1}));
        until("the tab shares the stream", || store.subscribers() == 1).await;
    }
    let mut requests = stage.requests();
    requests.retain(|asked| asked.starts_with("/events"));
    assert_eq!(requests, ["/events?lastEventId=&"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_closed_leaves_nothing_at_the_window() {
    let store = QueueStore::new();
    let stage = Stage::new(events(store.clone()));
    let mut browser = Browser::start();
    browser.open("a", &stage.url()).await;
    let script = "window.kept = [];
        window.addEventListener = (...added) => kept.push(added);
        window.removeEventListener = (...gone) =>
            (kept = kept.filter((added) => added.some((part, n) => part !== gone[n])));
        follow()";
    browser.run("a", script).await;
    assert_eq!(browser.next("a").await, json!({"open": 1}));
    let types = "kept.map(([type]) => type).sort()";
    let expected = json!(["freeze", "pagehide", "pageshow", "resume"]);
    assert_eq!(browser.value("a", types).await, expected);
    browser.run("a", "source.close()").await;
    assert_eq!(browser.value("a", types).await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn tabs_that_come_in_the_middle_have_no_seam() {
    const MOST: usize = 10_000;
    let store = QueueStore::new();
    let stage = Stage::new(events(store.clone()));
    let mut browser = Browser::start();
    browser.follow("a", &stage.url()).await;
    until("it has a stream", || store.subscribers() == 1).await;
    let enough = Arc::new(AtomicBool::new(false));
    let submitting = tokio::spawn({
        let (store, enough) = (store.clone(), Arc::clone(&enough));
        async move {
            let mut count = 0;
            while count < MOST && !enough.load(Ordering::SeqCst) {
                submit(&store, count.to_string());
                count += 1;
                // In lots, so that there is always something on the way.
                if count.is_multiple_of(3) {
                    sleep(Duration::from_millis(10)).await;
                }
            }
            count
        }
    });
    for tab in ["b", "c"] {
        browser.follow(tab, &stage.url()).await;
    }
    // They find their place between two events, without a pause.
    until("one stream is left", || store.subscribers() == 1).await;
    enough.store(true, Ordering::SeqCst);
    let last = submitting.await.expect("submitted");
    assert!(last < MOST);
    submit(&store, last.to_string());
    for tab in TABS {
        let mut expected = match browser.event(tab).await.1.as_str().map(str::parse) {
            Some(Ok(0)) if tab == "a" => 1,
            Some(Ok(first)) if tab != "a" && first < last => first + 1,
            first => panic!("{tab} began with {first:?}"),
        };
        while expected <= last {
            assert_eq!(browser.event(tab).await.1, expected.to_string(), "{tab}");
            expected += 1;
        }
        assert!(browser.is_quiet(tab).await);
    }
}
