//! Messages in parts: the group 5.

use tornadose::EventSource;

use crate::client::{
    BINARY, BROKEN, BYE, CLOSE, CONTINUATION, FIN, PING, PONG, Said, TEXT, bye, case, fragments,
    frame, pass, pass_of, ping, text,
};
use crate::echo;

#[tokio::test]
async fn parts_make_a_message() {
    let many: Vec<&[u8]> = vec![b"part"; 1000];
    pass([
        case(
            "two parts",
            [fragments(TEXT, &[b"a", b"b"]), bye()],
            [Said::Text(b"ab".into()), BYE],
        ),
        case(
            "empty parts",
            [fragments(BINARY, &[b"", b"", b"a", b"", b""]), bye()],
            [Said::Binary(b"a".into()), BYE],
        ),
        case(
            "nothing but empty parts",
            [fragments(TEXT, &[b"", b"", b""]), bye()],
            [Said::Text(b"".into()), BYE],
        ),
        case(
            "one message after the other",
            [
                fragments(TEXT, &[b"a", b"b"]),
                fragments(BINARY, &[b"c", b"d"]),
                text(b"e"),
                bye(),
            ],
            [
                Said::Text(b"ab".into()),
                Said::Binary(b"cd".into()),
                Said::Text(b"e".into()),
                BYE,
            ],
        ),
        case(
            "1000 parts",
            [fragments(BINARY, &many), bye()],
            [Said::Binary(b"part".repeat(1000)), BYE],
        ),
    ])
    .await;
}

#[tokio::test]
async fn control_frames_come_between_parts() {
    pass([
        case(
            "pings and a pong",
            [
                frame(TEXT, b"a"),
                ping(b"1"),
                frame(CONTINUATION, b"b"),
                ping(b"2"),
                frame(FIN | PONG, b"3"),
                frame(FIN | CONTINUATION, b"c"),
                bye(),
            ],
            [
                Said::Pong(b"1".into()),
                Said::Pong(b"2".into()),
                Said::Text(b"abc".into()),
                BYE,
            ],
        ),
        case("a close", [frame(TEXT, b"a"), bye()], [BYE]),
    ])
    .await;
}

#[tokio::test]
async fn a_control_frame_has_no_parts() {
    let cases = [CLOSE, PING, PONG].map(|opcode| {
        let sent = [frame(opcode, b""), frame(FIN | CONTINUATION, b"")];
        case(format!("the opcode {opcode}"), sent, [BROKEN])
    });
    pass(cases).await;
}

#[tokio::test]
async fn nothing_is_continued_that_has_not_begun() {
    for first in [CONTINUATION, FIN | CONTINUATION] {
        pass([
            case("at first", [frame(first, b"a"), text(b"b")], [BROKEN]),
            case(
                "after a message",
                [text(b"a"), frame(first, b"b"), text(b"c")],
                [Said::Text(b"a".into()), BROKEN],
            ),
            case(
                "after one in parts",
                [fragments(TEXT, &[b"a", b"b"]), frame(first, b"c")],
                [Said::Text(b"ab".into()), BROKEN],
            ),
        ])
        .await;
    }
}

#[tokio::test]
async fn nothing_begins_within_a_message() {
    for first in [TEXT, FIN | TEXT, BINARY, FIN | BINARY] {
        let sent = [frame(TEXT, b"a"), frame(first, b"b")];
        pass([case(format!("{first:#x}"), sent, [BROKEN])]).await;
    }
}

#[tokio::test]
async fn how_many_parts_is_a_setting() {
    let ab = [Said::Text(b"ab".into()), BYE];
    let refused = Said::Close(Some(1008));
    let three = echo::socket().max_fragments(3);
    let cases = [
        case(
            "three",
            [fragments(TEXT, &[b"a", b"b", b""]), bye()],
            ab.clone(),
        ),
        case(
            "three, twice",
            [
                fragments(TEXT, &[b"a", b"", b""]),
                ping(b""),
                fragments(TEXT, &[b"a", b"", b"b"]),
                bye(),
            ],
            [
                vec![Said::Text(b"a".into()), Said::Pong(vec![])],
                ab.to_vec(),
            ]
            .concat(),
        ),
        case(
            "four",
            [fragments(TEXT, &[b"a", b"b", b"", b""])],
            [refused.clone()],
        ),
    ];
    pass_of(&three, cases).await;

    // As few as can be.
    let one = echo::socket().max_fragments(0);
    let cases = [
        case("one", [text(b"ab"), bye()], ab.clone()),
        case(
            "two of one",
            [fragments(TEXT, &[b"ab", b""])],
            [refused.clone()],
        ),
    ];
    pass_of(&one, cases).await;

    let default = EventSource::new(tornadose::QueueStore::new())
        .websocket()
        .envelope(tornadose::Envelope::Data);
    let (at_most, more) = (vec![&b"a"[..]; 128], vec![&b"a"[..]; 129]);
    let cases = [
        case("128", [fragments(TEXT, &at_most), bye()], [BYE]),
        case("129", [fragments(TEXT, &more)], [refused]),
    ];
    pass_of(&default, cases).await;
}
