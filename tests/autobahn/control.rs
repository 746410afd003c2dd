//! Pings and pongs: the group 2.

use crate::client::{BROKEN, BYE, FIN, PING, PONG, Said, bye, case, frame, pass, ping, text};

#[tokio::test]
async fn a_ping_is_answered_with_what_it_carries() {
    for payload in [
        &b""[..],
        b"hello",
        b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff",
        &[0xfe; 125],
    ] {
        let what = format!("a ping of {}", payload.len());
        let said = [Said::Pong(payload.into()), BYE];
        pass([case(what, [ping(payload), bye()], said)]).await;
    }
}

#[tokio::test]
async fn a_control_frame_is_short() {
    for opcode in [8, PING, PONG] {
        let cases = [126, 127, 65_536].map(|len| {
            let sent = [frame(FIN | opcode, &vec![0xfe; len])];
            case(format!("{len} with the opcode {opcode}"), sent, [BROKEN])
        });
        pass(cases).await;
    }
}

#[tokio::test]
async fn a_pong_is_not_answered() {
    let pong = |payload: &[u8]| frame(FIN | PONG, payload);
    pass([
        case("an empty pong", [pong(b""), bye()], [BYE]),
        case("a pong", [pong(b"unsolicited"), bye()], [BYE]),
        case(
            "a pong, a ping, a pong",
            [pong(b"a"), ping(b"b"), pong(b"c"), bye()],
            [Said::Pong(b"b".into()), BYE],
        ),
    ])
    .await;
}

#[tokio::test]
async fn every_ping_is_answered_in_its_place() {
    let pings: Vec<_> = (0..10).map(|n| format!("ping {n}").into_bytes()).collect();
    let mut sent: Vec<_> = pings.iter().map(|payload| ping(payload)).collect();
    sent.extend([text(b"after"), bye()]);
    let mut said: Vec<_> = pings.into_iter().map(Said::Pong).collect();
    said.extend([Said::Text(b"after".into()), BYE]);
    pass([case("10 pings", sent, said)]).await;
}
