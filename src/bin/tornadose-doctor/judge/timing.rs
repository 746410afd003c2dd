//! Whether it comes when it is sent.

use std::collections::HashMap;
use std::time::Duration;

use super::{failure, time};
use crate::finding::Finding;
use crate::seen::{End, Failure, Lump, Stream};

type Answer = Result<Stream, Failure>;

/// A head that takes longer is late.
const LATE: Duration = Duration::from_secs(1);

/// What comes so much later than it could is held back.
const HELD: Duration = Duration::from_millis(500);

/// So much later is still at once for most pages, and yet not as it was sent.
const LAG: Duration = Duration::from_millis(150);

/// No server stops for so long in the middle of an event, twice.
const PAUSE: Duration = Duration::from_millis(200);

/// No head came. If one came without the proxy, it is known why.
pub(super) fn without_head(why: &Failure, direct: Option<&Answer>) -> Finding {
    match (why, direct) {
        (Failure::NoHead(after), Some(Ok(direct))) if direct.head.is_event_stream() => {
            Finding::error(
                "buffered",
                format!(
                    "Nothing came within {}, where without the proxy the head came after {}: the proxy holds the stream back.",
                    time(*after),
                    time(direct.head.after())
                ),
            )
        }
        _ => failure(why),
    }
}

pub(super) fn timing(
    main: &Stream,
    plain: Option<&Answer>,
    direct: Option<&Answer>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut is_held = false;
    match direct {
        Some(Ok(direct)) if direct.head.is_event_stream() => {
            let compared = compared(main, direct);
            is_held = compared.is_some();
            found.extend(compared);
        }
        Some(Ok(direct)) => found.push(Finding::warning(
            "direct-unusable",
            format!(
                "--direct answers {} and no event stream, so nothing can be compared.",
                direct.head.status.as_u16()
            ),
        )),
        Some(Err(why)) => found.push(Finding::warning(
            "direct-unusable",
            format!(
                "Nothing can be compared with --direct. {}",
                failure(why).says
            ),
        )),
        None => {}
    }
    if !is_held && let Some(evidence) = held_back(main) {
        is_held = true;
        found.push(Finding::error("buffered", evidence));
    }
    let late = beginning(main);
    let is_late = late.is_some();
    found.extend(late);
    if let (false, None, Some(says)) = (is_held, direct, bursts(main)) {
        found.push(Finding::note("bursts", says));
    }
    if !is_held && !is_late {
        let says = format!(
            "The head came after {}, and nothing is seen to be held back.",
            time(main.head.after())
        );
        found.push(Finding::ok("timely", says));
    }
    found.extend(compressed(main, plain));
    found
}

/// How it begins.
fn beginning(main: &Stream) -> Option<Finding> {
    let after = main.head.after();
    if after >= LATE {
        let says = format!(
            "The head came after {} only: until then a page does not know that it is connected.",
            time(after)
        );
        return Some(Finding::warning("head-late", says));
    }
    let Some(first) = main.first_byte_after() else {
        let says = format!(
            "Behind the head nothing came within {}: there is no first comment, no keep-alive in this time, or they are held back.",
            time(main.lasted())
        );
        return Some(Finding::warning("silent", says));
    };
    (first >= LATE.saturating_mul(2)).then(|| {
        let says = format!("The first byte behind the head came after {}: without a first comment, some proxies hold the head back.", time(first));
        Finding::note("first-byte-late", says)
    })
}

/// What the stream by itself gives away.
fn held_back(main: &Stream) -> Option<String> {
    // Who never sends a blank line is always in the middle of something.
    if main.text.events == 0 && main.text.awaits_blank_line() {
        return None;
    }
    let last = main.lumps.len().saturating_sub(1);
    let is_open = matches!(main.end, End::Open);
    let pauses = main.quiet_after().enumerate();
    let pauses = pauses.filter(|(index, (lump, _))| lump.is_cut && (*index < last || is_open));
    let pauses: Vec<_> = pauses
        .map(|(_, (_, quiet))| quiet)
        .filter(|quiet| *quiet >= PAUSE)
        .collect();
    let longest = pauses.iter().max().copied().unwrap_or_default();
    if pauses.len() >= 2 || longest >= LATE {
        return Some(format!(
            "Events stop in the middle, {} times, for {} at most: something collects the stream and sends it by the page.",
            pauses.len(),
            time(longest)
        ));
    }
    let begun = Lump::begun(main.head.asked);
    let befores = [&begun].into_iter().chain(&main.lumps);
    let mut lumps = befores.zip(&main.lumps);
    let (_, together) = lumps.find(|(before, lump)| {
        lump.comments >= 2 && lump.begin.saturating_sub(before.end) >= LATE
    })?;
    Some(format!(
        "{} comments came at once behind a silence: no server sends keep-alive comments so, something collects them.",
        together.comments
    ))
}

/// A rhythm that may be that of the server, or not.
fn bursts(main: &Stream) -> Option<String> {
    let quiets = main.quiet_after().map(|(_, quiet)| quiet);
    let later = quiets.zip(main.lumps.iter().skip(1));
    let bursts = later.filter(|(quiet, lump)| *quiet >= LATE && lump.events >= 3);
    let bursts = bursts.count();
    (bursts >= 2).then(|| {
        format!(
            "{bursts} times several events came at once behind a silence: the server sends them so, or something collects \
             them. Compare with --direct."
        )
    })
}

/// Against the same stream without the proxies.
fn compared(main: &Stream, direct: &Stream) -> Option<Finding> {
    let slower = main.head.after().saturating_sub(direct.head.after());
    if slower >= HELD {
        let says = format!(
            "The head comes {} later than without the proxy: the proxy holds the stream back.",
            time(slower)
        );
        return Some(Finding::error("buffered", says));
    }
    let lag = lag(main, direct).unwrap_or_default();
    if lag >= LAG {
        let says = format!(
            "Events come {} later than without the proxy (median).",
            time(lag)
        );
        return Some(if lag >= HELD {
            Finding::error("buffered", says)
        } else {
            Finding::note("lag", says)
        });
    }
    let missing = unmatched(&direct.lumps, main);
    (missing * 5 > direct.lumps.len()).then(|| {
        let says = format!(
            "Of {} times that something came without the proxy, nothing came through it {missing} times: the proxy holds it back.",
            direct.lumps.len()
        );
        Finding::error("buffered", says)
    })
}

/// How much later the events come that came both ways; the median.
fn lag(main: &Stream, direct: &Stream) -> Option<Duration> {
    let mut there = HashMap::new();
    for event in &direct.text.remembered {
        // What comes more than once says nothing.
        there
            .entry(event.digest)
            .and_modify(|at| *at = None)
            .or_insert(Some(event.at));
    }
    let events = main.text.remembered.iter();
    let pairs = events.filter_map(|event| Some((event.at, (*there.get(&event.digest)?)?)));
    // What was sent before there was a connection could not come sooner.
    let pairs = pairs.filter(|(_, direct)| *direct >= main.head.at);
    let mut lags: Vec<_> = pairs
        .map(|(at, direct)| at.saturating_sub(direct))
        .collect();
    lags.sort_unstable();
    lags.get(lags.len() / 2).copied()
}

/// How many of these lumps have no counterpart in the stream.
fn unmatched(lumps: &[Lump], stream: &Stream) -> usize {
    let told = |lump: &&Lump| {
        // What comes near the end may have been sent behind it, and what came before the head
        // could not come.
        lump.end + HELD > stream.until
            || lump.end < stream.head.at
            || stream
                .lumps
                .iter()
                .any(|other| other.end + HELD >= lump.begin && other.begin <= lump.end + HELD)
    };
    lumps.iter().filter(|lump| !told(lump)).count()
}

fn compressed(main: &Stream, plain: Option<&Answer>) -> Option<Finding> {
    if !main.head.is_compressed() {
        return None;
    }
    let how = main.head.words("content-encoding").join(", ");
    let how = super::short(&how);
    let plain = match plain {
        Some(Ok(plain)) if !plain.head.is_compressed() => plain,
        _ => {
            let says = format!("The stream is compressed ({how}), also for who cannot read that.");
            return Some(Finding::error("compressed-unasked", says));
        }
    };
    let missing = unmatched(&plain.lumps, main);
    Some(if missing * 5 > plain.lumps.len() {
        let says = format!(
            "The stream is compressed ({how}) and held back: of {} times that something came uncompressed, nothing came compressed {missing} times.",
            plain.lumps.len()
        );
        Finding::error("compressed-late", says)
    } else {
        Finding::note(
            "compressed",
            format!("The stream is compressed ({how}), and what is sent comes at once."),
        )
    })
}
