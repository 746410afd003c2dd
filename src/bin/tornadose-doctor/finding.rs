//! What is found.

use crate::cures::{self, Cure};

/// How bad it is. Only a warning or an error makes the exit status 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// It was looked at, and is as it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// Some clients, proxies or users will suffer.
    Warning,
    /// The stream is late or broken for everybody.
    Error,
}

impl Severity {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Its stable name.
    pub(crate) code: &'static str,
    pub(crate) severity: Severity,
    /// A sentence.
    pub(crate) says: String,
}

impl Finding {
    pub(crate) fn ok(code: &'static str, says: impl Into<String>) -> Self {
        Self::new(code, Severity::Ok, says)
    }

    pub(crate) fn note(code: &'static str, says: impl Into<String>) -> Self {
        Self::new(code, Severity::Note, says)
    }

    pub(crate) fn warning(code: &'static str, says: impl Into<String>) -> Self {
        Self::new(code, Severity::Warning, says)
    }

    pub(crate) fn error(code: &'static str, says: impl Into<String>) -> Self {
        Self::new(code, Severity::Error, says)
    }

    fn new(code: &'static str, severity: Severity, says: impl Into<String>) -> Self {
        Self {
            code,
            severity,
            says: says.into(),
        }
    }

    pub(crate) fn cures(&self) -> &'static [Cure] {
        cures::of(self.code)
    }
}

/// Without these there was no stream to look at.
const NOT_EXAMINED: [&str; 3] = ["unreachable", "tls", "no-answer"];

/// 0 if nothing is worse than a note, 1 if something is, 2 if there was nothing to examine.
pub(crate) fn exit_status(findings: &[Finding]) -> u8 {
    if findings
        .iter()
        .any(|found| NOT_EXAMINED.contains(&found.code))
    {
        return 2;
    }
    u8::from(findings.iter().any(|found| found.severity > Severity::Note))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_status_is_that_of_the_worst() {
        assert_eq!(exit_status(&[]), 0);
        assert_eq!(
            exit_status(&[Finding::ok("a", ""), Finding::note("b", "")]),
            0
        );
        assert_eq!(
            exit_status(&[Finding::note("b", ""), Finding::warning("c", "")]),
            1
        );
        assert_eq!(exit_status(&[Finding::error("c", "")]), 1);
        for code in NOT_EXAMINED {
            assert_eq!(
                exit_status(&[Finding::warning("c", ""), Finding::error(code, "")]),
                2
            );
        }
    }
}
