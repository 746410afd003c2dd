//! What every hub promises, wherever its log is kept: the same tests for all of them.
//!
//! `every_hub!(make)` runs them, `make` being an async function that takes a [`HubBuilder`]
//! and gives a hub that nobody has submitted anything to, and whatever has to live as long.
//! `every_log!(make)` runs what those promise that outlive a hub: there `make` gives an
//! [`Engine`](tornadose::backplane::Backplane) of the same log each time it is asked.

use std::collections::BTreeSet;

use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tokio::time::timeout;
use tornadose::{
    End, Event, EventName, EventSource, Hub, HubBuilder, LastEventId, Permit, Policy, Position,
    Retention, Start, SubmitError, Subscribe, Subscription,
};

use crate::elsewhere::{
    History, PATIENCE, next, next_of, reached, read, read_after, store_here, topic, topics,
};

/// The settings that the tests are about.
pub(crate) fn settings() -> HubBuilder {
    Hub::builder()
        .policy("price/#".parse().expect("a pattern"), Policy::latest())
        .default_policy(Policy::queue(Retention::new().events(1000)))
        .max_event_bytes(1 << 17)
}

macro_rules! every_hub {
    ($make:expr) => {
        crate::every_hub::every_hub!(@ $make;
            any_text_arrives_as_it_was_sent,
            who_comes_gets_what_it_asks_for,
            any_id_goes_on_behind_it,
            one_id_is_a_place_in_many_topics,
            a_value_is_the_newest_one,
            ids_of_others_are_a_gap,
            what_is_not_taken_is_handed_back,
            several_are_taken_in_order,
            many_threads_have_one_order,
            a_stream_is_exact,
            who_wants_the_newest_ends_with_it,
            the_end_is_told_behind_the_last,
        );
    };
    (@ $make:expr; $($promise:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                let (hub, _keeper) = $make(crate::every_hub::settings()).await;
                crate::every_hub::$promise(hub).await;
            }
        )+
    };
}
pub(crate) use every_hub;

macro_rules! every_log {
    ($make:expr) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn a_log_outlives_its_hub() {
            let mut keeper = $make().await;
            let first = crate::every_hub::settings().open(keeper.engine().await);
            let told = crate::every_hub::begin(first.await.expect("an engine")).await;
            let second = crate::every_hub::settings().open(keeper.engine().await);
            crate::every_hub::go_on(second.await.expect("an engine"), told).await;
        }
    };
}
pub(crate) use every_log;

/// Texts that something could be done wrong with.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        " x",
        "\tx",
        "a\nb",
        "\n",
        "a\n",
        "id: 9",
        "event: x\ndata: y",
        ":",
        "\u{feff}y",
        "\0",
        "{\"a\":1}",
        "ü€𝄞",
        "\u{2028}\u{85}",
        "-1",
        "null",
    ]
    .map(String::from)
    .into();
    texts.push("x".repeat(100_000));
    texts.push("\n".repeat(1000));
    texts
}

pub(crate) async fn any_text_arrives_as_it_was_sent(hub: Hub) {
    let mut reader = read(&hub, Start::Live, &["a/ü b", "n"]);
    for text in texts() {
        store_here(&hub, "a/ü b", text.clone()).await;
        assert_eq!(next(&mut reader).await, text);
    }
    let name = EventName::new("größe: 1").expect("a name");
    let retry = std::time::Duration::from_millis(1500);
    store_here(&hub, "n", Event::new("1").name(name.clone()).retry(retry)).await;
    let told = timeout(PATIENCE, reader.recv()).await.expect("in time");
    let entry = told.expect("one").event().expect("an event").clone();
    assert_eq!((entry.name(), entry.data()), (name.as_str(), "1"));
    let id = entry.id();
    assert_eq!(
        &entry.sse()[..],
        format!("id: {id}\nevent: größe: 1\nretry: 1500\ndata: 1\n\n").as_bytes()
    );
    assert_eq!(entry.topic(), Some(&topic("n")));
}

pub(crate) async fn who_comes_gets_what_it_asks_for(hub: Hub) {
    for n in 1..=5 {
        store_here(&hub, "a", n.to_string()).await;
    }
    let mut live = read(&hub, Start::Live, &["a"]);
    let mut oldest = read(&hub, Start::Oldest, &["a"]);
    let mut last = read(&hub, Start::Last(2), &["a"]);
    let mut nothing = hub.subscribe(Start::Oldest);
    store_here(&hub, "a", "6").await;
    assert_eq!(next(&mut live).await, "6");
    assert_eq!(
        next_of(&mut oldest, 6).await,
        ["1", "2", "3", "4", "5", "6"]
    );
    assert_eq!(next_of(&mut last, 3).await, ["4", "5", "6"]);
    assert!(is_quiet(&mut nothing).await);
    assert_eq!(hub.subscribers(), 4);
    assert_eq!(hub.subscribers_of(&topic("a")), 3);
    drop((live, oldest, last, nothing));
    assert_eq!(hub.subscribers(), 0);
}

pub(crate) async fn any_id_goes_on_behind_it(hub: Hub) {
    let mut ids = Vec::new();
    for n in 1..=9 {
        ids.push(store_here(&hub, "a", n.to_string()).await);
    }
    for (at, id) in ids.iter().enumerate() {
        assert_eq!(id.offset(), at as u64 + 1);
        assert_eq!(id.to_string().parse(), Ok(*id));
        let mut reader = read_after(&hub, *id, &["a"]);
        let rest: Vec<_> = (at + 2..=9).map(|n| n.to_string()).collect();
        assert_eq!(next_of(&mut reader, rest.len()).await, rest);
        assert!(is_quiet(&mut reader).await);
        assert_eq!(reader.position(), ids.last().copied());
    }
}

pub(crate) async fn one_id_is_a_place_in_many_topics(hub: Hub) {
    let names = ["a", "b/c", "b/d", "e"];
    let mut first = None;
    for n in 0..20 {
        let id = store_here(&hub, names[n % 4], n.to_string()).await;
        first.get_or_insert(id);
    }
    let first = first.expect("some");
    let of = |names: &[usize]| -> Vec<String> {
        let wanted = (1..20).filter(|n| names.contains(&(n % 4)));
        wanted.map(|n| n.to_string()).collect()
    };
    for (read, names) in [
        (&["a", "e"][..], &[0, 3][..]),
        (&["b/+"], &[1, 2]),
        (&["#"], &[0, 1, 2, 3]),
        (&["b/c", "b/+", "e"], &[1, 2, 3]),
    ] {
        let mut reader = read_after(&hub, first, read);
        let expected = of(names);
        assert_eq!(next_of(&mut reader, expected.len()).await, expected);
        assert!(is_quiet(&mut reader).await);
    }
}

pub(crate) async fn a_value_is_the_newest_one(hub: Hub) {
    let mut early = read(&hub, Start::Live, &["price/oil"]);
    for n in 1..=50 {
        store_here(&hub, "price/oil", n.to_string()).await;
    }
    let last = store_here(&hub, "price/gas", "7").await;
    assert_eq!(hub.get(&topic("price/oil")).expect("a value").data(), "50");
    for names in [&["price/oil", "price/gas"][..], &["price/#"]] {
        let mut reader = read(&hub, Start::Live, names);
        assert_eq!(next_of(&mut reader, 2).await, ["50", "7"]);
        assert!(is_quiet(&mut reader).await);
        let mut knows = read_after(&hub, last, names);
        assert!(is_quiet(&mut knows).await);
    }
    // Values only grow, and none is told twice.
    let mut told = Vec::new();
    loop {
        told.push(next(&mut early).await.parse::<u32>().expect("a number"));
        if told.last() == Some(&50) {
            break;
        }
    }
    assert!(told.is_sorted_by(|one, next| one < next), "{told:?}");
}

pub(crate) async fn ids_of_others_are_a_gap(hub: Hub) {
    let id = store_here(&hub, "a", "1").await;
    let foreign = Position::tagged(0x0123_4567_89ab_cdef, 1, 77);
    for (brings, reason) in [
        (LastEventId::At(foreign), "gap epoch"),
        (LastEventId::Malformed, "gap malformed"),
    ] {
        let subscribe = Subscribe::from(Start::Oldest).after(brings);
        let mut reader = hub.subscribe(subscribe.topics(topics(&["a"])));
        assert_eq!(next_of(&mut reader, 2).await, [reason, "1"]);
    }
    let mut knows = read_after(&hub, id, &["a"]);
    assert!(is_quiet(&mut knows).await);
}

pub(crate) async fn what_is_not_taken_is_handed_back(hub: Hub) {
    let plain = Event::new("1");
    let refused = hub.submit(plain.clone()).expect_err("no topic");
    assert_eq!(refused, SubmitError::NoTopic(plain));
    let large = Event::new("x".repeat((1 << 17) + 1)).topic(topic("a"));
    let refused = hub.submit(large.clone()).expect_err("too large");
    assert_eq!(refused.into_event(), large);
    assert_eq!(store_here(&hub, "a", "1").await.offset(), 1);
    hub.close();
    assert!(hub.is_closed());
    let late = Event::new("2").topic(topic("a"));
    let refused = hub.submit(late.clone()).expect_err("closed");
    assert_eq!(refused, SubmitError::Closed(late));
}

pub(crate) async fn several_are_taken_in_order(hub: Hub) {
    let mut reader = read(&hub, Start::Live, &["#"]);
    let names = ["a", "b", "price/oil"];
    let events = (0..30).map(|n| Event::new(n.to_string()).topic(topic(names[n % 2])));
    let mut last = 0;
    for submitted in hub.submit_all(events).expect("taken") {
        let stored = timeout(PATIENCE, submitted).await.expect("an answer");
        let offset = stored.expect("stored").offset();
        assert!(offset > last);
        last = offset;
    }
    let expected: Vec<_> = (0..30).map(|n| n.to_string()).collect();
    assert_eq!(next_of(&mut reader, 30).await, expected);
}

pub(crate) async fn many_threads_have_one_order(hub: Hub) {
    let (threads, each) = (4, 50);
    let mut readers: Vec<_> = (0..3)
        .map(|_| read(&hub, Start::Live, &["a", "b"]))
        .collect();
    let submitters = (0..threads).map(|thread| {
        let hub = hub.clone();
        std::thread::spawn(move || {
            for n in 0..each {
                let name = ["a", "b"][n % 2];
                let event = Event::new(format!("{thread}:{n}")).topic(topic(name));
                hub.submit(event).expect("room").wait().expect("stored");
            }
        })
    });
    let submitters: Vec<_> = submitters.collect();
    let mut orders = Vec::new();
    for reader in &mut readers {
        orders.push(next_of(reader, threads * each).await);
    }
    for submitter in submitters {
        submitter.join().expect("no panic");
    }
    assert!(orders.iter().all(|order| *order == orders[0]));
    let all: BTreeSet<_> = orders[0].iter().collect();
    assert_eq!(all.len(), threads * each);
    // Each thread's own are in its order.
    for thread in 0..threads {
        let own = orders[0]
            .iter()
            .filter_map(|text| text.strip_prefix(&format!("{thread}:")));
        let own: Vec<usize> = own.map(|n| n.parse().expect("a number")).collect();
        assert!(own.is_sorted());
    }
}

pub(crate) async fn a_stream_is_exact(hub: Hub) {
    let source = EventSource::new(hub.clone());
    let source = source.permit(|_| Ok(Permit::new().topics(topic("a"))));
    let response = source.respond(&Request::new(()));
    assert_eq!(response.status(), StatusCode::OK);
    let mut body = response.into_body();
    let mut text = String::new();
    let mut expected = Vec::new();
    for n in ["1", "two\nlines", ""] {
        expected.push((store_here(&hub, "a", n).await, n));
    }
    let end = format!("id: {}\ndata: \n\n", expected[2].0);
    while !text.ends_with(&end) {
        let frame = timeout(PATIENCE, body.frame()).await.expect("in time");
        let bytes = frame.expect("more").expect("infallible").into_data();
        text += std::str::from_utf8(&bytes.expect("data")).expect("UTF-8");
    }
    let begins = text.split_once("id: ").expect("an id").0;
    assert_eq!(begins, ":\n\n");
    let [one, two, three] = expected.map_ids();
    let blocks = format!(
        "id: {one}\ndata: 1\n\nid: {two}\ndata: two\ndata: lines\n\nid: {three}\ndata: \n\n"
    );
    assert!(text.ends_with(&blocks), "{text}");
}

trait Ids {
    fn map_ids(self) -> [Position; 3];
}

impl Ids for Vec<(Position, &str)> {
    fn map_ids(self) -> [Position; 3] {
        [self[0].0, self[1].0, self[2].0]
    }
}

pub(crate) async fn who_wants_the_newest_ends_with_it(hub: Hub) {
    let subscribe = Subscribe::default().topics(topics(&["a", "b"])).conflate();
    let mut reader = hub.subscribe(subscribe);
    for n in 1..=20 {
        store_here(&hub, "a", n.to_string()).await;
    }
    store_here(&hub, "b", "last").await;
    assert_eq!(next_of(&mut reader, 2).await, ["20", "last"]);
}

pub(crate) async fn the_end_is_told_behind_the_last(hub: Hub) {
    let mut reader = read(&hub, Start::Live, &["a"]);
    let submitted: Vec<_> = (1..=3)
        .map(|n| {
            hub.submit(Event::new(n.to_string()).topic(topic("a")))
                .expect("room")
        })
        .collect();
    hub.close();
    for submitted in submitted {
        timeout(PATIENCE, submitted)
            .await
            .expect("an answer")
            .expect("stored");
    }
    assert_eq!(next_of(&mut reader, 3).await, ["1", "2", "3"]);
    assert_eq!(next(&mut reader).await, "end Some(Closed)");
    assert_eq!(reader.end(), Some(End::Closed));
}

/// What a client has been told by a hub that is gone, and what it has not.
pub(crate) struct Before {
    history: History,
    stored: Vec<(Position, tornadose::Topic, String)>,
}

/// Stores events, tells a client some of them, and ends.
pub(crate) async fn begin(hub: Hub) -> Before {
    let mut before = Before {
        history: History::default(),
        stored: Vec::new(),
    };
    let mut reader = read(&hub, Start::Live, &["a", "b"]);
    before.history.begin(0);
    for n in 0..40 {
        before.store(&hub, n).await;
    }
    for _ in 0..25 {
        let told = timeout(PATIENCE, reader.recv()).await.expect("in time");
        before.history.hear(&told.expect("one"));
    }
    store_here(&hub, "price/oil", "80").await;
    drop(reader);
    hub.close();
    before
}

/// The client comes back to another one, and has everything once.
pub(crate) async fn go_on(hub: Hub, mut before: Before) {
    assert_eq!(
        hub.get(&topic("price/oil")).expect("the value").data(),
        "80"
    );
    let id = before.history.last_event_id().expect("an id");
    let mut reader = read_after(&hub, id, &["a", "b"]);
    for n in 40..60 {
        before.store(&hub, n).await;
    }
    for _ in 25..60 {
        let told = timeout(PATIENCE, reader.recv()).await.expect("in time");
        before.history.hear(&told.expect("one"));
    }
    assert!(is_quiet(&mut reader).await);
    assert_eq!((before.history.events(), before.history.gaps()), (60, 0));
    before
        .history
        .judge(&before.stored, |_| true)
        .expect("all of it");
    let last = before.stored.last().expect("some").0;
    reached(&hub, last).await;
    assert!(before.stored.is_sorted_by(|one, next| one.0 < next.0));
}

impl Before {
    async fn store(&mut self, hub: &Hub, n: usize) {
        let name = ["a", "b"][n % 2];
        let id = store_here(hub, name, n.to_string()).await;
        self.stored.push((id, topic(name), n.to_string()));
    }
}

/// Nothing more comes, as far as can be told at once.
async fn is_quiet(reader: &mut Subscription) -> bool {
    let moment = std::time::Duration::from_millis(50);
    timeout(moment, reader.recv()).await.is_err()
}
