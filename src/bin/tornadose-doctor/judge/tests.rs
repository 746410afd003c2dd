use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, Version};

use super::*;
use crate::finding::Severity;
use crate::seen::{End, Head, Lump, Resumed, Stream};
use crate::target::Target;
use crate::text::Text;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn head(at: u64) -> Head {
    let headers = [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store, no-transform"),
        ("x-accel-buffering", "no"),
    ];
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(name, value.parse().expect("a value"));
    }
    Head {
        status: StatusCode::OK,
        version: Version::HTTP_2,
        headers: map,
        asked: ms(0),
        at: ms(at),
    }
}

/// A stream whose head came after 10 ms, and of which this came at these milliseconds.
fn stream(pieces: &[(u64, &str)], end: End, until: u64) -> Stream {
    let mut text = Text::default();
    let mut bytes = 0;
    let lumps = pieces.iter().map(|(at, piece)| {
        let before = (text.events, text.comments);
        text.feed(piece.as_bytes(), ms(*at));
        bytes += piece.len() as u64;
        Lump {
            bytes: piece.len() as u64,
            events: (text.events - before.0) as u32,
            comments: (text.comments - before.1) as u32,
            is_cut: text.is_cut(),
            ..Lump::begun(ms(*at))
        }
    });
    let lumps = lumps.collect();
    Stream {
        head: head(10),
        lumps,
        text,
        bytes,
        end,
        until: ms(until),
    }
}

fn open(pieces: &[(u64, &str)], until: u64) -> Stream {
    stream(pieces, End::Open, until)
}

fn settings() -> Settings {
    Settings::new(Target::parse("https://a/").expect("a target"))
}

fn seen(main: Stream) -> Seen {
    Seen {
        main: Some(Ok(main)),
        is_secure: true,
        ..Seen::default()
    }
}

/// What is not `ok`.
fn codes(seen: &Seen) -> String {
    let found = judge(&settings(), seen);
    let found = found.iter().filter(|found| found.severity > Severity::Ok);
    found.map(|found| found.code).collect::<Vec<_>>().join(" ")
}

fn of(pieces: &[(u64, &str)], until: u64) -> String {
    codes(&seen(open(pieces, until)))
}

const EVENT: &str = "id: 1\ndata: a\n\n";

#[test]
fn two_short_pauses_or_a_long_one_in_an_event_are_a_buffer() {
    let (half, rest) = EVENT.split_at(7);
    assert_eq!(of(&[(20, half), (1019, rest)], 1100), "");
    assert_eq!(of(&[(20, half), (1020, rest)], 1100), "buffered");
    let again = [(20, half), (219, rest), (230, half), (600, rest)];
    assert_eq!(of(&again, 700), "");
    let again = [(20, half), (220, rest), (230, half), (430, rest)];
    assert_eq!(of(&again, 500), "buffered");
    // Also the one in which it is left.
    assert_eq!(of(&[(20, EVENT), (30, half)], 1029), "");
    assert_eq!(of(&[(20, EVENT), (30, half)], 1030), "buffered");
    // But not if the stream has ended there.
    let cut = stream(&[(20, EVENT), (30, half)], End::Cut, 1029);
    assert_eq!(codes(&seen(cut)), "cut unfinished-event");
    // A comment may stand alone, without a blank line.
    assert_eq!(
        of(&[(20, ": a\n"), (1300, ": b\n"), (2500, EVENT)], 2600),
        ""
    );
}

#[test]
fn who_never_ends_an_event_buffers_nothing() {
    let line = "data: a\n";
    assert_eq!(
        of(&[(20, line), (1500, line), (3000, line)], 4500),
        "no-blank-line"
    );
}

#[test]
fn comments_at_once_are_a_buffer_behind_a_silence() {
    let two = ":\n\n:\n\n";
    assert_eq!(of(&[(20, two), (1019, two)], 1100), "");
    assert_eq!(of(&[(20, two), (1020, two)], 1100), "buffered");
    assert_eq!(of(&[(999, two)], 1100), "");
    assert_eq!(of(&[(1000, two)], 1100), "buffered");
    // One with an event is what a server may send.
    assert_eq!(
        of(&[(20, ":\n\n"), (1100, ":\n\ndata: a\nid: 1\n\n")], 1200),
        ""
    );
}

#[test]
fn bursts_may_be_the_server() {
    let three = EVENT.repeat(3);
    let burst = |at| (at, three.as_str());
    assert_eq!(of(&[burst(20), burst(1100)], 1200), "");
    assert_eq!(of(&[burst(20), burst(1100), burst(2200)], 2300), "bursts");
    assert_eq!(of(&[burst(20), burst(900), burst(1800)], 2300), "");
}

fn beside(main: Stream, direct: Stream) -> String {
    codes(&Seen {
        direct: Some(Ok(direct)),
        ..seen(main)
    })
}

fn numbered(ats: &[u64]) -> Stream {
    let pieces: Vec<_> = ats.iter().enumerate().collect();
    let texts: Vec<_> = pieces
        .iter()
        .map(|(number, at)| (**at, format!("id: {number}\ndata: a\n\n")))
        .collect();
    let pieces: Vec<_> = texts
        .iter()
        .map(|(at, text)| (*at, text.as_str()))
        .collect();
    open(&pieces, 10_000)
}

#[test]
fn what_comes_half_a_second_later_is_held_back() {
    let direct = || numbered(&[20, 2000, 4000, 6000, 8000]);
    assert_eq!(
        beside(numbered(&[20, 2499, 4499, 6499, 8499]), direct()),
        "lag"
    );
    assert_eq!(
        beside(numbered(&[20, 2500, 4500, 6500, 8500]), direct()),
        "buffered"
    );
    assert_eq!(
        beside(numbered(&[20, 2149, 4149, 6149, 8149]), direct()),
        ""
    );
    assert_eq!(
        beside(numbered(&[20, 2150, 4150, 6150, 8150]), direct()),
        "lag"
    );
    // One that is late is not all of them.
    assert_eq!(
        beside(numbered(&[20, 2000, 4900, 6000, 8000]), direct()),
        ""
    );
    let mut late = direct();
    late.head.at = ms(509);
    assert_eq!(beside(late, direct()), "");
    let mut late = direct();
    late.head.at = ms(510);
    assert_eq!(beside(late, direct()), "buffered");
}

#[test]
fn a_connection_that_takes_its_time_is_no_buffer() {
    let direct = || numbered(&[20, 30, 40, 4000, 8000]);
    let mut slow = numbered(&[1010, 1010, 1010, 4000, 8000]);
    (slow.head.asked, slow.head.at) = (ms(1000), ms(1005));
    assert_eq!(beside(slow, direct()), "");
    let mut slow = numbered(&[1010, 1010, 1010, 4600, 8600]);
    (slow.head.asked, slow.head.at) = (ms(1000), ms(1005));
    assert_eq!(beside(slow, direct()), "buffered");
}

#[test]
fn what_does_not_come_is_held_back() {
    let comments = |ats: &[u64]| {
        let pieces: Vec<_> = ats.iter().map(|at| (*at, ":\n\n")).collect();
        open(&pieces, 10_000)
    };
    let direct = || comments(&[20, 2000, 4000, 6000, 8000]);
    assert_eq!(beside(comments(&[30, 2100, 4000, 8000]), direct()), "");
    assert_eq!(beside(comments(&[30, 2100, 8000]), direct()), "buffered");
    // What is sent at the very end may still be on its way.
    assert_eq!(
        beside(comments(&[20]), comments(&[20, 9501])),
        "keep-alive-unseen"
    );
    assert_eq!(
        beside(comments(&[20]), comments(&[20, 9499])),
        "buffered keep-alive-unseen"
    );
}

#[test]
fn without_a_head_the_direct_stream_tells_why() {
    let none = |direct| Seen {
        main: Some(Err(Failure::NoHead(ms(9000)))),
        direct,
        ..Seen::default()
    };
    assert_eq!(codes(&none(None)), "no-head");
    assert_eq!(codes(&none(Some(Ok(open(&[], 9000))))), "buffered");
    assert_eq!(
        codes(&none(Some(Err(Failure::NoHead(ms(9000)))))),
        "no-head"
    );
    let mut page = open(&[], 9000);
    page.head.headers.remove("content-type");
    assert_eq!(codes(&none(Some(Ok(page)))), "no-head");
}

#[test]
fn a_beginning_is_late_from_a_second_on() {
    let at = |at: u64, first: u64| {
        let mut late = open(&[(first, ":\n\n")], first + 500);
        late.head.at = ms(at);
        codes(&seen(late))
    };
    assert_eq!(at(999, 999), "");
    assert_eq!(at(1000, 1000), "head-late");
    assert_eq!(at(10, 1999), "");
    assert_eq!(at(10, 2000), "first-byte-late");
    assert_eq!(of(&[], 500), "silent");
}

#[test]
fn a_silence_before_the_cut_is_an_idle_limit() {
    let cut = |end: End, until| codes(&seen(stream(&[(20, ":\n\n")], end, until)));
    for end in [
        End::Cut,
        End::Reset,
        End::Closed,
        End::Broken("why".to_owned()),
    ] {
        assert_eq!(cut(end.clone(), 1019), "cut");
        assert_eq!(cut(end, 1020), "idle-cut");
    }
    for (until, goes_on) in [(5000, false), (5001, true)] {
        let told = Seen {
            direct: Some(Ok(open(&[(20, ":\n\n")], until))),
            ..seen(stream(&[(20, ":\n\n")], End::Cut, 5000))
        };
        let found = judge(&settings(), &told);
        let says = |found: &Finding| found.says.ends_with("Without the proxy it goes on.");
        assert_eq!(found.iter().any(says), goes_on);
    }
    // What has an end of its own does not go on.
    let ended = Seen {
        direct: Some(Ok(stream(&[(20, ":\n\n")], End::Complete, 5001))),
        ..seen(stream(&[(20, ":\n\n")], End::Cut, 5000))
    };
    let found = judge(&settings(), &ended);
    assert!(!found.iter().any(|found| found.says.contains("goes on")));
    assert_eq!(cut(End::Complete, 5000), "ended");
    assert_eq!(cut(End::Enough, 5000), "");
    let found = judge(
        &settings(),
        &seen(stream(&[(20, ":\n\n")], End::Reset, 60_020)),
    );
    let idle = found
        .iter()
        .find(|found| found.code == "idle-cut")
        .expect("found");
    assert!(
        idle.says.contains("60 s is the limit of nginx"),
        "{}",
        idle.says
    );
}

#[test]
fn a_silence_is_measured_by_the_limit_and_the_rhythm() {
    let quiet = |ats: &[u64], until| {
        let pieces: Vec<_> = ats.iter().map(|at| (*at, ":\n\n")).collect();
        of(&pieces, until)
    };
    assert_eq!(quiet(&[20, 60_019, 61_000], 61_500), "");
    assert_eq!(quiet(&[20, 60_020, 61_000], 61_500), "keep-alive-slow");
    assert_eq!(quiet(&[20, 61_000], 200_000), "keep-alive-slow");
    // A default of ours within the default wait.
    assert_eq!(quiet(&[20, 15_020], 20_010), "");
    assert_eq!(quiet(&[20], 20_010), "keep-alive-unseen");
    // Seen once, it is known, though it is not due again.
    assert_eq!(quiet(&[20, 520], 2520), "");
    assert_eq!(quiet(&[20, 520], 2521), "keep-alive-unseen");
}

#[test]
fn what_follows_an_id_is_compared_with_what_had_followed() {
    let read = || {
        open(
            &[(20, "id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n\n")],
            500,
        )
    };
    let after = |from, text: &str| Seen {
        resumed: Some(Resumed {
            from,
            answer: Ok(open(&[(20, text)], 500)),
        }),
        ..seen(read())
    };
    assert_eq!(codes(&after(2, "id: 3\ndata: c\n\n")), "");
    assert_eq!(codes(&after(2, "id: 4\ndata: d\n\n")), "resume-skips");
    assert_eq!(codes(&after(2, "")), "resume-skips");
    assert_eq!(codes(&after(2, "data: gone\n\nid: 4\ndata: d\n\n")), "");
    assert_eq!(
        codes(&after(
            2,
            "event: gap\nid: x\ndata: gone\n\nid: 4\ndata: d\n\n"
        )),
        ""
    );
    assert_eq!(
        codes(&after(2, "id: 3\ndata: c\n\nid: 2\ndata: b\n\n")),
        "resume-repeats"
    );
    assert_eq!(codes(&after(2, "id: 1\ndata: other\n\n")), "resume-repeats");
    // Behind the last one nothing is owed.
    assert_eq!(codes(&after(3, "")), "");
    assert_eq!(codes(&after(3, "id: 9\ndata: d\n\n")), "");
    assert_eq!(codes(&after(3, "id: 3\ndata: c\n\n")), "resume-repeats");
    // An end without a word is the answer of who has no room.
    let ended = |text: &str, end| Seen {
        resumed: Some(Resumed {
            from: 2,
            answer: Ok(stream(&[(20, text)], end, 500)),
        }),
        ..seen(read())
    };
    assert_eq!(codes(&ended("retry: 3000\n\n", End::Complete)), "");
    assert_eq!(
        codes(&ended("id: 4\ndata: d\n\n", End::Complete)),
        "resume-skips"
    );
    assert_eq!(codes(&ended("id: 4\n\n", End::Complete)), "resume-skips");
    let refused = Seen {
        resumed: Some(Resumed {
            from: 2,
            answer: Err(Failure::NoAnswer(String::new())),
        }),
        ..seen(read())
    };
    assert_eq!(codes(&refused), "resume-refused");
    assert_eq!(codes(&seen(open(&[(20, "data: a\n\n")], 500))), "no-ids");
    // An id without data is one, too.
    assert_eq!(codes(&seen(open(&[(20, "id: 7\n\ndata: a\n\n")], 500))), "");
}

fn allowing(names: &[(&'static str, &str)]) -> Head {
    let mut head = head(10);
    for (name, value) in names {
        head.headers.insert(*name, value.parse().expect("a value"));
    }
    head
}

#[test]
fn what_depends_on_the_origin_is_known_from_an_answer_only() {
    const ORIGIN: &str = "access-control-allow-origin";
    const COOKIES: (&str, &str) = ("access-control-allow-credentials", "true");
    let app = || allowing(&[(ORIGIN, "https://app.example"), COOKIES]);
    let judged = |foreign: Option<Result<Head, Failure>>| {
        let mut main = open(&[(20, ":\n\n")], 500);
        main.head = app();
        let mut settings = settings();
        settings.origin = Some(HeaderValue::from_static("https://app.example"));
        let seen = Seen {
            foreign,
            ..seen(main)
        };
        let found = judge(&settings, &seen);
        let found = found.iter().filter(|found| found.severity > Severity::Ok);
        found.map(|found| found.code).collect::<Vec<_>>().join(" ")
    };
    let invalid = "https://tornadose-doctor.invalid";
    assert_eq!(judged(Some(Ok(app()))), "");
    assert_eq!(judged(Some(Ok(allowing(&[])))), "cors-vary");
    assert_eq!(
        judged(Some(Ok(allowing(&[(ORIGIN, invalid), COOKIES])))),
        "cors-any cors-vary"
    );
    // Everybody may read it, but only one with cookies.
    assert_eq!(
        judged(Some(Ok(allowing(&[(ORIGIN, invalid)])))),
        "cors-vary"
    );
    assert_eq!(judged(None), "");
    assert_eq!(judged(Some(Err(Failure::NoHead(ms(9000))))), "");
    let mut busy = allowing(&[]);
    busy.status = StatusCode::SERVICE_UNAVAILABLE;
    assert_eq!(judged(Some(Ok(busy))), "");
}

#[test]
fn a_page_of_the_same_origin_is_allowed_everything() {
    let mut settings = settings();
    settings.origin = Some(HeaderValue::from_static("https://a"));
    let is_refused = |seen: &Seen| {
        let found = judge(&settings, seen);
        found.iter().any(|found| found.code == "cors-origin")
    };
    let mut seen = seen(open(&[(20, ":\n\n")], 500));
    assert!(!is_refused(&seen));
    let mut redirect = |is_to_other_origin| {
        seen.redirects.push(crate::seen::Redirect {
            status: StatusCode::FOUND,
            to: String::new(),
            is_to_insecure: false,
            is_to_other_origin,
        });
        is_refused(&seen)
    };
    assert!(!redirect(false));
    assert!(redirect(true));
    assert!(redirect(false));
}

#[test]
fn times_and_texts_are_short() {
    assert_eq!(
        (counted(0, "note"), counted(1, "note"), counted(11, "note")),
        ("0 notes".into(), "1 note".into(), "11 notes".into())
    );
    assert_eq!(
        (time(ms(999)), time(ms(1000)), time(ms(61_250))),
        ("999 ms".into(), "1.0 s".into(), "61.2 s".into())
    );
    assert_eq!(short(&"ü".repeat(80)), "ü".repeat(80));
    assert_eq!(short(&"ü".repeat(81)), format!("{}…", "ü".repeat(80)));
}
