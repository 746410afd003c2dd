//! Lengths, reserved bits and opcodes: the groups 1, 3, 4, 9 and 10.

use crate::client::{
    BINARY, BROKEN, BYE, FIN, Said, TEXT, bye, case, frame, head, masked, pass, ping, text,
};

fn letters(len: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(len).collect()
}

fn octets(len: usize) -> Vec<u8> {
    (0..=255).cycle().take(len).collect()
}

#[tokio::test]
async fn every_length_comes_back() {
    for len in [0, 1, 125, 126, 127, 128, 65_535, 65_536] {
        let (a, b) = (letters(len), octets(len));
        pass([
            case(
                format!("a text of {len}"),
                [text(&a), bye()],
                [Said::Text(a), BYE],
            ),
            case(
                format!("{len} bytes"),
                [frame(FIN | BINARY, &b), bye()],
                [Said::Binary(b), BYE],
            ),
        ])
        .await;
    }
}

#[tokio::test]
async fn messages_come_back_in_their_order() {
    let texts: Vec<_> = (0..300).map(letters).collect();
    let mut sent: Vec<_> = texts.iter().map(|each| text(each)).collect();
    sent.push(bye());
    let mut said: Vec<_> = texts.into_iter().map(Said::Text).collect();
    said.push(BYE);
    pass([case("300 texts", sent, said)]).await;
}

#[tokio::test]
async fn reserved_bits_break_the_protocol() {
    let cases = (1..8).map(|bits| {
        let sent = [text(b"a"), frame(FIN | bits << 4 | TEXT, b"b"), ping(b"")];
        let said = [Said::Text(b"a".into()), BROKEN];
        case(format!("the bits {bits:03b}"), sent, said)
    });
    pass(cases).await;
    let cases = [0x8, 0x9, 0xa].map(|opcode| {
        let sent = [frame(FIN | 0x40 | opcode, b"")];
        case(format!("a bit with the opcode {opcode}"), sent, [BROKEN])
    });
    pass(cases).await;
}

#[tokio::test]
async fn reserved_opcodes_break_the_protocol() {
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        let cases = [&b""[..], b"b"].map(|payload| {
            let sent = [text(b"a"), frame(FIN | opcode, payload), ping(b"")];
            let said = [Said::Text(b"a".into()), BROKEN];
            case(
                format!("the opcode {opcode}, {}", payload.len()),
                sent,
                said,
            )
        });
        pass(cases).await;
    }
}

/// RFC 6455, 5.1: a client masks.
#[tokio::test]
async fn what_is_not_masked_breaks_the_protocol() {
    pass([
        case("a text", [vec![FIN | TEXT, 1, b'a']], [BROKEN]),
        case("a ping", [vec![FIN | 9, 0]], [BROKEN]),
        case("a close", [vec![FIN | 8, 2, 3, 232]], [BROKEN]),
    ])
    .await;
}

/// RFC 6455, 5.2: a length is written in as few bytes as it can be.
#[tokio::test]
async fn a_length_is_as_short_as_it_can_be() {
    for len in [0, 1, 125] {
        let (mask, payload) = (&head(TEXT, 0)[2..], masked(&letters(len)));
        let short = u8::try_from(len).expect("short");
        let medium = [&[FIN | TEXT, FIN | 126, 0, short], mask, &payload].concat();
        let long = [
            &[FIN | TEXT, FIN | 127][..],
            &[0; 7],
            &[short],
            mask,
            &payload,
        ]
        .concat();
        pass([
            case(format!("{len} in two bytes"), [medium], [BROKEN]),
            case(format!("{len} in eight bytes"), [long], [BROKEN]),
        ])
        .await;
    }
    let (mask, payload) = (&head(TEXT, 0)[2..], masked(&letters(65_535)));
    let start = [FIN | TEXT, FIN | 127, 0, 0, 0, 0, 0, 0, 255, 255];
    let long = [&start, mask, &payload].concat();
    pass([case("65535 in eight bytes", [long], [BROKEN])]).await;
}
