//! How long it stays open, and how it ends.

use std::time::Duration;

use super::{counted, short, time};
use crate::finding::Finding;
use crate::seen::{End, Failure, Stream};

/// What ends behind such a silence was probably ended for it.
const SILENCE: Duration = Duration::from_secs(1);

/// Idle limits that are usual, in seconds.
const USUAL: [(u64, &str); 5] = [
    (50, "haproxy as Debian packages it"),
    (55, "Heroku"),
    (60, "nginx, ALB, Apache, varnish"),
    (100, "Cloudflare"),
    (240, "Azure"),
];

pub(super) fn ending(
    main: &Stream,
    direct: Option<&Result<Stream, Failure>>,
    idle_limit: Duration,
) -> Vec<Finding> {
    let outlived = match direct {
        Some(Ok(direct))
            if direct.until > main.until && matches!(direct.end, End::Open | End::Enough) =>
        {
            " Without the proxy it goes on."
        }
        _ => "",
    };
    let mut found = vec![match &main.end {
        End::Open => Finding::ok("open", format!("Still open after {}.", time(main.lasted()))),
        End::Enough => Finding::ok("open", "Open until as much had come as is ever read."),
        End::Complete => Finding::warning(
            "ended",
            format!(
                "The stream was ended after {}, properly; a browser comes back.{outlived}",
                time(main.lasted())
            ),
        ),
        End::Closed => closed(
            main,
            "by closing the connection, so nobody can tell whether it was complete",
            outlived,
        ),
        End::Cut => closed(
            main,
            "the connection was closed (FIN) without a last chunk",
            outlived,
        ),
        End::Reset => closed(main, "the connection was reset (RST)", outlived),
        End::Broken(why) => closed(main, &short(why), outlived),
    }];
    found.extend(keep_alive(main, idle_limit));
    found
}

fn closed(main: &Stream, how: &str, outlived: &str) -> Finding {
    let quiet = main.until.saturating_sub(main.last_sign());
    if quiet < SILENCE {
        let says = format!(
            "The stream was cut off after {}: {how}.{outlived}",
            time(main.lasted())
        );
        return Finding::error("cut", says);
    }
    let usual = USUAL.iter().find(|(seconds, _)| {
        Duration::from_secs(*seconds).abs_diff(quiet) < Duration::from_millis(1500)
    });
    let usual = match usual {
        Some((seconds, who)) => format!(" ({seconds} s is the limit of {who})"),
        None => String::new(),
    };
    let says = format!(
        "The stream was cut off behind {} of silence, as an idle limit does{usual}: {how}.{outlived}",
        time(quiet)
    );
    Finding::error("idle-cut", says)
}

fn keep_alive(main: &Stream, idle_limit: Duration) -> Option<Finding> {
    let silence = main.longest_silence();
    if silence >= idle_limit {
        let says = format!(
            "Nothing came for {}: an idle limit of {} on the way ends the stream.",
            time(silence),
            time(idle_limit)
        );
        return Some(Finding::warning("keep-alive-slow", says));
    }
    if !matches!(main.end, End::Open) {
        return None;
    }
    let trailing = main.until.saturating_sub(main.last_sign());
    let first = main.lumps.first().map_or(main.until, |lump| lump.begin);
    let before = main.quiet_after().map(|(_, quiet)| quiet);
    let before = before.take(main.lumps.len().saturating_sub(1));
    let before = before.chain([first.saturating_sub(main.head.at)]).max();
    // A silence that is longer than the rhythm before it says that there was none.
    if trailing > before.unwrap_or_default().saturating_mul(2) + SILENCE {
        let says = format!(
            "The stream was silent for the last {}; whether a keep-alive comes in time is not seen. Wait longer than {}.",
            time(trailing),
            time(idle_limit)
        );
        return Some(Finding::note("keep-alive-unseen", says));
    }
    let says = format!(
        "Never silent for more than {}, and {} came: within an idle limit of {}.",
        time(silence),
        counted(main.text.comments, "comment"),
        time(idle_limit)
    );
    Some(Finding::ok("keep-alive", says))
}
