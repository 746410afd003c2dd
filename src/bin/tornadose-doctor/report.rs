//! How it is told.

use std::io::{self, IsTerminal, Write};

use serde_json::{Value, json};

use crate::arguments::Settings;
use crate::finding::{self, Finding, Severity};
use crate::judge::counted;
use crate::seen::{End, Seen, Stream};

/// Whoever has closed the pipe wants to read no more.
pub(crate) fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

pub(crate) fn report(settings: &Settings, seen: &Seen, findings: &[Finding]) -> String {
    if settings.json {
        return format!("{:#}\n", object(settings, seen, findings));
    }
    let is_coloured = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    text(settings, seen, findings, is_coloured)
}

fn text(settings: &Settings, seen: &Seen, findings: &[Finding], is_coloured: bool) -> String {
    let mut out = format!("{}\n", settings.target.shown());
    if let Some(Ok(main)) = &seen.main {
        out.push_str(&summary(main));
    }
    for finding in findings {
        let (colour, plain) = match is_coloured {
            true => (colour(finding.severity), "\x1b[0m"),
            false => ("", ""),
        };
        let (word, code) = (finding.severity.word(), finding.code);
        out.push_str(&format!(
            "{colour}{word:<8}{plain}{code}: {}\n",
            finding.says
        ));
        for cure in finding
            .cures()
            .iter()
            .filter(|_| finding.severity > Severity::Ok)
        {
            out.push_str(&format!("          {}: {}\n", cure.place, cure.line));
        }
    }
    let count = |severity| {
        findings
            .iter()
            .filter(|found| found.severity == severity)
            .count()
    };
    let counts = [
        (count(Severity::Error), "error"),
        (count(Severity::Warning), "warning"),
        (count(Severity::Note), "note"),
    ];
    let counts = counts.map(|(count, what)| counted(count, what));
    out.push_str(&format!("{}\n", counts.join(", ")));
    out
}

fn colour(severity: Severity) -> &'static str {
    match severity {
        Severity::Ok => "\x1b[32m",
        Severity::Note => "\x1b[36m",
        Severity::Warning => "\x1b[33m",
        Severity::Error => "\x1b[31m",
    }
}

fn summary(main: &Stream) -> String {
    let first = match main.first_byte_after() {
        Some(first) => format!("first byte after {} ms", first.as_millis()),
        None => "no byte behind it".to_owned(),
    };
    format!(
        "{} {:?}, head after {} ms, {first}, {} bytes in {:.1} s: {}, {}\n",
        main.head.status.as_u16(),
        main.head.version,
        main.head.after().as_millis(),
        main.bytes,
        main.lasted().as_secs_f64(),
        counted(main.text.events, "event"),
        counted(main.text.comments, "comment"),
    )
}

fn object(settings: &Settings, seen: &Seen, findings: &[Finding]) -> Value {
    let findings_told = findings.iter().map(|finding| {
        let cures = finding.cures().iter();
        let cures = cures.map(|cure| json!({"place": cure.place, "line": cure.line}));
        json!({
            "code": finding.code,
            "severity": finding.severity.word(),
            "says": finding.says,
            "cures": cures.collect::<Vec<_>>(),
        })
    });
    let main = match &seen.main {
        Some(Ok(main)) => stream(main),
        _ => Value::Null,
    };
    json!({
        "url": settings.target.shown(),
        "exit": finding::exit_status(findings),
        "stream": main,
        "findings": findings_told.collect::<Vec<_>>(),
    })
}

fn stream(main: &Stream) -> Value {
    let end = match &main.end {
        End::Open => "open",
        End::Enough => "enough",
        End::Complete => "complete",
        End::Closed => "closed",
        End::Cut => "cut",
        End::Reset => "reset",
        End::Broken(_) => "broken",
    };
    let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    json!({
        "status": main.head.status.as_u16(),
        "version": format!("{:?}", main.head.version),
        "head_ms": millis(main.head.after()),
        "first_byte_ms": main.first_byte_after().map(millis),
        "longest_silence_ms": millis(main.longest_silence()),
        "lasted_ms": millis(main.lasted()),
        "end": end,
        "bytes": main.bytes,
        "events": main.text.events,
        "comments": main.text.comments,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Target;

    #[test]
    fn cures_stand_behind_what_they_cure() {
        let settings = Settings::new(Target::parse("http://a/e?token=1").expect("a target"));
        let found = [
            Finding::ok("nonsense-id", "Good."),
            Finding::warning("bom", "Bad."),
            Finding::warning("id-nul", "Worse."),
        ];
        let plain = text(&settings, &Seen::default(), &found, false);
        assert_eq!(
            plain,
            "http://a/e?…\n\
             ok      nonsense-id: Good.\n\
             warning bom: Bad.\n          server: UTF-8 without a byte order mark\n\
             warning id-nul: Worse.\n          server: ids without NUL\n\
             0 errors, 2 warnings, 0 notes\n"
        );
        let coloured = text(&settings, &Seen::default(), &found, true);
        assert!(coloured.contains("\x1b[33mwarning \x1b[0mbom: Bad.\n"));
        let object = object(&settings, &Seen::default(), &found);
        assert_eq!(object["exit"], 1);
        assert_eq!(object["stream"], Value::Null);
        assert_eq!(
            object["findings"][2]["cures"],
            json!([{"place": "server", "line": "ids without NUL"}])
        );
    }
}
