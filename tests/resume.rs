//! Coming back with an id: every row of the resume table that a store in memory can
//! meet, every id that is none, and a stream that is cut at every byte.

mod support;

use std::task::Poll;
use std::time::Duration;

use tornadose::test::{Decoder, Message, decode, normalised};
use tornadose::{
    Event, EventName, EventSource, Gap, GapReason, LastEventId, Permit, Position, QueueStore,
    Retention, Start, Subscribe,
};

use support::clock::Clock;
use support::position::{epoch, foreign, place};
use support::reader::{deliveries, heard, reader, waits};

/// A store that was told the numbers 1 to 9, and keeps the last five of them.
fn five_of_nine() -> QueueStore {
    let store = QueueStore::builder()
        .retention(Retention::new().events(5))
        .build();
    (1..=9).for_each(|n| submit(&store, n));
    store
}

fn submit(store: &QueueStore, n: u64) {
    store.submit(n.to_string()).expect("taken");
}

/// A place in the log of this store.
fn at(store: &QueueStore, offset: u64) -> Position {
    place(store.latest().expect("an event"), offset)
}

/// What a client brings, as bytes.
fn brings(id: impl AsRef<[u8]>) -> Subscribe {
    Subscribe::default().after(LastEventId::parse(id.as_ref()))
}

/// The gap with which a subscription begins, and what it hears then.
fn begins(store: &QueueStore, subscribe: Subscribe) -> (Option<Gap>, Vec<String>) {
    let mut subscription = reader(store.subscribe(subscribe));
    let mut told = deliveries(&mut subscription);
    let gap = told.first().and_then(|first| first.gap().copied());
    told.drain(..usize::from(gap.is_some()));
    let events = told
        .iter()
        .map(|event| event.event().expect("one gap at most"));
    let events = events.map(|event| event.data().to_owned()).collect();
    (gap, events)
}

/// Every start policy, and what is left for it of the numbers 5 to 9.
const POLICIES: [(Start, u64); 4] = [
    (Start::Live, 10),
    (Start::Oldest, 5),
    (Start::Last(0), 10),
    (Start::Last(2), 8),
];

fn numbers(range: impl Iterator<Item = u64>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

// The table

#[test]
fn no_id_begins_by_the_start_policy() {
    let store = five_of_nine();
    for (start, first) in POLICIES {
        let (gap, events) = begins(&store, start.into());
        assert_eq!((gap, events), (None, numbers(first..=9)), "{start:?}");
    }
}

#[test]
fn a_retained_id_goes_on_right_after_it_whatever_the_start_policy() {
    let store = five_of_nine();
    for (start, _) in POLICIES {
        for offset in 4..=9 {
            let subscribe = Subscribe::from(start).after(at(&store, offset));
            let (gap, events) = begins(&store, subscribe);
            assert_eq!((gap, events), (None, numbers(offset + 1..=9)), "{offset}");
        }
    }
}

#[test]
fn the_newest_id_waits_for_what_comes() {
    let store = five_of_nine();
    let mut returned = reader(store.subscribe(brings(at(&store, 9).to_string())));
    assert!(waits(&mut returned));
    submit(&store, 10);
    assert!(returned.is_woken());
    assert_eq!(heard(&mut returned), ["10"]);
}

#[test]
fn an_evicted_id_is_told_exactly_what_it_missed() {
    let store = five_of_nine();
    for offset in 0..=3 {
        let id = at(&store, offset);
        let (gap, events) = begins(&store, brings(id.to_string()));
        let expected = Gap::new(
            GapReason::Evicted,
            Some(4 - offset),
            Some(id),
            at(&store, 4),
        );
        assert_eq!((gap, events), (Some(expected), numbers(5..=9)), "{offset}");
    }
}

#[test]
fn an_id_ahead_of_the_log_begins_with_the_oldest() {
    let store = five_of_nine();
    for offset in [10, 11, 1 << 53, 1 << 63, u64::MAX - 1, u64::MAX] {
        for (start, _) in POLICIES {
            let id = at(&store, offset);
            let (gap, events) = begins(&store, Subscribe::from(start).after(id));
            let expected = Gap::new(GapReason::Ahead, None, Some(id), at(&store, 4));
            assert_eq!((gap, events), (Some(expected), numbers(5..=9)), "{offset}");
        }
    }
}

#[test]
fn an_id_of_another_log_begins_by_the_start_policy() {
    let (store, other) = (five_of_nine(), five_of_nine());
    for id in [
        at(&other, 9),
        at(&other, 5),
        at(&other, 1),
        at(&other, 100),
        foreign(0),
    ] {
        for (start, first) in POLICIES {
            let (gap, events) = begins(&store, Subscribe::from(start).after(id));
            let resume = at(&store, first - 1);
            let expected = Gap::new(GapReason::Epoch, None, Some(id), resume);
            assert_eq!(
                (gap, events),
                (Some(expected), numbers(first..=9)),
                "{id} {start:?}"
            );
        }
    }
}

#[test]
fn what_is_no_id_begins_by_the_start_policy() {
    let store = five_of_nine();
    for (start, first) in POLICIES {
        let subscribe = Subscribe::from(start).after(LastEventId::Malformed);
        let (gap, events) = begins(&store, subscribe);
        let expected = Gap::new(GapReason::Malformed, None, None, at(&store, first - 1));
        assert_eq!(
            (gap, events),
            (Some(expected), numbers(first..=9)),
            "{start:?}"
        );
    }
}

#[test]
fn a_live_reader_that_is_overtaken_is_told_in_its_place() {
    let store = five_of_nine();
    let mut slow = reader(store.subscribe(Start::Live));
    (10..=16).for_each(|n| submit(&store, n));
    let told = deliveries(&mut slow);
    let expected = Gap::new(
        GapReason::Slow,
        Some(2),
        Some(at(&store, 9)),
        at(&store, 11),
    );
    assert_eq!(told[0].gap(), Some(&expected));
    assert_eq!(told.len(), 1 + 5);
}

#[test]
fn the_id_of_a_gap_goes_on_where_the_gap_ends() {
    let store = five_of_nine();
    for id in [at(&store, 1), at(&store, 100), foreign(1)] {
        let subscribe = Subscribe::from(Start::Oldest).after(id);
        let (gap, events) = begins(&store, subscribe);
        let resumed = brings(gap.expect("a gap").resume.to_string());
        assert_eq!(begins(&store, resumed), (None, events));
    }
}

#[test]
fn an_empty_log_has_nothing_to_be_missed() {
    let store = QueueStore::new();
    let before = store.subscribe(Start::Live).position().expect("a position");
    assert_eq!(before.offset(), 0);
    let mut returned = reader(store.subscribe(brings(before.to_string())));
    assert!(waits(&mut returned));
    submit(&store, 1);
    assert_eq!(heard(&mut returned), ["1"]);

    let empty = QueueStore::new();
    let ahead = place(
        empty.subscribe(Start::Live).position().expect("a position"),
        1,
    );
    assert_eq!(
        heard(&mut reader(empty.subscribe(brings(ahead.to_string())))),
        ["gap ahead ?"]
    );
    assert_eq!(
        heard(&mut reader(empty.subscribe(brings("x")))),
        ["gap malformed ?"]
    );
}

#[test]
fn a_log_whose_events_are_all_too_old_still_knows_how_many_there_were() {
    let clock = Clock::paused();
    let retention = Retention::new().age(Duration::from_secs(60));
    let store = QueueStore::builder().retention(retention).build();
    clock.at_once(|| (1..=9).for_each(|n| submit(&store, n)));
    clock.advance(Duration::from_secs(60));
    clock.at_once(|| {
        let third = at(&store, 3);
        let expected = Gap::new(GapReason::Evicted, Some(6), Some(third), at(&store, 9));
        assert_eq!(
            begins(&store, brings(third.to_string())),
            (Some(expected), vec![])
        );
        assert_eq!(
            begins(&store, brings(at(&store, 9).to_string())),
            (None, vec![])
        );
    });
}

#[test]
fn a_closed_log_is_read_to_its_end() {
    let store = five_of_nine();
    store.close();
    let returned = |id: Position| heard(&mut reader(store.subscribe(brings(id.to_string()))));
    assert_eq!(returned(at(&store, 7)), ["8", "9", "end Closed"]);
    assert_eq!(returned(at(&store, 9)), ["end Closed"]);
    assert_eq!(
        returned(at(&store, 2)),
        ["gap evicted 2", "5", "6", "7", "8", "9", "end Closed"]
    );
    assert_eq!(returned(foreign(9)), ["gap epoch ?", "end Closed"]);
}

#[test]
fn there_is_no_seam_between_what_was_kept_and_what_is_new() {
    for offset in 4..=9 {
        let store = five_of_nine();
        let mut subscription = reader(store.subscribe(brings(at(&store, offset).to_string())));
        let mut all = Vec::new();
        for n in 10..=14 {
            let one = subscription.poll_next();
            if let Poll::Ready(Some(delivery)) = one {
                all.push(delivery.event().expect("no gap").data().to_owned());
            }
            submit(&store, n);
        }
        all.extend(heard(&mut subscription));
        assert_eq!(all, numbers(offset + 1..=14), "{offset}");
    }
}

// Ids that are none

/// Texts that are no id at all, made of an id of the store that they are brought to.
fn malformed(id: Position) -> Vec<Vec<u8>> {
    let (epoch, offset) = (epoch(id), id.offset());
    let texts = [
        // Parts of an id.
        String::new(),
        "-".into(),
        "--".into(),
        "---".into(),
        "0".into(),
        "17".into(),
        "-17".into(),
        format!("{offset}"),
        epoch.clone(),
        format!("{epoch}-"),
        format!("-{offset}"),
        format!("{}-{offset}", &epoch[1..]),
        format!("{}-{offset}", &epoch[..10]),
        format!("A{epoch}-{offset}"),
        format!("{epoch}A-{offset}"),
        format!("{epoch}{epoch}-{offset}"),
        // Numbers in other ways.
        format!("{epoch}-00"),
        format!("{epoch}-0{offset}"),
        format!("{epoch}-+{offset}"),
        format!("{epoch}--{offset}"),
        format!("{epoch}--1"),
        format!("{epoch}-1e3"),
        format!("{epoch}-1.0"),
        format!("{epoch}-1_000"),
        format!("{epoch}-1,000"),
        format!("{epoch}-0x5"),
        format!("{epoch}-0b1"),
        format!("{epoch}-a"),
        format!("{epoch}-NaN"),
        format!("{epoch}-inf"),
        format!("{epoch}-18446744073709551616"),
        format!("{epoch}-1{}", "0".repeat(40)),
        format!("{epoch}-{}", "9".repeat(100)),
        format!("{epoch}-\u{ff15}"),
        format!("{epoch}-\u{665}"),
        // Something in front, between or behind.
        format!(" {id}"),
        format!("{id} "),
        format!("\t{id}"),
        format!("{id}\t"),
        format!("{epoch} -{offset}"),
        format!("{epoch}- {offset}"),
        format!("{id}\n"),
        format!("{id}\r\n"),
        format!("{id}\0"),
        format!("\0{id}"),
        format!("{id}\u{7f}"),
        format!("{id}\u{80}"),
        format!("{id}…"),
        format!("\u{feff}{id}"),
        format!("\"{id}\""),
        format!("'{id}'"),
        format!("{id}-x7Gz9R"),
        format!("{id}-1"),
        format!("{id}x"),
        format!("{id};"),
        format!("{id},{id}"),
        format!("{id}, {id}"),
        format!("id: {id}"),
        format!("id={id}"),
        id.to_string().replace('-', "%2D"),
        format!("{epoch}:{offset}"),
        format!("{epoch}_{offset}"),
        format!("{epoch}.{offset}"),
        format!("{epoch}\u{2013}{offset}"),
        // Another alphabet.
        format!("{}=-{offset}", &epoch[..10]),
        format!("{}+-{offset}", &epoch[..10]),
        format!("{}/-{offset}", &epoch[..10]),
        format!("{}é-{offset}", &epoch[..9]),
        format!("{}B-{offset}", &epoch[..10]),
        // What others use as ids.
        "null".into(),
        "undefined".into(),
        "0-0".into(),
        "$".into(),
        "1526919030474-55".into(),
        "urn:uuid:5e94c686-2c0b-4f9b-958c-92ccc3bbb4eb".into(),
        "../../etc/passwd".into(),
        "' OR 1=1 --".into(),
        "event: gap".into(),
        // Long ones.
        "A".repeat(127),
        "A".repeat(128),
        "A".repeat(129),
        "A".repeat(8000),
        format!("{epoch}-{}{offset}", "0".repeat(128 - 13)),
        "1".repeat(1 << 20),
    ];
    let bytes: [&[u8]; 8] = [
        b"\x80",
        b"\xff",
        b"\xff\xfe",
        b"\xc3\x28",
        b"\xed\xa0\x80",
        b"caf\xe9",
        b"AAAAAAAAAAA-\xb9",
        b"\xf0\x9f\x98",
    ];
    let texts = texts.into_iter().map(String::into_bytes);
    texts.chain(bytes.into_iter().map(<[u8]>::to_vec)).collect()
}

#[test]
fn what_is_no_id_is_a_gap_and_never_a_failure() {
    let store = five_of_nine();
    let malformed = malformed(at(&store, 5));
    assert!(malformed.len() >= 60, "{}", malformed.len());
    for id in malformed {
        let shown = String::from_utf8_lossy(&id[..id.len().min(200)]).into_owned();
        assert_eq!(LastEventId::parse(&id), LastEventId::Malformed, "{shown:?}");
        let mut subscribe = brings(&id);
        subscribe.start = Start::Last(1);
        let (gap, events) = begins(&store, subscribe);
        let gap = gap.expect("a gap");
        assert_eq!(
            (gap.reason, gap.missed, gap.from),
            (GapReason::Malformed, None, None)
        );
        assert_eq!(
            (gap.resume, events),
            (at(&store, 8), numbers(9..=9)),
            "{shown:?}"
        );
    }
}

#[test]
fn an_id_whose_letters_were_changed_is_of_another_log_or_none() {
    let store = five_of_nine();
    let id = at(&store, 5).to_string();
    for place in 0..11 {
        for letter in ('a'..='z')
            .chain('A'..='Z')
            .chain('0'..='9')
            .chain("-_".chars())
        {
            let mut changed = id.clone();
            changed.replace_range(place..=place, letter.encode_utf8(&mut [0; 4]));
            if changed == id {
                continue;
            }
            let (gap, _) = begins(&store, brings(&changed));
            let reason = gap.expect("a gap").reason;
            let last = place == 10;
            assert!(
                reason == GapReason::Epoch || (last && reason == GapReason::Malformed),
                "{changed}: {reason}"
            );
        }
    }
}

#[test]
fn an_id_in_the_other_case_is_not_taken_for_the_same() {
    let store = five_of_nine();
    let id = at(&store, 5).to_string();
    for changed in [id.to_ascii_lowercase(), id.to_ascii_uppercase()] {
        if changed != id {
            let reason = begins(&store, brings(&changed)).0.expect("a gap").reason;
            assert!(
                matches!(reason, GapReason::Epoch | GapReason::Malformed),
                "{changed}"
            );
        }
    }
}

#[test]
fn every_id_is_short_and_of_harmless_letters() {
    for _ in 0..1000 {
        let id = five_of_nine().latest().expect("an event");
        for id in [id, place(id, u64::MAX)].map(|id| id.to_string()) {
            assert!(id.len() <= 32, "{id}");
            let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            assert!(id.bytes().all(harmless), "{id}");
            assert_eq!(id.parse::<Position>().map(|id| id.to_string()), Ok(id));
        }
    }
}

// A stream that is cut

/// The events of a history of every kind, as a page gets them.
fn history(store: &QueueStore) -> Vec<Message> {
    let long = "x".repeat(700);
    let texts = [
        "",
        "plain",
        "two\nlines",
        "a\r\nb\rc\n",
        "\u{feff}mark",
        " space",
        "id: 1\n\ndata: x",
        "😀 豆腐 é",
        "\0",
        &long,
        "\n\n\n",
        "event: gap",
        "retry: 1",
    ];
    let mut history = Vec::new();
    for (n, text) in texts.into_iter().cycle().take(4 * texts.len()).enumerate() {
        let mut event = Event::new(text);
        if n % 3 == 0 {
            event = event.name(EventName::from_static("tick"));
        }
        if n % 5 == 0 {
            event = event.retry(Duration::from_secs(n as u64));
        }
        let name = event.event_name().to_string();
        let id = store.submit(event).expect("taken").id().expect("in memory");
        history.push(Message::new(name, normalised(text), id.to_string()));
    }
    history
}

/// What is sent now to a client that brings this id, or none.
fn sent(source: &EventSource, id: &str) -> Vec<u8> {
    let id = (!id.is_empty()).then(|| LastEventId::parse(id.as_bytes()));
    let mut body = tokio_test::task::spawn(source.grant(Permit::new(), id).into_body());
    let mut bytes = Vec::new();
    while let Poll::Ready(Some(Ok(frame))) = body.poll_next() {
        bytes.extend_from_slice(&frame);
    }
    bytes
}

/// What a page gets that came with `first`, was cut off after `prefix`, and came back.
fn cut_and_resumed(source: &EventSource, prefix: &[u8], first: &str) -> Vec<Message> {
    let mut decoder = Decoder::default();
    let mut all = decoder.feed(prefix);
    let id = match decoder.last_event_id() {
        "" => first,
        id => id,
    };
    all.extend(decode(&sent(source, id)));
    all
}

#[test]
fn a_stream_that_is_cut_at_any_byte_is_resumed_without_loss_or_repetition() {
    let store = QueueStore::new();
    let history = history(&store);
    let source = EventSource::new(store).start(Start::Oldest);
    let stream = sent(&source, "");
    assert!(stream.len() > 4096, "{}", stream.len());
    assert_eq!(decode(&stream), history);

    for cut in 0..=stream.len() {
        let all = cut_and_resumed(&source, &stream[..cut], "");
        assert!(all == history, "cut at {cut}");
    }
}

#[test]
fn a_stream_is_the_events_in_a_row_whatever_their_sizes() {
    let store = QueueStore::new();
    let source = EventSource::new(store.clone()).start(Start::Oldest);
    let kib = 1 << 10;
    let sizes = [
        0,
        100,
        kib,
        5 * kib,
        10 * kib,
        15 * kib,
        16 * kib - 64,
        16 * kib,
        50 * kib,
    ];
    for (n, size) in sizes.into_iter().cycle().take(150).enumerate() {
        let size = if n % 7 < 3 { size } else { n };
        store.submit("x".repeat(size)).expect("taken");
    }
    let mut entries = String::new();
    for delivery in deliveries(&mut reader(store.subscribe(Start::Oldest))) {
        let entry = delivery.event().expect("no gap").clone();
        entries += str::from_utf8(entry.sse()).expect("UTF-8");
    }
    for _ in 0..2 {
        let stream = sent(&source, "");
        assert!(stream.strip_prefix(b":\n\n") == Some(entries.as_bytes()));
    }
}

#[test]
fn readers_of_one_stream_at_different_places_each_get_all_of_it() {
    let store = QueueStore::new();
    let source = EventSource::new(store.clone()).start(Start::Oldest);
    let mut readers: Vec<_> = (0..7)
        .map(|_| {
            (
                tokio_test::task::spawn(source.grant(Permit::new(), None).into_body()),
                Vec::new(),
            )
        })
        .collect();
    for n in 0..500 {
        store.submit("x".repeat(n % 97 * 10)).expect("taken");
        for (at, (body, told)) in readers.iter_mut().enumerate() {
            if n % (at + 1) == 0
                && let Poll::Ready(Some(Ok(frame))) = body.poll_next()
            {
                told.extend_from_slice(&frame);
            }
        }
    }
    for (body, told) in &mut readers {
        while let Poll::Ready(Some(Ok(frame))) = body.poll_next() {
            told.extend_from_slice(&frame);
        }
        let offsets = accounted_for(&decode(told));
        assert!(offsets.into_iter().eq(1..=500));
    }
}

/// The offsets that a stream accounts for, each event with its own and each gap with
/// all that it says are missing.
fn accounted_for(events: &[Message]) -> Vec<u64> {
    let mut offsets = Vec::new();
    for event in events {
        let id: Position = event.last_event_id.parse().expect("an id");
        match &*event.name {
            "gap" => {
                let gap: serde_json::Value = serde_json::from_str(&event.data).expect("JSON");
                let missed: u64 = gap["missed"]
                    .as_str()
                    .expect("text")
                    .parse()
                    .expect("a number");
                offsets.extend(id.offset() + 1 - missed..=id.offset());
            }
            _ => offsets.push(id.offset()),
        }
    }
    offsets
}

#[test]
fn a_stream_with_a_gap_that_is_cut_at_any_byte_accounts_for_every_event_once() {
    let store = five_of_nine();
    let first = at(&store, 1).to_string();
    let source = EventSource::new(store.clone());
    let stream = sent(&source, &first);
    assert_eq!(accounted_for(&decode(&stream)), [2, 3, 4, 5, 6, 7, 8, 9]);

    for cut in 0..=stream.len() {
        let all = cut_and_resumed(&source, &stream[..cut], &first);
        assert_eq!(
            accounted_for(&all),
            [2, 3, 4, 5, 6, 7, 8, 9],
            "cut at {cut}"
        );
    }
}

#[test]
fn a_stream_that_is_cut_while_the_store_goes_on_accounts_for_every_event_once() {
    let store = five_of_nine();
    let first = at(&store, 1).to_string();
    let source = EventSource::new(store.clone());
    let stream = sent(&source, &first);
    for (cut, newest) in (0..=stream.len()).zip(10..) {
        submit(&store, newest);
        let all = cut_and_resumed(&source, &stream[..cut], &first);
        assert!(
            accounted_for(&all).into_iter().eq(2..=newest),
            "cut at {cut}"
        );
    }
}

#[test]
fn who_is_cut_off_before_the_first_event_misses_nothing() {
    let store = five_of_nine();
    let source = EventSource::new(store.clone());
    let stream = sent(&source, "");
    let mut decoder = Decoder::default();
    assert_eq!(decoder.feed(&stream), []);
    assert_eq!(decoder.last_event_id(), at(&store, 9).to_string());

    (10..=12).for_each(|n| submit(&store, n));
    let resumed = decode(&sent(&source, decoder.last_event_id()));
    assert_eq!(accounted_for(&resumed), [10, 11, 12]);
}
