//! What is text and what is not: the group 6.

use crate::client::{
    BYE, FIN, NO_TEXT, Said, TEXT, bye, case, fragments, frame, head, masked, pass, ping, text,
};

/// One or more code points.
const VALID: [&str; 24] = [
    "",
    "\0",
    "\u{7f}",
    "\u{80}",
    "\u{7ff}",
    "\u{800}",
    "\u{fff}",
    "\u{1000}",
    "\u{cfff}",
    "\u{d000}",
    "\u{d7ff}",
    "\u{e000}",
    "\u{feff}",
    "\u{fffd}",
    // Not characters, yet code points.
    "\u{fdd0}",
    "\u{fffe}",
    "\u{ffff}",
    "\u{1fffe}",
    "\u{10fffe}",
    "\u{10000}",
    "\u{fffff}",
    "\u{100000}",
    "\u{10ffff}",
    "Hello-\u{b5}@\u{df}\u{f6}\u{e4}\u{fc}\u{e0}\u{e1}-UTF-8!! \u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}",
];

/// Wrong whatever follows.
const INVALID: [&[u8]; 34] = [
    // Continuations of nothing.
    b"\x80",
    b"\xbf",
    b"\x80\xbf\x80\xbf",
    // Something else where a continuation should be.
    b"\xc3\x28",
    b"\xc3\xc3",
    b"\xe2\x28\xa1",
    b"\xe2\x82\x28",
    b"\xf0\x28\x8c\xbc",
    b"\xf0\x90\x28\xbc",
    b"\xf0\x90\x8c\x28",
    b"\xf0\x90\x8c\xf0",
    // Longer than it need be.
    b"\xc0\x80",
    b"\xc0\xaf",
    b"\xc1\xbf",
    b"\xe0\x80\x80",
    b"\xe0\x80\xaf",
    b"\xe0\x9f\xbf",
    b"\xf0\x80\x80\xaf",
    b"\xf0\x8f\xbf\xbf",
    // Halves of pairs.
    b"\xed\xa0\x80",
    b"\xed\xad\xbf",
    b"\xed\xae\x80",
    b"\xed\xb0\x80",
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
    // Beyond the last code point, and what never occurs.
    b"\xf4\x90\x80\x80",
    b"\xf4\xbf\xbf\xbf",
    b"\xf5\x80\x80\x80",
    b"\xf7\xbf\xbf\xbf",
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\xfd",
    b"\xfe",
    b"\xff",
];

/// Wrong if nothing follows.
const UNFINISHED: [&[u8]; 7] = [
    b"\xc3",
    b"\xe2",
    b"\xe2\x82",
    b"\xed\x9f",
    b"\xf0",
    b"\xf0\x9f\x98",
    b"\xf4\x8f\xbf",
];

/// Valid and of odd length, so that what follows is not aligned to anything.
const BEFORE: &str = "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}!\u{1f600}";

fn single(bytes: &[u8]) -> Vec<u8> {
    let parts: Vec<_> = bytes.chunks(1).collect();
    fragments(TEXT, &parts)
}

/// How many bytes tell that it is no text: no less can, no more should be needed.
fn telling(bytes: &[u8]) -> usize {
    let is_wrong = |len: &usize| {
        let error = str::from_utf8(&bytes[..*len]).err();
        error.is_some_and(|error| error.error_len().is_some())
    };
    (1..=bytes.len()).find(is_wrong).expect("no text")
}

#[tokio::test]
async fn text_comes_back() {
    for valid in VALID {
        let what = valid.escape_unicode();
        let bytes = valid.as_bytes();
        let long = [BEFORE.as_bytes(), bytes, BEFORE.as_bytes()].concat();
        let said = [Said::Text(bytes.into()), BYE];
        pass([
            case(format!("{what}"), [text(bytes), bye()], said),
            case(
                format!("{what} within a text"),
                [text(&long), bye()],
                [Said::Text(long.clone()), BYE],
            ),
            case(
                format!("{what} in parts of a byte"),
                [single(&long), bye()],
                [Said::Text(long), BYE],
            ),
        ])
        .await;
    }
}

#[tokio::test]
async fn what_is_no_text_is_refused() {
    for bytes in INVALID.into_iter().chain(UNFINISHED) {
        let what = bytes.escape_ascii();
        let long = [BEFORE.as_bytes(), bytes].concat();
        pass([
            case(
                format!("{what}"),
                [text(b"a"), text(bytes), text(b"b")],
                [Said::Text(b"a".into()), NO_TEXT],
            ),
            case(format!("{what} after a text"), [text(&long)], [NO_TEXT]),
            case(
                format!("{what} in parts of a byte"),
                [single(&long)],
                [NO_TEXT],
            ),
        ])
        .await;
    }
}

#[tokio::test]
async fn the_first_wrong_byte_is_refused() {
    for bytes in INVALID {
        let what = bytes.escape_ascii();
        let long = [BEFORE.as_bytes(), bytes].concat();
        let told = &long[..telling(&long)];
        let (right, wrong) = told.split_at(told.len() - 1);
        pass([
            // Nothing else of it will ever come.
            case(
                format!("{what} in a frame"),
                [head(FIN | TEXT, 1000), masked(told)],
                [NO_TEXT],
            ),
            case(format!("{what} in a part"), [frame(TEXT, told)], [NO_TEXT]),
            case(
                format!("{what} over two parts"),
                [frame(TEXT, right), ping(b"c"), head(0, 1000), masked(wrong)],
                [Said::Pong(b"c".into()), NO_TEXT],
            ),
        ])
        .await;
    }
}

#[tokio::test]
async fn a_code_point_may_be_split_around_a_ping() {
    for n in 1..4 {
        let (a, b) = "\u{1f600}".as_bytes().split_at(n);
        let sent = [
            frame(TEXT, a),
            ping(b"\xff"),
            frame(0, b""),
            frame(FIN, b),
            bye(),
        ];
        let said = [
            Said::Pong(b"\xff".into()),
            Said::Text("\u{1f600}".into()),
            BYE,
        ];
        pass([case(format!("after {n}"), sent, said)]).await;
    }
}

#[tokio::test]
async fn bytes_are_not_asked_whether_they_are_text() {
    for bytes in INVALID.into_iter().chain(UNFINISHED) {
        let parts: Vec<_> = bytes.chunks(1).collect();
        let sent = [frame(FIN | 2, bytes), fragments(2, &parts), bye()];
        let back = Said::Binary(bytes.into());
        let what = bytes.escape_ascii().to_string();
        pass([case(what, sent, [back.clone(), back, BYE])]).await;
    }
}
