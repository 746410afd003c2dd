//! The page of the chat of many rooms, in two Chromiums that talk to each other.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::demo::Demo;
use crate::several::Several;

/// What the scripts of these tests have in common.
const TOOLS: &str = "void Object.assign(window, { \
    find: (selector) => document.querySelector(selector), \
    state: () => find('#state').textContent, \
    set: (selector, value) => { find(selector).value = value; }, \
    say: (room, text) => { set('#room', room); set('#text', text); find('#say').requestSubmit(); }, \
    post: async (room, from, to) => { for (let n = from; n <= to; n += 1) \
        await fetch(`/topics/${room}`, { method: 'POST', body: `${n}` }); }, \
    rows: () => [...document.querySelectorAll('#messages li')].map((row) => row.textContent), \
    gaps: () => document.querySelectorAll('#messages .gap').length, \
    row: (room) => find(`#in-${room}`).closest('li'), \
    count: (room) => row(room).querySelector('.count').textContent, \
    people: (room) => row(room).querySelector('.people').textContent.split(', ').sort().join(), \
})";

#[tokio::test(flavor = "multi_thread")]
async fn who_was_away_has_everything_once_and_in_order() {
    let demo = Demo::start_with("chat", &[]).await;
    let way = Way::to(&demo).await;
    let mut ann = open(&way.url(), "name=ann").await;
    let mut bob = open(&demo.url, "name=bob").await;
    for page in [&mut ann, &mut bob] {
        for room in ["lobby", "garden"] {
            page.until(&format!(
                "people('{room}') === 'ann,bob' && count('{room}') === '2'"
            ))
            .await;
        }
    }
    let mut said = Vec::new();
    say(&mut ann, "lobby", "ann", "hello", &mut said).await;
    say(&mut bob, "garden", "bob", "<b>hi</b>: &amp;", &mut said).await;
    all_are_there(&mut ann, &said).await;

    // Not told to go: cut off, and not let in again.
    way.cut();
    ann.until("state() === 'reconnecting' && count('lobby') === ''")
        .await;
    for room in ["lobby", "garden"] {
        bob.until(&format!(
            "people('{room}') === 'bob' && count('{room}') === '1'"
        ))
        .await;
    }
    ann.write("say('lobby', 'am I alone?')").await;
    ann.until("find('#fault').textContent.startsWith('Not sent')")
        .await;
    ann.until("find('#text').value === 'am I alone?'").await;
    for number in 0..20 {
        let room = ["lobby", "garden", "lobby"][number % 3];
        say(&mut bob, room, "bob", &number.to_string(), &mut said).await;
    }
    assert_eq!(ann.value("rows().length").await, 2);

    way.open();
    all_are_there(&mut ann, &said).await;
    all_are_there(&mut bob, &said).await;
    bob.until("people('garden') === 'ann,bob' && count('garden') === '2'")
        .await;
    ann.until("state() === 'live' && people('lobby') === 'ann,bob'")
        .await;
    ann.write("find('#say').requestSubmit()").await;
    said.push("lobby ann am I alone?".to_owned());
    all_are_there(&mut bob, &said).await;
    all_are_there(&mut ann, &said).await;

    // Another name, and the same place.
    ann.write("set('#name', 'eve'); find('#me').requestSubmit()")
        .await;
    bob.until("people('lobby') === 'bob,eve' && count('lobby') === '2'")
        .await;
    say(&mut bob, "lobby", "bob", "who?", &mut said).await;
    all_are_there(&mut ann, &said).await;
    for page in [&mut ann, &mut bob] {
        assert_eq!(
            page.value("gaps() + document.querySelectorAll('#messages li b b').length")
                .await,
            0
        );
    }

    ann.quit().await;
    for room in ["lobby", "garden"] {
        bob.until(&format!(
            "people('{room}') === 'bob' && count('{room}') === '1'"
        ))
        .await;
    }
    demo.stop().await;
    bob.until("state() === 'reconnecting'").await;
    bob.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_is_shown_and_rooms_are_picked() {
    let demo = Demo::start_with("chat", &[]).await;
    let mut page = open(&demo.url, "room=garden").await;
    page.write("post('kitchen', 1, 3)").await;
    page.write("post('garden', 1, 2)").await;
    page.until("rows().length === 2").await;

    page.write("find('#cut').click()").await;
    page.until("state() === 'cut' && find('#in-kitchen').disabled")
        .await;
    page.write("post('garden', 3, 312)").await;
    page.write("find('#cut').click()").await;
    page.until("rows().length === 303 && gaps() === 1").await;
    let rows = page
        .value("[0, 1, 2, 3, 302].map((at) => rows()[at])")
        .await;
    let gap = "Something is missing here, because this page was away for too long.";
    let expected = ["garden 1", "garden 2", gap, "garden 13", "garden 312"];
    assert_eq!(rows, json!(expected));

    // What was said before in a room that is new here stands where it belongs.
    page.write("find('#in-kitchen').click()").await;
    page.until("rows().length === 306 && count('kitchen') === '1'")
        .await;
    let rows = page.value("rows().slice(0, 5)").await;
    let expected = [
        "kitchen 1",
        "kitchen 2",
        "kitchen 3",
        "garden 1",
        "garden 2",
    ];
    assert_eq!(rows, json!(expected));
    page.write("find('#in-garden').click()").await;
    page.until("rows().length <= 4 && count('garden') === ''")
        .await;
    page.write("post('garden', 1, 1)").await;
    say(&mut page, "kitchen", "me", "tea", &mut Vec::new()).await;
    assert_eq!(
        page.value("rows().some((row) => row.startsWith('garden'))")
            .await,
        false
    );

    page.until("find('#in-staff').disabled").await;
    page.quit().await;
    let mut staff = open(&demo.url, "room=staff&token=sesame").await;
    say(&mut staff, "staff", "me", "among us", &mut Vec::new()).await;
    staff.quit().await;
    demo.stop().await;
}

/// A page that is live.
async fn open(url: &str, query: &str) -> Several {
    let mut page = Several::browser(&format!("{url}/?{query}")).await;
    page.write(TOOLS).await;
    page.until("state() === 'live'").await;
    page
}

/// Says something and waits until it is there.
async fn say(page: &mut Several, room: &str, who: &str, text: &str, said: &mut Vec<String>) {
    page.write(&format!("say({}, {})", json!(room), json!(text)))
        .await;
    page.until(&format!(
        "rows().at(-1)?.endsWith({})",
        json!(format!(" {text}"))
    ))
    .await;
    said.push(format!("{room} {who} {text}"));
}

async fn all_are_there(page: &mut Several, said: &[String]) {
    page.until(&format!("rows().length >= {}", said.len()))
        .await;
    assert_eq!(page.value("rows()").await, json!(said));
}

/// The way of one browser to a demo, which can be cut.
struct Way {
    address: SocketAddr,
    is_open: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Way {
    async fn to(demo: &Demo) -> Self {
        let demo = demo.address();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (is_open, watched) = watch::channel(true);
        let accepting = tokio::spawn(async move {
            loop {
                let (mut here, _) = listener.accept().await.expect("accepted");
                let mut watched = watched.clone();
                tokio::spawn(async move {
                    let mut there = TcpStream::connect(demo).await.expect("connected");
                    // How it ends is not judged here.
                    tokio::select! {
                        biased;
                        _ = watched.wait_for(|is_open| !is_open) => {}
                        _ = copy_bidirectional(&mut here, &mut there) => {}
                    }
                });
            }
        });
        Self {
            address,
            is_open,
            accepting,
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn cut(&self) {
        self.is_open.send_replace(false);
    }

    fn open(&self) {
        self.is_open.send_replace(true);
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
