//! How it ends: the group 7.

use crate::client::{
    BROKEN, BYE, CLOSE, FIN, NO_TEXT, Said, TEXT, bye, case, close, frame, pass, ping,
    talk_and_hang_up, text,
};

#[tokio::test]
async fn a_close_is_answered() {
    let longest = [b'x'; 123];
    pass([
        case("nothing", [frame(FIN | CLOSE, b"")], [Said::Close(None)]),
        case("a code", [bye()], [BYE]),
        case("a reason", [close(1000, b"enough")], [BYE]),
        case("a long reason", [close(1000, &longest)], [BYE]),
        case(
            "a reason of many code points",
            [close(1000, "\u{1f600}\u{ffff}\0\u{10ffff}".as_bytes())],
            [BYE],
        ),
        case("twice", [bye(), bye()], [BYE]),
    ])
    .await;
}

#[tokio::test]
async fn codes_that_mean_something_come_back() {
    let codes = (1000..=1003).chain(1007..=1014);
    let codes = codes.chain([3000, 3999, 4000, 4999]);
    for code in codes {
        let what = format!("{code}");
        let said = [Said::Close(Some(code))];
        pass([case(what, [close(code, b"why")], said)]).await;
    }
}

#[tokio::test]
async fn other_codes_break_the_protocol() {
    for code in [
        0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
    ] {
        let cases = [&b""[..], b"why"].map(|reason| {
            let sent = [text(b"a"), close(code, reason)];
            let said = [Said::Text(b"a".into()), BROKEN];
            case(format!("{code} {}", reason.len()), sent, said)
        });
        pass(cases).await;
    }
}

#[tokio::test]
async fn half_a_code_breaks_the_protocol() {
    pass([case("a byte", [frame(FIN | CLOSE, b"\x03")], [BROKEN])]).await;
}

#[tokio::test]
async fn a_reason_is_text() {
    for reason in [
        &b"\xff"[..],
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"unfinished \xe2\x82",
    ] {
        let what = reason.escape_ascii().to_string();
        pass([case(what, [close(1000, reason)], [NO_TEXT])]).await;
    }
}

#[tokio::test]
async fn after_a_close_nothing_is_heard() {
    let large = vec![b'a'; 262_144];
    pass([
        case("a text", [bye(), text(b"a")], [BYE]),
        case("a ping", [bye(), ping(b"a")], [BYE]),
        case("what is broken", [bye(), text(b"\xff")], [BYE]),
        case(
            "the rest of a message",
            [frame(TEXT, b"a"), bye(), frame(FIN, b"b")],
            [BYE],
        ),
        case(
            "much",
            [text(b"before"), bye(), text(&large), ping(b"a")],
            [Said::Text(b"before".into()), BYE],
        ),
    ])
    .await;
}

#[tokio::test]
async fn what_came_before_a_close_is_answered_first() {
    let large = vec![b'a'; 262_144];
    pass([case(
        "256 KiB, a text, a close, a ping",
        [text(&large), text(b"hello"), bye(), ping(b"")],
        [Said::Text(large), Said::Text(b"hello".into()), BYE],
    )])
    .await;
}

/// With half of the connection closed, the other half is still read.
#[tokio::test]
async fn whoever_hangs_up_is_answered_first() {
    assert_eq!(talk_and_hang_up(&text(b"hello")).await, b"\x81\x05hello");
    let large = [b'a'; 1000];
    let sent = [ping(b"1"), text(&large), ping(b"2")].concat();
    let said = [b"\x8a\x011\x81\x7e\x03\xe8", &large[..], b"\x8a\x012"].concat();
    assert_eq!(talk_and_hang_up(&sent).await, said);
}
